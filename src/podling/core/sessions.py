"""What a client elsewhere needs of a container: its streams as a socket, and exec sessions that are made, started and asked about
one step at a time.
"""

from __future__ import annotations

import os

from podling.config import containers
from podling.core import exec as running
from podling.core import lifecycle
from podling.core.containers import Container, find
from podling.core.options import ExecOptions
from podling.errors import Conflict, NotFound, WrongState
from podling.linux.proc import is_alive, start_time
from podling.oci import json
from podling.oci.record import Record
from podling.runtime import attach, conmon
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket
    from typing import Any

    from podling.core.context import Context

#: a session that has ended answers so many seconds; then a later one sweeps it away
_KEPT = 300


class Link:
    """A process that somebody is joined to. `socket` is conmon's (see `runtime.attach`); close it at the end."""

    def __init__(self, socket: socket, pid: int, exit_file: str, *, tty: bool, keys: str, attended: int = -1) -> None:
        self.socket, self.pid, self.exit_file, self.tty = socket, pid, exit_file, tty
        #: takes the keys that detach out of what is typed; it never sees any where there is no terminal
        self.keys = attach.Keys(attach.parse_detach_keys(keys) if tty else b"")
        self._attended = attended

    @property
    def has_ended(self) -> bool:
        """Its exit code is known: all that it wrote is in the socket."""
        return os.path.exists(self.exit_file)

    def end_input(self) -> None:
        attach.end_input(self.socket, tty=self.tty)

    def close(self) -> None:
        self.socket.close()
        if self._attended >= 0:
            os.close(self._attended)
            self._attended = -1


class State(Record):
    """A container's state as a waiter sees it."""

    id: str
    status: str
    exit_code: int
    pid: int
    started: int
    finished: int
    health: str


def state(ctx: Context, name: str) -> State:
    container = find(ctx, name)
    status, code, finished = container.truth()
    return State(
        id=container.id, status=status, exit_code=code, pid=container.pid if container.is_alive else 0,
        started=container.started, finished=finished, health=container.health or "",
    )  # fmt: skip


def open_container(ctx: Context, name: str, detach_keys: str) -> Link:
    """Join a container's streams. One that does not run is initialised, so that nothing of its output is missed.

    Raises:
        WrongState: it has ended, and was made for one run.
    """
    container = find(ctx, name)
    if not container.is_alive:
        lifecycle.init(container)
        container = find(ctx, name)
    config = container.config
    keys = detach_keys or config.detach_keys
    socket = attach.connect(container.bundle.folder)
    socket.setblocking(False)
    with ctx.db.write() as tx:
        container.tell(tx, "attach")
    return Link(socket, container.pid, container.bundle.exit_file, tty=config.tty, keys=keys)


def resize_container(ctx: Context, name: str, rows: int, columns: int) -> None:
    container = find(ctx, name)
    if not container.is_alive:
        raise WrongState(f"container {container.name} is not running: container state improper")
    conmon.resize(container.bundle.folder, rows, columns)


# -- exec sessions
def create(ctx: Context, name: str, options: ExecOptions) -> str:
    """Prepare a session; its id.

    Raises:
        NotRunning, InvalidInput, CommandNotFound, CommandNotInvocable.
    """
    container = find(ctx, name)
    _sweep(container)
    return running.begin(container, options)[0]


def _sweep(container: Container) -> None:
    """Forget sessions that ended long ago."""
    ctx = container.ctx
    kept = containers.load().number("engine", "exit_command_delay", _KEPT) * 10**9
    for id, created in ctx.db.rows("SELECT id, created FROM exec_sessions WHERE container=? AND pid<>0", container.key):
        if created < now() - kept and not _look(ctx, id)["Running"]:
            with ctx.db.write() as tx:
                tx.run("DELETE FROM exec_sessions WHERE id=?", id)
            running.drop_folder(container, id)


def _row(ctx: Context, id: str) -> dict[str, Any]:
    rows = ctx.db.records("SELECT * FROM exec_sessions WHERE id LIKE ?", id.replace("%", "") + "%")
    if len(rows) != 1:
        raise NotFound(f"no exec session with ID {id} found: no such exec session", cause="no such exec session")
    return rows[0]


def _container(ctx: Context, row: dict[str, Any]) -> Container:
    return find(ctx, ctx.db.value("SELECT id FROM containers WHERE key=?", row["container"]))


def start(
    ctx: Context, id: str, *, attached: bool, tty: bool | None, ready: Callable[[], None] | None = None
) -> Link | None:
    """Start a prepared session; with `attached` its link. `ready` is called when all is prepared, before its process begins.

    Raises:
        Conflict: it was started already. NotRunning: its container does not run any more. RuntimeFailed.
    """
    row = _row(ctx, id)
    container = _container(ctx, row)
    if row["pid"] or row["exit_code"] is not None:
        raise Conflict(f"exec session {row['id']} was started before: exec session state improper")
    if not container.is_alive or container.status == "paused":
        raise running.NotRunning(f"container {container.name} is not running: container state improper")
    options = ExecOptions.from_json(json.loads(row["config"]))
    if tty is not None and tty != options.tty:
        options.tty = tty
        running.write_process(container, row["id"], options)
    folder = running.folder_of(container, row["id"])
    sockets: list[socket] = []

    def connect() -> None:
        sockets.append(attach.connect(folder))
        if ready:
            ready()

    try:
        pid = conmon.create_exec(
            ctx.settings, ctx.runtime(container.config.runtime), container.id, row["id"], folder, tty=options.tty,
            stdin=options.interactive, exit_folder=folder,
            connect=connect if attached else None,
        )  # fmt: skip
    except BaseException:
        for socket in sockets:
            socket.close()
        _record_end(container, row["id"], 126)
        raise
    with ctx.db.write() as tx:
        tx.run("UPDATE exec_sessions SET pid=?, pid_start=? WHERE id=?", pid, start_time(pid), row["id"])
    if not sockets:
        return None
    sockets[0].setblocking(False)
    exit_file = f"{folder}/{container.id}"  # conmon names it after the container, not after the session
    return Link(sockets[0], pid, exit_file, tty=options.tty, keys=options.detach_keys)


def inspect(ctx: Context, id: str) -> dict[str, Any]:
    """In the shape of Podman's, which is Docker's."""
    return _look(ctx, _row(ctx, id)["id"])


def _look(ctx: Context, id: str) -> dict[str, Any]:
    row = _row(ctx, id)
    container = _container(ctx, row)
    options = ExecOptions.from_json(json.loads(row["config"]))
    alive = bool(row["pid"]) and is_alive(row["pid"], row["pid_start"])
    code = row["exit_code"]
    if row["pid"] and not alive and code is None:
        found = conmon.wait_for_exit_file(
            f"{running.folder_of(container, id)}/{container.id}", row["pid"], row["pid_start"], 2.0
        )
        code = found[0] if found else -1
        _record_end(container, id, code)
    return {
        "CanRemove": not alive,
        "ContainerID": container.id,
        "DetachKeys": options.detach_keys,
        "ExitCode": code if code is not None else 0,
        "ID": id,
        "OpenStderr": True,
        "OpenStdin": options.interactive,
        "OpenStdout": True,
        "Running": alive,
        "Pid": row["pid"] if alive else 0,
        "ProcessConfig": {
            "arguments": options.command[1:],
            "entrypoint": options.command[0],
            "privileged": options.privileged,
            "tty": options.tty,
            "user": options.user,
        },
    }


def _record_end(container: Container, id: str, code: int) -> None:
    with container.ctx.db.write() as tx:
        if tx.run("UPDATE exec_sessions SET exit_code=? WHERE id=? AND exit_code IS NULL", code, id):
            container.tell(tx, "exec_died", execID=id, containerExitCode=str(code))


def resize(ctx: Context, id: str, rows: int, columns: int) -> None:
    row = _row(ctx, id)
    if not row["pid"] or not is_alive(row["pid"], row["pid_start"]):
        raise WrongState(f"exec session {row['id']} is not running: exec session state improper")
    conmon.resize(running.folder_of(_container(ctx, row), row["id"]), rows, columns)


def remove(ctx: Context, id: str, *, force: bool) -> None:
    """Forget a session; one that runs is killed with `force`.

    Raises:
        WrongState: it runs.
    """
    row = _row(ctx, id)
    container = _container(ctx, row)
    if row["pid"] and is_alive(row["pid"], row["pid_start"]):
        if not force:
            raise WrongState(f"exec session {row['id']} is running: container state improper")
        os.kill(row["pid"], 9)
        lifecycle.wait_for_process(row["pid"], row["pid_start"], 10)
    if row["pid"]:
        _look(ctx, row["id"])
    with ctx.db.write() as tx:
        tx.run("DELETE FROM exec_sessions WHERE id=?", row["id"])
    running.drop_folder(container, row["id"])
