"""Another engine's world, read without changing it: what Podman's store has, for `system migrate-from`.

Podman's objects are JSON documents in `db.sql` (SQLite, from 4.8 on) or `libpod/bolt_state.db`. Containers and pods become documents of
its own API (SpecGenerator), which our API reads; images are those of containers/storage.
"""

from __future__ import annotations

import base64
import os

from podling.core.specgen import is_given
from podling.errors import InvalidInput, StateError
from podling.oci import json
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

    from podling.core.context import Context

_CAPABILITIES = frozenset(
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT".split()
)
_NAMESPACES = {
    "net": "sharesNet",
    "ipc": "sharesIpc",
    "uts": "sharesUts",
    "pid": "sharesPid",
    "cgroup": "sharesCgroupNs",
    "user": "sharesUser",
}
_PAUSE = "localhost/podman-pause:"
_DEFAULT_NETWORK = "podman"
_INIT = ("/run/podman-init", "/dev/init")
_TMPFS_OF_READ_ONLY = ("/tmp", "/var/tmp", "/run", "/dev/shm")


class ForeignVolume(Record):
    name: str
    path: str
    labels: dict[str, str] = {}
    driver: str = "local"
    options: dict[str, str] = {}
    uid: int = 0
    gid: int = 0
    anonymous: bool = False


class ForeignSecret(Record):
    """`data` is base64, "" where another driver than `file` keeps it."""

    name: str
    driver: str = "file"
    labels: dict[str, str] = {}
    data: str = ""


class World(Record):
    """What a store has. Images by id, with their names; pods and containers as documents of Podman's API."""

    nested: ClassVar = {"volumes": ForeignVolume, "secrets": ForeignSecret}

    root: str
    #: podman or docker, of whose API the documents are
    engine: str = "podman"
    images: dict[str, list[str]] = {}
    volumes: list[ForeignVolume] = []
    secrets: list[ForeignSecret] = []
    pods: list[dict[str, Any]] = []
    containers: list[dict[str, Any]] = []
    #: fields of `network create`; Podman's are files that both engines share
    networks: list[dict[str, Any]] = []
    #: what does not come along as it was
    notes: list[str] = []


def read(root: str) -> World:
    """
    Raises:
        InvalidInput: there is no store of Podman's in `root`. StateError: it is damaged.
    """
    from podling.registry.containers_storage import Store
    from podling.registry.transports import default_store

    root = os.path.abspath(root or default_store())
    store = Store(root)
    found = World(root=root)
    for id, names in store.names().items():
        if any(name.startswith(_PAUSE) for name in names):
            continue
        kept = store.load(id)
        if kept.config:  # a manifest list has none: its images have entries of their own
            found.images[id] = names
        else:
            found.notes.append(
                f"{names[0] if names else id[:12]} is a manifest list: its images come along, the list does not"
            )
    documents = _Documents(root)
    found.volumes = [_volume(root, document) for document in documents.volumes()]
    found.secrets = _secrets(root)
    _containers(found, documents)
    return found


# -- documents
class _Documents:
    """Podman's own database."""

    def __init__(self, root: str) -> None:
        self._sql = next((path for path in (f"{root}/db.sql",) if os.path.exists(path)), "")
        self._bolt = f"{root}/libpod/bolt_state.db"
        if self._sql and os.path.exists(self._bolt) and not self._rows("SELECT 1 FROM ContainerConfig LIMIT 1"):
            self._sql = ""

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        import sqlite3

        error: Exception | None = None
        for mode in ("mode=ro", "mode=ro&immutable=1"):  # the second where not even its shared memory may be made
            try:
                connection = sqlite3.connect(f"file:{self._sql}?{mode}", uri=True)
                try:
                    return connection.execute(query).fetchall()
                finally:
                    connection.close()
            except sqlite3.Error as failure:
                error = failure
        raise StateError(f"{self._sql}: {error}")

    def _all(self, table: str, bucket: str) -> list[dict[str, Any]]:
        if self._sql:
            return [json.loads(document) for (document,) in self._rows(f"SELECT JSON FROM {table}")]
        if not os.path.exists(self._bolt):
            return []
        from podling.core.boltdb import Bolt

        bolt = Bolt(self._bolt)
        return [json.loads(bolt.bucket(bucket, name)["config"]) for name in bolt.buckets(bucket)]

    def containers(self) -> list[dict[str, Any]]:
        return self._all("ContainerConfig", "ctr")

    def pods(self) -> list[dict[str, Any]]:
        return self._all("PodConfig", "pod")

    def volumes(self) -> list[dict[str, Any]]:
        return self._all("VolumeConfig", "vol")


def _volume(root: str, document: dict[str, Any]) -> ForeignVolume:
    name = str(document["name"])
    return ForeignVolume(
        name=name, path=str(document.get("mountPoint") or f"{root}/volumes/{name}/_data"), labels=document.get("labels") or {},
        driver=str(document.get("volumeDriver") or "local"), options=document.get("volumeOptions") or {},
        uid=int(document.get("uid") or 0), gid=int(document.get("gid") or 0), anonymous=bool(document.get("isAnon")),
    )  # fmt: skip


def _secrets(root: str) -> list[ForeignSecret]:
    try:
        with open(f"{root}/secrets/secrets.json") as file:
            known = json.loads(file.read()).get("secrets") or {}
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise StateError(f"{root}/secrets/secrets.json: {error}") from None
    found = []
    for id, entry in known.items():
        secret = ForeignSecret(
            name=str(entry["name"]), driver=str(entry.get("driver") or "file"), labels=entry.get("labels") or {}
        )
        place = str((entry.get("driverOptions") or {}).get("path") or f"{root}/secrets/filedriver")
        if secret.driver == "file":
            try:
                with open(f"{place}/secretsdata.json") as file:
                    secret.data = str(json.loads(file.read()).get(id) or "")
                base64.b64decode(secret.data)
            except (OSError, ValueError):
                secret.data = ""
        found.append(secret)
    return found


# -- containers and pods
def _containers(world: World, documents: _Documents) -> None:
    made = documents.containers()
    names = {str(document["id"]): str(document["name"]) for document in made}
    pods = {str(document["id"]): document for document in documents.pods()}
    infra = {
        str(document.get("pod")): document for document in made if document.get("pause") or document.get("isInfra")
    }
    for id, document in pods.items():
        world.pods.append(_pod(world, document, infra.get(id), names))
    for document in made:
        if not (document.get("pause") or document.get("isInfra") or document.get("isService")):
            spec = container(world, document, names)
            if document.get("pod"):
                _in_pod(spec, pods.get(str(document["pod"])) or {})
            world.containers.append(spec)
    world.containers.sort(key=_others)  # those whose namespaces others join come first


def _others(spec: dict[str, Any]) -> bool:
    """Whether it joins another container's namespaces."""
    return any((spec.get(key) or {}).get("nsmode") == "container" for key in ("netns", "pidns", "ipcns", "utsns"))


def _pod(world: World, document: dict[str, Any], infra: dict[str, Any] | None, names: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": document["name"], "labels": document.get("labels") or {}, "exit_policy": document.get("ExitPolicy") or "",
        "restart_policy": document.get("RestartPolicy") or "", "no_infra": not document.get("hasInfra"),
        "shared_namespaces": [name for name, key in _NAMESPACES.items() if document.get(key)],
    }  # fmt: skip
    if infra:
        inner = container(world, infra, names)
        taken = (
            "sysctl userns idmappings netns networks portmappings dns_server dns_search dns_option hostadd no_manage_hosts mounts volumes "
            "resource_limits shm_size"
        ).split()
        found |= {key: inner[key] for key in taken if key in inner}
    return {key: value for key, value in found.items() if is_given(value)}


def _in_pod(spec: dict[str, Any], pod: dict[str, Any]) -> None:
    """A member gets what it shares from its pod."""
    spec["pod"] = pod.get("name") or ""
    for key in (
        "netns",
        "networks",
        "pidns",
        "ipcns",
        "utsns",
        "userns",
        "cgroupns",
        "portmappings",
        "hostadd",
        "hostname",
    ):
        spec.pop(key, None)


def container(world: World, document: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The SpecGenerator that makes a container like the one that `document` (libpod's ContainerConfig) describes; `names` of all by id."""
    spec = document.get("spec") or {}
    process, linux = spec.get("process") or {}, spec.get("linux") or {}
    notes = {str(key): str(value) for key, value in (spec.get("annotations") or {}).items()}
    id, name = str(document["id"]), str(document["name"])
    env = dict(text.partition("=")[::2] for text in process.get("env") or ())
    for key, value in (("container", "podman"), ("HOSTNAME", env.get("HOSTNAME", ""))):
        if env.get(key) == value:
            env.pop(key, None)
    root = spec.get("root") or {}
    hostname = str(spec.get("hostname") or "")
    found: dict[str, Any] = {
        "name": name,
        "image": document.get("rootfsImageName") or document.get("rootfsImageID") or "",
        "rootfs": document.get("rootfs") or "",
        "entrypoint": document.get("entrypoint") or [],
        "command": document.get("command") or [],
        "env": env,
        "labels": document.get("labels") or {},
        "annotations": {
            key: value for key, value in notes.items() if not key.startswith(("io.podman.", "io.container."))
        },
        "work_dir": process.get("cwd") or "",
        "user": document.get("user") or "",
        "groups": document.get("groups") or [],
        "hostname": "" if id.startswith(hostname) else hostname,
        "terminal": bool(process.get("terminal")),
        "stdin": bool(document.get("stdin")),
        "stop_signal": document.get("stopSignal") or None,
        "stop_timeout": document.get("stopTimeout") or 0,  # libpod leaves zeros out
        "timeout": document.get("timeout") or 0,
        "remove": notes.get("io.podman.annotations.autoremove") == "TRUE",
        "init": notes.get("io.podman.annotations.init") == "TRUE",
        "read_only_filesystem": bool(root.get("readonly")),
        "read_write_tmpfs": bool(root.get("readonly")) and document.get("readWriteTmpfs") is not False,
        "umask": document.get("umask") or "",
        "timezone": document.get("timezone") or "",
        "systemd": "always" if document.get("systemd") else "",
        "sdnotifyMode": document.get("sdnotifyMode") or "",
        "oom_score_adj": process.get("oomScoreAdj") or 0,
        "sysctl": {
            key: value for key, value in (linux.get("sysctl") or {}).items() if key != "net.ipv4.ping_group_range"
        },
        "restart_policy": document.get("restart_policy") or "",
        "restart_tries": document.get("restart_retries") or 0,
        "shm_size": document.get("shmSize"),
        "devices": [{"path": item.get("path")} for item in document.get("device_host_src") or ()],
        "r_limits": [
            {**item, "type": str(item.get("type", "")).removeprefix("RLIMIT_").lower()}
            for item in process.get("rlimits") or ()
        ],
        "resource_limits": {
            key: value
            for key, value in (linux.get("resources") or {}).items()
            if key in ("memory", "cpu", "pids", "blockIO")
        },
        "log_configuration": _log(document),
        "healthconfig": document.get("healthcheck"),
        "startupHealthConfig": document.get("startupHealthCheck"),
        "health_check_on_failure_action": document.get("healthcheck_on_failure_action"),
        "secrets": [
            {"Source": item.get("name"), **{key: item.get(key) for key in ("Target", "UID", "GID", "Mode")}}
            for item in document.get("secrets") or ()
        ],
        "secret_env": {
            key: value.get("name")
            for key, value in (document.get("env_secrets") or document.get("envSecrets") or {}).items()
        },
        **_security(document, spec, notes),
        **_networks(world, document, names),
        **_mounts(document, spec),
        **_namespaces(document, linux, names),
    }
    return {key: value for key, value in found.items() if is_given(value)}


def _log(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"driver": document.get("logDriver") or ""}
    if int(document.get("logSize") or 0) > 0:
        found["size"] = document["logSize"]
    if document.get("logTag"):
        found["options"] = {"tag": document["logTag"]}
    return found


def _security(document: dict[str, Any], spec: dict[str, Any], notes: dict[str, str]) -> dict[str, Any]:
    process, linux = spec.get("process") or {}, spec.get("linux") or {}
    found: dict[str, Any] = {
        "privileged": bool(document.get("privileged")),
        "no_new_privileges": bool(process.get("noNewPrivileges")),
    }
    if found["privileged"]:
        return found
    has = {name.removeprefix("CAP_") for name in (process.get("capabilities") or {}).get("bounding") or ()}
    found |= {"cap_add": sorted(has - _CAPABILITIES), "cap_drop": sorted(_CAPABILITIES - has)}
    profile = notes.get("io.podman.annotations.seccomp", "")
    found["seccomp_profile_path"] = profile or ("" if linux.get("seccomp") else "unconfined")
    apparmor = str(process.get("apparmorProfile") or "")
    found["apparmor_profile"] = "" if apparmor.startswith("containers-default") else apparmor
    if spec.get("linux", {}).get("mountLabel"):
        found["selinux_opts"] = document.get("labelopts") or []
    return found


def _networks(world: World, document: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    mode = str(document.get("networkMode") or ("bridge" if document.get("createNetNS") else ""))
    name, _, value = mode.partition(":")
    found: dict[str, Any] = {
        "portmappings": document.get("newPortMappings") or document.get("portMappings") or [],
        "dns_server": document.get("dnsServer") or [], "dns_search": document.get("dnsSearch") or [],
        "dns_option": document.get("dnsOption") or [], "hostadd": document.get("hostsAdd") or [],
        "no_manage_hosts": bool(document.get("UseImageHosts")),
    }  # fmt: skip
    if document.get("netNsCtr"):
        found["netns"] = {
            "nsmode": "container",
            "value": names.get(str(document["netNsCtr"]), str(document["netNsCtr"])),
        }
    elif name and name != "default":
        found["netns"] = {"nsmode": name, **({"value": value} if value and name == "ns" else {})}
    for network, options in (document.get("newNetworks") or {}).items() if name in ("bridge", "") else ():
        wanted = {key: options.get(key) for key in ("static_ips", "static_mac", "interface_name") if options.get(key)}
        wanted["aliases"] = [
            alias for alias in options.get("aliases") or () if not str(document["id"]).startswith(alias)
        ]
        if network == _DEFAULT_NETWORK:  # ours has another subnet, and no names
            if wanted.pop("static_ips", None):
                world.notes.append(f"container {document['name']} gets another address on the default network")
            wanted.pop("aliases", None)
        found.setdefault("networks", {})[network] = wanted
    return found


def _mounts(document: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    given = document.get("readWriteTmpfs") is not False and (spec.get("root") or {}).get("readonly")
    own = str(document.get("staticDir") or "\0")
    mounts = []
    for mount in spec.get("mounts") or ():
        target, kind, options = str(mount.get("destination")), str(mount.get("type")), list(mount.get("options") or ())
        if kind == "tmpfs" and target != "/dev" and not (given and target in _TMPFS_OF_READ_ONLY):
            mounts.append({"type": "tmpfs", "destination": target, "options": _plain(options)})
        elif kind == "bind" and target not in _INIT and not str(mount.get("source")).startswith(own):
            mounts.append(
                {"type": "bind", "source": mount.get("source"), "destination": target, "options": _plain(options)}
            )
    volumes = [
        {
            "Name": item.get("volumeName"), "Dest": item.get("dest"), "Options": _plain(item.get("options") or []),
            "SubPath": item.get("subPath") or "", "IsAnonymous": bool(item.get("isAnonymous")),
        }
        for item in document.get("namedVolumes") or ()
    ]  # fmt: skip
    overlays = [
        {"source": item.get("source"), "destination": item.get("dest")} for item in document.get("overlayVolumes") or ()
    ]
    images = [
        {"Source": item.get("source"), "Destination": item.get("dest"), "ReadWrite": bool(item.get("readWrite"))}
        for item in document.get("ctrImageVolumes") or document.get("imageVolumes") or ()
        if isinstance(item, dict)
    ]
    return {"mounts": mounts, "volumes": volumes, "overlay_volumes": overlays, "image_volumes": images}


def _plain(options: list[str]) -> list[str]:
    """Without what every mount gets."""
    return [
        option
        for option in options
        if option not in ("rw", "rprivate", "rbind", "nosuid", "nodev", "tmpcopyup", "bind", "private")
    ]


def _namespaces(document: dict[str, Any], linux: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    own = {item.get("type"): item.get("path") for item in linux.get("namespaces") or ()}
    found: dict[str, Any] = {}
    for key, kind, joined in (
        ("pidns", "pid", "pidNsCtr"), ("ipcns", "ipc", "ipcNsCtr"), ("utsns", "uts", "utsNsCtr"), ("cgroupns", "cgroup", "cgroupNsCtr"),
    ):  # fmt: skip
        if document.get(joined):
            found[key] = {"nsmode": "container", "value": names.get(str(document[joined]), str(document[joined]))}
        elif own and kind not in own and kind != "cgroup":
            found[key] = {"nsmode": "host"}
    mapped = document.get("idMappingsOptions") or {}
    if mapped.get("AutoUserNs"):
        found["userns"] = {"nsmode": "auto"}
    elif mapped.get("UIDMap") and not mapped.get("HostUIDMapping"):
        found["idmappings"] = {key: mapped.get(key) for key in ("UIDMap", "GIDMap")}
    return found


# -- taking over
def take_image(ctx: Context, engine: str, root: str, id: str, names: list[str]) -> str:
    """Copy an image out of another engine's store, and give it its names; its id here."""
    from podling.core import images
    from podling.core.archives import store_source
    from podling.oci.image import host_platform
    from podling.registry.containers_storage import Store
    from podling.registry.docker_storage import DockerStore

    source = DockerStore(root).image(id) if engine == "docker" else Store(root).image(id, host_platform())
    own = store_source(ctx, source, [], action="pull")
    if names:
        images.tag(ctx, own, names)
    return own


def take_volume(ctx: Context, wanted: ForeignVolume) -> None:
    """Make a volume like another engine's, with its content."""
    from podling.core import volumes
    from podling.core.store_options import VolumeOptions
    from podling.storage.drivers import copy_tree

    options = VolumeOptions(
        driver=wanted.driver, options=[f"{key}={value}" for key, value in wanted.options.items()],
        labels=[f"{key}={value}" for key, value in wanted.labels.items()], uid=wanted.uid, gid=wanted.gid,
    )  # fmt: skip
    made = volumes.create(ctx, wanted.name, options)
    if made.is_mount:
        return
    if not os.path.isdir(wanted.path):
        raise InvalidInput(f"volume {wanted.name}: its folder {wanted.path} is not there")
    try:
        copy_tree(wanted.path, made.path)
        with ctx.db.write() as tx:
            tx.update("volumes", made.key, filled=1)
    except BaseException:
        volumes.remove(ctx, made.name, force=False)
        raise


def take_secret(ctx: Context, wanted: ForeignSecret) -> None:
    """Keep another engine's secret.

    Raises:
        InvalidInput: it is not in a file of that engine's.
    """
    from podling.core import secrets
    from podling.core.store_options import SecretOptions

    if not wanted.data:
        raise InvalidInput(
            f"secret {wanted.name} is kept by the driver {wanted.driver}: it is not in the store",
            hint=f"podling secret create --driver {wanted.driver} {wanted.name} FILE",
        )
    labels = [f"{key}={value}" for key, value in wanted.labels.items()]
    secrets.create(ctx, wanted.name, base64.b64decode(wanted.data), SecretOptions(labels=labels))
