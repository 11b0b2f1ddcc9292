"""load, save, import."""

from __future__ import annotations

import os

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.config import containers
from podling.engine.catalogue import images as ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args


def _load(app: App, args: Args) -> int:
    app.quiet = args.quiet
    path = "" if args.input == "-" else args.input
    if not path and os.isatty(0):
        raise UsageError("cannot read from terminal, use command-line redirection or the --input flag")
    for name in app.engine.call(ops.LoadImages(path=path, fd=0, signature_policy=args.signature_policy)):
        app.out(f"Loaded image: {name}")
    return 0


def _save(app: App, args: Args) -> int:
    several = args.multi_image_archive or containers.load().flag("engine", "multi_image_archive")
    if len(args.rest) > 1 and not several and args.format == "oci-archive":
        raise UsageError("several images in one oci-archive need --multi-image-archive")
    app.quiet = args.quiet or not args.output
    if not args.output and os.isatty(1):
        raise UsageError("refusing to save to terminal. Use -o flag or redirect")
    app.engine.call(
        ops.SaveImages(
            names=args.rest,
            path=args.output,
            fd=1,
            format=args.format,
            compress=args.compress,
            uncompressed=args.uncompressed,
        )
    )
    return 0


def _import(app: App, args: Args) -> int:
    source = args.rest[0]
    name = args.rest[1] if len(args.rest) > 1 else ""
    app.quiet = args.quiet
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
    "Loads the images of a docker-archive or an oci-archive, compressed or not, or of a folder as `save` writes it.",
    Flag("input", "i", "string", "Read a file, a folder or a URL instead of standard input", value="path"),
    Flag("quiet", "q", "bool", "Do not show what is being done"),
    Flag("signature-policy", "", "string", "Path of another signature policy", value="path", hidden=True),
    most=0,
    examples=("load -i image.tar", "load < image.tar.gz"),
)
SAVE = Command(
    _save,
    "[options] IMAGE [IMAGE...]",
    "Writes images to an archive or a folder.",
    Flag("compress", "", "bool", "Compress the layers in a docker-dir"),
    Flag("format", "", "string", "docker-archive, oci-archive, docker-dir or oci-dir", "docker-archive"),
    Flag("multi-image-archive", "m", "bool", "Allow several images in one archive"),
    Flag("output", "o", "string", "Write to a file instead of standard output", value="file"),
    Flag("quiet", "q", "bool", "Do not show what is being done"),
    Flag("signature-policy", "", "string", "Nothing is verified on the way out", value="path", hidden=True),
    Flag("uncompressed", "", "bool", "Do not compress the layers in the oci formats"),
    least=1,
    examples=("save -o alpine.tar alpine:3", "save --format oci-archive alpine > alpine.tar"),
)
IMPORT = Command(
    _import,
    "[options] PATH [NAME]",
    "Makes an image of a root file system in a tar, from a file, a URL, or - for standard input.",
    Flag("arch", "", "string", "Architecture of the image"),
    Flag("change", "c", "list", "Apply an instruction, such as CMD=[\"sh\"] or 'ENV A=1'"),
    Flag("message", "m", "string", "Comment in the image's history"),
    Flag("os", "", "string", "Operating system of the image"),
    Flag("quiet", "q", "bool", "Print the id only"),
    Flag("signature-policy", "", "string", "A root file system has no signature", value="path", hidden=True),
    Flag("variant", "", "string", "Variant of the architecture"),
    least=1,
    most=2,
    examples=("import rootfs.tar mysystem:1", "cat rootfs.tar | podling import -c 'CMD [\"sh\"]' - mysystem"),
)
