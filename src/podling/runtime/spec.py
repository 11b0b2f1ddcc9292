"""The OCI runtime specification of a container (runtime-spec config.md, config-linux.md), with secure defaults."""

from __future__ import annotations

import os

from podling.errors import InvalidInput, Unsupported
from podling.oci.record import Record
from podling.runtime import capabilities, seccomp
from podling.runtime.config import ContainerConfig, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: the oldest version that has all that we write: crun refuses what is newer than itself
OCI_VERSION = "1.0.2"

MASKED = (
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
)
READ_ONLY = ("/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
#: containers.conf(5), default_sysctls: `ping` works without NET_RAW
DEFAULT_SYSCTLS = {"net.ipv4.ping_group_range": "0 0"}
#: modes with a network namespace of the container's own
OWN_NETWORK = ("none", "bridge", "pasta", "slirp4netns")
_NOFILE = 1048576
_NPROC = 1048576
_READ_ONLY_TMPFS = ("/run", "/tmp", "/var/tmp")
_ULIMITS = "AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO RTTIME SIGPENDING STACK".split()


class Placement(Record):
    """What is known of a container only when it starts."""

    root: str
    #: files that are bound over the image's: path in the container to path on the host
    files: dict[str, str]
    uid: int = 0
    gid: int = 0
    groups: list[int] = []
    env: dict[str, str] = {}
    #: namespace kind to path, for those that are joined
    join: dict[str, str] = {}
    #: bind mounts of volumes: target to host path
    volumes: dict[str, str] = {}
    init_path: str = ""
    seccomp_cache: str = ""
    cgroup_path: str = ""
    #: crun takes ready-made filters
    ready_filter: bool = False
    #: our root is a user namespace's: no device can be made, no cgroup rule for one, and the group tty may not be there
    unprivileged: bool = False
    no_tty_group: bool = False


def build(config: ContainerConfig, place: Placement) -> dict[str, Any]:
    """The whole `config.json`.

    Raises:
        InvalidInput: an option that cannot be expressed: an unknown limit, capability or device.
    """
    security = config.security
    caps = capabilities.effective(privileged=security.privileged, add=security.cap_add, drop=security.cap_drop)
    spec: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": _process(config, place, caps),
        "root": {"path": place.root, "readonly": config.read_only},
        "mounts": _mounts(config, place),
        "annotations": {"io.container.manager": "podling", **config.annotations},
        "linux": {
            "namespaces": _namespaces(config, place),
            "resources": _resources(config),
        },
    }
    if place.unprivileged:
        spec["linux"]["resources"].pop("devices")
    if config.keep_groups:
        spec["annotations"]["run.oci.keep_original_groups"] = "1"
    if config.userns and "user" not in place.join:
        for key, maps in (("uidMappings", config.userns.users), ("gidMappings", config.userns.groups)):
            spec["linux"][key] = [{"containerID": a, "hostID": b, "size": c} for a, b, c in maps]
    if config.uts_mode == "private":
        spec["hostname"] = config.hostname
    linux = spec["linux"]
    own_network = config.network in OWN_NETWORK
    sysctls = {**(DEFAULT_SYSCTLS if own_network else {}), **config.sysctls}
    if sysctls:
        linux["sysctl"] = sysctls
    if config.personality:
        linux["personality"] = {"domain": config.personality}
    if config.rdt_class:
        linux["intelRdt"] = {"closID": config.rdt_class}
    if place.cgroup_path:
        linux["cgroupsPath"] = place.cgroup_path
    if security.privileged:
        linux["devices"] = _all_devices(only_usable=place.unprivileged)
    else:
        linux["maskedPaths"], linux["readonlyPaths"] = _hidden(config)
        _add_seccomp(spec, security.seccomp, caps, place)
    if config.devices:
        linux["devices"] = linux.get("devices", []) + [
            entry for device in config.devices for entry in device_entries(device.host, device.target)
        ]
    propagations = [option for mount in config.mounts for option in mount.options if option in _PROPAGATION]
    if any(option in ("shared", "rshared") for option in propagations):
        linux["rootfsPropagation"] = "shared"
    elif any(option in ("slave", "rslave") for option in propagations):
        linux["rootfsPropagation"] = "slave"
    if config.security.mount_label:
        linux["mountLabel"] = config.security.mount_label
    return spec


# -- process
def _process(config: ContainerConfig, place: Placement, caps: list[str]) -> dict[str, Any]:
    argv = config.argv
    if config.init:
        argv = ["/run/podman-init", "--", *argv]
    process: dict[str, Any] = {
        "terminal": config.tty,
        "user": user_entry(place.uid, place.gid, place.groups, config.umask),
        "args": argv,
        "env": [f"{name}={value}" for name, value in place.env.items()],
        "cwd": config.workdir,
        "capabilities": capability_sets(caps, place.uid, config.security.cap_add),
        "rlimits": rlimits(config.ulimits),
        "noNewPrivileges": config.security.no_new_privileges,
        "oomScoreAdj": oom_score(config.oom_score_adj),
    }
    if config.security.apparmor:
        process["apparmorProfile"] = config.security.apparmor
    if config.security.process_label:
        process["selinuxLabel"] = config.security.process_label
    return process


def user_entry(uid: int, gid: int, groups: list[int], umask: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"uid": uid, "gid": gid, "umask": int(umask, 8)}
    if groups:
        entry["additionalGids"] = groups
    return entry


def capability_sets(caps: list[str], uid: int, added: list[str]) -> dict[str, list[str]]:
    """Root gets them all; another user keeps the bounding set, and holds only what was asked for by name."""
    if uid == 0:
        return {"bounding": caps, "effective": caps, "permitted": caps}
    wanted = {capabilities.normalise(name) for name in added}
    own = [name for name in caps if "ALL" in wanted or name.removeprefix("CAP_") in wanted]
    return {"bounding": caps, "effective": own, "permitted": own, "inheritable": own, "ambient": own}


def oom_score(wanted: int) -> int:
    """Below our own it takes CAP_SYS_RESOURCE, which an engine inside a container may lack."""
    with open("/proc/self/oom_score_adj") as file:
        own = int(file.read())
    return wanted if wanted >= own or capabilities.may_raise_limits() else own


def rlimits(ulimits: list[str]) -> list[dict[str, Any]]:
    """--ulimit over the defaults; clamped to our own hard limits where we may not raise them."""
    import resource

    wanted: dict[str, tuple[int, int]] = {"NOFILE": (_NOFILE, _NOFILE), "NPROC": (_NPROC, _NPROC)}
    for text in ulimits:
        if text == "host":
            wanted.clear()
            continue
        name, _, value = text.partition("=")
        name = name.upper().removeprefix("RLIMIT_")
        soft, _, hard = value.partition(":")
        try:
            pair = int(soft), int(hard or soft)
        except ValueError:
            raise InvalidInput(f"--ulimit {text!r}: not NAME=SOFT[:HARD]") from None
        if name not in _ULIMITS:
            raise InvalidInput(f"--ulimit {text!r}: unknown limit {name.lower()!r}")
        if pair[1] != -1 and (pair[0] > pair[1] or pair[0] == -1):
            raise InvalidInput(f"--ulimit {text!r}: the soft limit is above the hard one")
        wanted[name] = pair
    raising = capabilities.may_raise_limits()
    entries = []
    for name, (low, high) in wanted.items():
        ceiling = (
            resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1] if hasattr(resource, f"RLIMIT_{name}") else -1
        )
        if not raising and ceiling != -1:
            high = ceiling if high == -1 else min(high, ceiling)
            low = high if low == -1 else min(low, high)
        infinite = (1 << 64) - 1
        entries.append(
            {"type": f"RLIMIT_{name}", "hard": infinite if high == -1 else high, "soft": infinite if low == -1 else low}
        )
    return entries


# -- mounts
_PROPAGATION = frozenset("private rprivate shared rshared slave rslave unbindable runbindable".split())


def _mount(target: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def _mounts(config: ContainerConfig, place: Placement) -> list[dict[str, Any]]:
    privileged = config.security.privileged
    host_network = config.network == "host"
    writable = [] if privileged else ["ro"]
    proc = _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev", *config.security.proc_opts)
    if config.pid_mode == "host":
        proc = _mount("/proc", "bind", "/proc", "rbind", "nosuid", "noexec", "nodev")
    mounts = [proc, _mount("/dev", "tmpfs", "tmpfs", "nosuid", "noexec", "strictatime", "mode=755", "size=65536k")]
    if host_network:
        # sysfs shows the network devices of the namespace it is mounted in, which is the host's
        mounts.append(_mount("/sys", "bind", "/sys", "rbind", "rprivate", "nosuid", "noexec", "nodev", *writable))
    else:
        mounts.append(_mount("/sys", "sysfs", "sysfs", "rprivate", "nosuid", "noexec", "nodev", *writable))
    mounts += [
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            "rprivate",
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
            *([] if place.no_tty_group else ["gid=5"]),
        ),
    ]
    if config.ipc_mode == "host" and place.unprivileged:
        mounts.append(_mount("/dev/mqueue", "bind", "/dev/mqueue", "rbind", "nosuid", "noexec", "nodev"))
    else:
        mounts.append(_mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"))
    if config.ipc_mode == "host":
        mounts.append(_mount("/dev/shm", "bind", "/dev/shm", "rbind", "rprivate", "nosuid", "noexec", "nodev"))
    elif "/dev/shm" in place.files:
        mounts.append(
            _mount("/dev/shm", "bind", place.files["/dev/shm"], "bind", "rprivate", "nosuid", "noexec", "nodev")
        )
    else:
        size = f"size={config.shm_size}"
        mounts.append(_mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", size))
    if config.cgroup_mode == "private" or not host_network:
        mounts.append(
            _mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                "rprivate",
                "nosuid",
                "noexec",
                "nodev",
                "relatime",
                *([] if config.systemd else writable),
            )
        )
    own_targets = {mount.target for mount in config.mounts}
    if config.systemd:
        mounts += _systemd_mounts(config, own_targets)
    for target, source in place.files.items():
        if target not in own_targets and target != "/dev/shm":
            mounts.append(
                _mount(target, "bind", source, "bind", "rprivate", *(["ro"] if target == "/run/podman-init" else []))
            )
    if config.read_only and config.read_only_tmpfs:
        for target in _READ_ONLY_TMPFS:
            if target not in own_targets:
                mounts.append(
                    _mount(
                        target,
                        "tmpfs",
                        "tmpfs",
                        "rw",
                        "rprivate",
                        "nosuid",
                        "nodev",
                        "tmpcopyup",
                        "mode=1777" if target != "/run" else "mode=755",
                    )
                )
    for mount in config.mounts:
        if mount.kind == "devpts":
            mounts.append(_mount(mount.target, "devpts", "devpts", "nosuid", "noexec", *mount.options))
            continue
        if mount.kind in ("tmpfs", "ramfs"):
            options = mount.options or []
            defaults = [d for d in ("nosuid", "nodev", "noexec") if d not in options and d[2:] not in options]
            mounts.append(_mount(mount.target, mount.kind, mount.kind, "rprivate", *defaults, *options))
            continue
        options = [
            option
            for option in mount.options
            if option not in ("z", "Z", "U", "O", "copy", "nocopy", "idmap") and "=" not in option
        ]
        if mount.kind == "artifact":
            options.append("ro")
        if mount.kind == "image" and "rw" not in options and "ro" not in options:
            options.append("ro")
        if not any(option in ("bind", "rbind") for option in options):
            options.insert(0, "rbind")
        if not any(option in _PROPAGATION for option in options):
            options.append("rprivate")
        mounts.append(_mount(mount.target, "bind", place.volumes[mount.target], *options))
    # a mount hides what was mounted below it, so parents come first
    fixed = [m for m in mounts if m["destination"] not in own_targets]
    chosen = sorted(
        (m for m in mounts if m["destination"] in own_targets), key=lambda m: m["destination"].rstrip("/").count("/")
    )
    seen: dict[str, dict[str, Any]] = {m["destination"]: m for m in chosen}
    return fixed + list(seen.values())


def _systemd_mounts(config: ContainerConfig, taken: set[str]) -> list[dict[str, Any]]:
    """What systemd expects of a container (its container interface, CONTAINER_INTERFACE.md): tmpfs, and cgroups that it may write."""
    size = [f"size={config.shm_size_systemd}"] if config.shm_size_systemd else []
    found = [
        _mount(target, "tmpfs", "tmpfs", "rw", "rprivate", "nosuid", "nodev", "tmpcopyup", "mode=755", *size)
        for target in ("/run", "/run/lock")
        if target not in taken
    ]
    found += [
        _mount(target, "tmpfs", "tmpfs", "rw", "rprivate", "nosuid", "nodev", "tmpcopyup", mode, *size)
        for target, mode in (("/tmp", "mode=1777"), ("/var/log/journal", "mode=755"))
        if target not in taken
    ]
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers") and os.path.isdir("/sys/fs/cgroup/systemd"):
        place = "/sys/fs/cgroup/systemd"
        found.append(_mount(place, "bind", place, "bind", "rprivate", "nosuid", "noexec", "nodev", "rw"))
    return found


# -- isolation
def _namespaces(config: ContainerConfig, place: Placement) -> list[dict[str, str]]:
    entries = [{"type": "mount"}]
    modes = {
        "user": "private" if config.userns else "host",
        "pid": config.pid_mode,
        "network": "host" if config.network == "host" else "private",
        "ipc": config.ipc_mode,
        "uts": config.uts_mode,
        "cgroup": config.cgroup_mode,
    }
    for kind, mode in modes.items():
        if kind in place.join:
            entries.append({"type": kind, "path": place.join[kind]})
        elif mode != "host":
            entries.append({"type": kind})
    return entries


def _hidden(config: ContainerConfig) -> tuple[list[str], list[str]]:
    """Masked and read-only paths after --security-opt mask= and unmask=."""
    patterns = [pattern for text in config.security.unmask for pattern in text.split(":")]
    masked = [path for text in config.security.mask for path in text.split(":")]
    if not patterns:
        return [*MASKED, *masked], list(READ_ONLY)
    if "ALL" in (pattern.upper() for pattern in patterns):
        return masked, []
    import fnmatch

    def kept(path: str) -> bool:
        return not any(fnmatch.fnmatch(path, pattern) for pattern in patterns)

    return [*(path for path in MASKED if kept(path)), *masked], [path for path in READ_ONLY if kept(path)]


def _add_seccomp(spec: dict[str, Any], wanted: str, caps: list[str], place: Placement) -> None:
    if wanted == "unconfined":
        return
    if wanted:
        import hashlib

        from podling.oci import json

        profile = seccomp.load_profile(wanted, caps)
        key = "custom-" + hashlib.sha256(json.dumps(profile).encode()).hexdigest()[:32]
    else:
        profile = seccomp.default_profile(caps)
        bits = sum(1 << capabilities.ALL.index(name.removeprefix("CAP_")) for name in caps)
        key = f"default-{seccomp.DEFAULT_VERSION}-{os.uname().machine}-{bits:x}"
    spec["linux"]["seccomp"] = profile
    if place.ready_filter:
        program = seccomp.compiled(place.seccomp_cache, key, profile)
        if program:
            spec["annotations"]["run.oci.seccomp_bpf_data"] = program


def _resources(config: ContainerConfig) -> dict[str, Any]:
    limits = config.resources
    allow_all = config.security.privileged
    resources: dict[str, Any] = {"devices": [{"allow": allow_all, "access": "rwm"}]}
    if not allow_all:
        for device in config.devices:
            resources["devices"] += [
                {
                    "allow": True,
                    "type": entry["type"],
                    "major": entry["major"],
                    "minor": entry["minor"],
                    "access": device.access,
                }
                for entry in device_entries(device.host, device.target)
            ]
        resources["devices"] += [_device_rule(text) for text in config.device_cgroup_rules]
    resources.update(resource_limits(limits))
    return resources


def resource_limits(limits: Resources) -> dict[str, Any]:
    """`linux.resources` without the devices."""
    resources: dict[str, Any] = {}
    memory = {
        "limit": limits.memory,
        "swap": limits.memory_swap or (limits.memory * 2 if limits.memory > 0 and _counts_swap() else 0),
        "reservation": limits.memory_reservation,
    }
    memory = {name: value for name, value in memory.items() if value}
    if limits.memory_swappiness >= 0:
        memory["swappiness"] = limits.memory_swappiness
    if limits.oom_kill_disable:
        memory["disableOOMKiller"] = True
    if memory:
        resources["memory"] = memory
    cpu: dict[str, Any] = {
        "shares": limits.cpu_shares,
        "quota": limits.cpu_quota,
        "period": limits.cpu_period,
        "cpus": limits.cpuset_cpus,
        "mems": limits.cpuset_mems,
        "realtimeRuntime": limits.cpu_rt_runtime,
        "realtimePeriod": limits.cpu_rt_period,
    }
    cpu = {name: value for name, value in cpu.items() if value}
    if cpu:
        resources["cpu"] = cpu
    if limits.pids_limit:
        resources["pids"] = {"limit": limits.pids_limit}
    block: dict[str, Any] = {"weight": limits.blkio_weight} if limits.blkio_weight else {}
    for field, name, key in _THROTTLES:
        if entries := [_throttle(text, key) for text in getattr(limits, field)]:
            block[name] = entries
    if block:
        resources["blockIO"] = block
    if limits.unified:
        resources["unified"] = limits.unified
    return resources


_THROTTLES = (
    ("blkio_weight_device", "weightDevice", "weight"),
    ("device_read_bps", "throttleReadBpsDevice", "rate"),
    ("device_write_bps", "throttleWriteBpsDevice", "rate"),
    ("device_read_iops", "throttleReadIOPSDevice", "rate"),
    ("device_write_iops", "throttleWriteIOPSDevice", "rate"),
)


def _throttle(text: str, key: str) -> dict[str, Any]:
    path, _, number = text.rpartition(":")
    try:
        device = os.stat(path).st_rdev
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    return {"major": os.major(device), "minor": os.minor(device), key: int(number)}


def _counts_swap() -> bool:
    """A cgroup v1 kernel may be told not to (swapaccount=0); the runtime would fail on the limit that we add by ourselves."""
    folder = "/sys/fs/cgroup/memory"
    return not os.path.isdir(folder) or os.path.exists(f"{folder}/memory.memsw.limit_in_bytes")


# -- devices
def device_entries(host: str, target: str) -> list[dict[str, Any]]:
    """The runtime spec's devices for a host path: one for a node, all nodes below for a folder."""
    import stat

    try:
        info = os.stat(host)
    except OSError as error:
        raise InvalidInput(f"--device {host}: {error.strerror}") from None
    if stat.S_ISDIR(info.st_mode):
        return [
            entry
            for name in sorted(os.listdir(host))
            if not os.path.islink(f"{host}/{name}")
            for entry in device_entries(f"{host}/{name}", f"{target}/{name}")
            if entry
        ]
    kind = "c" if stat.S_ISCHR(info.st_mode) else "b" if stat.S_ISBLK(info.st_mode) else ""
    if not kind:
        return []
    return [
        {
            "path": target,
            "type": kind,
            "major": os.major(info.st_rdev),
            "minor": os.minor(info.st_rdev),
            "fileMode": stat.S_IMODE(info.st_mode),
            "uid": info.st_uid,
            "gid": info.st_gid,
        }
    ]


def _all_devices(*, only_usable: bool) -> list[dict[str, Any]]:
    skipped = {"/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/console", "/dev/.lxc", "/dev/.lxd-mounts"}
    found: list[dict[str, Any]] = []
    for name in sorted(os.listdir("/dev")):
        path = f"/dev/{name}"
        if only_usable and not os.access(path, os.R_OK):
            continue
        if path not in skipped and not os.path.islink(path) and not name.startswith("tty"):
            try:
                found += device_entries(path, path)
            except InvalidInput:
                continue  # gone meanwhile
    return found


def _device_rule(text: str) -> dict[str, Any]:
    """`c 1:3 rwm`, with * for a number."""
    parts = text.split()
    numbers = parts[1].split(":") if len(parts) == 3 else []
    if len(numbers) != 2 or parts[0] not in "abc" or not set(parts[2]) <= set("rwm"):
        raise InvalidInput(f"--device-cgroup-rule {text!r}: not TYPE MAJOR:MINOR ACCESS, as in 'c 1:3 rwm'")
    rule: dict[str, Any] = {"allow": True, "type": parts[0], "access": parts[2]}
    for name, number in zip(("major", "minor"), numbers, strict=True):
        if number != "*":
            if not number.isdigit():
                raise InvalidInput(f"--device-cgroup-rule {text!r}: {number!r} is no number")
            rule[name] = int(number)
    return rule


def cgroup_path(config: ContainerConfig, manager: str) -> str:
    """`linux.cgroupsPath` for the manager: a path, or slice:prefix:name for systemd."""
    if config.cgroups == "disabled":
        return ""
    if manager == "systemd":
        parent = config.cgroup_parent or "machine.slice"
        if not parent.endswith(".slice"):
            raise InvalidInput(
                f"--cgroup-parent {parent!r}: the systemd manager wants a slice", hint="a name that ends in .slice"
            )
        return f"{parent}:podling:{config.id}"
    return f"{config.cgroup_parent or '/podling'}/podling-{config.id}"


def check_host(config: ContainerConfig) -> None:
    """Refuse what this host cannot do before anything is made."""
    if config.security.apparmor not in ("", "unconfined") and not os.path.isdir("/sys/kernel/security/apparmor"):
        raise Unsupported("--security-opt apparmor: AppArmor is not enabled on this host")
