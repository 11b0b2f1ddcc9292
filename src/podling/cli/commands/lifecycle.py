"""start, stop, restart, kill, pause, unpause, rm, wait, cleanup: commands on several containers."""

from __future__ import annotations

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.engine.catalogue import containers as ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.engine.catalogue.base import Report

_ALL = Flag("all", "a", "bool", "Every container that fits")
_LATEST = Flag("latest", "l", "bool", "The container created last")
_FILTER = Flag("filter", "f", "list", "The containers that match KEY=VALUE")
_CIDFILE = Flag("cidfile", "", "list", "Read a container's id from a file", value="file")
_IGNORE = Flag("ignore", "i", "bool", "It is no error when a container does not exist")
_TIME = Flag("time", "t", "int", "Seconds to wait before the container is killed", 10)


def selection(args: Args) -> dict[str, Any]:
    """The containers that arguments and flags name; exactly one way of naming them is wanted."""
    values = args.__dict__
    ways = {
        "names": args.rest, "all": values.get("all", False) or values.get("running", False), "latest": values.get("latest", False),
        "filters": values.get("filter", []), "cidfiles": values.get("cidfile", []),
    }  # fmt: skip
    if not any(ways.values()):
        raise UsageError("you must provide at least one name or id")
    if ways["all"] and (ways["names"] or ways["latest"]):
        raise UsageError("--all and --latest take no further arguments")
    if ways["latest"] and ways["names"]:
        raise UsageError("--latest and arguments cannot be used together")
    return {**ways, "ignore": values.get("ignore", False)}


def _finish(app: App, report: Report) -> int:
    return app.report(report.done, report.errors)


def _timeout(args: Args) -> int:
    if "time" not in args.given:
        return -1
    return args.time if args.time >= 0 else 10**9


def _start(app: App, args: Args) -> int:
    if args.attach or args.interactive:
        if len(args.rest) + args.latest != 1:
            raise UsageError("you cannot start and attach multiple containers at once")
        from podling.cli.commands.run import attach_started

        return attach_started(app, args)
    if args.boot:
        if args.rest or args.all or args.latest or args.filter:
            raise UsageError("--boot takes no further arguments")
        return _finish(app, app.engine.call(ops.StartContainers(boot=True)))
    return _finish(app, app.engine.call(ops.StartContainers(**selection(args))))


def _stop(app: App, args: Args) -> int:
    return _finish(app, app.engine.call(ops.StopContainers(**selection(args), timeout=_timeout(args))))


def _restart(app: App, args: Args) -> int:
    return _finish(
        app, app.engine.call(ops.RestartContainers(**selection(args), timeout=_timeout(args), running=args.running))
    )


def _kill(app: App, args: Args) -> int:
    return _finish(app, app.engine.call(ops.KillContainers(**selection(args), signal=args.signal)))


def _pause(app: App, args: Args) -> int:
    return _finish(app, app.engine.call(ops.PauseContainers(**selection(args))))


def _unpause(app: App, args: Args) -> int:
    return _finish(app, app.engine.call(ops.UnpauseContainers(**selection(args))))


def _rm(app: App, args: Args) -> int:
    report = app.engine.call(
        ops.RemoveContainers(
            **selection(args),
            force=args.force or "time" in args.given,
            volumes=args.volumes,
            timeout=_timeout(args),
            depend=args.depend or args.all,
        )
    )
    return _finish(app, _with_missing_code(report))


def _with_missing_code(report: Report) -> Report:
    """`rm` ends with 1 when containers were missing and nothing else went wrong."""
    for error in report.errors:
        if getattr(error, "status", 0) == 404:
            error.exit_code = 1  # type: ignore[attr-defined]
    return report


def _init(app: App, args: Args) -> int:
    return _finish(app, app.engine.call(ops.InitContainers(**selection(args))))


def _wait(app: App, args: Args) -> int:
    names = list(args.rest)
    if args.latest:
        names = [app.engine.containers.list(last=1)[0].id]
    if not names:
        raise UsageError("`podling wait` requires at least 1 argument")
    from podling.errors import NoSuchContainer

    if args.exit_first_match:
        code, _ = app.engine.call(
            ops.WaitFirst(names=names, conditions=args.condition, interval=_interval(args.interval), ignore=args.ignore)
        )
        app.out(str(code))
        return 0
    for name in names:
        try:
            code = app.engine.call(
                ops.WaitContainer(name=name, conditions=args.condition, interval=_interval(args.interval))
            )
        except NoSuchContainer:
            if not args.ignore:
                raise
            code = -1
        app.out(str(code))
    return 0


def _interval(text: str) -> float:
    """Milliseconds, or a duration."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0}
    for unit, factor in units.items():
        if text.endswith(unit) and text[: -len(unit)].replace(".", "", 1).isdigit():
            return max(float(text[: -len(unit)]) * factor, 0.01)
    if text.isdigit():
        return max(int(text) / 1000, 0.01)
    raise UsageError(f"--interval {text!r} is not a time, such as 250ms or 1s")


def _cleanup(app: App, args: Args) -> int:
    if args.exec:
        if len(args.rest) != 1 or args.rm or args.rmi:
            raise UsageError("--exec takes one container, and neither --rm nor --rmi")
        app.engine.call(ops.CleanupExec(name=args.rest[0], session=args.exec, remove=True))
        return 0
    report = app.engine.call(
        ops.CleanupContainers(**selection(args), restart=args.restart, remove=args.rm, remove_image=args.rmi)
    )
    return app.report([], report.errors)


START = Command(
    _start,
    "[options] CONTAINER [CONTAINER...]",
    "Starts containers that were created or have stopped.",
    Flag("all", "", "bool", "Start every container that does not run"),
    Flag("attach", "a", "bool", "Join the container's output and error streams"),
    Flag("boot", "", "bool", "Start what ran when the host went down, where its restart policy says so"),
    Flag("detach-keys", "", "string", "Keys that detach", "ctrl-p,ctrl-q"),
    _FILTER,
    Flag("interactive", "i", "bool", "Join the container's input as well"),
    _LATEST,
    Flag("sig-proxy", "", "bool", "Pass signals on to the process (with --attach)", True),
    examples=("start --latest", "start web db"),
)
STOP = Command(
    _stop, "[options] CONTAINER [CONTAINER...]", "Stops containers: the stop signal first, after --time seconds SIGKILL.",
    _ALL, _CIDFILE, _FILTER, _IGNORE, _LATEST, _TIME, examples=("stop web", "stop --time 2 --latest", "stop -a"),
)  # fmt: skip
RESTART = Command(
    _restart, "[options] CONTAINER [CONTAINER...]", "Stops containers that run, and starts them.",
    _ALL, _CIDFILE, _FILTER, _LATEST, Flag("running", "", "bool", "Only the containers that run"), _TIME, examples=("restart web",),
)  # fmt: skip
KILL = Command(
    _kill, "[options] CONTAINER [CONTAINER...]", "Sends a signal to the first process of running containers.",
    _ALL, _CIDFILE, _LATEST, Flag("signal", "s", "string", "The signal, by name or number", "KILL"), examples=("kill --signal TERM web",),
)  # fmt: skip
PAUSE = Command(
    _pause, "[options] CONTAINER [CONTAINER...]", "Freezes all processes of containers.", _ALL, _CIDFILE, _FILTER, _LATEST,
    examples=("pause web",),
)  # fmt: skip
UNPAUSE = Command(
    _unpause, "[options] CONTAINER [CONTAINER...]", "Lets paused containers go on.", _ALL, _CIDFILE, _FILTER, _LATEST,
    examples=("unpause web",),
)  # fmt: skip
RM = Command(
    _rm, "[options] CONTAINER [CONTAINER...]", "Removes containers; those that run only with --force.",
    _ALL, _CIDFILE, Flag("depend", "", "bool", "Remove the containers that require it too"),
    Flag("filter", "", "list", "The containers that match KEY=VALUE"),
    Flag("force", "f", "bool", "Stop and remove containers that run; a missing one is no error"), _IGNORE, _LATEST, _TIME,
    Flag("storage", "", "bool", "Accepted for the sake of old scripts", hidden=True),
    Flag("volumes", "v", "bool", "Remove the anonymous volumes of the container too"), examples=("rm web", "rm -f -t 0 web", "rm -a"),
)  # fmt: skip
INIT = Command(
    _init, "[options] CONTAINER [CONTAINER...]", "Makes containers ready: mounts, network and the runtime's create, but no process yet.",
    Flag("all", "a", "bool", "Every container that does not run"), _LATEST, examples=("container init web",),
)  # fmt: skip
WAIT = Command(
    _wait, "[options] CONTAINER [CONTAINER...]", "Waits until containers have stopped, and prints their exit codes.",
    Flag("condition", "", "slice", "Wait for one of configured, created, running, stopped, paused, exited, removing, stopping"),
    Flag("exit-first-match", "", "bool", "End when the first of the containers is as far"),
    Flag("ignore", "", "bool", "Print -1 for a container that does not exist"),
    Flag("interval", "i", "string", "How often to look when a condition is awaited", "250ms"), _LATEST,
    examples=("wait web", "wait --condition=running web"),
)  # fmt: skip
CLEANUP = Command(
    _cleanup, "[options] CONTAINER [CONTAINER...]", "Unmounts the root file systems and networks of containers that have ended.",
    _ALL, Flag("exec", "", "string", "Clean up after an exec session instead", value="id"), _LATEST,
    Flag("restart", "", "bool", "Start them again, as their restart policy says", hidden=True),
    Flag("rm", "", "bool", "Remove the containers too"), Flag("rmi", "", "bool", "Remove the containers and their image too"),
    Flag("stopped-only", "", "bool", "Accepted: a container that runs is never cleaned up after", hidden=True),
)  # fmt: skip
