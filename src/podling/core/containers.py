"""A container's row, and how users name it: full id, unique prefix of it, or name."""

from __future__ import annotations

from podling.errors import AmbiguousName, NoSuchContainer
from podling.linux.proc import is_alive
from podling.oci.reference import is_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.rootless.subids import Owners
    from podling.runtime.config import ContainerConfig
    from podling.runtime.conmon import Bundle
    from podling.state.database import Transaction
    from podling.state.locks import Lock

ALIVE = ("running", "paused", "stopping", "initialized")
#: the exit code of a container whose end nobody saw
UNKNOWN_EXIT = 255


class Container:
    """One row of `containers`; its columns are attributes. `load` reads it again."""

    key: int
    id: str
    name: str
    image_id: str | None
    image: str
    layer: int | None
    created: int
    command: str
    ports: str
    auto_remove: int
    status: str
    pid: int
    pid_start: int
    conmon_pid: int
    conmon_start: int
    started: int
    finished: int
    exit_code: int
    oom_killed: int
    restarts: int
    error: str
    dirty: int
    wanted: int
    mounted: int
    health: str
    health_log: str
    pod: int | None
    infra: int
    external: int

    def __init__(self, ctx: Context, columns: dict[str, Any]) -> None:
        self.ctx = ctx
        #: the configuration as it stands in the row
        self.document: str = columns.pop("config")
        self.__dict__.update(columns)
        self._config: ContainerConfig | None = None
        #: what may be in the way of its process, told if that fails
        self.troubles: list[str] = []

    def load(self) -> None:
        """Read the row again.

        Raises:
            NoSuchContainer: it has been removed meanwhile.
        """
        rows = self.ctx.db.records("SELECT * FROM containers WHERE key=?", self.key)
        if not rows:
            raise NoSuchContainer(self.id)
        self.document = rows[0].pop("config")
        self.__dict__.update(rows[0])

    @property
    def config(self) -> ContainerConfig:
        if self._config is None:
            from podling.oci import json
            from podling.runtime.config import ContainerConfig

            self._config = ContainerConfig.from_json(json.loads(self.document))
        return self._config

    @property
    def init_type(self) -> str:
        """ "always" or "once" for an init container of a pod, else ""; cheap for all others."""
        return self.config.init_type if '"init_type"' in self.document else ""

    def tell(self, tx: Transaction, action: str, **attributes: str) -> None:
        """Record an event: with the container's labels, and its pod's id."""
        from podling.oci import json

        config = self.config
        if config.pod:
            attributes["podId"] = config.pod
        tx.event("container", action, self.id, self.name, self.image, json.dumps({**config.labels, **attributes}))

    @property
    def owners(self) -> Owners | None:
        """The id maps that the owners of its files go through; None without a user namespace of its own."""
        userns = self.config.userns
        if userns is None or not userns.users:
            return None
        from podling.rootless.subids import Owners

        return Owners(userns.users, userns.groups)

    @property
    def bundle(self) -> Bundle:
        from podling.runtime.conmon import Bundle

        return Bundle(self.ctx.settings, self.id)

    def lock(self) -> Lock:
        """The container's lock. Reload the row after taking it."""
        return self.ctx.locks.hold("container", self.key)

    @property
    def is_alive(self) -> bool:
        """Its process runs, whatever the row says."""
        return self.status in ALIVE and is_alive(self.pid, self.pid_start)

    @property
    def live_root(self) -> str:
        """Where a running container's files are seen; for a runtime with a kernel of its own, what we mounted for it."""
        if self.ctx.runtime(self.config.runtime).signals_directly:
            return f"/proc/{self.pid}/root"
        store = self.ctx.store
        return store.driver.root(store.folder(self.layer)) if self.layer else self.config.rootfs

    def truth(self) -> tuple[str, int, int]:
        """(status, exit code, finished): the row's, or what exit file and kernel say where the row is behind."""
        return actual(self.ctx, self.id, self.status, self.pid, self.pid_start, self.exit_code, self.finished)


def actual(
    ctx: Context, id: str, status: str, pid: int, pid_start: int, code: int, finished: int
) -> tuple[str, int, int]:
    """The truth about a row without writing: a dead process is exited, with the code in its exit file, else 255."""
    if status not in ALIVE or is_alive(pid, pid_start):
        return status, code, finished
    from podling.runtime.conmon import exit_code, wait_for_exit_file

    path = f"{ctx.settings.tmpdir}/exits/{id}"
    found = exit_code(path)
    if found:
        return ("exited", *found)
    # no exit file: conmon was killed too, or is about to write it, or somebody recorded the exit between our look at the row and now
    row = ctx.db.row("SELECT status, exit_code, finished, conmon_pid, conmon_start FROM containers WHERE id=?", id)
    if row is None:
        row = ctx.db.row("SELECT 'exited', exit_code, finished FROM exits WHERE id=?", id)
    if row and row[0] not in ALIVE:
        return row[0], row[1], row[2]
    found = wait_for_exit_file(path, row[3], row[4], 1.0) if row and is_alive(row[3], row[4]) else None
    return ("exited", *found) if found else ("exited", UNKNOWN_EXIT, finished)


def find(ctx: Context, name: str) -> Container:
    """The container that `name` means.

    Raises:
        NoSuchContainer, AmbiguousName.
    """
    name = name.removeprefix("/")
    rows = ctx.db.records("SELECT * FROM containers WHERE name=? OR id=?", name, name)
    if not rows and is_hex(name) and len(name) < 64:
        rows = ctx.db.records("SELECT * FROM containers WHERE id >= ? AND id < ? LIMIT 5", name, name + "g")
        if len(rows) > 1:
            found = ", ".join(f"{row['id'][:12]} ({row['name']})" for row in rows)
            raise AmbiguousName(f'"{name}" fits several containers: {found}', hint="give more digits, or the name")
    if not rows or not name:
        raise NoSuchContainer(name)
    return Container(ctx, rows[0])


def latest(ctx: Context) -> Container:
    """The container created last."""
    rows = ctx.db.records("SELECT * FROM containers WHERE NOT external ORDER BY created DESC, key DESC LIMIT 1")
    if not rows:
        raise NoSuchContainer("latest")
    return Container(ctx, rows[0])


def every(ctx: Context, where: str = "1") -> list[Container]:
    """All containers that an SQL condition of ours selects, oldest first."""
    return [Container(ctx, row) for row in ctx.db.records(f"SELECT * FROM containers WHERE {where} ORDER BY key")]


def select(
    ctx: Context, names: list[str], *, all: bool = False, latest_only: bool = False, filters: list[str] | None = None
) -> list[Container]:
    """What a command's arguments name: names, --all, --latest, or --filter."""
    if latest_only:
        return [latest(ctx)]
    if all or filters:
        from podling.core.listing import matcher

        chosen = every(ctx, "NOT external")
        if filters:
            match = matcher(ctx, filters)
            chosen = [container for container in chosen if match(container)]
        return chosen
    return [find(ctx, name) for name in names]
