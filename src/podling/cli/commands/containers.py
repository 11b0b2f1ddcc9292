"""rename, port, top, container exists."""

from __future__ import annotations

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import table, write_image_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args


def _rename(app: App, args: Args) -> None:
    app.engine.containers.get(args.rest[0]).rename(args.rest[1])


def _bindings(document: dict[str, Any]) -> list[tuple[str, str]]:
    """(container port, host address) pairs."""
    return [
        (key, f"{binding['HostIp']}:{binding['HostPort']}")
        for key, bindings in sorted(document["HostConfig"]["PortBindings"].items())
        for binding in bindings
    ]


def _port(app: App, args: Args) -> int:
    words = list(args.rest)
    if args.all:
        if words:
            raise UsageError("--all takes no further arguments")
        for item in app.engine.containers.list():
            for key, host in _bindings(app.engine.containers.get(item.id).inspect()):
                app.out(f"{item.id[:12]}\t{key} -> {host}")
        return 0
    if args.latest:
        words.insert(0, app.engine.containers.list(last=1)[0].id)
    if not words:
        raise UsageError("you must supply a running container name or id")
    container = app.engine.containers.get(words[0])
    bindings = _bindings(container.inspect())
    if len(words) == 1:
        for key, host in bindings:
            app.out(f"{key} -> {host}")
        return 0
    wanted = words[1] if "/" in words[1] else words[1] + "/tcp"
    found = [host for key, host in bindings if key == wanted]
    if not found:
        from podling.errors import NotFound

        raise NotFound(
            f'failed to find published port "{wanted}"', hint=f"`podling port {words[0]}` lists what is published"
        )
    app.out("\n".join(found))
    return 0


def _top(app: App, args: Args) -> int:
    if args.list_descriptors:
        app.out("\n".join(app.engine.system.top_descriptors()))
        return 0
    words = list(args.rest)
    if args.latest:
        words.insert(0, app.engine.containers.list(last=1)[0].id)
    if not words:
        raise UsageError("you must provide the name or id of a running container")
    app.out(table(app.engine.containers.get(words[0]).top(words[1:]), gap=3))
    return 0


def _exists(app: App, args: Args) -> int:
    return 0 if app.engine.containers.exists(args.rest[0]) else 1


_LATEST = Flag("latest", "l", "bool", "The container created last")


def _commit(app: App, args: Args) -> int:
    from podling.engine.catalogue.containers import CommitContainer
    from podling.engine.types import CommitOptions

    app.quiet = args.quiet
    config = ""
    if args.config:
        try:
            with open(args.config) as file:
                config = file.read()
        except OSError as error:
            raise UsageError(f"--config {args.config}: {error.strerror}") from None
    options = CommitOptions(
        author=args.author, message=args.message, changes=args.change, config=config, format=args.format, pause=args.pause,
        squash=args.squash, include_volumes=args.include_volumes,
    )  # fmt: skip
    target = args.rest[1] if len(args.rest) > 1 else ""
    id = app.engine.call(CommitContainer(name=args.rest[0], target=target, options=options))
    write_image_id(args.iidfile, id)
    app.out(id)
    return 0


RENAME = Command(
    _rename, "CONTAINER NAME", "Gives a container another name.", least=2, most=2, examples=("rename web old-web",)
)
PORT = Command(
    _port, "[options] CONTAINER [PORT]", "Lists the published ports of a container, or where one of them leads.",
    Flag("all", "a", "bool", "Ports of all running containers"), _LATEST, most=2, examples=("port web", "port web 80", "port --all"),
)  # fmt: skip
TOP = Command(
    _top, "[options] CONTAINER [DESCRIPTOR...]", "Shows the processes of a running container; descriptors choose the columns.",
    _LATEST, Flag("list-descriptors", "", "bool", "List the descriptors"), stop_at_argument=True,
    examples=("top web", "top web pid seccomp args"),
)  # fmt: skip
EXISTS = Command(
    _exists, "CONTAINER", "Ends with 0 when the container exists, else with 1.",
    Flag("external", "", "bool", "Also look at the containers of builds"), least=1, most=1,
)  # fmt: skip
COMMIT = Command(
    _commit,
    "[options] CONTAINER [IMAGE]",
    "Makes an image of what a container changed, and prints its id.",
    Flag("author", "a", "string", "Author of the image"),
    Flag("change", "c", "list", "Apply an instruction, such as CMD=[\"sh\"] or 'ENV A=1'"),
    Flag("config", "", "string", "JSON file that is merged into the image's configuration", value="path"),
    Flag("format", "f", "string", "oci or docker", "oci"),
    Flag("iidfile", "", "string", "Write the id to this file", value="path"),
    Flag("include-volumes", "", "bool", "Declare the container's volumes in the image"),
    Flag("message", "m", "string", "Message of the commit"),
    Flag("pause", "p", "bool", "Pause the container meanwhile"),
    Flag("quiet", "q", "bool", "Print the id only"),
    Flag("squash", "s", "bool", "Make one layer of everything"),
    least=1,
    most=2,
    examples=("commit web mysite:2", "commit -c 'CMD [\"serve\"]' --pause web mysite:2"),
)
