"""Other clients, as they are: docker-compose, docker-py, podman-py, testcontainers, and `podman --remote`."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Service
from tests.integration.conftest import IMAGE

pytestmark = [
    pytest.mark.xdist_group("network"),
    # the clients' own affairs: sockets that they leave to the garbage collector, things that they call deprecated
    pytest.mark.filterwarnings("ignore"),
]


# -- docker-py
@pytest.fixture
def client(service: Service) -> Any:
    docker = pytest.importorskip("docker")
    made = docker.DockerClient(base_url=service.address, version="auto", timeout=30)
    yield made
    made.close()


def test_docker_py(client: Any) -> None:
    import docker

    assert client.containers.run(IMAGE, "echo hi", remove=True) == b"hi\n"
    with pytest.raises(docker.errors.ContainerError):
        client.containers.run(IMAGE, "false", remove=True)
    box = client.containers.run(
        IMAGE, "sh -c 'while :; do echo t; sleep .1; done'", detach=True, name="dk", mem_limit="64m", labels={"a": "b"},
        volumes={"dkv": {"bind": "/d", "mode": "rw"}}, tmpfs={"/t": "size=1m"}, cap_drop=["ALL"], nano_cpus=500_000_000,
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}, ulimits=[docker.types.Ulimit(name="nofile", soft=100, hard=200)],
        healthcheck={"test": ["CMD", "true"], "interval": 10**10},
    )  # fmt: skip
    box.reload()
    assert box.status == "running" and box.attrs["HostConfig"]["NanoCpus"] == 500_000_000
    assert box.attrs["Config"]["Healthcheck"]["Test"] == ["CMD", "true"]
    assert box.exec_run("sh -c 'echo a; echo b>&2; exit 3'", demux=True) == (3, (b"a\n", b"b\n"))
    assert next(iter(box.logs(stream=True, follow=True))) == b"t\n"
    session = box.exec_run("cat", socket=True, stdin=True)
    session.output._sock.sendall(b"hello\n")
    assert session.output.read(14) == b"\x01\0\0\0\0\0\0\x06hello\n"
    session.output.close()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        member = tarfile.TarInfo("x")
        member.size, member.uid = 3, 77
        archive.addfile(member, io.BytesIO(b"abc"))
    assert box.put_archive("/tmp", data.getvalue())
    chunks, stat = box.get_archive("/tmp/x")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        (found,) = archive.getmembers()
    assert (stat["name"], stat["size"], found.uid) == ("x", 3, 77)
    with pytest.raises(docker.errors.NotFound):
        box.get_archive("/nothing")
    with pytest.raises(docker.errors.NotFound):
        box.put_archive("/nothing", data.getvalue())
    socket = box.attach_socket(params={"stdout": 1, "stream": 1})
    assert socket.read(10) == b"\x01\0\0\0\0\0\0\x02t\n"
    socket.close()
    stats = box.stats(stream=False)
    assert stats["memory_stats"]["limit"] == 64 << 20 and stats["precpu_stats"]["system_cpu_usage"] > 0
    box.kill()
    assert box.wait()["StatusCode"] == 137
    box.remove()
    client.volumes.get("dkv").remove()
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("dk")
    with pytest.raises(docker.errors.ImageNotFound):
        client.containers.create("localhost/nothing")


def test_docker_py_networks_and_images(client: Any) -> None:
    import docker

    pool = docker.types.IPAMPool(subnet="10.77.0.0/24", gateway="10.77.0.1", iprange="10.77.0.128/25")
    network = client.networks.create(
        "dkn", ipam=docker.types.IPAMConfig(pool_configs=[pool]), labels={"x": "y"}, internal=True
    )
    assert network.attrs["IPAM"]["Config"][0]["Gateway"] == "10.77.0.1" and network.attrs["Internal"]
    box = client.containers.create(IMAGE, "sleep 9")
    network.connect(box, aliases=["al"], ipv4_address="10.77.0.9")
    box.start()
    box.reload()
    entry = box.attrs["NetworkSettings"]["Networks"]["dkn"]
    assert entry["IPAddress"] == "10.77.0.9" and "al" in entry["Aliases"]
    assert client.networks.list(filters={"label": ["x=y"]})[0].name == "dkn"
    network.disconnect(box)
    box.remove(force=True)
    network.remove()
    image = client.images.get(IMAGE)
    saved = b"".join(image.save())
    image.tag("foo/bar", "t")
    client.images.remove("foo/bar:t")
    assert client.images.load(saved)[0].id == image.id
    assert [
        event["Action"] for event in client.events(since=int(time.time()) - 30, until=int(time.time()) + 1, decode=True)
    ]
    assert client.df()["LayersSize"] > 0 and client.info()["NCPU"] == os.cpu_count()


# -- podman-py
def test_podman_py(service: Service) -> None:
    podman = pytest.importorskip("podman")
    with podman.PodmanClient(base_url=service.address) as client:
        assert client.ping() and client.info()["host"]["os"] == "linux"
        box = client.containers.run(
            IMAGE, ["sh", "-c", "echo hi; sleep 30"], detach=True, name="pk", environment={"A": "b"}, labels={"x": "y"}, mem_limit="64m",
            mounts=[{"type": "tmpfs", "source": "tmpfs", "target": "/scratch", "size": "1m"}], cap_drop=["NET_RAW"],
        )  # fmt: skip
        box.reload()
        assert box.status == "running" and box.labels == {"x": "y"} and box.attrs["HostConfig"]["Memory"] == 64 << 20
        assert box.exec_run(["sh", "-c", "echo $A"])[1].endswith(b"b\n")
        assert box.top()["Processes"][0][-1] == "sleep 30"
        assert client.containers.list(filters={"label": "x=y"})[0].name == "pk"
        box.stop(timeout=0)
        assert box.wait() in (137, 143)
        box.remove()
        found = client.containers.run(IMAGE, ["sh", "-c", "sleep 0.5; echo out"], remove=True)
        assert found is None or list(found) == [b"out\n"]  # it looks for the log when the container may have gone
        pod = client.pods.create("pp")
        pod.start()
        pod.reload()
        assert pod.attrs["State"] == "Running"
        pod.remove(force=True)
        volume = client.volumes.create("pvv", labels={"q": "w"})
        assert "pvv" in [found.name for found in client.volumes.list()]
        volume.remove()
        network = client.networks.create("pnn")
        assert client.networks.exists("pnn")
        network.remove()
        secret = client.secrets.create("psec", b"abc")
        assert secret.name == "psec"
        secret.remove()
        manifest = client.manifests.create("localhost/mm")
        manifest.add([IMAGE])
        manifest.reload()
        assert len(manifest.attrs["manifests"]) == 1
        client.manifests.remove("localhost/mm")
        assert client.df()["ImagesSize"] > 0


# -- testcontainers
def test_testcontainers(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("testcontainers")
    monkeypatch.setenv("DOCKER_HOST", service.address)
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    testcontainers_config.ryuk_disabled = True
    command = "sh -c 'mkdir /www; echo x > /www/i; exec httpd -f -p 80 -h /www'"
    with DockerContainer(IMAGE).with_command(command).with_exposed_ports(80) as box:
        url = f"http://{box.get_container_host_ip()}:{box.get_exposed_port(80)}/i"
        for _ in range(50):
            try:
                assert urllib.request.urlopen(url, timeout=2).read() == b"x\n"
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("the server did not come up")


# -- docker-compose
_COMPOSE = f"""
version: "3.8"
services:
  web:
    image: {IMAGE}
    command: sh -c "mkdir -p /www; echo hello from $$WHO > /www/index.html; exec httpd -f -p 80 -h /www"
    ports: ["127.0.0.1:0:80"]
    environment: {{WHO: web}}
    volumes: ["data:/data"]
    healthcheck: {{test: ["CMD", "true"], interval: 5s}}
  client:
    image: {IMAGE}
    command: sh -c "until wget -q -O - http://web/; do sleep 0.2; done; sleep 60"
    depends_on: [web]
volumes: {{data: {{}}}}
"""


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="no docker-compose here")
def test_compose(docker_env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(_COMPOSE)

    def compose(*args: str) -> str:
        done = subprocess.run(
            ["docker-compose", "-p", "cp", *args],
            cwd=tmp_path,
            env=docker_env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{args}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    try:
        compose("up", "-d")
        deadline = time.monotonic() + 20
        while "hello from web" not in compose("logs", "client"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert compose("ps").count("client") == 1
        assert compose("exec", "-T", "web", "echo", "inside") == "inside\n"
        assert "up-to-date" in compose("up", "-d") or "Running" in compose("up", "-d")
        compose("up", "-d", "--scale", "client=2")
        assert len(compose("ps", "-q").split()) == 3
    finally:
        compose("down", "-v", "-t", "0")


# -- podman --remote
@pytest.mark.skipif(not shutil.which("podman"), reason="no podman here")
def test_podman_remote(service: Service, tmp_path: Path) -> None:
    def podman(*args: str, input: str | None = None, code: int = 0) -> str:
        done = subprocess.run(
            ["podman", "--remote", "--url", service.address, *args],
            input=input,
            capture_output=True,
            text=True,
            timeout=40,
        )
        assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.rstrip("\n")

    assert podman("run", "--rm", IMAGE, "sh", "-c", "echo hi; exit 5", code=5) == "hi"
    assert podman("run", "--rm", "-i", IMAGE, "cat", input="in\n") == "in"
    podman(
        "run", "-d", "--name", "p1", "-p", "127.0.0.1:18077:80", "-v", "vol1:/data", "-e", "A=b", "--memory", "64m", "--tmpfs", "/t",
        "--cap-drop", "ALL", "--ulimit", "nofile=64:64", "--annotation", "x=y", "--hostname", "h", "--health-cmd", "true",
        IMAGE, "sh", "-c", "echo line; sleep 100",
    )  # fmt: skip
    assert podman("ps", "--format", "{{.Names}} {{.Ports}}") == "p1 127.0.0.1:18077->80/tcp"
    assert podman("exec", "p1", "sh", "-c", "echo $A; hostname; ulimit -n") == "b\nh\n64"
    assert podman("logs", "p1") == "line"
    assert podman("inspect", "p1", "--format", "{{.State.Status}} {{.HostConfig.Memory}}") == f"running {64 << 20}"
    (tmp_path / "f").write_text("content")
    podman("cp", str(tmp_path / "f"), "p1:/tmp/g")
    podman("cp", "p1:/tmp/g", str(tmp_path / "h"))
    assert (tmp_path / "h").read_text() == "content"
    podman("stop", "-t", "0", "p1")
    podman("start", "p1")
    podman("commit", "p1", "localhost/committed")
    podman("rmi", "localhost/committed")
    podman("rm", "-f", "-t", "0", "p1")
    podman("volume", "rm", "vol1")
    podman("pod", "create", "--name", "po", "--label", "a=b")
    podman("run", "-d", "--pod", "po", IMAGE, "sleep", "50")
    assert podman("pod", "ps", "--format", "{{.Name}} {{.Status}} {{.NumberOfContainers}}") == "po Running 2"
    assert "sleep 50" in podman("pod", "top", "po")
    podman("pod", "rm", "-f", "-t", "0", "po")
    (tmp_path / "s").write_text("secret")
    podman("secret", "create", "s1", str(tmp_path / "s"))
    assert podman("run", "--rm", "--secret", "s1", IMAGE, "cat", "/run/secrets/s1") == "secret"
    podman("secret", "rm", "s1")
    podman("save", "-q", "-o", str(tmp_path / "i.tar"), IMAGE)
    assert IMAGE in podman("load", "-i", str(tmp_path / "i.tar"))
    podman("network", "create", "--subnet", "10.78.0.0/24", "tn")
    assert podman("network", "inspect", "tn", "--format", "{{(index .Subnets 0).Gateway}}") == "10.78.0.1"
    podman("network", "rm", "tn")
    assert "Images" in podman("system", "df")
    assert "remove" in podman("events", "--stream=false", "--since", "1m", "--filter", "container=p1")
