"""Networks as objects: commands, several networks, names, connecting and disconnecting, Podman's files."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from podling.config.settings import find_program

from .conftest import IMAGE, Podling, eventually, processes, with_backend
from .registry import free_port

pytestmark = pytest.mark.xdist_group("network")


@pytest.fixture(autouse=True, params=["native", "netavark"])
def backend(podling: Podling, request: pytest.FixtureRequest) -> Iterator[str]:
    """Everything here holds whoever sets up the bridges."""
    with with_backend(podling, request.param):
        yield request.param


FOLDER = Path("/etc/containers/networks")
_SAID = subprocess.run([find_program("netavark"), "--version"], capture_output=True, text=True).stdout
NETAVARK = tuple(int(part) for part in re.findall(r"\d+", _SAID)[:2])


def _flush(backend: str) -> None:
    """Lose the rules of a back end, as a firewall does that is started anew."""
    if backend == "native":
        subprocess.run(["nft", "delete", "table", "inet", "podling"], check=True)
    else:  # netavark has one or the other
        subprocess.run(["iptables", "-t", "nat", "-F"], check=True)
        subprocess.run(["nft", "delete", "table", "inet", "netavark"], capture_output=True)


@pytest.fixture(autouse=True)
def no_networks(podling: Podling, backend: str) -> Iterator[None]:
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
        # aardvark-dns 1.4 does not listen for a moment when it reads its files anew, as after every container before this one
        script = f"nslookup {name} || sleep 0.5; nslookup {name}"
        assert address in podling.ok("run", "--rm", "--network", "pt-names", IMAGE, "sh", "-c", script)
    assert podling("run", "--rm", "--network", "podman", IMAGE, "nslookup", "db").returncode != 0
    # aardvark-dns killed: the next command starts it again
    for pid, command in processes():
        if "aardvark" in command and podling.root in command:
            os.kill(pid, signal.SIGKILL)
    assert address in podling.ok("run", "--rm", "--network", "pt-names", IMAGE, "nslookup", "db")
    assert "no DNS" in podling.fails(125, "run", "--rm", "--network", "podman:alias=x", IMAGE, "true")


class Nameserver(threading.Thread):
    """Answers every question for an address with 10.11.12.13."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        self.socket.settimeout(0.1)
        self.asked: list[bytes] = []
        self.over = False

    def run(self) -> None:
        while not self.over:
            try:
                query, client = self.socket.recvfrom(512)
            except TimeoutError:
                continue
            end = query.index(b"\0", 12) + 5  # of the question
            self.asked.append(query[12:end])
            known = query[end - 4 : end - 2] == b"\0\x01"
            answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\x0b\x0c\x0d" if known else b""
            head = query[:2] + b"\x81\x80\0\x01" + (b"\0\x01" if known else b"\0\0") + b"\0\0\0\0"
            self.socket.sendto(head + query[12:end] + answer, client)


def test_servers_of_a_container(podling: Podling) -> None:
    """Names of containers work beside them: aardvark-dns asks them, and not the container."""
    server = Nameserver("127.0.0.77")
    server.start()
    try:
        podling.ok("network", "create", "pt-servers")
        podling.ok("run", "-d", "--name", "sibling", "--network", "pt-servers", IMAGE, "sleep", "1000")
        address = podling.ok("inspect", "-f", '{{(index .NetworkSettings.Networks "pt-servers").IPAddress}}', "sibling")
        run = ("run", "--rm", "--network", "pt-servers", "--dns", "127.0.0.77", IMAGE)
        assert "127.0.0.77" not in podling.ok(*run, "cat", "/etc/resolv.conf")
        again = (
            "nslookup {0} || sleep 0.5; nslookup {0}"  # aardvark-dns 1.4 does not listen while it reads its files anew
        )
        assert "10.11.12.13" in podling.ok(*run, "sh", "-c", again.format("elsewhere.example"))
        assert server.asked
        assert address in podling.ok(*run, "sh", "-c", again.format("sibling"))
    finally:
        server.over = True
        server.join()
        server.socket.close()


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


def test_networks_are_isolated(podling: Podling) -> None:
    for name in ("pt-open", "pt-shut", "pt-also"):
        isolate = [] if name == "pt-open" else ["-o", "isolate=true"]
        podling.ok("network", "create", *isolate, name)
        podling.ok("run", "-d", "--name", f"on-{name}", "--network", name, IMAGE, "sleep", "100")
    address = podling.ok("inspect", "-f", '{{(index .NetworkSettings.Networks "pt-also").IPAddress}}', "on-pt-also")
    ping = ("--cap-add=NET_RAW", IMAGE, "ping", "-c", "1", "-W", "1", address)
    assert podling("run", "--rm", "--network", "pt-also", *ping).returncode == 0
    assert podling("run", "--rm", "--network", "pt-open", *ping).returncode == 0
    assert podling("run", "--rm", "--network", "pt-shut", *ping).returncode == 1


def test_published_ports_reach_from_inside(podling: Podling, backend: str) -> None:
    """A container reaches its own published port, and that of its neighbour, through the host's address."""
    port = free_port()
    podling.ok("network", "create", "pt-hair")
    serve = "echo hello >/index.html; exec httpd -f -p 80 -h /"
    podling.ok("run", "-d", "--name", "web", "--network", "pt-hair", "-p", f"{port}:80", IMAGE, "sh", "-c", serve)
    gateway = podling.ok("inspect", "-f", '{{(index .NetworkSettings.Networks "pt-hair").Gateway}}', "web")
    fetch = ("wget", "-q", "-O", "-", f"http://{gateway}:{port}/")
    eventually(lambda: podling("run", "--rm", "--network", "pt-hair", IMAGE, *fetch).stdout == "hello\n")
    assert podling.ok("run", "--rm", IMAGE, *fetch) == "hello"
    if backend == "native":  # beside br_netfilter, netavark 1.4 lets no container reach itself
        assert podling.ok("exec", "web", *fetch) == "hello"


def test_ports_over_ipv6(podling: Podling) -> None:
    port = free_port()
    podling.ok("network", "create", "--ipv6", "--subnet", "fd98:1::/64", "--subnet", "10.98.1.0/24", "pt-six")
    serve = "echo hello >/index.html; exec httpd -f -p [::]:80 -h /"
    podling.ok("run", "-d", "--name", "web", "--network", "pt-six", "-p", f"{port}:80", IMAGE, "sh", "-c", serve)
    address = podling.ok("inspect", "-f", '{{(index .NetworkSettings.Networks "pt-six").GlobalIPv6Address}}', "web")
    assert address.startswith("fd98:1::")

    def reaches(host: str, number: int) -> bool:
        try:
            with socket.create_connection((host, number), 1):
                return True
        except OSError:
            return False

    eventually(lambda: reaches(address, 80))
    assert reaches("fd98:1::1", port) and reaches("10.98.1.1", port) and reaches("127.0.0.1", port)


def test_mended_after_a_flush(podling: Podling, backend: str) -> None:
    port = free_port()
    serve = "echo hello >/index.html; exec httpd -f -p 80 -h /"
    podling.ok("run", "-d", "--name", "web", "-p", f"{port}:80", IMAGE, "sh", "-c", serve)

    def answers() -> bool:
        with socket.socket() as sock:
            sock.settimeout(1)
            try:
                sock.connect(("127.0.0.1", port))
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return b"hello" in sock.recv(4096) + sock.recv(4096)
            except OSError:
                return False

    eventually(answers)
    _flush(backend)
    assert not answers()
    podling.ok("network", "reload", "web")
    eventually(answers)
    # rules that are gone keep nobody from leaving
    _flush(backend)
    podling.ok("rm", "-f", "-t0", "web") if backend == "native" else podling("rm", "-f", "-t0", "web")
    assert podling.ok("ps", "-aq") == ""


def test_many_ports(podling: Podling) -> None:
    first = 21000
    podling.ok(
        "run",
        "-d",
        "--name",
        "many",
        "-p",
        f"{first}-{first + 499}:1000-1499",
        IMAGE,
        "sh",
        "-c",
        "exec nc -ll -p 1499 -e echo hi",
    )

    def answers() -> bool:
        with socket.socket() as sock:
            sock.settimeout(1)
            try:
                sock.connect(("127.0.0.1", first + 499))
                return sock.recv(10) == b"hi\n"
            except OSError:
                return False

    eventually(answers)
    podling.ok("rm", "-f", "-t0", "many")
    assert not answers()


@pytest.fixture
def wire() -> Iterator[str]:
    """An interface that other interfaces can be children of."""
    subprocess.run(["ip", "link", "add", "ptwire0", "type", "veth", "peer", "name", "ptwire1"], check=True)
    for name in ("ptwire0", "ptwire1"):
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    yield "ptwire0"
    subprocess.run(["ip", "link", "del", "ptwire0"], check=True)


def test_macvlan(podling: Podling, wire: str) -> None:
    podling.ok("network", "create", "-d", "macvlan", "-o", f"parent={wire}", "--subnet", "10.61.0.0/24", "pt-mac")
    podling.ok("run", "-d", "--name", "one", "--network", "pt-mac", "--ip", "10.61.0.9", IMAGE, "sleep", "100")
    address = podling.ok("run", "--rm", "--network", "pt-mac", IMAGE, "ip", "-4", "addr", "show", "eth0")
    assert "10.61.0." in address
    ping = ("--cap-add=NET_RAW", IMAGE, "ping", "-c", "1", "-W", "2", "10.61.0.9")
    assert podling("run", "--rm", "--network", "pt-mac", *ping).returncode == 0
    assert "10.61.0.1" in podling.ok("exec", "one", "ip", "route")
    podling.ok("stop", "-t0", "one")
    podling.ok("start", "one")
    podling.ok("rm", "-f", "-t0", "one")
    podling.ok("network", "rm", "pt-mac")


def test_interfaces_without_addresses(podling: Podling, wire: str, backend: str) -> None:
    if backend == "netavark" and NETAVARK < (1, 5):
        pytest.skip("this netavark has no networks without addresses")
    podling.ok(
        "network",
        "create",
        "-d",
        "macvlan",
        "--ipam-driver",
        "none",
        "-o",
        f"parent={wire}",
        "-o",
        "mode=private",
        "pt-bare",
    )
    shown = podling.ok("run", "--rm", "--network", "pt-bare", IMAGE, "ip", "addr", "show", "eth0")
    assert "state UP" in shown or "UP" in shown.split(">")[0]
    assert "inet " not in shown
    podling.ok("network", "create", "--ipam-driver", "none", "--disable-dns", "pt-plain")
    assert "inet " not in podling.ok("run", "--rm", "--network", "pt-plain", IMAGE, "ip", "addr", "show", "eth0")


def test_a_parent_that_has_gone(podling: Podling, backend: str) -> None:
    subprocess.run(["ip", "link", "add", "ptgone0", "type", "veth", "peer", "name", "ptgone1"], check=True)
    podling.ok("network", "create", "-d", "macvlan", "-o", "parent=ptgone0", "--subnet", "10.62.0.0/24", "pt-gone")
    subprocess.run(["ip", "link", "del", "ptgone0"], check=True)
    done = podling("run", "--rm", "--network", "pt-gone", IMAGE, "true")
    assert done.returncode in (125, 126) and "Error" in done.stderr
    assert backend == "netavark" or "parent interface" in done.stderr
    assert podling.ok("ps", "-aq") == ""
