"""Addresses: leases are rows, taken in one transaction, and end with their container's row."""

from __future__ import annotations

import socket

from podling.errors import Conflict, InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.state.database import Transaction


def _number(address: str) -> tuple[int, int]:
    """(family, value)."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return family, int.from_bytes(socket.inet_pton(family, address), "big")
        except OSError:
            continue
    raise InvalidInput(f"{address!r} is not an IP address")


def _address(family: int, value: int) -> str:
    return socket.inet_ntop(family, value.to_bytes(4 if family == socket.AF_INET else 16, "big"))


class Subnet:
    """`10.0.0.0/24` with its first and last usable address as numbers."""

    def __init__(self, text: str) -> None:
        base, _, length = text.partition("/")
        self.family, value = _number(base)
        bits = 32 if self.family == socket.AF_INET else 128
        if not length.isdigit() or not 0 < int(length) < bits:
            raise InvalidInput(f"{text!r} is not a subnet")
        size = 1 << (bits - int(length))
        start = value & ~(size - 1)
        self.text = text
        self.first = start + 1
        self.last = start + size - (2 if self.family == socket.AF_INET else 1)

    def __contains__(self, value: int) -> bool:
        return self.first <= value <= self.last


def lease(tx: Transaction, network: dict[str, Any], container: int, wanted: str = "") -> list[str]:
    """One address per subnet of `network` for the container; `wanted` fixes the one of its family.

    Addresses are handed out in turn, so that one is not used again at once.

    Raises:
        InvalidInput: `wanted` is in none of the subnets. Conflict: it is taken, or the subnet is full.
    """
    name = network["name"]
    chosen: list[str] = []
    fixed = _number(wanted) if wanted else None
    for entry in network.get("subnets") or ():
        subnet = Subnet(entry["subnet"])
        gateway = _number(entry["gateway"])[1] if entry.get("gateway") else 0
        if fixed and fixed[0] == subnet.family:
            if fixed[1] not in subnet or fixed[1] == gateway:
                raise InvalidInput(f"requested static ip {wanted} not in any subnet on network {name}")
            holder = tx.row(
                "SELECT c.name FROM leases l JOIN containers c ON c.key=l.container WHERE l.network=? AND l.address=?",
                name,
                wanted,
            )
            if holder:
                raise Conflict(f"IP address {wanted} is already allocated on network {name} to container {holder[0]}")
            address = wanted
            fixed = None
        else:
            address = _next_free(tx, name, subnet, gateway)
        tx.insert("leases", network=name, address=address, container=container)
        chosen.append(address)
    if fixed:
        raise InvalidInput(f"requested static ip {wanted} not in any subnet on network {name}")
    return chosen


def _next_free(tx: Transaction, name: str, subnet: Subnet, gateway: int) -> str:
    taken = {row[0] for row in tx.rows("SELECT address FROM leases WHERE network=?", name)}
    mark = f"last address {name} {subnet.text}"
    last = tx.row("SELECT value FROM meta WHERE name=?", mark)
    start = _number(last[0])[1] if last else subnet.first
    span = subnet.last - subnet.first + 1
    for step in range(1, min(span, len(taken) + 3) + 1):
        value = subnet.first + (start - subnet.first + step) % span
        address = _address(subnet.family, value)
        if value != gateway and address not in taken:
            tx.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", mark, address)
            return address
    raise Conflict(
        f"all addresses of {subnet.text} on network {name} are in use", hint="remove containers that are not needed"
    )
