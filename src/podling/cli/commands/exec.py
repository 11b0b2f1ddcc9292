"""exec."""

from __future__ import annotations

from podling.cli.command import Command
from podling.cli.commands.run import PRESERVE, preserved
from podling.cli.flags import Flag, UsageError
from podling.engine.catalogue import containers as ops
from podling.engine.types import ExecOptions, Streams
from podling.errors import PodlingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args


def _exec(app: App, args: Args) -> int:
    words = list(args.rest)
    if args.latest:
        name = app.engine.containers.list(last=1)[0].id
    elif args.cidfile:
        with open(args.cidfile) as file:
            name = file.readline().strip()
    elif words:
        name = words.pop(0)
    else:
        raise UsageError("exec requires the name or id of a container, or --latest or --cidfile")
    if not words:
        raise UsageError("exec requires a command to run")
    options = ExecOptions(
        command=words, env=args.env, env_file=args.env_file, workdir=args.workdir, user=args.user, privileged=args.privileged,
        tty=args.tty, interactive=args.interactive, preserve_fds=preserved(args),
    )  # fmt: skip
    if args.wait:
        _await_running(app, name, args.wait)
    if args.detach:
        app.out(app.engine.call(ops.ExecDetached(name=name, options=options)))
        return 0
    streams = Streams(stdin=0 if args.interactive else -1, stdout=1, stderr=2)
    code: int | None = app.engine.call(
        ops.ExecContainer(name=name, options=options, streams=streams, detach_keys=args.detach_keys)
    )
    return 0 if code is None else code


def _await_running(app: App, name: str, seconds: int) -> None:
    """--wait: until the container runs, as long as the user allows; then exec says what is wrong."""
    import time

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if app.engine.containers.get(name).status == "running":
                return
        except PodlingError:
            pass
        time.sleep(0.1)


EXEC = Command(
    _exec,
    "[options] CONTAINER COMMAND [ARG...]",
    "Runs a further process in a running container.",
    Flag("cidfile", "", "string", "Read the container's id from a file", value="file"),
    Flag("detach", "d", "bool", "Leave the process in the background and print the session's id"),
    Flag("detach-keys", "", "string", "Keys that detach", "ctrl-p,ctrl-q"),
    Flag("env", "e", "list", "Set an environment variable"),
    Flag("env-file", "", "list", "Read environment variables from a file", value="file"),
    Flag("interactive", "i", "bool", "Keep standard input open"),
    Flag("latest", "l", "bool", "The container created last"),
    *PRESERVE,
    Flag("privileged", "", "bool", "Give the process all capabilities"),
    Flag("tty", "t", "bool", "Give the process a terminal"),
    Flag("user", "u", "string", "User of the process (NAME or UID[:GROUP])"),
    Flag("wait", "", "int", "Seconds to wait for the container to run", hidden=True),
    Flag("workdir", "w", "string", "Working folder of the process"),
    stop_at_argument=True,
    examples=("exec -it web sh", "exec -w /srv -e DEBUG=1 web ls"),
)
