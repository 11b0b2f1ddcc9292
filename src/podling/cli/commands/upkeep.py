"""cp, export, update; container prune, mount, unmount, clone; healthcheck run."""

from __future__ import annotations

import os

from podling.cli.command import Command
from podling.cli.commands.run import HEALTH_FLAGS
from podling.cli.flags import Flag, UsageError
from podling.cli.output import table
from podling.config import containers
from podling.engine.catalogue import containers as ops
from podling.engine.types import CreateOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args

_LATEST = Flag("latest", "l", "bool", "The container created last")
_ALL = Flag("all", "a", "bool", "Every container that fits")


def _cp(app: App, args: Args) -> int:
    source, target = args.rest
    if target == "-" and os.isatty(1):
        raise UsageError("refusing to write a tar to the terminal", hint="redirect it")
    archive = (
        args.archive
        if "archive" in args.given
        else containers.load().flag("engine", "chown_copied_files", default=True)
    )
    app.engine.call(ops.CopyFiles(source=source, target=target, archive=archive, overwrite=args.overwrite))
    return 0


def _export(app: App, args: Args) -> int:
    if not args.output:
        if os.isatty(1):
            raise UsageError("refusing to export to terminal. Use -o flag or redirect")
        app.engine.call(ops.ExportContainer(name=args.rest[0], fd=1))
        return 0
    temporary = f"{args.output}.{os.getpid()}.part"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(f"--output {args.output}: {error.strerror}") from None
    try:
        app.engine.call(ops.ExportContainer(name=args.rest[0], fd=fd))
        os.rename(temporary, args.output)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    return 0


# -- prune, mount
def _prune(app: App, args: Args) -> int:
    if not args.force and not app.confirm("WARNING! This will remove all non running containers."):
        return 0
    report, _ = app.engine.call(ops.PruneContainers(filters=args.filter))
    return app.report(report.done, report.errors)


def _mount(app: App, args: Args) -> int:
    if args.format not in ("", "json"):
        raise UsageError(f"unknown --format {args.format!r}: only json")
    if args.rest and (args.all or args.latest):
        raise UsageError("--all and --latest take no further arguments")
    found, report = app.engine.call(ops.MountContainers(names=args.rest, all=args.all, latest=args.latest))
    if args.format == "json":
        from podling.oci import json

        app.out(json.pretty([{"id": id, "Names": [name], "mountpoint": path} for id, name, path in found], 1))
    elif len(args.rest) == 1 or args.latest:
        if found:
            app.out(found[0][2])
    elif found:
        app.out(table([[id if args.no_trunc else id[:12], path] for id, _, path in found]))
    return app.report([], report.errors)


def _unmount(app: App, args: Args) -> int:
    if not (args.rest or args.all or args.latest):
        raise UsageError("you must provide at least one name or id")
    report = app.engine.call(ops.UnmountContainers(names=args.rest, all=args.all, latest=args.latest, force=args.force))
    return app.report(report.done, report.errors)


# -- update, clone, healthcheck
_LIMIT_FLAGS = (
    Flag("blkio-weight", "", "int", "Block IO weight, between 10 and 1000"),
    Flag("blkio-weight-device", "", "list", "Block IO weight of one device (DEVICE:WEIGHT)"),
    Flag("cpu-period", "", "int", "CPU quota period of the CFS scheduler, in microseconds"),
    Flag("cpu-quota", "", "int", "CPU quota of the CFS scheduler, in microseconds"),
    Flag("cpu-rt-period", "", "int", "Period of the real-time scheduler, in microseconds"),
    Flag("cpu-rt-runtime", "", "int", "Real-time run time in each period, in microseconds"),
    Flag("cpu-shares", "c", "int", "CPU shares (relative weight)"),
    Flag("cpus", "", "float", "Number of CPUs; 0 is no limit"),
    Flag("cpuset-cpus", "", "string", "CPUs to run on, such as 0-3 or 0,1"),
    Flag("cpuset-mems", "", "string", "Memory nodes to use"),
    Flag("device-read-bps", "", "list", "Limit of bytes a second read from a device (DEVICE:BYTES)"),
    Flag("device-write-bps", "", "list", "Limit of bytes a second written to a device (DEVICE:BYTES)"),
    Flag("memory", "m", "string", "Memory limit, such as 512m or 2g"),
    Flag("memory-reservation", "", "string", "Soft limit of memory"),
    Flag("memory-swap", "", "string", "Limit of memory and swap together; -1 is no limit"),
    Flag("memory-swappiness", "", "int", "How eagerly memory is swapped out, 0 to 100", -1),
)


def _changes(args: Args) -> CreateOptions:
    values = {name: value for name, value in vars(args).items() if name in CreateOptions._fields and name in args.given}
    return CreateOptions(image="", **values)


def _update(app: App, args: Args) -> int:
    if bool(args.rest) == args.latest:
        raise UsageError("update requires the name or id of one container, or --latest")
    name = args.rest[0] if args.rest else app.engine.containers.list(last=1)[0].id
    if not args.given - {"latest"}:
        raise UsageError("there is nothing to update", hint="give a limit, --restart, --env or a health option")
    app.out(app.engine.call(ops.UpdateContainer(name=name, changes=_changes(args), given=sorted(args.given))))
    return 0


def _clone(app: App, args: Args) -> int:
    name = args.name or (args.rest[1] if len(args.rest) > 1 else "")
    id = app.engine.call(
        ops.CloneContainer(
            name=args.rest[0], new_name=name, image=args.rest[2] if len(args.rest) > 2 else "", changes=_changes(args),
            given=sorted(args.given), destroy=args.destroy, force=args.force,
        )
    )  # fmt: skip
    if args.run:
        report = app.engine.call(ops.StartContainers(names=[id]))
        if report.errors:
            raise report.errors[0]
    app.out(id)
    return 0


def _healthcheck(app: App, args: Args) -> int:
    healthy, status = app.engine.call(ops.RunHealthcheck(name=args.rest[0]))
    if args.ignore_result:
        return 3 if status == "starting" else 0
    if not healthy:
        app.out(status or "unhealthy")
    return 0 if healthy else 1


CP = Command(
    _cp,
    "[options] [CONTAINER:]SRC_PATH [CONTAINER:]DEST_PATH",
    "Copies files and folders between a container and the host, or two containers; - stands for a tar.",
    Flag("archive", "a", "bool", "What is copied gets the owner of where it goes to", True),
    Flag("extract", "", "bool", "Accepted for the sake of old scripts", hidden=True),
    Flag("overwrite", "", "bool", "Let a file take the place of a folder, and the reverse"),
    Flag("pause", "", "bool", "Accepted for the sake of old scripts", True, hidden=True),
    least=2,
    most=2,
    examples=("cp web:/etc/nginx/nginx.conf .", "cp site web:/srv", "cp web:/srv - | tar t"),
)
EXPORT = Command(
    _export,
    "[options] CONTAINER",
    "Writes a container's file system as a tar.",
    Flag("output", "o", "string", "Write to a file instead of standard output", value="file"),
    least=1,
    most=1,
    examples=("export -o web.tar web",),
)
PRUNE = Command(
    _prune,
    "[options]",
    "Removes all containers that do not run.",
    Flag("filter", "", "list", "Remove only those that match KEY=VALUE: label, until"),
    Flag("force", "f", "bool", "Do not ask"),
    most=0,
    examples=("container prune --force --filter until=24h",),
)
MOUNT = Command(
    _mount,
    "[options] [CONTAINER...]",
    "Mounts the root file systems of containers and prints where; without names, lists what is mounted.",
    _ALL,
    Flag("format", "", "string", "json, instead of a table"),
    _LATEST,
    Flag("no-trunc", "", "bool", "Show whole ids"),
    examples=("container mount web",),
)
UNMOUNT = Command(
    _unmount,
    "[options] CONTAINER [CONTAINER...]",
    "Unmounts the root file systems of containers; each mount needs its unmount.",
    _ALL,
    Flag("force", "f", "bool", "Unmount however often it was mounted"),
    _LATEST,
    examples=("container unmount web",),
)
UPDATE = Command(
    _update,
    "[options] CONTAINER",
    "Changes limits, restart policy, environment and health check; limits of a running container at once.",
    *_LIMIT_FLAGS,
    Flag("device-read-iops", "", "list", "Limit of reads a second from a device (DEVICE:NUMBER)"),
    Flag("device-write-iops", "", "list", "Limit of writes a second to a device (DEVICE:NUMBER)"),
    Flag("env", "e", "list", "Set an environment variable for the next start (NAME=VALUE)"),
    *HEALTH_FLAGS,
    _LATEST,
    Flag("pids-limit", "", "int", "Limit of processes; -1 is no limit"),
    Flag("restart", "", "string", "Restart policy: no, on-failure[:N], always, unless-stopped"),
    Flag("unsetenv", "", "list", "Take a variable out of the environment"),
    most=1,
    examples=("update --memory 512m web", "update --restart always web"),
)
CLONE = Command(
    _clone,
    "[options] CONTAINER [NAME [IMAGE]]",
    "Makes another container like one that exists, and prints its id.",
    *_LIMIT_FLAGS,
    Flag("destroy", "", "bool", "Remove the one that was cloned"),
    Flag("force", "f", "bool", "With --destroy, also when it runs"),
    Flag("name", "", "string", "Name of the new container"),
    Flag("pod", "", "string", "Make the new container part of a pod", value="name"),
    Flag("run", "", "bool", "Start the new container"),
    least=1,
    most=3,
    examples=("container clone web", "container clone --destroy --run web web2"),
)
HEALTHCHECK = Command(
    _healthcheck,
    "CONTAINER",
    "Runs a container's health check once; 0 when it succeeds, else 1.",
    Flag("ignore-result", "", "bool", "End with 0 either way, with 3 while the container starts", hidden=True),
    least=1,
    most=1,
    examples=("healthcheck run web",),
)
