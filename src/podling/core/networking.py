"""Networks as objects: making, listing, removing them; connecting containers to them and disconnecting them."""

from __future__ import annotations

from podling.core import containers
from podling.core.container_files import write_names
from podling.core.containers import Container, every
from podling.core.launch import attachment_of, port_mappings, wanted_addresses
from podling.errors import Conflict, InvalidInput, NotFound, PodlingError
from podling.network import backend, ipam, native, netns, networks
from podling.network.networks import NetworkSpec
from podling.oci import json
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.core.context import Context

FILTERS = ("name", "id", "driver", "label", "dangling", "until")


class NetworkInUse(Conflict):
    reference = "network-in-use"
    exit_code = 2


def create(ctx: Context, spec: NetworkSpec, *, ignore: bool) -> str:
    """Make a network; its name."""
    try:
        document = networks.create(spec)
    except Conflict:
        if not ignore:
            raise
        return spec.name
    with ctx.db.write() as tx:
        tx.event("network", "create", document["id"], document["name"])
    return str(document["name"])


def users(ctx: Context, name: str) -> list[Container]:
    """The containers that are on a network, or will be when they start."""
    return [
        container
        for container in every(ctx, f"config LIKE '%\"{name}\"%'")
        if container.config.network == "bridge" and name in container.config.networks
    ]


def list_networks(ctx: Context, filters: list[str]) -> list[dict[str, Any]]:
    """Networks by name, in the shape of their files."""
    import re

    from podling.core.filters import boolean, match_label, moment, split
    from podling.oci.times import parse_time

    wanted = split(filters, FILTERS)
    tests: dict[str, Callable[[dict[str, Any], str], bool]] = {
        "name": lambda network, value: re.search(value, network["name"]) is not None,
        "id": lambda network, value: str(network["id"]).startswith(value),
        "driver": lambda network, value: network["driver"] == value,
        "label": lambda network, value: match_label(network.get("labels") or {}, value),
        "label!": lambda network, value: not match_label(network.get("labels") or {}, value),
        "dangling": lambda network, value: (not users(ctx, network["name"])) == boolean(value),
        "until": lambda network, value: parse_time(str(network.get("created") or "")) < moment(value, now()),
    }
    return [
        network
        for network in networks.every()
        if all(
            (all if key.startswith("label") else any)(tests[key](network, value) for value in values)
            for key, values in wanted.items()
        )
    ]


def inspect(ctx: Context, name: str) -> dict[str, Any]:
    """A network with the containers that are on it now."""
    document = networks.find(name)
    members: dict[str, Any] = {}
    for container in users(ctx, document["name"]):
        status = json.loads(container.__dict__["network"] or "{}").get(document["name"])
        if status and container.is_alive:
            members[container.id] = {"name": container.name, "interfaces": status.get("interfaces") or {}}
    return {**document, "containers": members}


def remove(ctx: Context, name: str, *, force: bool, timeout: int = -1) -> str:
    """Remove a network, with `force` also the containers on it; its name.

    Raises:
        NoSuchNetwork, InvalidInput. NetworkInUse: containers are on it.
    """
    from podling.core.removal import remove_one

    document = networks.find(name)
    full = str(document["name"])
    members = users(ctx, full) if full != networks.DEFAULT else []
    if members and not force:
        raise NetworkInUse(
            f'"{full}" has associated containers with it. Use -f to forcibly delete containers and pods: network is being used',
            hint=f"they are {', '.join(container.name for container in members)}",
        )
    for container in members:
        if container.infra:
            from podling.core import pods

            pods.remove(ctx, pods.find(ctx, container.config.pod), force=True, timeout=timeout)
        else:
            remove_one(container, force=True, volumes=False, timeout=timeout, depend=True)
    networks.remove(full)
    native.remove_bridge(document)
    with ctx.db.write() as tx:
        tx.run("DELETE FROM leases WHERE network=?", full)
        tx.run("DELETE FROM meta WHERE name LIKE ?", f"last address {full} %")
        tx.event("network", "remove", document["id"], full)
    return name


def prune(ctx: Context, filters: list[str]) -> list[str]:
    """Remove networks that no container is on; their names."""
    for text in filters:
        if text.partition("=")[0].removesuffix("!") not in ("label", "until"):
            raise InvalidInput(f"--filter {text!r}: prune knows label and until")
    done = []
    for network in list_networks(ctx, filters):
        if network["name"] != networks.DEFAULT and not users(ctx, network["name"]):
            try:
                done.append(remove(ctx, network["name"], force=False))
            except (NotFound, NetworkInUse):
                continue
    return done


def update_dns(ctx: Context, name: str, add: list[str], drop: list[str]) -> None:
    """Change the DNS servers of a network; containers that start later ask them."""
    for text in (*add, *drop):
        ipam.number(text)

    def edit(document: dict[str, Any]) -> None:
        servers = [server for server in document.get("network_dns_servers") or () if server not in drop]
        servers += [server for server in add if server not in servers]
        document["network_dns_servers"] = servers

    document = networks.change(name, edit)
    with ctx.db.write() as tx:
        tx.event("network", "update", document["id"], document["name"])


# -- containers on networks
def connect(ctx: Context, network: str, name: str, wanted: dict[str, Any]) -> None:
    """Put a container on a further network, at once where it runs.

    Raises:
        NoSuchNetwork, NoSuchContainer, InvalidInput, Conflict: it is on it already.
    """
    document = networks.find(network)
    full = str(document["name"])
    container = containers.find(ctx, name)
    with container.lock():
        container.load()
        config = container.config
        if config.network != "bridge":
            raise InvalidInput(
                f'"{config.network}" is not supported: invalid network mode',
                hint="only containers with networks of their own can be connected",
            )
        if full in config.networks:
            raise Conflict(
                f"container {container.name} is already connected to network {full}: network is already connected"
            )
        if wanted["aliases"] and not document.get("dns_enabled"):
            raise InvalidInput(f"network {full} has no DNS, so an alias has no use there")
        taken = {
            (config.network_options.get(other) or {}).get("interface") or f"eth{position}"
            for position, other in enumerate(config.networks)
        }
        if f"eth{len(config.networks)}" in taken:  # one went before, and the others kept their names
            wanted["interface"] = next(f"eth{n}" for n in range(len(taken) + 1) if f"eth{n}" not in taken)
        config.networks = [*config.networks, full]
        if any(wanted.values()):
            config.network_options = {**config.network_options, full: wanted}
        status = json.loads(container.__dict__["network"] or "{}")
        if container.is_alive:
            status[full] = _join(ctx, container, document)
        _record(ctx, container, status)
        if container.is_alive:
            write_names(container, status)
        with ctx.db.write() as tx:
            tx.event("network", "connect", document["id"], full, attributes=json.dumps({"container": container.id}))


def _join(ctx: Context, container: Container, document: dict[str, Any]) -> dict[str, Any]:
    config, name = container.config, str(document["name"])
    with ctx.db.write() as tx:
        tx.run("DELETE FROM leases WHERE container=? AND network=?", container.key, name)
        own = ipam.lease(tx, document, container.key, wanted_addresses(config, name))
    try:
        return backend.setup(
            ctx.settings,
            attachment_of(config, name, document, netns.path_of(config.id), own, port_mappings(config)),
        )
    except PodlingError:
        with ctx.db.write() as tx:
            tx.run("DELETE FROM leases WHERE container=? AND network=?", container.key, name)
        raise


def _record(ctx: Context, container: Container, status: dict[str, Any]) -> None:
    with ctx.db.write() as tx:
        tx.update(
            "containers", container.key, config=json.dumps(container.config.to_json()), network=json.dumps(status)
        )
    container.__dict__["network"] = json.dumps(status)


def disconnect(ctx: Context, network: str, name: str, *, force: bool) -> None:
    """Take a container off a network, at once where it runs.

    Raises:
        NoSuchNetwork, NoSuchContainer. NotFound: it is not on it.
    """
    container = containers.find(ctx, name)
    with container.lock():
        container.load()
        config = container.config
        try:
            full = str(networks.find(network)["name"])
        except NotFound:
            if not force or network not in config.networks:
                raise
            full = network
        if full not in config.networks:
            raise NotFound(f"container {container.name} is not connected to network {full}: network is not connected")
        status = json.loads(container.__dict__["network"] or "{}")
        if container.is_alive and full in status:
            own = [
                address
                for (address,) in ctx.db.rows(
                    "SELECT address FROM leases WHERE container=? AND network=?", container.key, full
                )
            ]
            attachment = attachment_of(
                config, full, networks.find(full), netns.path_of(config.id), own, port_mappings(config)
            )
            backend.teardown(ctx.settings, attachment, stays=True)
        status.pop(full, None)
        # the others keep their interfaces' names
        options = {other: dict(config.network_options.get(other) or {}) for other in config.networks if other != full}
        for position, other in enumerate(config.networks):
            if other != full and not options[other].get("interface"):
                options[other]["interface"] = f"eth{position}"
        config.networks = [other for other in config.networks if other != full]
        config.network_options = options
        with ctx.db.write() as tx:
            tx.run("DELETE FROM leases WHERE container=? AND network=?", container.key, full)
        _record(ctx, container, status)
        if container.is_alive:
            write_names(container, status)
        with ctx.db.write() as tx:
            tx.event("network", "disconnect", full, full, attributes=json.dumps({"container": container.id}))


def reload(ctx: Context, container: Container) -> None:
    """Set the firewall rules and ports of a running container up anew, as after a flush of the host's firewall."""
    with container.lock():
        container.load()
        config = container.config
        if not container.is_alive or config.network != "bridge":
            return
        status = json.loads(container.__dict__["network"] or "{}")
        path = netns.path_of(config.id)
        for name in config.networks:
            own = [
                address
                for (address,) in ctx.db.rows(
                    "SELECT address FROM leases WHERE container=? AND network=?", container.key, name
                )
            ]
            attachment = attachment_of(config, name, networks.find(name), path, own, port_mappings(config))
            status[name] = backend.refresh(ctx.settings, attachment, status.get(name) or {})
        _record(ctx, container, status)


def exists(name: str) -> bool:
    """Whether there is a network of that name or id."""
    try:
        networks.find(name)
        return True
    except NotFound:
        return False
