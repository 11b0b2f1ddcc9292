"""Attaching to a container: conmon's socket on one side, our own descriptors on the other.

The socket is SOCK_SEQPACKET. A packet from conmon is one byte for the stream (2 standard output, 3 standard error) and data;
what we write is standard input, and shutting down our side closes it.
"""

from __future__ import annotations

import os
import select

from podling.errors import InvalidInput, WrongState
from podling.runtime.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import AF_UNIX, SHUT_WR, SOCK_CLOEXEC, SOCK_SEQPACKET
    from socket import socket as Socket
else:  # the C module: `socket` imports enum and selectors, 4 ms of every attached run
    from _socket import AF_UNIX, SHUT_WR, SOCK_CLOEXEC, SOCK_SEQPACKET
    from _socket import socket as Socket

_PACKET = 32 * 1024 + 1
_INPUT_CHUNK = 8192
_STDERR = 3


def parse_detach_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q`, `a`, … as bytes; "" turns detaching off.

    Raises:
        InvalidInput: a key is neither one character nor ctrl- and one of a-z @ [ \\ ] ^ _.
    """
    keys = bytearray()
    for part in text.split(",") if text else ():
        if len(part) == 1 and part.isascii():
            keys += part.encode()
        elif len(part) == 6 and part[:5].lower() == "ctrl-" and (part[5].isalpha() or part[5] in "@[\\]^_"):
            keys.append(ord(part[5].upper()) & 0x1F)
        else:
            raise InvalidInput(
                f"--detach-keys: {part!r} is no key",
                hint="keys are single characters or ctrl- and a letter, separated by commas",
            )
    return bytes(keys)


def connect(folder: str) -> Socket:
    """Connect to the attach socket in `folder`, whose path may be longer than a socket address holds."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = Socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{fd}/attach")
        except OSError as error:
            sock.close()
            raise WrongState(f"cannot attach: {error.strerror}", hint="is the container running?") from None
        return sock
    finally:
        os.close(fd)


class Keys:
    """Finds the detach sequence in what is typed; a prefix of it is held back until it is decided."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what to pass on, whether the sequence is complete)."""
        if not self._sequence:
            return data, False
        out = bytearray()
        for byte in data:
            if byte == self._sequence[self._held]:
                self._held += 1
                if self._held == len(self._sequence):
                    return bytes(out), True
            else:
                out += self._sequence[: self._held]
                self._held = 0
                if byte == self._sequence[0]:
                    self._held = 1
                else:
                    out.append(byte)
        return bytes(out), False


def pump(
    sock: Socket,
    streams: Streams,
    *,
    ended: int = -1,
    drained: Callable[[], bool] = lambda: True,
    wakeup: int = -1,
    on_wakeup: Callable[[], None] | None = None,
) -> bool:
    """Copy in both directions until the container's side ends: True; or the user detaches: False.

    `ended` is a pidfd of the process: conmon keeps the socket open while its exit command waits for us, so the end is seen
    there, and all output has come once `drained()`. `wakeup` becomes readable when `on_wakeup` has something to do (signals).
    Output that its reader no longer wants (a closed pipe) is dropped, as the container must not notice.
    """
    keys = Keys(parse_detach_keys(streams.detach_keys) if streams.tty else b"")
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    reading = streams.stdin >= 0
    if reading:
        poller.register(streams.stdin, select.POLLIN)
    for extra in (wakeup, ended):
        if extra >= 0:
            poller.register(extra, select.POLLIN)
    pending = b""
    outputs = {2: streams.stdout, _STDERR: streams.stderr}
    sock.setblocking(False)
    socket_fd = sock.fileno()
    over = False
    while True:
        complete = over and drained()
        ready = poller.poll(0 if complete else 1 if over else None)
        if complete and not any(fd == socket_fd for fd, _ in ready):
            return True
        for fd, event in ready:
            if fd == ended:
                over = True
                poller.unregister(ended)
            elif fd == wakeup:
                os.read(wakeup, 4096)
                if on_wakeup:
                    on_wakeup()
            elif fd == socket_fd:
                if event & select.POLLOUT and pending:
                    pending = _send(sock, pending)
                    if not pending:
                        poller.modify(sock, select.POLLIN)
                        if reading:
                            poller.register(streams.stdin, select.POLLIN)
                if event & ~select.POLLOUT:
                    try:
                        packet = sock.recv(_PACKET)
                    except (BlockingIOError, ConnectionResetError):
                        continue  # reset: conmon went with input unread, and what it sent before that is still to come
                    except OSError:
                        packet = b""
                    if not packet:
                        return True
                    target = outputs.get(packet[0], -1)
                    if target >= 0 and not _write_all(target, packet[1:]):
                        outputs[packet[0]] = -1
            else:
                data = os.read(streams.stdin, _INPUT_CHUNK)
                if not data:
                    reading = False
                    poller.unregister(streams.stdin)
                    end_input(sock, tty=streams.tty)
                    continue
                data, detached = keys.feed(data)
                pending = _send(sock, data) if data else b""
                if detached:
                    return False
                if pending:  # the container does not read: stop reading ourselves until it does
                    poller.unregister(streams.stdin)
                    poller.modify(sock, select.POLLIN | select.POLLOUT)


def end_input(sock: Socket, *, tty: bool) -> None:
    """Nothing more comes. A terminal cannot be half closed: there the end of input is typed, as a person would."""
    try:
        if tty:
            sock.send(b"\x04")
        else:
            sock.shutdown(SHUT_WR)
    except OSError:
        pass


def _send(sock: Socket, data: bytes) -> bytes:
    """Send one packet; what could not be sent now."""
    try:
        return data[sock.send(data) :]
    except BlockingIOError:
        return data
    except OSError:
        return b""  # the container's side has closed


def _write_all(fd: int, data: bytes) -> bool:
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BlockingIOError:
        poller = select.poll()
        poller.register(fd, select.POLLOUT)
        poller.poll()
        return _write_all(fd, data)
    except OSError:
        return False
    return True
