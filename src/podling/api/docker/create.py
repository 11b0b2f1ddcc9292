"""Docker's ContainerConfig, HostConfig and NetworkingConfig, read into the options of `create` and `update`."""

from __future__ import annotations

import json

from podling.api.fields import Fields
from podling.engine.types import CreateOptions
from podling.errors import InvalidInput


def options(body: dict[str, object], name: str, platform: str) -> CreateOptions:
    """The options that a body of `POST /containers/create` asks for.

    Raises:
        InvalidInput: a value of the wrong type, or one that cannot be.
    """
    config = Fields(body)
    host = config.inner("HostConfig")
    image = config.text("Image")
    if not image:
        raise InvalidInput("no image was named: Image")
    made = CreateOptions(
        image=image,
        command=config.texts("Cmd"),
        name=name.removeprefix("/"),
        platform=platform,
        env=config.texts("Env"),
        http_proxy=False,
        label=config.pairs("Labels"),
        annotation=host.pairs("Annotations"),
        workdir=config.text("WorkingDir"),
        user=config.text("User"),
        group_add=host.texts("GroupAdd"),
        hostname=_hostname(config),
        tty=config.flag("Tty"),
        interactive=config.flag("OpenStdin"),
        attach=[s for s in ("stdin", "stdout", "stderr") if config.flag(f"Attach{s}")],
        expose=list(config.map("ExposedPorts")),
        stop_signal=config.text("StopSignal"),
        stop_timeout=config.number("StopTimeout", -1),
        create_command=[],
    )
    entrypoint = config.texts("Entrypoint")
    if "Entrypoint" in config:
        made.entrypoint = json.dumps(entrypoint) if entrypoint and entrypoint != [""] else ""
    _host(made, host)
    _limits(made, host)
    _mounts(made, config, host)
    _networks(made, config, host)
    _health(made, config)
    return made


def _hostname(config: Fields) -> str:
    host, domain = config.text("Hostname"), config.text("Domainname")
    return f"{host}.{domain}" if host and domain else host


def _host(made: CreateOptions, host: Fields) -> None:
    made.rm = host.flag("AutoRemove")
    made.cidfile = host.text("ContainerIDFile")
    made.privileged = host.flag("Privileged")
    made.publish_all = host.flag("PublishAllPorts")
    made.read_only = host.flag("ReadonlyRootfs")
    made.init = host.flag("Init")
    made.cap_add, made.cap_drop = host.texts("CapAdd"), host.texts("CapDrop")
    made.security_opt = host.texts("SecurityOpt")
    # where the client knows of masked paths, an empty list means none
    if host.raw("MaskedPaths") == [] and host.raw("ReadonlyPaths") == []:
        made.security_opt.append("systempaths=unconfined")
    elif host.texts("MaskedPaths"):
        made.security_opt.append("mask=" + ":".join(host.texts("MaskedPaths")))
    made.dns, made.dns_search, made.dns_option = host.texts("Dns"), host.texts("DnsSearch"), host.texts("DnsOptions")
    made.add_host = [text for text in host.texts("ExtraHosts") if text]
    made.pid, made.uts = host.text("PidMode"), host.text("UTSMode")
    made.ipc = {"": "", "default": ""}.get(host.text("IpcMode"), host.text("IpcMode"))
    made.cgroupns, made.cgroup_parent = host.text("CgroupnsMode"), host.text("CgroupParent")
    made.userns = host.text("UsernsMode")
    made.oom_score_adj = host.number("OomScoreAdj")
    made.sysctl = host.pairs("Sysctls")
    made.shm_size = f"{size}b" if (size := host.number("ShmSize")) > 0 else ""
    log = host.inner("LogConfig")
    driver = log.text("Type")
    made.log_driver = {"": "", "default": "", "json-file": "json-file", "local": "k8s-file"}.get(driver, driver)
    known = ("max-size", "path", "tag", "label")
    made.log_opt = [text for text in log.pairs("Config") if text.partition("=")[0] in known]
    restart = host.inner("RestartPolicy")
    made.restart = restart.text("Name")
    if made.restart == "on-failure" and restart.number("MaximumRetryCount"):
        made.restart += f":{restart.number('MaximumRetryCount')}"
    for item in host.items("Ulimits"):
        name = item.text("Name")
        made.ulimit.append(f"{name}={item.number('Soft')}:{item.number('Hard')}")
    for item in host.items("Devices"):
        inside = item.text("PathInContainer") or item.text("PathOnHost")
        made.device.append(f"{item.text('PathOnHost')}:{inside}:{item.text('CgroupPermissions') or 'rwm'}")
    made.device_cgroup_rule = host.texts("DeviceCgroupRules")
    for item in host.items("DeviceRequests"):
        if item.text("Driver") == "cdi":
            made.device += item.texts("DeviceIDs")
        elif item.number("Count") == -1:
            made.gpus.append("all")
        elif item.texts("DeviceIDs"):
            made.gpus += [f"device={id}" for id in item.texts("DeviceIDs")]


def _limits(made: CreateOptions, host: Fields) -> None:
    """What `update` can change too."""
    for field, key in (("memory", "Memory"), ("memory_reservation", "MemoryReservation")):
        if (size := host.number(key)) > 0:
            setattr(made, field, f"{size}b")
    swap = host.number("MemorySwap")
    made.memory_swap = "-1" if swap < 0 else f"{swap}b" if swap else ""
    swappiness = host.number("MemorySwappiness", -1)
    made.memory_swappiness = swappiness if swappiness > 0 else -1
    made.oom_kill_disable = host.flag("OomKillDisable")
    made.cpus = host.number("NanoCpus") / 10**9
    made.cpu_shares, made.cpu_quota, made.cpu_period = (
        host.number(key) for key in ("CpuShares", "CpuQuota", "CpuPeriod")
    )
    made.cpu_rt_period, made.cpu_rt_runtime = host.number("CpuRealtimePeriod"), host.number("CpuRealtimeRuntime")
    made.cpuset_cpus, made.cpuset_mems = host.text("CpusetCpus"), host.text("CpusetMems")
    pids = host.number("PidsLimit")
    made.pids_limit = pids if pids > 0 else -1 if pids < 0 else 0
    made.blkio_weight = host.number("BlkioWeight")
    made.blkio_weight_device = [f"{i.text('Path')}:{i.number('Weight')}" for i in host.items("BlkioWeightDevice")]
    for field, key in (
        ("device_read_bps", "BlkioDeviceReadBps"), ("device_write_bps", "BlkioDeviceWriteBps"),
        ("device_read_iops", "BlkioDeviceReadIOps"), ("device_write_iops", "BlkioDeviceWriteIOps"),
    ):  # fmt: skip
        setattr(made, field, [f"{item.text('Path')}:{item.number('Rate')}" for item in host.items(key)])


def _mounts(made: CreateOptions, config: Fields, host: Fields) -> None:
    bound = set()
    for bind in host.texts("Binds"):
        parts = bind.split(":")
        if len(parts) > 2:  # Docker's clients write options that have no meaning here
            kept = [
                option
                for option in parts[2].split(",")
                if option not in ("cached", "delegated", "consistent", "volume-nocopy")
            ]
            kept += ["nocopy"] if "volume-nocopy" in parts[2].split(",") else []
            bind = ":".join([*parts[:2], *([",".join(kept)] if kept else [])])
        made.volume.append(bind)
        bound.add(parts[1] if len(parts) > 1 else parts[0])
    made.tmpfs = [f"{path}:{text}" if text else path for path, text in host.map("Tmpfs").items()]
    made.volumes_from = host.texts("VolumesFrom")
    for item in host.items("Mounts"):
        made.mount.append(_mount(item))
        bound.add(item.text("Target"))
    made.volume += [path for path in config.map("Volumes") if path not in bound]


def _mount(item: Fields) -> str:
    kind = item.text("Type") or "volume"
    if kind not in ("bind", "volume", "tmpfs", "image"):
        raise InvalidInput(f"mount type {kind!r} is not known here")
    words = [f"type={kind}"]
    if kind != "tmpfs" and item.text("Source"):
        words.append(f"source={item.text('Source')}")
    words.append(f"target={item.text('Target')}")
    if item.flag("ReadOnly"):
        words.append("ro")
    bind, volume, tmpfs = item.inner("BindOptions"), item.inner("VolumeOptions"), item.inner("TmpfsOptions")
    if bind.text("Propagation"):
        words.append(f"bind-propagation={bind.text('Propagation')}")
    if bind.flag("NonRecursive"):
        words.append("bind-nonrecursive")
    if volume.flag("NoCopy"):
        words.append("nocopy")
    if volume.text("Subpath"):
        words.append(f"subpath={volume.text('Subpath')}")
    if tmpfs.number("SizeBytes"):
        words.append(f"tmpfs-size={tmpfs.number('SizeBytes')}")
    if tmpfs.number("Mode"):
        words.append(f"tmpfs-mode={tmpfs.number('Mode'):o}")
    return ",".join(words)


def _networks(made: CreateOptions, config: Fields, host: Fields) -> None:
    mode = host.text("NetworkMode")
    if config.flag("NetworkDisabled"):
        mode = "none"
    endpoints = config.inner("NetworkingConfig").map("EndpointsConfig")
    special = mode in ("host", "none") or mode.startswith(("container:", "ns:", "pasta", "slirp4netns"))
    if special:
        made.network = [mode]
    elif endpoints:
        # the network of NetworkMode comes first: it is the first interface
        names = sorted(endpoints, key=lambda name: name != mode)
        made.network = [_endpoint(name, Fields(endpoints[name], "EndpointsConfig"), config) for name in names]
    elif mode and mode != "default":
        made.network = ["bridge" if mode == "nat" else mode]
    if not endpoints and config.text("MacAddress"):
        made.mac_address = config.text("MacAddress")
    for port, bindings in host.map("PortBindings").items():
        for item in bindings or [{}]:
            binding = Fields(item, "PortBindings")
            address, number = binding.text("HostIp"), binding.text("HostPort").removeprefix("0")
            if ":" in address and not address.startswith("["):
                address = f"[{address}]"
            made.publish.append(f"{address}:{number}:{port}" if address else f"{number}:{port}" if number else port)


def _endpoint(name: str, endpoint: Fields, config: Fields) -> str:
    """`NAME:ip=…,mac=…,alias=…` as `--network` takes it."""
    words = [f"alias={alias}" for alias in endpoint.texts("Aliases")]
    ipam = endpoint.inner("IPAMConfig")
    words += [f"ip={ipam.text('IPv4Address')}"] if ipam.text("IPv4Address") else []
    words += [f"ip6={ipam.text('IPv6Address')}"] if ipam.text("IPv6Address") else []
    mac = endpoint.text("MacAddress") or config.text("MacAddress")
    words += [f"mac={mac}"] if mac else []
    name = "bridge" if name == "default" else name
    return f"{name}:{','.join(words)}" if words else name


def _health(made: CreateOptions, config: Fields) -> None:
    if "Healthcheck" not in config:
        return
    check = config.inner("Healthcheck")
    test = check.texts("Test")
    if test == ["NONE"]:
        made.no_healthcheck = True
        return
    if test:
        made.health_cmd = test[1] if test[0] == "CMD-SHELL" and len(test) > 1 else json.dumps(test)
    for field, key in (
        ("health_interval", "Interval"), ("health_timeout", "Timeout"), ("health_start_period", "StartPeriod"),
    ):  # fmt: skip
        if check.number(key) > 0:
            setattr(made, field, f"{check.number(key)}ns")
    if check.number("Retries") > 0:
        made.health_retries = check.number("Retries")


_CHANGEABLE = {
    "Memory": "memory", "MemorySwap": "memory_swap", "MemoryReservation": "memory_reservation", "NanoCpus": "cpus",
    "CpuShares": "cpu_shares", "CpuQuota": "cpu_quota", "CpuPeriod": "cpu_period", "CpuRealtimePeriod": "cpu_rt_period",
    "CpuRealtimeRuntime": "cpu_rt_runtime", "CpusetCpus": "cpuset_cpus", "CpusetMems": "cpuset_mems", "PidsLimit": "pids_limit",
    "BlkioWeight": "blkio_weight", "BlkioWeightDevice": "blkio_weight_device", "BlkioDeviceReadBps": "device_read_bps",
    "BlkioDeviceWriteBps": "device_write_bps", "BlkioDeviceReadIOps": "device_read_iops", "BlkioDeviceWriteIOps": "device_write_iops",
    "MemorySwappiness": "memory_swappiness",
}  # fmt: skip


def update(body: dict[str, object]) -> tuple[CreateOptions, list[str]]:
    """The changes that a body of `POST /containers/NAME/update` asks for, and which of the options they are."""
    host = Fields(body)
    changes = CreateOptions(image="")
    _limits(changes, host)
    given = [field for key, field in _CHANGEABLE.items() if host.raw(key) not in (None, 0, "", [])]
    policy = host.inner("RestartPolicy")
    if policy.text("Name"):
        changes.restart = policy.text("Name")
        if policy.number("MaximumRetryCount"):
            changes.restart += f":{policy.number('MaximumRetryCount')}"
        given.append("restart")
    return changes, given
