"""Executors of pod operations."""

from __future__ import annotations

from podling.core import pods
from podling.engine.catalogue.base import Report
from podling.errors import InvalidInput, NoSuchPod, PodlingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.core.context import Context
    from podling.core.pod_details import PodSummary
    from podling.core.pods import Pod
    from podling.engine.catalogue import pods as ops


def _each(ctx: Context, op: ops.PodSelection, action: Callable[[Pod], None]) -> Report:
    """Do `action` to every selected pod; one failure does not keep the others from it."""
    ctx.recover()
    report = Report()
    chosen: list[Pod] = pods.all_pods(ctx) if op.all or op.latest else []
    if op.latest:
        if not chosen:
            raise NoSuchPod("latest")
        chosen = chosen[:1]
    names = list(op.names)
    for path in op.id_files:
        try:
            with open(path) as file:
                names.append(file.readline().strip())
        except OSError as error:
            if not op.ignore:
                report.errors.append(InvalidInput(f"--pod-id-file {path}: {error.strerror}"))
    for name in names:
        try:
            chosen.append(pods.find(ctx, name))
        except PodlingError as error:
            if not (op.ignore and isinstance(error, NoSuchPod)):
                report.errors.append(error)
    for pod in chosen:
        try:
            action(pod)
            report.done.append(pod.id)
        except PodlingError as error:
            report.errors.append(error)
    return report


def create(ctx: Context, op: ops.CreatePod) -> str:
    return pods.create(ctx, op.options).id


def start(ctx: Context, op: ops.StartPods) -> Report:
    return _each(ctx, op, lambda pod: pods.start(ctx, pod))


def stop(ctx: Context, op: ops.StopPods) -> Report:
    return _each(ctx, op, lambda pod: pods.stop(ctx, pod, op.timeout))


def restart(ctx: Context, op: ops.RestartPods) -> Report:
    return _each(ctx, op, lambda pod: pods.restart(ctx, pod))


def kill(ctx: Context, op: ops.KillPods) -> Report:
    from podling.core.parse import signal_number

    number = signal_number(op.signal)
    return _each(ctx, op, lambda pod: pods.kill(ctx, pod, number))


def pause(ctx: Context, op: ops.PausePods) -> Report:
    return _each(ctx, op, lambda pod: pods.pause(ctx, pod))


def unpause(ctx: Context, op: ops.UnpausePods) -> Report:
    return _each(ctx, op, lambda pod: pods.unpause(ctx, pod))


def remove(ctx: Context, op: ops.RemovePods) -> Report:
    return _each(ctx, op, lambda pod: pods.remove(ctx, pod, force=op.force, timeout=op.timeout))


def list_pods(ctx: Context, op: ops.ListPods) -> list[PodSummary]:
    from podling.core.pod_details import list_pods

    return list_pods(ctx, op.filters)


def _one(ctx: Context, name: str, latest: bool) -> Pod:
    if not latest:
        return pods.find(ctx, name)
    found = pods.all_pods(ctx)
    if not found:
        raise NoSuchPod("latest")
    return found[0]


def inspect(ctx: Context, op: ops.InspectPod) -> dict[str, Any]:
    from podling.core.pod_details import inspect

    return inspect(ctx, _one(ctx, op.name, op.latest))


def exists(ctx: Context, op: ops.PodExists) -> bool:
    try:
        pods.find(ctx, op.name)
    except NoSuchPod:
        return False
    return True


def prune(ctx: Context, op: ops.PrunePods) -> Report:
    done, errors = pods.prune(ctx)
    return Report(done=done, errors=errors)


def top(ctx: Context, op: ops.PodTop) -> list[list[str]]:
    from podling.core.top import top

    rows: list[list[str]] = []
    for container in pods.members(ctx, _one(ctx, op.name, op.latest)):
        if container.is_alive:
            found = top(container, op.descriptors)
            rows += found[1:] if rows else found
    return rows


def clone(ctx: Context, op: ops.ClonePod) -> str:
    from podling.core.pod_clone import clone

    return clone(ctx, pods.find(ctx, op.name), op.options, set(op.given), start=op.start, destroy=op.destroy).id
