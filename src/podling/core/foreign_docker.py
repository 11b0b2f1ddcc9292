"""What a Docker daemon's data root has, for `system migrate-from docker`. Containers become bodies of its own `POST /containers/create`."""

from __future__ import annotations

import os

from podling.core.boltdb import Bolt
from podling.core.foreign import ForeignVolume, World
from podling.errors import StateError
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OWN_NETWORKS = ("bridge", "host", "none")
_NETWORKS = "docker/network/v1.0/network/"
#: libkv puts a number before each document
_COUNTER = 8


def read(root: str) -> World:
    """
    Raises:
        InvalidInput: there is no store of Docker's in `root`. StateError: it is damaged.
    """
    from podling.registry.docker_storage import DockerStore

    root = os.path.abspath(root or "/var/lib/docker")
    store = DockerStore(root)
    found = World(root=root, engine="docker")
    found.volumes = _volumes(root)
    found.networks = _networks(found)
    used = set()
    for name in sorted(_names(f"{root}/containers")):
        document = _document(f"{root}/containers/{name}/config.v2.json")
        used.add(str(document.get("Image")).partition(":")[2])
        found.containers.append(_container(document, _document(f"{root}/containers/{name}/hostconfig.json")))
    # steps of builds have neither a name nor a container
    found.images = {id: names for id, names in store.names().items() if names or id in used}
    return found


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _document(path: str) -> dict[str, Any]:
    try:
        with open(path) as file:
            found: dict[str, Any] = json.loads(file.read().strip())
            return found
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: {error}") from None


def _volumes(root: str) -> list[ForeignVolume]:
    metadata = f"{root}/volumes/metadata.db"
    if not os.path.exists(metadata):
        return []
    found = []
    for name, text in sorted(Bolt(metadata).bucket("volumes").items()):
        entry = json.loads(text)
        found.append(
            ForeignVolume(
                name=name, path=f"{root}/volumes/{name}/_data", labels=entry.get("Labels") or {},
                driver=str(entry.get("Driver") or "local"), options=entry.get("Options") or {}, anonymous=len(name) == 64,
            )
        )  # fmt: skip
    return found


def _networks(world: World) -> list[dict[str, Any]]:
    """Fields of our own `network create`."""
    path = f"{world.root}/network/files/local-kv.db"
    if not os.path.exists(path):
        return []
    found = []
    for key, text in Bolt(path).bucket("libnetwork").items():
        if not key.startswith(_NETWORKS):
            continue
        entry = json.loads(text[_COUNTER:])
        if entry.get("name") in _OWN_NETWORKS:
            continue
        driver = str(entry.get("networkType"))
        if driver not in ("bridge", "macvlan", "ipvlan"):
            world.notes.append(f"network {entry.get('name')} has the driver {driver}, which there is not here")
            continue
        pools = [
            pool for field in ("ipamV4Config", "ipamV6Config") for pool in json.loads(entry.get(field) or "[]") or ()
        ]
        whole = all(pool.get("PreferredPool") and pool.get("Gateway") for pool in pools)
        found.append(
            {
                "name": entry["name"], "driver": driver, "internal": bool(entry.get("internal")), "ipv6": bool(entry.get("enableIPv6")),
                "labels": [f"{name}={value}" for name, value in (entry.get("labels") or {}).items()],
                "subnets": [str(pool["PreferredPool"]) for pool in pools if pool.get("PreferredPool")],
                "gateways": [str(pool["Gateway"]) for pool in pools] if whole else [],
            }
        )  # fmt: skip
    return found


def _container(document: dict[str, Any], host: dict[str, Any]) -> dict[str, Any]:
    """A body of `POST /containers/create`, with the container's name in `Name`."""
    body: dict[str, Any] = dict(document.get("Config") or {})
    id, name = str(document["ID"]), str(document["Name"]).lstrip("/")
    if id.startswith(str(body.get("Hostname") or "\0")):
        body.pop("Hostname")
    if body.get("Entrypoint") is None:
        body.pop("Entrypoint", None)
    host.pop("Runtime", None)
    bound = {text.split(":")[1] for text in host.get("Binds") or () if ":" in text}
    bound |= {item.get("Target") for item in host.get("Mounts") or ()}
    for target, mount in (document.get("MountPoints") or {}).items():
        if mount.get("Type") == "volume" and target not in bound:  # an anonymous one comes along too
            host["Binds"] = [*(host.get("Binds") or ()), f"{mount['Name']}:{target}"]
            (body.get("Volumes") or {}).pop(target, None)
    endpoints = (document.get("NetworkSettings") or {}).get("Networks") or {}
    wanted = {
        network: {"IPAMConfig": (entry or {}).get("IPAMConfig"), "Aliases": (entry or {}).get("Aliases")}
        for network, entry in endpoints.items()
        if network not in _OWN_NETWORKS
    }
    body["HostConfig"] = host
    if wanted:
        body["NetworkingConfig"] = {"EndpointsConfig": wanted}
    body["Name"] = name
    return body
