"""The SQLite database: WAL, `synchronous=NORMAL`, immediate writes, busy time-out, one connection per thread.

A commit is atomic against a kill at any instant; after a power loss the last commits may be missing, never torn.
On a file system that several hosts may share (NFS) there is a DELETE journal instead, and `synchronous=FULL`.
"""

from __future__ import annotations

import os
from _thread import get_ident

from podling.errors import StateError, StorageFull
from podling.state import sqlite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    #: time in nanoseconds since the epoch, type, action, id, name, image, attributes as JSON
    EventRow = tuple[int, str, str, str, str, str, str]

BUSY_SECONDS = 60
EVENTS_KEPT = 50_000


def now() -> int:
    """Nanoseconds since the epoch."""
    import time

    return time.time_ns()


class Database:
    """The open database at `path`, created on first use."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._connections: dict[int, sqlite.Connection] = {}
        #: gets the events of a transaction when it is committed, where they are not kept in here
        self.elsewhere: Callable[[list[EventRow]], None] | None = None

    @property
    def connection(self) -> sqlite.Connection:
        """This thread's connection. A connection must not cross a fork; a child of ours only calls the kernel and exits."""
        connection = self._connections.get(get_ident())
        if connection is None:
            connection = self._connections[get_ident()] = self._connect()
        return connection

    def _connect(self) -> sqlite.Connection:
        from podling.state.migrations import VERSION, prepare

        connection = None
        try:
            connection = sqlite.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                os.chmod(self.path, 0o600)
                prepare(connection, version, self.path)
            logged = connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            connection.execute(f"PRAGMA synchronous={'NORMAL' if logged else 'FULL'}")
            connection.execute("PRAGMA foreign_keys=ON")
            return connection
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite.Error):
                raise self._translated(error) from error
            raise

    def _translated(self, error: sqlite.Error) -> StateError | StorageFull:
        text = str(error)
        if "disk is full" in text or ("disk I/O error" in text and _is_full(self.path)):
            return StorageFull(f"no space left to write {self.path}", hint="free some space on that file system")
        if "malformed" in text or "not a database" in text:
            return StateError(
                f"the database {self.path} is damaged: {text}", hint="restore a copy, or move it away and pull anew"
            )
        if "locked" in text:
            return StateError(
                f"the database {self.path} stayed locked for {BUSY_SECONDS} s", hint="is another podling stuck?"
            )
        return StateError(f"the database {self.path}: {text}")

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        try:
            return self.connection.execute(sql, values).fetchall()
        except sqlite.Error as error:
            raise self._translated(error) from error

    def row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        try:
            row: tuple[Any, ...] | None = self.connection.execute(sql, values).fetchone()
            return row
        except sqlite.Error as error:
            raise self._translated(error) from error

    def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        row = self.row(sql, *values)
        return row[0] if row else None

    def records(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """All rows of a query as dicts by column name."""
        try:
            cursor = self.connection.execute(sql, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]
        except sqlite.Error as error:
            raise self._translated(error) from error

    def write(self) -> Transaction:
        """`with db.write() as tx:` runs one immediate transaction: committed at the end, rolled back by an exception."""
        return Transaction(self)

    def close(self) -> None:
        """Close every thread's connection; the last closer of the file checkpoints the WAL."""
        while self._connections:
            self._connections.popitem()[1].close()


class Transaction:
    """One write transaction. No work but SQL belongs inside."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connection
        self._events: list[EventRow] = []

    def __enter__(self) -> Transaction:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite.Error as error:
            raise self._database._translated(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self._connection.execute("COMMIT")
                if self._events and self._database.elsewhere:
                    self._database.elsewhere(self._events)
                return
            except sqlite.Error as failure:
                self._rollback()
                raise self._database._translated(failure) from failure
        self._rollback()
        if isinstance(error, sqlite.Error) and not isinstance(error, sqlite.IntegrityError):
            raise self._database._translated(error) from error

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def run(self, sql: str, *values: Any) -> int:
        """Execute one statement; the number of rows it changed."""
        return self._connection.execute(sql, values).rowcount

    def insert(self, table: str, **values: Any) -> int:
        """Insert one row; its rowid."""
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        cursor = self._connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
        return cursor.lastrowid or 0

    def update(self, table: str, key: int, **values: Any) -> int:
        """Set columns of the row `key`; 0 when it is gone."""
        names = ", ".join(f"{name}=?" for name in values)
        return self.run(f"UPDATE {table} SET {names} WHERE key=?", *values.values(), key)

    def row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
        return row

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def event(self, kind: str, action: str, id: str, name: str, image: str = "", attributes: str = "{}") -> None:
        """Record an event with the change it tells of; the oldest are dropped in batches."""
        if self._database.elsewhere:
            self._events.append((now(), kind, action, id, name, image, attributes))
            return
        seq = self.insert(
            "events", time=now(), type=kind, action=action, id=id, name=name, image=image, attributes=attributes
        )
        if seq % 1000 == 0:
            self.run("DELETE FROM events WHERE seq <= ?", seq - EVENTS_KEPT)


def _is_full(path: str) -> bool:
    stat = os.statvfs(os.path.dirname(path))
    return stat.f_bavail < 16 or (stat.f_files > 0 and stat.f_favail == 0)
