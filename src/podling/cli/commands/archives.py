"""load, save, import."""

from __future__ import annotations

import os

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.engine import catalogue as ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args


def _load(app: App, args: Args) -> int:
    app.quiet = args.quiet
    if not args.input and os.isatty(0):
        raise UsageError("cannot read from terminal, use command-line redirection or the --input flag")
    for name in app.engine.call(ops.LoadImages(path=args.input, fd=0)):
        app.out(f"Loaded image: {name}")
    return 0


def _save(app: App, args: Args) -> int:
    if len(args.rest) > 1 and not args.multi_image_archive and args.format == "oci-archive":
        raise UsageError("several images in one oci-archive need --multi-image-archive")
    if not args.output and os.isatty(1):
        raise UsageError("refusing to save to terminal. Use -o flag or redirect")
    app.engine.call(ops.SaveImages(names=args.rest, path=args.output, fd=1, format=args.format))
    return 0


def _import(app: App, args: Args) -> int:
    source = args.rest[0]
    name = args.rest[1] if len(args.rest) > 1 else ""
    path = "" if source == "-" else source
    app.out(
        "sha256:"
        + app.engine.call(
            ops.ImportImage(
                path=path, fd=0, name=name, changes=args.change, message=args.message, platform=_platform(args)
            )
        )
    )
    return 0


def _platform(args: Args) -> str:
    return "/".join(part for part in (args.os or ("linux" if args.arch else ""), args.arch, args.variant) if part)


LOAD = Command(
    _load,
    "[options]",
    "Loads the images of a docker-archive or an oci-archive, compressed or not.",
    Flag("input", "i", "string", "Read from a file instead of standard input", value="file"),
    Flag("quiet", "q", "bool", "Do not show what is being done"),
    most=0,
    examples=("load -i image.tar", "load < image.tar.gz"),
)
SAVE = Command(
    _save,
    "[options] IMAGE [IMAGE...]",
    "Writes images to an archive.",
    Flag("format", "", "string", "docker-archive or oci-archive", "docker-archive"),
    Flag("multi-image-archive", "m", "bool", "Allow several images in one archive"),
    Flag("output", "o", "string", "Write to a file instead of standard output", value="file"),
    Flag("quiet", "q", "bool", "Do not show what is being done"),
    least=1,
    examples=("save -o alpine.tar alpine:3", "save --format oci-archive alpine > alpine.tar"),
)
IMPORT = Command(
    _import,
    "[options] PATH [NAME]",
    "Makes an image of a root file system in a tar; - reads standard input.",
    Flag("arch", "", "string", "Architecture of the image"),
    Flag("change", "c", "list", "Apply an instruction, such as CMD=[\"sh\"] or 'ENV A=1'"),
    Flag("message", "m", "string", "Comment in the image's history"),
    Flag("os", "", "string", "Operating system of the image"),
    Flag("variant", "", "string", "Variant of the architecture"),
    least=1,
    most=2,
    examples=("import rootfs.tar mysystem:1", "cat rootfs.tar | podling import -c 'CMD [\"sh\"]' - mysystem"),
)
