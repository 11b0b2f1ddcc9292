"""The namespaces and networks that a container is asked to have: --network, --publish, --pid, --ipc and their kin."""

from __future__ import annotations

import os

from podling.config import containers
from podling.config.settings import find_program
from podling.core import parse
from podling.core.containers import find
from podling.core.options import CreateOptions
from podling.errors import InvalidInput, ProgramMissing
from podling.linux.proc import outer_uid
from podling.runtime.config import ContainerConfig, Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context

#: network modes that ports are published in
_PUBLISHING = ("bridge", "pasta", "slirp4netns")


def namespace_of(ctx: Context, flag: str, text: str) -> str:
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


def added_hosts(items: list[str]) -> list[str]:
    for item in items:
        name, colon, address = item.partition(":")
        if not name or not colon or not address:
            raise InvalidInput(f"--add-host {item!r}: not HOST:IP")
        if address != "host-gateway":
            parse._check_address(address, f"--add-host {item!r}")
    return items


def _default_network() -> str:
    """A bridge for root; for a user what needs no privileges, and is there."""
    if not outer_uid():
        return "bridge"
    chosen = containers.load().text("network", "default_rootless_network_cmd")
    for name, program in sorted(
        (("pasta", "pasta"), ("slirp4netns", "slirp4netns")), key=lambda item: item[0] != chosen
    ):
        try:
            find_program(program)
            return name
        except ProgramMissing:
            continue
    raise ProgramMissing("neither pasta nor slirp4netns is installed", hint="apt install passt, or --network=none")


def networks_of(ctx: Context, options: CreateOptions) -> tuple[str, list[str], dict[str, dict[str, Any]]]:
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
            mode = namespace_of(ctx, "--network", text)
        else:
            name, wanted = parse.network_use(text)
            from podling.network.networks import DEFAULT
            from podling.network.networks import find as find_network

            default = containers.load().text("network", "default_network") or DEFAULT
            found = find_network(default if name in ("bridge", "private", "default") else name)
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
        wanted["ips"] += [address for address in (options.ip, options.ip6) if address]
        wanted["aliases"] += options.network_alias
    if mode not in (*_PUBLISHING, "host") and options.publish:
        raise InvalidInput(f"--publish has no effect with --network {shown}: no ports can be published there")
    if mode == "host" and (options.publish or options.publish_all):
        ctx.warn("Port mappings are discarded when using the host network mode")
    return mode, arguments, networks


def ports_of(options: CreateOptions, image: dict[str, Any], config: ContainerConfig) -> tuple[list[Port], list[str]]:
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
