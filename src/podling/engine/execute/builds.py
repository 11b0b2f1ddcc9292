"""Executors of builds."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context
    from podling.engine.catalogue import builds as ops


def build(ctx: Context, op: ops.BuildImage) -> str:
    from podling.build.main import build

    return build(ctx, op.options, fd=op.fd, stdout=op.stdout, stderr=op.stderr)
