"""Networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podling.api.docker import shapes as docker
from podling.api.fields import Fields
from podling.api.router import route
from podling.engine.catalogue import networks as ops
from podling.errors import InvalidInput, NoSuchNetwork

if TYPE_CHECKING:
    from aiohttp.web import StreamResponse

    from podling.api.call import Call

_DEFAULT = "podman"


def _name(call: Call) -> str:
    """Docker's bridge is our default network."""
    return _DEFAULT if call.name == "bridge" and not call.libpod else call.name


@route("GET", "/networks", tree="docker")
async def list_docker(call: Call) -> StreamResponse:
    """List networks."""
    filters = [f"name=^{_DEFAULT}$" if text == "name=bridge" else text for text in call.filters()]
    kept = [text for text in filters if not text.startswith(("type=", "scope="))]
    found = await call.do(ops.ListNetworks(filters=kept))
    documents = [docker.network(document) for document in found]
    if any(text == "type=custom" for text in filters):
        documents = [document for document in documents if document["Name"] != "bridge"]
    return call.answer(documents)


@route("GET", "/networks/json", tree="libpod")
async def list_libpod(call: Call) -> StreamResponse:
    """List networks."""
    return call.answer(await call.do(ops.ListNetworks(filters=call.filters())))


@route("GET", "/networks/{name}/json", tree="libpod")
@route("GET", "/networks/{name}")
async def inspect(call: Call) -> StreamResponse:
    """A network, with the containers on it."""
    document = await call.do(ops.InspectNetwork(name=_name(call)))
    return call.answer(document if call.libpod else docker.network(document))


@route("GET", "/networks/{name}/exists", tree="libpod")
async def exists(call: Call) -> StreamResponse:
    """Whether there is such a network: 204 or 404."""
    if not await call.do(ops.NetworkExists(name=call.name)):
        raise NoSuchNetwork(f"unable to find network with name or ID {call.name}: network not found")
    return call.done()


@route("POST", "/networks/create", tree="docker")
async def create_docker(call: Call) -> StreamResponse:
    """Create a network."""
    body = Fields(await call.json())
    ipam = body.inner("IPAM")
    blocks = ipam.items("Config")
    options = []
    interface = ""
    for text in body.pairs("Options"):
        key, _, value = text.partition("=")
        if key == "com.docker.network.bridge.name":
            interface = value
        elif key in ("com.docker.network.driver.mtu", "com.docker.network.mtu"):
            options.append(f"mtu={value}")
        elif not key.startswith("com.docker.network."):
            options.append(text)
    operation = ops.CreateNetwork(
        name=body.text("Name"), driver={"": "bridge", "default": "bridge"}.get(body.text("Driver"), body.text("Driver")),
        subnets=[block.text("Subnet") for block in blocks if block.text("Subnet")],
        gateways=[block.text("Gateway") for block in blocks if block.text("Gateway")],
        ranges=[block.text("IPRange") for block in blocks if block.text("IPRange")],
        internal=body.flag("Internal"), ipv6=body.flag("EnableIPv6"), labels=body.pairs("Labels"), options=options,
        interface=interface, ipam={"default": ""}.get(ipam.text("Driver"), ipam.text("Driver")),
    )  # fmt: skip
    if not operation.name:
        raise InvalidInput("the network's name is missing: Name")
    warnings: list[str] = []
    name = await call.do(operation, call.told(warnings))
    document = await call.do(ops.InspectNetwork(name=name))
    return call.answer({"Id": document["id"], "Warning": "\n".join(warnings)}, 201)


@route("POST", "/networks/create", tree="libpod")
async def create_libpod(call: Call) -> StreamResponse:
    """Create a network."""
    body = Fields(await call.json())
    blocks = body.items("subnets")
    ranges = []
    for block in blocks:
        lease = block.inner("lease_range")
        if lease.text("start_ip") or lease.text("end_ip"):
            ranges.append(f"{lease.text('start_ip')}-{lease.text('end_ip')}")
    routes = []
    for item in body.items("routes"):
        words = [item.text("destination"), item.text("gateway")]
        routes.append(",".join([*words, *([str(item.number("metric"))] if "metric" in item else [])]))
    name = await call.do(
        ops.CreateNetwork(
            name=body.text("name"), driver=body.text("driver") or "bridge", subnets=[block.text("subnet") for block in blocks],
            gateways=[block.text("gateway") for block in blocks if block.text("gateway")], ranges=ranges,
            interface=body.text("network_interface"), internal=body.flag("internal"), ipv6=body.flag("ipv6_enabled"),
            dns=body.flag("dns_enabled"), dns_servers=body.texts("network_dns_servers"), labels=body.pairs("labels"),
            options=body.pairs("options"), routes=routes, ipam=str(body.map("ipam_options").get("driver", "")),
            ignore=call.flag("ignoreIfExists"),
        )
    )  # fmt: skip
    document = await call.do(ops.InspectNetwork(name=name))
    document.pop("containers", None)
    return call.answer(document)


@route("DELETE", "/networks/{name}")
async def remove(call: Call) -> StreamResponse:
    """Remove a network."""
    if not await call.do(ops.NetworkExists(name=_name(call))):
        raise NoSuchNetwork(f"unable to find network with name or ID {call.name}: network not found")
    report = await call.do_one(
        ops.RemoveNetworks(names=[_name(call)], force=call.flag("force"), timeout=call.number("timeout", default=-1))
    )
    if call.libpod:
        return call.answer([{"Name": name, "Err": None} for name in report.done])
    return call.done()


@route("POST", "/networks/prune")
async def prune(call: Call) -> StreamResponse:
    """Remove the networks that nobody uses."""
    done = await call.do(ops.PruneNetworks(filters=call.filters()))
    if call.libpod:
        return call.answer([{"Name": name, "Error": None} for name in done])
    return call.answer({"NetworksDeleted": done})


@route("POST", "/networks/{name}/connect")
async def connect(call: Call) -> StreamResponse:
    """Put a container on a network."""
    body = Fields(await call.json())
    if call.libpod:
        ips, mac = body.texts("static_ips"), body.text("static_mac")
        aliases, container = body.texts("aliases"), body.text("container")
    else:
        endpoint = body.inner("EndpointConfig")
        ipam = endpoint.inner("IPAMConfig")
        ips = [text for text in (ipam.text("IPv4Address"), ipam.text("IPv6Address")) if text]
        mac, aliases, container = endpoint.text("MacAddress"), endpoint.texts("Aliases"), body.text("Container")
    if not container:
        raise InvalidInput("the container is missing")
    await call.do(ops.ConnectNetwork(name=_name(call), container=container, ips=ips, mac=mac, aliases=aliases))
    return call.answer({} if call.libpod else "OK", 200)


@route("POST", "/networks/{name}/disconnect")
async def disconnect(call: Call) -> StreamResponse:
    """Take a container off a network."""
    body = Fields(await call.json())
    container = body.text("Container")
    if not container:
        raise InvalidInput("the container is missing: Container")
    await call.do(ops.DisconnectNetwork(name=_name(call), container=container, force=body.flag("Force")))
    return call.answer({} if call.libpod else "OK", 200)


@route("POST", "/networks/{name}/update", tree="libpod")
async def update(call: Call) -> StreamResponse:
    """Change the DNS servers of a network."""
    body = Fields(await call.json())
    await call.do(
        ops.UpdateNetwork(name=call.name, dns_add=body.texts("adddnsservers"), dns_drop=body.texts("removednsservers"))
    )
    return call.done()
