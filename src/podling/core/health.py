"""Health checks: what they are, running one, and having them run again and again.

A check is an exec session whose exit code counts. Where systemd runs, nothing more is needed than its timers; elsewhere a shell sleeps
between checks beside the container, and ends with it.
"""

from __future__ import annotations

import os

from podling.config import containers as conf
from podling.core.containers import Container
from podling.core.filters import duration
from podling.core.options import CreateOptions, ExecOptions
from podling.errors import InvalidInput, PodlingError, WrongState
from podling.oci import json
from podling.oci.times import format_time
from podling.runtime.config import Health
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ACTIONS = ("none", "kill", "restart", "stop")
_FIELDS = (
    "health_cmd", "health_interval", "health_timeout", "health_start_period", "health_retries", "health_on_failure",
    "health_log_destination", "health_max_log_count", "health_max_log_size", "health_startup_cmd", "health_startup_interval",
    "health_startup_timeout", "health_startup_retries", "health_startup_success", "no_healthcheck",
)  # fmt: skip


# -- what is asked for
def config_of(options: CreateOptions, image: dict[str, Any]) -> Health | None:
    """The checks that the image and the options ask for; None for none.

    Raises:
        InvalidInput.
    """
    return _merged(_of_image(image.get("Healthcheck") or {}), options)


def changed(known: Health | None, options: CreateOptions, given: set[str]) -> Health | None:
    """`known` with what `update` was given."""
    if not given & set(_FIELDS):
        return known
    return _merged(known, options)


def _of_image(document: dict[str, Any]) -> Health | None:
    test = [str(word) for word in document.get("Test") or ()]
    if not test or test == ["NONE"]:
        return None
    health = Health(test=test)
    for key, field in (("Interval", "interval"), ("Timeout", "timeout"), ("StartPeriod", "start_period")):
        if document.get(key):
            setattr(health, field, int(document[key]))
    if document.get("Retries"):
        health.retries = int(document["Retries"])
    return health


def _merged(known: Health | None, options: CreateOptions) -> Health | None:
    if options.no_healthcheck:
        if options.health_cmd:
            raise InvalidInput("--no-healthcheck and --health-cmd exclude each other")
        return None
    if options.health_cmd:
        if options.health_cmd.lower() == "none":
            return None
        known = known or Health()
        known.test = _command(options.health_cmd, "--health-cmd")
    if known is None:
        if any(getattr(options, field) not in ("", -1, False) for field in _FIELDS):
            raise InvalidInput("there is no health check to set up", hint="give one with --health-cmd")
        return None
    times = {
        "interval": options.health_interval, "timeout": options.health_timeout, "start_period": options.health_start_period,
        "startup_interval": options.health_startup_interval, "startup_timeout": options.health_startup_timeout,
    }  # fmt: skip
    for field, text in times.items():
        if text:
            setattr(known, field, 0 if text == "disable" else duration(text))
    numbers = {
        "retries": options.health_retries, "log_count": options.health_max_log_count, "log_size": options.health_max_log_size,
        "startup_retries": options.health_startup_retries, "startup_success": options.health_startup_success,
    }  # fmt: skip
    for field, number in numbers.items():
        if number >= 0:
            setattr(known, field, number)
    if known.retries < 1:
        raise InvalidInput("--health-retries: at least 1")
    if known.timeout < 10**9:
        raise InvalidInput("--health-timeout: at least 1s")
    if options.health_on_failure:
        if options.health_on_failure not in _ACTIONS:
            raise InvalidInput(f"--health-on-failure {options.health_on_failure!r}: not one of {', '.join(_ACTIONS)}")
        known.on_failure = options.health_on_failure
    if options.health_log_destination:
        place = options.health_log_destination
        if place not in ("local", "events_logger") and not os.path.isdir(place):
            raise InvalidInput(f"--health-log-destination {place!r}: local, events_logger, or a folder that exists")
        known.log_destination = place
    if options.health_startup_cmd:
        known.startup_test = _command(options.health_startup_cmd, "--health-startup-cmd")
    return known


def _command(text: str, flag: str) -> list[str]:
    """A JSON list, whose first word may be CMD or CMD-SHELL, or a line for the shell."""
    if not text.startswith("["):
        return ["CMD-SHELL", text]
    try:
        words = [str(word) for word in json.loads(text)]
    except ValueError:
        raise InvalidInput(f"{flag} {text!r} is not a JSON list") from None
    return words if words and words[0] in ("CMD", "CMD-SHELL") else ["CMD", *words]


# -- one check
def run(container: Container) -> tuple[bool, str]:
    """Run the check once and note its result; (healthy, the container's status after it).

    Raises:
        WrongState: the container has no check, or does not run.
    """
    from podling.core import containers

    health = container.config.health
    if health is None:
        raise WrongState(f"container {container.name} has no defined healthcheck", hint="--health-cmd defines one")
    if not container.is_alive or container.status == "paused":
        raise WrongState(
            f"container {container.name} is not running: container state improper",
            hint=f"podling start {container.name}",
        )
    known: dict[str, Any] = json.loads(container.health_log or "{}")
    startup = bool(health.startup_test) and not known.get("Started")
    began = now()
    code, output = _execute(container, health.startup_test if startup else health.test, health, startup=startup)
    ended = now()
    with container.lock():
        try:
            container = containers.find(container.ctx, container.id)
        except PodlingError:
            return code == 0, ""
        known = json.loads(container.health_log or "{}")
        status, failed = _judge(container, health, known, code, began, startup=startup)
        _log(container, health, known, began, ended, code, output)
        before = container.health
        with container.ctx.db.write() as tx:
            tx.update("containers", container.key, health=status, health_log=json.dumps(known))
            if conf.load().flag("engine", "healthcheck_events", default=True) and (
                status != before or health.log_destination == "events_logger"
            ):
                container.tell(
                    tx, "health_status", health_status=status, health_failing_streak=str(known["FailingStreak"])
                )
    if failed:
        _act(container, health.on_failure)
    return code == 0, status


def _execute(container: Container, test: list[str], health: Health, *, startup: bool) -> tuple[int, str]:
    """(exit code, what it wrote) of a check; one that takes too long is killed and has failed."""
    from podling.core import exec
    from podling.runtime.streams import Streams

    argv = ["/bin/sh", "-c", " ".join(test[1:])] if test[0] == "CMD-SHELL" else test[1:]
    seconds = (health.startup_timeout if startup else health.timeout) / 1e9
    out = os.memfd_create("health", os.MFD_CLOEXEC)
    try:
        try:
            code: int | None = exec.run(
                container, ExecOptions(command=argv), Streams(stdin=-1, stdout=out, stderr=out), "", seconds=seconds
            )
        except TimeoutError:
            return 1, f"Healthcheck command exceeded timeout of {seconds:g}s"
        except PodlingError as error:
            return error.exit_code if error.exit_code in (126, 127) else 125, error.message
        os.lseek(out, 0, os.SEEK_SET)
        return code or 0, os.read(out, max(health.log_size, 1) if health.log_size else 1 << 20).decode(
            "utf-8", "replace"
        )
    finally:
        os.close(out)


def _judge(
    container: Container, health: Health, known: dict[str, Any], code: int, began: int, *, startup: bool
) -> tuple[str, bool]:
    """(status, the action for failures is due), with the streaks in `known` counted on."""
    streak = int(known.get("FailingStreak") or 0)
    if startup:
        known["StartupSuccesses"] = 0 if code else int(known.get("StartupSuccesses") or 0) + 1
        streak = streak + 1 if code else 0
        known["FailingStreak"] = streak
        if not code and known["StartupSuccesses"] >= max(health.startup_success, 1):
            known.update(Started=True, FailingStreak=0)
        return "starting", bool(code and health.startup_retries and streak >= health.startup_retries)
    if not code:
        known["FailingStreak"] = 0
        return "healthy", False
    in_start = began - container.started < health.start_period and container.health in ("", "starting")
    known["FailingStreak"] = streak if in_start else streak + 1
    if in_start:
        return "starting", False
    if known["FailingStreak"] >= health.retries:
        return "unhealthy", True
    return container.health or "starting", False


def _log(
    container: Container, health: Health, known: dict[str, Any], began: int, ended: int, code: int, output: str
) -> None:
    entry = {"Start": format_time(began), "End": format_time(ended), "ExitCode": code, "Output": output}
    if health.log_destination not in ("local", "events_logger"):
        path = f"{health.log_destination}/{container.id}-healthcheck.log"
        with open(path, "a") as file:
            file.write(json.dumps(entry) + "\n")
        return
    log = [*(known.get("Log") or []), entry]
    known["Log"] = log[-health.log_count :] if health.log_count else log


def _act(container: Container, action: str) -> None:
    from podling.core import lifecycle

    if action == "kill":
        lifecycle.kill(container, lifecycle.SIGKILL, by_user=False)
    elif action == "stop":
        lifecycle.stop(container)
    elif action == "restart":
        lifecycle.restart(container)


# -- again and again
def watch(container: Container) -> None:
    """Have the checks of a container that was just started run by themselves."""
    health = container.config.health
    if health is None or not (health.interval or (health.startup_test and health.startup_interval)):
        return
    from podling.linux.process import spawn
    from podling.runtime.conmon import own_command

    ctx, bundle = container.ctx, container.bundle
    argv = own_command(ctx.settings, "healthcheck", "run", "--ignore-result", container.id)
    seconds = (health.startup_interval if health.startup_test else health.interval) / 1e9
    later = health.interval / 1e9
    pid = spawn(
        [
            "/usr/bin/setsid",
            "/bin/sh",
            "-c",
            _WATCHER,
            bundle.marker,
            f"{seconds:g}",
            f"{later:g}",
            f"{bundle.folder}/health.pid",
            *argv,
        ]
    )
    os.waitpid(pid, 0)


#: $0: the marker that goes when the container has been cleaned up, $1: the first interval, $2: the later ones, $3: for the pid.
#: The first process only forks; its pid stays the name of the group.
_WATCHER = """
marker=$0 pause=$1 later=$2; echo $$ > "$3"; shift 3
while sleep "$pause" && [ -e "$marker" ]; do
  "$@" </dev/null >/dev/null 2>&1
  [ $? = 3 ] || pause=$later
done &
"""


def unwatch(container: Container) -> None:
    """End the watcher of a container that has ended."""
    try:
        with open(f"{container.bundle.folder}/health.pid") as file:
            pid = int(file.read() or 0)
        if pid > 1 and pid != os.getpgid(0):
            os.killpg(pid, 9)
    except (OSError, ValueError):
        pass
