"""What a container's cgroups say about its use of the host: cgroup v1 and v2 (kernel documentation, admin-guide/cgroup-v*)."""

from __future__ import annotations

import os

from podling.oci.record import Record


class Usage(Record):
    """Counters of one container at one time. Nanoseconds and bytes; a limit of 0 is none."""

    cpu: int = 0
    cpu_system: int = 0
    memory: int = 0
    memory_limit: int = 0
    processes: int = 0
    block_read: int = 0
    block_written: int = 0
    received: int = 0
    sent: int = 0


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _number(path: str) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0


def _pairs(text: str) -> dict[str, int]:
    """Lines of `name number`."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            found[name] = int(value)
    return found


def folders(pid: int) -> dict[str, str]:
    """The folder of a process's cgroup for each controller; "" is that of version 2."""
    found: dict[str, str] = {}
    for line in _read(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(",") if controllers else [""]:
            base = "/sys/fs/cgroup"
            if name:
                base = f"/sys/fs/cgroup/{name.removeprefix('name=')}"
            elif not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
                base = "/sys/fs/cgroup/unified"
            found[name] = base + path
    return found


def usage(pid: int, *, own_network: bool) -> Usage:
    """The counters of the container whose first process is `pid`; zeros where the host does not count."""
    places = folders(pid)
    found = Usage()
    if "memory" in places:
        _version_1(found, places)
    elif "" in places:
        _version_2(found, places[""])
    if own_network:
        _network(found, pid)
    return found


def _version_1(found: Usage, places: dict[str, str]) -> None:
    account = places.get("cpuacct", "")
    found.cpu = _number(f"{account}/cpuacct.usage")
    found.cpu_system = _pairs(_read(f"{account}/cpuacct.stat")).get("system", 0) * (10**9 // os.sysconf("SC_CLK_TCK"))
    memory = places["memory"]
    inactive = _pairs(_read(f"{memory}/memory.stat")).get("total_inactive_file", 0)
    found.memory = max(_number(f"{memory}/memory.usage_in_bytes") - inactive, 0)
    found.memory_limit = _number(f"{memory}/memory.limit_in_bytes")
    found.processes = _number(f"{places.get('pids', '')}/pids.current")
    for line in _read(f"{places.get('blkio', '')}/blkio.throttle.io_service_bytes_recursive").splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1] == "Read":
            found.block_read += int(parts[2])
        elif len(parts) == 3 and parts[1] == "Write":
            found.block_written += int(parts[2])


def _version_2(found: Usage, place: str) -> None:
    cpu = _pairs(_read(f"{place}/cpu.stat"))
    found.cpu, found.cpu_system = cpu.get("usage_usec", 0) * 1000, cpu.get("system_usec", 0) * 1000
    inactive = _pairs(_read(f"{place}/memory.stat")).get("inactive_file", 0)
    found.memory = max(_number(f"{place}/memory.current") - inactive, 0)
    found.memory_limit = _number(f"{place}/memory.max")
    found.processes = _number(f"{place}/pids.current")
    for line in _read(f"{place}/io.stat").splitlines():
        for item in line.split()[1:]:
            name, _, value = item.partition("=")
            if name == "rbytes":
                found.block_read += int(value)
            elif name == "wbytes":
                found.block_written += int(value)


def _network(found: Usage, pid: int) -> None:
    """All interfaces of the process's network namespace but the loopback (proc(5), /proc/net/dev)."""
    for line in _read(f"/proc/{pid}/net/dev").splitlines()[2:]:
        name, _, rest = line.partition(":")
        fields = rest.split()
        if name.strip() != "lo" and len(fields) >= 9:
            found.received += int(fields[0])
            found.sent += int(fields[8])


def memory_of_host() -> int:
    """Bytes of memory that the host has."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
