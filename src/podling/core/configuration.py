"""Options over an image's configuration: what a container is made with."""

from __future__ import annotations

import os

from podling.config import containers as conf
from podling.core import connections, defaults, health, idmaps, images, limits, parse, users
from podling.core.containers import find
from podling.core.names import random_name
from podling.core.options import CreateOptions
from podling.errors import InvalidInput
from podling.linux.proc import in_user_namespace
from podling.oci import json
from podling.oci.sizes import size
from podling.runtime import cdi
from podling.runtime.config import ContainerConfig, Mount, SecretUse, Security, UserNamespace
from podling.runtime.spec import OWN_NETWORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.core.context import Context

#: systemd's signal for a halt (systemd.1)
_SIGRTMIN_3 = 37
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
LOG_DRIVERS = ("k8s-file", "json-file", "journald", "none", "passthrough", "passthrough-tty")


def build_config(
    ctx: Context, options: CreateOptions, image: dict[str, Any], top_ids: Callable[[], tuple[int, int]] = lambda: (0, 0)
) -> ContainerConfig:
    """Merge options over the image's configuration. `top_ids` tells the highest uid and gid of the image.

    Raises:
        InvalidInput: an option that makes no sense, or two that contradict each other.
    """
    id = os.urandom(32).hex()
    network, arguments, networks = connections.networks_of(ctx, options)
    if options.rm and options.replace and not options.name:
        raise InvalidInput("--replace needs --name")
    entrypoint, command = _argv(options, image)
    labels = {**(image.get("Labels") or {}), **parse.pairs(label_lines(options.label_file) + options.label, "--label")}
    if unit := os.environ.get("PODMAN_SYSTEMD_UNIT"):  # set by units, for auto-update
        labels["PODMAN_SYSTEMD_UNIT"] = unit
    workdir = options.workdir or image.get("WorkingDir") or "/"
    if not workdir.startswith("/"):
        raise InvalidInput(f"--workdir {workdir!r}: must be absolute")
    driver, path, log_size, tag, log_labels = _logging(ctx, options, id)
    name = options.name or random_name()
    config = ContainerConfig(
        id=id,
        name=name,
        entrypoint=entrypoint,
        command=command,
        env=_environment(options, image),
        workdir=os.path.normpath(workdir),
        workdir_from_image=not options.workdir,
        user=options.user or idmaps.default_user(options.userns) or image.get("User") or "",
        groups=[] if "keep-groups" in options.group_add else options.group_add,
        keep_groups="keep-groups" in options.group_add,
        userns=_user_namespace(ctx, options, top_ids),
        host_users=_host_users(options.hostuser),
        hostname=options.hostname or (name if defaults.named_as_host() else id[:12]),
        tty=options.tty,
        stdin=options.interactive,
        labels=labels,
        annotations=parse.pairs(options.annotation, "--annotation", bare=False),
        mounts=_mounts(ctx, options, image),
        devices=[parse.device(text) for text in options.device if not cdi.is_name(text)],
        cdi_devices=_cdi_devices(ctx, options),
        chroot_dirs=[_chroot_dir(path) for path in options.chrootdirs],
        shm_size_systemd=size(options.shm_size_systemd, "--shm-size-systemd") if options.shm_size_systemd else 0,
        init_type=options.init_ctr,
        sdnotify=_sdnotify(options),
        sdnotify_socket=os.environ.get("NOTIFY_SOCKET", ""),
        attach=[stream.lower() for stream in options.attach],
        device_cgroup_rules=options.device_cgroup_rule,
        read_only=options.read_only,
        read_only_tmpfs=options.read_only_tmpfs,
        init=options.init,
        init_path=options.init_path,
        resources=limits.resources(options),
        security=_security(options),
        ulimits=options.ulimit,
        sysctls=parse.pairs(
            [
                *defaults.sysctls(options, own_network=network in OWN_NETWORK, own_ipc=options.ipc != "host"),
                *options.sysctl,
            ],
            "--sysctl",
            bare=False,
        ),
        shm_size=size(options.shm_size, "--shm-size") if options.shm_size else 65536 * 1024,
        oom_score_adj=options.oom_score_adj,
        umask=_umask(options.umask),
        timezone=options.tz,
        network=network,
        network_arguments=arguments,
        networks=list(networks),
        network_options={name: wanted for name, wanted in networks.items() if any(wanted.values())},
        ports=[],
        publish_all=options.publish_all,
        dns=options.dns,
        dns_search=options.dns_search,
        dns_option=options.dns_option,
        add_hosts=connections.added_hosts(options.add_host),
        no_hosts=options.no_hosts,
        ip=options.ip,
        mac=options.mac_address,
        pid_mode=connections.namespace_of(ctx, "--pid", options.pid),
        ipc_mode=connections.namespace_of(ctx, "--ipc", options.ipc or "shareable"),
        uts_mode=connections.namespace_of(ctx, "--uts", options.uts),
        cgroup_mode=connections.namespace_of(
            ctx, "--cgroupns", options.cgroupns or ("host" if options.privileged else "")
        ),
        cgroup_parent=options.cgroup_parent,
        cgroups=options.cgroups or "enabled",
        log_driver=driver,
        log_path=path,
        log_size=log_size,
        log_tag=tag,
        log_labels=log_labels,
        stop_signal=parse.signal_number(options.stop_signal or image.get("StopSignal") or "TERM"),
        stop_timeout=10 if options.stop_timeout < 0 else options.stop_timeout,
        timeout=options.timeout,
        auto_remove=options.rm,
        transient=ctx.settings.transient,
        runtime=ctx.settings.runtime,
        detach_keys=options.detach_keys,
        pidfile=options.pidfile,
        conmon_pidfile=options.conmon_pidfile,
        create_command=options.create_command,
        health=health.config_of(options, image),
        requires=_requires(ctx, options.requires),
        hosts_file=_hosts_file(options.hosts_file),
        no_hostname=options.no_hostname,
        passwd=options.passwd,
        passwd_entry=options.passwd_entry,
        group_entry=options.group_entry,
        personality=_personality(options.personality),
        rdt_class=options.rdt_class,
        remove_image=options.rmi,
        secrets=[_secret(ctx, text) for text in options.secret],
    )
    config.systemd = _wants_systemd(options.systemd, config.argv)
    if config.systemd and not (options.stop_signal or image.get("StopSignal")):
        config.stop_signal = _SIGRTMIN_3
    if options.seccomp_policy == "image" and not config.security.seccomp:
        config.security.seccomp = config.labels.get("io.containers.seccomp.profile", "")
    elif options.seccomp_policy not in ("default", "image"):
        raise InvalidInput(f"--seccomp-policy {options.seccomp_policy!r}: not one of default, image")
    if options.kernel_memory:
        ctx.warn("The --kernel-memory flag is no longer supported. This flag is a noop.")
    config.restart, config.restart_limit = parse.restart_policy(options.restart or "no")
    if config.restart != "no" and options.rm:
        raise InvalidInput("the --rm and --restart options conflict: a container that goes cannot be started again")
    if config.cgroups not in ("enabled", "disabled", "no-conmon", "split"):
        raise InvalidInput(f"--cgroups {config.cgroups!r}: not one of enabled, disabled, no-conmon, split")
    if config.cgroups == "split" and config.cgroup_parent:
        raise InvalidInput("--cgroups=split and --cgroup-parent exclude each other")
    config.ports, config.exposed = connections.ports_of(options, image, config)
    _label(ctx, config)
    return config


def _label(ctx: Context, config: ContainerConfig) -> None:
    """The SELinux labels: those of a container whose processes or shared memory it sees, or own ones; none for what is of the host."""
    security = config.security
    if not (security.label_options or os.path.exists("/sys/fs/selinux/enforce")):
        return
    from podling.linux import selinux

    own = selinux.of_container(
        security.label_options, systemd=config.systemd, own_user=conf.load().flag("containers", "label_users")
    )
    if not selinux.enabled() or not conf.load().flag("containers", "label", default=True):
        return
    modes = (config.pid_mode, config.ipc_mode)
    joined = next((mode.removeprefix("container:") for mode in modes if mode.startswith("container:")), "")
    if security.label_options:
        security.process_label, security.mount_label = own
    elif joined:
        other = find(ctx, joined).config.security
        security.process_label, security.mount_label = other.process_label, other.mount_label
    elif not (security.privileged or "host" in modes):
        security.process_label, security.mount_label = own


def _user_namespace(
    ctx: Context, options: CreateOptions, top_ids: Callable[[], tuple[int, int]]
) -> UserNamespace | None:
    if options.userns in ("", "host") and not (
        options.uidmap or options.gidmap or options.subuidname or options.subgidname
    ):
        return None
    found = idmaps.mapping(ctx, options, top_ids() if options.userns.startswith("auto") else (0, 0))
    if "keep-groups" in options.group_add and found.users:
        raise InvalidInput("--group-add keep-groups needs the host's user namespace", hint="leave --userns out")
    return found if found.users else None


def top_ids_of(ctx: Context, image: images.Image | None) -> tuple[int, int]:
    """The highest ids in passwd and group of an image."""
    if image is None:
        return 0, 0
    from podling.core.changes import view_of

    view = view_of(ctx, image)
    found = []
    for path in ("etc/passwd", "etc/group"):
        text = users.files(view.locate("/" + path))[0 if path == "etc/passwd" else 1]
        fields = [line.split(":") for line in text.splitlines()]
        ids = [int(parts[2]) for parts in fields if len(parts) > 2 and parts[2].isdigit() and int(parts[2]) < 65534]
        found.append(max(ids, default=0))
    return found[0], found[1]


def _cdi_devices(ctx: Context, options: CreateOptions) -> list[str]:
    """--device and --gpus that name CDI devices, which have to be there now."""
    names = [text for text in options.device if cdi.is_name(text)]
    names += [name for text in options.gpus for name in cdi.gpus(text)]
    if names:
        cdi.edits(names, ctx.settings.cdi_dirs)
    return names


def _chroot_dir(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise InvalidInput(f"--chrootdirs {path!r}: must be an absolute path in the container")
    return os.path.normpath(path)


def _sdnotify(options: CreateOptions) -> str:
    from podling.core.sdnotify import MODES

    if options.sdnotify not in MODES:
        raise InvalidInput(f"--sdnotify {options.sdnotify!r}: not one of {', '.join(MODES)}")
    if options.sdnotify == "healthy" and not options.health_cmd:
        raise InvalidInput(
            '--sdnotify=healthy needs --health-cmd: sdnotify policy "healthy" requires a healthcheck to be set'
        )
    return options.sdnotify


def _wants_systemd(text: str, argv: list[str]) -> bool:
    """--systemd: always, or true (the default) and the command is an init that wants it."""
    if text.lower() not in ("always", "true", "false", "1", "0", "t", "f"):
        raise InvalidInput(f"--systemd {text!r}: not one of true, false, always")
    if text.lower() == "always":
        return True
    first = argv[0] if argv else ""
    is_init = first in ("/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init") or os.path.basename(first) == "systemd"
    return text.lower() in ("true", "1", "t") and is_init


def _host_users(names: list[str]) -> list[str]:
    import pwd

    for name in names:
        try:
            pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        except KeyError:
            raise InvalidInput(f"--hostuser {name!r}: no such user on this host") from None
    return names


def _argv(options: CreateOptions, image: dict[str, Any]) -> tuple[list[str], list[str]]:
    entrypoint = image.get("Entrypoint") or []
    command = options.command
    if options.entrypoint is not None:
        text = options.entrypoint
        try:
            entrypoint = [str(word) for word in json.loads(text)] if text.startswith("[") else [text] if text else []
        except ValueError:
            raise InvalidInput(f"--entrypoint {text!r} is not a JSON list") from None
    elif not command:
        command = image.get("Cmd") or []
    if not entrypoint and not command:
        raise InvalidInput(
            "no command or entrypoint provided, and no CMD or ENTRYPOINT from image",
            hint="give a command after the image's name",
        )
    return list(entrypoint), list(command)


def _environment(options: CreateOptions, image: dict[str, Any]) -> dict[str, str]:
    env = {"PATH": PATH, "container": "podling", **defaults.environment()}
    if options.env_host:
        env.update(os.environ)
    if options.http_proxy:
        env.update({name: os.environ[name] for base in _PROXIES for name in (base, base.upper()) if name in os.environ})
    if options.tty:
        env["TERM"] = "xterm"
    for item in image.get("Env") or ():
        name, _, value = item.partition("=")
        env[name] = value
    if options.unsetenv_all:
        env = {}
    for name in options.unsetenv:
        env.pop(name, None)
    for item in options.env_merge:
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise InvalidInput(f"--env-merge {item!r}: not NAME=VALUE")
        env[name] = _expanded(value, env)
    env.update(parse.environment(options.env, options.env_file))
    return env


def _expanded(text: str, env: dict[str, str]) -> str:
    """`text` with $NAME and ${NAME} replaced by what the image has."""
    import re

    return re.sub(r"\$(?:(\w+)|\{(\w+)\})", lambda found: env.get(found.group(1) or found.group(2), ""), text)


def _requires(ctx: Context, items: list[str]) -> list[str]:
    """ID:CONDITION for each of NAME[:CONDITION]."""
    found = []
    for text in (part for item in items for part in item.split(",")):
        name, _, condition = text.partition(":")
        if condition not in ("", "started", "healthy", "completed"):
            raise InvalidInput(f"--requires {text!r}: the conditions are started, healthy and completed")
        found.append(f"{find(ctx, name).id}:{condition or 'started'}")
    return found


def _secret(ctx: Context, text: str) -> SecretUse:
    """`NAME[,type=mount|env][,target=…][,uid=…][,gid=…][,mode=…]` of --secret."""
    from podling.core.secrets import find as find_secret

    name, *items = text.split(",")
    if name.startswith("source="):
        name = name.removeprefix("source=")
    values: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or key not in ("type", "target", "uid", "gid", "mode", "source"):
            raise InvalidInput(f"--secret {text!r}: invalid option {item!r}")
        values[key] = value
    name = values.get("source", name)
    kind = values.get("type", "mount")
    if kind not in ("mount", "env"):
        raise InvalidInput(f"--secret {text!r}: type {kind!r} is invalid", hint="mount or env")
    if kind == "env" and values.keys() & {"uid", "gid", "mode"}:
        raise InvalidInput(f"--secret {text!r}: UID, GID, Mode options cannot be set with secret type env")
    try:
        secret = find_secret(ctx, name)
        target = values.get("target") or secret.name
        if kind == "mount":
            target = os.path.normpath(target if target.startswith("/") else f"/run/secrets/{target}")
        return SecretUse(
            id=secret.id, name=secret.name, kind=kind, target=target, uid=int(values.get("uid", "0")),
            gid=int(values.get("gid", "0")), mode=int(values.get("mode", "0444"), 8),
        )  # fmt: skip
    except ValueError:
        raise InvalidInput(f"--secret {text!r}: uid and gid are numbers, mode is octal") from None


def _hosts_file(text: str) -> str:
    if text in ("", "image", "none"):
        return text
    if not os.path.isfile(text):
        raise InvalidInput(f"--hosts-file {text}: no such file", hint="a path, image, or none")
    return os.path.abspath(text)


def _personality(text: str) -> str:
    if text and text.upper() not in ("LINUX", "LINUX32"):
        raise InvalidInput(f"--personality {text!r}: not one of LINUX, LINUX32")
    return text.upper()


def label_lines(files: list[str]) -> list[str]:
    lines: list[str] = []
    for path in files:
        try:
            with open(path) as file:
                lines += [line.strip() for line in file if line.strip() and not line.lstrip().startswith("#")]
        except OSError as error:
            raise InvalidInput(f"--label-file {path}: {error.strerror}") from None
    return lines


def _mounts(ctx: Context, options: CreateOptions, image: dict[str, Any]) -> list[Mount]:
    mounts = [parse.volume(text) for text in options.volume]
    mounts += [found for text in options.mount for found in parse.mounts(text)]
    for mount in mounts:
        if mount.kind == "artifact":
            from podling.core import artifacts

            artifacts.find(ctx, mount.source)
        if mount.kind == "image":
            mount.name = images.instance(ctx, images.find(ctx, mount.source)).id
    mounts += [parse.tmpfs(text) for text in options.tmpfs]
    taken: dict[str, Mount] = {}
    for mount in mounts:
        if mount.target in taken:
            raise InvalidInput(f"{mount.target}: duplicate mount destination", hint="two options mount something there")
        taken[mount.target] = mount
    for inherited in _volumes_from(ctx, options.volumes_from):
        taken.setdefault(inherited.target, inherited)
    if options.image_volume not in ("", "anonymous", "bind", "ignore", "tmpfs"):
        raise InvalidInput(f"--image-volume {options.image_volume!r}: not one of anonymous, ignore, tmpfs")
    for target in (image.get("Volumes") or ()) if options.image_volume != "ignore" else ():
        path = os.path.normpath("/" + str(target).lstrip("/"))
        if path not in taken and path != "/":
            taken[path] = Mount(kind="tmpfs" if options.image_volume == "tmpfs" else "volume", target=path)
    for mount in taken.values():
        if mount.kind == "volume" and not mount.name:
            mount.name = os.urandom(32).hex()
    return list(taken.values())


def _volumes_from(ctx: Context, items: list[str]) -> list[Mount]:
    """The volumes and bind mounts of other containers: CONTAINER[:OPTIONS]."""
    found: list[Mount] = []
    for text in items:
        name, _, rest = text.partition(":")
        options = [option for option in rest.split(",") if option]
        if unknown := set(options) - {"ro", "rw", "z"}:
            raise InvalidInput(f"--volumes-from {text!r}: invalid option {sorted(unknown)[0]!r}", hint="ro, rw or z")
        for mount in find(ctx, name).config.mounts:
            if mount.kind in ("bind", "volume"):
                copy = Mount.from_json(mount.to_json())
                if "ro" in options or "rw" in options:
                    copy.options = [option for option in copy.options if option not in ("ro", "rw")]
                copy.options += [option for option in options if option not in copy.options]
                found.append(copy)
    return found


def _security(options: CreateOptions) -> Security:
    security = Security(privileged=options.privileged, cap_add=options.cap_add, cap_drop=options.cap_drop)
    for text in options.security_opt:
        key, separator, value = text.partition("=")
        if not separator:
            key, separator, value = text.partition(":")
        if key == "no-new-privileges" and value in ("", "true", "false"):
            security.no_new_privileges = value != "false"
        elif key == "seccomp" and value:
            if value != "unconfined" and not os.path.isfile(value):
                raise InvalidInput(f"--security-opt {text!r}: no such profile")
            security.seccomp = value if value == "unconfined" else os.path.abspath(value)
        elif key == "apparmor" and value:
            security.apparmor = value
        elif key == "label" and value:
            security.label_options.append(value)
        elif key in ("mask", "unmask") and value:
            getattr(security, key).append(value)
        elif key == "proc-opts" and value:
            security.proc_opts += value.split(",")
        elif key == "systempaths" and value == "unconfined":
            security.unmask.append("ALL")
        else:
            raise InvalidInput(f"invalid --security-opt {text!r}")
    from podling.runtime import apparmor, capabilities

    capabilities.effective(privileged=options.privileged, add=options.cap_add, drop=options.cap_drop)
    if not (security.apparmor or security.privileged or in_user_namespace()):
        security.apparmor = apparmor.default_profile()
    return security


def _umask(text: str) -> str:
    if not text:
        return "0022"
    if len(text) > 4 or not text.isdigit() or "8" in text or "9" in text:
        raise InvalidInput(f"--umask {text!r}: not an octal number of up to four digits")
    return text


def _logging(ctx: Context, options: CreateOptions, id: str) -> tuple[str, str, int, str, list[str]]:
    """(driver, path, size at which the file is rotated, tag, labels)."""
    driver = options.log_driver or "k8s-file"
    if driver not in LOG_DRIVERS:
        raise InvalidInput(
            f"--log-driver {driver!r}: invalid log driver", hint=f"the drivers are {', '.join(LOG_DRIVERS)}"
        )
    path, log_size, tag = "", -1, ""
    labels: list[str] = []
    for text in options.log_opt:
        key, equals, value = text.partition("=")
        if not equals or key not in ("path", "max-size", "tag", "label"):
            raise InvalidInput(f"--log-opt {text!r}: not one of path=, max-size=, tag=, label=")
        if key == "path":
            path = os.path.abspath(value)
        elif key == "max-size":
            log_size = size(value, "--log-opt max-size")
        elif key == "label":
            labels.append(value)
        else:
            tag = value
    if driver == "passthrough" and options.tty:
        raise InvalidInput("--log-driver=passthrough cannot be used with a terminal (-t)")
    if driver in ("k8s-file", "json-file"):
        driver = "k8s-file"
        place = conf.load().text("containers", "log_path")
        path = path or (f"{place}/{id}/ctr.log" if place else f"{ctx.folder(id)}/ctr.log")
    if labels and driver != "journald":
        raise InvalidInput("--log-opt label: only the journald log driver has labels")
    return driver, path, log_size, tag, labels
