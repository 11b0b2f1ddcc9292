"""Steps from one schema version to the next; each runs in one transaction together with its record.

`STEPS[n]` brings a database of version n to n + 1. `schema.sql` is always the newest version.
"""

from __future__ import annotations

import os

from podling.errors import StateError
from podling.state import sqlite

VERSION = 5
STEPS: dict[int, str] = {
    1: """
ALTER TABLE images ADD COLUMN kind TEXT NOT NULL DEFAULT 'image';
ALTER TABLE images ADD COLUMN members TEXT NOT NULL DEFAULT '{}';
ALTER TABLE images ADD COLUMN origin TEXT NOT NULL DEFAULT '';
ALTER TABLE images ADD COLUMN shelf TEXT NOT NULL DEFAULT '';
CREATE TABLE image_past_names (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    name     TEXT NOT NULL,
    PRIMARY KEY (image_id, name)
) WITHOUT ROWID;
CREATE TRIGGER image_names_remembered AFTER INSERT ON image_names BEGIN
    INSERT OR IGNORE INTO image_past_names VALUES (new.image_id, new.name);
END;
INSERT INTO image_past_names SELECT image_id, name FROM image_names;
CREATE TABLE signatures (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    digest   TEXT NOT NULL,
    body     BLOB NOT NULL,
    PRIMARY KEY (image_id, digest, body)
) WITHOUT ROWID;
CREATE TABLE image_mounts (
    image_id TEXT PRIMARY KEY REFERENCES images (id),
    users    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE blobs (
    diff_id    TEXT NOT NULL,
    digest     TEXT NOT NULL,
    size       INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (diff_id, digest)
) WITHOUT ROWID;
CREATE TABLE blob_places (
    digest TEXT NOT NULL,
    place  TEXT NOT NULL,
    PRIMARY KEY (digest, place)
) WITHOUT ROWID;
CREATE TABLE artifacts (
    digest   TEXT NOT NULL,
    name     TEXT PRIMARY KEY,
    manifest BLOB NOT NULL,
    created  INTEGER NOT NULL
) WITHOUT ROWID;
ALTER TABLE containers ADD COLUMN wanted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN mounted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN health TEXT NOT NULL DEFAULT '';
ALTER TABLE containers ADD COLUMN health_log TEXT NOT NULL DEFAULT '{}';
UPDATE containers SET wanted=1 WHERE status IN ('running', 'paused');
ALTER TABLE volumes ADD COLUMN driver TEXT NOT NULL DEFAULT 'local';
ALTER TABLE volumes ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
ALTER TABLE volumes ADD COLUMN uid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE volumes ADD COLUMN gid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE volumes ADD COLUMN mounted INTEGER NOT NULL DEFAULT 0;
CREATE TABLE secrets (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    driver  TEXT NOT NULL,
    options TEXT NOT NULL DEFAULT '{}',
    labels  TEXT NOT NULL DEFAULT '{}',
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) WITHOUT ROWID;
""",
    2: """
CREATE TABLE pods (
    key     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,
    name    TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    labels  TEXT NOT NULL DEFAULT '{}',
    config  TEXT NOT NULL
);
ALTER TABLE containers ADD COLUMN pod INTEGER REFERENCES pods (key);
ALTER TABLE containers ADD COLUMN infra INTEGER NOT NULL DEFAULT 0;
CREATE INDEX containers_pod ON containers (pod) WHERE pod IS NOT NULL;
""",
    3: """
ALTER TABLE containers ADD COLUMN checkpoint TEXT NOT NULL DEFAULT '{}';
""",
    4: """
ALTER TABLE containers ADD COLUMN external INTEGER NOT NULL DEFAULT 0;
CREATE TABLE build_steps (
    key      TEXT PRIMARY KEY,
    layer    INTEGER REFERENCES layers (key),
    document BLOB NOT NULL,
    made     INTEGER NOT NULL,
    used     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX build_steps_layer ON build_steps (layer);
""",
}


def prepare(connection: sqlite.Connection, version: int, path: str) -> None:
    """Create the schema in an empty database, or bring an older one up to date."""
    if version > VERSION:
        raise StateError(
            f"{path} has schema version {version}; this podling knows {VERSION}",
            hint="use the newer podling that made it, or another --root",
        )
    from podling.linux.calls import is_remote

    # a write-ahead log needs memory that all who open the file share: hosts of one network file system do not
    connection.execute(
        f"PRAGMA journal_mode={'DELETE' if is_remote(os.path.dirname(os.path.realpath(path))) else 'WAL'}"
    )
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
