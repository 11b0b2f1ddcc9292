"""The database, its locks, and the journal."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from podling.errors import StateError
from podling.state.database import Database
from podling.state.intents import declare, orphans
from podling.state.locks import Locks


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(str(tmp_path / "db"))
    yield opened
    opened.close()


def test_schema_and_modes(database: Database) -> None:
    assert database.value("PRAGMA journal_mode") == "wal"
    assert database.value("PRAGMA foreign_keys") == 1
    assert os.stat(database.path).st_mode & 0o777 == 0o600
    assert database.value("PRAGMA integrity_check") == "ok"


def test_rollback(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as tx:
        tx.insert("volumes", name="a", created=1)
        raise ZeroDivisionError
    assert database.rows("SELECT * FROM volumes") == []
    with database.write() as tx:
        tx.insert("volumes", name="a", created=1)
    with pytest.raises(sqlite3.IntegrityError), database.write() as tx:
        tx.insert("volumes", name="b", created=1)
        tx.insert("volumes", name="a", created=1)
    assert database.rows("SELECT name FROM volumes") == [("a",)]


def test_writers_wait_for_each_other(database: Database) -> None:
    database.rows("SELECT 1")

    def add() -> None:
        for _ in range(50):
            with database.write() as tx:
                row = tx.row("SELECT value FROM meta WHERE name='n'")
                tx.run("INSERT OR REPLACE INTO meta VALUES ('n', ?)", str(int(row[0] if row else 0) + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.value("SELECT value FROM meta WHERE name='n'") == "200"


def test_newer_version_is_refused(database: Database) -> None:
    database.rows("SELECT 1")
    database.connection.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(StateError, match="schema version 99"):
        Database(database.path).rows("SELECT 1")


def test_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"hello" * 1000)
    with pytest.raises(StateError, match="damaged"):
        Database(str(tmp_path / "db")).rows("SELECT 1")


def test_events_are_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podling.state.database.EVENTS_KEPT", 1500)
    with database.write() as tx:
        for number in range(3000):
            tx.event("container", "create", str(number), "x")
    assert database.value("SELECT count(*) FROM events") == 1500


def test_locks_exclude(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path / "locks"))
    with locks.hold("container", 7):
        assert locks.attempt("container", 7) is None
        other = locks.attempt("container", 8)
        assert other is not None
        other.release()
    again = locks.attempt("container", 7)
    assert again is not None
    again.release()
    again.release()


def test_shared_locks(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    with locks.hold("x", 1, shared=True):
        second = locks.attempt("x", 1, shared=True)
        assert second is not None and locks.attempt("x", 1) is None
        second.release()


def _hold_and_sleep(folder: str, ready: str) -> None:
    Locks(folder).hold("container", 1)
    Path(ready).touch()
    time.sleep(60)


def test_a_killed_process_frees_its_locks(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = multiprocessing.get_context("spawn").Process(target=_hold_and_sleep, args=(str(tmp_path), str(ready)))
    process.start()
    while not ready.exists():
        time.sleep(0.01)
    locks = Locks(str(tmp_path))
    assert locks.attempt("container", 1) is None
    process.kill()
    process.join()
    lock = locks.attempt("container", 1)
    assert lock is not None
    lock.release()


def test_intents(database: Database, tmp_path: Path) -> None:
    locks = Locks(str(tmp_path / "locks"))
    intent = declare(database, locks, "layer", "x")
    assert list(orphans(database, locks)) == []  # its owner lives
    intent.release()
    found = [(kind, subject) for _, kind, subject in orphans(database, locks)]
    assert found == [("layer", "x")]
    for orphan, _, _ in orphans(database, locks):
        with database.write() as tx:
            orphan.finish(tx)
    assert list(orphans(database, locks)) == []
    database.close()


def _shape(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Every table's columns, and the names of indexes and triggers, whatever the text that made them."""
    found = set()
    for kind, name in connection.execute("SELECT type, name FROM sqlite_master").fetchall():
        found.add((kind, name, ""))
        if kind == "table":
            for row in connection.execute(f"PRAGMA table_info({name})"):
                found.add((kind, name, repr(row[1:])))
    return found


@pytest.mark.parametrize("version", [1, 2])
def test_older_databases_are_brought_up_to_date(tmp_path: Path, database: Database, version: int) -> None:
    old = str(tmp_path / "old")
    connection = sqlite3.connect(old)
    connection.executescript((Path(__file__).parent / f"data/schema-v{version}.sql").read_text())
    connection.execute(
        "INSERT INTO images (id, manifest, manifest_digest, config, size, created, stored, labels, platform) "
        "VALUES ('ab', '{}', 'sha256:1', '{}', 1, 1, 1, '{}', 'linux/amd64')"
    )
    connection.execute("INSERT INTO image_names VALUES ('localhost/a:1', 'ab')")
    connection.execute(
        "INSERT INTO containers (id, name, image, created, command, config, status) VALUES ('cd', 'c', 'a', 1, 'sh', '{}', 'running')"
    )
    connection.execute(f"PRAGMA user_version={version}")
    connection.commit()
    connection.close()
    migrated = Database(old)
    assert migrated.row("SELECT id, kind, shelf FROM images") == ("ab", "image", "")
    assert migrated.rows("SELECT * FROM image_past_names") == [("ab", "localhost/a:1")]
    assert migrated.row("SELECT wanted, mounted, health, pod FROM containers") == (int(version == 1), 0, "", None)
    assert migrated.value("PRAGMA foreign_key_check") is None
    database.rows("SELECT 1")
    assert _shape(migrated.connection) == _shape(database.connection)
    migrated.close()
