-- The schema. A change here comes with a step in migrations.py; tests open kept databases of every version.
-- Times are nanoseconds since the epoch. `key` names folders on disk and lock ranges; `id` is what users see.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- A layer on disk: <root>/<driver>/<key>/. An image's layer has a chain id, a container's writable one has none.
CREATE TABLE layers (
    key      INTEGER PRIMARY KEY AUTOINCREMENT,
    parent   INTEGER REFERENCES layers (key),
    chain_id TEXT UNIQUE,
    diff_id  TEXT,
    size     INTEGER NOT NULL DEFAULT 0,      -- bytes of the uncompressed tar
    mounts   INTEGER NOT NULL DEFAULT 0,      -- how many users hold it mounted; void after a reboot
    created  INTEGER NOT NULL
);
CREATE INDEX layers_parent ON layers (parent);

CREATE TABLE images (
    id              TEXT PRIMARY KEY,         -- hex of the configuration's digest
    layer           INTEGER REFERENCES layers (key),
    manifest        BLOB NOT NULL,
    manifest_digest TEXT NOT NULL,
    config          BLOB NOT NULL,
    size            INTEGER NOT NULL,
    created         INTEGER NOT NULL,         -- as the image says
    stored          INTEGER NOT NULL,         -- when it came here
    labels          TEXT NOT NULL DEFAULT '{}',
    platform        TEXT NOT NULL,
    kind            TEXT NOT NULL DEFAULT 'image', -- image, or index: a manifest list, whose id is random
    members         TEXT NOT NULL DEFAULT '{}',    -- of an index: digest of each manifest to where it is
    origin          TEXT NOT NULL DEFAULT '',      -- the name that it was pulled by, for the signature policy
    shelf           TEXT NOT NULL DEFAULT ''       -- the additional image store that its layers lie in
);
CREATE INDEX images_layer ON images (layer);

CREATE TABLE image_names (
    name     TEXT PRIMARY KEY,                -- registry/repository:tag
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX image_names_image ON image_names (image_id);

-- Names that an image had at some time.
CREATE TABLE image_past_names (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    name     TEXT NOT NULL,
    PRIMARY KEY (image_id, name)
) WITHOUT ROWID;
CREATE TRIGGER image_names_remembered AFTER INSERT ON image_names BEGIN
    INSERT OR IGNORE INTO image_past_names VALUES (new.image_id, new.name);
END;

CREATE TABLE image_digests (
    name     TEXT NOT NULL,                   -- registry/repository
    digest   TEXT NOT NULL,
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    PRIMARY KEY (name, digest)
) WITHOUT ROWID;
CREATE INDEX image_digests_image ON image_digests (image_id);

-- Signatures that came with an image: simple signing, or sigstore's payload with its annotations, as JSON.
CREATE TABLE signatures (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    digest   TEXT NOT NULL,                   -- of the manifest that is signed
    body     BLOB NOT NULL,
    PRIMARY KEY (image_id, digest, body)
) WITHOUT ROWID;

-- Who looks at an image's files through `image mount`; void after a reboot.
CREATE TABLE image_mounts (
    image_id TEXT PRIMARY KEY REFERENCES images (id),
    users    INTEGER NOT NULL
) WITHOUT ROWID;

-- What is known of compressed blobs: a layer that was pulled or pushed once need not be compressed or sent again.
CREATE TABLE blobs (
    diff_id    TEXT NOT NULL,
    digest     TEXT NOT NULL,
    size       INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (diff_id, digest)
) WITHOUT ROWID;
CREATE TABLE blob_places (
    digest TEXT NOT NULL,
    place  TEXT NOT NULL,                     -- registry/repository that has it, or had
    PRIMARY KEY (digest, place)
) WITHOUT ROWID;

-- What steps of builds made, for the builds after them. The key is a digest of all that the step depends on, its parent's key first.
CREATE TABLE build_steps (
    key      TEXT PRIMARY KEY,
    layer    INTEGER REFERENCES layers (key), -- the topmost one after the step
    document BLOB NOT NULL,                   -- the image's configuration after the step
    made     INTEGER NOT NULL,
    used     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX build_steps_layer ON build_steps (layer);

-- Secrets: only what is said of them; what they say is with their driver.
CREATE TABLE secrets (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    driver  TEXT NOT NULL,
    options TEXT NOT NULL DEFAULT '{}',
    labels  TEXT NOT NULL DEFAULT '{}',
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) WITHOUT ROWID;

-- OCI artifacts: their blobs are files in <root>/artifacts/<algorithm>/<hex>.
CREATE TABLE artifacts (
    digest   TEXT NOT NULL,                   -- of the manifest
    name     TEXT PRIMARY KEY,                -- registry/repository:tag
    manifest BLOB NOT NULL,
    created  INTEGER NOT NULL
) WITHOUT ROWID;

-- A pod: containers that share namespaces, which its infra container holds.
CREATE TABLE pods (
    key     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,
    name    TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    labels  TEXT NOT NULL DEFAULT '{}',
    config  TEXT NOT NULL
);

-- Columns up to `config` change after create by rename and update alone; the others are the container's state.
CREATE TABLE containers (
    key          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL UNIQUE,
    image_id     TEXT REFERENCES images (id),
    image        TEXT NOT NULL,               -- the name it was asked for
    layer        INTEGER REFERENCES layers (key),
    created      INTEGER NOT NULL,
    command      TEXT NOT NULL,               -- entry point and arguments, separated by U+001F
    labels       TEXT NOT NULL DEFAULT '{}',
    ports        TEXT NOT NULL DEFAULT '',    -- as `ps` shows them
    auto_remove  INTEGER NOT NULL DEFAULT 0,
    config       TEXT NOT NULL,
    status       TEXT NOT NULL,               -- created, initialized, running, paused, stopping, exited
    pid          INTEGER NOT NULL DEFAULT 0,
    pid_start    INTEGER NOT NULL DEFAULT 0,
    conmon_pid   INTEGER NOT NULL DEFAULT 0,
    conmon_start INTEGER NOT NULL DEFAULT 0,
    started      INTEGER NOT NULL DEFAULT 0,
    finished     INTEGER NOT NULL DEFAULT 0,
    exit_code    INTEGER NOT NULL DEFAULT 0,
    oom_killed   INTEGER NOT NULL DEFAULT 0,
    restarts     INTEGER NOT NULL DEFAULT 0,
    error        TEXT NOT NULL DEFAULT '',
    dirty        INTEGER NOT NULL DEFAULT 0,  -- holds mounts, networks or runtime state that clean-up must release
    network      TEXT NOT NULL DEFAULT '{}',  -- what the network back end answered
    wanted       INTEGER NOT NULL DEFAULT 0,  -- it was started, and nobody stopped it: a restart policy, and a boot, start it again
    mounted      INTEGER NOT NULL DEFAULT 0,  -- how often `container mount` mounted its layer
    health       TEXT NOT NULL DEFAULT '',    -- starting, healthy, unhealthy, or nothing
    health_log   TEXT NOT NULL DEFAULT '{}',  -- what the last checks said: FailingStreak, Log
    pod          INTEGER REFERENCES pods (key),
    infra        INTEGER NOT NULL DEFAULT 0,  -- it holds the namespaces of its pod
    checkpoint   TEXT NOT NULL DEFAULT '{}',  -- at, network: the checkpoint in its folder; restored: when it last went on from one
    external     INTEGER NOT NULL DEFAULT 0   -- it runs a step of a build: lists leave it out
);
CREATE INDEX containers_pod ON containers (pod) WHERE pod IS NOT NULL;
CREATE INDEX containers_image ON containers (image_id);
CREATE INDEX containers_layer ON containers (layer);
CREATE INDEX containers_dirty ON containers (key) WHERE dirty;

CREATE TABLE exec_sessions (
    id           TEXT PRIMARY KEY,
    container    INTEGER NOT NULL REFERENCES containers (key) ON DELETE CASCADE,
    created      INTEGER NOT NULL,
    config       TEXT NOT NULL,
    pid          INTEGER NOT NULL DEFAULT 0,
    pid_start    INTEGER NOT NULL DEFAULT 0,
    exit_code    INTEGER
) WITHOUT ROWID;
CREATE INDEX exec_sessions_container ON exec_sessions (container);

-- What `wait` answers for a container that is gone already.
CREATE TABLE exits (
    id        TEXT PRIMARY KEY,
    finished  INTEGER NOT NULL,
    exit_code INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE volumes (
    key       INTEGER PRIMARY KEY AUTOINCREMENT,
    name      TEXT NOT NULL UNIQUE,
    created   INTEGER NOT NULL,
    anonymous INTEGER NOT NULL DEFAULT 0,
    filled    INTEGER NOT NULL DEFAULT 0,     -- copy-up has been done, or is not wanted
    labels    TEXT NOT NULL DEFAULT '{}',
    driver    TEXT NOT NULL DEFAULT 'local',  -- local, or image
    options   TEXT NOT NULL DEFAULT '{}',     -- of the driver: type, o, device
    uid       INTEGER NOT NULL DEFAULT 0,
    gid       INTEGER NOT NULL DEFAULT 0,
    mounted   INTEGER NOT NULL DEFAULT 0      -- how often `volume mount` mounted it; void after a reboot
);
CREATE TABLE volume_users (
    volume    INTEGER NOT NULL REFERENCES volumes (key),
    container INTEGER NOT NULL REFERENCES containers (key) ON DELETE CASCADE,
    PRIMARY KEY (volume, container)
) WITHOUT ROWID;
CREATE INDEX volume_users_container ON volume_users (container);

-- Addresses in use; a lease ends with its container.
CREATE TABLE leases (
    network   TEXT NOT NULL,
    address   TEXT NOT NULL,
    container INTEGER NOT NULL REFERENCES containers (key) ON DELETE CASCADE,
    PRIMARY KEY (network, address)
) WITHOUT ROWID;
CREATE INDEX leases_container ON leases (container);

CREATE TABLE events (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    time       INTEGER NOT NULL,
    type       TEXT NOT NULL,                 -- container, image, volume, …
    action     TEXT NOT NULL,
    id         TEXT NOT NULL,
    name       TEXT NOT NULL,
    image      TEXT NOT NULL DEFAULT '',
    attributes TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX events_time ON events (time);

-- A change of several steps, written down before the first one. Its owner holds the lock ("intent", key) while it lives;
-- an intent without an owner is undone by the next command that writes.
CREATE TABLE intents (
    key     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,                    -- layer: the folder <key> may be half made; undo removes it
    subject TEXT NOT NULL,
    created INTEGER NOT NULL
);
