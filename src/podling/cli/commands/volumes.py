"""volume create, ls, inspect, rm, prune, reload, exists, export, import, mount, unmount."""

from __future__ import annotations

import os

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import Format, human_size, print_rows, table
from podling.engine import shapes
from podling.engine.catalogue import storage as ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.volumes import Volume

_HEADERS = {"Driver": "DRIVER", "Name": "VOLUME NAME"}


def _create(app: App, args: Args) -> int:
    options = ops.VolumeOptions(
        driver=args.driver, options=args.opt, labels=args.label, uid=args.uid, gid=args.gid, ignore=args.ignore
    )
    volume: Volume = app.engine.call(ops.CreateVolume(name=args.rest[0] if args.rest else "", options=options))
    app.out(volume.name)
    return 0


def _ls(app: App, args: Args) -> int:
    found: list[Volume] = app.engine.call(ops.ListVolumes(filters=args.filter))
    if args.quiet:
        if found:
            app.out("\n".join(volume.name for volume in found))
        return 0
    if args.format and Format(args.format).is_json:
        print_rows(app, "json", [shapes.volume(volume) for volume in found], {})
    elif args.format:
        rows = [shapes.volume(volume) for volume in found]
        print_rows(app, args.format, rows, _HEADERS, heading=not args.noheading, shape="volume")
    elif found or not args.noheading:
        heading = [] if args.noheading else [["DRIVER", "VOLUME NAME"]]
        if found:
            app.out(table([*heading, *([volume.driver, volume.name] for volume in found)], gap=6))
    return 0


def _inspect(app: App, args: Args) -> int:
    if bool(args.rest) == args.all:
        raise UsageError("provide one or more volume names, or --all")
    errors: list[Exception] = []
    found: list[Volume] = app.engine.call(ops.ListVolumes()) if args.all else []
    for name in args.rest:
        try:
            found.append(app.engine.call(ops.InspectVolume(name=name)))
        except Exception as error:
            from podling.errors import PodlingError

            if not isinstance(error, PodlingError):
                raise
            errors.append(error)
    documents = [shapes.volume(volume) for volume in found]
    if args.format and not Format(args.format).is_json:
        print_rows(app, args.format, documents, {}, shape="volume")
    else:
        from podling.oci import json

        app.out(json.pretty(documents, 5))
    return app.report([], errors)


def _rm(app: App, args: Args) -> int:
    if bool(args.rest) == args.all:
        raise UsageError("choose either one or more volumes or all")
    report = app.engine.call(
        ops.RemoveVolumes(
            names=args.rest, all=args.all, force=args.force, timeout=args.time if "time" in args.given else -1
        )
    )
    for error in report.errors:
        if getattr(error, "status", 0) == 404:
            error.exit_code = 1
    return app.report(report.done, report.errors)


def _prune(app: App, args: Args) -> int:
    if not args.force:
        used = "WARNING! This will remove all volumes not used by at least one container. The following volumes will be removed:"
        names = [v.name for v in app.engine.call(ops.ListVolumes(filters=[*args.filter, "dangling=true"]))]
        if not names:
            app.out("No dangling volumes found")
            return 0
        if not app.confirm("\n".join([used, *names])):
            return 0
    done, freed = app.engine.call(ops.PruneVolumes(filters=args.filter))
    if done:
        app.out("\n".join(done))
    app.progress(f"Total reclaimed space: {human_size(freed, space=False, digits=4)}")
    return 0


def _exists(app: App, args: Args) -> int:
    from podling.errors import NotFound

    try:
        volume: Volume = app.engine.call(ops.InspectVolume(name=args.rest[0]))
    except NotFound:
        return 1
    return 0 if volume.name == args.rest[0] else 1


def _export(app: App, args: Args) -> int:
    if not args.output:
        if os.isatty(1):
            raise UsageError("volume export: a tar is not written to a terminal", hint="use --output, or redirect")
        app.engine.call(ops.ExportVolume(name=args.rest[0], fd=1))
        return 0
    temporary = f"{args.output}.{os.getpid()}.part"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"--output {args.output}: {error.strerror}") from None
    try:
        app.engine.call(ops.ExportVolume(name=args.rest[0], fd=fd))
        os.rename(temporary, args.output)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    return 0


def _import(app: App, args: Args) -> None:
    path = args.rest[1]
    app.engine.call(ops.ImportVolume(name=args.rest[0], path="" if path == "-" else path, fd=0))


def _mount(app: App, args: Args) -> int:
    app.out(app.engine.call(ops.MountVolume(name=args.rest[0])))
    return 0


def _unmount(app: App, args: Args) -> int:
    app.out(app.engine.call(ops.UnmountVolume(name=args.rest[0])))
    return 0


def _reload(app: App, args: Args) -> int:
    added, removed = app.engine.call(ops.ReloadVolumes())
    for heading, names in (("Added:", added), ("Removed:", removed)):
        if names:
            app.out("\n".join([heading, *names]))
    return 0


_FILTER = Flag(
    "filter", "f", "list", "Only volumes that match KEY=VALUE: name, label, driver, dangling, opt, until, since"
)

CREATE = Command(
    _create,
    "[options] [NAME]",
    "Makes a volume and prints its name; with options of mount(8) it is mounted where a container uses it.",
    Flag("driver", "d", "string", "Driver: local, image, or a plugin of containers.conf", "local"),
    Flag("gid", "", "int", "Group that owns the volume"),
    Flag("ignore", "", "bool", "It is no error when the volume exists"),
    Flag("label", "l", "list", "Add a label (KEY=VALUE)"),
    Flag("opt", "o", "list", "Option of the driver: type=, device=, o=; image= for the driver image"),
    Flag("uid", "", "int", "User that owns the volume"),
    most=1,
    examples=("volume create data", "volume create -o type=tmpfs -o o=size=10m scratch"),
)
LS = Command(
    _ls,
    "[options]",
    "Lists volumes.",
    _FILTER,
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("noheading", "n", "bool", "Leave the table's heading out"),
    Flag("quiet", "q", "bool", "Print the names only"),
    most=0,
    examples=("volume ls", "volume ls --filter dangling=true -q"),
)
INSPECT = Command(
    _inspect,
    "[options] VOLUME [VOLUME...]",
    "Shows the details of volumes.",
    Flag("all", "a", "bool", "Show all volumes"),
    Flag("format", "f", "string", 'Print as JSON ("json") or with a Go template', "json"),
    examples=("volume inspect data",),
)
RM = Command(
    _rm,
    "[options] VOLUME [VOLUME...]",
    "Removes volumes that no container has.",
    Flag("all", "a", "bool", "Remove all volumes"),
    Flag("force", "f", "bool", "Remove the containers that have them too"),
    Flag("time", "t", "int", "Seconds to wait before such a container is killed", 10),
    examples=("volume rm data", "volume rm --force data"),
)
PRUNE = Command(
    _prune,
    "[options]",
    "Removes all volumes that no container has.",
    Flag("filter", "", "list", "Remove only those that match KEY=VALUE"),
    Flag("force", "f", "bool", "Do not ask"),
    most=0,
    examples=("volume prune --force",),
)
RELOAD = Command(
    _reload,
    "",
    "Asks all volume plugins of containers.conf which volumes they have: new ones are added here, and those that are gone there are\n"
    "removed.",
    most=0,
    examples=("volume reload",),
)
EXISTS = Command(_exists, "VOLUME", "Ends with 0 when the volume exists, else with 1.", least=1, most=1)
EXPORT = Command(
    _export,
    "[options] VOLUME",
    "Writes a volume's content as a tar.",
    Flag("output", "o", "string", "Write to a file instead of standard output", value="file"),
    least=1,
    most=1,
    examples=("volume export data -o data.tar",),
)
IMPORT = Command(
    _import, "VOLUME SOURCE", "Unpacks a tar, compressed or not, into a volume; - reads standard input.", least=2, most=2,
    examples=("volume import data data.tar",),
)  # fmt: skip
MOUNT = Command(
    _mount, "VOLUME", "Mounts a volume and prints where it is.", least=1, most=1, examples=("volume mount data",)
)
UNMOUNT = Command(
    _unmount,
    "VOLUME",
    "Unmounts a volume that `volume mount` mounted.",
    least=1,
    most=1,
    examples=("volume unmount data",),
)
