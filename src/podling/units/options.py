"""What a user asks of `generate systemd`, and what Quadlet files are listed as."""

from __future__ import annotations

from podling.oci.record import Record


class UnitOptions(Record):
    """`new` makes units that create what they run; seconds of 0 in `start_timeout` and `restart_sec` are "not given"."""

    use_name: bool = False
    new: bool = False
    header: bool = True
    container_prefix: str = "container"
    pod_prefix: str = "pod"
    separator: str = "-"
    restart_policy: str = "on-failure"
    restart_sec: int = 0
    start_timeout: int = 0
    stop_timeout: int = 10
    template: bool = False
    wants: list[str] = []
    after: list[str] = []
    requires: list[str] = []
    env: list[str] = []


class Quadlet(Record):
    """A Quadlet file. `status` is that of its unit, `Not loaded` where systemd does not know it."""

    name: str
    path: str
    unit: str
    status: str = "Not loaded"
    app: str = ""
