"""From a row to a created container: mount, network, files, specification, conmon."""

from __future__ import annotations

import os
import stat

from podling.config import containers
from podling.core import limits, users, volumes
from podling.core.container_files import final_env, secret_env, write_files, write_names
from podling.core.containers import Container, find
from podling.errors import InvalidInput, PodlingError, PortInUse, Unsupported, WrongState
from podling.linux import calls
from podling.linux.proc import hugetlb_unmounted_hybrid, in_user_namespace, outer_uid, own_cgroup
from podling.network.netns import hold
from podling.oci import json
from podling.rootless import subids
from podling.runtime import apparmor, cdi, conmon, hooks, spec
from podling.runtime.config import ContainerConfig, Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.core.checkpoint import Revival
    from podling.core.context import Context
    from podling.core.lifecycle import Preserved
    from podling.network.netavark import Attachment
    from podling.rootless.subids import Owners


def launch(
    container: Container, preserve: Preserved | None = None, revival: Revival | None = None
) -> tuple[int, int, str]:
    """Everything up to the runtime's `create`; (pid, conmon's pid, network status as JSON). `preserve`: descriptors it gets.
    `revival`: the checkpoint that it is restored from; then it runs.

    What fails here leaves things behind for `release_all`, which the caller runs.
    """
    ctx, config = container.ctx, container.config
    bundle = container.bundle
    bundle.make()
    if config.security.apparmor:
        apparmor.check(config.security.apparmor)
    owners = container.owners
    label = config.security.mount_label
    root = config.rootfs
    if container.layer:
        root = ctx.store.mount(container.layer, owners, label, volatile=config.auto_remove)
    identity = users.resolve(root, config.user, config.groups)
    _check_workdir(config, root, identity, owners)
    if any(mount.kind == "volume" for mount in config.mounts):
        volumes.fill(ctx, config, root, owners)
    join, netns = _joined(ctx, config)
    reserved: list[int] = []
    connected = _nothing
    try:
        if config.network == "bridge":
            reserved = _reserve(container)
        # a namespace that belongs to the container's own user namespace is there only when the container is
        status, connected = _connect(container, netns) if not owners else ({}, _nothing)
        files = write_files(container, identity, status)
        for folder in config.chroot_dirs:
            managed = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/run/.containerenv")
            files.update({folder.rstrip("/") + path: files[path] for path in managed if path in files})
        sources = {
            mount.target: _mount_source(container, position, identity)
            for position, mount in enumerate(config.mounts)
            if mount.kind in ("bind", "volume", "image", "artifact")
        }
        if any(mount.kind == "bind" for mount in config.mounts):
            from podling.core import binds

            found = [
                binds.trouble(sources[mount.target], mount, identity, owners)
                for mount in config.mounts
                if mount.kind == "bind"
            ]
            container.troubles = [text for text in found if text]
        if label:
            _label(container, files, sources)
        if owners:
            from podling.core import staging

            root, staged = staging.fill(container, owners, root, {**files, **sources})
            files, sources = {key: staged[key] for key in files}, {key: staged[key] for key in sources}
        place = spec.Placement(
            root=root,
            files=files,
            uid=identity.uid,
            gid=identity.gid,
            groups=identity.groups,
            env={
                **final_env(config, identity),
                **(secret_env(container) if config.secrets else {}),
                **(preserve.env if preserve else {}),
            },
            join=join,
            volumes=sources,
            seccomp_cache=f"{ctx.settings.root}/seccomp",
            cgroup_path=split_cgroup(config)
            if config.cgroups == "split"
            else spec.cgroup_path(config, ctx.settings.cgroup_manager),
            ready_filter=ctx.runtime(config.runtime).takes_ready_filters,
            unprivileged=in_user_namespace(),
            no_tty_group=_no_tty_group(owners),
        )
        document = spec.build(config, place)
        if config.cdi_devices:
            cdi.apply(document, config.cdi_devices, ctx.settings.cdi_dirs, unprivileged=in_user_namespace())
        document = hooks.apply(document, ctx.settings.hooks_dirs or list(hooks.FOLDERS), binds=bool(config.mounts))
        if reserved and outer_uid() and not owners:
            _forward(container, status, reserved)
        pid, conmon_pid = _create(container, document, reserved, preserve, revival)
        if owners and netns:
            hold(netns, pid)
            status, connected = _connect(container, netns)
            write_names(container, status)
            if reserved and outer_uid():
                _forward(container, status, reserved)
        waited, connected = connected, _nothing
        waited()
    except BaseException as error:
        if config.network == "bridge":
            _settle(connected)
        if isinstance(error, PortInUse):
            _name_holder(ctx, container, error)
        raise
    finally:
        for fd in reserved:
            os.close(fd)
    for path, number in ((config.pidfile, pid), (config.conmon_pidfile, conmon_pid)):
        if path:
            with open(path, "w") as file:
                file.write(str(number))
    return pid, conmon_pid, json.dumps(status)


def _settle(connected: Callable[[], None]) -> None:
    """Nothing may be on its way any more when it is taken back."""
    try:
        connected()
    except (PodlingError, OSError):
        pass


def split_cgroup(config: ContainerConfig) -> str:
    """--cgroups=split: a cgroup for the container below our own, and one beside it for us and conmon (cgroup v2: inner nodes are empty).

    Raises:
        Unsupported: cgroup v1, or a cgroup that was not delegated to us.
    """
    own = own_cgroup()
    if own is None:
        raise Unsupported("--cgroups=split needs cgroup v2", hint="--cgroups=enabled")
    base = own.removesuffix("/supervisor")
    place = f"/sys/fs/cgroup{base}/supervisor"
    try:
        os.makedirs(place, exist_ok=True)
        if own == base:
            with open(f"/sys/fs/cgroup{base}/cgroup.procs") as file:
                pids = file.read().split()
            for pid in pids:
                with open(f"{place}/cgroup.procs", "w") as file:
                    file.write(pid)
        with open(f"/sys/fs/cgroup{base}/cgroup.controllers") as file:
            controllers = file.read().split()
        with open(f"/sys/fs/cgroup{base}/cgroup.subtree_control", "w") as file:
            file.write(" ".join(f"+{name}" for name in controllers))
    except OSError as error:
        raise Unsupported(
            f"--cgroups=split: the cgroup {base} cannot be divided: {error.strerror}",
            hint="Delegate=yes in the systemd unit allows it",
        ) from None
    return f"{base}/libpod-payload-{config.id}"


def _no_tty_group(owners: Owners | None) -> bool:
    """Whether the group 5, which terminals belong to, is not mapped in the container."""
    groups = owners.groups if owners else subids.current("gid") if in_user_namespace() else [(0, 0, 65536)]
    return subids.outside(groups, 5) is None


def _create(
    container: Container,
    document: dict[str, Any],
    reserved: list[int],
    preserve: Preserved | None,
    revival: Revival | None,
) -> tuple[int, int]:
    """conmon and the runtime's create; without cgroups where the host's set-up is refused."""
    ctx, config, bundle = container.ctx, container.config, container.bundle
    runtime = ctx.runtime(config.runtime).for_network(config.network)
    if config.cgroups == "split":
        runtime = runtime.without_systemd()
    if config.log_path:
        os.makedirs(os.path.dirname(config.log_path), 0o700, exist_ok=True)
    log = {"k8s-file": f"k8s-file:{config.log_path}", "passthrough-tty": "passthrough"}.get(
        config.log_driver, config.log_driver
    )
    unprivileged = bool(outer_uid()) and ctx.settings.cgroup_manager != "systemd"
    hybrid = bool(runtime.without_cgroups()) and hugetlb_unmounted_hybrid()
    no_cgroups = config.cgroups == "disabled" or unprivileged or hybrid
    wanted = spec.resource_limits(config.resources)
    if unprivileged and (wanted.keys() - {"pids"} or config.resources.pids_limit not in (0, limits.DEFAULT_PIDS)):
        ctx.warn(
            "limits of resources are ignored: no cgroup is delegated to this user (cgroup v2 and a systemd session do)"
        )
    elif hybrid and not unprivileged and config.cgroups != "disabled":
        ctx.warn(
            "this host's mix of cgroup v1 and v2 is refused by the runtime: the container runs without cgroups and limits"
        )
    if no_cgroups:
        _drop_cgroups(document)
    if revival:
        revival.annotate(document, bundle.folder)
    with open(bundle.config, "w") as file:
        file.write(json.dumps(document))
    restore: list[str] = []
    if revival:
        revival.fill(f"{bundle.folder}/shm")
        restore = [revival.folder, *revival.arguments]
    return conmon.create(
        ctx.settings, runtime, config, bundle, log=log, no_cgroups=no_cgroups, reserved=reserved,
        preserve=preserve.fds if preserve else [], restore=restore,
    )  # fmt: skip


def _mount_source(container: Container, position: int, identity: users.Identity) -> str:
    """The path on the host of a mount; overlays and images are mounted in the bundle, where `release_all` unmounts them."""
    ctx, mount = container.ctx, container.config.mounts[position]
    folder = f"{container.bundle.folder}/mounts/{position}"
    if mount.kind == "image":
        return _mount_image(container, mount, folder)
    if mount.kind == "artifact":
        from podling.core import artifacts

        return artifacts.lay_out(ctx, mount.source, f"{folder}/merged", mount.subpath)
    source = mount.source or volumes.path_of(ctx, mount.name)
    if mount.subpath:
        problem = f"--mount subpath={mount.subpath}: the volume {mount.name} has no such path"
        source = _pinned(source, mount.subpath, problem, folder)
    if "O" in mount.options:
        for name in ("upper", "work", "merged"):
            os.makedirs(f"{folder}/{name}", 0o755, exist_ok=True)
        kept = dict(option.partition("=")[::2] for option in mount.options if "=" in option)
        upper, work = kept.get("upperdir", f"{folder}/upper"), kept.get("workdir", f"{folder}/work")
        data = f"lowerdir={source},upperdir={upper},workdir={work}" + (",userxattr" if in_user_namespace() else "")
        data += calls.context_option(container.config.security.mount_label)
        calls.mount("overlay", f"{folder}/merged", "overlay", 0, data)
        source = f"{folder}/merged"
    if "U" in mount.options:
        owners = container.owners
        _give(source, *(owners.outward(identity.uid, identity.gid) if owners else (identity.uid, identity.gid)))
    return source


def _mount_image(container: Container, mount: Mount, folder: str) -> str:
    """An image's file system for --mount type=image; with `rw` writes are lost at the end."""
    ctx = container.ctx
    layer = ctx.db.value("SELECT layer FROM images WHERE id=?", mount.name)
    if layer is None:
        raise InvalidInput(f"the image {mount.source} of a mount is gone", hint=f"podling pull {mount.source}")
    store = ctx.store
    keys = store.chain(layer)
    folders = [f"{store.folder(key)}/diff" for key in (keys if store.driver.independent else keys[:1])]
    for name in ("upper", "work", "merged"):
        os.makedirs(f"{folder}/{name}", 0o755, exist_ok=True)
    label = container.config.security.mount_label
    data = f"lowerdir={':'.join(folders)},upperdir={folder}/upper,workdir={folder}/work"
    calls.mount(
        "overlay",
        f"{folder}/merged",
        "overlay",
        0,
        data + (",userxattr" if in_user_namespace() else "") + calls.context_option(label),
    )
    if not mount.subpath:
        return f"{folder}/merged"
    problem = f"--mount subpath={mount.subpath}: the image {mount.source} has no such path"
    return _pinned(f"{folder}/merged", mount.subpath, problem, folder)


def _pinned(root: str, path: str, problem: str, folder: str) -> str:
    """A mount, in the bundle's `folder`, of what `path` is below `root`, out of which no link leads. The path itself will not do:
    another container that has the volume may put a link there before the runtime mounts it."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = calls.open_in_root(root_fd, path, os.O_PATH)
    except OSError:
        raise InvalidInput(problem) from None
    finally:
        os.close(root_fd)
    target = f"{folder}/part"
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(folder, exist_ok=True)
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        calls.mount(f"/proc/self/fd/{fd}", target, "", calls.MS_BIND | calls.MS_REC)
    finally:
        os.close(fd)
    return target


def _label(container: Container, files: dict[str, str], sources: dict[str, str]) -> None:
    """Give SELinux labels to what we made for the container, to its volumes, and to the mounts that ask for it (z, Z)."""
    from podling.linux import selinux

    label, folder = container.config.security.mount_label, container.bundle.folder
    for target, path in files.items():
        if path.startswith(f"{folder}/") and target != "/dev/shm":  # that one was mounted with it
            selinux.relabel(path, label)
    for mount in container.config.mounts:
        private, together = "Z" in mount.options, "z" in mount.options
        path = sources.get(mount.target, "")
        if not path or mount.kind not in ("bind", "volume") or "O" in mount.options:
            continue
        if private or together:
            selinux.relabel(path, label if private else selinux.shared(label))
        elif mount.kind == "volume" and selinux.type_of(selinux.label_of(path)) != selinux.type_of(label):
            selinux.relabel(path, selinux.shared(label))


def _give(path: str, uid: int, gid: int) -> None:
    """chown of a volume and all in it, through no link: option U."""
    try:
        for _, _, files, fd in os.fwalk(path, follow_symlinks=False):
            os.chown(fd, uid, gid)
            for name in files:
                os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
    except PermissionError as error:
        from podling.core import binds

        raise binds.not_given(path, uid, gid, error) from None


def _drop_cgroups(document: dict[str, Any]) -> None:
    document["linux"].pop("resources", None)
    document["linux"].pop("cgroupsPath", None)
    namespaces = document["linux"]["namespaces"]
    document["linux"]["namespaces"] = [item for item in namespaces if item["type"] != "cgroup"]
    document["mounts"] = [item for item in document["mounts"] if item["destination"] != "/sys/fs/cgroup"]


def _check_workdir(config: ContainerConfig, root: str, identity: users.Identity, owners: Owners | None) -> None:
    """The image's working folder is made when it is missing; one that the user names must be there."""
    from podling.linux.calls import open_in_root

    if config.workdir == "/" or any(config.workdir.startswith(mount.target) for mount in config.mounts):
        return
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(open_in_root(root_fd, config.workdir, os.O_PATH | os.O_DIRECTORY))
    except OSError:
        if not config.workdir_from_image:
            raise InvalidInput(
                f'workdir "{config.workdir}" does not exist on container {config.id}',
                hint="make it in the image, or mount something there",
            ) from None
        owner = identity.uid, identity.gid
        _make_folders(root_fd, config.workdir, owners.outward(*owner) if owners else owner)
    finally:
        os.close(root_fd)


def _make_folders(root_fd: int, path: str, owner: tuple[int, int]) -> None:
    from podling.linux.calls import open_in_root

    done = ""
    for part in path.strip("/").split("/"):
        parent = open_in_root(root_fd, done or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.mkdir(part, 0o755, dir_fd=parent)
            os.chown(part, *owner, dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            pass
        finally:
            os.close(parent)
        done = f"{done}/{part}"


# -- namespaces and network
def _joined(ctx: Context, config: ContainerConfig) -> tuple[dict[str, str], str]:
    """Namespaces that are joined by path, and where our own network namespace is ("" without one)."""
    from podling.network import netns

    join: dict[str, str] = {}
    modes = {
        "pid": config.pid_mode,
        "ipc": config.ipc_mode,
        "uts": config.uts_mode,
        "cgroup": config.cgroup_mode,
        "network": config.network,
    }
    for kind, mode in modes.items():
        if mode.startswith("ns:"):
            join[kind] = mode[3:]
        elif mode.startswith("container:"):
            other = _alive(ctx, mode[10:], kind)
            if kind == "ipc" and other.config.ipc_mode != "shareable":
                raise InvalidInput(
                    f"--ipc: container {other.name} does not share its IPC namespace",
                    hint="run it with --ipc=shareable",
                )
            join[kind] = f"/proc/{other.pid}/ns/{'net' if kind == 'network' else kind}"
    if config.userns and config.userns.mode.startswith(("ns:", "container:")):
        kind, _, rest = config.userns.mode.partition(":")
        join["user"] = rest if kind == "ns" else f"/proc/{_alive(ctx, rest, 'user').pid}/ns/user"
    path = ""
    if config.network in ("bridge", "pasta", "slirp4netns"):
        path = netns.path_of(config.id)
        netns.delete(path)
        if not config.userns:
            netns.create(path)
            join["network"] = path
    return join, path


def _alive(ctx: Context, name: str, kind: str) -> Container:
    """A container whose namespace is to be joined."""
    other = find(ctx, name)
    if not other.is_alive:
        raise WrongState(
            f"container {other.name}, whose {kind} namespace is to be joined, is not running",
            hint=f"podling start {other.name}",
        )
    return other


def port_mappings(config: ContainerConfig) -> list[dict[str, Any]]:
    """As netavark takes them."""
    return [
        {
            "container_port": port.container_port, "host_ip": port.host_ip, "host_port": port.host_port, "protocol": port.protocol,
            "range": port.span,
        }
        for port in config.ports
    ]  # fmt: skip


def _reserve(container: Container) -> list[int]:
    """Sockets on the ports that are to be published."""
    mappings = port_mappings(container.config)
    if not mappings or not (outer_uid() or containers.load().flag("engine", "enable_port_reservation", default=True)):
        return []
    from podling.network import ports

    return ports.reserve(mappings)


def _forward(container: Container, status: dict[str, Any], reserved: list[int]) -> None:
    """A user's published ports are passed on by a process of ours, which has their sockets from now on."""
    from podling.network import shared

    shared.forward(container.bundle.folder, port_mappings(container.config), addresses(status), reserved)
    while reserved:
        os.close(reserved.pop())


def _nothing() -> None:
    """Nothing is left to wait for."""


def _connect(container: Container, path: str) -> tuple[dict[str, Any], Callable[[], None]]:
    """Connect the namespace at `path` to the container's networks: (their status, as netavark describes it; what waits until it
    is done)."""
    mode = container.config.network
    if mode == "bridge":
        return _connect_bridges(container, path)
    return _connect_unprivileged(container, path) if mode in ("pasta", "slirp4netns") else ({}, _nothing)


def _connect_bridges(container: Container, path: str) -> tuple[dict[str, Any], Callable[[], None]]:
    from podling.network import backend, ipam, networks

    ctx, config = container.ctx, container.config
    mappings = port_mappings(config)
    status: dict[str, Any] = {}
    waiting: list[Callable[[], None]] = []
    for name in config.networks:
        for wait in waiting:  # one after the other: the first one's default route is the container's
            wait()
        network = networks.find(name)
        with ctx.db.write() as tx:
            tx.run("DELETE FROM leases WHERE container=? AND network=?", container.key, name)
            addresses = ipam.lease(tx, network, container.key, wanted_addresses(config, name))
        status[name], wait = backend.begin(
            ctx.settings, attachment_of(config, name, network, path, addresses, mappings)
        )
        waiting = [wait]
        with ctx.db.write() as tx:
            tx.update("containers", container.key, network=json.dumps(status))
    return status, waiting[0] if waiting else _nothing


def _connect_unprivileged(container: Container, path: str) -> tuple[dict[str, Any], Callable[[], None]]:
    """pasta or slirp4netns for a container, in the shape of netavark's status."""
    from podling.network import names, usermode

    # in the home, and not in the bundle: AppArmor lets pasta write its pid there alone
    config, folder = container.config, container.ctx.folder(container.id)
    os.makedirs(folder, 0o700, exist_ok=True)
    start = usermode.start_pasta if config.network == "pasta" else usermode.start_slirp
    section, key = ("network", "pasta_options") if config.network == "pasta" else ("engine", "network_cmd_options")
    arguments = config.network_arguments or containers.load().texts(section, key)
    link = start(folder, path, port_mappings(config), arguments)
    own = link.own or names.host_address()
    block = {
        "interfaces": {"tap0": {"subnets": [{"ipnet": own, "gateway": ""}] if own else []}},
        "dns_server_ips": [link.dns] if link.dns else [],
        "host": link.host,
    }
    return {config.network: block}, link.finish


def wanted_addresses(config: ContainerConfig, name: str) -> list[str]:
    """The addresses that were asked for on a network; --ip is for the first one."""
    own = list((config.network_options.get(name) or {}).get("ips") or ())
    return own or ([config.ip] if config.ip and name == config.networks[0] else [])


def attachment_of(
    config: ContainerConfig,
    name: str,
    network: dict[str, Any],
    path: str,
    own: list[str],
    mappings: list[dict[str, Any]],
) -> Attachment:
    """A container on one of its networks, as netavark takes it. Ports are published through the first network."""
    from podling.network.netavark import Attachment

    wanted = config.network_options.get(name) or {}
    position = config.networks.index(name)
    return Attachment(
        container=config.id, name=config.name, netns=path, network=network, addresses=own,
        interface=wanted.get("interface") or f"eth{position}",
        mac=wanted.get("mac") or (config.mac if position == 0 else ""),
        aliases=[config.id[:12], *(wanted.get("aliases") or ())] if network.get("dns_enabled") else [],
        servers=config.dns if network.get("dns_enabled") else [],
        ports=mappings if position == 0 else [],
    )  # fmt: skip


def _name_holder(ctx: Context, container: Container, error: PortInUse) -> None:
    """Say which of our containers has the port."""
    from podling.core.containers import every

    for other in every(ctx, "ports <> '' AND status IN ('running', 'paused', 'stopping', 'initialized')"):
        for port in other.config.ports:
            for mine in container.config.ports:
                if other.key != container.key and port.host_port == mine.host_port and port.protocol == mine.protocol:
                    error.hint = f"container {other.name} publishes it"


def addresses(status: dict[str, Any]) -> list[str]:
    """The container's own addresses in netavark's status."""
    return [
        str(subnet["ipnet"]).partition("/")[0]
        for block in status.values()
        for interface in (block.get("interfaces") or {}).values()
        for subnet in interface.get("subnets") or ()
    ]
