"""Podman's SpecGenerator and PodSpecGenerator, read into the options of `create`, `update` and `pod create`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from podling.api.fields import Fields
from podling.engine.types import CreateOptions, PodOptions
from podling.errors import InvalidInput

if TYPE_CHECKING:
    from typing import Any


def container(body: dict[str, Any]) -> CreateOptions:
    """The options that a body of `POST /libpod/containers/create` asks for.

    Raises:
        InvalidInput: a value of the wrong type, or one that cannot be.
    """
    spec = Fields(body)
    image, rootfs = spec.text("image"), spec.text("rootfs")
    if not image and not rootfs:
        raise InvalidInput("no image or rootfs was named")
    made = CreateOptions(
        image=image or rootfs,
        rootfs=not image,
        command=spec.texts("command"),
        name=spec.text("name").removeprefix("/"),
        env=spec.pairs("env"),
        env_host=spec.flag("env_host"),
        unsetenv=spec.texts("unsetenv"),
        unsetenv_all=spec.flag("unsetenvall"),
        http_proxy=spec.flag("httpproxy"),
        label=spec.pairs("labels"),
        annotation=spec.pairs("annotations"),
        workdir=spec.text("work_dir"),
        user=spec.text("user"),
        group_add=spec.texts("groups"),
        hostname=spec.text("hostname"),
        tty=spec.flag("terminal"),
        interactive=spec.flag("stdin"),
        stop_signal=_signal(spec),
        stop_timeout=spec.number("stop_timeout", -1),
        timeout=spec.number("timeout"),
        rm=spec.flag("remove"),
        rmi=spec.flag("removeImage"),
        pod=spec.text("pod"),
        privileged=spec.flag("privileged"),
        read_only=spec.flag("read_only_filesystem"),
        read_only_tmpfs=spec.flag("read_write_tmpfs", spec.flag("read_only_filesystem")),
        cap_add=spec.texts("cap_add"),
        cap_drop=spec.texts("cap_drop"),
        umask=spec.text("umask"),
        tz=spec.text("timezone"),
        init=spec.flag("init"),
        init_path=spec.text("init_path"),
        init_ctr=spec.text("init_container_type"),
        systemd=spec.text("systemd") or "true",
        sdnotify=spec.text("sdnotifyMode") or "container",
        cgroup_parent=spec.text("cgroup_parent"),
        cgroups={"default": "", "enabled": ""}.get(spec.text("cgroups_mode"), spec.text("cgroups_mode")),
        oom_score_adj=spec.number("oom_score_adj"),
        sysctl=spec.pairs("sysctl"),
        volumes_from=spec.texts("volumes_from"),
        image_volume={"": "", "anonymous": ""}.get(spec.text("image_volume_mode"), spec.text("image_volume_mode")),
        requires=spec.texts("dependencyContainers"),
        create_command=spec.texts("containerCreateCommand"),
        conmon_pidfile=spec.text("conmon_pid_file"),
        pidfile=spec.text("pidFile"),
        passwd_entry=spec.text("passwd_entry"),
        group_entry=spec.text("group_entry"),
        personality=_personality(spec),
        chrootdirs=spec.texts("chroot_directories"),
        hostuser=spec.texts("hostusers"),
        rdt_class=spec.text("intelRdt") if isinstance(spec.raw("intelRdt"), str) else "",
        device_cgroup_rule=[_device_rule(item) for item in spec.items("device_cgroup_rule")],
        hosts_file=spec.text("base_hosts_file"),
        no_hosts=spec.flag("use_image_hosts"),
        platform=_platform(spec),
        secret=_secrets(spec),
    )
    if "passwd" in spec:
        made.passwd = spec.flag("passwd")
    if "entrypoint" in spec:
        made.entrypoint = json.dumps(spec.texts("entrypoint")) if spec.texts("entrypoint") else ""
    if "shm_size" in spec:
        made.shm_size = f"{spec.number('shm_size')}b"
    policy = spec.text("restart_policy")
    made.restart = policy
    if policy == "on-failure" and spec.number("restart_tries"):
        made.restart += f":{spec.number('restart_tries')}"
    _security(made, spec)
    _log(made, spec)
    _namespaces(made, spec)
    networks(made, spec)
    _mounts(made, spec)
    _devices(made, spec)
    _limits(made, spec)
    _health(made, spec)
    return made


def _signal(spec: Fields) -> str:
    value = spec.raw("stop_signal")
    return "" if value is None else str(value)


def _personality(spec: Fields) -> str:
    value = spec.raw("personality")
    return str(value.get("domain", "")) if isinstance(value, dict) else ""


def _platform(spec: Fields) -> str:
    parts = [spec.text("image_os"), spec.text("image_arch"), spec.text("image_variant")]
    return "/".join(part for part in parts if part) if any(parts) else ""


def _secrets(spec: Fields) -> list[str]:
    found = []
    for item in spec.items("secrets"):
        words = [item.text("Source")]
        for key, field in (("target", "Target"), ("uid", "UID"), ("gid", "GID")):
            if item.raw(field) not in (None, "", 0):
                words.append(f"{key}={item.raw(field)}")
        if item.number("Mode"):
            words.append(f"mode={item.number('Mode'):04o}")
        found.append(",".join(words))
    found += [f"{source},type=env,target={target}" for target, source in spec.map("secret_env").items()]
    return found


def _security(made: CreateOptions, spec: Fields) -> None:
    options = made.security_opt
    if spec.flag("no_new_privileges"):
        options.append("no-new-privileges")
    if spec.text("apparmor_profile"):
        options.append(f"apparmor={spec.text('apparmor_profile')}")
    if spec.text("seccomp_profile_path"):
        options.append(f"seccomp={spec.text('seccomp_profile_path')}")
    options += [f"label={text}" for text in spec.texts("selinux_opts")]
    options += [f"mask={text}" for text in (":".join(spec.texts("mask")),) if text]
    options += [f"unmask={text}" for text in (":".join(spec.texts("unmask")),) if text]
    options += [f"proc-opts={text}" for text in (",".join(spec.texts("procfs_opts")),) if text]
    if spec.text("seccomp_policy"):
        made.seccomp_policy = spec.text("seccomp_policy")


def _log(made: CreateOptions, spec: Fields) -> None:
    log = spec.inner("log_configuration")
    made.log_driver = log.text("driver")
    made.log_opt = [f"path={log.text('path')}"] if log.text("path") else []
    if log.number("size") > 0:
        made.log_opt.append(f"max-size={log.number('size')}b")
    made.log_opt += log.pairs("options")


def _mode(spec: Fields, name: str) -> str:
    """A namespace as a flag takes it: {"nsmode": "container", "value": "web"} is container:web."""
    inner = spec.inner(name)
    mode, value = inner.text("nsmode"), inner.text("value")
    if mode in ("", "default"):
        return ""
    if mode == "path":
        return f"ns:{value}"
    return f"{mode}:{value}" if value else mode


def _namespaces(made: CreateOptions, spec: Fields) -> None:
    made.pid, made.ipc, made.uts = (_mode(spec, name) for name in ("pidns", "ipcns", "utsns"))
    made.cgroupns = _mode(spec, "cgroupns")
    userns = _mode(spec, "userns")
    made.userns = {"private": ""}.get(userns, userns)
    mapped = spec.inner("idmappings")
    for field, key in (("uidmap", "UIDMap"), ("gidmap", "GIDMap")):
        entries = [
            f"{item.number('container_id')}:{item.number('host_id')}:{item.number('size')}"
            for item in mapped.items(key)
        ]
        setattr(made, field, entries)
    if made.uidmap or made.gidmap:
        made.userns = ""


def networks(made: CreateOptions, spec: Fields) -> None:
    """Networks, ports and names: a container's own, or of a pod those of its infra container."""
    mode = _mode(spec, "netns")
    named = spec.map("networks") or {name: {} for name in spec.texts("cni_networks")}
    if named:
        made.network = [_endpoint(name, Fields(options, "networks")) for name, options in named.items()]
    elif mode and mode != "private":
        options = spec.map("network_options").get(mode)
        made.network = [f"{mode}:{','.join(options)}" if isinstance(options, list) and options else mode]
    made.ip, made.ip6 = spec.text("static_ip"), spec.text("static_ipv6")
    made.mac_address = spec.text("static_mac")
    made.publish_all = spec.flag("publish_image_ports")
    made.expose = [f"{port}/{protocol or 'tcp'}" for port, protocol in spec.map("expose").items()]
    for item in spec.items("portmappings"):
        made.publish += _port(item)
    made.dns, made.dns_search = spec.texts("dns_server"), spec.texts("dns_search")
    made.dns_option = spec.texts("dns_option")
    made.add_host = spec.texts("hostadd")
    made.no_hosts = made.no_hosts or spec.flag("no_manage_hosts")


def _endpoint(name: str, options: Fields) -> str:
    words = [f"ip6={ip}" if ":" in ip else f"ip={ip}" for ip in options.texts("static_ips")]
    words += [f"alias={alias}" for alias in options.texts("aliases")]
    words += [f"mac={options.text('static_mac')}"] if options.text("static_mac") else []
    words += [f"interface_name={options.text('interface_name')}"] if options.text("interface_name") else []
    return f"{name}:{','.join(words)}" if words else name


def _port(item: Fields) -> list[str]:
    inside, outside, count = item.number("container_port"), item.number("host_port"), max(item.number("range"), 1)

    def span(first: int) -> str:
        return f"{first}-{first + count - 1}" if count > 1 else str(first)

    address = item.text("host_ip")
    address = f"[{address}]" if ":" in address else address
    host = span(outside) if outside else ""
    text = f"{address}:{host}:{span(inside)}" if address else f"{host}:{span(inside)}" if host else span(inside)
    return [f"{text}/{protocol}" for protocol in (item.text("protocol") or "tcp").split(",")]


def _mounts(made: CreateOptions, spec: Fields) -> None:
    for item in spec.items("mounts"):
        kind, source, target = item.text("type") or "bind", item.text("source"), item.text("destination")
        options = [option for option in item.texts("options") if option]
        if kind == "tmpfs":
            made.tmpfs.append(f"{target}:{','.join(options)}" if options else target)
        elif kind in ("bind", "none"):
            made.volume.append(":".join([source, target, *([",".join(options)] if options else [])]))
        else:
            made.mount.append(
                ",".join([f"type={kind}", f"target={target}", *([f"source={source}"] if source else []), *options])
            )
    for item in spec.items("volumes"):
        name, target, options = item.text("Name"), item.text("Dest"), item.texts("Options")
        if item.text("SubPath"):
            made.mount.append(
                ",".join([f"type=volume,source={name},target={target},subpath={item.text('SubPath')}", *options])
            )
        elif item.flag("IsAnonymous") or not name:
            made.volume.append(target)
        else:
            made.volume.append(":".join([name, target, *([",".join(options)] if options else [])]))
    for item in spec.items("overlay_volumes"):
        options = [option for option in item.texts("options") if option != "O"]
        made.volume.append(f"{item.text('source')}:{item.text('destination')}:{','.join(['O', *options])}")
    for item in spec.items("image_volumes"):
        words = [f"type=image,source={item.text('Source')},target={item.text('Destination')}"]
        words += ["rw=true"] if item.flag("ReadWrite") else []
        words += [f"subpath={item.text('subPath')}"] if item.text("subPath") else []
        made.mount.append(",".join(words))
    for item in spec.items("artifact_volumes"):
        words = [f"type=artifact,source={item.text('source')},target={item.text('destination')}"]
        words += [f"{key}={item.text(key)}" for key in ("title", "digest", "name") if item.text(key)]
        made.mount.append(",".join(words))


def _devices(made: CreateOptions, spec: Fields) -> None:
    for item in spec.items("devices") + spec.items("host_device_list"):
        # a client writes what was typed, with its colons, into the path
        made.device.append(item.text("path"))
    made.device += spec.texts("cdi_devices")


def _device_rule(item: Fields) -> str:
    def number(name: str) -> str:
        return "*" if item.raw(name) in (None, -1) else str(item.number(name))

    return f"{item.text('type') or 'a'} {number('major')}:{number('minor')} {item.text('access') or 'rwm'}"


def _limits(made: CreateOptions, spec: Fields) -> None:
    for item in spec.items("r_limits"):
        made.ulimit.append(f"{item.text('type')}={item.number('soft')}:{item.number('hard')}")
    limits(made, spec.inner("resource_limits"))
    for key, value in spec.map("weightDevice").items():
        made.blkio_weight_device.append(f"{key}:{Fields(value).number('weight')}")
    for field, key in (
        ("device_read_bps", "throttleReadBpsDevice"), ("device_write_bps", "throttleWriteBpsDevice"),
        ("device_read_iops", "throttleReadIOPSDevice"), ("device_write_iops", "throttleWriteIOPSDevice"),
    ):  # fmt: skip
        setattr(made, field, [f"{path}:{Fields(value).number('rate')}" for path, value in spec.map(key).items()])
    made.cgroup_conf = [f"{key}={value}" for key, value in spec.map("unified").items()]


def limits(made: CreateOptions, found: Fields) -> list[str]:
    """The runtime specification's `resources`, into the options; the names of those that it gives."""
    given = []

    def take(field: str, value: Any, *, wanted: bool) -> None:
        if wanted:
            setattr(made, field, value)
            given.append(field)

    memory, cpu, blocks = found.inner("memory"), found.inner("cpu"), found.inner("blockIO")
    take("memory", f"{memory.number('limit')}b", wanted=memory.number("limit") > 0)
    take("memory_reservation", f"{memory.number('reservation')}b", wanted=memory.number("reservation") > 0)
    swap = memory.number("swap")
    take("memory_swap", "-1" if swap < 0 else f"{swap}b", wanted=bool(swap))
    take("memory_swappiness", memory.number("swappiness"), wanted="swappiness" in memory)
    take("oom_kill_disable", True, wanted=memory.flag("disableOOMKiller"))
    for field, key in (
        ("cpu_shares", "shares"), ("cpu_quota", "quota"), ("cpu_period", "period"), ("cpu_rt_runtime", "realtimeRuntime"),
        ("cpu_rt_period", "realtimePeriod"),
    ):  # fmt: skip
        take(field, cpu.number(key), wanted=bool(cpu.number(key)))
    for field, key in (("cpuset_cpus", "cpus"), ("cpuset_mems", "mems")):
        take(field, cpu.text(key), wanted=bool(cpu.text(key)))
    take("pids_limit", found.inner("pids").number("limit"), wanted=bool(found.inner("pids").number("limit")))
    take("blkio_weight", blocks.number("weight"), wanted=bool(blocks.number("weight")))
    return given


def _health(made: CreateOptions, spec: Fields) -> None:
    check, startup = spec.inner("healthconfig"), spec.inner("startupHealthConfig")
    if check.texts("Test") == ["NONE"]:
        made.no_healthcheck = True
        return
    for prefix, source in (("health_", check), ("health_startup_", startup)):
        test = source.texts("Test")
        if test:
            setattr(made, f"{prefix}cmd", test[1] if test[0] == "CMD-SHELL" and len(test) > 1 else json.dumps(test))
        for field, key in (("interval", "Interval"), ("timeout", "Timeout")):
            if source.number(key) > 0:
                setattr(made, prefix + field, f"{source.number(key)}ns")
        if source.number("Retries") > 0:
            setattr(made, f"{prefix}retries", source.number("Retries"))
    if check.number("StartPeriod") > 0:
        made.health_start_period = f"{check.number('StartPeriod')}ns"
    if startup.number("Successes") > 0:
        made.health_startup_success = startup.number("Successes")
    action = spec.raw("health_check_on_failure_action")
    if isinstance(action, int) and 0 < action < 5:
        made.health_on_failure = ("", "none", "kill", "restart", "stop")[action]
    elif isinstance(action, str):
        made.health_on_failure = action
    made.health_log_destination = spec.text("healthLogDestination")
    if "healthMaxLogCount" in spec:
        made.health_max_log_count = spec.number("healthMaxLogCount")
    if "healthMaxLogSize" in spec:
        made.health_max_log_size = spec.number("healthMaxLogSize")


def as_podman_4(document: dict[str, Any]) -> None:
    """Turn an inspected container into the shape that clients of Podman 4 read."""
    import signal

    config = document["Config"]
    config["Entrypoint"] = " ".join(config["Entrypoint"] or [])
    try:
        config["StopSignal"] = int(signal.Signals[str(config["StopSignal"])])
    except KeyError:
        config["StopSignal"] = 15


_UPDATED = (
    ("health_cmd", "health_cmd"), ("health_interval", "health_interval"), ("health_timeout", "health_timeout"),
    ("health_start_period", "health_start_period"), ("health_on_failure", "health_on_failure"),
    ("health_log_destination", "health_log_destination"), ("health_startup_cmd", "health_startup_cmd"),
    ("health_startup_interval", "health_startup_interval"), ("health_startup_timeout", "health_startup_timeout"),
)  # fmt: skip
_UPDATED_NUMBERS = (
    "health_retries", "health_max_log_count", "health_max_log_size", "health_startup_retries", "health_startup_success",
)  # fmt: skip


def update(body: dict[str, Any]) -> tuple[CreateOptions, list[str]]:
    """The changes that a body of `POST /libpod/containers/NAME/update` asks for, and which of the options they are."""
    spec = Fields(body)
    changes = CreateOptions(image="")
    given = limits(changes, spec)
    for field, key in _UPDATED:
        if key in spec:
            setattr(changes, field, spec.text(key))
            given.append(field)
    for field in _UPDATED_NUMBERS:
        if field in spec:
            setattr(changes, field, spec.number(field))
            given.append(field)
    if spec.flag("no_healthcheck"):
        changes.no_healthcheck = True
        given.append("no_healthcheck")
    if spec.texts("env"):
        changes.env = spec.texts("env")
        given.append("env")
    changes.unsetenv = spec.texts("unsetenv")
    return changes, given


def pod(body: dict[str, Any]) -> PodOptions:
    """The options that a body of `POST /libpod/pods/create` asks for."""
    spec = Fields(body)
    infra = CreateOptions(
        image="", hostname=spec.text("hostname"), sysctl=spec.pairs("sysctl"), volumes_from=spec.texts("volumes_from"),
        security_opt=spec.texts("security_opt"), conmon_pidfile=spec.text("infra_conmon_pid_file"),
    )  # fmt: skip
    networks(infra, spec)
    infra.pid = _mode(spec, "pidns")
    infra.userns = _mode(spec, "userns")
    _mounts(infra, spec)
    _devices(infra, spec)
    _limits(infra, spec)
    if "shm_size" in spec:
        infra.shm_size = f"{spec.number('shm_size')}b"
    made = PodOptions(
        infra_options=infra, name=spec.text("name"), labels=spec.pairs("labels"), infra=not spec.flag("no_infra"),
        infra_image=spec.text("infra_image"), infra_name=spec.text("infra_name"), infra_command=" ".join(spec.texts("infra_command")),
        share_parent=spec.flag("share_parent", True), restart=spec.text("restart_policy"), cgroup_parent=spec.text("cgroup_parent"),
        create_command=spec.texts("pod_create_command"),
    )  # fmt: skip
    if "shared_namespaces" in spec:
        made.share = ",".join(spec.texts("shared_namespaces")) or "none"
    if spec.text("exit_policy"):
        made.exit_policy = spec.text("exit_policy")
    return made
