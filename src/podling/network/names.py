"""/etc/hosts and /etc/resolv.conf of a container, as Podman writes them."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HOST_NAMES = "host.containers.internal host.docker.internal"
_FALLBACK = ("8.8.8.8", "8.8.4.4")


def hosts(base: str, *, own: list[str], names: list[str], host_address: str, added: list[str]) -> str:
    """The host's entries without what we say ourselves, then --add-host, the host's address, and the container's own."""
    mine = set(names)
    added_lines = []
    for text in added:
        host_list, _, address = text.partition(":")
        address = host_address if address == "host-gateway" and host_address else address
        added_lines.append(f"{address}\t{' '.join(host_list.split(';'))}")
        mine.update(host_list.split(";"))
    lines = list(added_lines)
    for line in base.splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 2:
            continue
        kept = [name for name in words[1:] if name not in mine]
        if kept and not (words[0].startswith("127.0.1.") or set(kept) & set(HOST_NAMES.split())):
            lines.append(f"{words[0]}\t{' '.join(kept)}")
    if not any(line.split("\t")[1].split()[:1] == ["localhost"] for line in lines):
        lines[len(added_lines) : len(added_lines)] = ["127.0.0.1\tlocalhost", "::1\tlocalhost"]
    if host_address:
        lines.append(f"{host_address}\t{HOST_NAMES}")
    lines += [f"{address}\t{' '.join(names)}" for address in own if names]
    return "\n".join(lines) + "\n"


def resolv(base: str, *, servers: list[str], search: list[str], options: list[str], own_network: bool) -> str:
    """The host's resolver configuration with our options over it.

    A loopback server of the host cannot be reached from another network namespace, so it is left out there.
    """
    found_servers: list[str] = []
    found_search: list[str] = []
    found_options: list[str] = []
    for line in base.splitlines():
        words = line.split()
        if len(words) < 2 or line.lstrip().startswith(("#", ";")):
            continue
        if words[0] == "nameserver" and not (own_network and words[1].startswith(("127.", "::1"))):
            found_servers.append(words[1])
        elif words[0] in ("search", "domain"):
            found_search = words[1:]
        elif words[0] == "options":
            found_options = words[1:]
    lines = []
    search = [] if search == ["."] else search or found_search
    if search:
        lines.append("search " + " ".join(search))
    lines += [f"nameserver {server}" for server in servers or found_servers or (_FALLBACK if own_network else ())]
    options = options or found_options
    if options:
        lines.append("options " + " ".join(options))
    return "\n".join(lines) + "\n" if lines else ""


def host_resolv() -> str:
    """The host's file; behind systemd-resolved's stub, the real one."""
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        try:
            with open(path) as file:
                text = file.read()
        except OSError:
            continue
        if path == "/etc/resolv.conf" and "nameserver 127.0.0.53" in text:
            continue
        return text
    return ""


def host_hosts() -> str:
    try:
        with open("/etc/hosts") as file:
            return file.read()
    except OSError:
        return ""


def host_address() -> str:
    """The address by which the host is known outside: the source of its default route; "" without one."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # nothing is sent: a datagram socket only looks the route up
            address: str = sock.getsockname()[0]
            return address
        except OSError:
            return ""


def add_local(path: str, name: str) -> None:
    """In a hosts file that containers of one network namespace share: `name` is this host."""
    _rewrite(
        path, lambda lines: lines if any(_is_local(line, name) for line in lines) else [*lines, f"127.0.0.1\t{name}"]
    )


def drop_local(path: str, name: str) -> None:
    """The opposite of `add_local`; nothing where there is no such file."""
    _rewrite(path, lambda lines: [line for line in lines if not _is_local(line, name)])


def _is_local(line: str, name: str) -> bool:
    return line.split() == ["127.0.0.1", name]


def _rewrite(path: str, change: Callable[[list[str]], list[str]]) -> None:
    """In place, as the file is mounted in containers, and one process after the other."""
    import fcntl

    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = os.pread(file, 1 << 20, 0).decode("utf-8", "surrogateescape")
        text = "\n".join(change(before.splitlines())) + "\n"
        if text != before:
            data = text.encode("utf-8", "surrogateescape")
            os.pwrite(file, data, 0)
            os.ftruncate(file, len(data))
    finally:
        os.close(file)
