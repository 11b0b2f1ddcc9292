"""Executors of operations on systemd's units."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context
    from podling.engine.catalogue import units as ops
    from podling.units.options import Quadlet


def generate(ctx: Context, op: ops.GenerateUnits) -> dict[str, str]:
    from podling.units.systemd import generate

    return generate(ctx, op.name, op.options)


def quadlets(ctx: Context, op: ops.ListQuadlets) -> list[Quadlet]:
    from podling.units.quadlets import list_quadlets

    return list_quadlets(ctx, op.filters)


def print_quadlet(ctx: Context, op: ops.PrintQuadlet) -> str:
    from podling.units.quadlets import print_quadlet

    return print_quadlet(ctx, op.name)
