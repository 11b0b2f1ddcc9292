"""The bridge through netavark, published ports, names, and what is left of them. One process at a time: the bridge is the host's."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling, eventually, with_backend
from .registry import free_port

pytestmark = pytest.mark.xdist_group("network")


@pytest.fixture(autouse=True, params=["native", "netavark"])
def backend(podling: Podling, request: pytest.FixtureRequest) -> Iterator[str]:
    """Everything here holds whoever sets up the bridges."""
    with with_backend(podling, request.param):
        yield request.param


SERVE = "mkdir /www; echo hello > /www/index.html; exec httpd -f -p {port} -h /www"


def fetch(port: int) -> str:
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def no_network_left(podling: Podling) -> None:
    assert list(Path("/run/netns").glob("podling-*")) == []
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True).stdout
    assert not re.search(r"--to-destination 10\.87\.", rules)
    ours = subprocess.run(["nft", "list", "table", "inet", "podling"], capture_output=True, text=True).stdout
    assert "10.87." not in ours


def test_addresses_and_hosts(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "one", "--hostname", "box", IMAGE, "sleep", "100")
    address = podling.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "one")
    assert address.startswith("10.87.")
    assert podling.ok("inspect", "-f", "{{.NetworkSettings.Networks.podman.Gateway}}", "one") == "10.87.0.1"
    hosts = podling.ok("exec", "one", "cat", "/etc/hosts")
    assert f"{address}\tbox one" in hosts and "10.87.0.1\thost.containers.internal host.docker.internal" in hosts
    assert "nameserver" in podling.ok("exec", "one", "cat", "/etc/resolv.conf")
    assert (
        podling.ok("run", "--rm", "--cap-add=NET_RAW", IMAGE, "ping", "-c", "1", "-W", "3", address).count(
            "1 packets received"
        )
        == 1
    )
    podling.ok("rm", "-f", "-t", "0", "one")
    no_network_left(podling)


def test_published_ports(podling: Podling) -> None:
    port, second = free_port(), free_port()
    podling.ok(
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        f"{port}:8080",
        "-p",
        f"127.0.0.1:{second}:8080/tcp",
        IMAGE,
        "sh",
        "-c",
        SERVE.format(port=8080),
    )
    assert fetch(port) == "hello\n" and fetch(second) == "hello\n"
    assert set(podling.ok("port", "web").splitlines()) == {
        f"8080/tcp -> 0.0.0.0:{port}",
        f"8080/tcp -> 127.0.0.1:{second}",
    }
    assert f"0.0.0.0:{port}->8080/tcp" in podling.ok("ps")
    assert podling.ok("port", "web", "8080").splitlines()[0] == f"0.0.0.0:{port}"
    assert "failed to find published port" in podling.fails(125, "port", "web", "99")
    podling.ok("stop", "-t", "0", "web")
    podling.ok("start", "web")
    assert fetch(port) == "hello\n"
    podling.ok("rm", "-f", "-t", "0", "web")
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", port)) != 0
    no_network_left(podling)


def test_random_ports_and_publish_all(podling: Podling) -> None:
    podling.ok(
        "run", "-d", "--name", "web", "-p", "8080", "--expose", "9090", "-P", IMAGE, "sh", "-c", SERVE.format(port=8080)
    )
    lines = podling.ok("port", "web").splitlines()
    assert len(lines) == 2 and lines[1].startswith("9090/tcp -> 0.0.0.0:")
    assert fetch(int(lines[0].rpartition(":")[2])) == "hello\n"


def test_port_in_use(podling: Podling) -> None:
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))
        sock.listen()
        port = sock.getsockname()[1]
        error = podling.fails(126, "run", "--rm", "-p", f"{port}:80", IMAGE, "true")
        assert "address already in use" in error and f"sport = :{port}" in error
    port = free_port()
    podling.ok("run", "-d", "--name", "holder", "-p", f"{port}:80", IMAGE, "sleep", "100")
    assert "container holder publishes it" in podling.fails(126, "run", "--rm", "-p", f"{port}:80", IMAGE, "true")
    podling.ok("rm", "-f", "-t", "0", "holder")
    assert podling.ok("ps", "-aq") == ""
    no_network_left(podling)


@pytest.mark.parametrize("text", ["x:80", "80:x", "70000:80", "1-2:1-3", "80:80/none", "1.2.3:80:80", "a:b:c:d"])
def test_bad_ports(podling: Podling, text: str) -> None:
    podling.fails(125, "create", "-p", text, IMAGE)


def test_fixed_address(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "fixed", "--ip", "10.87.3.4", IMAGE, "sleep", "100")
    assert podling.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "fixed") == "10.87.3.4"
    assert "already allocated" in podling.fails(125, "run", "--rm", "--ip", "10.87.3.4", IMAGE, "true")
    assert "not in any subnet" in podling.fails(125, "run", "--rm", "--ip", "10.99.0.1", IMAGE, "true")
    podling.fails(125, "run", "--rm", "--network=nosuch", IMAGE, "true")


def test_dns_options_and_added_hosts(podling: Podling) -> None:
    flags = [
        "--dns",
        "192.0.2.53",
        "--dns-search",
        "example.com",
        "--dns-option",
        "ndots:3",
        "--add-host",
        "other:192.0.2.7",
        "--add-host",
        "gate:host-gateway",
    ]
    text = podling.ok("run", "--rm", *flags, IMAGE, "cat", "/etc/resolv.conf", "/etc/hosts")
    assert "search example.com\nnameserver 192.0.2.53\noptions ndots:3\n" in text
    assert "192.0.2.7\tother" in text and "10.87.0.1\tgate" in text
    podling.fails(125, "create", "--add-host", "bad", IMAGE)


def test_addresses_are_not_given_twice(podling: Podling) -> None:
    running = [podling.background("run", "-d", IMAGE, "sleep", "100") for _ in range(6)]
    for process in running:
        _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
    addresses = [
        podling.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", id) for id in podling.ok("ps", "-q").split()
    ]
    assert len(set(addresses)) == 6
    podling.ok("rm", "-f", "-t", "0", "-a")
    no_network_left(podling)


def test_networks_of_killed_processes_are_released(podling: Podling) -> None:
    port = free_port()
    podling.ok("run", "-d", "--name", "c", "-p", f"{port}:80", IMAGE, "sleep", "1000")
    for pid in podling.ok("inspect", "-f", "{{.State.ConmonPid}} {{.State.Pid}}", "c").split():
        os.kill(int(pid), signal.SIGKILL)
    eventually(lambda: podling.ok("ps", "-q") == "")
    podling.ok("start", "c")
    podling.ok("rm", "-f", "-t", "0", "c")
    for delay in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3):
        process = podling.background("run", "--rm", "-p", f"{port}:80", IMAGE, "true")
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    podling.ok("rm", "-f", "-t", "0", "-a")
    eventually(lambda: podling.ok("ps", "-aq") == "")
    no_network_left(podling)
