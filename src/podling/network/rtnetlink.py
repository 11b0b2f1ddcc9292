"""Links, addresses and routes, by messages to the kernel (rtnetlink(7)); no program is started for them."""

from __future__ import annotations

import os
import struct

from podling.linux import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket as Socket
else:
    from _socket import socket as Socket

_AF_NETLINK, _SOCK_RAW = 16, 3
AF_INET, AF_INET6, _AF_BRIDGE = 2, 10, 7
_REQUEST, _ACK, _CREATE, _EXCLUSIVE = 1, 4, 0x400, 0x200
_NEWLINK, _DELLINK, _GETLINK, _SETLINK, _NEWADDR, _NEWROUTE = 16, 17, 18, 19, 20, 24
_ERROR = 2
_UP = 1
_ADDRESS, _IFNAME, _MTU, _MASTER, _LINKINFO, _NET_NS_FD = 1, 3, 4, 10, 18, 28
_PARENT, _CHILD_MODE = 5, 1
_PROTINFO, _NESTED, _BRPORT_MODE = 12, 0x8000, 4
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_NO_DAD = 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def _word(kind: int, number: int) -> bytes:
    return _attribute(kind, struct.pack("I", number))


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("BxHiII", 0, 0, index, flags, change)


class Netlink:
    """A socket to the kernel for the network namespace that this thread is in when it is opened."""

    def __init__(self) -> None:
        self._socket = Socket(_AF_NETLINK, _SOCK_RAW, 0)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        self._socket.send(struct.pack("IHHII", 16 + len(body), kind, flags | _REQUEST, self._sequence, 0) + body)

    def _ask(self, kind: int, flags: int, body: bytes) -> None:
        """Send a request and wait for its acknowledgement.

        Raises:
            OSError: what the kernel answered.
        """
        self._send(kind, flags | _ACK, body)
        data = self._socket.recv(65536)
        number = -struct.unpack_from("i", data, 16)[0]
        if number:
            raise OSError(number, os.strerror(number))

    # -- links
    def index(self, name: str) -> int:
        """The number of an interface; 0 when there is none of that name."""
        try:
            self._send(_GETLINK, 0, _link() + _text(_IFNAME, name))
            data = self._socket.recv(65536)
        except OSError:
            return 0
        if struct.unpack_from("IH", data)[1] == _ERROR:
            return 0
        number: int = struct.unpack_from("i", data, 20)[0]
        return number

    def make_bridge(self, name: str, mac: bytes, mtu: int) -> int:
        """Make a bridge that is up; its number. One that is there already is taken."""
        body = _link(0, _UP, _UP) + _text(_IFNAME, name) + _attribute(_ADDRESS, mac)
        body += (_word(_MTU, mtu) if mtu else b"") + _attribute(_LINKINFO, _text(_INFO_KIND, "bridge"))
        try:
            self._ask(_NEWLINK, _CREATE | _EXCLUSIVE, body)
        except FileExistsError:
            pass
        return self.index(name)

    def make_pair(self, bridge: int, netns: int, name: str, mac: bytes, mtu: int) -> None:
        """A veth pair: one end on the bridge, the other one called `name` in the namespace `netns` (a descriptor).

        What a container sends to a port of the host that is its own goes back out of the port of the bridge that it came in by: with
        br_netfilter the bridge sees it after the address was changed, and drops it unless the port is in hairpin mode.
        """
        outer = f"veth{os.urandom(4).hex()}"
        size = _word(_MTU, mtu) if mtu else b""
        peer = _link() + _text(_IFNAME, name) + _attribute(_ADDRESS, mac) + size + _word(_NET_NS_FD, netns)
        info = _text(_INFO_KIND, "veth") + _attribute(_INFO_DATA, _attribute(_VETH_PEER, peer))
        body = _link(0, _UP, _UP) + _text(_IFNAME, outer) + size + _word(_MASTER, bridge) + _attribute(_LINKINFO, info)
        self._ask(_NEWLINK, _CREATE | _EXCLUSIVE, body)
        port = struct.pack("BxHiII", _AF_BRIDGE, 0, self.index(outer), 0, 0)
        self._ask(_SETLINK, 0, port + _attribute(_PROTINFO | _NESTED, _attribute(_BRPORT_MODE, b"\x01")))

    def make_child(self, kind: str, mode: int, parent: int, netns: int, name: str, mac: bytes, mtu: int) -> None:
        """A macvlan or ipvlan interface of `parent`, called `name`, in the namespace `netns` (a descriptor).

        An ipvlan interface has its parent's MAC.
        """
        number = struct.pack("I" if kind == "macvlan" else "H", mode)
        info = _text(_INFO_KIND, kind) + _attribute(_INFO_DATA, _attribute(_CHILD_MODE, number))
        body = _link() + _text(_IFNAME, name) + _word(_PARENT, parent) + _word(_NET_NS_FD, netns)
        body += (_attribute(_ADDRESS, mac) if kind == "macvlan" else b"") + (_word(_MTU, mtu) if mtu else b"")
        self._ask(_NEWLINK, _CREATE | _EXCLUSIVE, body + _attribute(_LINKINFO, info))

    def set_up(self, index: int) -> None:
        """Bring an interface up."""
        self._ask(_NEWLINK, 0, _link(index, _UP, _UP))

    def delete(self, index: int) -> None:
        """Remove an interface."""
        self._ask(_DELLINK, 0, _link(index))

    # -- addresses and routes
    def add_address(self, index: int, family: int, address: bytes, length: int) -> None:
        """Give an interface an address; one that it has already is fine."""
        body = (
            struct.pack("BBBBi", family, length, 0, 0, index)
            + _attribute(_IFA_LOCAL, address)
            + _attribute(_IFA_ADDRESS, address)
        )
        if family == AF_INET:
            host_bits = (1 << (32 - length)) - 1
            body += _attribute(_IFA_BROADCAST, (int.from_bytes(address, "big") | host_bits).to_bytes(4, "big"))
        else:
            body += _word(_IFA_FLAGS, _NO_DAD)
        try:
            self._ask(_NEWADDR, _CREATE | _EXCLUSIVE, body)
        except FileExistsError:
            pass

    def add_route(
        self, index: int, family: int, destination: tuple[bytes, int] | None, gateway: bytes, metric: int
    ) -> None:
        """A route through a gateway; the default one where `destination` (address, prefix length) is None."""
        length = destination[1] if destination else 0
        main_table, boot, universe, unicast = 254, 3, 0, 1
        body = struct.pack("BBBBBBBBI", family, length, 0, 0, main_table, boot, universe, unicast, 0)
        if destination:
            body += _attribute(_RTA_DST, destination[0])
        body += _attribute(_RTA_GATEWAY, gateway) + _word(_RTA_OIF, index) + _word(_RTA_PRIORITY, metric)
        self._ask(_NEWROUTE, _CREATE | _EXCLUSIVE, body)


class Inside:
    """`with Inside(fd):` this thread is in another network namespace, and comes back."""

    def __init__(self, netns: int) -> None:
        self._netns = netns
        self._home = -1

    def __enter__(self) -> None:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            calls.setns(self._netns, calls.CLONE_NEWNET)
        except BaseException:
            os.close(self._home)
            raise

    def __exit__(self, *_: object) -> None:
        try:
            calls.setns(self._home, calls.CLONE_NEWNET)
        finally:
            os.close(self._home)
