"""A container in the foreground: its streams joined to ours, signals passed on, its exit code as the result."""

from __future__ import annotations

import os

from podling.core import lifecycle
from podling.core.containers import Container
from podling.errors import WrongState
from podling.runtime import attach, conmon
from podling.runtime.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
    from socket import socket
    from types import FrameType, TracebackType
    from typing import Any

    from podling.runtime.terminal import RawTerminal
else:  # the C module: `signal` imports enum
    import _signal as signals

SIGWINCH = 28
#: all signals but those that are about us (CHLD, CONT, PIPE, URG, WINCH, the stop signals, faults) and those nobody catches
PASSED_ON = (1, 2, 3, 5, 6, 10, 12, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31, *range(34, 65))


class Signals:
    """Catches signals for a `with` block: SIGWINCH always, the others when they are to be passed on.

    Only a main thread can; elsewhere (a library user's worker thread) nothing is caught.
    """

    def __init__(self, *, proxy: bool) -> None:
        self._wanted = [SIGWINCH, *(PASSED_ON if proxy else ())]
        self._caught: list[int] = []
        self._old: list[tuple[int, Any]] = []
        self._fds: tuple[int, int] = (-1, -1)
        self._old_wakeup = -1

    def __enter__(self) -> Signals:
        try:
            self._old.append((SIGWINCH, signals.signal(SIGWINCH, self._handle)))
        except ValueError:  # not the main thread
            return self
        self._fds = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_wakeup = signals.set_wakeup_fd(self._fds[1], warn_on_full_buffer=False)
        for number in self._wanted[1:]:
            self._old.append((number, signals.signal(number, self._handle)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old:
            signals.signal(number, handler)
        if self._fds[0] >= 0:
            signals.set_wakeup_fd(self._old_wakeup)
            os.close(self._fds[0])
            os.close(self._fds[1])

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._caught.append(number)

    @property
    def fd(self) -> int:
        return self._fds[0]

    def take(self) -> list[int]:
        caught, self._caught = self._caught, []
        return caught


class _Nothing:
    """A context manager that does nothing; contextlib's costs an import."""

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass


def raw_terminal(streams: Streams) -> RawTerminal | _Nothing:
    """Raw mode of our terminal for the `with` block, where the process has one."""
    if not streams.tty:
        return _Nothing()
    from podling.runtime.terminal import RawTerminal

    return RawTerminal(streams.stdin)


class Session:
    """Our end of one attached process: a container's first one, or an exec session's."""

    def __init__(self, folder: str, streams: Streams) -> None:
        self.folder = folder
        self.streams = streams
        self._socket: socket | None = None

    def connect(self) -> None:
        self._socket = attach.connect(self.folder)
        self.resize()

    def resize(self) -> None:
        if self.streams.tty:
            from podling.runtime.terminal import size

            found = size(self.streams.stdin, self.streams.stdout, self.streams.stderr)
            if found:
                conmon.resize(self.folder, *found)

    def run(self, pid: int, exit_file: str, proxy: Any) -> bool:
        """Join the streams until the process ends (True) or the user detaches (False). `proxy(number)` gets signals."""
        assert self._socket is not None
        try:
            ended = os.pidfd_open(pid)
        except ProcessLookupError:
            ended = os.open("/dev/null", os.O_RDONLY)  # always readable: it has ended already
        try:
            with Signals(proxy=proxy is not None) as signals, raw_terminal(self.streams):

                def wake() -> None:
                    for number in signals.take():
                        if number == SIGWINCH:
                            self.resize()
                        elif proxy:
                            proxy(number)

                return attach.pump(
                    self._socket,
                    self.streams,
                    ended=ended,
                    drained=lambda: os.path.exists(exit_file),
                    wakeup=signals.fd,
                    on_wakeup=wake,
                )
        finally:
            os.close(ended)
            self.close()

    def close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None


def run(
    container: Container, streams: Streams, sig_proxy: bool, preserve: lifecycle.Preserved | None = None
) -> int | None:
    """Start a container with its streams joined to ours; its exit code, or None when the user detached."""
    if container.config.log_driver.startswith("passthrough"):
        return _run_passthrough(container, preserve)
    bundle = container.bundle
    session = Session(bundle.folder, streams)
    attended = -1

    def before() -> None:
        nonlocal attended
        attended = bundle.attended()
        session.connect()

    try:
        if container.is_alive and container.status != "initialized":
            raise WrongState(f"container {container.name} is running already", hint=f"podling attach {container.name}")
        lifecycle.start(container, before, preserve=preserve)
        return _follow(container, session, sig_proxy)
    finally:
        session.close()
        if attended >= 0:
            os.close(attended)


def _run_passthrough(container: Container, preserve: lifecycle.Preserved | None) -> int:
    lifecycle.start(container, preserve=preserve)
    lifecycle.wait_for_process(container.pid, container.pid_start, -1)
    return _ended(container)


def _follow(container: Container, session: Session, sig_proxy: bool) -> int | None:
    proxy = (lambda number: lifecycle.send_signal(container, number)) if sig_proxy else None
    if not session.run(container.pid, container.bundle.exit_file, proxy):
        return None
    return _ended(container)


def _ended(container: Container) -> int:
    """The exit code; of one that failed, what may have been in its way."""
    code = lifecycle.finish(container)
    for text in container.troubles if code else ():
        container.ctx.warn(text)
    return code


def attach_to(container: Container, streams: Streams, sig_proxy: bool) -> int | None:
    """Join a running container; its exit code when it ends, None when the user detaches."""
    if not container.is_alive:
        raise WrongState(
            "you can only attach to running containers: container state improper",
            hint=f"podling start --attach {container.name}",
        )
    session = Session(container.bundle.folder, streams)
    attended = container.bundle.attended()
    try:
        session.connect()
        with container.ctx.db.write() as tx:
            container.tell(tx, "attach")
        return _follow(container, session, sig_proxy)
    finally:
        session.close()
        if attended >= 0:
            os.close(attended)
