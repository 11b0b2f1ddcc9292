"""Limits of a whole pod: those of its infra container are those of the cgroup that all its containers are in."""

from __future__ import annotations

import os

from podling.core.containers import Container
from podling.linux.process import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.runtime.config import Resources


def apply(infra: Container) -> None:
    """Set the limits of the cgroup, or slice, above a pod's infra container; nothing where there is none of its own."""
    config = infra.config
    limits = config.resources
    parent = config.cgroup_parent
    if not parent or "pod" not in parent.rpartition("/")[2]:
        return
    if parent.endswith(".slice"):
        properties = _properties(limits)
        if properties:
            user = ["--user"] if os.environ.get("_CONTAINERS_ROOTLESS_UID") else []
            run(["/usr/bin/systemctl", *user, "set-property", "--runtime", parent, *properties])
        return
    version_2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    for controller, name, value in _files_2(limits) if version_2 else _files_1(limits):
        path = f"/sys/fs/cgroup{parent}/{name}" if version_2 else f"/sys/fs/cgroup/{controller}{parent}/{name}"
        try:
            with open(path, "w") as file:
                file.write(value)
        except OSError as error:
            infra.ctx.warn(f"the pod's limit {name} could not be set: {error.strerror}")


def _files_1(limits: Resources) -> list[tuple[str, str, str]]:
    """(controller, file, content) of cgroup v1. A limit of memory has to come before that of memory and swap."""
    found = [
        ("memory", "memory.limit_in_bytes", limits.memory), ("memory", "memory.memsw.limit_in_bytes", limits.memory_swap),
        ("cpu", "cpu.shares", limits.cpu_shares), ("cpu", "cpu.cfs_period_us", limits.cpu_period),
        ("cpu", "cpu.cfs_quota_us", limits.cpu_quota), ("cpuset", "cpuset.cpus", limits.cpuset_cpus),
        ("cpuset", "cpuset.mems", limits.cpuset_mems), ("blkio", "blkio.weight", limits.blkio_weight),
    ]  # fmt: skip
    return [(controller, name, str(value)) for controller, name, value in found if value]


def _weight(shares: int) -> int:
    """cpu.weight for v1's shares, as the runtimes convert them."""
    return 1 + ((shares - 2) * 9999) // 262142 if shares else 0


def _files_2(limits: Resources) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str | int]] = [
        ("memory.max", limits.memory), ("cpu.weight", _weight(limits.cpu_shares)), ("cpuset.cpus", limits.cpuset_cpus),
        ("cpuset.mems", limits.cpuset_mems), ("io.weight", limits.blkio_weight),
    ]  # fmt: skip
    if limits.memory_swap > 0:
        found.append(("memory.swap.max", max(limits.memory_swap - limits.memory, 0)))
    if limits.cpu_quota:
        found.append(("cpu.max", f"{limits.cpu_quota} {limits.cpu_period or 100000}"))
    return [("", name, str(value)) for name, value in found if value]


def _properties(limits: Resources) -> list[str]:
    """As systemd's resource control names them (systemd.resource-control.5)."""
    found: list[tuple[str, str | int]] = [
        ("MemoryMax", limits.memory), ("CPUWeight", _weight(limits.cpu_shares)), ("AllowedCPUs", limits.cpuset_cpus),
        ("AllowedMemoryNodes", limits.cpuset_mems), ("IOWeight", limits.blkio_weight),
    ]  # fmt: skip
    if limits.memory_swap > 0:
        found.append(("MemorySwapMax", max(limits.memory_swap - limits.memory, 0)))
    if limits.cpu_quota:
        found.append(("CPUQuota", f"{limits.cpu_quota * 100 // (limits.cpu_period or 100000)}%"))
    return [f"{name}={value}" for name, value in found if value]
