"""Limits: what the flags say, for create, update and clone."""

from __future__ import annotations

import os

from podling.core import parse
from podling.core.options import CreateOptions
from podling.errors import InvalidInput
from podling.oci.sizes import size
from podling.runtime.config import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PIDS = 2048
THROTTLES = ("blkio_weight_device", "device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops")
#: options that are limits
FIELDS = frozenset(
    (
        "memory", "memory_swap", "memory_reservation", "memory_swappiness", "cpus", "cpu_shares", "cpu_quota", "cpu_period",
        "cpuset_cpus", "cpuset_mems", "pids_limit", "blkio_weight", "cpu_rt_runtime", "cpu_rt_period", *THROTTLES,
    )
)  # fmt: skip


def resources(options: CreateOptions) -> Resources:
    """The limits that options ask for.

    Raises:
        InvalidInput: one that cannot be, or two that contradict each other.
    """
    memory = size(options.memory, "--memory") if options.memory else 0
    swap = size(options.memory_swap, "--memory-swap") if options.memory_swap else 0
    if 0 < memory < 512 * 1024:
        raise InvalidInput(f"--memory {options.memory}: the minimum is 512k")
    if swap > 0 and not memory:
        raise InvalidInput("--memory-swap needs --memory")
    if 0 < swap < memory:
        raise InvalidInput("--memory-swap is memory and swap together, so it must be larger than --memory")
    if options.cpus and (options.cpu_quota or options.cpu_period):
        raise InvalidInput("--cpus and --cpu-quota or --cpu-period say the same thing: give only one of them")
    period, quota = options.cpu_period, options.cpu_quota
    if options.cpus:
        if options.cpus < 0.01:
            raise InvalidInput(f"--cpus {options.cpus}: the minimum is 0.01")
        period, quota = 100_000, int(options.cpus * 100_000)
    return Resources(
        memory=memory,
        memory_swap=swap,
        memory_reservation=size(options.memory_reservation, "--memory-reservation")
        if options.memory_reservation
        else 0,
        memory_swappiness=options.memory_swappiness,
        oom_kill_disable=options.oom_kill_disable,
        cpu_shares=options.cpu_shares,
        cpu_quota=quota,
        cpu_period=period,
        cpuset_cpus=options.cpuset_cpus,
        cpuset_mems=options.cpuset_mems,
        pids_limit=options.pids_limit or (0 if options.cgroups == "disabled" else DEFAULT_PIDS),
        blkio_weight=options.blkio_weight,
        cpu_rt_runtime=options.cpu_rt_runtime,
        cpu_rt_period=options.cpu_rt_period,
        unified=parse.pairs(options.cgroup_conf, "--cgroup-conf", bare=False),
        **{field: _throttles(options, field) for field in THROTTLES},
    )


def _throttles(options: CreateOptions, field: str) -> Any:
    """PATH:NUMBER of a device; rates may have a unit."""
    found = []
    flag = f"--{field.replace('_', '-')}"
    for text in getattr(options, field):
        path, colon, value = text.rpartition(":")
        if not colon or not path.startswith("/"):
            raise InvalidInput(f"{flag} {text!r}: not DEVICE:NUMBER, as in /dev/sda:1mb")
        if not os.path.exists(path):
            raise InvalidInput(f"{flag} {text!r}: no such device")
        number = size(value, flag)
        if field == "blkio_weight_device" and not 10 <= number <= 1000:
            raise InvalidInput(f"{flag} {text!r}: a weight is between 10 and 1000")
        found.append(f"{path}:{number}")
    return found


def merged(known: Resources, changes: CreateOptions, given: set[str]) -> Resources:
    """`known` with those limits of `changes` that were given.

    Raises:
        InvalidInput: the two together make no sense.
    """
    fields = given & FIELDS
    if not fields:
        return known
    if "memory_swap" in fields and "memory" not in fields and known.memory:
        changes.memory = str(known.memory)
    fresh = resources(changes)
    values = known.to_json()
    for field in fields:
        for target in ("cpu_quota", "cpu_period") if field == "cpus" else (field,):
            values[target] = getattr(fresh, target)
    result = Resources.from_json(values)
    if 0 < result.memory_swap < result.memory:
        raise InvalidInput(
            "the memory limit would be more than memory and swap together", hint="give --memory-swap too"
        )
    return result
