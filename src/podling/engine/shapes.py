"""The JSON that lists show, in Podman's shape: the same for `--format json` and for the REST API."""

from __future__ import annotations

from podling.oci.times import format_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.events import Event
    from podling.core.images import Image
    from podling.core.listing import ContainerSummary
    from podling.core.pod_details import PodSummary
    from podling.core.secrets import Secret
    from podling.core.stats import Sample
    from podling.core.volumes import Volume

#: the zero of Go's time.Time, as a Unix time
NEVER = -62135596800


def human_duration(seconds: float) -> str:
    """As Docker's units package words it."""
    whole = int(seconds)
    minutes, hours = whole // 60, round(whole / 3600)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"


def ago(nanoseconds: int, now: int) -> str:
    return f"{human_duration((now - nanoseconds) / 1e9)} ago" if nanoseconds > 0 else "N/A"


def status_text(item: ContainerSummary, now: int) -> str:
    """`Up 3 minutes (healthy)`, `Exited (0) 2 hours ago`, `Created`, …"""
    if item.status == "running":
        health = f" ({item.health})" if item.health else ""
        return f"Up {human_duration((now - item.started) / 1e9)}{health}"
    if item.status == "exited":
        since = f" {ago(item.finished, now)}" if item.finished else ""
        return f"Exited ({item.exit_code}){since}"
    return item.status.capitalize()


def container(item: ContainerSummary, now: int) -> dict[str, Any]:
    """A container that was listed with its details."""
    details = item.details
    ports = [
        {
            "host_ip": "" if binding["HostIp"] == "0.0.0.0" else binding["HostIp"],
            "container_port": int(key.partition("/")[0]),
            "host_port": int(binding["HostPort"]),
            "range": 1,
            "protocol": key.partition("/")[2],
        }
        for key, bindings in details["bindings"].items()
        for binding in bindings
    ]
    return {
        "AutoRemove": item.auto_remove,
        "Command": item.command,
        "CreatedAt": ago(item.created, now),
        "CIDFile": "",
        "Exited": item.status == "exited",
        "ExitedAt": item.finished // 10**9 if item.finished else NEVER,
        "ExitCode": item.exit_code,
        "ExposedPorts": details["exposed"] or None,
        "Id": item.id,
        "Image": item.image,
        "ImageID": item.image_id,
        "IsInfra": item.infra,
        "Labels": item.labels or None,
        "Mounts": [mount["Destination"] for mount in details["mounts"]],
        "Names": [item.name],
        "Namespaces": {},
        "Networks": list(details["network"].get("Networks", ())),
        "Pid": item.pid,
        "Pod": item.pod,
        "PodName": item.pod_name,
        "Ports": ports or None,
        "Restarts": item.restarts,
        "Size": {"rootFsSize": item.root_size, "rwSize": item.size} if item.size >= 0 else None,
        "StartedAt": item.started // 10**9 if item.started else NEVER,
        "State": item.status,
        "Status": status_text(item, now),
        "Created": item.created // 10**9,
    }


def repo_digests(image: Image) -> list[str]:
    return sorted({f"{name.rpartition(':')[0]}@{image.manifest_digest}" for name in image.names})


def image(item: Image) -> dict[str, Any]:
    parts = [*item.platform.split("/"), ""]
    return {
        "Id": item.id,
        "ParentId": "",
        "RepoTags": item.names or None,
        "RepoDigests": repo_digests(item),
        "Size": item.size,
        "SharedSize": 0,
        "VirtualSize": item.size,
        "Labels": item.labels or None,
        "Containers": item.containers,
        "Arch": parts[1],
        "Digest": item.manifest_digest,
        "History": item.past_names or item.names,
        "IsManifestList": item.kind == "index",
        "ReadOnly": bool(item.shelf),
        "Dangling": not item.names,
        "Names": item.names,
        "Os": parts[0],
        "Created": item.created // 10**9,
        "CreatedAt": format_time(item.created),
    }


def pod(item: PodSummary) -> dict[str, Any]:
    return {
        "Cgroup": item.cgroup,
        "Containers": [
            {"Id": c.id, "Names": c.name, "Status": c.status, "RestartCount": c.restarts} for c in item.containers
        ],
        "Created": format_time(item.created), "Id": item.id, "InfraId": item.infra, "Name": item.name, "Namespace": "",
        "Networks": item.networks, "Status": item.status, "Labels": item.labels,
    }  # fmt: skip


def volume(item: Volume) -> dict[str, Any]:
    document: dict[str, Any] = {
        "Name": item.name, "Driver": item.driver, "Mountpoint": item.path, "CreatedAt": format_time(item.created),
        "Labels": item.labels, "Scope": "local", "Options": item.options,
    }  # fmt: skip
    if item.uid:
        document["UID"] = item.uid
    if item.gid:
        document["GID"] = item.gid
    if item.anonymous:
        document["Anonymous"] = True
    document.update(
        MountCount=item.mounted, NeedsCopyUp=not item.filled, NeedsChown=not item.filled, LockNumber=item.key
    )
    return document


def secret(item: Secret, data: bytes | None = None) -> dict[str, Any]:
    """With `data` its content is in it."""
    document: dict[str, Any] = {
        "ID": item.id, "CreatedAt": format_time(item.created), "UpdatedAt": format_time(item.updated),
        "Spec": {"Name": item.name, "Driver": {"Name": item.driver, "Options": item.options}, "Labels": item.labels},
    }  # fmt: skip
    if data is not None:
        document["SecretData"] = data.decode("utf-8", "replace")
    return document


def event(item: Event) -> dict[str, Any]:
    document: dict[str, Any] = {
        "Name": item.name, "Status": item.action, "Type": item.type, "ID": item.id, "time": item.time // 10**9, "timeNano": item.time,
    }  # fmt: skip
    if item.image:
        document["Image"] = item.image
    if item.attributes:
        document["Attributes"] = item.attributes
    attributes = item.attributes
    if "containerExitCode" in attributes:
        document["ContainerExitCode"] = int(attributes["containerExitCode"])
    if "health_status" in attributes:
        document["HealthStatus"] = attributes["health_status"]
    if "podId" in attributes:
        document["PodID"] = attributes["podId"]
    if "inspectData" in attributes:
        document["ContainerInspectData"] = attributes["inspectData"]
        document["Attributes"] = {key: value for key, value in attributes.items() if key != "inspectData"}
    return document


def empty_sample(id: str, name: str) -> Sample:
    """Of a container that uses nothing."""
    from podling.core.stats import Sample

    return Sample(id=id, name=name)


def sample(item: Sample) -> dict[str, Any]:
    """Of stats, as libpod's routes give it."""
    return {
        "AvgCPU": item.average_percent, "ContainerID": item.id, "Name": item.name, "PerCPU": None, "CPU": item.cpu_percent,
        "CPUNano": item.cpu, "CPUSystemNano": item.cpu_system, "SystemNano": 0, "MemUsage": item.memory, "MemLimit": item.memory_limit,
        "MemPerc": item.memory_percent, "NetInput": item.received, "NetOutput": item.sent, "BlockInput": item.block_read,
        "BlockOutput": item.block_written, "PIDs": item.processes, "UpTime": item.uptime, "Duration": item.uptime,
        "Network": {"eth0": {"RxBytes": item.received, "TxBytes": item.sent}} if item.received or item.sent else {},
    }  # fmt: skip
