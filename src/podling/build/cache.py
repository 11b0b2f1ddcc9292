"""What earlier builds made: a step with the same key need not be done again."""

from __future__ import annotations

import hashlib

from podling.oci import json
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.state.database import Transaction


def key_of(*parts: object) -> str:
    """A digest of all that a step depends on."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def find(ctx: Context, key: str, ttl: int) -> tuple[int | None, dict[str, Any]] | None:
    """(topmost layer, configuration) after a step that was done within the last `ttl` nanoseconds (0: at any time)."""
    row = ctx.db.row("SELECT layer, document, made FROM build_steps WHERE key=?", key)
    if row is None or (ttl and now() - row[2] > ttl):
        return None
    return row[0], json.loads(row[1])


def touch(ctx: Context, key: str) -> None:
    """The step was of use."""
    with ctx.db.write() as tx:
        tx.run("UPDATE build_steps SET used=? WHERE key=?", now(), key)


def keep(tx: Transaction, key: str, layer: int | None, document: dict[str, Any]) -> None:
    """Remember a step, in the transaction that makes its layer visible."""
    moment = now()
    tx.run(
        "INSERT OR REPLACE INTO build_steps VALUES (?, ?, ?, ?, ?)",
        key,
        layer,
        json.dumps(document).encode(),
        moment,
        moment,
    )
