"""What the kernel and the distribution say of this host."""

from __future__ import annotations

import os

#: what binfmt_misc calls the interpreters, and the platforms that they run
_EMULATED = {
    "aarch64": "arm64", "arm": "arm", "i386": "386", "mips64el": "mips64le", "ppc64le": "ppc64le", "riscv64": "riscv64", "s390x": "s390x",
    "x86_64": "amd64",
}  # fmt: skip


def memory() -> dict[str, int]:
    """/proc/meminfo, in bytes."""
    values = {}
    with open("/proc/meminfo") as file:
        for line in file:
            key, _, rest = line.partition(":")
            values[key] = int(rest.split()[0]) * 1024
    return values


def processor_use() -> dict[str, float]:
    """Percent of the processors' time since the host came up."""
    with open("/proc/stat") as file:
        user, nice, system, idle, *others = (int(word) for word in file.readline().split()[1:])
    whole = (user + nice + system + idle + sum(others)) or 1
    return {
        "userPercent": round(user * 100 / whole, 2),
        "systemPercent": round(system * 100 / whole, 2),
        "idlePercent": round(idle * 100 / whole, 2),
    }


def distribution() -> dict[str, str]:
    """From os-release(5)."""
    values = {}
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        if os.path.exists(path):
            with open(path) as file:
                for line in file:
                    key, equals, value = line.strip().partition("=")
                    if equals:
                        values[key] = value.strip('"')
            break
    found = {"distribution": values.get("ID", "unknown"), "version": values.get("VERSION_ID", "unknown")}
    for key, name in (("codename", "VERSION_CODENAME"), ("variant", "VARIANT_ID")):
        if values.get(name):
            found[key] = values[name]
    return found


def cgroup_version() -> str:
    return "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1"


def controllers() -> list[str]:
    """Those that this process may use."""
    if cgroup_version() == "v2":
        with open("/proc/self/cgroup") as file:
            own = file.read().strip().rpartition("::")[2]
        for path in (f"/sys/fs/cgroup{own}/cgroup.controllers", "/sys/fs/cgroup/cgroup.controllers"):
            if os.path.exists(path):
                with open(path) as file:
                    return file.read().split()
    with open("/proc/cgroups") as file:
        return [line.split()[0] for line in file if not line.startswith("#")]


def uptime() -> str:
    with open("/proc/uptime") as file:
        seconds = int(float(file.read().split()[0]))
    days = f" (Approximately {seconds / 86400:.2f} days)" if seconds >= 3600 else ""
    return f"{seconds // 3600}h {seconds % 3600 // 60}m {seconds % 60:.2f}s{days}"


def emulated() -> list[str]:
    """The platforms whose programs run here through an interpreter (binfmt_misc), such as linux/arm64."""
    found = []
    folder = "/proc/sys/fs/binfmt_misc"
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        architecture = _EMULATED.get(name.removeprefix("qemu-"))
        if name.startswith("qemu-") and architecture and _is_on(f"{folder}/{name}"):
            found.append(f"linux/{architecture}")
    return found


def _is_on(path: str) -> bool:
    try:
        with open(path) as file:
            return file.readline().strip() == "enabled"
    except OSError:
        return False


def id_map(path: str) -> list[dict[str, int]] | None:
    """/proc/PID/uid_map or gid_map; None where ids are the host's."""
    with open(path) as file:
        rows = [[int(word) for word in line.split()] for line in file]
    if len(rows) == 1 and rows[0][:2] == [0, 0]:
        return None
    return [{"container_id": inside, "host_id": outside, "size": size} for inside, outside, size in rows]
