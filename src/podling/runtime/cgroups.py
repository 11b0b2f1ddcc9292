"""What a container's cgroups say about its use of the host: cgroup v1 and v2 (kernel documentation, admin-guide/cgroup-v*)."""

from __future__ import annotations

import os

from podling.linux.proc import read_small
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
        return read_small(path).decode()
    except OSError:
        return ""


def _number(path: str) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0


def _field(text: str, name: str) -> int:
    """The number in the line `name number`; 0 without one."""
    _, found, rest = f"\n{text}".partition(f"\n{name} ")
    value = rest.partition("\n")[0].strip()
    return int(value) if found and value.isdigit() else 0


def folders(pid: int) -> dict[str, str]:
    """The folder of a process's cgroup for each controller; "" is that of version 2."""
    found: dict[str, str] = {}
    for line in _read(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            folder = f"/{name.removeprefix('name=')}" if name else "/unified" if _is_hybrid() else ""
            found[name] = f"/sys/fs/cgroup{folder}{path}"
    return found


_hybrid: bool | None = None


def _is_hybrid() -> bool:
    """Version 2 is mounted beside version 1, as on some hosts."""
    global _hybrid
    if _hybrid is None:
        _hybrid = not os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    return _hybrid


def usage(pid: int, places: dict[str, str], *, own_network: bool, limited: bool, system: bool) -> Usage:
    """The counters of the container whose first process is `pid`, in the cgroups `places`; zeros where the host does not count.

    One that is not `limited` has no limit of memory to look for. `system` reads the time in the kernel too.
    """
    found = Usage()
    if "memory" in places:
        _version_1(found, places, limited=limited, system=system)
    elif "" in places:
        _version_2(found, places[""], limited=limited)
    if own_network:
        _network(found, pid)
    return found


def _version_1(found: Usage, places: dict[str, str], *, limited: bool, system: bool) -> None:
    account = places.get("cpuacct", "")
    found.cpu = _number(f"{account}/cpuacct.usage")
    if system:
        found.cpu_system = _field(_read(f"{account}/cpuacct.stat"), "system") * (10**9 // os.sysconf("SC_CLK_TCK"))
    memory = places["memory"]
    inactive = _field(_read(f"{memory}/memory.stat"), "total_inactive_file")
    found.memory = max(_number(f"{memory}/memory.usage_in_bytes") - inactive, 0)
    if limited:
        found.memory_limit = _number(f"{memory}/memory.limit_in_bytes")
    found.processes = _number(f"{places.get('pids', '')}/pids.current")
    for line in _read(f"{places.get('blkio', '')}/blkio.throttle.io_service_bytes_recursive").splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1] == "Read":
            found.block_read += int(parts[2])
        elif len(parts) == 3 and parts[1] == "Write":
            found.block_written += int(parts[2])


def _version_2(found: Usage, place: str, *, limited: bool) -> None:
    cpu = _read(f"{place}/cpu.stat")
    found.cpu, found.cpu_system = _field(cpu, "usage_usec") * 1000, _field(cpu, "system_usec") * 1000
    inactive = _field(_read(f"{place}/memory.stat"), "inactive_file")
    found.memory = max(_number(f"{place}/memory.current") - inactive, 0)
    if limited:
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
