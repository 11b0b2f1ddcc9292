"""Pods as they are shown: the list with its filters, and everything about one."""

from __future__ import annotations

from podling.core import pods
from podling.core.filters import match_label, moment, split
from podling.core.pods import Pod
from podling.errors import InvalidInput
from podling.oci.record import Record
from podling.oci.times import format_time
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.core.containers import Container
    from podling.core.context import Context

FILTERS = (
    "ctr-ids", "ctr-names", "ctr-number", "ctr-status", "id", "label", "name", "network", "status", "until",
)  # fmt: skip
_STATUSES = ("stopped", "running", "paused", "exited", "dead", "created", "degraded")


class Member(Record):
    id: str
    name: str
    status: str
    restarts: int = 0
    infra: bool = False
    #: an init container: its end says nothing of the pod's state
    init: bool = False


class PodSummary(Record):
    """A line of `pod ps`."""

    id: str
    name: str
    status: str
    created: int
    labels: dict[str, str] = {}
    infra: str = ""
    networks: list[str] = []
    share: list[str] = []
    cgroup: str = ""
    containers: list[Member] = []


def summary(ctx: Context, pod: Pod) -> PodSummary:
    """A pod with the states of its containers."""
    found = pods.members(ctx, pod)
    listed = [
        Member(
            id=c.id, name=c.name, status=c.truth()[0], restarts=c.restarts, infra=bool(c.infra), init=bool(c.init_type)
        )
        for c in found
    ]
    infra = next((container for container in found if container.infra), None)
    return PodSummary(
        id=pod.id, name=pod.name, status=pods.state_of([member.status for member in listed if not member.init]), created=pod.created,
        labels=pod.labels, infra=infra.id if infra else "", networks=_networks(infra), share=pod.share,
        cgroup=pods.group_of(ctx, pod), containers=listed,
    )  # fmt: skip


def _networks(infra: Container | None) -> list[str]:
    if infra is None:
        return []
    return infra.config.networks or ([] if infra.config.network == "bridge" else [infra.config.network])


def list_pods(ctx: Context, filters: list[str]) -> list[PodSummary]:
    """Pods that match, the newest first.

    Raises:
        InvalidInput: an unknown filter, or a value that makes no sense.
    """
    wanted = split(filters, FILTERS)
    for value in wanted.get("status", ()):
        if value.lower() not in _STATUSES:
            raise InvalidInput(f"--filter status={value}: not one of {', '.join(_STATUSES)}")
    for value in wanted.get("ctr-number", ()):
        if not value.isdigit():
            raise InvalidInput(f"--filter ctr-number={value}: not a number")
    import re

    tests: dict[str, Callable[[PodSummary, str], bool]] = {
        "ctr-ids": lambda pod, value: any(c.id.startswith(value) for c in pod.containers),
        "ctr-names": lambda pod, value: any(re.search(value, c.name) for c in pod.containers),
        "ctr-number": lambda pod, value: len(pod.containers) == int(value),
        "ctr-status": lambda pod, value: any(c.status == value for c in pod.containers),
        "id": lambda pod, value: pod.id.startswith(value),
        "label": lambda pod, value: match_label(pod.labels, value),
        "label!": lambda pod, value: not match_label(pod.labels, value),
        "name": lambda pod, value: re.search(value, pod.name) is not None,
        "network": lambda pod, value: value in pod.networks,
        "status": lambda pod, value: pod.status.lower() == {"stopped": "exited"}.get(value.lower(), value.lower()),
        "until": lambda pod, value: pod.created < moment(value, now()),
    }
    any_of = ("status", "name", "id", "ctr-status", "network")  # of these one value is enough

    def matches(pod: PodSummary) -> bool:
        return all(
            (any if key in any_of else all)(tests[key](pod, value) for value in values)
            for key, values in wanted.items()
        )

    return [found for pod in pods.all_pods(ctx) if matches(found := summary(ctx, pod))]


def inspect(ctx: Context, pod: Pod) -> dict[str, Any]:
    """In the shape of `podman pod inspect`."""
    shown = summary(ctx, pod)
    infra = pods.infra_of(ctx, pod)
    document: dict[str, Any] = {
        "Id": pod.id, "Name": pod.name, "Created": format_time(pod.created), "CreateCommand": pod.create_command,
        "ExitPolicy": pod.exit_policy, "State": shown.status, "Hostname": infra.config.hostname if infra else "", "Labels": pod.labels,
        "CreateCgroup": pod.share_parent, "CgroupParent": pod.cgroup_parent or "/podling", "CgroupPath": shown.cgroup,
        "CreateInfra": pod.has_infra, "InfraContainerID": shown.infra, "InfraConfig": _infra_config(infra) if infra else None,
        "SharedNamespaces": pod.share, "NumContainers": len(shown.containers),
        "Containers": [{"Id": c.id, "Name": c.name, "State": c.status} for c in shown.containers],
    }  # fmt: skip
    if pod.restart:
        document["RestartPolicy"] = pod.restart
    if infra:
        document.update(_limits(infra))
    return document


def _infra_config(infra: Container) -> dict[str, Any]:
    from podling.core.inspect import port_bindings

    config, limits = infra.config, infra.config.resources
    return {
        "PortBindings": port_bindings(config), "HostNetwork": config.network == "host", "StaticIP": config.ip, "StaticMAC": config.mac,
        "NoManageResolvConf": False, "DNSServer": config.dns or None, "DNSSearch": config.dns_search or None,
        "DNSOption": config.dns_option or None, "NoManageHosts": config.no_hosts, "HostAdd": config.add_hosts or None,
        "HostsFile": config.hosts_file, "NoManageHostname": config.no_hostname, "Networks": _networks(infra), "NetworkOptions": None,
        "pid_ns": config.pid_mode, "userns": config.userns.mode if config.userns else "host", "uts_ns": config.uts_mode,
        "cpu_period": limits.cpu_period, "cpu_quota": limits.cpu_quota, "cpuset_cpus": limits.cpuset_cpus,
    }  # fmt: skip


def _limits(infra: Container) -> dict[str, Any]:
    from podling.core.inspect import mounts_of, throttles

    config, limits = infra.config, infra.config.resources
    found = {
        "memory_limit": limits.memory, "memory_swap": limits.memory_swap, "cpu_shares": limits.cpu_shares,
        "cpu_period": limits.cpu_period, "cpu_quota": limits.cpu_quota, "cpuset_cpus": limits.cpuset_cpus,
        "cpuset_mems": limits.cpuset_mems, "blkio_weight": limits.blkio_weight,
        "blkio_weight_device": throttles(limits.blkio_weight_device, "Weight"), "device_read_bps": throttles(limits.device_read_bps),
        "device_write_bps": throttles(limits.device_write_bps), "mounts": mounts_of(infra),
        "devices": [
            {"PathOnHost": device.host, "PathInContainer": device.target, "CgroupPermissions": device.access}
            for device in config.devices
        ],
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}
