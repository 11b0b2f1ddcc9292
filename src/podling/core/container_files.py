"""The files that are made for a container and mounted over the image's: hosts, resolv.conf, hostname, secrets, …"""

from __future__ import annotations

import os

from podling.config import containers, mounts_conf
from podling.core import users
from podling.core.containers import Container, find
from podling.errors import InvalidInput
from podling.linux import calls
from podling.linux.proc import outer_uid
from podling.runtime.config import ContainerConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def write_files(container: Container, identity: users.Identity, status: dict[str, Any]) -> dict[str, str]:
    """hosts, resolv.conf, hostname, .containerenv and the init program: path inside to path on the host."""
    config, folder = container.config, container.bundle.folder
    files: dict[str, str] = {}

    def put(inside: str, name: str, text: str) -> None:
        files[inside] = _put(folder, name, text)

    files.update(write_names(container, status))
    hostname = _hostname(config)
    if config.uts_mode != "host" and not config.no_hostname:
        put("/etc/hostname", "hostname", hostname + "\n")
    image = f'image="{config.image}"\nimageid="{config.image_id}"\n' if config.security.privileged else ""
    identity_lines = f'engine="podling"\nname="{config.name}"\nid="{config.id}"\n' if config.security.privileged else ""
    put("/run/.containerenv", ".containerenv", identity_lines + image)
    if config.timezone:
        _timezone(config, files)
    _add_user(container, identity, put)
    if config.secrets:
        _put_secrets(container, files)
    for source, target in mounts_conf.entries(container.ctx.settings.default_mounts_file):
        if target not in files and target not in {mount.target for mount in config.mounts}:
            files[target] = _copied(source, f"{folder}/default-mounts/{len(files)}")
    if config.ipc_mode == "shareable":
        files["/dev/shm"] = _shared_memory(folder, config.shm_size, config.security.mount_label)
        if container.owners:
            os.chown(files["/dev/shm"], *container.owners.outward(0, 0))
    elif config.ipc_mode.startswith("container:"):
        files["/dev/shm"] = f"{find(container.ctx, config.ipc_mode[10:]).bundle.folder}/shm"
    owners = container.owners
    if owners:
        for path in files.values():
            if path.startswith(folder + "/") and os.path.isfile(path) and "/secrets/" not in path:
                os.chown(path, *owners.outward(0, 0))
    if config.init:
        from podling.config.settings import find_program

        files["/run/podman-init"] = config.init_path or find_program("catatonit")
    return files


def _put(folder: str, name: str, text: str) -> str:
    """Write a file of the bundle, into the same inode where it is there: it may be mounted in the container."""
    path = f"{folder}/{name}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
    return path


def _hostname(config: ContainerConfig) -> str:
    return config.hostname if config.uts_mode != "host" else os.uname().nodename


def write_names(container: Container, status: dict[str, Any]) -> dict[str, str]:
    """hosts and resolv.conf, as the networks in `status` want them: path inside to path on the host."""
    from podling.core.launch import addresses
    from podling.network import names

    config, folder = container.config, container.bundle.folder
    files: dict[str, str] = {}
    if config.network.startswith("container:") and not (config.dns or config.dns_search or config.dns_option):
        other = find(container.ctx, config.network[10:]).bundle.folder
        shared = {"/etc/resolv.conf": f"{other}/resolv.conf"}
        if not (config.no_hosts or config.add_hosts or config.hosts_file):
            shared["/etc/hosts"] = f"{other}/hosts"
        files = {target: path for target, path in shared.items() if os.path.exists(path)}
        if "/etc/hosts" in files:
            names.add_local(files["/etc/hosts"], config.name)
        if "/etc/hosts" in files or config.no_hosts:
            return files
    own = addresses(status)
    hostname = _hostname(config)
    host_address = ""
    if config.network == "bridge":
        gateways = [
            subnet.get("gateway", "")
            for block in status.values()
            for interface in (block.get("interfaces") or {}).values()
            for subnet in interface.get("subnets") or ()
        ]
        told = next((str(block["host"]) for block in status.values() if block.get("host")), "")
        host_address = told or next((gateway for gateway in gateways if gateway), "")
        host_address = host_address or names.host_address()
    elif config.network in ("pasta", "slirp4netns"):
        host_address = next((str(block.get("host") or "") for block in status.values()), "")
        if not host_address and names.host_address() not in own:
            host_address = names.host_address()
    wanted = containers.load().text("containers", "host_containers_internal_ip")
    host_address = "" if wanted == "none" else wanted or host_address
    if not config.no_hosts and config.hosts_file != "image":
        local = own or (["127.0.1.1"] if config.network != "host" else [])
        text = names.hosts(
            _base_hosts(config.hosts_file) if config.hosts_file else names.host_hosts(),
            own=local,
            names=[hostname, config.name] if local else [],
            host_address=host_address,
            added=config.add_hosts,
        )
        files["/etc/hosts"] = _put(folder, "hosts", text)
    if config.network != "none" and "/etc/resolv.conf" not in files:
        # aardvark-dns asks the container's own servers itself, so that names of containers go on working beside them
        servers = [server for block in status.values() for server in block.get("dns_server_ips") or ()] or config.dns
        # a network without names of its own, from which the host's servers may be out of reach
        servers = servers or [str(block["resolver"]) for block in status.values() if block.get("resolver")][:1]
        search = config.dns_search or [
            domain for block in status.values() for domain in block.get("dns_search_domains") or ()
        ]
        text = names.resolv(
            names.host_resolv(),
            servers=servers,
            search=search,
            options=config.dns_option,
            own_network=config.network in ("bridge", "pasta", "slirp4netns"),
        )
        files["/etc/resolv.conf"] = _put(folder, "resolv.conf", text)
    return files


def _base_hosts(path: str) -> str:
    if path == "none":
        return ""
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        raise InvalidInput(f"--hosts-file {path}: {error.strerror}") from None


def _add_user(container: Container, identity: users.Identity, put: Callable[[str, str, str], None]) -> None:
    """Lines in passwd and group for a user that the image does not know, or those that were asked for."""
    config = container.config
    keeps = config.userns is not None and config.userns.mode.startswith("keep-id")
    if not config.passwd or not (config.passwd_entry or config.group_entry or identity.unknown or config.host_users):
        return
    root = (
        container.ctx.store.driver.root(container.ctx.store.folder(container.layer))
        if container.layer
        else config.rootfs
    )
    values = {
        "USERNAME": identity.name, "UID": str(identity.uid), "GID": str(identity.gid), "NAME": identity.name, "HOME": config.workdir,
        "GROUPLIST": "",
    }  # fmt: skip
    known = users.files(root)
    entry = config.passwd_entry or (f"$USERNAME:*:$UID:$GID:{identity.name}:$HOME:/bin/sh" if identity.unknown else "")
    group = config.group_entry
    if keeps and identity.unknown and not config.passwd_entry:
        person = _person(outer_uid())
        entry = f"{person}:*:$UID:$GID:{person}:$HOME:/bin/sh"
        if not group and not any(line.split(":")[2:3] == [str(identity.gid)] for line in known[1].splitlines()):
            group = f"{person}:x:$GID:{person}"
    lines = [_filled(entry, values)] if entry else []
    for name in config.host_users:
        lines += _host_entry(name)
    if lines:
        put("/etc/passwd", "passwd", known[0] + "".join(line + "\n" for line in lines))
    if group:
        put("/etc/group", "group", known[1] + _filled(group, values) + "\n")


def _person(uid: int) -> str:
    """The name of a user of the host; the number where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _host_entry(name: str) -> list[str]:
    """The line in passwd for --hostuser; nothing when the user has gone since."""
    import pwd

    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        return []
    return [f"{entry.pw_name}:*:{entry.pw_uid}:{entry.pw_gid}:{entry.pw_gecos}:{entry.pw_dir}:{entry.pw_shell}"]


def _put_secrets(container: Container, files: dict[str, str]) -> None:
    """Secrets as files of the bundle, which lies where a reboot voids it."""
    from podling.core import secrets

    folder = f"{container.bundle.folder}/secrets"
    os.makedirs(folder, 0o700, exist_ok=True)
    for number, use in enumerate(container.config.secrets):
        if use.kind != "mount":
            continue
        path = f"{folder}/{number}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.reveal(container.ctx, secrets.find(container.ctx, use.id)))
            owners = container.owners
            os.fchown(file.fileno(), *(owners.outward(use.uid, use.gid) if owners else (use.uid, use.gid)))
            os.fchmod(file.fileno(), use.mode)
        files[use.target] = path


def secret_env(container: Container) -> dict[str, str]:
    """Variables whose values are secrets."""
    from podling.core import secrets

    return {
        use.target: secrets.reveal(container.ctx, secrets.find(container.ctx, use.id)).decode(
            "utf-8", "surrogateescape"
        )
        for use in container.config.secrets
        if use.kind == "env"
    }


def _copied(source: str, place: str) -> str:
    """A copy in the bundle: what a container writes there is its own."""
    from podling.storage.drivers import copy_tree

    os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
    copy_tree(source, place)
    return place


def _filled(text: str, values: dict[str, str]) -> str:
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(f"${name}", values[name])
    return text


def _shared_memory(folder: str, size: int, label: str) -> str:
    path = f"{folder}/shm"
    os.makedirs(path, 0o700, exist_ok=True)
    calls.mount(
        "shm",
        path,
        "tmpfs",
        calls.MS_NOSUID | calls.MS_NODEV | calls.MS_NOEXEC,
        f"mode=1777,size={size}{calls.context_option(label)}",
    )
    return path


def _timezone(config: ContainerConfig, files: dict[str, str]) -> None:
    path = "/etc/localtime" if config.timezone == "local" else f"/usr/share/zoneinfo/{config.timezone}"
    if ".." in config.timezone or not os.path.isfile(path):
        raise InvalidInput(f"--tz {config.timezone!r}: no such time zone")
    files["/etc/localtime"] = os.path.realpath(path)


def final_env(config: ContainerConfig, identity: users.Identity) -> dict[str, str]:
    """The environment, with what is known only when the container starts."""
    env = dict(config.env)
    env.setdefault("HOME", identity.home)
    env.setdefault("HOSTNAME", config.hostname if config.uts_mode != "host" else os.uname().nodename)
    if config.systemd:
        env.setdefault("container_uuid", config.id[:32])
    return env
