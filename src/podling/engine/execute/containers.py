"""Executors of container operations."""

from __future__ import annotations

import os

from podling.core import containers as rows
from podling.engine.catalogue.base import Report
from podling.errors import InvalidInput, NoSuchContainer, NotFound, PodlingError, WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from podling.core.containers import Container
    from podling.core.context import Context
    from podling.core.images import Image
    from podling.core.lifecycle import Preserved
    from podling.core.listing import ContainerSummary
    from podling.engine.catalogue import containers as ops
    from podling.runtime.logs import LogLine


def each(
    ctx: Context,
    op: ops.Selection,
    action: Callable[[Container], None],
    where: str = "1",
    *,
    tolerated: type[PodlingError] = NotFound,
) -> Report:
    """Do `action` to every selected container; one failure does not keep the others from it.

    With --all a container may have gone, or come into a state that `tolerated` says, between our look and the action.
    """
    report = Report()
    names = list(op.names)
    for path in op.cidfiles:
        try:
            with open(path) as file:
                names.append(file.readline().strip())
        except OSError as error:
            if not op.ignore:
                report.errors.append(InvalidInput(f"reading CIDFile {path}: {error.strerror}"))
    if op.all:
        chosen = [(container.id, container) for container in rows.every(ctx, f"({where}) AND NOT external")]
    elif op.latest or op.filters:
        chosen = [(c.id, c) for c in rows.select(ctx, [], latest_only=op.latest, filters=op.filters)]
    else:
        chosen = []
        for name in names:
            try:
                chosen.append((name, rows.find(ctx, name)))
            except NoSuchContainer as error:
                if not op.ignore:
                    report.errors.append(error)
            except PodlingError as error:
                report.errors.append(error)
    for name, container in chosen:
        try:
            action(container)
            report.done.append(name)
        except PodlingError as error:
            if not (op.all and isinstance(error, NotFound | tolerated)):
                report.errors.append(error)
    return report


def create(ctx: Context, op: ops.CreateContainer) -> str:
    from podling.core.create import create

    return create(ctx, op.options).id


def start(ctx: Context, op: ops.StartContainers) -> Report:
    from podling.core import lifecycle

    ctx.recover()
    if op.boot:
        from podling.core.upkeep import start_after_boot

        done, errors = start_after_boot(ctx)
        return Report(done=done, errors=errors)
    preserve = _preserved(op.preserve_fds)
    return each(ctx, op, lambda container: lifecycle.start(container, preserve=preserve))


def _preserved(fds: list[int]) -> Preserved | None:
    """Descriptors that were asked for, or that systemd handed us for a socket-activated container (sd_listen_fds(3))."""
    from podling.core.lifecycle import Preserved

    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and count.isdigit() and int(count):
        names = os.environ.get("LISTEN_FDNAMES")
        env = {"LISTEN_FDS": count, "LISTEN_PID": "1", **({"LISTEN_FDNAMES": names} if names else {})}
        return Preserved(sorted({*range(3, 3 + int(count)), *fds}), env)
    return Preserved(fds) if fds else None


def init(ctx: Context, op: ops.InitContainers) -> Report:
    from podling.core import lifecycle

    ctx.recover()
    return each(ctx, op, lifecycle.init, "status IN ('created', 'exited')", tolerated=WrongState)


def run_attached(ctx: Context, op: ops.RunAttached) -> int | None:
    from podling.core import attached

    container = rows.find(ctx, op.name)
    op.streams.tty = container.config.tty
    op.streams.detach_keys = container.config.detach_keys
    if not container.config.stdin:
        op.streams.stdin = -1
    return attached.run(container, op.streams, op.sig_proxy, _preserved(op.preserve_fds))


def attach(ctx: Context, op: ops.AttachContainer) -> int | None:
    from podling.core import attached

    container = rows.latest(ctx) if op.latest else rows.find(ctx, op.name)
    op.streams.tty = container.config.tty
    op.streams.detach_keys = op.detach_keys or container.config.detach_keys
    if not container.config.stdin:
        op.streams.stdin = -1
    return attached.attach_to(container, op.streams, op.sig_proxy)


_ALIVE = "status IN ('running', 'paused', 'stopping', 'initialized')"


def stop(ctx: Context, op: ops.StopContainers) -> Report:
    from podling.core import lifecycle

    ctx.recover()
    return each(ctx, op, lambda container: lifecycle.stop(container, op.timeout), _ALIVE, tolerated=WrongState)


def restart(ctx: Context, op: ops.RestartContainers) -> Report:
    from podling.core import lifecycle

    ctx.recover()
    op.all = op.all or op.running
    return each(ctx, op, lambda container: lifecycle.restart(container, op.timeout), _ALIVE if op.running else "1")


def kill(ctx: Context, op: ops.KillContainers) -> Report:
    from podling.core import lifecycle, parse

    number = parse.signal_number(op.signal)
    return each(ctx, op, lambda container: lifecycle.kill(container, number), _ALIVE, tolerated=WrongState)


def pause(ctx: Context, op: ops.PauseContainers) -> Report:
    from podling.core import lifecycle

    return each(ctx, op, lifecycle.pause, "status='running'", tolerated=WrongState)


def unpause(ctx: Context, op: ops.UnpauseContainers) -> Report:
    from podling.core import lifecycle

    return each(ctx, op, lifecycle.unpause, "status='paused'", tolerated=WrongState)


def remove(ctx: Context, op: ops.RemoveContainers) -> Report:
    from podling.core import removal

    ctx.recover()
    op.ignore = op.ignore or op.force
    return each(
        ctx,
        op,
        lambda container: removal.remove_one(
            container, force=op.force, volumes=op.volumes, timeout=op.timeout, depend=op.depend
        ),
        "NOT infra",
    )


def wait(ctx: Context, op: ops.WaitContainer) -> int:
    from podling.core import lifecycle

    return lifecycle.wait(ctx, op.name, op.conditions, op.interval, settle=op.settle)


def rename(ctx: Context, op: ops.RenameContainer) -> None:
    from podling.core.create import rename

    rename(rows.find(ctx, op.name), op.new_name)


def list_containers(ctx: Context, op: ops.ListContainers) -> list[ContainerSummary]:
    from podling.core.listing import list_containers

    return list_containers(ctx, op.all, op.filters, op.last, op.size, op.details, op.external)


def inspect(ctx: Context, op: ops.InspectContainer) -> dict[str, Any]:
    from podling.core.inspect import inspect

    return inspect(rows.find(ctx, op.name), op.size)


def exists(ctx: Context, op: ops.ContainerExists) -> bool:
    try:
        rows.find(ctx, op.name)
    except NoSuchContainer:
        return False
    return True


def logs(ctx: Context, op: ops.ContainerLogs) -> Iterator[LogLine | None]:
    from podling.core.logs import read

    return read(rows.find(ctx, op.name), op.tail, op.since, op.until, op.follow, patient=op.patient)


def top(ctx: Context, op: ops.ContainerTop) -> list[list[str]]:
    from podling.core.top import top

    return top(rows.find(ctx, op.name), op.descriptors)


def exec_attached(ctx: Context, op: ops.ExecContainer) -> int | None:
    from podling.linux.attaching import ready_soon

    ready_soon()
    from podling.core import exec as sessions

    return sessions.run(rows.find(ctx, op.name), op.options, op.streams, op.detach_keys)


def exec_detached(ctx: Context, op: ops.ExecDetached) -> str:
    from podling.core import exec as sessions

    return sessions.detached(rows.find(ctx, op.name), op.options)


def cleanup(ctx: Context, op: ops.CleanupContainers) -> Report:
    from podling.core import lifecycle

    if op.restart:
        from podling.core.restarts import restart

        for name in op.names:
            restart(ctx, name)
        return Report()

    def clean(container: Container) -> None:
        lifecycle.cleanup(container)
        if op.remove or op.remove_image:
            from podling.core import image_removal, removal

            removal.remove_one(container, force=False, volumes=True)
            if op.remove_image and container.image_id:
                image_removal.remove(ctx, [container.image_id], False, True, False)

    return each(ctx, op, clean)


def cleanup_exec(ctx: Context, op: ops.CleanupExec) -> None:
    from podling.core import exec as sessions

    sessions.forget(rows.find(ctx, op.name), op.session)


def wait_first(ctx: Context, op: ops.WaitFirst) -> tuple[int, str]:
    from podling.core import lifecycle

    return lifecycle.wait_first(ctx, op.names, op.conditions, op.interval, ignore=op.ignore)


def commit(ctx: Context, op: ops.CommitContainer) -> str:
    from podling.core.changes import commit

    return commit(ctx, op.name, op.target, op.options)


def copy_logs(ctx: Context, op: ops.CopyLogs) -> bool:
    from podling.core import logs

    return logs.copy_text(rows.find(ctx, op.name), op.stdout, op.stderr, op.tail)


def checkpoint(ctx: Context, op: ops.CheckpointContainers) -> tuple[Report, dict[str, Any]]:
    from podling.core import checkpoint as checkpoints
    from podling.core.containers import ALIVE

    timings: list[checkpoints.Timing] = []
    running = f"status IN ({', '.join(repr(status) for status in ALIVE)})"
    report = each(ctx, op, lambda container: timings.append(checkpoints.checkpoint(container, op.options)), running)
    return report, checkpoints.report("checkpoint", timings)


def restore(ctx: Context, op: ops.RestoreContainers) -> tuple[Report, dict[str, Any]]:
    from podling.core import checkpoint as checkpoints

    timings: list[checkpoints.Timing] = []

    def go_on(container: Container) -> None:
        timings.append(checkpoints.restore(container, op.options))

    report = Report()
    names = []
    for name in op.names:
        image = _checkpoint_image(ctx, name)
        if image:
            _revive(ctx, op, report, go_on, image)
        else:
            names.append(name)
    if op.options.archive:
        _revive(ctx, op, report, go_on)
    elif names or op.all or op.latest or op.filters:
        op.names = names
        stopped = each(ctx, op, go_on, "checkpoint LIKE '%\"at\"%'", tolerated=WrongState)
        report.done += stopped.done
        report.errors += stopped.errors
    return report, checkpoints.report("restore", timings)


def _checkpoint_image(ctx: Context, name: str) -> Image | None:
    """The image of that name that holds a checkpoint, where no container is called so."""
    from podling.core import checkpoint_archive, images

    try:
        rows.find(ctx, name)
        return None
    except PodlingError:
        image = images.lookup(ctx, name)
        return image if image and checkpoint_archive.is_checkpoint(ctx, image) else None


def _revive(
    ctx: Context,
    op: ops.RestoreContainers,
    report: Report,
    go_on: Callable[[Container], None],
    image: Image | None = None,
) -> None:
    """A new container that goes on; it is removed when it cannot."""
    from podling.core import checkpoint_archive, removal

    container = checkpoint_archive.revive(ctx, op.options, image)
    try:
        go_on(container)
    except BaseException:
        removal.remove_one(container, force=True, volumes=True)
        raise
    report.done.append(container.id)


def warn_of_logout(ctx: Context, op: ops.WarnOfLogout) -> None:
    from podling.linux.proc import outer_uid

    if outer_uid() and os.path.isdir("/run/systemd/system"):
        from podling.rootless.linger import warn

        warn(ctx.warn)
