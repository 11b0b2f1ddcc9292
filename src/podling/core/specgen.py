"""Podman's SpecGenerator documents: what a container or a pod was made with, as `POST /libpod/containers/create` and `pods/create` take it
(`generate spec`)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.core.pods import Pod
    from podling.runtime.config import ContainerConfig, Health, Mount, Resources

_ACTIONS = ("", "none", "kill", "restart", "stop")


def generate(ctx: Context, name: str, *, rename: bool) -> dict[str, Any]:
    """The document of a container or a pod; with `rename` it is called NAME-clone there.

    Raises:
        NoSuchContainer: there is neither.
    """
    from podling.core import containers, pods
    from podling.errors import NotFound

    suffix = "-clone" if rename else ""
    try:
        return of_container(containers.find(ctx, name).config, suffix)
    except NotFound:
        try:
            pod = pods.find(ctx, name)
        except NotFound:
            raise NotFound(f"could not find a pod or container with the id {name}") from None
        return of_pod(ctx, pod, suffix)


def of_pod(ctx: Context, pod: Pod, suffix: str = "") -> dict[str, Any]:
    """A PodSpecGenerator."""
    from podling.core import containers

    found: dict[str, Any] = {
        "name": pod.name + suffix,
        "labels": pod.labels,
        "restart_policy": pod.restart,
        "exit_policy": pod.exit_policy,
        "share_parent": pod.share_parent,
        "shared_namespaces": pod.share,
        "cgroup_parent": pod.cgroup_parent,
        "pod_create_command": pod.create_command,
    }
    key = ctx.db.value("SELECT key FROM pods WHERE id=?", pod.id)
    infra = containers.every(ctx, f"pod={int(key)} AND infra")
    if infra:
        inner = of_container(infra[0].config)
        taken = (
            "hostname sysctl pidns userns utsns idmappings netns networks network_options portmappings static_mac dns_server dns_search "
            "dns_option hostadd no_manage_hosts mounts volumes overlay_volumes resource_limits r_limits devices security_opt shm_size"
        ).split()
        found |= {key: inner[key] for key in taken if key in inner}
        found["infra_name"] = infra[0].name + suffix
    else:
        found["no_infra"] = True
    return {key: value for key, value in found.items() if is_given(value)}


def of_container(config: ContainerConfig, suffix: str = "") -> dict[str, Any]:
    """A SpecGenerator; what has its usual value is left out."""
    security, health = config.security, config.health
    found: dict[str, Any] = {
        "name": config.name + suffix,
        "image": config.image or config.image_id,
        "rootfs": config.rootfs,
        "entrypoint": config.entrypoint,
        "command": config.command,
        "env": config.env,
        "labels": config.labels,
        "annotations": config.annotations,
        "work_dir": config.workdir,
        "user": config.user,
        "groups": config.groups,
        "hostname": config.hostname,
        "terminal": config.tty,
        "stdin": config.stdin,
        "stop_signal": config.stop_signal,
        "stop_timeout": config.stop_timeout,
        "timeout": config.timeout,
        "remove": config.auto_remove,
        "removeImage": config.remove_image,
        "pod": config.pod,
        "privileged": security.privileged,
        "read_only_filesystem": config.read_only,
        "read_write_tmpfs": config.read_only and config.read_only_tmpfs,
        "cap_add": security.cap_add,
        "cap_drop": security.cap_drop,
        "no_new_privileges": security.no_new_privileges,
        "apparmor_profile": security.apparmor,
        "seccomp_profile_path": security.seccomp,
        "selinux_opts": security.label_options,
        "mask": security.mask,
        "unmask": security.unmask,
        "procfs_opts": security.proc_opts,
        "umask": config.umask,
        "timezone": config.timezone,
        "init": config.init,
        "init_path": config.init_path,
        "init_container_type": config.init_type,
        "systemd": "always" if config.systemd else "false",
        "sdnotifyMode": config.sdnotify,
        "cgroup_parent": config.cgroup_parent,
        "cgroups_mode": config.cgroups,
        "oom_score_adj": config.oom_score_adj,
        "sysctl": config.sysctls,
        "dependencyContainers": [text.partition(":")[0] for text in config.requires],
        "containerCreateCommand": config.create_command,
        "conmon_pid_file": config.conmon_pidfile,
        "pidFile": config.pidfile,
        "passwd": None if config.passwd else False,
        "passwd_entry": config.passwd_entry,
        "group_entry": config.group_entry,
        "personality": {"domain": config.personality} if config.personality else None,
        "chroot_directories": config.chroot_dirs,
        "hostusers": config.host_users,
        "intelRdt": config.rdt_class,
        "base_hosts_file": config.hosts_file,
        "shm_size": config.shm_size,
        "restart_policy": config.restart,
        "restart_tries": config.restart_limit,
        "device_cgroup_rule": [_rule(text) for text in config.device_cgroup_rules],
        "devices": [{"path": f"{item.host}:{item.target}:{item.access}"} for item in config.devices],
        "cdi_devices": config.cdi_devices,
        "secrets": [
            {"Source": use.name, "Target": use.target, "UID": use.uid, "GID": use.gid, "Mode": use.mode}
            for use in config.secrets
            if use.kind == "mount"
        ],
        "secret_env": {use.target: use.name for use in config.secrets if use.kind != "mount"},
        "r_limits": [_limit(text) for text in config.ulimits],
        "resource_limits": _resources(config.resources),
        "unified": config.resources.unified,
        "log_configuration": _log(config),
        **_namespaces(config),
        **_networks(config),
        **_mounts(config.mounts),
        **(_health(health) if health else {}),
        **_throttles(config.resources),
    }
    return {key: value for key, value in found.items() if is_given(value) or (key == "passwd" and value is False)}


def is_given(value: object) -> bool:
    """Whether a field says anything: a zero does."""
    return value is not False and value not in ("", None, [], {})


def _rule(text: str) -> dict[str, Any]:
    kind, numbers, access = text.split(" ")
    major, _, minor = numbers.partition(":")
    values = {"major": major, "minor": minor}
    return {
        "allow": True,
        "type": kind,
        "access": access,
        **{key: int(value) for key, value in values.items() if value != "*"},
    }


def _limit(text: str) -> dict[str, Any]:
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    return {"type": name, "soft": int(soft), "hard": int(hard or soft)}


def _log(config: ContainerConfig) -> dict[str, Any]:
    options = {"tag": config.log_tag} if config.log_tag else {}
    found: dict[str, Any] = {"driver": config.log_driver}
    if config.log_size > 0:
        found["size"] = config.log_size
    if options:
        found["options"] = options
    return found


def _resources(limits: Resources) -> dict[str, Any]:
    def given(**values: Any) -> dict[str, Any]:
        return {key: value for key, value in values.items() if value not in (0, "")}

    memory = given(limit=limits.memory, swap=limits.memory_swap, reservation=limits.memory_reservation)
    if limits.memory_swappiness >= 0:
        memory["swappiness"] = limits.memory_swappiness
    if limits.oom_kill_disable:
        memory["disableOOMKiller"] = True
    cpu = given(
        shares=limits.cpu_shares, quota=limits.cpu_quota, period=limits.cpu_period, realtimeRuntime=limits.cpu_rt_runtime,
        realtimePeriod=limits.cpu_rt_period, cpus=limits.cpuset_cpus, mems=limits.cpuset_mems,
    )  # fmt: skip
    parts = {
        "memory": memory, "cpu": cpu, "pids": given(limit=limits.pids_limit), "blockIO": given(weight=limits.blkio_weight),
    }  # fmt: skip
    return {key: value for key, value in parts.items() if value}


def _throttles(limits: Resources) -> dict[str, Any]:
    def by_path(items: list[str], key: str) -> dict[str, dict[str, int]]:
        pairs = (item.rpartition(":") for item in items)
        return {path: {key: int(number)} for path, _, number in pairs if number.isdigit()}

    return {
        "weightDevice": by_path(limits.blkio_weight_device, "weight"),
        "throttleReadBpsDevice": by_path(limits.device_read_bps, "rate"),
        "throttleWriteBpsDevice": by_path(limits.device_write_bps, "rate"),
        "throttleReadIOPSDevice": by_path(limits.device_read_iops, "rate"),
        "throttleWriteIOPSDevice": by_path(limits.device_write_iops, "rate"),
    }


def _mode(text: str) -> dict[str, str] | None:
    if not text:
        return None
    mode, _, value = text.partition(":")
    return {"nsmode": "path" if mode == "ns" else mode, **({"value": value} if value else {})}


def _namespaces(config: ContainerConfig) -> dict[str, Any]:
    found: dict[str, Any] = {
        "pidns": _mode(config.pid_mode), "ipcns": _mode(config.ipc_mode), "utsns": _mode(config.uts_mode),
        "cgroupns": _mode(config.cgroup_mode),
    }  # fmt: skip
    userns = config.userns
    if userns and userns.mode:
        found["userns"] = _mode(userns.mode)
    elif userns and userns.users:
        for key, maps in (("UIDMap", userns.users), ("GIDMap", userns.groups)):
            entries = [dict(zip(("container_id", "host_id", "size"), entry, strict=True)) for entry in maps]
            found.setdefault("idmappings", {})[key] = entries
    return found


def _networks(config: ContainerConfig) -> dict[str, Any]:
    found: dict[str, Any] = {
        "netns": _mode(config.network), "dns_server": config.dns, "dns_search": config.dns_search, "dns_option": config.dns_option,
        "hostadd": config.add_hosts, "no_manage_hosts": config.no_hosts, "publish_image_ports": config.publish_all,
        "static_mac": config.mac,
    }  # fmt: skip
    if config.network_arguments:
        found["network_options"] = {config.network.partition(":")[0]: config.network_arguments}
    if config.networks:
        found["networks"] = {name: _endpoint(config.network_options.get(name) or {}) for name in config.networks}
    found["portmappings"] = [
        {
            "host_ip": port.host_ip, "container_port": port.container_port, "host_port": port.host_port, "range": port.span,
            "protocol": port.protocol,
        }
        for port in config.ports
    ]  # fmt: skip
    exposed = (text.partition("/") for text in config.exposed)
    found["expose"] = {port: protocol or "tcp" for port, _, protocol in exposed}
    return found


def _endpoint(wanted: dict[str, Any]) -> dict[str, Any]:
    found = {
        "static_ips": wanted.get("ips"), "static_mac": wanted.get("mac"), "aliases": wanted.get("aliases"),
        "interface_name": wanted.get("interface"),
    }  # fmt: skip
    return {key: value for key, value in found.items() if value}


def _mounts(mounts: list[Mount]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mounts": [],
        "volumes": [],
        "overlay_volumes": [],
        "image_volumes": [],
        "artifact_volumes": [],
    }
    for mount in mounts:
        if mount.kind == "volume":
            volume: dict[str, Any] = {"Name": mount.name, "Dest": mount.target, "Options": mount.options}
            volume |= {"SubPath": mount.subpath} if mount.subpath else {}
            volume |= {"IsAnonymous": True, "Name": ""} if len(mount.name) == 64 else {}
            found["volumes"].append(volume)
        elif mount.kind == "image":
            image: dict[str, Any] = {
                "Source": mount.source,
                "Destination": mount.target,
                "ReadWrite": "rw" in mount.options,
            }
            found["image_volumes"].append(image | ({"subPath": mount.subpath} if mount.subpath else {}))
        elif mount.kind == "artifact":
            found["artifact_volumes"].append({"source": mount.source, "destination": mount.target})
        elif mount.kind == "bind" and "O" in mount.options:
            found["overlay_volumes"].append(
                {"source": mount.source, "destination": mount.target, "options": mount.options}
            )
        else:
            entry = {"type": mount.kind, "destination": mount.target, "options": mount.options}
            found["mounts"].append(entry | ({"source": mount.source} if mount.source else {}))
    return found


def _health(health: Health) -> dict[str, Any]:
    check: dict[str, Any] = {
        "Test": health.test, "Interval": health.interval, "Timeout": health.timeout, "StartPeriod": health.start_period,
        "Retries": health.retries,
    }  # fmt: skip
    found: dict[str, Any] = {
        "healthconfig": check,
        "health_check_on_failure_action": max(_ACTIONS.index(health.on_failure), 0)
        if health.on_failure in _ACTIONS
        else 1,
        "healthLogDestination": health.log_destination,
        "healthMaxLogCount": health.log_count,
        "healthMaxLogSize": health.log_size,
    }
    if health.startup_test:
        found["startupHealthConfig"] = {
            "Test": health.startup_test, "Interval": health.startup_interval, "Timeout": health.startup_timeout,
            "Retries": health.startup_retries, "Successes": health.startup_success,
        }  # fmt: skip
    return found
