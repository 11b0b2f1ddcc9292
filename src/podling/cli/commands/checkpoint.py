"""container checkpoint, container restore."""

from __future__ import annotations

from podling.cli.command import Command
from podling.cli.commands.lifecycle import selection
from podling.cli.flags import Flag, UsageError
from podling.engine.catalogue import containers as ops
from podling.engine.types import CheckpointOptions, RestoreOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.engine.catalogue.base import Report

_COMMON = (
    Flag("all", "a", "bool", "Every container that fits"),
    Flag("file-locks", "", "bool", "Containers may hold file locks"),
    Flag("ignore-volumes", "", "bool", "Leave the content of volumes out"),
    Flag("keep", "k", "bool", "Keep the files of the checkpoint and its logs"),
    Flag("latest", "l", "bool", "The container created last"),
    Flag("print-stats", "", "bool", "Show how long it took, as JSON"),
    Flag("tcp-established", "", "bool", "Containers may have established TCP connections"),
)


def _finish(app: App, args: Args, outcome: tuple[Report, dict[str, Any]]) -> int:
    from podling.oci import json

    report, statistics = outcome
    if args.print_stats:
        code = app.report([], report.errors)
        if report.done:
            app.out(json.pretty(statistics, 4) + "\n")
        return code
    return app.report(report.done, report.errors)


def _checkpoint(app: App, args: Args) -> int:
    chosen = selection(args)
    if (args.export or args.create_image) and (args.all or len(args.rest) > 1):
        raise UsageError("--export and --create-image take one container")
    options = CheckpointOptions(
        keep=args.keep, leave_running=args.leave_running, tcp_established=args.tcp_established, file_locks=args.file_locks,
        export=args.export, compress=args.compress, create_image=args.create_image, ignore_rootfs=args.ignore_rootfs,
        ignore_volumes=args.ignore_volumes, pre_checkpoint=args.pre_checkpoint, with_previous=args.with_previous,
    )  # fmt: skip
    return _finish(app, args, app.engine.call(ops.CheckpointContainers(**chosen, options=options)))


def _restore(app: App, args: Args) -> int:
    if args.__dict__["import"]:
        if args.rest or args.all or args.latest:
            raise UsageError("cannot use --import with positional arguments, --all or --latest")
        chosen: dict[str, Any] = {}
    else:
        chosen = selection(args)
        alone = ("import-previous", "ignore-rootfs")
        for name in alone:
            if name in args.given:
                raise UsageError(f"--{name} can only be used with --import")
        if args.name and len(args.rest) != 1:
            raise UsageError("--name needs --import, or one image that holds a checkpoint")
    options = RestoreOptions(
        keep=args.keep, tcp_established=args.tcp_established, tcp_close=args.tcp_close, file_locks=args.file_locks,
        archive=args.__dict__["import"], previous=args.import_previous, name=args.name, pod=args.pod, publish=args.publish,
        ignore_rootfs=args.ignore_rootfs, ignore_volumes=args.ignore_volumes, ignore_static_ip=args.ignore_static_ip,
        ignore_static_mac=args.ignore_static_mac,
    )  # fmt: skip
    return _finish(app, args, app.engine.call(ops.RestoreContainers(**chosen, options=options)))


CHECKPOINT = Command(
    _checkpoint,
    "[OPTIONS] [CONTAINER...]",
    "Freeze running containers into files, with CRIU.",
    *_COMMON,
    Flag("compress", "c", "string", "Compress the archive with gzip, zstd, or not at all (none)", "zstd"),
    Flag("create-image", "", "string", "Make an image of the checkpoint", value="name"),
    Flag("export", "e", "string", "Write the checkpoint and the container to an archive", value="file"),
    Flag("ignore-rootfs", "", "bool", "Leave out what the container changed of its image"),
    Flag("leave-running", "R", "bool", "Leave the container running"),
    Flag("pre-checkpoint", "P", "bool", "Dump the memory only, and leave the container running"),
    Flag("with-previous", "", "bool", "Dump what has changed since the pre-checkpoint"),
    examples=("container checkpoint web", "container checkpoint --export=/tmp/web.tar.zst web"),
)
RESTORE = Command(
    _restore,
    "[OPTIONS] [CONTAINER|IMAGE...]",
    "Let containers go on from their checkpoints, or make and restore one out of an archive or an image.",
    *_COMMON,
    Flag("ignore-rootfs", "", "bool", "Do not bring back what the container had changed of its image"),
    Flag("ignore-static-ip", "", "bool", "Take another IP address than it had"),
    Flag("ignore-static-mac", "", "bool", "Take another MAC address than it had"),
    Flag("import", "i", "string", "Restore from an archive", value="file"),
    Flag("import-previous", "", "string", "Archive of the pre-checkpoint", value="file"),
    Flag("name", "n", "string", "Name of the container that is made of an archive or an image"),
    Flag("pod", "", "string", "Pod that it is restored into"),
    Flag("publish", "p", "list", "Publish a port of the container"),
    Flag("tcp-close", "", "bool", "Close its TCP connections"),
    examples=("container restore web", "container restore --import=/tmp/web.tar.zst"),
)
