"""Addresses: leases are rows, taken in one transaction, and end with their container's row."""

from __future__ import annotations

import _socket as socket

from podling.errors import Conflict, InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.state.database import Transaction


def number(address: str) -> tuple[int, int]:
    """(family, value) of an address."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return family, int.from_bytes(socket.inet_pton(family, address), "big")
        except OSError:
            continue
    raise InvalidInput(f"{address!r} is not an IP address")


def text_of(family: int, value: int) -> str:
    """An address as text."""
    return socket.inet_ntop(family, value.to_bytes(4 if family == socket.AF_INET else 16, "big"))


class Subnet:
    """`10.0.0.0/24` with its first and last usable address as numbers."""

    def __init__(self, text: str) -> None:
        base, _, length = text.partition("/")
        self.family, value = number(base)
        bits = 32 if self.family == socket.AF_INET else 128
        if not length.isdigit() or not 0 < int(length) < bits:
            raise InvalidInput(f"{text!r} is not a subnet")
        size = 1 << (bits - int(length))
        start = value & ~(size - 1)
        self.text = f"{text_of(self.family, start)}/{length}"
        self._start, self._end = start, start + size - 1
        self.first = start + 1
        self.last = start + size - (2 if self.family == socket.AF_INET else 1)

    def __contains__(self, value: int) -> bool:
        return self.first <= value <= self.last

    def meets(self, other: Subnet) -> bool:
        """Whether the two have addresses in common."""
        return self.family == other.family and self._start <= other._end and other._start <= self._end


def lease(tx: Transaction, network: dict[str, Any], container: int, wanted: list[str]) -> list[str]:
    """One address per subnet of `network` for the container; `wanted` fixes those of their families.

    Addresses are handed out in turn, so that one is not used again at once.

    Raises:
        InvalidInput: `wanted` is in none of the subnets. Conflict: it is taken, or the subnet is full.
    """
    name = network["name"]
    chosen: list[str] = []
    left = {number(text)[0]: (number(text)[1], text) for text in wanted}
    for entry in network.get("subnets") or ():
        subnet = Subnet(entry["subnet"])
        gateway = number(entry["gateway"])[1] if entry.get("gateway") else 0
        fixed = left.pop(subnet.family, None)
        if fixed:
            value, address = fixed
            if value not in subnet or value == gateway:
                raise InvalidInput(f"requested static ip {address} not in any subnet on network {name}")
            holder = tx.row(
                "SELECT c.name FROM leases l JOIN containers c ON c.key=l.container WHERE l.network=? AND l.address=?",
                name,
                address,
            )
            if holder:
                raise Conflict(f"IP address {address} is already allocated on network {name} to container {holder[0]}")
        else:
            address = _next_free(tx, name, subnet, gateway, entry.get("lease_range") or {})
        tx.insert("leases", network=name, address=address, container=container)
        chosen.append(address)
    if left:
        text = next(iter(left.values()))[1]
        raise InvalidInput(f"requested static ip {text} not in any subnet on network {name}")
    return chosen


def _next_free(tx: Transaction, name: str, subnet: Subnet, gateway: int, bounds: dict[str, str]) -> str:
    low = number(bounds["start_ip"])[1] if bounds.get("start_ip") else subnet.first
    high = number(bounds["end_ip"])[1] if bounds.get("end_ip") else subnet.last
    taken = {row[0] for row in tx.rows("SELECT address FROM leases WHERE network=?", name)}
    mark = f"last address {name} {subnet.text}"
    last = tx.row("SELECT value FROM meta WHERE name=?", mark)
    start = number(last[0])[1] if last else low
    span = high - low + 1
    for step in range(1, min(span, len(taken) + 3) + 1):
        value = low + (start - low + step - (0 if last else bool(bounds))) % span
        address = text_of(subnet.family, value)
        if value != gateway and address not in taken:
            tx.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", mark, address)
            return address
    raise Conflict(
        f"all addresses of {subnet.text} on network {name} are in use", hint="remove containers that are not needed"
    )
