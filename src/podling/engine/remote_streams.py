"""run, attach and exec at a service: our terminal here, the process there, the API's own taken-over connections between."""

from __future__ import annotations

import os
import select
from urllib.parse import quote

from podling.core.attached import SIGWINCH, Signals, raw_terminal
from podling.engine.catalogue import containers as ops
from podling.errors import NoSuchContainer, PodlingError, Unsupported, WrongState
from podling.oci import json
from podling.runtime.streams import Streams
from podling.runtime.terminal import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket
    from typing import Any

    from podling.engine.catalogue.base import Report
    from podling.engine.remote import RemoteEngine

_CHUNK = 1 << 16
_REMOVAL_SECONDS = 15


def run_attached(engine: RemoteEngine, operation: ops.RunAttached) -> int | None:
    return _attached(engine, operation.name, operation.streams, operation.sig_proxy, "", begin=True)


def attach(engine: RemoteEngine, operation: ops.AttachContainer) -> int | None:
    name = operation.name
    if operation.latest:
        name = engine.containers.list(all=True, last=1)[0].id
    state = engine.execute(ops.ContainerState(name=name))
    if not state.pid:
        raise WrongState(
            "you can only attach to running containers: container state improper", hint=f"podling start --attach {name}"
        )
    return _attached(engine, state.id, operation.streams, operation.sig_proxy, operation.detach_keys, begin=False)


def _attached(
    engine: RemoteEngine, name: str, streams: Streams, sig_proxy: bool, keys: str, *, begin: bool
) -> int | None:
    document = engine.execute(ops.InspectContainer(name=name))
    id, config, host = document["Id"], document["Config"], document["HostConfig"]
    if begin and document["State"]["Running"]:
        raise WrongState(f"container {document['Name']} is running already", hint=f"podling attach {document['Name']}")
    if host["LogConfig"]["Type"].startswith("passthrough"):
        raise Unsupported("--log-driver passthrough: descriptors do not travel to a service", hint="run it detached")
    if begin:
        _all_right(engine.execute(ops.InitContainers(names=[id])))
    tty = bool(config["Tty"])
    mine = Streams(
        stdin=streams.stdin if config["OpenStdin"] else -1, stdout=streams.stdout, stderr=streams.stderr, tty=tty
    )
    wanted = f"stdin={int(mine.stdin >= 0)}&stdout={int(mine.stdout >= 0)}&stderr={int(mine.stderr >= 0)}"
    wanted += f"&detachKeys={quote(keys)}" if keys else ""
    sock, early = _take_over(engine, f"/libpod/containers/{id}/attach?stream=1&{wanted}", None)
    try:
        if begin:
            _all_right(engine.execute(ops.StartContainers(names=[id])))

        def resize(rows: int, columns: int) -> None:
            engine.execute(ops.ResizeContainer(name=id, rows=rows, columns=columns))

        def signal(number: int) -> None:
            engine.execute(ops.KillContainers(names=[id], signal=str(number)))

        _pump(sock, early, mine, resize, signal if sig_proxy else None)
    finally:
        sock.close()
    try:
        if tty and engine.execute(ops.ContainerState(name=id)).pid:
            return None  # the service has seen the keys that detach
        code = int(engine.execute(ops.WaitContainer(name=id, settle=True)))
        if host["AutoRemove"]:
            _await_removal(engine, id)
    except NoSuchContainer:
        return int(engine.execute(ops.WaitContainer(name=id)))
    return code


def _all_right(report: Report) -> None:
    if report.errors:
        raise report.errors[0]


def _await_removal(engine: RemoteEngine, id: str) -> None:
    """A container that goes with its end is gone when the command is over, here as there."""
    import time

    deadline = time.monotonic() + _REMOVAL_SECONDS
    while time.monotonic() < deadline and engine.execute(ops.ContainerExists(name=id)):
        time.sleep(0.02)


def execute(engine: RemoteEngine, operation: ops.ExecContainer) -> int | None:
    options, streams = operation.options, operation.streams
    if options.preserve_fds:
        raise Unsupported("--preserve-fds: descriptors do not travel to a service")
    if options.env or options.env_file:
        from podling.core.parse import environment

        options.env = [f"{key}={value}" for key, value in environment(options.env, options.env_file).items()]
        options.env_file = []
    options.detach_keys = operation.detach_keys or options.detach_keys
    id = engine.execute(ops.CreateExec(name=operation.name, options=options))
    rows, columns = (size(streams.stdin, streams.stdout, streams.stderr) if options.tty else None) or (0, 0)
    sock, early = _take_over(
        engine, f"/libpod/exec/{id}/start", {"Detach": False, "Tty": options.tty, "h": rows, "w": columns}
    )
    try:
        mine = Streams(
            stdin=streams.stdin if options.interactive else -1,
            stdout=streams.stdout,
            stderr=streams.stderr,
            tty=options.tty,
        )

        def resize(rows: int, columns: int) -> None:
            engine.execute(ops.ResizeExec(id=id, rows=rows, columns=columns))

        _pump(sock, early, mine, resize, None)
    finally:
        sock.close()
    session = engine.execute(ops.InspectExec(id=id))
    if session["Running"]:
        return None
    engine.execute(ops.RemoveExec(id=id))
    return int(session["ExitCode"])


def _take_over(engine: RemoteEngine, path: str, body: dict[str, Any] | None) -> tuple[socket, bytes]:
    """A connection that the service has given up as HTTP, and what came with its head.

    Raises:
        PodlingError: the service refused.
    """
    data = json.dumps(body).encode() if body is not None else b""
    sock = engine.dialer.connect()
    try:
        sock.sendall(
            f"POST {path} HTTP/1.1\r\nHost: podling\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = sock.recv(_CHUNK)
            if not piece:
                raise PodlingError(f"{engine.dialer.place.url} hung up")
            answer += piece
        head, _, rest = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            while b"}" not in rest and (piece := sock.recv(_CHUNK)):
                rest += piece
            text = rest[rest.find(b"{") : rest.rfind(b"}") + 1]
            message = json.loads(text)["message"] if text else head.decode(errors="replace")
            raise PodlingError(str(message))
        return sock, rest
    except BaseException:
        sock.close()
        raise


def _pump(
    sock: socket,
    early: bytes,
    streams: Streams,
    resize: Callable[[int, int], None],
    signal: Callable[[int], None] | None,
) -> None:
    """Carry bytes until the service ends the connection: the process has ended, or its user has typed the keys that detach."""
    output = _Output(streams)
    output.feed(early)

    def fit() -> None:
        found = size(streams.stdin, streams.stdout, streams.stderr) if streams.tty else None
        if found:
            try:
                resize(*found)
            except PodlingError:
                pass  # it has just ended

    with Signals(proxy=signal is not None) as caught, raw_terminal(streams):
        fit()
        watched = (
            {sock.fileno()}
            | ({streams.stdin} if streams.stdin >= 0 else set())
            | ({caught.fd} if caught.fd >= 0 else set())
        )
        while True:
            ready = (
                [sock.fileno()] if getattr(sock, "pending", lambda: 0)() else select.select(list(watched), [], [])[0]
            )
            if caught.fd in ready:
                os.read(caught.fd, 4096)
                for number in caught.take():
                    if number == SIGWINCH:
                        fit()
                    elif signal:
                        try:
                            signal(number)
                        except PodlingError:
                            pass
            if streams.stdin in ready:
                typed = os.read(streams.stdin, _CHUNK)
                try:
                    if typed:
                        sock.sendall(typed)
                    else:
                        watched.discard(streams.stdin)
                        _end_input(sock, tty=streams.tty)
                except OSError:
                    watched.discard(streams.stdin)
            if sock.fileno() in ready:
                try:
                    data = sock.recv(_CHUNK)
                except ConnectionResetError:
                    data = b""
                if not data:
                    return
                output.feed(data)


def _end_input(sock: socket, *, tty: bool) -> None:
    from socket import SHUT_WR

    if tty:
        sock.sendall(b"\x04")
    elif hasattr(sock, "unwrap"):
        pass  # TLS cannot be half closed: the end of input is not told
    else:
        sock.shutdown(SHUT_WR)


class _Output:
    """What comes back, to our descriptors: as it is with a terminal, by its frames without."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._rest = b""

    def feed(self, data: bytes) -> None:
        if self._streams.tty:
            _write(self._streams.stdout, data)
            return
        self._rest += data
        while len(self._rest) >= 8:
            length = int.from_bytes(self._rest[4:8], "big")
            if len(self._rest) < 8 + length:
                return
            _write(self._streams.stderr if self._rest[0] == 2 else self._streams.stdout, self._rest[8 : 8 + length])
            self._rest = self._rest[8 + length :]


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view and fd >= 0:
        view = view[os.write(fd, view) :]
