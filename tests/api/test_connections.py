"""Services by name and from afar: system connection, the environment, ssh, tcp with TLS, and services that are none of ours."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.conftest import Service
from tests.integration.conftest import IMAGE, Podling, eventually
from tests.integration.test_other_stores import sshd

__all__ = ["sshd"]
Client = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def client(podling: Podling, tmp_path: Path) -> Client:
    """A command line without a store of its own, and with a connections' file of its own."""
    bare = Podling(podling.root)
    bare.flags = []
    bare.env = {**podling.env, "PODMAN_CONNECTIONS_CONF": str(tmp_path / "connections.json")}

    def run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return bare(*args, env=env)

    return run


def test_connections(client: Client, service: Service, tmp_path: Path) -> None:
    assert client("system", "connection", "add", "one", service.address).returncode == 0
    assert (
        client(
            "system",
            "connection",
            "add",
            "two",
            "--port",
            "2222",
            "me@host",
            "--socket-path",
            "/run/user/5/podman/podman.sock",
            "--identity",
            "key",
        ).returncode
        == 0
    )
    rows = json.loads(client("system", "connection", "ls", "--format", "json").stdout)
    assert [(row["Name"], row["Default"]) for row in rows] == [("one", True), ("two", False)]
    assert rows[1]["URI"] == "ssh://me@host:2222/run/user/5/podman/podman.sock" and rows[1][
        "Identity"
    ] == os.path.abspath("key")
    assert client("system", "connection", "add", "--farm", "builders", "third", "unix:///third").returncode == 0
    assert json.loads((tmp_path / "connections.json").read_text())["Farm"] == {
        "List": {"builders": ["third"]},
        "Default": "builders",
    }
    assert client("system", "connection", "rename", "third", "fourth").returncode == 0
    assert json.loads((tmp_path / "connections.json").read_text())["Farm"]["List"] == {"builders": ["fourth"]}
    assert client("system", "connection", "rm", "fourth").returncode == 0
    assert json.loads((tmp_path / "connections.json").read_text())["Farm"]["List"] == {"builders": []}
    assert client("--remote", "images", "-q").stdout  # the default
    assert client("--connection", "one", "images", "-q").stdout
    assert client("images", "-q", env={"CONTAINER_CONNECTION": "one"}).stdout
    assert client("images", "-q", env={"CONTAINER_HOST": service.address}).stdout
    assert client("system", "connection", "rename", "one", "uno").returncode == 0
    assert client("system", "connection", "default", "two").returncode == 0
    assert (
        client("system", "connection", "list", "--format", "{{.Name}} {{.Default}}").stdout == "two true\nuno false\n"
    )
    done = client("-c", "one", "images")
    assert done.returncode == 125 and 'connection "one" not found' in done.stderr
    done = client("system", "connection", "add", "uno", service.address)
    assert done.returncode == 125 and "already" in done.stderr
    assert client("system", "connection", "rm", "uno", "two").returncode == 0
    assert client("system", "connection", "ls", "-q").stdout == ""
    assert client("system", "connection", "add", "x", "ftp://y").returncode == 125
    (tmp_path / "connections.json").write_text("{")
    assert "connections.json" in client("-c", "one", "images").stderr


def test_options_that_make_no_sense_there(client: Client, service: Service) -> None:
    done = client("--url", service.address, "--root", "/x", "images")
    assert done.returncode == 125 and "--root is for the service to choose" in done.stderr
    done = client("--url", service.address, "-c", "x", "images")
    assert done.returncode == 125 and "exclude" in done.stderr
    for words in (["doctor"], ["unshare", "true"], ["system", "migrate"]):
        done = client("--url", service.address, *words)
        assert done.returncode == 125 and "host of the service" in done.stderr.replace(
            "run `podling doctor` on it", "host of the service"
        ), words
    assert "Server" in client("--url", service.address, "version").stdout
    assert json.loads(client("--url", service.address, "info", "--format", "json").stdout)["host"]["arch"]


def test_the_environment_does_not_reach_commands_of_this_host(podling: Podling, service: Service) -> None:
    """With CONTAINER_HOST set a service is served, and conmon's exit command cleans up where the container was."""
    elsewhere = {"CONTAINER_HOST": "unix:///nowhere/sock"}
    assert podling("run", "--name", "here", "--network=none", IMAGE, "true", env=elsewhere).returncode == 0
    podling.ok("rm", "here")
    mine = Podling(podling.root)
    mine.env = {**podling.env, **elsewhere}
    other = Service(mine, f"{podling.root}/mine.sock", "-t", "0")
    id = other(
        "POST",
        "/containers/create",
        {"Image": IMAGE, "Cmd": ["sleep", "0.2"], "HostConfig": {"NetworkMode": "none", "AutoRemove": True}},
    ).json["Id"]
    other("POST", f"/containers/{id}/start")
    eventually(lambda: other("GET", f"/containers/{id}/json").status == 404)
    other.stop()


def test_the_default_and_the_keys(client: Client, tmp_path: Path) -> None:
    assert client("system", "connection", "add", "plain", "unix:///nowhere").returncode == 0
    keys = (
        "--tls-ca",
        str(tmp_path / "ca.pem"),
        "--tls-cert",
        str(tmp_path / "c.pem"),
        "--tls-key",
        str(tmp_path / "c.key"),
    )
    assert client("system", "connection", "add", "--default", *keys, "far", "tcp://127.0.0.1:1").returncode == 0
    (far, plain) = sorted(
        json.loads(client("system", "connection", "ls", "--format", "json").stdout), key=lambda row: str(row["Name"])
    )
    assert far["Default"] and not plain["Default"]
    assert (far["TLSCA"], far["TLSCert"], far["TLSKey"]) == tuple(keys[1::2])
    done = client("--remote", "ps")
    assert done.returncode == 125 and "tcp://127.0.0.1:1" in done.stderr
    assert client("system", "connection", "rm", "--all").returncode == 0
    assert json.loads(client("system", "connection", "ls", "--format", "json").stdout) == []


def test_no_service(client: Client, tmp_path: Path) -> None:
    done = client("--url", f"unix://{tmp_path}/none", "ps")
    assert done.returncode == 125 and "podling system service" in done.stderr
    done = client("--url", "tcp://127.0.0.1:1", "ps")
    assert done.returncode == 125 and "Connection refused" in done.stderr
    done = client("--url", "gopher://x", "ps")
    assert done.returncode == 125 and "is no address of a service" in done.stderr


@pytest.mark.skipif(not shutil.which("podman"), reason="no podman here")
def test_a_service_of_another_kind(client: Client) -> None:
    tmp_path = Path(tempfile.mkdtemp(prefix="pod-"))  # podman wants short paths
    path = tmp_path / "podman.sock"
    argv = [
        "podman",
        "--root",
        str(tmp_path / "root"),
        "--runroot",
        str(tmp_path / "run"),
        "system",
        "service",
        "-t",
        "0",
        f"unix://{path}",
    ]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(path.exists)
        done = client("--url", f"unix://{path}", "ps")
        assert done.returncode == 125 and "does not speak podling/1" in done.stderr
    finally:
        process.terminate()
        process.wait()
        subprocess.run(
            ["sh", "-c", f"grep -o '{tmp_path}[^ ]*' /proc/mounts | sort -r | xargs -r umount -l"], check=False
        )


@pytest.mark.xdist_group("sshd")
def test_ssh(client: Client, service: Service, sshd: tuple[Path, int]) -> None:
    folder, port = sshd
    env = {"PATH": f"{folder}/bin:{os.environ['PATH']}"}
    url = f"ssh://root@127.0.0.1:{port}{service.path}"
    done = client("--url", url, "run", "--rm", "--network=none", IMAGE, "echo", "from afar", env=env)
    assert (done.returncode, done.stdout) == (0, "from afar\n"), done.stderr
    done = client("--url", f"ssh://root@127.0.0.1:1{service.path}", "ps", env=env)
    assert done.returncode == 126 and "ssh to root@127.0.0.1 failed" in done.stderr
    assert not [name for name in os.listdir("/tmp") if name.startswith("podling-ssh-")]


def test_a_service_that_dies_in_the_middle(client: Client, podling: Podling) -> None:
    service = Service(podling, f"{podling.root}/dies.sock", "-t", "0")
    podling.ok(
        "run", "-d", "--name", "talk", "--network=none", IMAGE, "sh", "-c", "while :; do echo x; sleep 0.05; done"
    )
    bare = Podling(podling.root)
    bare.flags = ["--url", service.address]
    process = bare.background("logs", "-f", "talk")
    assert process.stdout and process.stdout.readline() == b"x\n"
    service.process.kill()
    service.process.wait()
    assert process.wait(10) == 125
    assert process.stderr and b"hung up" in process.stderr.read()
    bare.end_background()
    with socket.socket(socket.AF_UNIX) as probe:  # the socket of a killed service is taken over by the next one
        assert probe.connect_ex(service.path)
    again = Service(podling, service.path, "-t", "0")
    again.stop()
    assert podling.ok("ps", "--format", "{{.Names}}") == "talk"
