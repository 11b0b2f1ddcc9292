"""Published ports: reserved by sockets that conmon keeps, so that a second user of a port is told at once."""

from __future__ import annotations

import errno
import socket

from podling.errors import InvalidInput, PortInUse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def reserve(ports: list[dict[str, Any]]) -> list[int]:
    """Bind every host port; the descriptors, which the caller closes.

    Raises:
        PortInUse: another program has one of them.
    """
    fds: list[int] = []
    try:
        for port in ports:
            kind = _TYPES.get(port["protocol"])
            if kind is None:  # SCTP: the kernel may lack it, and nothing is lost without the reservation
                continue
            address = port["host_ip"] or "0.0.0.0"
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            for offset in range(port["range"]):
                number = port["host_port"] + offset
                with socket.socket(family, kind | socket.SOCK_CLOEXEC) as sock:
                    if kind == socket.SOCK_STREAM:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        sock.bind((address, number))
                        if kind == socket.SOCK_STREAM:
                            sock.listen(1)
                    except OSError as error:
                        raise _failure(error, address, number, port["protocol"]) from None
                    fds.append(sock.detach())
        return fds
    except BaseException:
        for fd in fds:
            socket.close(fd)
        raise


def _failure(error: OSError, address: str, number: int, protocol: str) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(
            f"cannot expose port {number}/{protocol} on {address}: address already in use",
            hint=f"`ss -{'l' if protocol == 'tcp' else ''}{protocol[0]}np sport = :{number}` shows who uses it",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return InvalidInput(f"cannot expose port {number}/{protocol}: {address} is no address of this host")
    return InvalidInput(f"cannot expose port {number}/{protocol} on {address}: {error.strerror}")


def free_port(host_ip: str, protocol: str, span: int = 1) -> int:
    """A host port that is free now, of the ephemeral range; for a span, the first of that many in a row."""
    kind = _TYPES.get(protocol, socket.SOCK_STREAM)
    address = host_ip or "0.0.0.0"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(200):
        held: list[socket.socket] = []
        try:
            first = 0
            for offset in range(span):
                sock = socket.socket(family, kind)
                held.append(sock)
                sock.bind((address, first + offset if first else 0))
                first = first or sock.getsockname()[1]
            return first
        except (OSError, OverflowError):
            continue
        finally:
            for sock in held:
                sock.close()
    raise PortInUse(f"no {span} free host ports in a row for {protocol} on {address}")
