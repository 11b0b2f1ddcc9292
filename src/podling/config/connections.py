"""Services that have names: `podman-connections.json`, Podman's own file, and [engine.service_destinations] of containers.conf."""

from __future__ import annotations

import os

from podling.config import containers
from podling.errors import InvalidInput, NameInUse, NotFound
from podling.oci import json
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Connection(Record):
    """`writable`: it stands in our file, not in containers.conf. Paths of PEM files and of an ssh key."""

    name: str
    uri: str
    identity: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    default: bool = False
    writable: bool = True


_KEYS = {"uri": "URI", "identity": "Identity", "tls_ca": "TLSCA", "tls_cert": "TLSCert", "tls_key": "TLSKey"}


def path() -> str:
    """PODMAN_CONNECTIONS_CONF, else the user's."""
    named = os.environ.get("PODMAN_CONNECTIONS_CONF", "")
    if named:
        return named
    home = os.environ.get("XDG_CONFIG_HOME") or f"{os.environ.get('HOME') or '/root'}/.config"
    return f"{home}/containers/podman-connections.json"


def _read() -> dict[str, Any]:
    try:
        with open(path()) as file:
            document: dict[str, Any] = json.loads(file.read())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path()}: {getattr(error, 'strerror', None) or error}") from None
    return document


def _write(document: dict[str, Any]) -> None:
    place = path()
    os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
    partial = f"{place}.{os.getpid()}"
    with open(partial, "w") as file:
        file.write(json.dumps(document))
    os.rename(partial, place)


def every() -> list[Connection]:
    """All connections by name."""
    section = _read().get("Connection") or {}
    configuration = containers.load()
    default = section.get("Default") or configuration.text("engine", "active_service")
    found: dict[str, Connection] = {}
    for name, values in (configuration.get("engine", "service_destinations") or {}).items():
        lower = {str(key).lower(): str(value) for key, value in values.items()}
        found[name] = Connection(
            name=name, uri=lower.get("uri", ""), identity=lower.get("identity", ""), tls_ca=lower.get("tls_ca", ""),
            tls_cert=lower.get("tls_cert", ""), tls_key=lower.get("tls_key", ""), writable=False,
        )  # fmt: skip
    for name, values in (section.get("Connections") or {}).items():
        found[name] = Connection(name=name, uri="")
        found[name].__dict__.update({field: str(values.get(key) or "") for field, key in _KEYS.items()})
    for connection in found.values():
        connection.default = connection.name == default
    return sorted(found.values(), key=lambda connection: connection.name)


def find(name: str) -> Connection:
    """Raises NotFound."""
    for connection in every():
        if connection.name == name:
            return connection
    raise NotFound(f'connection "{name}" not found', hint="`podling system connection list` lists them")


def default() -> Connection | None:
    return next((connection for connection in every() if connection.default), None)


def add(connection: Connection, farm: str = "") -> None:
    """Keep a connection; the first one is the default. It joins a farm, a list of connections that Podman's builds use.

    Raises:
        NameInUse.
    """
    document = _read()
    section = document.setdefault("Connection", {})
    known = section.setdefault("Connections", {})
    if connection.name in known:
        raise NameInUse(
            f'a connection is called "{connection.name}" already', hint="podling system connection remove NAME"
        )
    known[connection.name] = {
        key: getattr(connection, field) for field, key in _KEYS.items() if getattr(connection, field)
    }
    if connection.default or len(known) == 1:
        section["Default"] = connection.name
    farms = document.setdefault("Farm", {})
    if farm:
        members = farms.setdefault("List", {}).setdefault(farm, [])
        members.append(connection.name)
        farms["Default"] = farms.get("Default") or farm
    _write(document)


def make_default(name: str) -> None:
    find(name)
    document = _read()
    document.setdefault("Connection", {})["Default"] = name
    _write(document)


def _ours(document: dict[str, Any], name: str) -> dict[str, Any]:
    known: dict[str, Any] = (document.get("Connection") or {}).get("Connections") or {}
    if name not in known:
        if not find(name).writable:
            raise InvalidInput(f'connection "{name}" stands in containers.conf: change it there')
        raise NotFound(f'connection "{name}" not found')
    return known


def rename(old: str, new: str) -> None:
    document = _read()
    known = _ours(document, old)
    if new in known:
        raise NameInUse(f'a connection is called "{new}" already')
    known[new] = known.pop(old)
    if document["Connection"].get("Default") == old:
        document["Connection"]["Default"] = new
    for members in ((document.get("Farm") or {}).get("List") or {}).values():
        members[:] = [new if member == old else member for member in members]
    _write(document)


def remove(name: str) -> None:
    document = _read()
    known = _ours(document, name)
    del known[name]
    if document["Connection"].get("Default") == name:
        document["Connection"]["Default"] = ""
    for members in ((document.get("Farm") or {}).get("List") or {}).values():
        if name in members:
            members.remove(name)
    _write(document)


def remove_all() -> None:
    document = _read()
    document["Connection"] = {"Default": "", "Connections": {}}
    _write(document)
