"""Names of containers: the files that aardvark-dns reads, and the aardvark-dns that reads them (aardvark-dns(8)).

One file per network in `<runroot>/networks/aardvark-dns`: the addresses that it listens on and, behind them, servers to ask for
other names; then a line per container: id, its addresses of each family, its names, servers to ask for it alone. A file whose name
ends in `%int` is of an internal network, whose containers are told of no other names (versions before 1.6 take it for any other
network). One aardvark-dns serves all networks of a store; it ends when no file is left.
"""

from __future__ import annotations

import os

from podling.config import containers
from podling.config.settings import find_program
from podling.linux.proc import outer_uid
from podling.linux.process import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

USUAL_PORT = 53
_SIGHUP = 1


def port() -> int:
    """Where aardvark-dns listens (containers.conf: network.dns_bind_port). Containers ask port 53; the firewall passes that on."""
    return containers.load().number("network", "dns_bind_port", 0) or USUAL_PORT


def file_of(network: dict[str, Any]) -> str:
    """The name of a network's file."""
    return f"{network['name']}%int" if network.get("internal") else str(network["name"])


def folder_of(runroot: str) -> str:
    """Where the files are."""
    return f"{runroot}/networks/aardvark-dns"


def add(
    runroot: str,
    name: str,
    gateways: list[str],
    servers: list[str],
    container: str,
    addresses: list[str],
    names: list[str],
    asked: list[str],
) -> None:
    """Make a container's names known on the network whose file is `name`; `asked` are the servers that are asked for it. The caller
    holds the lock of networks.
    """
    folder = folder_of(runroot)
    os.makedirs(folder, 0o700, exist_ok=True)
    four = ",".join(address for address in addresses if ":" not in address)
    six = ",".join(address for address in addresses if ":" in address)
    head = ",".join(gateways) + (f" {','.join(servers)}" if servers else "")
    lines = _containers(f"{folder}/{name}", but=container)
    own = f" {','.join(asked)}" if asked else ""
    lines.append(f"{container} {four} {six} {','.join(dict.fromkeys(names))}{own}")
    _write(f"{folder}/{name}", [head, *lines])
    _serve(folder)


def remove(runroot: str, name: str, container: str) -> None:
    """Forget a container's names on the network whose file is `name`; nothing when they are not known."""
    folder = folder_of(runroot)
    path = f"{folder}/{name}"
    try:
        with open(path) as file:
            head = file.readline().rstrip("\n")
    except FileNotFoundError:
        return
    lines = _containers(path, but=container)
    if lines:
        _write(path, [head, *lines])
    else:
        os.unlink(path)
    pid = server(folder)
    if pid:
        os.kill(pid, _SIGHUP)


def _containers(path: str, but: str) -> list[str]:
    try:
        with open(path) as file:
            return [
                line.rstrip("\n") for line in file.readlines()[1:] if line.strip() and not line.startswith(f"{but} ")
            ]
    except FileNotFoundError:
        return []


def _write(path: str, lines: list[str]) -> None:
    """Atomically: aardvark-dns may be reading. Its folder holds nothing but what it reads, so the new file is made beside it."""
    temporary = f"{os.path.dirname(os.path.dirname(path))}/.{os.path.basename(path)}.{os.getpid()}"
    with open(temporary, "w") as file:
        file.write("\n".join(lines) + "\n")
    os.rename(temporary, path)


def server(folder: str) -> int:
    """The pid of the aardvark-dns of this folder; 0 when none runs. What one that was killed left of itself goes."""
    path = f"{folder}/aardvark.pid"
    try:
        with open(path) as file:
            pid = int(file.read() or 0)
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            if pid > 1 and b"aardvark" in command.read():
                return pid
    except (OSError, ValueError):
        pass
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    return 0


def _serve(folder: str) -> None:
    """Have aardvark-dns read the files, and start it where none runs; it goes into the background when it listens."""
    pid = server(folder)
    if pid:
        os.kill(pid, _SIGHUP)
        return
    argv = [find_program("aardvark-dns"), "--config", folder, "-p", str(port()), "run"]
    # out of the cgroup of a unit that we may be part of, so that it does not end with that unit
    if not outer_uid() and os.path.isdir("/run/systemd/system") and os.path.exists("/usr/bin/systemd-run"):
        argv = ["/usr/bin/systemd-run", "-q", "--scope", *argv]
    os.waitpid(spawn(argv, session=True), 0)
