"""Steps from one schema version to the next; each runs in one transaction together with its record.

`STEPS[n]` brings a database of version n to n + 1. `schema.sql` is always the newest version.
"""

from __future__ import annotations

import os

from podling.errors import StateError
from podling.state import sqlite

VERSION = 1
STEPS: dict[int, str] = {}


def prepare(connection: sqlite.Connection, version: int, path: str) -> None:
    """Create the schema in an empty database, or bring an older one up to date."""
    if version > VERSION:
        raise StateError(
            f"{path} has schema version {version}; this podling knows {VERSION}",
            hint="use the newer podling that made it, or another --root",
        )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]  # another process may have been first
        if version == 0:
            with open(os.path.join(os.path.dirname(__file__), "schema.sql")) as file:
                _run(connection, file.read())
        else:
            while version < VERSION:
                _run(connection, STEPS[version])
                version += 1
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _run(connection: sqlite.Connection, script: str) -> None:
    """Statement by statement: `executescript` would commit the transaction that we are in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite.complete_statement(statement):
            connection.execute(statement)
            statement = ""
