"""Networks as objects: commands, several networks, names, connecting and disconnecting, Podman's files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling, processes

pytestmark = pytest.mark.xdist_group("network")
FOLDER = Path("/etc/containers/networks")


@pytest.fixture(autouse=True)
def no_networks(podling: Podling) -> Iterator[None]:
    before = set(os.listdir(FOLDER)) if FOLDER.exists() else set()
    yield
    podling("rm", "-f", "-t", "0", "-a")
    for name in set(os.listdir(FOLDER)) - before:
        if name.endswith(".json"):
            podling("network", "rm", "-f", name.removesuffix(".json"))
    for pid, command in processes():
        if "aardvark" in command and podling.root in command:
            os.kill(pid, signal.SIGKILL)


def network(podling: Podling, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(podling.ok("network", "inspect", name))[0]
    return found


def test_life_and_podmans_view(podling: Podling) -> None:
    assert podling.ok("network", "create", "--label", "k=v", "-o", "mtu=1400", "pt-one") == "pt-one"
    found = network(podling, "pt-one")
    assert found["driver"] == "bridge" and found["dns_enabled"] is True and found["options"] == {"mtu": "1400"}
    assert network(podling, str(found["id"])[:10])["name"] == "pt-one"
    theirs = json.loads(
        subprocess.run(["podman", "network", "inspect", "pt-one"], capture_output=True, check=True).stdout
    )[0]
    assert theirs["id"] == found["id"] and theirs["subnets"] == found["subnets"]
    subprocess.run(["podman", "network", "create", "pt-theirs"], check=True, capture_output=True)
    assert {"pt-one", "pt-theirs", "podman"} <= set(podling.ok("network", "ls", "-q").split())
    assert podling.ok("network", "ls", "-q", "--filter", "label=k=v") == "pt-one"
    assert podling.ok("network", "ls", "--format", "{{.Name}} {{.Driver}}", "--filter", "name=^pt-o") == "pt-one bridge"
    assert podling("network", "exists", "pt-one").returncode == 0
    assert "already used" in podling.fails(125, "network", "create", "pt-one")
    assert podling.ok("network", "create", "--ignore", "pt-one") == "pt-one"
    podling.ok("network", "update", "--dns-add", "9.9.9.9", "pt-one")
    assert network(podling, "pt-one")["network_dns_servers"] == ["9.9.9.9"]
    assert podling.ok("network", "rm", "pt-one") == "pt-one"
    assert podling("network", "exists", "pt-one").returncode == 1
    assert "network not found" in podling.fails(1, "network", "rm", "pt-one")
    assert "cannot be removed" in podling.fails(125, "network", "rm", "podman")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--subnet", "10.88.1.0"], "is not a subnet"),
        (["--subnet", "10.213.0.0/24", "--gateway", "10.214.0.1"], "not in subnet"),
        (["--gateway", "10.213.0.1"], "without subnet"),
        (["--subnet", "10.87.5.0/24"], "is already used"),
        (["--subnet", "10.213.0.0/24", "--ip-range", "10.214.0.0/28"], "not in subnet"),
        (["-d", "odd"], "unsupported driver"),
        (["-o", "odd=1"], "unsupported bridge network option"),
        (["-o", "mtu=x"], "not a number"),
        (["--ipam-driver", "odd"], "unsupported ipam driver"),
        (["--route", "10.1.0.0/16"], "not DESTINATION,GATEWAY"),
        (["-d", "macvlan", "-o", "parent=nosuch0"], "does not exist"),
        (["host"], "conflicts with a valid network mode"),
        (["a/b"], "names must match"),
    ],
)
def test_refused(podling: Podling, args: list[str], words: str) -> None:
    assert words in podling.fails(125, "network", "create", *args)


def test_names_across_containers(podling: Podling) -> None:
    podling.ok("network", "create", "pt-names")
    podling.ok(
        "run",
        "-d",
        "--name",
        "server",
        "--network",
        "pt-names:alias=db",
        "--network-alias",
        "store",
        IMAGE,
        "sleep",
        "1000",
    )
    address = podling.ok("inspect", "-f", '{{(index .NetworkSettings.Networks "pt-names").IPAddress}}', "server")
    for name in ("server", "db", "store", json.loads(podling.ok("inspect", "server"))[0]["Id"][:12]):
        assert address in podling.ok("run", "--rm", "--network", "pt-names", IMAGE, "nslookup", name)
    assert podling("run", "--rm", "--network", "podman", IMAGE, "nslookup", "db").returncode != 0
    # aardvark-dns killed: the next command starts it again
    for pid, command in processes():
        if "aardvark" in command and podling.root in command:
            os.kill(pid, signal.SIGKILL)
    assert address in podling.ok("run", "--rm", "--network", "pt-names", IMAGE, "nslookup", "db")
    assert "no DNS" in podling.fails(125, "run", "--rm", "--network", "podman:alias=x", IMAGE, "true")


def test_several_networks(podling: Podling) -> None:
    podling.ok("network", "create", "--subnet", "10.211.0.0/24", "--ip-range", "10.211.0.128/25", "pt-a")
    podling.ok("network", "create", "--subnet", "10.212.0.0/24", "--gateway", "10.212.0.254", "--internal", "pt-b")
    text = podling.ok(
        "run", "--rm", "--network", "pt-a", "--network", "pt-b:ip=10.212.0.7,mac=02:00:00:00:00:07,interface_name=lan", IMAGE, "sh", "-c",
        "ip -4 addr; ip link show lan; ip route",
    )  # fmt: skip
    assert "10.211.0.129/24" in text and "10.212.0.7/24" in text and "02:00:00:00:00:07" in text
    assert (
        "default via 10.211.0.1" in text
        and "10.212.0.254" not in text.split("ip route")[-1].split("default")[-1].split("\n")[0]
    )
    assert "already allocated" not in podling("run", "--rm", "--network", "pt-b:ip=10.212.0.7", IMAGE, "true").stderr
    assert "not in any subnet" in podling.fails(125, "run", "--rm", "--network", "pt-b:ip=10.99.0.7", IMAGE, "true")
    assert "invalid option" in podling.fails(125, "run", "--rm", "--network", "pt-b:odd=1", IMAGE, "true")
    assert "named twice" in podling.fails(125, "run", "--rm", "--network", "pt-b", "--network", "pt-b", IMAGE, "true")
    assert "only be set for a single network" in podling.fails(
        125, "run", "--ip", "10.211.0.9", "--network", "pt-a", "--network", "pt-b", IMAGE, "true"
    )
    assert "together with the mode" in podling.fails(
        125, "run", "--network", "none", "--network", "pt-b", IMAGE, "true"
    )


def test_connect_and_disconnect(podling: Podling) -> None:
    podling.ok("network", "create", "pt-a")
    podling.ok("network", "create", "--subnet", "10.212.0.0/24", "pt-b")
    podling.ok("run", "-d", "--name", "c", "--network", "pt-a", IMAGE, "sleep", "1000")
    podling.ok("network", "connect", "--ip", "10.212.0.9", "--alias", "second", "pt-b", "c")
    assert "10.212.0.9/24" in podling.ok("exec", "c", "ip", "-4", "addr", "show", "eth1")
    assert "10.212.0.9\t" in podling.ok("exec", "c", "cat", "/etc/hosts")
    assert "10.212.0.9" in podling.ok("run", "--rm", "--network", "pt-b", IMAGE, "nslookup", "second")
    members = network(podling, "pt-b")["containers"]
    assert [member["name"] for member in members.values()] == ["c"]  # type: ignore[attr-defined]
    assert "already connected" in podling.fails(125, "network", "connect", "pt-b", "c")
    assert "associated containers" in podling.fails(2, "network", "rm", "pt-b")
    podling.ok("restart", "-t", "0", "c")
    assert "10.212.0.9/24" in podling.ok("exec", "c", "ip", "-4", "addr", "show", "eth1")
    podling.ok("network", "disconnect", "pt-a", "c")
    text = podling.ok("exec", "c", "ip", "-4", "addr")
    assert "eth0" not in text and "10.212.0.9/24" in text
    assert "is not connected" in podling.fails(125, "network", "disconnect", "pt-a", "c")
    podling.ok("stop", "-t", "0", "c")
    podling.ok("network", "connect", "pt-a", "c")
    podling.ok("start", "c")
    assert len(podling.ok("exec", "c", "ip", "-4", "-o", "addr").splitlines()) == 3
    assert podling.ok("network", "rm", "-f", "-t", "0", "pt-a") == "pt-a"
    assert podling.ok("ps", "-aq") == ""
    podling.ok("run", "-d", "--name", "h", "--network", "none", IMAGE, "sleep", "100")
    assert "invalid network mode" in podling.fails(125, "network", "connect", "pt-b", "h")


def test_prune_and_reload(podling: Podling) -> None:
    podling.ok("network", "create", "pt-used")
    podling.ok("network", "create", "pt-free")
    podling.ok(
        "run", "-d", "--name", "c", "--network", "pt-used", "-p", "127.0.0.1::80", IMAGE, "httpd", "-f", "-h", "/etc"
    )
    port = podling.ok("port", "c", "80").rpartition(":")[2]
    assert "pt-free" in podling.ok("network", "prune", "-f").split()
    assert "pt-used" in podling.ok("network", "ls", "-q").split()

    def answers() -> bool:
        done = subprocess.run(
            ["wget", "-q", "-T", "2", "-t", "1", "-O", "-", f"http://127.0.0.1:{port}/passwd"], capture_output=True
        )
        return b"root:" in done.stdout

    reachable = answers()
    subprocess.run(["iptables", "-t", "nat", "-F", "NETAVARK-HOSTPORT-DNAT"], check=False, capture_output=True)
    podling.ok("network", "reload", "c")
    assert answers() == reachable
    assert len(podling.ok("exec", "c", "ip", "-4", "-o", "addr").splitlines()) == 2
