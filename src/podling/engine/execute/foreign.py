"""Executors of operations that take over what another engine has."""

from __future__ import annotations

from podling.core import foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context
    from podling.core.foreign import World
    from podling.engine.catalogue import foreign as ops


def read(ctx: Context, op: ops.ReadForeign) -> World:
    if op.engine == "docker":
        from podling.core import foreign_docker

        return foreign_docker.read(op.root)
    return foreign.read(op.root)


def take_image(ctx: Context, op: ops.TakeImage) -> str:
    return foreign.take_image(ctx, op.engine, op.root, op.id, op.names)


def take_volume(ctx: Context, op: ops.TakeVolume) -> None:
    foreign.take_volume(ctx, op.volume)


def take_secret(ctx: Context, op: ops.TakeSecret) -> None:
    foreign.take_secret(ctx, op.secret)
