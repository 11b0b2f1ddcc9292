"""The journal: what a change of several steps is about to do, so that another process can undo it after a kill.

An intent is committed before the first step and deleted in the transaction that makes the result visible. While its owner
lives it holds the lock ("intent", key); the kernel frees that lock when the owner dies, whatever killed it.
"""

from __future__ import annotations

from podling.state.database import Database, Transaction, now
from podling.state.locks import Lock, Locks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Intent:
    """A pending change that this process owns."""

    def __init__(self, key: int, lock: Lock) -> None:
        self.key = key
        self._lock = lock

    def finish(self, transaction: Transaction) -> None:
        """Strike the intent out, in the transaction that records its result."""
        transaction.run("DELETE FROM intents WHERE key=?", self.key)

    def release(self) -> None:
        """Let go of the lock: after `finish`, or to hand the undoing to whoever comes next."""
        self._lock.release()


def declare(database: Database, locks: Locks, kind: str, subject: str) -> Intent:
    """Write an intent down and hold its lock.

    The lock is taken inside the transaction: nobody can see the intent before it has an owner.
    """
    with database.write() as tx:
        key = tx.insert("intents", kind=kind, subject=subject, created=now())
        lock = locks.hold("intent", key)
    return Intent(key, lock)


def orphans(database: Database, locks: Locks) -> Iterator[tuple[Intent, str, str]]:
    """Intents whose owner has died, now ours: (intent, kind, subject)."""
    for key, kind, subject in database.rows("SELECT key, kind, subject FROM intents"):
        lock = locks.attempt("intent", key)
        if lock is None:
            continue
        if database.row("SELECT 1 FROM intents WHERE key=?", key):  # its owner may have finished just now
            yield Intent(key, lock), kind, subject
        lock.release()
