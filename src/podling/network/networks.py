"""Networks as Podman's JSON files describe them (/etc/containers/networks), and the built-in default one.

The default network is called `podman`, as users' scripts do, but has a bridge and a subnet of its own, because two engines
that hand out addresses of one subnet would give some of them twice. The files are Podman's: a network that it made works here,
and the reverse.
"""

from __future__ import annotations

import os

from podling.config import containers
from podling.config.settings import home_folder
from podling.errors import InvalidInput, NameInUse, NoSuchNetwork
from podling.linux.proc import outer_uid
from podling.network import places
from podling.oci import json
from podling.oci.record import Record
from podling.oci.reference import is_hex
from podling.state.locks import Locks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_AF_INET = 2
DEFAULT = "podman"


def folder() -> str:
    """Where the networks' files are, Podman's too: root's, or the user's."""
    chosen = containers.load().text("network", "network_config_dir")
    if chosen:
        return chosen
    uid = outer_uid()
    if not uid:
        return "/etc/containers/networks"
    data = os.environ.get("XDG_DATA_HOME") or f"{home_folder(uid)}/.local/share"
    return f"{data}/containers/storage/networks"


DRIVERS = ("bridge", "macvlan", "ipvlan")
_RESERVED = ("none", "host", "bridge", "container", "ns", "private", "slirp4netns", "pasta", "default")
_POOL = [f"10.{second}.{third}.0/24" for second in (89, 90, 91) for third in range(256)]


def _pools() -> Iterator[str]:
    """Subnets for new networks: ours, or those that containers.conf has."""
    from podling.network.ipam import Subnet, text_of

    pools = containers.load().get("network", "default_subnet_pools") or []
    if not pools:
        yield from _POOL
    for pool in pools:
        base, length = Subnet(str(pool["base"])), int(pool["size"])
        bits = 32 if base.family == _AF_INET else 128
        start = base.first - 1
        for number in range(min(1 << max(length - int(base.text.rpartition("/")[2]), 0), 65536)):
            yield f"{text_of(base.family, start + (number << (bits - length)))}/{length}"


def _default_subnet() -> dict[str, str]:
    """Ours, or the one of containers.conf."""
    text = containers.load().text("network", "default_subnet")
    if not text:
        return {"subnet": "10.87.0.0/16", "gateway": "10.87.0.1"}
    from podling.network.ipam import Subnet, text_of

    subnet = Subnet(text)
    return {"subnet": subnet.text, "gateway": text_of(subnet.family, subnet.first)}


def default_network() -> dict[str, Any]:
    """The network that is there without a file."""
    return {
        "name": DEFAULT,
        "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
        "driver": "bridge",
        "network_interface": "podling0",
        "created": "2026-01-01T00:00:00Z",
        "subnets": [_default_subnet()],
        "ipv6_enabled": False,
        "internal": False,
        "dns_enabled": False,
        "ipam_options": {"driver": "host-local"},
    }


# -- finding
def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path) as file:
            document: dict[str, Any] = json.loads(file.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(document, dict) or not document.get("name") or not document.get("driver"):
        raise InvalidInput(f"{path} describes no network")
    return document


def every() -> list[dict[str, Any]]:
    """All networks by name."""
    found = [default_network()]
    if os.path.isdir(folder()):
        for name in sorted(os.listdir(folder())):
            if name.endswith(".json"):
                document = _read(os.path.join(folder(), name))
                if document and document["name"] != DEFAULT:
                    found.append(document)
    return sorted(found, key=lambda network: str(network["name"]))


def find(name: str) -> dict[str, Any]:
    """The network called `name`, or whose id is or begins so.

    Raises:
        NoSuchNetwork; InvalidInput when its file is broken.
    """
    if name == DEFAULT:
        return default_network()
    document = _read(os.path.join(folder(), f"{os.path.basename(name)}.json"))
    if document is None and is_hex(name):
        fitting = [network for network in every() if str(network["id"]).startswith(name)]
        document = fitting[0] if len(fitting) == 1 else None
    if document is None:
        raise NoSuchNetwork(
            f"unable to find network with name or ID {name}: network not found",
            hint="`podling network ls` lists the networks; `podling network create` makes one",
        )
    if document["driver"] not in DRIVERS and not plugin(document["driver"]):
        raise InvalidInput(
            f"network {name}: there is no driver {document['driver']!r}, nor a plugin of that name",
            hint="plugins are looked for in netavark_plugin_dirs of containers.conf",
        )
    return document


def plugin(driver: str) -> str:
    """The program of a driver that is a plugin of netavark's (containers.conf: network.netavark_plugin_dirs); "" for none."""
    if "/" in driver:
        return ""
    paths = (f"{place}/{driver}" for place in containers.load().texts("network", "netavark_plugin_dirs"))
    return next((path for path in paths if os.access(path, os.X_OK) and os.path.isfile(path)), "")


# -- making
class NetworkSpec(Record):
    """What a new network shall be. Subnets, gateways and ranges belong together by position; options are KEY=VALUE."""

    name: str = ""
    driver: str = "bridge"
    subnets: list[str] = []
    gateways: list[str] = []
    ranges: list[str] = []
    interface: str = ""
    internal: bool = False
    ipv6: bool = False
    dns: bool = True
    dns_servers: list[str] = []
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    routes: list[str] = []
    ipam: str = ""


def create(spec: NetworkSpec) -> dict[str, Any]:
    """Make a network's file.

    Raises:
        NameInUse, InvalidInput.
    """
    if spec.driver not in DRIVERS and not plugin(spec.driver):
        raise InvalidInput(
            f"unsupported driver {spec.driver}: invalid argument",
            hint=f"the drivers are {', '.join(DRIVERS)}, and the plugins in netavark_plugin_dirs of containers.conf",
        )
    inner = spec.name.replace("_", "a").replace(".", "a").replace("-", "a")
    if spec.name and (not inner.isalnum() or not spec.name[0].isalnum() or not spec.name.isascii()):
        raise InvalidInput(f"network name {spec.name!r}: names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument")
    if spec.name in _RESERVED:
        raise InvalidInput(
            f"cannot create network with name {spec.name!r} because it conflicts with a valid network mode"
        )
    with Locks(places.locks()).hold("networks", 0):
        known = every()
        name = spec.name or _free_name(known)
        if any(network["name"] == name for network in known):
            raise NameInUse(
                f"network name {name} already used: network already exists", hint="choose another name, or --ignore"
            )
        document = _document(spec, name, known)
        os.makedirs(folder(), 0o755, exist_ok=True)
        path = os.path.join(folder(), f"{name}.json")
        with open(f"{path}.{os.getpid()}", "w") as file:
            file.write(json.pretty(document, 5))
        os.rename(f"{path}.{os.getpid()}", path)
    return document


def _free_name(known: list[dict[str, Any]]) -> str:
    taken = {network["name"] for network in known}
    return next(f"podman{number}" for number in range(1, 100_000) if f"podman{number}" not in taken)


def _document(spec: NetworkSpec, name: str, known: list[dict[str, Any]]) -> dict[str, Any]:
    from podling.oci.times import format_time
    from podling.state.database import now

    options = _options(spec)
    interface = spec.interface
    unmanaged = options.get("mode") == "unmanaged" and spec.driver == "bridge"
    if unmanaged:
        if not interface or not os.path.isdir(f"/sys/class/net/{interface}/bridge"):
            raise InvalidInput(
                f"bridge interface {interface} does not exist" if interface else "an unmanaged bridge needs a name",
                hint="mode=unmanaged is for a bridge of the host's own: --interface-name=BRIDGE",
            )
    elif spec.driver == "bridge":
        interface = interface or _free_interface(known)
        if any(network.get("network_interface") == interface for network in known):
            raise InvalidInput(f"bridge name {interface} already in use", hint="choose another with --interface-name")
    elif interface and spec.driver in DRIVERS and not os.path.exists(f"/sys/class/net/{interface}"):
        raise InvalidInput(f"parent interface {interface} does not exist")
    by_dhcp = spec.driver in ("macvlan", "ipvlan") and not spec.subnets
    ipam = spec.ipam or ("dhcp" if by_dhcp else "host-local")
    if ipam not in ("host-local", "dhcp", "none"):
        raise InvalidInput(f"unsupported ipam driver {ipam!r}: invalid argument", hint="host-local, dhcp or none")
    subnets = _subnets(spec, known) if ipam == "host-local" else []
    if spec.subnets and ipam != "host-local":
        raise InvalidInput(f"--subnet has no use with the ipam driver {ipam}")
    document: dict[str, Any] = {
        "name": name,
        "id": os.urandom(32).hex(),
        "driver": spec.driver,
        "created": format_time(now()),
        "ipv6_enabled": spec.ipv6 or any(":" in item["subnet"] for item in subnets),
        "internal": spec.internal,
        "dns_enabled": spec.dns
        and spec.driver == "bridge"
        and not unmanaged
        and not (spec.internal and ipam == "none"),
        "ipam_options": {"driver": ipam},
    }
    if interface:
        document["network_interface"] = interface
    if subnets:
        document["subnets"] = subnets
    if spec.dns_servers:
        document["network_dns_servers"] = spec.dns_servers
    if spec.labels:
        document["labels"] = spec.labels
    if options:
        document["options"] = options
    if spec.routes:
        document["routes"] = [_route(text) for text in spec.routes]
    return document if spec.driver in DRIVERS else _planned(plugin(spec.driver), document)


def _planned(program: str, document: dict[str, Any]) -> dict[str, Any]:
    """The document of a network as its plugin wants it (netavark's plugin API: `PLUGIN create`)."""
    from podling.linux.process import run

    outcome = run([program, "create"], stdin=json.dumps(document).encode(), capture=True)
    try:
        answer = json.loads(outcome.stdout)
    except ValueError:
        answer = None
    said = answer.get("error") if isinstance(answer, dict) else ""
    if outcome.code or said:
        raise InvalidInput(f"network plugin {program}: {said or outcome.message}")
    if not isinstance(answer, dict) or any(answer.get(key) != document[key] for key in ("name", "id", "driver")):
        raise InvalidInput(f"network plugin {program}: the answer to `create` does not describe the network")
    return answer


_KNOWN_OPTIONS = {
    "bridge": (
        "mtu", "vlan", "isolate", "metric", "mode", "no_default_route", "vrf",
        "com.docker.network.bridge.name", "com.docker.network.driver.mtu",
    ),
    "macvlan": ("mode", "parent", "mtu", "metric", "no_default_route", "bclim", "com.docker.network.driver.mtu"),
    "ipvlan": ("mode", "parent", "mtu", "metric", "no_default_route", "com.docker.network.driver.mtu"),
}  # fmt: skip


def _options(spec: NetworkSpec) -> dict[str, str]:
    """The driver's options as netavark knows them."""
    if spec.driver not in DRIVERS:
        return dict(spec.options)
    found: dict[str, str] = {}
    for key, value in spec.options.items():
        if key not in _KNOWN_OPTIONS[spec.driver]:
            raise InvalidInput(
                f"unsupported {spec.driver} network option {key}",
                hint=f"known: {', '.join(_KNOWN_OPTIONS[spec.driver])}",
            )
        if key in ("mtu", "vlan", "metric", "com.docker.network.driver.mtu") and not value.isdigit():
            raise InvalidInput(f"network option {key}={value}: not a number")
        if key == "isolate" and value not in ("true", "false", "1", "0", "strict"):
            raise InvalidInput(f"network option isolate={value}: true, false or strict")
        if key == "mode" and spec.driver == "bridge" and value not in ("managed", "unmanaged"):
            raise InvalidInput(f"network option mode={value}: a bridge is managed or unmanaged")
        if key == "com.docker.network.bridge.name" or key == "parent":
            spec.interface = spec.interface or value
        else:
            found[{"com.docker.network.driver.mtu": "mtu"}.get(key, key)] = value
    return found


def _free_interface(known: list[dict[str, Any]]) -> str:
    taken = {network.get("network_interface") for network in known}
    numbers = range(1, 100_000)
    return next(
        f"podman{n}" for n in numbers if f"podman{n}" not in taken and not os.path.exists(f"/sys/class/net/podman{n}")
    )


def _route(text: str) -> dict[str, Any]:
    parts = text.split(",")
    if len(parts) not in (2, 3):
        raise InvalidInput(f"--route {text!r}: not DESTINATION,GATEWAY[,METRIC]")
    from podling.network.ipam import Subnet

    Subnet(parts[0])
    route: dict[str, Any] = {"destination": parts[0], "gateway": parts[1]}
    if len(parts) == 3:
        if not parts[2].isdigit():
            raise InvalidInput(f"--route {text!r}: the metric is a number")
        route["metric"] = int(parts[2])
    return route


# -- subnets
def _subnets(spec: NetworkSpec, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from podling.network.ipam import Subnet, number, text_of

    if len(spec.gateways) > len(spec.subnets) or len(spec.ranges) > len(spec.subnets):
        raise InvalidInput("cannot set gateway or ip range without subnet", hint="give a --subnet for each")
    used = [Subnet(item["subnet"]) for network in known for item in network.get("subnets") or ()]
    wanted = list(spec.subnets)
    # a bridge of the host's own is in a network of the host's; users' bridges are in a namespace of theirs
    apart = spec.options.get("mode") == "unmanaged" or (wanted and outer_uid())
    host = [] if apart else _host_subnets(routed=not wanted)
    if not wanted:
        wanted = [next(text for text in _pools() if not any(Subnet(text).meets(other) for other in (*used, *host)))]
    if spec.ipv6 and not any(":" in text for text in wanted):
        wanted.append(
            f"fd{os.urandom(5).hex()[:2]}:{os.urandom(2).hex()}:{os.urandom(2).hex()}:{os.urandom(2).hex()}::/64"
        )
    found: list[dict[str, Any]] = []
    for position, text in enumerate(wanted):
        subnet = Subnet(text)
        for other in (*used, *host):
            if subnet.meets(other) and spec.driver == "bridge":
                raise InvalidInput(
                    f"subnet {text} is already used on the host or by another config",
                    hint=f"{other.text} meets it: `podling network ls` and `ip address` show who has that",
                )
        used.append(subnet)
        entry: dict[str, Any] = {"subnet": subnet.text}
        gateway = spec.gateways[position] if position < len(spec.gateways) else ""
        if gateway:
            if number(gateway)[0] != subnet.family or number(gateway)[1] not in subnet:
                raise InvalidInput(f"gateway {gateway} not in subnet {text}")
            entry["gateway"] = gateway
        elif not spec.internal or spec.dns:
            entry["gateway"] = text_of(subnet.family, subnet.first)
        if position < len(spec.ranges):
            entry["lease_range"] = _range(spec.ranges[position], subnet)
        found.append(entry)
    return found


def _range(text: str, subnet: Any) -> dict[str, str]:
    """`FIRST-LAST` or a subnet of the subnet."""
    from podling.network.ipam import Subnet, number, text_of

    if "-" in text:
        first, _, last = text.partition("-")
        low, high = number(first)[1], number(last)[1]
    else:
        inner = Subnet(text)
        low, high = inner.first, inner.last
    if low not in subnet or high not in subnet or low > high:
        raise InvalidInput(f"ip range {text} not in subnet {subnet.text}")
    return {"start_ip": text_of(subnet.family, low), "end_ip": text_of(subnet.family, high)}


def _host_subnets(*, routed: bool) -> list[Any]:
    """The networks that the host's interfaces are in; `routed`: those too that it knows a way to."""
    import socket
    import struct

    from podling.network.ipam import Subnet

    found = []
    with open("/proc/net/route") as file:
        for line in file.read().splitlines()[1:]:
            fields = line.split()
            base, gateway, mask = int(fields[1], 16), int(fields[2], 16), int(fields[7], 16)
            if mask and (routed or not gateway):
                address = socket.inet_ntoa(struct.pack("<I", base))
                length = bin(mask).count("1")
                if 1 < length < 32:
                    found.append(Subnet(f"{address}/{length}"))
    try:
        with open("/proc/net/if_inet6") as file:
            lines = [line.split() for line in file]
    except FileNotFoundError:
        lines = []
    for packed, _, hexadecimal, scope, *_ in lines:
        if scope == "00" and int(hexadecimal, 16) < 128:  # neither of one link nor of one host
            address = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(packed))
            found.append(Subnet(f"{address}/{int(hexadecimal, 16)}"))
    return found


def change(name: str, edit: Any) -> dict[str, Any]:
    """Read a network's file, have `edit` change the document, and write it again."""
    with Locks(places.locks()).hold("networks", 0):
        document = find(name)
        if document["name"] == DEFAULT:
            raise InvalidInput(f"the default network {DEFAULT} is built in: it cannot be changed")
        edit(document)
        path = os.path.join(folder(), f"{document['name']}.json")
        with open(f"{path}.{os.getpid()}", "w") as file:
            file.write(json.pretty(document, 5))
        os.rename(f"{path}.{os.getpid()}", path)
    return document


def remove(name: str) -> None:
    """Remove a network's file, and its bridge when nothing is on it any more.

    Raises:
        NoSuchNetwork; InvalidInput: the default one.
    """
    with Locks(places.locks()).hold("networks", 0):
        document = find(name)
        if document["name"] == DEFAULT:
            raise InvalidInput(f"default network {DEFAULT} cannot be removed")
        os.unlink(os.path.join(folder(), f"{document['name']}.json"))
