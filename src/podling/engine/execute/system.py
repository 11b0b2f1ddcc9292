"""Executors of operations on the engine as a whole."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.core.autoupdate import Update
    from podling.core.check import Damage
    from podling.core.context import Context
    from podling.core.events import Event
    from podling.core.usage import Pruned, Usage
    from podling.engine.catalogue import system as ops


def events(ctx: Context, op: ops.StreamEvents) -> Iterator[Event | None]:
    from podling.core.events import stream

    return stream(ctx, op.since, op.until, op.filters, op.follow, patient=op.patient)


def info(ctx: Context, op: ops.Info) -> dict[str, Any]:
    from podling.core.host import info

    return info(ctx)


def version(ctx: Context, op: ops.Version) -> dict[str, Any]:
    from podling.core.host import version

    return version()


def disk_usage(ctx: Context, op: ops.DiskUsage) -> Usage:
    from podling.core.usage import measure

    return measure(ctx)


def prune(ctx: Context, op: ops.PruneSystem) -> Pruned:
    from podling.core.usage import Pruned, prune

    if op.external:
        from podling.core import check

        return Pruned(containers=check.drop_leftovers(ctx))
    return prune(ctx, op.filters, all=op.all, with_volumes=op.volumes, build_cache=op.build)


def generate_spec(ctx: Context, op: ops.GenerateSpec) -> dict[str, Any]:
    from podling.core import specgen

    return specgen.generate(ctx, op.name, rename=op.rename)


def locks(ctx: Context, op: ops.ListLocks) -> list[tuple[str, str]]:
    from podling.core import care

    return care.held_locks(ctx)


def auto_update(ctx: Context, op: ops.AutoUpdate) -> tuple[list[Update], list[Exception]]:
    from podling.core.autoupdate import auto_update

    return auto_update(ctx, dry_run=op.dry_run, rollback=op.rollback, access=op.access)


def reset(ctx: Context, op: ops.ResetSystem) -> None:
    from podling.core.care import reset

    reset(ctx)


def check(ctx: Context, op: ops.CheckSystem) -> list[Damage]:
    from podling.core.check import check
    from podling.core.filters import duration
    from podling.errors import InvalidInput

    try:
        max_age = duration(op.max_age)
    except InvalidInput:
        raise InvalidInput(f"--max {op.max_age!r}: not a duration", hint="such as 24h, or 90m") from None
    return check(ctx, quick=not op.content, repair=op.repair, force=op.force, max_age=max_age)


def migrate(ctx: Context, op: ops.MigrateSystem) -> list[str]:
    from podling.core.care import migrate

    return migrate(ctx, op.runtime)


def enter(ctx: Context, op: ops.EnterNamespace) -> None:
    from podling.core.care import check_unshare

    check_unshare()
    if op.network:
        from podling.network import shared

        shared.enter_for_command()


def leave(ctx: Context, op: ops.LeaveNetwork) -> None:
    from podling.network import shared

    shared.leave(op.pid)
