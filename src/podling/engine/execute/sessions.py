"""Executors of operations on exec sessions and attached streams."""

from __future__ import annotations

from podling.core import sessions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.engine.catalogue import containers as ops


def create(ctx: Context, op: ops.CreateExec) -> str:
    return sessions.create(ctx, op.name, op.options)


def start(ctx: Context, op: ops.StartExec) -> sessions.Link | None:
    return sessions.start(ctx, op.id, attached=op.attach, tty=op.tty, ready=op.ready)


def inspect(ctx: Context, op: ops.InspectExec) -> dict[str, Any]:
    return sessions.inspect(ctx, op.id)


def resize(ctx: Context, op: ops.ResizeExec) -> None:
    sessions.resize(ctx, op.id, op.rows, op.columns)


def remove(ctx: Context, op: ops.RemoveExec) -> None:
    sessions.remove(ctx, op.id, force=op.force)


def resize_container(ctx: Context, op: ops.ResizeContainer) -> None:
    sessions.resize_container(ctx, op.name, op.rows, op.columns)


def open_container(ctx: Context, op: ops.OpenContainer) -> sessions.Link:
    return sessions.open_container(ctx, op.name, op.detach_keys)


def state(ctx: Context, op: ops.ContainerState) -> sessions.State:
    return sessions.state(ctx, op.name)
