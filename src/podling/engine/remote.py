"""The engine of a service elsewhere, with the interface of the one in this process: operations go over the wire.

What belongs to this side stays here: files that arguments name, the terminal, signals, the environment.
"""

from __future__ import annotations

import os
import select
import stat

from podling.config.settings import Settings
from podling.engine import wire
from podling.engine.catalogue import builds as build_ops
from podling.engine.catalogue import containers as container_ops
from podling.engine.catalogue import images as image_ops
from podling.engine.catalogue import pods as pod_ops
from podling.engine.catalogue import storage as storage_ops
from podling.engine.catalogue import system as system_ops
from podling.engine.dial import Dialer, Place, Unreachable
from podling.engine.local import Engine
from podling.errors import InvalidInput, PodlingError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket
    from typing import Any, NoReturn

    from podling.core.context import Context
    from podling.core.doctor import Finding
    from podling.engine.catalogue.base import Operation

_CHUNK = 1 << 16


class RemoteEngine(Engine):
    """An open engine over a service. Each call has a connection of its own; calls from several threads may run at once."""

    def __init__(
        self,
        place: Place,
        *,
        warn: Callable[[str], None] | None = None,
        progress: Callable[[str], None] | None = None,
        meter: Callable[[str, int, int], None] | None = None,
    ) -> None:
        super().__init__(Settings())
        if warn:
            self.warn = warn
        if progress:
            self.progress = progress
        self.meter = meter
        self.dialer = Dialer(place)

    @property
    def context(self) -> Context:
        raise Unsupported("that is not possible from elsewhere", hint="run it on the host of the service")

    @property
    def host(self) -> str:
        return self.dialer.host

    def examine(self) -> list[Finding]:
        raise Unsupported("the host of a service is examined there", hint="run `podling doctor` on it")

    def close(self) -> None:
        self.dialer.close()

    def call(self, operation: Operation) -> Any:
        """Have the service execute an operation. A stream is a generator, as it is here."""
        from podling.engine import remote_files as files
        from podling.engine import remote_streams as streams

        here: dict[type[Any], Callable[[RemoteEngine, Any], Any]] = {
            container_ops.RunAttached: streams.run_attached,
            container_ops.AttachContainer: streams.attach,
            container_ops.ExecContainer: streams.execute,
            container_ops.WarnOfLogout: lambda engine, operation: None,
            container_ops.CreateContainer: files.create,
            container_ops.CopyFiles: files.copy,
            pod_ops.CreatePod: files.create_pod,
            build_ops.BuildImage: files.build,
            image_ops.LoadImages: files.load,
            image_ops.SaveImages: files.save,
            image_ops.ImportImage: files.import_image,
            storage_ops.ImportVolume: files.import_volume,
            image_ops.Login: files.as_here,
            image_ops.LoginName: files.as_here,
            image_ops.Logout: files.as_here,
            system_ops.Version: _both_versions,
        }
        special = here.get(type(operation))
        return special(self, operation) if special else self.execute(operation)

    # -- the wire
    def execute(self, operation: Operation) -> Any:
        """Send an operation, carry its descriptors' data, and take the result."""
        if type(operation).local:
            raise Unsupported("that is not possible from elsewhere", hint="run it on the host of the service")
        if getattr(operation, "preserve_fds", None):
            raise Unsupported("--preserve-fds: descriptors do not travel to a service")
        from podling.engine.remote_files import name_by_files

        credentials(operation)
        name_by_files(operation)
        exchange = _Exchange(self, operation)
        first = exchange.until_result_or_items()
        if first is None:
            return exchange.result
        return exchange.stream(first)


def _both_versions(engine: RemoteEngine, operation: system_ops.Version) -> dict[str, Any]:
    from podling.core.host import version

    return {**version(), "Server": engine.execute(operation)["Client"]}


def credentials(operation: Operation) -> None:
    """A file with credentials lies here: what it says of the registry goes along instead."""
    from podling.config import credentials as store
    from podling.oci.reference import parse

    if not isinstance(operation, image_ops.RegistryOperation) or operation.creds:
        return
    name = getattr(operation, "target", "") or getattr(operation, "name", "") or getattr(operation, "term", "")
    if not name or "://" in name:
        return
    try:
        reference = parse(name.removeprefix("docker://"))
    except PodlingError:
        return
    pair = store.find(reference.registry, reference.repository, operation.authfile) if reference.registry else None
    if pair:
        operation.creds = f"{pair[0]}:{pair[1]}"
    operation.authfile = ""


class _Exchange:
    """One operation on its way."""

    def __init__(self, engine: RemoteEngine, operation: Operation) -> None:
        self._engine = engine
        self._operation = operation
        self._inputs = [getattr(operation, name) for name in type(operation).inputs]
        self._outputs = [getattr(operation, name) for name in type(operation).outputs]
        self._pipes = {fd for fd in self._outputs if fd >= 0 and stat.S_ISFIFO(os.fstat(fd).st_mode)}
        self._buffer = b""
        self.result: Any = None
        self._sock: socket = engine.dialer.connect()
        try:
            self._greet()
            self._sock.sendall(wire.frame(b"O", wire.dump(operation)))
        except BaseException:
            self._sock.close()
            raise

    def _greet(self) -> None:
        self._sock.sendall(
            f"POST /podling/call HTTP/1.1\r\nHost: podling\r\nConnection: Upgrade\r\nUpgrade: {wire.PROTOCOL}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self._sock.recv(_CHUNK)
            if not piece:
                raise Unreachable(
                    f"{self._engine.dialer.place.url} hung up", hint="does it want TLS, or a certificate?"
                )
            head += piece
        head, _, self._buffer = head.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if status != [b"101"]:
            lines = head.decode("latin-1").split("\r\n")
            version = next((line[7:].strip() for line in lines if line.lower().startswith("server:")), "another kind")
            raise Unsupported(
                f"{self._engine.dialer.place.url} is a service of {version}, which does not speak {wire.PROTOCOL}",
                hint="its REST API works with Docker's and Podman's clients; this one needs podling there",
            )

    def _read(self) -> tuple[bytes, bytes]:
        while len(self._buffer) < wire.HEAD:
            self._more()
        kind, length = wire.parse_head(self._buffer[: wire.HEAD])
        while len(self._buffer) < wire.HEAD + length:
            self._more()
        data = self._buffer[wire.HEAD : wire.HEAD + length]
        self._buffer = self._buffer[wire.HEAD + length :]
        return kind, data

    def _more(self) -> None:
        """At least one more byte of the service; meanwhile it gets what the operation reads."""
        while True:
            pending = getattr(self._sock, "pending", lambda: 0)()  # TLS may hold more than the kernel tells
            watched = [fd for fd in self._inputs if fd >= 0]
            if pending or not (watched or self._pipes):
                break
            poll = select.poll()
            for fd in (self._sock.fileno(), *watched):
                poll.register(fd, select.POLLIN)
            for fd in self._pipes:
                poll.register(fd, 0)
            ready = [fd for fd, _ in poll.poll()]
            if any(fd in self._pipes for fd in ready):  # nobody reads any more what the operation writes
                raise BrokenPipeError
            for fd in ready:
                if fd in watched:
                    self._feed(fd)
            if self._sock.fileno() in ready:
                break
        piece = self._sock.recv(1 << 18)
        if not piece:
            raise Unreachable(f"{self._engine.dialer.place.url} hung up in the middle of an operation")
        self._buffer += piece

    def _feed(self, fd: int) -> None:
        data = os.read(fd, _CHUNK)
        position = self._inputs.index(fd)
        if not data:
            self._inputs[position] = -1
        try:
            self._sock.sendall(wire.frame(b"I", bytes((position,)) + data))
        except (BrokenPipeError, ConnectionResetError):
            self._inputs[position] = -1  # it reads no more, and will say why

    def until_result_or_items(self) -> list[Any] | None:
        """Take frames until the result is there (None), or the first items of a stream."""
        try:
            while True:
                kind, data = self._read()
                if kind == b"R":
                    self.result = wire.load(data)
                    self._sock.close()
                    return None
                if kind == b"Y":
                    items: list[Any] = wire.load(data)
                    return items
                if kind == b"E":
                    self._fail(wire.load(data))
                self._take(kind, data)
        except BaseException:
            self._sock.close()
            raise

    def _fail(self, error: Any) -> NoReturn:
        if isinstance(error, PodlingError):
            raise error
        raise InvalidInput(f"the service answered {error!r}")

    def _take(self, kind: bytes, data: bytes) -> None:
        engine = self._engine
        if kind == b"W":
            engine.warn(wire.load(data))
        elif kind == b"P":
            engine.progress(wire.load(data))
        elif kind == b"M" and engine.meter:
            engine.meter(*wire.load(data))
        elif kind == b"D":
            fd = self._outputs[data[0]]
            view = memoryview(data)[1:]
            while view and fd >= 0:
                view = view[os.write(fd, view) :]

    def stream(self, first: list[Any]) -> Stream:
        return Stream(self, first)

    def cancel(self) -> None:
        """End it, also while another thread waits for its next frame."""
        from socket import SHUT_RDWR

        try:
            self._sock.shutdown(SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        self._sock.close()


class Stream:
    """The items of a stream as they come. `close` ends the operation, from whichever thread."""

    def __init__(self, exchange: _Exchange, first: list[Any]) -> None:
        self._exchange = exchange
        self._items = first
        self._closed = self._waiting = False

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        while not self._items:
            if self._closed:
                raise StopIteration
            self._waiting = True
            try:
                items = self._exchange.until_result_or_items()
            except Unreachable:
                if self._closed:
                    raise StopIteration from None
                raise
            finally:
                self._waiting = False
            if items is None:
                self._closed = True
                raise StopIteration
            self._items = items
        return self._items.pop(0)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._items = []  # who leaves wants no more of what has come already
            self._exchange.cancel()
            if not self._waiting:  # else the thread that waits sees the end, and closes
                self._exchange.close()

    def __del__(self) -> None:
        self.close()
