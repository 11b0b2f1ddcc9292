"""The firewall's part of a network: one table of ours, `inet podling`, changed by one transaction at a time (nft(8), libnftables(3)).

    chain prerouting, output   published ports: `dnat` by the maps `ports4/6` (any address of the host) and `bound4/6` (one of them)
    chain postrouting          by the subnet that a packet comes from into the chain `out_BRIDGE`, which masquerades what leaves it
    chain forward              by the bridge that it comes from into the chain `in_BRIDGE`, where networks are isolated

Nothing here decides about packets of others; a policy of another table that drops what is forwarded holds for containers too.
"""

from __future__ import annotations

from podling.config import containers
from podling.errors import InvalidInput, RuntimeFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import CDLL
    from typing import Any

LIBRARY = "libnftables.so.1"
TABLE = "inet podling"
DRIVERS = ("nftables", "iptables", "firewalld", "none")
_BASE = f"""
add table {TABLE}
add set {TABLE} bridges {{ type ifname; }}
add set {TABLE} isolated {{ type ifname; }}
add map {TABLE} from {{ type ifname : verdict; }}
add map {TABLE} from4 {{ type ipv4_addr : verdict; flags interval; }}
add map {TABLE} from6 {{ type ipv6_addr : verdict; flags interval; }}
add map {TABLE} ports4 {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
add map {TABLE} ports6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
add map {TABLE} bound4 {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
add map {TABLE} bound6 {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }}
add chain {TABLE} ports
flush chain {TABLE} ports
add rule {TABLE} ports dnat ip to ip daddr . meta l4proto . th dport map @bound4
add rule {TABLE} ports dnat ip6 to ip6 daddr . meta l4proto . th dport map @bound6
add rule {TABLE} ports dnat ip to meta l4proto . th dport map @ports4
add rule {TABLE} ports dnat ip6 to meta l4proto . th dport map @ports6
add chain {TABLE} prerouting {{ type nat hook prerouting priority -100; policy accept; }}
flush chain {TABLE} prerouting
add rule {TABLE} prerouting fib daddr type local jump ports
add chain {TABLE} output {{ type nat hook output priority -100; policy accept; }}
flush chain {TABLE} output
add rule {TABLE} output fib daddr type local jump ports
add chain {TABLE} postrouting {{ type nat hook postrouting priority 100; policy accept; }}
flush chain {TABLE} postrouting
add rule {TABLE} postrouting ip saddr 127.0.0.0/8 ct status dnat masquerade
add rule {TABLE} postrouting ip saddr vmap @from4
add rule {TABLE} postrouting ip6 saddr vmap @from6
add chain {TABLE} forward {{ type filter hook forward priority 0; policy accept; }}
flush chain {TABLE} forward
add rule {TABLE} forward iifname vmap @from
"""


class NftFailed(RuntimeFailed):
    reference = "nft-failed"


_library: CDLL | None = None
_context: Any = None


def _load() -> CDLL | None:
    """libnftables; None where the host has none."""
    global _library
    if _library is None:
        import ctypes

        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError:
            return None
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        _library = library
    return _library


def configured() -> str:
    """The firewall that containers.conf asks for (network.firewall_driver); "" for none in particular.

    Raises:
        InvalidInput: nobody knows it.
    """
    name = containers.load().text("network", "firewall_driver")
    if name and name not in DRIVERS:
        raise InvalidInput(
            f"containers.conf: network.firewall_driver: unknown driver {name!r}",
            hint=f"the drivers are {', '.join(DRIVERS)}",
        )
    return name


def is_usable() -> bool:
    """Whether this host has libnftables, or needs none."""
    return configured() == "none" or _load() is not None


def run(commands: str) -> None:
    """One transaction: all of it is done, or nothing. The first one decides for which network namespace: the one that we are in then.

    Raises:
        NftFailed: what libnftables said.
    """
    global _context
    if configured() == "none":
        return
    library = _load()
    if library is None:
        raise NftFailed("libnftables.so.1 is not there", hint="apt install libnftables1, or --network-backend=netavark")
    if _context is None:
        from ctypes import c_void_p

        _context = c_void_p(library.nft_ctx_new(0))
        library.nft_ctx_buffer_error(_context)
        library.nft_ctx_buffer_output(_context)
    if library.nft_run_cmd_from_buffer(_context, commands.encode()):
        said = (library.nft_ctx_get_error_buffer(_context) or b"").decode("utf-8", "replace").strip()
        raise NftFailed(
            f"nftables: {said.splitlines()[0] if said else 'no message'}",
            hint="--network-backend=netavark does without",
        )


def network_commands(bridge: str, subnets: list[str], isolate: str, *, masquerade: bool) -> str:
    """What makes the chains of a network, or makes them anew."""
    isolated = isolate in ("true", "strict")
    chain = f"out_{bridge}"
    # chains first: libnftables adds a map together with its elements, which need them
    lines = [f"add table {TABLE}", f"add chain {TABLE} {chain}"]
    lines += [f"add chain {TABLE} in_{bridge}"] if isolated else []
    lines += [_BASE, f'add element {TABLE} bridges {{ "{bridge}" }}', f"flush chain {TABLE} {chain}"]
    for subnet in subnets if masquerade else ():
        family, everybody = ("ip6", "ff00::/8") if ":" in subnet else ("ip", "224.0.0.0/4")
        lines += [
            f"add rule {TABLE} {chain} {family} daddr {subnet} ct status dnat masquerade",
            f"add rule {TABLE} {chain} {family} daddr {subnet} return",
        ]
        lines.append(f"add rule {TABLE} {chain} {family} daddr != {everybody} masquerade")
        lines.append(f"add element {TABLE} from{6 if ':' in subnet else 4} {{ {subnet} : jump {chain} }}")
    if isolated:
        chain = f"in_{bridge}"
        others = "bridges" if isolate == "strict" else "isolated"
        lines += [
            f'add element {TABLE} isolated {{ "{bridge}" }}',
            f"flush chain {TABLE} {chain}",
            f'add rule {TABLE} {chain} oifname != "{bridge}" oifname @{others} drop',
            f'add element {TABLE} from {{ "{bridge}" : jump {chain} }}',
        ]
    return "\n".join(lines) + "\n"


def drop_network(bridge: str, subnets: list[str], isolate: str, *, masquerade: bool) -> str:
    """What takes the chains of a network away."""
    lines = [f'delete element {TABLE} bridges {{ "{bridge}" }}']
    if masquerade:
        lines += [f"delete element {TABLE} from{6 if ':' in subnet else 4} {{ {subnet} }}" for subnet in subnets]
    if isolate in ("true", "strict"):
        lines += [
            f'delete element {TABLE} from {{ "{bridge}" }}',
            f'delete element {TABLE} isolated {{ "{bridge}" }}',
            f"delete chain {TABLE} in_{bridge}",
        ]
    lines.append(f"delete chain {TABLE} out_{bridge}")
    return "\n".join(lines) + "\n"


def port_elements(mappings: list[dict[str, Any]], addresses: list[str]) -> list[tuple[str, str, str]]:
    """(map, key, value) for each published port on each of the container's addresses."""
    found = []
    for mapping in mappings:
        host_ip = str(mapping["host_ip"] or "")
        for address in addresses:
            six = ":" in address
            if host_ip and (":" in host_ip) != six:
                continue
            anywhere = host_ip in ("", "0.0.0.0", "::")
            name = f"{'ports' if anywhere else 'bound'}{6 if six else 4}"
            for offset in range(int(mapping["range"] or 1)):
                for protocol in str(mapping["protocol"]).split(","):
                    key = f"{protocol} . {int(mapping['host_port']) + offset}"
                    value = f"{address} . {int(mapping['container_port']) + offset}"
                    found.append((name, key if anywhere else f"{host_ip} . {key}", value))
    return found


def add_elements(elements: list[tuple[str, str, str]]) -> str:
    """The commands that publish ports."""
    return _by_map(elements, "add", lambda key, value: f"{key} : {value}")


def delete_elements(elements: list[tuple[str, str, str]]) -> str:
    """The commands that take ports back."""
    return _by_map(elements, "delete", lambda key, _: key)


def _by_map(elements: list[tuple[str, str, str]], verb: str, shown: Any) -> str:
    groups: dict[str, list[str]] = {}
    for name, key, value in elements:
        groups.setdefault(name, []).append(shown(key, value))
    return "".join(f"{verb} element {TABLE} {name} {{ {', '.join(items)} }}\n" for name, items in groups.items())
