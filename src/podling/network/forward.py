"""Published ports of a user's bridges: a process per container takes connections on the host and passes them on inside.

    python -I -c '… main()' NETNS SPEC

SPEC is JSON: [[descriptor of a bound socket of the host, "tcp" or "udp", address inside, port inside], …]. The process enters NETNS,
where the bridges are, and keeps the sockets. What goes through TCP is spliced, so no byte of it is copied into this process.
"""

from __future__ import annotations

import _socket as socket
import os
import select
import sys
import time

from podling.linux import calls
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_CHUNK = 1 << 20
_IDLE_SECONDS = 60
_BACKLOG = 1024
_Address = tuple[str, int]


class _Direction:
    """What comes from one socket and goes to another, through a pipe."""

    def __init__(self, source: int, target: int) -> None:
        self.source, self.target = source, target
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        self.ended = self.done = False

    def move(self) -> None:
        """As much as goes without waiting.

        Raises:
            OSError: one of the two has gone.
        """
        while not self.done:
            if not self.held and not self.ended:
                try:
                    self.held = os.splice(
                        self.source, self.writer, _CHUNK, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
                    )
                except BlockingIOError:
                    return
                self.ended = not self.held
            if self.held:
                try:
                    self.held -= os.splice(
                        self.reader, self.target, self.held, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
                    )
                except BlockingIOError:
                    return
            elif self.ended:
                self.done = True

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


class _Connection:
    """A client, and its connection to the container."""

    def __init__(self, client: socket.socket, inner: socket.socket) -> None:
        self.client, self.inner = client, inner
        self.connected = False
        self.there = _Direction(client.fileno(), inner.fileno())
        self.back = _Direction(inner.fileno(), client.fileno())

    def work(self) -> bool:
        """Move what can be moved; whether it goes on."""
        if not self.connected:
            if self.inner.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return False
            self.connected = True
        for direction, target in ((self.there, self.inner), (self.back, self.client)):
            was_done = direction.done
            try:
                direction.move()
                if direction.done and not was_done:
                    target.shutdown(socket.SHUT_WR)
            except OSError:
                return False
        return not (self.there.done and self.back.done)

    def wanted(self, fd: int) -> int:
        """The events to wait for on one of its sockets."""
        incoming, outgoing = (self.there, self.back) if fd == self.client.fileno() else (self.back, self.there)
        if not self.connected:
            return select.EPOLLOUT if fd == self.inner.fileno() else 0
        wants_input = not incoming.held and not incoming.ended
        return (select.EPOLLIN if wants_input else 0) | (select.EPOLLOUT if outgoing.held else 0)

    def close(self) -> None:
        for direction in (self.there, self.back):
            direction.close()
        self.client.close()
        self.inner.close()


class _Peer:
    """A client of a UDP port, and the socket that speaks to the container for it."""

    def __init__(self, outer: socket.socket, client: _Address, inner: socket.socket) -> None:
        self.outer, self.client, self.inner = outer, client, inner
        self.used = time.monotonic()


class Forwarder:
    """All ports of a container."""

    def __init__(self, spec: list[tuple[int, str, str, int]]) -> None:
        self._epoll = select.epoll()
        self._listeners: dict[int, tuple[socket.socket, str, tuple[str, int]]] = {}
        self._connections: dict[int, _Connection] = {}
        self._interests: dict[int, int] = {}
        self._peers: dict[int, _Peer] = {}
        self._by_client: dict[tuple[int, _Address], _Peer] = {}
        for fd, protocol, address, port in spec:
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            if protocol == "tcp":
                sock.listen(_BACKLOG)
            self._listeners[fd] = sock, protocol, (address, port)
            self._epoll.register(fd, select.EPOLLIN)

    def run(self) -> NoReturn:
        """For ever."""
        while True:
            for fd, _ in self._epoll.poll(_IDLE_SECONDS / 2 if self._peers else -1):
                if fd in self._listeners:
                    self._arrival(fd)
                elif fd in self._connections:
                    self._step(self._connections[fd])
                elif fd in self._peers:
                    self._answer(self._peers[fd])
            self._forget_idle()

    def _arrival(self, fd: int) -> None:
        sock, protocol, target = self._listeners[fd]
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        try:
            if protocol == "tcp":
                number = sock._accept()[0]  # type: ignore[attr-defined]  # typeshed lacks it
                client = socket.socket(fileno=number)
            else:
                data, address = sock.recvfrom(65536)
                self._datagram(sock, family, target, data, address)
                return
        except OSError:
            return
        client.setblocking(False)
        inner = socket.socket(family, socket.SOCK_STREAM)
        inner.setblocking(False)
        try:
            inner.connect(target)
        except BlockingIOError:
            pass
        except OSError:
            client.close()
            inner.close()
            return
        connection = _Connection(client, inner)
        for each in (client.fileno(), inner.fileno()):
            self._connections[each] = connection
            self._interests[each] = connection.wanted(each)
            self._epoll.register(each, self._interests[each])

    def _step(self, connection: _Connection) -> None:
        fds = connection.client.fileno(), connection.inner.fileno()
        if not connection.work():
            for fd in fds:
                self._epoll.unregister(fd)
                del self._connections[fd], self._interests[fd]
            connection.close()
            return
        for fd in fds:
            wanted = connection.wanted(fd)
            if wanted != self._interests[fd]:
                self._interests[fd] = wanted
                self._epoll.modify(fd, wanted)

    def _datagram(
        self, outer: socket.socket, family: int, target: tuple[str, int], data: bytes, client: _Address
    ) -> None:
        peer = self._by_client.get((outer.fileno(), client))
        if peer is None:
            inner = socket.socket(family, socket.SOCK_DGRAM)
            inner.setblocking(False)
            inner.connect(target)
            peer = _Peer(outer, client, inner)
            self._by_client[outer.fileno(), client] = self._peers[inner.fileno()] = peer
            self._epoll.register(inner.fileno(), select.EPOLLIN)
        peer.used = time.monotonic()
        try:
            peer.inner.send(data)
        except OSError:
            pass

    def _answer(self, peer: _Peer) -> None:
        peer.used = time.monotonic()
        try:
            peer.outer.sendto(peer.inner.recv(65536), peer.client)
        except OSError:
            pass

    def _forget_idle(self) -> None:
        limit = time.monotonic() - _IDLE_SECONDS
        for fd, peer in list(self._peers.items()):
            if peer.used < limit:
                self._epoll.unregister(fd)
                del self._peers[fd], self._by_client[peer.outer.fileno(), peer.client]
                peer.inner.close()


def main() -> NoReturn:
    """The process."""
    netns = os.open(sys.argv[1], os.O_RDONLY | os.O_CLOEXEC)
    calls.setns(netns, calls.CLONE_NEWNET)
    os.close(netns)
    Forwarder([(int(a), str(b), str(c), int(d)) for a, b, c, d in json.loads(sys.argv[2])]).run()
