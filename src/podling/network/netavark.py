"""netavark sets up bridges, addresses, routes and firewall rules (netavark.1); JSON goes in, JSON comes out."""

from __future__ import annotations

import os

from podling.config import containers
from podling.config.settings import find_program
from podling.errors import Conflict, PortInUse, RuntimeFailed
from podling.linux.process import run
from podling.network import dns, nftables, places
from podling.oci import json
from podling.oci.record import Record
from podling.state.locks import Locks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Attachment(Record):
    """A container on one network."""

    container: str
    name: str
    netns: str
    network: dict[str, Any]
    addresses: list[str]
    interface: str = "eth0"
    mac: str = ""
    aliases: list[str] = []
    #: whom aardvark-dns asks for other names on the container's behalf
    servers: list[str] = []
    ports: list[dict[str, Any]] = []

    def request(self) -> bytes:
        options: dict[str, Any] = {"interface_name": self.interface, "static_ips": self.addresses}
        if self.mac:
            options["static_mac"] = self.mac
        if self.aliases:
            options["aliases"] = self.aliases
        document = {
            "container_id": self.container,
            "container_name": self.name,
            "networks": {self.network["name"]: options},
            "network_info": {self.network["name"]: self.network},
            "port_mappings": self.ports,
        }
        if self.servers:
            document["dns_servers"] = self.servers
        return json.dumps(document).encode()


def _call(runroot: str, action: str, attachment: Attachment) -> bytes:
    aardvark = find_program("aardvark-dns") if attachment.network.get("dns_enabled") else "/usr/lib/podman/aardvark-dns"
    program = find_program("netavark")
    plugins = containers.load().texts("network", "netavark_plugin_dirs")
    argv = [
        program,
        f"--config={runroot}/networks",
        "--rootless=false",
        f"--aardvark-binary={aardvark}",
        *(f"--plugin-directory={folder}" for folder in plugins),
        action,
        attachment.netns,
    ]
    settings = dict(os.environ)
    if dns.port() != dns.USUAL_PORT:
        settings["NETAVARK_DNS_PORT"] = str(dns.port())
    if nftables.configured():
        settings["NETAVARK_FW"] = nftables.configured()
    if attachment.network.get("dns_enabled"):
        dns.server(dns.folder_of(runroot))  # netavark would signal the pid of one that was killed, and start none
    # two netavarks at once meet in iptables and fail; the bridges and rules are the host's, so the lock is too
    with Locks(places.locks()).hold("netavark", 0):
        names = bool(attachment.network.get("dns_enabled"))  # aardvark-dns, which netavark starts, stays
        outcome = run(argv, stdin=attachment.request(), capture=True, env=settings, leaves_daemon=names)
    if outcome.code:
        raise _failure(action, outcome.stdout, outcome.message)
    return outcome.stdout


def _failure(action: str, stdout: bytes, message: str) -> RuntimeFailed | Conflict:
    try:
        message = json.loads(stdout)["error"]
    except (ValueError, KeyError, TypeError):
        pass
    if "address already in use" in message.lower():
        return PortInUse(f"netavark: {message}", hint="another program listens on that port: ss -ltnp shows it")
    return RuntimeFailed(f"netavark {action}: {message}")


def setup(runroot: str, attachment: Attachment) -> dict[str, Any]:
    """Join the namespace to the network; netavark's status block of it."""
    os.makedirs(f"{runroot}/networks", 0o700, exist_ok=True)
    status: dict[str, Any] = json.loads(_call(runroot, "setup", attachment)).get(attachment.network["name"]) or {}
    return status


def teardown(runroot: str, attachment: Attachment) -> None:
    """Remove what `setup` made; what is gone already is no error."""
    _call(runroot, "teardown", attachment)
