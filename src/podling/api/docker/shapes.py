"""Our answers in Docker's shapes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from podling.engine import shapes
from podling.oci.times import format_time, parse_time

if TYPE_CHECKING:
    from typing import Any

    from podling.core.images import Image
    from podling.core.listing import ContainerSummary
    from podling.core.stats import Sample
    from podling.core.usage import Usage
    from podling.core.volumes import Volume


# -- containers
_STATES = {"stopped": "exited", "initialized": "created", "stopping": "running", "configured": "created"}
_ZERO = "0001-01-01T00:00:00Z"


def container(item: ContainerSummary, now: int) -> dict[str, Any]:
    """A line of `GET /containers/json`."""
    details = item.details
    ports = []
    for key, bindings in details["bindings"].items():
        number, _, protocol = key.partition("/")
        ports += [
            {
                "IP": binding["HostIp"],
                "PrivatePort": int(number),
                "PublicPort": int(binding["HostPort"]),
                "Type": protocol,
            }
            for binding in bindings
        ]
    for key in details["exposed"]:
        if key not in details["bindings"]:
            number, _, protocol = key.partition("/")
            ports.append({"PrivatePort": int(number), "Type": protocol or "tcp"})
    document: dict[str, Any] = {
        "Id": item.id, "Names": [f"/{item.name}"], "Image": item.image, "ImageID": _sha(item.image_id), "Command": " ".join(item.command),
        "Created": item.created // 10**9, "Ports": ports, "Labels": item.labels, "State": _STATES.get(item.status, item.status),
        "Status": shapes.status_text(item, now), "HostConfig": {"NetworkMode": details["mode"]},
        "NetworkSettings": {"Networks": _endpoints(details["network"])},
        "Mounts": [_mount(mount) for mount in details["mounts"]],
        "NetworkID": "", "DefaultReadOnlyNonRecursive": False,
    }  # fmt: skip
    if item.size >= 0:
        document.update(SizeRw=item.size, SizeRootFs=item.root_size)
    return document


def _sha(id: str) -> str:
    return f"sha256:{id}" if id and not id.startswith("sha256:") else id


def _mount(mount: dict[str, Any]) -> dict[str, Any]:
    found = {key: mount.get(key, "") for key in ("Type", "Source", "Destination")}
    if mount.get("Name"):
        found["Name"], found["Driver"] = mount["Name"], mount["Driver"] or "local"
    return {**found, "Mode": ",".join(mount["Options"]), "RW": mount["RW"], "Propagation": mount["Propagation"]}


def _endpoints(network: dict[str, Any]) -> dict[str, Any]:
    """By network; ours of the default one is Docker's `bridge`."""
    return {
        {"podman": "bridge"}.get(name, name): _endpoint(entry) for name, entry in network.get("Networks", {}).items()
    }


def _endpoint(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "IPAMConfig": entry.get("IPAMConfig") or {}, "Links": None, "Aliases": entry.get("Aliases"), "MacAddress": entry["MacAddress"],
        "DriverOpts": None, "GwPriority": 0, "NetworkID": entry["NetworkID"], "EndpointID": entry["EndpointID"],
        "Gateway": entry["Gateway"], "IPAddress": entry["IPAddress"], "IPPrefixLen": entry["IPPrefixLen"],
        "IPv6Gateway": entry["IPv6Gateway"], "GlobalIPv6Address": entry["GlobalIPv6Address"],
        "GlobalIPv6PrefixLen": entry["GlobalIPv6PrefixLen"], "DNSNames": None,
    }  # fmt: skip


_HOST_KEYS = (
    "Binds", "ContainerIDFile", "NetworkMode", "PortBindings", "RestartPolicy", "AutoRemove", "VolumeDriver", "VolumesFrom", "CapAdd",
    "CapDrop", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd", "IpcMode", "Cgroup", "Links", "OomScoreAdj", "PidMode",
    "Privileged", "PublishAllPorts", "ReadonlyRootfs", "SecurityOpt", "UTSMode", "UsernsMode", "ShmSize", "Runtime", "ConsoleSize",
    "Isolation", "CpuShares", "Memory", "NanoCpus", "CgroupParent", "BlkioWeight", "BlkioWeightDevice", "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps", "CpuPeriod", "CpuQuota", "CpuRealtimePeriod",
    "CpuRealtimeRuntime", "CpusetCpus", "CpusetMems", "Devices", "MemoryReservation", "MemorySwap", "MemorySwappiness",
    "OomKillDisable", "Init", "PidsLimit", "Ulimits", "CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth", "Tmpfs",
    "Annotations",
)  # fmt: skip


def inspected(found: dict[str, Any]) -> dict[str, Any]:
    """`GET /containers/NAME/json` from Podman's document."""
    state, config, host, network = found["State"], found["Config"], found["HostConfig"], found["NetworkSettings"]
    shown_state = {
        key: state[key] for key in ("Running", "Paused", "Restarting", "OOMKilled", "Dead", "Pid", "ExitCode", "Error")
    }
    shown_state["Status"] = _STATES.get(state["Status"], state["Status"])
    for key in ("StartedAt", "FinishedAt"):
        shown_state[key] = _time(state[key])
    if state.get("Health"):
        shown_state["Health"] = state["Health"]
    shown_host = {key: host.get(key) for key in _HOST_KEYS}
    kind = host["LogConfig"]["Type"]
    shown_host["LogConfig"] = {
        "Type": "json-file" if kind == "k8s-file" else kind,
        "Config": host["LogConfig"]["Config"] or {},
    }
    shown_host["CgroupnsMode"] = host["CgroupMode"] or "host"
    shown_host["Runtime"] = found["OCIRuntime"]
    shown_host["MaskedPaths"], shown_host["ReadonlyPaths"] = None, None
    endpoints = _endpoints(network)
    return {
        "Id": found["Id"], "Created": _time(found["Created"]), "Path": found["Path"], "Args": found["Args"], "State": shown_state,
        "Image": _sha(found["Image"]), "ResolvConfPath": found["ResolvConfPath"], "HostnamePath": found["HostnamePath"],
        "HostsPath": found["HostsPath"], "LogPath": host["LogConfig"]["Path"], "Name": f"/{found['Name']}",
        "RestartCount": found["RestartCount"], "Driver": found["Driver"], "Platform": "linux", "MountLabel": found["MountLabel"],
        "ProcessLabel": found["ProcessLabel"], "AppArmorProfile": found["AppArmorProfile"], "ExecIDs": found["ExecIDs"] or None,
        "HostConfig": shown_host, "GraphDriver": found["GraphDriver"], "Mounts": [_mount(mount) for mount in found["Mounts"]],
        "Config": {
            "Hostname": config["Hostname"], "Domainname": config["Domainname"], "User": config["User"],
            "AttachStdin": config["AttachStdin"], "AttachStdout": config["AttachStdout"], "AttachStderr": config["AttachStderr"],
            "ExposedPorts": config["ExposedPorts"], "Tty": config["Tty"], "OpenStdin": config["OpenStdin"],
            "StdinOnce": config["StdinOnce"], "Env": config["Env"], "Cmd": config["Cmd"], "Image": config.get("Image", found["ImageName"]),
            "Volumes": {mount["Destination"]: {} for mount in found["Mounts"] if mount["Type"] == "volume"} or None,
            "WorkingDir": config["WorkingDir"], "Entrypoint": config["Entrypoint"], "OnBuild": None,
            "Labels": config["Labels"] or {}, "StopSignal": config["StopSignal"], "StopTimeout": config["StopTimeout"],
            **({"Healthcheck": config["Healthcheck"]} if "Healthcheck" in config else {}),
        },
        "NetworkSettings": {
            **{key: network[key] for key in (
                "Bridge", "SandboxID", "SandboxKey", "Ports", "HairpinMode", "LinkLocalIPv6Address", "LinkLocalIPv6PrefixLen",
                "EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway",
                "MacAddress",
            )},
            "SecondaryIPAddresses": None, "SecondaryIPv6Addresses": None, "Networks": endpoints,
        },
        **({"SizeRw": found["SizeRw"], "SizeRootFs": found["SizeRootFs"]} if "SizeRw" in found else {}),
    }  # fmt: skip


def _time(text: str) -> str:
    """As Docker writes times: UTC with a Z."""
    return _ZERO if text.startswith("0001-") else text.replace("+00:00", "Z")


def stats(sample: Sample, before: Sample | None, now: int, then: int) -> dict[str, Any]:
    """A sample as `docker stats` reads it; the one before it gives the rates."""
    current, last = _cpu(sample, now), _cpu(before, then) if before else _cpu(None, 0)
    return {
        "name": f"/{sample.name}", "id": sample.id, "read": format_time(now),
        "preread": format_time(then) if then else _ZERO, "pids_stats": {"current": sample.processes},
        "num_procs": 0, "storage_stats": {}, "cpu_stats": current, "precpu_stats": last,
        "memory_stats": {"usage": sample.memory, "max_usage": sample.memory_limit, "limit": sample.memory_limit, "stats": {}},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 0, "minor": 0, "op": "read", "value": sample.block_read},
                {"major": 0, "minor": 0, "op": "write", "value": sample.block_written},
            ],
        },
        "networks": {"eth0": {"rx_bytes": sample.received, "tx_bytes": sample.sent, "rx_packets": 0, "tx_packets": 0,
                              "rx_errors": 0, "tx_errors": 0, "rx_dropped": 0, "tx_dropped": 0}},
    }  # fmt: skip


def no_stats(id: str, name: str) -> dict[str, Any]:
    """Of a container that does not run."""
    return stats(shapes.empty_sample(id, name), None, 0, 0)


def _cpu(sample: Sample | None, when: int) -> dict[str, Any]:
    import os

    count = os.cpu_count() or 1
    total = sample.cpu if sample else 0
    # the client divides by the system's time and multiplies by the number of processors
    return {
        "cpu_usage": {
            "total_usage": total,
            "usage_in_kernelmode": sample.cpu_system if sample else 0,
            "usage_in_usermode": total - sample.cpu_system if sample else 0,
        },
        "system_cpu_usage": when * count, "online_cpus": count, "cpu": sample.cpu_percent if sample else 0,
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }  # fmt: skip


# -- images
def image(item: Image) -> dict[str, Any]:
    """A line of `GET /images/json`."""
    return {
        "Id": _sha(item.id), "ParentId": "", "RepoTags": item.names,
        "RepoDigests": shapes.repo_digests(item), "Created": item.created // 10**9, "Size": item.size, "SharedSize": -1,
        "VirtualSize": item.size, "Labels": item.labels or None, "Containers": item.containers,
    }  # fmt: skip


def inspected_image(found: dict[str, Any]) -> dict[str, Any]:
    """`GET /images/NAME/json` from Podman's document."""
    config = found["Config"]
    full = {
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "Tty": False,
        "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None, "Image": "", "Volumes": None, "WorkingDir": "",
        "Entrypoint": None, "OnBuild": None, "Labels": None, **config,
    }  # fmt: skip
    return {
        "Id": _sha(found["Id"]), "RepoTags": found["RepoTags"], "RepoDigests": found["RepoDigests"], "Parent": found["Parent"],
        "Comment": found["Comment"], "Created": _time(found["Created"]), "DockerVersion": found["Version"], "Author": found["Author"],
        "Config": full, "Architecture": found["Architecture"], "Os": found["Os"], "Size": found["Size"],
        "VirtualSize": found["VirtualSize"], "GraphDriver": found["GraphDriver"], "RootFS": found["RootFS"],
        "Metadata": {"LastTagTime": _ZERO}, "Container": "", "ContainerConfig": None,
    }  # fmt: skip


def history(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "Id": _sha(step["id"]) or "<missing>", "Created": parse_time(step["created"]) // 10**9 if step["created"] else 0,
            "CreatedBy": step["CreatedBy"], "Tags": step["tags"] or None, "Size": step["size"], "Comment": step["comment"],
        }
        for step in steps
    ]  # fmt: skip


# -- volumes
def volume(item: Volume, *, size: int = -1, links: int = -1) -> dict[str, Any]:
    document: dict[str, Any] = {
        "Name": item.name, "Driver": item.driver, "Mountpoint": item.path, "CreatedAt": format_time(item.created),
        "Labels": item.labels, "Scope": "local", "Options": item.options,
    }  # fmt: skip
    if links >= 0:
        document["UsageData"] = {"Size": size, "RefCount": links}
    return document


# -- networks
#: the bridge of a network whose maker named none: telling of it would look like a wish
_CHOSEN_BY_US = re.compile(r"(podman|podling)\d+")


def network(document: dict[str, Any]) -> dict[str, Any]:
    """A network from the shape of its file."""
    options = dict(document.get("options") or {})
    options = {{"mtu": "com.docker.network.driver.mtu"}.get(key, key): value for key, value in options.items()}
    interface = str(document.get("network_interface") or "")
    if document.get("driver") == "bridge" and interface and not _CHOSEN_BY_US.fullmatch(interface):
        options["com.docker.network.bridge.name"] = interface
    members = {}
    for id, member in (document.get("containers") or {}).items():
        entry = {"Name": member["name"], "EndpointID": "", "MacAddress": "", "IPv4Address": "", "IPv6Address": ""}
        for interface in member["interfaces"].values():
            entry["MacAddress"] = interface.get("mac_address", "")
            for subnet in interface.get("subnets") or ():
                entry["IPv6Address" if ":" in subnet["ipnet"] else "IPv4Address"] = subnet["ipnet"]
        members[id] = entry
    ipam = []
    for subnet in document.get("subnets") or ():
        block = {"Subnet": subnet["subnet"]}
        if subnet.get("gateway"):
            block["Gateway"] = subnet["gateway"]
        if subnet.get("lease_range"):
            block["IPRange"] = f"{subnet['lease_range'].get('start_ip', '')}-{subnet['lease_range'].get('end_ip', '')}"
        ipam.append(block)
    driver = (document.get("ipam_options") or {}).get("driver", "default")
    return {
        "Name": {"podman": "bridge"}.get(document["name"], document["name"]), "Id": document["id"],
        "Created": document.get("created", _ZERO),
        "Scope": "local", "Driver": document["driver"], "EnableIPv4": True, "EnableIPv6": bool(document.get("ipv6_enabled")),
        "IPAM": {"Driver": "default" if driver == "host-local" else driver, "Options": {"driver": driver}, "Config": ipam},
        "Internal": bool(document.get("internal")), "Attachable": False, "Ingress": False, "ConfigFrom": {"Network": ""},
        "ConfigOnly": False, "Containers": members, "Options": options, "Labels": document.get("labels") or {},
    }  # fmt: skip


# -- the engine
def info(found: dict[str, Any], images: int) -> dict[str, Any]:
    """`GET /info` from Podman's document."""
    host, store, plugins = found["host"], found["store"], found["plugins"]
    counts = store["containerStore"]
    runtime, security = host["ociRuntime"], host["security"]
    options = ["name=seccomp,profile=default"] if security["seccompEnabled"] else []
    options += ["name=apparmor"] if security["apparmorEnabled"] else []
    options += ["name=rootless"] if security["rootless"] else []
    return {
        "ID": "podling", "Containers": counts["number"], "ContainersRunning": counts["running"], "ContainersPaused": counts["paused"],
        "ContainersStopped": counts["stopped"], "Images": images, "Driver": store["graphDriverName"],
        "DriverStatus": [[key, value] for key, value in store["graphStatus"].items()],
        "Plugins": {
            "Volume": plugins["volume"], "Network": ["bridge", "macvlan", "ipvlan"], "Authorization": None, "Log": plugins["log"],
        },
        "MemoryLimit": True, "SwapLimit": True, "CpuCfsPeriod": True, "CpuCfsQuota": True, "CPUShares": True, "CPUSet": True,
        "PidsLimit": True, "IPv4Forwarding": True, "BridgeNfIptables": True, "BridgeNfIp6tables": True, "Debug": False,
        "NFd": 0, "OomKillDisable": True, "NGoroutines": 0, "SystemTime": format_time(_now()), "LoggingDriver": host["logDriver"],
        "CgroupDriver": host["cgroupManager"], "CgroupVersion": host["cgroupVersion"].removeprefix("v"), "NEventsListener": 0,
        "KernelVersion": host["kernel"], "OperatingSystem": host["distribution"]["distribution"],
        "OSVersion": host["distribution"]["version"], "OSType": "linux", "Architecture": _machine(host["arch"]),
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {"IndexConfigs": {}, "InsecureRegistryCIDRs": [], "Mirrors": []},
        "NCPU": host["cpus"], "MemTotal": host["memTotal"], "GenericResources": None, "DockerRootDir": store["graphRoot"],
        "HttpProxy": "", "HttpsProxy": "", "NoProxy": "", "Name": host["hostname"], "Labels": None, "ExperimentalBuild": True,
        "ServerVersion": found["version"]["Version"], "Runtimes": {runtime["name"]: {"path": runtime["path"]}},
        "DefaultRuntime": runtime["name"], "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False,
                                                     "Error": "", "RemoteManagers": None},
        "LiveRestoreEnabled": False, "Isolation": "", "InitBinary": "catatonit", "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""}, "InitCommit": {"ID": ""}, "SecurityOptions": options, "ProductLicense": "Apache-2.0",
        "Warnings": [], "Rootless": security["rootless"],
    }  # fmt: skip


def _now() -> int:
    import time

    return time.time_ns()


def _machine(name: str) -> str:
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def usage(
    found: Usage, images: dict[str, Image], containers: list[ContainerSummary], volumes: dict[str, Volume]
) -> dict[str, Any]:
    """`GET /system/df`."""
    pictures = []
    for item in found.images:
        if item.id in images:
            pictures.append({**image(images[item.id]), "SharedSize": item.shared, "Containers": item.containers})
    return {
        "LayersSize": found.layers, "Images": pictures, "Containers": [container(item, _now()) for item in containers],
        "Volumes": [
            volume(volumes[item.name], size=item.size, links=item.links) for item in found.volumes if item.name in volumes
        ],
        "BuildCache": [], "BuilderSize": 0,
    }  # fmt: skip


def libpod_usage(found: Usage) -> dict[str, Any]:
    """`GET /libpod/system/df`."""

    def parts(name: str) -> tuple[str, str]:
        repository, _, tag = name.rpartition(":")
        return repository, tag

    return {
        "ImagesSize": found.layers,
        "Images": [
            {
                "Repository": parts(name)[0], "Tag": parts(name)[1], "ImageID": item.id, "Created": format_time(item.created),
                "Size": item.size, "SharedSize": item.shared, "UniqueSize": item.unique, "Containers": item.containers,
            }
            for item in found.images
            for name in item.names or ["<none>:<none>"]
        ],
        "Containers": [
            {
                "ContainerID": item.id, "Image": item.image, "Command": item.command, "LocalVolumes": item.volumes, "Size": item.size,
                "RWSize": item.size, "Created": format_time(item.created), "Status": item.status, "Names": item.name,
            }
            for item in found.containers
        ],
        "Volumes": [
            {
                "VolumeName": item.name,
                "Links": item.links,
                "Size": item.size,
                "ReclaimableSize": 0 if item.links else item.size,
            }
            for item in found.volumes
        ],
    }  # fmt: skip
