"""Networks as containers.conf wants them, internal ones, bridges of the host's own, plugins."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling, with_backend
from .test_networks import FOLDER, NETAVARK, network, no_networks

__all__ = ["no_networks"]
pytestmark = pytest.mark.xdist_group("network")
Configure = Callable[[str], None]


@pytest.fixture(autouse=True, params=["native", "netavark"])
def backend(podling: Podling, request: pytest.FixtureRequest) -> Iterator[str]:
    with with_backend(podling, request.param):
        yield request.param


@pytest.fixture
def configure(podling: Podling, tmp_path: Path) -> Iterator[Configure]:
    """Put something into the section [network] of containers.conf."""

    def write(text: str) -> None:
        (tmp_path / "conf").write_text(f"[network]\n{text}\n")
        podling.env["CONTAINERS_CONF"] = str(tmp_path / "conf")

    yield write
    podling("rm", "-f", "-t", "0", "-a")
    podling.env.pop("CONTAINERS_CONF", None)


def _address(podling: Podling, net: str, name: str) -> str:
    return podling.ok("inspect", "-f", f'{{{{(index .NetworkSettings.Networks "{net}").IPAddress}}}}', name)


def _ask(podling: Podling, net: str, name: str) -> str:
    # aardvark-dns 1.4 does not listen for a moment when it reads its files anew
    script = f"nslookup {name} || sleep 0.5; nslookup {name}"
    return podling.ok("run", "--rm", "--network", net, IMAGE, "sh", "-c", script)


def test_names_on_an_internal_network(podling: Podling) -> None:
    podling.ok("network", "create", "--internal", "--subnet", "10.215.0.0/24", "pt-inner")
    podling.ok("run", "-d", "--name", "server", "--network", "pt-inner:alias=db", IMAGE, "sleep", "1000")
    address = _address(podling, "pt-inner", "server")
    assert address in _ask(podling, "pt-inner", "db")
    routes = podling.ok("exec", "server", "ip", "route")
    assert "default" not in routes and "10.215.0.0/24" in routes
    podling.ok("rm", "-f", "-t0", "server")
    assert not (Path(podling.root) / "run/networks/aardvark-dns/pt-inner%int").exists()


def test_another_port_for_names(podling: Podling, configure: Configure, backend: str) -> None:
    configure("dns_bind_port = 5353")
    podling.ok("network", "create", "pt-port")
    podling.ok("run", "-d", "--name", "server", "--network", "pt-port", IMAGE, "sleep", "1000")
    listening = subprocess.run(["ss", "-Hulnp"], capture_output=True, text=True, check=True).stdout
    gateway = podling.ok("inspect", "-f", '{{(index .NetworkSettings.Networks "pt-port").Gateway}}', "server")
    assert f"{gateway}:5353" in listening and f"{gateway}:53 " not in listening
    assert _address(podling, "pt-port", "server") in _ask(podling, "pt-port", "server")
    podling.ok("rm", "-f", "-t0", "server")
    if backend == "native":  # the rule went with the last container
        rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
        assert f"{gateway} . udp . 53" not in rules


def test_firewall_drivers(podling: Podling, configure: Configure, backend: str) -> None:
    configure('firewall_driver = "odd"')
    assert "unknown driver 'odd'" in podling.fails(125, "run", "--rm", IMAGE, "true")
    configure('firewall_driver = "iptables"')
    podling.ok("run", "-d", "--name", "c", IMAGE, "sleep", "1000")
    rules = subprocess.run(["iptables", "-t", "nat", "-S"], capture_output=True, text=True, check=True).stdout
    assert "NETAVARK" in rules
    podling.ok("rm", "-f", "-t0", "c")
    if backend == "native":
        configure('firewall_driver = "none"')
        podling.ok("run", "-d", "--name", "c", IMAGE, "sleep", "1000")
        rules = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        assert "podling" not in rules
        podling.ok("rm", "-f", "-t0", "c")


@pytest.fixture
def bridge() -> Iterator[str]:
    for command in ("link add pt-host type bridge", "addr add 10.216.0.1/24 dev pt-host", "link set pt-host up"):
        subprocess.run(["ip", *command.split()], check=True)
    yield "pt-host"
    subprocess.run(["ip", "link", "del", "pt-host"], check=True)


def test_a_bridge_of_the_hosts_own(podling: Podling, bridge: str, backend: str) -> None:
    if backend == "netavark" and NETAVARK < (1, 13):
        pytest.skip("this netavark manages every bridge")
    create = ("network", "create", "-o", "mode=unmanaged", "--subnet", "10.216.0.0/24")
    assert "needs a name" in podling.fails(125, *create)
    assert "does not exist" in podling.fails(125, *create, "--interface-name", "pt-none")
    assert "managed or unmanaged" in podling.fails(125, "network", "create", "-o", "mode=odd")
    assert "is already used on the host" in podling.fails(125, "network", "create", "--subnet", "10.216.0.128/25")
    podling.ok(*create, "--interface-name", bridge, "pt-given")
    assert network(podling, "pt-given")["dns_enabled"] is False
    podling.ok(
        "run", "-d", "--name", "c", "--cap-add=NET_RAW", "--network", "pt-given:ip=10.216.0.9", IMAGE, "sleep", "1000"
    )
    assert podling.ok("exec", "c", "ping", "-c", "1", "-W", "2", "10.216.0.1")
    assert "podling" not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    podling.ok("rm", "-f", "-t0", "c")
    podling.ok("network", "rm", "pt-given")
    assert Path(f"/sys/class/net/{bridge}").exists()


def test_plugins(podling: Podling, configure: Configure, tmp_path: Path) -> None:
    """A plugin decides about the network's document (`PLUGIN create`)."""
    plugin = tmp_path / "ptplug"
    plugin.write_text('#!/bin/sh\nexec sed "s/\\"internal\\": *false/\\"internal\\":true/"\n')
    plugin.chmod(0o755)
    configure(f'netavark_plugin_dirs = ["{tmp_path}"]')
    podling.ok("network", "create", "-d", "ptplug", "-o", "any=thing", "pt-plugged")
    found = network(podling, "pt-plugged")
    assert (found["driver"], found["internal"], found["options"]) == ("ptplug", True, {"any": "thing"})
    plugin.write_text('#!/bin/sh\necho \'{"error": "no luck"}\'\nexit 1\n')
    assert "no luck" in podling.fails(125, "network", "create", "-d", "ptplug", "pt-more")
    plugin.write_text("#!/bin/sh\necho nonsense\n")
    assert "does not describe" in podling.fails(125, "network", "create", "-d", "ptplug", "pt-more")
    assert not (FOLDER / "pt-more.json").exists()
    podling.ok("network", "rm", "pt-plugged")
    assert json.loads(podling.ok("network", "ls", "--format", "json", "--filter", "name=pt-plugged") or "[]") == []
