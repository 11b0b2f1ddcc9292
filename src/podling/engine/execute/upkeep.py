"""Executors of what is done to containers besides running them."""

from __future__ import annotations

from podling.core import containers as rows
from podling.engine.catalogue.base import Report
from podling.engine.execute.containers import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.core.containers import Container
    from podling.core.context import Context
    from podling.core.stats import Sample
    from podling.engine.catalogue import containers as ops


def copy_files(ctx: Context, op: ops.CopyFiles) -> None:
    from podling.core.copying import copy

    copy(
        ctx,
        op.source,
        op.target,
        archive=op.archive,
        overwrite=op.overwrite,
        stdin=op.stdin,
        stdout=op.stdout,
        rename=op.rename,
    )


def stat_path(ctx: Context, op: ops.StatPath) -> dict[str, Any]:
    from podling.core.copying import stat_path

    return stat_path(ctx, op.name, op.path)


def export(ctx: Context, op: ops.ExportContainer) -> None:
    from podling.core.copying import export

    export(ctx, op.name, op.fd)


def stats(ctx: Context, op: ops.ContainerStats) -> Iterator[list[Sample] | None]:
    from podling.core.stats import stream

    chosen: list[Container] | None = None
    if op.latest:
        chosen = [rows.latest(ctx)]
    elif op.names:
        chosen = [rows.find(ctx, name) for name in op.names]
    return stream(ctx, chosen, op.interval, all=op.all, patient=op.patient, system=op.system)


def prune(ctx: Context, op: ops.PruneContainers) -> tuple[Report, int]:
    from podling.core.upkeep import prune

    done, errors, freed = prune(ctx, op.filters)
    return Report(done=done, errors=errors), freed


def mount(ctx: Context, op: ops.MountContainers) -> tuple[list[tuple[str, str, str]], Report]:
    """((id, name, path) of each, report)."""
    from podling.core import upkeep

    found: list[tuple[str, str, str]] = []

    def one(container: Container) -> None:
        found.append((container.id, container.name, upkeep.mount(ctx, container)))

    if not (op.names or op.all or op.latest):
        return [(container.id, container.name, path) for container, path in upkeep.mounted(ctx)], Report()
    return found, each(ctx, op, one)


def unmount(ctx: Context, op: ops.UnmountContainers) -> Report:
    from podling.core import upkeep

    where = "mounted > 0" if op.all else "1"
    return each(ctx, op, lambda container: upkeep.unmount(ctx, container, force=op.force), where)


def update(ctx: Context, op: ops.UpdateContainer) -> str:
    from podling.core.upkeep import update

    return update(ctx, op.name, op.changes, set(op.given), op.changes.restart)


def clone(ctx: Context, op: ops.CloneContainer) -> str:
    from podling.core.upkeep import clone

    made = clone(ctx, op.name, op.new_name, op.image, op.changes, set(op.given), destroy=op.destroy, force=op.force)
    return made.id


def run_healthcheck(ctx: Context, op: ops.RunHealthcheck) -> tuple[bool, str]:
    from podling.core import health

    return health.run(rows.find(ctx, op.name))
