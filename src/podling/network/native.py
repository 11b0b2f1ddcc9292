"""Bridges by our own hand: links by rtnetlink, the firewall by one nftables transaction; no program is started.

For the common kind of network: a bridge with addresses that we lease. `/run/podling-networks/BRIDGE/CONTAINER` says who is on a
bridge and which ports it published (a user's: places.py); these files are the host's, like bridges and rules, so that several
stores (`--root`) can share a network.

The veth pair of a container goes with its network namespace. The rules of a network go with its last container, the table with the
last of all; the bridge stays until the network is removed, since removing one takes the kernel 30 ms.
"""

from __future__ import annotations

import _socket as socket
import errno
import os

from podling.errors import InvalidInput, Unsupported
from podling.linux.proc import outer_uid
from podling.network import dns, nftables, places
from podling.network.rtnetlink import AF_INET, AF_INET6, Inside, Netlink
from podling.oci import json
from podling.state.locks import Locks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.network.netavark import Attachment

_OPTIONS = {
    "bridge": frozenset(("mtu", "isolate", "metric", "no_default_route", "mode")),
    "macvlan": frozenset(("mtu", "metric", "no_default_route", "mode")),
    "ipvlan": frozenset(("mtu", "metric", "no_default_route", "mode")),
}
#: the kernel's numbers of what containers may do to each other (if_link.h); the first is the default
_MODES = {
    "macvlan": {"bridge": 4, "private": 1, "vepa": 2, "passthru": 8},
    "ipvlan": {"l2": 0, "l3": 1, "l3s": 2},
}


def can_do(network: dict[str, Any]) -> bool:
    """Whether a network is of the common kind, on a host that has what we need."""
    driver = network["driver"]
    if driver not in _OPTIONS or set(network.get("options") or ()) - _OPTIONS[driver]:
        return False
    ipam = (network.get("ipam_options") or {}).get("driver", "host-local")
    if ipam not in ("host-local", "none") or (ipam == "host-local" and not network.get("subnets")):
        return False
    if driver != "bridge":
        return not outer_uid()
    if outer_uid():
        return nftables.is_usable()
    if nftables.configured() not in ("", "nftables", "none"):
        return False
    # beside Docker, which lets nothing be forwarded, and firewalld, which wants to be told of networks, our own rules do not suffice
    others = os.path.exists("/sys/class/net/docker0") or os.path.exists("/run/firewalld")
    return not others and nftables.is_usable()


def users(bridge: str) -> list[str]:
    """Ids of the containers on a bridge."""
    try:
        return os.listdir(f"{places.members()}/{bridge}")
    except FileNotFoundError:
        return []


def is_on(container: str, network: dict[str, Any]) -> bool:
    """Whether the container was put on the network by us."""
    return os.path.exists(f"{places.members()}/{_Plan(network).bridge}/{container}")


class _Plan:
    """A network document, in the words of the kernel."""

    def __init__(self, network: dict[str, Any]) -> None:
        options = network.get("options") or {}
        self.driver: str = network["driver"]
        self.interface: str = network.get("network_interface") or ""
        #: what the notes about its containers are filed under
        self.mode = str(options.get("mode") or "")
        #: whether the bridge, its addresses and its rules are ours
        self.ours = self.driver == "bridge" and self.mode != "unmanaged"
        self.bridge: str = self.interface if self.ours else f"{self.driver}:{network['name']}"
        self.subnets: list[dict[str, str]] = network.get("subnets") or []
        self.texts = [subnet["subnet"] for subnet in self.subnets]
        self.internal = bool(network.get("internal"))
        self.mtu = int(options.get("mtu") or 0)
        self.metric = int(options.get("metric") or 100)
        self.isolate = str(options.get("isolate") or "")
        self.default_route = not self.internal and str(options.get("no_default_route") or "").lower() not in (
            "true",
            "1",
        )
        self.routes: list[dict[str, Any]] = network.get("routes") or []
        self.gateways = [subnet["gateway"] for subnet in self.subnets if subnet.get("gateway")]
        #: where containers ask for names
        self.resolvers = self.gateways if network.get("dns_enabled") else []

    def rules(self) -> str:
        made = nftables.network_commands(self.bridge, self.texts, self.isolate, masquerade=not self.internal)
        return made + nftables.add_elements(self._questions())

    def no_rules(self) -> str:
        gone = nftables.drop_network(self.bridge, self.texts, self.isolate, masquerade=not self.internal)
        return nftables.delete_elements(self._questions()) + gone

    def _questions(self) -> list[tuple[str, str, str]]:
        """What passes questions on to an aardvark-dns that does not listen at the usual port."""
        if dns.port() == dns.USUAL_PORT:
            return []
        return [
            (
                f"bound{6 if ':' in gateway else 4}",
                f"{gateway} . {protocol} . {dns.USUAL_PORT}",
                f"{gateway} . {dns.port()}",
            )
            for gateway in self.resolvers
            for protocol in ("udp", "tcp")
        ]


def _packed(address: str) -> tuple[int, bytes]:
    family = AF_INET6 if ":" in address else AF_INET
    return family, socket.inet_pton(family, address)


def _random_mac() -> bytes:
    data = bytearray(os.urandom(6))
    data[0] = data[0] & 0xFC | 0x02  # locally administered, for one station
    return bytes(data)


def setup(runroot: str, attachment: Attachment) -> dict[str, Any]:
    """Join a namespace to the network; a status block in netavark's shape.

    Raises:
        OSError: the kernel refused. NftFailed.
    """
    network = attachment.network
    plan = _Plan(network)
    mac = bytes.fromhex(attachment.mac.replace(":", "")) if attachment.mac else _random_mac()
    elements = nftables.port_elements(attachment.ports, attachment.addresses)
    with Locks(places.locks()).hold("native", 0):
        _note(plan.bridge, attachment.container, elements)
        with Netlink() as host:
            netns = os.open(attachment.netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if plan.driver == "bridge":
                    bridge = _bridge(host, plan, ports=bool(attachment.ports)) if plan.ours else _given(host, plan)
                    host.make_pair(bridge, netns, attachment.interface, mac, plan.mtu)
                else:
                    _child(host, plan, netns, attachment.interface, mac)
                with Inside(netns), Netlink() as inner:
                    _inner(inner, plan, attachment)
            finally:
                os.close(netns)
        if plan.ours:
            _publish(plan, elements, alone=len(users(plan.bridge)) == 1)
        if plan.resolvers:
            names = [attachment.name, *attachment.aliases]
            servers = list(network.get("network_dns_servers") or ())
            dns.add(
                runroot, dns.file_of(network), plan.gateways, servers, attachment.container, attachment.addresses, names, attachment.servers
            )  # fmt: skip
    return _status(plan, attachment, mac, plan.resolvers)


def predicted(attachment: Attachment) -> dict[str, Any] | None:
    """The status block of a network on which nothing is left to whoever sets it up: it gets a MAC address here. None for others."""
    network = attachment.network
    ipam = (network.get("ipam_options") or {}).get("driver", "host-local")
    if network["driver"] != "bridge" or ipam != "host-local" or not network.get("subnets"):
        return None
    plan = _Plan(network)
    attachment.mac = attachment.mac or _random_mac().hex(":")
    return _status(plan, attachment, bytes.fromhex(attachment.mac.replace(":", "")), plan.resolvers)


def _status(plan: _Plan, attachment: Attachment, mac: bytes, servers: list[str]) -> dict[str, Any]:
    subnets = []
    for address, subnet in zip(attachment.addresses, _ordered(plan, attachment.addresses), strict=True):
        length = subnet["subnet"].rpartition("/")[2]
        gateway = {"gateway": subnet["gateway"]} if subnet.get("gateway") else {}
        subnets.append({**gateway, "ipnet": f"{address}/{length}"})
    return {
        "dns_search_domains": ["dns.podman"] if servers else [],
        "dns_server_ips": servers,
        "interfaces": {attachment.interface: {"mac_address": mac.hex(":"), "subnets": subnets}},
    }


def _ordered(plan: _Plan, addresses: list[str]) -> list[dict[str, str]]:
    """The subnet that each address is in."""
    from podling.network.ipam import Subnet, number

    return [
        next(item for item in plan.subnets if _contains(Subnet(item["subnet"]), number(address)))
        for address in addresses
    ]


def _contains(subnet: Any, address: tuple[int, int]) -> bool:
    return subnet.family == address[0] and address[1] in subnet


def _note(bridge: str, container: str, elements: list[tuple[str, str, str]]) -> None:
    os.makedirs(f"{places.members()}/{bridge}", 0o700, exist_ok=True)
    with open(f"{places.members()}/{bridge}/{container}", "w") as file:
        file.write(json.dumps(elements))


def _bridge(host: Netlink, plan: _Plan, *, ports: bool) -> int:
    """The bridge, up and with the gateways' addresses; the host forwards."""
    index = host.index(plan.bridge) or host.make_bridge(plan.bridge, _random_mac(), plan.mtu)
    six = any(":" in text for text in plan.texts)
    if six:
        _sysctl(f"ipv6/conf/{plan.bridge}/disable_ipv6", "0")
    host.set_up(index)
    for subnet in plan.subnets:
        if subnet.get("gateway"):
            family, address = _packed(subnet["gateway"])
            host.add_address(index, family, address, int(subnet["subnet"].rpartition("/")[2]))
    _sysctl("ipv4/ip_forward", "1")
    _sysctl(f"ipv4/conf/{plan.bridge}/rp_filter", "2")
    if ports:
        _sysctl(f"ipv4/conf/{plan.bridge}/route_localnet", "1")
    if six:
        _sysctl("ipv6/conf/all/forwarding", "1")
    return index


def _given(host: Netlink, plan: _Plan) -> int:
    """A bridge of the host's own, which stays as it is."""
    index = host.index(plan.interface)
    if not index:
        raise InvalidInput(
            f"bridge {plan.interface} does not exist",
            hint=f"the network is unmanaged: ip link add {plan.interface} type bridge",
        )
    return index


def _child(host: Netlink, plan: _Plan, netns: int, name: str, mac: bytes) -> None:
    """An interface beside the host's own, on its network."""
    parent = plan.interface or _way_out()
    index = host.index(parent) if parent else 0
    if not index:
        raise InvalidInput(
            f"the parent interface {parent!r} of the {plan.driver} network does not exist"
            if parent
            else f"the host has no default route, whose interface the {plan.driver} network would use",
            hint=f"podling network create -d {plan.driver} -o parent=INTERFACE …",
        )
    modes = _MODES[plan.driver]
    if plan.mode and plan.mode not in modes:
        raise InvalidInput(f"{plan.driver} mode {plan.mode!r}: not one of {', '.join(modes)}")
    mode = modes[plan.mode] if plan.mode else next(iter(modes.values()))
    try:
        host.make_child(plan.driver, mode, index, netns, name, mac, plan.mtu)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise Unsupported(f"this kernel has no {plan.driver} interfaces", hint=f"modprobe {plan.driver}") from None
        raise


def _way_out() -> str:
    """The interface of the host's default route."""
    with open("/proc/net/route") as file:
        return next((words[0] for words in map(str.split, file) if words[1] == "00000000"), "")


def _inner(inner: Netlink, plan: _Plan, attachment: Attachment) -> None:
    """The container's end; this thread is in its namespace."""
    name = attachment.interface
    index = inner.index(name)
    _sysctl(f"ipv4/conf/{name}/arp_notify", "1")  # neighbours learn at once who has the address now
    if any(":" in address for address in attachment.addresses):
        _sysctl(f"ipv6/conf/{name}/autoconf", "0")
        _sysctl(f"ipv6/conf/{name}/disable_ipv6", "0")
    inner.set_up(index)
    for address, subnet in zip(attachment.addresses, _ordered(plan, attachment.addresses), strict=True):
        family, packed = _packed(address)
        inner.add_address(index, family, packed, int(subnet["subnet"].rpartition("/")[2]))
        if plan.default_route and subnet.get("gateway"):
            try:
                inner.add_route(index, family, None, _packed(subnet["gateway"])[1], plan.metric)
            except FileExistsError:  # through another network, with the same metric: that one was first
                pass
    for route in plan.routes:
        base, _, length = str(route["destination"]).partition("/")
        family, destination = _packed(base)
        try:
            inner.add_route(
                index,
                family,
                (destination, int(length)),
                _packed(route["gateway"])[1],
                int(route.get("metric") or plan.metric),
            )
        except FileExistsError:
            pass


def _sysctl(name: str, value: str) -> None:
    """Set a kernel parameter of this network namespace, unless it has the value; one that is not there is none that matters."""
    path = f"/proc/sys/net/{name}"
    try:
        with open(path) as file:
            if file.read().strip() == value:
                return
        with open(path, "w") as file:
            file.write(value)
    except OSError:
        pass


def _publish(plan: _Plan, elements: list[tuple[str, str, str]], *, alone: bool = True) -> None:
    """The rules of the network, unless others on it have brought them, and the container's ports."""
    if not alone:
        if not elements:
            return
        try:
            nftables.run(nftables.add_elements(elements))
            return
        except nftables.NftFailed:  # somebody flushed them
            pass
    rules = plan.rules()
    try:
        nftables.run(rules + nftables.add_elements(elements))
    except nftables.NftFailed:
        if not elements:
            raise
        # a port that a container had which was killed together with its podling: the socket that we hold says that it is free
        for element in elements:
            _try(nftables.delete_elements([element]))
        nftables.run(rules + nftables.add_elements(elements))


def _try(commands: str) -> None:
    try:
        nftables.run(commands)
    except nftables.NftFailed:
        pass


def teardown(runroot: str, attachment: Attachment) -> None:
    """Take back what `setup` did, as far as it came; nothing when it is gone. The container's interface goes with its namespace."""
    network = attachment.network
    plan = _Plan(network)
    path = f"{places.members()}/{plan.bridge}/{attachment.container}"
    with Locks(places.locks()).hold("native", 0):
        try:
            with open(path) as file:
                elements = [(str(a), str(b), str(c)) for a, b, c in json.loads(file.read() or "[]")]
        except FileNotFoundError:
            elements = []
        except ValueError:  # killed while it was being written
            elements = nftables.port_elements(attachment.ports, attachment.addresses)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        if plan.ours:
            _withdraw(plan, elements)
        if network.get("dns_enabled"):
            dns.remove(runroot, dns.file_of(network), attachment.container)


def _withdraw(plan: _Plan, elements: list[tuple[str, str, str]]) -> None:
    """The rules of one container; of the network and the table too, where it was the last."""
    others = users(plan.bridge)
    if not others and not anybody():
        _try(f"delete table {nftables.TABLE}\n")
        return
    commands = nftables.delete_elements(elements) + ("" if others else plan.no_rules())
    if not commands:
        return
    try:
        nftables.run(commands)
    except nftables.NftFailed:  # somebody flushed the firewall, or all of it: what is left of ours
        for element in elements:
            _try(nftables.delete_elements([element]))
        if not others:
            for line in plan.no_rules().splitlines():
                _try(line)


def anybody() -> bool:
    """Whether any container is on any of our bridges."""
    try:
        bridges = [name for name in os.listdir(places.members()) if ":" not in name]  # the others have no rules
    except FileNotFoundError:
        return False
    return any(users(bridge) for bridge in bridges)


def detach(attachment: Attachment) -> None:
    """Remove the interface of a container that goes on without the network."""
    netns = os.open(attachment.netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Inside(netns), Netlink() as inner:
            index = inner.index(attachment.interface)
            if index:
                inner.delete(index)
    finally:
        os.close(netns)


def refresh(attachment: Attachment) -> None:
    """Make the rules of a container anew, as after a flush of the host's firewall."""
    plan = _Plan(attachment.network)
    if not plan.ours:
        return
    elements = nftables.port_elements(attachment.ports, attachment.addresses)
    with Locks(places.locks()).hold("native", 0):
        _note(plan.bridge, attachment.container, elements)
        _publish(plan, elements)


def remove_bridge(network: dict[str, Any]) -> None:
    """The network is removed: its bridge goes, unless somebody else's container is on it."""
    plan = _Plan(network)
    bridge = plan.bridge
    if not bridge or users(bridge):
        return
    try:
        os.rmdir(f"{places.members()}/{bridge}")
    except OSError:  # it was none of ours
        return
    if not plan.ours or outer_uid():  # a user's bridges go with the namespace that they are in
        return
    with Netlink() as host:
        index = host.index(bridge)
        if index:
            try:
                host.delete(index)
            except OSError:
                pass
