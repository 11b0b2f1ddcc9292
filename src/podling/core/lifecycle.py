"""Starting, stopping and cleaning up after containers.

Every step holds the container's lock; a row is read again after the lock was taken. `dirty` is set before the first thing is
acquired and cleared after the last one is released, so that a kill in between is noticed (see recovery.py).
"""

from __future__ import annotations

import os
import select
import time

from podling.core.containers import ALIVE, UNKNOWN_EXIT, Container, find
from podling.errors import PodlingError, RuntimeFailed, Unsupported, WrongState
from podling.linux.attaching import Ready
from podling.linux.proc import is_alive, outer_uid, start_time
from podling.runtime import conmon
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from signal import pidfd_send_signal

    from podling.core.context import Context
else:  # the C module: `signal` imports enum
    from _signal import pidfd_send_signal

SIGKILL = 9
_KILL_SECONDS = 10


# -- start
class Preserved:
    """Descriptors that a container's process gets under their own numbers, and the variables that tell it."""

    def __init__(self, fds: list[int], env: dict[str, str] | None = None) -> None:
        self.fds, self.env = fds, env or {}


def start(
    container: Container,
    before: Callable[[], None] = lambda: None,
    *,
    again: bool = False,
    preserve: Preserved | None = None,
) -> None:
    """Start a container that does not run; `before` is called when all is ready, just before its process begins. `again`: its
    restart policy wants it, so restarts are counted on. `preserve`: descriptors that it gets.

    Raises:
        WrongState: it runs already. CommandNotFound, CommandNotInvocable, RuntimeFailed, PortInUse, InvalidInput: everything
        that had been acquired is released again.
    """
    ctx = container.ctx
    start_required(container)
    with container.lock(), Ready(here=container.config.cgroups != "split"):
        from podling.core.launch import launch

        container.load()
        if container.is_alive and container.status != "initialized":
            if container.status == "paused":
                raise WrongState(f"container {container.name} is paused", hint=f"podling unpause {container.name}")
            return
        runtime = ctx.runtime(container.config.runtime).for_network(container.config.network)
        fresh = not container.is_alive
        if fresh:
            mark_dirty(container)
        try:
            if fresh:
                pid, conmon_pid, network = launch(container, preserve)
            else:
                pid, conmon_pid, network = container.pid, container.conmon_pid, container.__dict__["network"]
            before()
            runtime.start(container.id)
        except BaseException as error:
            undo_start(container, error)
            raise
        started = now()
        with ctx.db.write() as tx:
            tx.update(
                "containers", container.key, status="running", pid=pid, pid_start=start_time(pid), conmon_pid=conmon_pid,
                conmon_start=start_time(conmon_pid), started=started, finished=0, exit_code=0, oom_killed=0, network=network,
                wanted=1, health="starting" if container.config.health else "", health_log="{}",
                restarts=container.restarts if again else 0,
            )  # fmt: skip
            for action in ("init", "start") if fresh else ("start",):
                container.tell(tx, action)
        container.load()
        if container.infra:
            from podling.core import pod_limits

            pod_limits.apply(container)
        if container.config.health:
            from podling.core import health

            health.watch(container)
    _notify(container, conmon_pid)


def mark_dirty(container: Container) -> None:
    """Say that things are about to be acquired, after what is left of an earlier run was released."""
    if container.dirty:
        clean_up(container, remove=False)
    with container.ctx.db.write() as tx:
        tx.update("containers", container.key, dirty=1, error="")
    container.dirty = 1


def init(container: Container) -> None:
    """Everything of a start but the process's begin: mounts, network, and the runtime's create.

    Raises:
        WrongState: it runs, or was initialised already.
    """
    start_required(container)
    with container.lock(), Ready(here=container.config.cgroups != "split"):
        from podling.core.launch import launch

        container.load()
        if container.is_alive:
            raise WrongState(
                f"container {container.id} has already been created in runtime: container state improper",
                hint=f"podling start {container.name}",
            )
        mark_dirty(container)
        try:
            pid, conmon_pid, network = launch(container)
        except BaseException as error:
            undo_start(container, error)
            raise
        with container.ctx.db.write() as tx:
            tx.update(
                "containers", container.key, status="initialized", pid=pid, pid_start=start_time(pid), conmon_pid=conmon_pid,
                conmon_start=start_time(conmon_pid), network=network, exit_code=0,
            )  # fmt: skip
            container.tell(tx, "init")


def _notify(container: Container, conmon_pid: int) -> None:
    """Tell systemd, which waits where it started us, who the service's main process is (sd_notify(3))."""
    if not os.environ.get("NOTIFY_SOCKET"):
        return
    from podling.core import sdnotify

    sdnotify.started(container, conmon_pid)


def start_required(container: Container) -> None:
    """Start what a container requires, and wait until that is as far as is asked for."""
    for item in container.config.requires:
        _await_required(container, item)


def _await_required(container: Container, item: str) -> None:
    from podling.core import health

    id, _, condition = item.rpartition(":")
    other = find(container.ctx, id)
    if not other.is_alive and not (condition == "completed" and other.status == "exited" and other.exit_code == 0):
        start(other)
    while condition == "completed":
        if wait(container.ctx, id, ["exited"], 0.25):
            raise WrongState(f"container {other.name}, which {container.name} requires, failed")
        return
    while condition == "healthy" and other.health != "healthy":
        if not other.is_alive or other.config.health is None:
            raise WrongState(f"container {other.name}, which {container.name} requires, does not become healthy")
        if not other.config.health.interval:
            health.run(other)
        else:
            time.sleep(0.25)
        other.load()


def undo_start(container: Container, error: BaseException) -> None:
    """Release what a start that failed had acquired, and record why it did."""
    from podling.core.release import release_all

    problems = release_all(container)
    with container.ctx.db.write() as tx:
        code = error.exit_code if isinstance(error, PodlingError) else UNKNOWN_EXIT
        tx.update(
            "containers", container.key, dirty=1 if problems else 0, error=str(error), exit_code=code, network="{}"
        )
        tx.run("DELETE FROM leases WHERE container=?", container.key)


# -- the end
def clean_up(container: Container, *, remove: bool = True) -> int:
    """Release what a dead container holds and record its exit; with `remove`, a --rm container goes too. Its exit code.

    The caller holds the lock and has loaded the row. Safe to repeat.
    """
    from podling.core.release import drop_exit_file, ran_out_of_memory, release_all

    ctx = container.ctx
    ran = container.status in ALIVE
    if container.config.health:
        from podling.core import health

        health.unwatch(container)
    if ran:
        _, code, finished = container.truth()
        if not finished:
            finished = now()
    else:
        code, finished = container.exit_code, container.finished
        conmon.await_create(container.bundle)
    out_of_memory = ran and ran_out_of_memory(container)
    removing = remove and bool(container.auto_remove) and ran
    if removing:
        from podling.core.removal import forget

        problems = release_all(container, for_good=True)
        forget(container, died=code, finished=finished)
    else:
        problems = release_all(container)
        with ctx.db.write() as tx:
            if ran:
                tx.update(
                    "containers", container.key, status="exited", exit_code=code, finished=finished, pid=0, pid_start=0, conmon_pid=0,
                    conmon_start=0, dirty=1 if problems else 0, network="{}", oom_killed=out_of_memory,
                )  # fmt: skip
                if out_of_memory:
                    container.tell(tx, "oom")
                container.tell(tx, "died", containerExitCode=str(code))
                tx.run("INSERT OR REPLACE INTO exits VALUES (?, ?, ?)", container.id, finished, code)
            else:
                tx.update("containers", container.key, dirty=1 if problems else 0, pid=0, conmon_pid=0, network="{}")
            tx.run("DELETE FROM leases WHERE container=?", container.key)
            tx.run("DELETE FROM exec_sessions WHERE container=?", container.key)
        container.status, container.exit_code, container.dirty = (
            "exited" if ran else container.status,
            code,
            1 if problems else 0,
        )
    drop_exit_file(container)
    for problem in problems:
        ctx.warn(f"container {container.name}: {problem}")
    if ran and not removing:
        from podling.core import restarts

        restarts.after_exit(container, code)
    if ran and container.pod and not container.infra:
        from podling.core import pods

        pods.member_ended(container)
    if removing and container.config.remove_image:
        _remove_image(container)
    return code


def _remove_image(container: Container) -> None:
    """--rmi: unless somebody else uses it."""
    from podling.core.image_removal import remove

    if container.image_id and not container.ctx.db.row("SELECT 1 FROM containers WHERE image_id=?", container.image_id):
        remove(container.ctx, [container.image_id], True, False, True)


def cleanup(container: Container) -> None:
    """`container cleanup`: what conmon runs when a container has ended and nobody waited for it."""
    conmon.wait_for_exit_file(container.bundle.exit_file, container.conmon_pid, container.conmon_start, 2.0)
    with container.lock():
        container.load()
        if container.is_alive:
            raise WrongState(
                f"container {container.name} is running or paused, refusing to clean up: container state improper"
            )
        if container.dirty:
            clean_up(container)


def finish(container: Container) -> int:
    """Wait for the exit file of a container whose process has ended, and clean up; its exit code."""
    conmon.wait_for_exit_file(container.bundle.exit_file, container.conmon_pid, container.conmon_start)
    try:
        with container.lock():
            container.load()
            if container.dirty and not container.is_alive:
                return clean_up(container)
            return container.exit_code
    except PodlingError:
        code = container.ctx.db.value("SELECT exit_code FROM exits WHERE id=?", container.id)
        if code is None:
            raise
        return int(code)


def wait_for_process(pid: int, pid_start: int, seconds: float) -> bool:
    """Wait until the process has ended; False when the time is over. Negative: for ever."""
    if not is_alive(pid, pid_start):
        return True
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        if start_time(pid) != pid_start:
            return True
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return bool(poller.poll(None if seconds < 0 else max(0, seconds * 1000)))
    finally:
        os.close(fd)


# -- signals
def send_signal(container: Container, signal: int) -> None:
    """Signal the container's first process, directly where it is a process of this kernel."""
    runtime = container.ctx.runtime(container.config.runtime)
    if not runtime.signals_directly:
        runtime.kill(container.id, signal)
        return
    try:
        fd = os.pidfd_open(container.pid)
    except ProcessLookupError:
        return
    try:
        if start_time(container.pid) == container.pid_start:
            pidfd_send_signal(fd, signal)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


def kill(container: Container, number: int, *, by_user: bool = True) -> None:
    """Send a signal; whether the container ends by it is its own affair. What a person kills is not started again."""
    if not container.is_alive:
        raise WrongState(
            f"can only kill running containers. {container.id} is in state {container.truth()[0]}: container state improper",
            hint=f"`podling start {container.name}` starts it",
        )
    with container.ctx.db.write() as tx:
        if by_user and number in (2, 3, 9, 15, container.config.stop_signal):
            tx.update("containers", container.key, wanted=0)
        container.tell(tx, "kill", signal=str(number))
    send_signal(container, number)


def stop(container: Container, timeout: int = -1) -> None:
    """Stop a container: its stop signal, after `timeout` seconds (-1: its own setting) SIGKILL, then clean-up."""
    ctx = container.ctx
    attended = container.bundle.attended()
    try:
        with container.lock():
            container.load()
            if not container.is_alive:
                with ctx.db.write() as tx:
                    tx.update("containers", container.key, wanted=0)
                container.wanted = 0
                if container.dirty:
                    clean_up(container)
                return
            was_paused, begun = container.status == "paused", container.status != "initialized"
            with ctx.db.write() as tx:
                tx.update("containers", container.key, status="stopping", wanted=0)
        if was_paused:
            ctx.runtime(container.config.runtime).resume(container.id)
        # a process that has not begun takes no signal but SIGKILL
        _end_process(container, (container.config.stop_timeout if timeout < 0 else timeout) if begun else 0)
        with ctx.db.write() as tx:
            container.tell(tx, "stop")
        finish(container)
    finally:
        if attended >= 0:
            os.close(attended)


def _end_process(container: Container, timeout: int) -> None:
    signal = container.config.stop_signal
    if timeout and signal != SIGKILL:
        send_signal(container, signal)
        if wait_for_process(container.pid, container.pid_start, timeout):
            return
        container.ctx.warn(
            f"StopSignal SIG{_signal_name(signal)} failed to stop container {container.name} in {timeout} seconds, resorting to SIGKILL"
        )
    send_signal(container, SIGKILL)
    if not wait_for_process(container.pid, container.pid_start, _KILL_SECONDS):
        raise RuntimeFailed(
            f"container {container.name} does not die: its process {container.pid} ignores SIGKILL",
            hint="it hangs in the kernel: see /proc/PID/stack and dmesg",
        )


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)


# -- pause
def pause(container: Container) -> None:
    with container.lock():
        container.load()
        if container.status != "running" or not container.is_alive:
            raise WrongState(f"container {container.name} is not running, can't pause: container state improper")
        if outer_uid() and container.ctx.settings.cgroup_manager != "systemd":
            raise Unsupported(
                "pause is not supported in rootless mode without cgroups v2",
                hint="a systemd session with cgroup v2 delegates them",
            )
        container.ctx.runtime(container.config.runtime).pause(container.id)
        with container.ctx.db.write() as tx:
            tx.update("containers", container.key, status="paused")
            container.tell(tx, "pause")


def unpause(container: Container) -> None:
    with container.lock():
        container.load()
        if container.status != "paused" or not container.is_alive:
            raise WrongState(f"container {container.name} is not paused, can't unpause: container state improper")
        container.ctx.runtime(container.config.runtime).resume(container.id)
        with container.ctx.db.write() as tx:
            tx.update("containers", container.key, status="running")
            container.tell(tx, "unpause")


def restart(container: Container, timeout: int = -1) -> None:
    """Stop, when it runs, and start again; a --rm container stays."""
    ctx = container.ctx
    with container.lock():
        container.load()
        auto_remove = container.auto_remove
        if auto_remove:
            with ctx.db.write() as tx:
                tx.update("containers", container.key, auto_remove=0)
    try:
        stop(container, timeout)
        start(container)
        with ctx.db.write() as tx:
            container.tell(tx, "restart")
    finally:
        if auto_remove:
            with ctx.db.write() as tx:
                tx.update("containers", container.key, auto_remove=auto_remove)


# -- wait
CONDITIONS = ("configured", "created", "running", "stopped", "paused", "exited", "removing", "stopping")


def _states(conditions: list[str]) -> set[str]:
    from podling.errors import InvalidInput

    for condition in conditions:
        if condition not in CONDITIONS:
            raise InvalidInput(f"--condition {condition!r}: not one of {', '.join(CONDITIONS)}")
    same = {"stopped": "exited", "configured": "created"}
    return {same.get(condition, condition) for condition in conditions} or {"exited"}


def wait_first(
    ctx: Context, names: list[str], conditions: list[str], interval: float, *, ignore: bool
) -> tuple[int, str]:
    """Wait until one of several containers is as far; (its exit code as `wait` gives it, its name)."""
    from podling.errors import NoSuchContainer

    wanted = _states(conditions)
    left = []
    for name in names:
        try:
            left.append((name, find(ctx, name)))
        except NoSuchContainer:
            if not ignore:
                raise
    while left:
        for name, container in left:
            try:
                container.load()
            except NoSuchContainer:
                code = ctx.db.value("SELECT exit_code FROM exits WHERE id=?", container.id)
                return -1 if code is None else int(code), name
            status, code, _ = container.truth()
            if status in wanted or (status == "created" and not conditions):
                return code if status == "exited" else -1 if conditions else 0, name
        time.sleep(interval)
    return -1, ""


def wait(ctx: Context, name: str, conditions: list[str], interval: float, *, settle: bool = False) -> int:
    """Wait for a container to reach a condition (stopped when none is given); its exit code, -1 when it has none.

    With `settle` it has been cleaned up after and its end is recorded when this returns: whoever asks next sees all of it.
    """
    from podling.errors import NoSuchContainer

    wanted = _states(conditions)
    try:
        container = find(ctx, name)
    except NoSuchContainer:
        known = ctx.db.value("SELECT exit_code FROM exits WHERE id=?", name)
        if known is None:
            raise
        return int(known)
    while True:
        if (
            container.status in ALIVE and not container.is_alive
        ):  # it has just died: conmon is about to say with which code
            conmon.wait_for_exit_file(container.bundle.exit_file, container.conmon_pid, container.conmon_start)
        status, code, _ = container.truth()
        if status in wanted or (status == "created" and not conditions):
            if status == "exited" and settle:
                return finish(container)
            return code if status == "exited" else -1 if conditions else 0
        if container.is_alive and wanted == {"exited"}:
            wait_for_process(container.pid, container.pid_start, -1)
            conmon.wait_for_exit_file(container.bundle.exit_file, container.conmon_pid, container.conmon_start)
        else:
            time.sleep(interval)
        try:
            container.load()
        except NoSuchContainer:
            known = ctx.db.value("SELECT exit_code FROM exits WHERE id=?", container.id)
            return -1 if known is None else int(known)
