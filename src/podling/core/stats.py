"""stats: how much of the host containers use, now or again and again."""

from __future__ import annotations

import time

from podling.core.containers import ALIVE, Container, every
from podling.errors import Unsupported
from podling.linux.proc import outer_uid
from podling.oci import json
from podling.oci.record import Record
from podling.runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from podling.core.context import Context


class Sample(Record):
    """One container at one time. Percents of one CPU and of the limit; nanoseconds and bytes."""

    id: str
    name: str
    cpu_percent: float = 0.0
    average_percent: float = 0.0
    cpu: int = 0
    cpu_system: int = 0
    memory: int = 0
    memory_limit: int = 0
    processes: int = 0
    block_read: int = 0
    block_written: int = 0
    received: int = 0
    sent: int = 0
    uptime: int = 0

    @property
    def memory_percent(self) -> float:
        return 100.0 * self.memory / self.memory_limit if self.memory_limit else 0.0


def stream(
    ctx: Context,
    containers: list[Container] | None,
    interval: float,
    *,
    all: bool,
    patient: bool = True,
    system: bool = True,
) -> Iterator[list[Sample] | None]:
    """Samples of `containers`, or of those that run (with `all` of every one) at each time; the first comes at once.

    `system` looks at the time in the kernel too. One that is not `patient` yields None until the time has come.
    """
    before: dict[str, tuple[int, int]] = {}
    if outer_uid() and ctx.settings.cgroup_manager != "systemd":
        raise Unsupported(
            "stats is not supported in rootless mode without cgroups v2",
            hint="a systemd session with cgroup v2 delegates them",
        )
    while True:
        chosen = containers
        if chosen is None:
            chosen = every(ctx, "NOT external" + ("" if all else " AND status IN ('running', 'paused', 'stopping')"))
        else:
            for container in chosen:
                container.load()
        host = cgroups.memory_of_host()
        yield [_sample(container, before, host, system=system) for container in chosen]
        if patient:
            time.sleep(interval)
            continue
        due = time.monotonic() + interval
        while time.monotonic() < due:
            yield None


def _sample(container: Container, before: dict[str, tuple[int, int]], host: int, *, system: bool) -> Sample:
    sample = Sample(id=container.id, name=container.name)
    places = cgroups.folders(container.pid) if container.status in ALIVE else {}
    # a cgroup with its id in the name is proof that the pid is still the container's
    if container.id not in (places.get("memory") or places.get("", "")) and not container.is_alive:
        return sample
    # the whole configuration of every container would take longer to read than all that the kernel says
    config = json.loads(container.document)
    usage = cgroups.usage(
        container.pid,
        places,
        own_network=config.get("network") not in ("host", "none"),
        limited="memory" in config.get("resources", {}),
        system=system,
    )
    now = time.time_ns()
    sample.__dict__.update(usage.__dict__)
    sample.memory_limit = usage.memory_limit if 0 < usage.memory_limit < host else host
    sample.uptime = max(now - container.started, 1)
    sample.average_percent = 100.0 * usage.cpu / sample.uptime
    last = before.get(container.id)
    sample.cpu_percent = sample.average_percent
    if last and now > last[0]:
        sample.cpu_percent = 100.0 * max(usage.cpu - last[1], 0) / (now - last[0])
    before[container.id] = now, usage.cpu
    return sample
