"""inspect, container inspect, image inspect."""

from __future__ import annotations

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.errors import NotFound, PodlingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args


def _one(app: App, name: str, kind: str, size: bool) -> dict[str, Any]:
    """A container's document, or an image's."""
    if kind in ("all", "container"):
        try:
            return app.engine.containers.get(name).inspect(size=size)
        except NotFound:
            if kind == "container":
                raise
    try:
        return app.engine.images.inspect(name)
    except NotFound:
        if kind == "image":
            raise
        raise NotFound(
            f'no such object: "{name}"', hint="`podling ps -a` and `podling images` list what there is"
        ) from None


def _inspect(kind: str) -> Any:
    def run(app: App, args: Args) -> int:
        wanted = getattr(args, "type", kind) if kind == "all" else kind
        if wanted not in ("all", "container", "image"):
            raise UsageError(f'invalid --type "{wanted}"', hint="container, image or all")
        names = list(args.rest)
        if getattr(args, "latest", False):
            if names:
                raise UsageError("--latest and arguments cannot be used together")
            names = [app.engine.containers.list(last=1)[0].id]
        if not names:
            raise UsageError("no names or ids specified")
        found: list[dict[str, Any]] = []
        errors: list[Exception] = []
        for name in names:
            try:
                found.append(_one(app, name, wanted, getattr(args, "size", False)))
            except PodlingError as error:
                errors.append(error)
        _show(app, args.format, found)
        return app.report([], errors)

    return run


def _show(app: App, format: str, found: list[dict[str, Any]]) -> None:
    if format and format.strip() not in ("json", "{{json}}"):
        from podling.cli import structs
        from podling.cli.output import Format
        from podling.cli.template import compile

        template = compile(Format(format).text)
        for document in found:
            app.out(template.render(structs.view(document, "container" if "State" in document else "image")))
        return
    from podling.oci import json

    app.out(json.pretty(found, 5))


_FORMAT = Flag("format", "f", "string", 'Print as JSON ("json") or with a Go template', "json")
_SIZE = Flag("size", "s", "bool", "Show the total file sizes of containers")
_LATEST = Flag("latest", "l", "bool", "The container created last")
INSPECT = Command(
    _inspect("all"), "[options] NAME [NAME...]", "Shows the details of containers and images.", _FORMAT, _LATEST, _SIZE,
    Flag("type", "t", "string", "Look for this type only: container, image or all", "all"),
    examples=("inspect web", 'inspect --format "{{.State.Status}}" web', "inspect --type image alpine"),
)  # fmt: skip
CONTAINER_INSPECT = Command(
    _inspect("container"), "[options] CONTAINER [CONTAINER...]", "Shows the details of containers.", _FORMAT, _LATEST, _SIZE,
    examples=("container inspect web",),
)  # fmt: skip
IMAGE_INSPECT = Command(
    _inspect("image"), "[options] IMAGE [IMAGE...]", "Shows the details of images.", _FORMAT, examples=("image inspect alpine",),
)  # fmt: skip
