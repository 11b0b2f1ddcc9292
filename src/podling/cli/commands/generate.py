"""generate spec."""

from __future__ import annotations

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.engine.catalogue import system as ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args


def _spec(app: App, args: Args) -> int:
    from podling.oci import json

    document = app.engine.call(ops.GenerateSpec(name=args.rest[0], rename=args.name))
    text = json.dumps(document) if args.compact else json.pretty(document, 1)
    if not args.filename:
        app.out(text)
        return 0
    try:
        with open(args.filename, "w") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"--filename {args.filename}: {error.strerror}") from None
    app.out(args.filename)
    return 0


SPEC = Command(
    _spec,
    "[options] {CONTAINER|POD}",
    "Shows what a container or a pod was made with, as a document that POST /libpod/containers/create or pods/create takes.",
    Flag("compact", "c", "bool", "All in one line"),
    Flag("filename", "f", "string", "Write to a file instead of standard output", value="file"),
    Flag("name", "n", "bool", "Call it NAME-clone there, so that both can exist", True),
    least=1,
    most=1,
    examples=("generate spec web", "generate spec --compact --name=false pod1"),
)
