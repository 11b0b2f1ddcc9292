"""`inspect` of a container, in Podman's shape."""

from __future__ import annotations

import os

from podling.core import volumes
from podling.core.containers import ALIVE, Container
from podling.oci import json
from podling.oci.times import format_time
from podling.runtime import capabilities
from podling.runtime.spec import OCI_VERSION, cgroup_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.runtime.config import ContainerConfig, Health

_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    9: "SIGKILL",
    10: "SIGUSR1",
    12: "SIGUSR2",
    15: "SIGTERM",
    28: "SIGWINCH",
}


def _checkpoint(container: Container) -> dict[str, Any]:
    known = json.loads(container.__dict__["checkpoint"])
    made, restored = known.get("at", 0), known.get("restored", 0)
    folder = f"{container.ctx.folder(container.id)}/checkpoint"
    logs = {"CheckpointLog": f"{folder}/dump.log", "RestoreLog": f"{container.bundle.folder}/restore.log"}
    return {
        **({"Checkpointed": True, "CheckpointPath": folder} if made else {}),
        **{name: path for name, path in logs.items() if os.path.exists(path)},
        "CheckpointedAt": format_time(made),
        **({"Restored": True} if restored else {}),
        "RestoredAt": format_time(restored),
    }


def inspect(container: Container, size: bool) -> dict[str, Any]:
    """Everything about a container. `size` adds SizeRw and SizeRootFs, in bytes, which takes a walk over its files."""
    ctx, config = container.ctx, container.config
    status, code, finished = container.truth()
    alive = status in ALIVE
    argv = config.argv
    bundle = container.bundle
    digest = ctx.db.value("SELECT manifest_digest FROM images WHERE id=?", container.image_id) or ""
    caps = capabilities.effective(
        privileged=config.security.privileged, add=config.security.cap_add, drop=config.security.cap_drop
    )
    document: dict[str, Any] = {
        "Id": container.id,
        "Created": format_time(container.created),
        "Path": argv[0],
        "Args": argv[1:],
        "State": {
            "OciVersion": OCI_VERSION,
            "Status": status,
            "Running": status in ("running", "stopping"),
            "Paused": status == "paused",
            "Restarting": status == "exited" and bool(container.wanted) and config.restart != "no",
            "OOMKilled": bool(container.oom_killed),
            "Dead": False,
            "Pid": container.pid if alive else 0,
            "ConmonPid": container.conmon_pid if alive else 0,
            "ExitCode": code,
            "Error": container.error,
            "StartedAt": format_time(container.started),
            "FinishedAt": format_time(finished),
            "CgroupPath": cgroup_path(config, ctx.settings.cgroup_manager) if alive else "",
            **({"Health": _health(container)} if config.health else {}),
            **_checkpoint(container),
            "StoppedByUser": status == "exited" and not container.wanted and bool(container.started),
        },
        "Image": container.image_id or "",
        "ImageDigest": digest,
        "ImageName": config.image,
        "Rootfs": config.rootfs,
        "Pod": config.pod,
        "ResolvConfPath": _existing(f"{bundle.folder}/resolv.conf"),
        "HostnamePath": _existing(f"{bundle.folder}/hostname"),
        "HostsPath": _existing(f"{bundle.folder}/hosts"),
        "StaticDir": ctx.folder(container.id),
        "OCIConfigPath": _existing(bundle.config),
        "OCIRuntime": config.runtime,
        "ConmonPidFile": bundle.conmon_pidfile,
        "PidFile": bundle.pidfile,
        "Name": container.name,
        "RestartCount": container.restarts,
        "Driver": ctx.store.driver.name,
        "MountLabel": config.security.mount_label,
        "ProcessLabel": config.security.process_label,
        "AppArmorProfile": config.security.apparmor,
        "EffectiveCaps": caps,
        "BoundingCaps": caps,
        "ExecIDs": [row[0] for row in ctx.db.rows("SELECT id FROM exec_sessions WHERE container=?", container.key)],
        "GraphDriver": _graph_driver(container),
        "Mounts": mounts_of(container),
        "Dependencies": [
            *(mode[10:] for mode in _modes(config) if mode.startswith("container:")),
            *(item.partition(":")[0] for item in config.requires),
        ],
        "NetworkSettings": network_of(container),
        "Namespace": "",
        "IsInfra": config.infra,
        "IsService": False,
        "KubeExitCodePropagation": "invalid",
        "lockNumber": container.key,
        "Config": _config(config),
        "HostConfig": _host_config(container),
        "UseImageHosts": False,
        "UseImageHostname": False,
    }
    if size and container.layer:
        from podling.storage.usage import folder_size

        document["SizeRw"] = folder_size(f"{ctx.store.folder(container.layer)}/diff")
        below = ctx.db.value("SELECT size FROM images WHERE id=?", container.image_id) or 0
        document["SizeRootFs"] = document["SizeRw"] + below
    return document


def _existing(path: str) -> str:
    return path if os.path.exists(path) else ""


def _modes(config: ContainerConfig) -> list[str]:
    return [config.pid_mode, config.ipc_mode, config.uts_mode, config.cgroup_mode, config.network]


def _graph_driver(container: Container) -> dict[str, Any]:
    store = container.ctx.store
    if not container.layer:
        return {"Name": store.driver.name, "Data": None}
    folder = store.folder(container.layer)
    if store.driver.name != "overlay":
        return {"Name": store.driver.name, "Data": {"MergedDir": f"{folder}/diff"}}
    data = {
        "LowerDir": ":".join(f"{store.folder(key)}/diff" for key in store.chain(container.layer)[1:]),
        "UpperDir": f"{folder}/diff",
        "WorkDir": f"{folder}/work",
    }
    if container.ctx.db.value("SELECT mounts FROM layers WHERE key=?", container.layer):
        data["MergedDir"] = f"{folder}/merged"
    return {"Name": "overlay", "Data": data}


def mounts_of(container: Container) -> list[dict[str, Any]]:
    """Its mounts, in the shape of `podman inspect`."""
    found = []
    for mount in container.config.mounts:
        if mount.kind == "tmpfs":
            continue
        propagation = next(
            (o for o in mount.options if o.removeprefix("r") in ("private", "shared", "slave")), "rprivate"
        )
        entry: dict[str, Any] = {"Type": mount.kind}
        if mount.name:
            entry["Name"] = mount.name
        entry.update(
            Source=mount.source or volumes.path_of(container.ctx, mount.name),
            Destination=mount.target,
            Driver="local" if mount.kind == "volume" else "",
            Mode="",
            Options=[option for option in mount.options if option not in ("ro", "rw", "z", "Z", propagation)],
            RW="ro" not in mount.options,
            Propagation=propagation,
        )
        found.append(entry)
    return found


def port_bindings(config: ContainerConfig) -> dict[str, Any]:
    """Container port to host addresses, in the shape of `podman inspect`."""
    bindings: dict[str, Any] = {}
    for port in config.ports:
        for offset in range(port.span):
            key = f"{port.container_port + offset}/{port.protocol}"
            entry = {"HostIp": port.host_ip or "0.0.0.0", "HostPort": str(port.host_port + offset)}
            bindings.setdefault(key, []).append(entry)
    return bindings


def network_of(container: Container) -> dict[str, Any]:
    """Its networks and ports, in the shape of `podman inspect`."""
    from podling.network import netns

    config = container.config
    ports: dict[str, Any] = dict.fromkeys(config.exposed)
    ports.update(port_bindings(config))
    settings: dict[str, Any] = {
        "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0, "MacAddress": "", "Bridge": "", "SandboxID": "", "HairpinMode": False,
        "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0, "Ports": ports, "SandboxKey": "",
    }  # fmt: skip
    if config.network not in ("bridge", "pasta", "slirp4netns"):
        return settings
    status = json.loads(container.__dict__["network"] or "{}")
    if status:
        settings["SandboxKey"] = netns.path_of(container.id)
    networks = {}
    for name in config.networks or [config.network]:
        block: dict[str, Any] = next(iter((status.get(name, {}).get("interfaces") or {}).values()), {})
        entry: dict[str, Any] = {
            "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0, "MacAddress": block.get("mac_address", ""), "NetworkID": name, "DriverOpts": None,
            "IPAMConfig": _asked_for(config, name), "Links": None,
            "Aliases": [container.id[:12], *(config.network_options.get(name, {}).get("aliases") or ())],
        }  # fmt: skip
        for subnet in block.get("subnets") or ():
            address, _, length = subnet["ipnet"].partition("/")
            if ":" in address:
                place, key = "SecondaryIPv6Addresses", "GlobalIPv6Address"
                first = {
                    key: address,
                    "GlobalIPv6PrefixLen": int(length or 0),
                    "IPv6Gateway": subnet.get("gateway", ""),
                }
            else:
                place, key = "SecondaryIPAddresses", "IPAddress"
                first = {key: address, "IPPrefixLen": int(length or 0), "Gateway": subnet.get("gateway", "")}
            if entry[key]:
                entry.setdefault(place, []).append({"Addr": address, "PrefixLength": int(length or 0)})
            else:
                entry.update(first)
        networks[name] = entry
    if len(networks) == 1:
        only = next(iter(networks.values()))
        more = ("SecondaryIPAddresses", "SecondaryIPv6Addresses")
        settings.update({key: only[key] for key in (*settings, *more) if key in only})
    settings["Networks"] = networks
    return settings


def _asked_for(config: ContainerConfig, network: str) -> dict[str, str] | None:
    """The fixed addresses of a container on a network, in Docker's shape."""
    found = {
        "IPv6Address" if ":" in ip else "IPv4Address": ip
        for ip in config.network_options.get(network, {}).get("ips") or ()
    }
    return found or None


def throttles(entries: list[str], key: str = "Rate") -> list[dict[str, Any]] | None:
    """Limits of devices, `PATH:NUMBER`, as objects."""
    found = [{"Path": path, key: int(number)} for path, _, number in (text.rpartition(":") for text in entries)]
    return found or None


def _ulimits(config: ContainerConfig) -> list[dict[str, Any]]:
    """The limits that it runs with: those asked for, and the defaults."""
    from podling.runtime.spec import rlimits

    def signed(number: int) -> int:
        return -1 if number == (1 << 64) - 1 else number

    return [
        {"Name": item["type"], "Soft": signed(item["soft"]), "Hard": signed(item["hard"])}
        for item in rlimits(config.ulimits)
    ]


def _signal_name(number: int) -> str:
    """As Go names signals: those of real time count from SIGRTMIN, 34."""
    if 34 <= number <= 64:
        return f"SIGRTMIN+{number - 34}" if number > 34 else "SIGRTMIN"
    return _SIGNALS.get(number, str(number))


def _config(config: ContainerConfig) -> dict[str, Any]:
    return {
        "Hostname": config.hostname,
        "Domainname": "",
        "User": config.user,
        "AttachStdin": "stdin" in config.attach,
        "AttachStdout": "stdout" in config.attach,
        "AttachStderr": "stderr" in config.attach,
        "SystemdMode": config.systemd,
        "Tty": config.tty,
        "OpenStdin": config.stdin,
        "StdinOnce": False,
        "Env": [f"{name}={value}" for name, value in config.env.items()],
        "Cmd": config.command,
        "Image": config.image,
        "Volumes": None,
        "WorkingDir": config.workdir,
        "Entrypoint": config.entrypoint,
        "OnBuild": None,
        "Labels": config.labels,
        "Annotations": {"io.container.manager": "podling", **config.annotations},
        "StopSignal": _signal_name(config.stop_signal),
        "ExposedPorts": {text: {} for text in config.exposed},
        "CreateCommand": config.create_command,
        "Timezone": config.timezone,
        "Umask": config.umask,
        "Timeout": config.timeout,
        "StopTimeout": config.stop_timeout,
        **({"Healthcheck": healthcheck(config)} if config.health else {}),
        **(_health_config(config.health) if config.health else {}),
        **({"Secrets": _secrets(config)} if config.secrets else {}),
        **({"ChrootDirs": config.chroot_dirs} if config.chroot_dirs else {}),
        "sdNotifyMode": config.sdnotify,
        **({"sdNotifySocket": config.sdnotify_socket} if config.sdnotify_socket else {}),
        "Passwd": True,
    }


def _health_config(health: Health) -> dict[str, Any]:
    """What Config says of health checks besides the check itself."""
    document: dict[str, Any] = {
        "HealthcheckOnFailureAction": health.on_failure, "HealthLogDestination": health.log_destination,
        "HealthcheckMaxLogCount": health.log_count, "HealthcheckMaxLogSize": health.log_size,
    }  # fmt: skip
    if health.startup_test:
        document["StartupHealthCheck"] = {
            "Test": health.startup_test, "Interval": health.startup_interval, "Timeout": health.startup_timeout,
            "Retries": health.startup_retries, "Successes": health.startup_success,
        }  # fmt: skip
    return document


def _secrets(config: ContainerConfig) -> list[dict[str, Any]]:
    return [
        {"Name": secret.name, "ID": secret.id, "UID": secret.uid, "GID": secret.gid, "Mode": secret.mode}
        for secret in config.secrets
    ]


def _id_maps(config: ContainerConfig) -> dict[str, Any]:
    if config.userns is None or not config.userns.users:
        return {}
    maps = {"UidMap": config.userns.users, "GidMap": config.userns.groups}
    return {
        "IDMappings": {
            key: [":".join(str(number) for number in entry) for entry in entries] for key, entries in maps.items()
        }
    }


def _host_config(container: Container) -> dict[str, Any]:
    config = container.config
    limits, security = config.resources, config.security
    binds = []
    for mount in config.mounts:
        if mount.kind != "tmpfs":
            options = [o for o in mount.options if o not in ("ro", "rw")]
            mode = ",".join(["ro" if "ro" in mount.options else "rw", "rprivate", *options, "rbind"])
            binds.append(f"{mount.name or mount.source}:{mount.target}:{mode}")
    options = [f"seccomp={security.seccomp}"] if security.seccomp else []
    options += ["no-new-privileges"] if security.no_new_privileges else []
    options += [f"mask={text}" for text in security.mask] + [f"unmask={text}" for text in security.unmask]
    return {
        "Binds": binds,
        "CgroupManager": container.ctx.settings.cgroup_manager,
        "CgroupMode": config.cgroup_mode,
        "ContainerIDFile": "",
        "LogConfig": {
            "Type": config.log_driver,
            "Config": None,
            "Path": config.log_path,
            "Tag": config.log_tag,
            "Size": f"{max(config.log_size, 0)}B",
        },
        "NetworkMode": config.network,
        "PortBindings": port_bindings(config),
        "RestartPolicy": {"Name": config.restart, "MaximumRetryCount": config.restart_limit},
        "AutoRemove": bool(container.auto_remove),
        "AutoRemoveImage": config.remove_image,
        "Annotations": config.annotations,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "CapAdd": [f"CAP_{capabilities.normalise(name)}" for name in security.cap_add],
        "CapDrop": [f"CAP_{capabilities.normalise(name)}" for name in security.cap_drop],
        "Dns": config.dns,
        "DnsOptions": config.dns_option,
        "DnsSearch": config.dns_search,
        "ExtraHosts": config.add_hosts,
        "HostsFile": "",
        "GroupAdd": config.groups,
        "IpcMode": config.ipc_mode,
        "Cgroup": "",
        "Cgroups": "default" if config.cgroups == "enabled" else config.cgroups,
        "Links": None,
        "OomScoreAdj": config.oom_score_adj,
        "PidMode": config.pid_mode,
        "Privileged": security.privileged,
        "PublishAllPorts": config.publish_all,
        "ReadonlyRootfs": config.read_only,
        "SecurityOpt": options,
        "Tmpfs": {mount.target: ",".join(mount.options) for mount in config.mounts if mount.kind == "tmpfs"},
        "UTSMode": config.uts_mode,
        "UsernsMode": "",
        "ShmSize": config.shm_size,
        "Runtime": "oci",
        "ConsoleSize": [0, 0],
        "Isolation": "",
        "CpuShares": limits.cpu_shares,
        "Memory": limits.memory,
        "NanoCpus": limits.cpu_quota * 10**9 // limits.cpu_period if limits.cpu_period and limits.cpu_quota > 0 else 0,
        "CgroupParent": config.cgroup_parent
        or ("/podling" if container.ctx.settings.cgroup_manager == "cgroupfs" else "machine.slice"),
        "BlkioWeight": limits.blkio_weight,
        "BlkioWeightDevice": throttles(limits.blkio_weight_device, "Weight"),
        "BlkioDeviceReadBps": throttles(limits.device_read_bps),
        "BlkioDeviceWriteBps": throttles(limits.device_write_bps),
        "BlkioDeviceReadIOps": throttles(limits.device_read_iops),
        "BlkioDeviceWriteIOps": throttles(limits.device_write_iops),
        "CpuPeriod": limits.cpu_period,
        "CpuQuota": limits.cpu_quota,
        "CpuRealtimePeriod": limits.cpu_rt_period,
        "CpuRealtimeRuntime": limits.cpu_rt_runtime,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "Devices": [
            {"PathOnHost": d.host, "PathInContainer": d.target, "CgroupPermissions": d.access} for d in config.devices
        ],
        "DiskQuota": 0,
        "KernelMemory": 0,
        "MemoryReservation": limits.memory_reservation,
        "MemorySwap": limits.memory_swap or max(limits.memory, 0) * 2,
        "MemorySwappiness": limits.memory_swappiness,
        "OomKillDisable": limits.oom_kill_disable,
        "Init": config.init,
        "PidsLimit": limits.pids_limit,
        "Ulimits": _ulimits(config),
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "CgroupConf": limits.unified or None,
        **_id_maps(config),
        **({"IntelRdtClosID": config.rdt_class} if config.rdt_class else {}),
    }


def _health(container: Container) -> dict[str, Any]:
    """State.Health."""
    known = json.loads(container.health_log or "{}")
    return {
        "Status": container.health or "starting",
        "FailingStreak": int(known.get("FailingStreak") or 0),
        "Log": known.get("Log"),
    }


def healthcheck(config: ContainerConfig) -> dict[str, Any]:
    """Config.Healthcheck, in the words of image-spec and Docker."""
    health = config.health
    assert health is not None
    return {
        "Test": health.test,
        **({"StartPeriod": health.start_period} if health.start_period else {}),
        "Interval": health.interval,
        "Timeout": health.timeout,
        "Retries": health.retries,
    }
