"""A user's bridges: names, ports, several containers on one, and what is left when things die."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.conftest import eventually

from .conftest import IMAGE, User
from .test_rootless import _free_port

SERVE = "echo {text} >/index.html; exec httpd -f -p 80 -h /"


@pytest.fixture
def net(user: User) -> Iterator[str]:
    """A network of the user's."""
    yield user.ok("network", "create", "un")
    user("rm", "-f", "-t", "0", "-a")
    user("network", "rm", "-f", "un")
    shared = user.runtime / "podling" / "shared-network"
    assert not (user.runtime / "netns" / "podling-shared").exists() and not (shared / "alive").exists()
    eventually(
        lambda: (
            not [line for line in user.processes() if "forward" in line or "pasta" in line or "aardvark-dns --" in line]
        )
    )


def _serve(user: User, name: str, net: str, *flags: str) -> None:
    user.ok("run", "-d", "--name", name, "--network", net, *flags, IMAGE, "sh", "-c", SERVE.format(text=name))


def _page(port: int, host: str = "127.0.0.1") -> str:
    try:
        with socket.create_connection((host, port), 2) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            data = b""
            while piece := sock.recv(65536):
                data += piece
            return data.decode().rpartition("\r\n")[2].strip()
    except OSError:
        return ""


def test_names_and_ports(user: User, net: str) -> None:
    port, local = _free_port(), _free_port()
    _serve(user, "web", net, "-p", f"{port}:80", "-p", f"127.0.0.1:{local}:80")
    eventually(lambda: _page(port) == "web")
    assert _page(local) == "web"
    assert user.ok("run", "--rm", "--network", net, IMAGE, "wget", "-q", "-O", "-", "http://web/") == "web"
    assert "host.containers.internal" in user.ok("exec", "web", "cat", "/etc/hosts")
    found = user.ok("network", "inspect", net, "--format", "{{range .Containers}}{{.Name}}{{end}}")
    assert found == "web"
    assert "already in use" in user.fails(126, "run", "--rm", "--network", net, "-p", f"{port}:80", IMAGE, "true")
    user.ok("stop", "-t0", "web")
    assert _page(port) == ""
    user.ok("start", "web")
    eventually(lambda: _page(port) == "web")


_ECHO = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("0.0.0.0", 7))
while True:
    data, client = sock.recvfrom(65536)
    sock.sendto(data[::-1], client)
"""


def test_datagrams(user: User, net: str) -> None:
    port = _free_port()
    user.ok("run", "-d", "--name", "echo", "--network", net, "-p", f"{port}:7/udp", IMAGE, "sleep", "1000")
    pid = user.ok("inspect", "-f", "{{.State.Pid}}", "echo")
    # busybox has no server for datagrams: one of the host's, in the container's network namespace
    server = subprocess.Popen(["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", _ECHO])
    try:
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]

        def answers(sock: socket.socket, text: bytes) -> bool:
            sock.settimeout(0.5)
            sock.sendto(text, ("127.0.0.1", port))
            try:
                return sock.recv(100) == text[::-1]
            except OSError:
                return False

        for number, sock in enumerate(clients):
            eventually(partial(answers, sock, f"hello {number}".encode()))
            sock.close()
    finally:
        server.kill()
        server.wait()


def test_much_data_and_many_connections(user: User, net: str) -> None:
    port = _free_port()
    big = "dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null; exec httpd -f -p 80 -h /"
    user.ok("run", "-d", "--name", "web", "--network", net, "-p", f"{port}:80", IMAGE, "sh", "-c", big)

    def size() -> int:
        count = 0
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as sock:
                sock.sendall(b"GET /big HTTP/1.0\r\n\r\n")
                while piece := sock.recv(1 << 20):
                    count += len(piece)
        except OSError:
            return 0
        return count

    eventually(lambda: size() > 64 << 20)
    held = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(50)]
    for sock in held:
        sock.sendall(b"GET /nosuch HTTP/1.0\r\n\r\n")
    assert all(b"404" in sock.recv(1000) for sock in held)
    for sock in held:
        sock.close()
    forwarder = next(pid for pid in _pids(user) if b"network.forward" in _command(pid))
    eventually(lambda: len(os.listdir(f"/proc/{forwarder}/fd")) < 20)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _pids(user: User) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{name}").st_uid == user.uid:
                found.append(int(name))
        except FileNotFoundError:  # it has just ended
            continue
    return found


def test_connecting_later(user: User, net: str) -> None:
    _serve(user, "web", net)
    user.ok("run", "-d", "--name", "other", "--network", "podman", IMAGE, "sleep", "1000")
    assert user("exec", "other", "wget", "-q", "-O", "-", "http://web/").returncode
    user.ok("network", "connect", net, "other")
    assert user.ok("exec", "other", "wget", "-q", "-O", "-", "http://web/") == "web"
    user.ok("network", "disconnect", net, "other")
    assert "eth1" not in user.ok("exec", "other", "ip", "link")


def test_what_died_is_mended(user: User, net: str) -> None:
    port = _free_port()
    _serve(user, "web", net, "-p", f"{port}:80")
    eventually(lambda: _page(port) == "web")
    pid = int((user.runtime / "podling" / "shared-network" / "alive").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    user.ok("restart", "-t0", "web")
    eventually(lambda: _page(port) == "web")
    for number in user.ok("inspect", "-f", "{{.State.ConmonPid}} {{.State.Pid}}", "web").split():
        os.kill(int(number), signal.SIGKILL)
    eventually(lambda: user.ok("ps", "-q") == "")
    user.ok("start", "web")
    eventually(lambda: _page(port) == "web")


def test_in_the_namespace_of_the_bridges(user: User, net: str) -> None:
    _serve(user, "web", net)
    address = user.ok("inspect", "-f", '{{(index .NetworkSettings.Networks "un").IPAddress}}', "web")
    done = subprocess.run(
        user.argv("unshare", "--rootless-netns", "wget", "-q", "-O", "-", f"http://{address}/"),
        capture_output=True,
        env=user.env,
    )
    if done.returncode == 127:
        pytest.skip("wget is not installed")
    assert done.stdout.strip() == b"web"
    user.ok("rm", "-f", "-t0", "web")
    shown = user("unshare", "--rootless-netns", "sh", "-c", "exit 7")
    assert shown.returncode == 7  # and the fixture looks that no pasta is left


def test_a_pod_on_a_bridge(user: User, net: str) -> None:
    port = _free_port()
    user.ok("pod", "create", "--name", "p", "--network", net, "-p", f"{port}:80")
    user.ok("run", "-d", "--pod", "p", IMAGE, "sh", "-c", SERVE.format(text="pod"))
    eventually(lambda: _page(port) == "pod")
    user.ok("pod", "rm", "-f", "-t0", "p")


def test_kinds_that_need_root(user: User) -> None:
    user.ok("network", "create", "-d", "macvlan", "mv")
    assert "needs root" in user.fails(125, "run", "--rm", "--network", "mv", IMAGE, "true")
    user.ok("network", "rm", "mv")
