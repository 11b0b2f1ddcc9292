"""Making a container: options and the image's configuration become one immutable `ContainerConfig` and a row."""

from __future__ import annotations

import os

from podling.config.settings import find_program
from podling.core import health, idmaps, images, limits, parse, users
from podling.core.containers import Container, every, find
from podling.core.names import random_name
from podling.core.options import CreateOptions
from podling.errors import InvalidInput, NameInUse, NoSuchContainer, ProgramMissing, Unsupported
from podling.linux.proc import outer_uid
from podling.oci import json
from podling.runtime import cdi
from podling.runtime.config import ContainerConfig, Mount, Port, SecretUse, Security, UserNamespace
from podling.state import sqlite
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.core.context import Context
    from podling.state.database import Transaction

#: systemd's signal for a halt (systemd.1)
_SIGRTMIN_3 = 37
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
#: network modes that ports are published in
_PUBLISHING = ("bridge", "pasta", "slirp4netns")
LOG_DRIVERS = ("k8s-file", "json-file", "journald", "none", "passthrough", "passthrough-tty")


def create(ctx: Context, options: CreateOptions) -> Container:
    """Create a container; nothing of it is left when that fails.

    Raises:
        InvalidInput, NameInUse, NoSuchImage and what `pull.pull` raises.
    """
    ctx.recover()
    cidfile = _claim(options.cidfile)
    try:
        container = _create(ctx, options)
    except BaseException:
        if cidfile:
            os.unlink(cidfile)
        raise
    if cidfile:
        with open(cidfile, "w") as file:
            file.write(container.id)
    return container


def _claim(path: str) -> str:
    """Make --cidfile's file first: a container whose id could not be written would be lost to its caller."""
    if not path:
        return ""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    except FileExistsError:
        raise InvalidInput(
            f"container id file exists. Ensure another container is not using it or delete {path}", hint=f"rm {path}"
        ) from None
    except OSError as error:
        raise InvalidInput(f"--cidfile {path}: {error.strerror}") from None
    return path


def _create(ctx: Context, options: CreateOptions) -> Container:
    if options.name:
        check_name(options.name)
        if options.replace:
            _replace(ctx, options.name)
    elif options.replace:
        raise InvalidInput("--replace needs --name: cannot replace container without --name being set")
    image_config: dict[str, Any] = {}
    image = None
    if options.rootfs:
        rootfs = os.path.abspath(options.image)
        if not os.path.isdir(rootfs):
            raise InvalidInput(f"--rootfs {rootfs}: no such folder")
    else:
        rootfs = ""
        image = _image(ctx, options)
        image_config = images.config_of(ctx, image.id).get("config") or {}
    config = build_config(ctx, options, image_config, lambda: _top_ids(ctx, image))
    config.rootfs = rootfs
    if image:
        config.image_id = image.id
        config.image = _shown_name(options.image, image)
    from podling.runtime.spec import check_host

    check_host(config)
    ctx.runtime(config.runtime)
    return _store(ctx, config, image, fixed_name=bool(options.name))


def _store(ctx: Context, config: ContainerConfig, image: images.Image | None, *, fixed_name: bool) -> Container:
    """The row and the layer of a new container."""
    staged = ctx.store.stage(f"container {config.id}", image.layer, writable=True) if image else None
    try:
        while True:
            try:
                with ctx.db.write() as tx:
                    if staged and image:
                        staged.record(tx, parent=image.layer, chain_id=None)
                    key = _insert(tx, config, image.id if image else None, staged.key if staged else None)
                    _add_volumes(tx, config, key)
                break
            except sqlite.IntegrityError as error:
                if staged:
                    staged.settled = False
                if "containers.name" not in str(error) or fixed_name:
                    raise _conflict(ctx, config.name, error) from None
                config.name = random_name()
    finally:
        if staged:
            staged.close()
    return every(ctx, f"key={key}")[0]


def _image(ctx: Context, options: CreateOptions) -> images.Image:
    image = None
    if options.pull in ("missing", "never") and not options.platform:
        image = images.lookup(ctx, options.image)
    if image is None:
        from podling.core.options import RegistryAccess
        from podling.core.pull import PullOptions, pull

        access = RegistryAccess(
            creds=options.creds, authfile=options.authfile, tls_verify=options.tls_verify, cert_dir=options.cert_dir,
            retries=options.retry, retry_delay=options.retry_delay,
        )  # fmt: skip
        wanted = PullOptions(
            policy=options.pull,
            platform=options.platform,
            keys=options.decryption_key,
            signature_policy=options.signature_policy,
        )
        image = images.find(ctx, pull(ctx, options.image, wanted, access))
    else:
        from podling.core import signing

        signing.check_stored(ctx, image)
    return images.instance(ctx, image)


def _shown_name(asked: str, image: images.Image) -> str:
    """The name that `ps` shows: the full one that was meant, or the id when it was asked for by id."""
    if image.id.startswith(asked.removeprefix("sha256:")):
        return image.names[0] if image.names else image.id
    from podling.oci.reference import parse as parse_reference

    wanted = images.candidates(parse_reference(asked))
    return next((name for name in image.names if name in wanted), image.names[0] if image.names else asked)


def check_name(name: str) -> None:
    """Names of containers and pods."""
    inner = name.replace("_", "a").replace(".", "a").replace("-", "a")
    if not name or not inner.isalnum() or not name.isascii() or not name[0].isalnum():
        raise InvalidInput(f"invalid name {name!r}: names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument")


def _replace(ctx: Context, name: str) -> None:
    try:
        old = find(ctx, name)
    except NoSuchContainer:
        return
    if old.name == name:
        from podling.core.removal import remove_one

        remove_one(old, force=True, volumes=True)


def _conflict(ctx: Context, name: str, error: sqlite.IntegrityError) -> Exception:
    holder = ctx.db.value("SELECT id FROM containers WHERE name=?", name)
    if holder:
        return NameInUse(
            f'creating container storage: the container name "{name}" is already in use by {holder}. '
            "You have to remove that container to be able to reuse that name: that name is already in use",
            hint=f"podling rm {name}, another --name, or --replace",
            cause="that name is already in use",
        )
    return InvalidInput(f"the image or a volume of the container was removed meanwhile ({error})", hint="try again")


def _insert(tx: Transaction, config: ContainerConfig, image_id: str | None, layer: int | None) -> int:
    key = tx.insert(
        "containers",
        id=config.id,
        name=config.name,
        image_id=image_id,
        image=config.image or config.rootfs,
        layer=layer,
        created=now(),
        command="\x1f".join(config.argv),
        labels=json.dumps(config.labels),
        ports=describe_ports(config),
        auto_remove=config.auto_remove,
        config=json.dumps(config.to_json()),
        status="created",
    )
    tx.event("container", "create", config.id, config.name, config.image, json.dumps(config.labels))
    return key


def _add_volumes(tx: Transaction, config: ContainerConfig, key: int) -> None:
    from podling.core.volumes import ensure

    for mount in config.mounts:
        if mount.kind == "volume":
            volume = ensure(tx, mount.name)
            tx.run("INSERT OR IGNORE INTO volume_users VALUES (?, ?)", volume, key)


def rename(container: Container, name: str) -> None:
    """Give a container another name; a running one keeps its host name."""
    check_name(name)
    ctx = container.ctx
    with container.lock():
        container.load()
        config = container.config
        config.name = name
        try:
            with ctx.db.write() as tx:
                document = json.dumps(config.to_json())
                tx.update("containers", container.key, name=name, config=document)
                tx.event(
                    "container", "rename", container.id, name, container.image, json.dumps({"oldName": container.name})
                )
        except sqlite.IntegrityError as error:
            raise _conflict(ctx, name, error) from None


def describe_ports(config: ContainerConfig) -> str:
    """As `ps` shows them: `0.0.0.0:8080->80/tcp`, ranges in one piece, exposed ones without an arrow."""
    shown = []
    for port in config.ports:
        host = f"{port.host_port}-{port.host_port + port.span - 1}" if port.span > 1 else str(port.host_port)
        inner = (
            f"{port.container_port}-{port.container_port + port.span - 1}"
            if port.span > 1
            else str(port.container_port)
        )
        shown.append(f"{port.host_ip or '0.0.0.0'}:{host}->{inner}/{port.protocol}")
    published = {f"{p.container_port + offset}/{p.protocol}" for p in config.ports for offset in range(p.span)}
    shown += [text for text in config.exposed if text not in published]
    return ", ".join(shown)


# -- the configuration
def build_config(
    ctx: Context, options: CreateOptions, image: dict[str, Any], top_ids: Callable[[], tuple[int, int]] = lambda: (0, 0)
) -> ContainerConfig:
    """Merge options over the image's configuration. `top_ids` tells the highest uid and gid of the image.

    Raises:
        InvalidInput: an option that makes no sense, or two that contradict each other.
    """
    id = os.urandom(32).hex()
    network, arguments, networks = _network(ctx, options)
    if options.rm and options.replace and not options.name:
        raise InvalidInput("--replace needs --name")
    entrypoint, command = _argv(options, image)
    labels = {**(image.get("Labels") or {}), **parse.pairs(_label_lines(options.label_file) + options.label, "--label")}
    workdir = options.workdir or image.get("WorkingDir") or "/"
    if not workdir.startswith("/"):
        raise InvalidInput(f"--workdir {workdir!r}: must be absolute")
    driver, path, log_size, tag = _logging(ctx, options, id)
    config = ContainerConfig(
        id=id,
        name=options.name or random_name(),
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
        hostname=options.hostname or id[:12],
        tty=options.tty,
        stdin=options.interactive,
        labels=labels,
        annotations=parse.pairs(options.annotation, "--annotation", bare=False),
        mounts=_mounts(ctx, options, image),
        devices=[parse.device(text) for text in options.device if not cdi.is_name(text)],
        cdi_devices=_cdi_devices(ctx, options),
        chroot_dirs=[_chroot_dir(path) for path in options.chrootdirs],
        shm_size_systemd=parse.size(options.shm_size_systemd, "--shm-size-systemd") if options.shm_size_systemd else 0,
        sdnotify=_sdnotify(options),
        attach=[stream.lower() for stream in options.attach],
        device_cgroup_rules=options.device_cgroup_rule,
        read_only=options.read_only,
        read_only_tmpfs=options.read_only_tmpfs,
        init=options.init,
        init_path=options.init_path,
        resources=limits.resources(options),
        security=_security(options),
        ulimits=options.ulimit,
        sysctls=parse.pairs(options.sysctl, "--sysctl", bare=False),
        shm_size=parse.size(options.shm_size, "--shm-size") if options.shm_size else 65536 * 1024,
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
        add_hosts=_add_hosts(options.add_host),
        no_hosts=options.no_hosts,
        ip=options.ip,
        mac=options.mac_address,
        pid_mode=_namespace(ctx, "--pid", options.pid),
        ipc_mode=_namespace(ctx, "--ipc", options.ipc or "shareable"),
        uts_mode=_namespace(ctx, "--uts", options.uts),
        cgroup_mode=_namespace(ctx, "--cgroupns", options.cgroupns or ("host" if options.privileged else "")),
        cgroup_parent=options.cgroup_parent,
        cgroups=options.cgroups or "enabled",
        log_driver=driver,
        log_path=path,
        log_size=log_size,
        log_tag=tag,
        stop_signal=parse.signal_number(options.stop_signal or image.get("StopSignal") or "TERM"),
        stop_timeout=10 if options.stop_timeout < 0 else options.stop_timeout,
        timeout=options.timeout,
        auto_remove=options.rm,
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
    if config.cgroups not in ("enabled", "disabled"):
        raise InvalidInput(f"--cgroups {config.cgroups!r}: not one of enabled, disabled")
    config.ports, config.exposed = _ports(options, image, config)
    return config


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


def _top_ids(ctx: Context, image: images.Image | None) -> tuple[int, int]:
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
    env = {"PATH": PATH, "container": "podling"}
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


def _label_lines(files: list[str]) -> list[str]:
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
        elif key == "label" and value:  # without SELinux it has no meaning, and with it we set no labels
            if value != "disable" and os.path.exists("/sys/fs/selinux/enforce"):
                raise Unsupported(
                    f"--security-opt {text!r}: SELinux labels cannot be chosen", hint="only label=disable"
                )
        elif key in ("mask", "unmask") and value:
            getattr(security, key).append(value)
        elif key == "proc-opts" and value:
            security.proc_opts += value.split(",")
        elif key == "systempaths" and value == "unconfined":
            security.unmask.append("ALL")
        else:
            raise InvalidInput(f"invalid --security-opt {text!r}")
    from podling.runtime import capabilities

    capabilities.effective(privileged=options.privileged, add=options.cap_add, drop=options.cap_drop)
    return security


def _umask(text: str) -> str:
    if not text:
        return "0022"
    if len(text) > 4 or not text.isdigit() or "8" in text or "9" in text:
        raise InvalidInput(f"--umask {text!r}: not an octal number of up to four digits")
    return text


def _add_hosts(items: list[str]) -> list[str]:
    for item in items:
        name, colon, address = item.partition(":")
        if not name or not colon or not address:
            raise InvalidInput(f"--add-host {item!r}: not HOST:IP")
        if address != "host-gateway":
            parse._check_address(address, f"--add-host {item!r}")
    return items


def _namespace(ctx: Context, flag: str, text: str) -> str:
    """private, host, container:ID (the full id), or ns:PATH; --ipc also knows shareable."""
    if text in ("", "private"):
        return "private"
    if text == "host" or (text == "shareable" and flag == "--ipc"):
        return text
    kind, _, rest = text.partition(":")
    if kind == "container" and rest:
        return f"container:{find(ctx, rest).id}"
    if kind == "ns" and rest.startswith("/"):
        if not os.path.exists(rest):
            raise InvalidInput(f"{flag} {text!r}: no such namespace")
        return text
    raise InvalidInput(f"{flag} {text!r}: unknown mode", hint="private, host, container:NAME or ns:PATH")


def _default_network() -> str:
    """A bridge for root; for a user what needs no privileges, and is there."""
    if not outer_uid():
        return "bridge"
    for name, program in (("pasta", "pasta"), ("slirp4netns", "slirp4netns")):
        try:
            find_program(program)
            return name
        except ProgramMissing:
            continue
    raise ProgramMissing("neither pasta nor slirp4netns is installed", hint="apt install passt, or --network=none")


def _network(ctx: Context, options: CreateOptions) -> tuple[str, list[str], dict[str, dict[str, Any]]]:
    """(mode, arguments of the program behind it, what is asked for on each network of the container's own)."""
    texts = options.network or [_default_network()]
    arguments: list[str] = []
    networks: dict[str, dict[str, Any]] = {}
    mode = "bridge"
    for text in texts:
        if text in ("private", "default"):
            text = _default_network()
        if text in ("none", "host"):
            mode = text
        elif text.partition(":")[0] in ("pasta", "slirp4netns"):
            mode, _, rest = text.partition(":")
            arguments = [argument for argument in rest.split(",") if argument]
            find_program(mode, package="passt" if mode == "pasta" else mode)
        elif text.startswith(("container:", "ns:")):
            mode = _namespace(ctx, "--network", text)
        else:
            name, wanted = parse.network_use(text)
            from podling.network.networks import DEFAULT
            from podling.network.networks import find as find_network

            found = find_network(DEFAULT if name in ("bridge", "private", "default") else name)
            if found["name"] in networks:
                raise InvalidInput(f"--network {text}: the network is named twice")
            if wanted["aliases"] and not found.get("dns_enabled"):
                raise InvalidInput(
                    f"--network {text}: network {found['name']} has no DNS, so an alias has no use there"
                )
            networks[found["name"]] = wanted
    if mode != "bridge" and len(texts) > 1:
        raise InvalidInput(f"cannot set multiple networks together with the mode {mode}")
    shown = " ".join(texts)
    if mode != "bridge" and (options.ip or options.ip6 or options.mac_address or options.network_alias):
        raise InvalidInput(
            f"--ip, --ip6, --mac-address and --network-alias need a network of the container's own, not {shown}"
        )
    if len(networks) > 1 and (options.ip or options.ip6 or options.mac_address):
        raise InvalidInput(
            "--ip, --ip6 and --mac-address can only be set for a single network", hint="--network NAME:ip=…"
        )
    for wanted in networks.values():
        wanted["ips"] += [address for address in (options.ip6,) if address]
        wanted["aliases"] += options.network_alias
    if mode not in (*_PUBLISHING, "host") and options.publish:
        raise InvalidInput(f"--publish has no effect with --network {shown}: no ports can be published there")
    if mode == "host" and (options.publish or options.publish_all):
        ctx.warn("Port mappings are discarded when using the host network mode")
    return mode, arguments, networks


def _ports(options: CreateOptions, image: dict[str, Any], config: ContainerConfig) -> tuple[list[Port], list[str]]:
    exposed = [
        f"{number}/{protocol}"
        for text in (*(image.get("ExposedPorts") or ()), *options.expose)
        for number, protocol in parse.exposed(text)
    ]
    if config.network not in _PUBLISHING:
        return [], exposed
    ports = [port for text in options.publish for port in parse.publish(text)]
    if options.publish_all:
        known = {(port.container_port, port.protocol) for port in ports}
        for text in exposed:
            number, _, protocol = text.partition("/")
            if (int(number), protocol) not in known:
                ports.append(Port(container_port=int(number), protocol=protocol))
    for port in ports:
        if not port.host_port:
            from podling.network.ports import free_port

            port.host_port = free_port(port.host_ip, port.protocol, port.span)
    return ports, exposed


def _logging(ctx: Context, options: CreateOptions, id: str) -> tuple[str, str, int, str]:
    driver = options.log_driver or "k8s-file"
    if driver not in LOG_DRIVERS:
        raise InvalidInput(
            f"--log-driver {driver!r}: invalid log driver", hint=f"the drivers are {', '.join(LOG_DRIVERS)}"
        )
    path, log_size, tag = "", -1, ""
    for text in options.log_opt:
        key, equals, value = text.partition("=")
        if not equals or key not in ("path", "max-size", "tag"):
            raise InvalidInput(f"--log-opt {text!r}: not one of path=, max-size=, tag=")
        if key == "path":
            path = os.path.abspath(value)
        elif key == "max-size":
            log_size = parse.size(value, "--log-opt max-size")
        else:
            tag = value
    if driver == "passthrough" and options.tty:
        raise InvalidInput("--log-driver=passthrough cannot be used with a terminal (-t)")
    if driver in ("k8s-file", "json-file"):
        driver = "k8s-file"
        path = path or f"{ctx.folder(id)}/ctr.log"
    return driver, path, log_size, tag


# -- another like it
def duplicate(
    ctx: Context, original: Container, name: str, image_name: str, changes: CreateOptions, given: set[str]
) -> Container:
    """A new container with the configuration of `original`, perhaps of another image and with other limits.

    Raises:
        NameInUse, NoSuchImage, InvalidInput.
    """
    config = ContainerConfig.from_json(json.loads(original.document))
    old_id = config.id
    config.id = os.urandom(32).hex()
    config.name = name or f"{config.name}-clone"
    check_name(config.name)
    if config.hostname == old_id[:12]:
        config.hostname = config.id[:12]
    if config.log_path == f"{ctx.folder(old_id)}/ctr.log":
        config.log_path = f"{ctx.folder(config.id)}/ctr.log"
    config.resources = limits.merged(config.resources, changes, given)
    config.mac, config.ip = "", ""
    image = images.by_id(ctx, config.image_id) if config.image_id else None
    if image_name:
        image = _image(ctx, CreateOptions(image=image_name))
        config.image, config.image_id = _shown_name(image_name, image), image.id
    for mount in config.mounts:
        if mount.kind == "volume" and len(mount.name) == 64:
            mount.name = os.urandom(32).hex()
    return _store(ctx, config, image, fixed_name=bool(name))
