"""Builds through the API: by the docker command, docker-py, docker-compose, `podman --remote`, and as bare requests."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import tarfile
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Service
from tests.integration.conftest import IMAGE, Podling, eventually
from tests.integration.registry import Image, Registry, layer
from tests.integration.test_build import tidy

__all__ = ["tidy"]
pytestmark = [pytest.mark.xdist_group("network"), pytest.mark.filterwarnings("ignore")]
TEXT = f"FROM {IMAGE}\nARG WHO=world\nLABEL a=b\nCOPY a.txt /a\nRUN echo hello $WHO > /said; echo told; echo error >&2\nCMD cat /a /said\n"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "a.txt").write_text("a\n")
    (folder / "Dockerfile").write_text(TEXT)
    return folder


def packed(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("_dot_", "."))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    return out.getvalue()


def post(service: Service, path: str, body: bytes, **parameters: Any) -> Any:
    query = urllib.parse.urlencode(
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in parameters.items()}
    )
    return service("POST", f"{path}?{query}", raw=body, headers={"Content-Type": "application/x-tar"})


def told(lines: list[dict[str, Any]]) -> str:
    return "".join(line.get("stream", "") for line in lines)


# -- bare requests
def test_lines_of_a_build(service: Service) -> None:
    answer = post(
        service, "/v1.44/build", packed(Dockerfile=TEXT, a_dot_txt="a\n"), t="built:1", buildargs={"WHO": "you"}, labels={"x": "y"},
        networkmode="none", memory="268435456", shmsize="1048576", extrahosts="h:1.2.3.4", ulimits="nofile=99:99", cachefrom=[],
    )  # fmt: skip
    assert answer.status == 200
    text = told(answer.lines)
    assert "STEP 1/6: FROM" in text and "\ntold\n" in text and "error\n" in text and text.endswith("\n")
    id = next(line["aux"]["ID"] for line in answer.lines if "aux" in line)
    assert f"Successfully built {id[7:19]}" in text and "Successfully tagged docker.io/library/built:1" in text
    document = service("GET", "/v1.44/images/built:1/json").json
    assert document["Id"] == id and document["Config"]["Labels"] == {"a": "b", "x": "y"}
    again = post(
        service,
        "/v5.0.0/libpod/build",
        packed(Dockerfile=TEXT, a_dot_txt="a\n"),
        networkmode="none",
        buildargs={"WHO": "me"},
    )
    assert len(again.lines[-1]["stream"].strip()) == 64


def test_other_files_targets_and_folders(service: Service, context: Path) -> None:
    text = f"FROM {IMAGE} AS one\nRUN exit 5\nFROM {IMAGE} AS two\nLABEL is=two\n"
    answer = post(service, "/v1.44/build", packed(other=text), dockerfile="other", target="two", t="two", q="1")
    assert answer.status == 200 and "STEP" not in told(answer.lines)
    here = service(
        "POST", f"/v5.0.0/libpod/local/build?localcontextdir={urllib.parse.quote(str(context))}&t=here&networkmode=none"
    )
    assert here.status == 200 and "COMMIT here" in told(here.lines)
    assert service("POST", "/v5.0.0/libpod/local/build?localcontextdir=relative").status == 400


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        (f"FROM {IMAGE}\nRUN exit 7\n", {"networkmode": "none"}, "exit status 7"), (f"FROM {IMAGE}\nCOPY nothing /\n", {}, "no such file"),
        ("FORM x\n", {}, "unknown instruction"), (f"FROM {IMAGE}\n", {"target": "nothing"}, "was not found"), (f"FROM {IMAGE}\n", {"dockerfile": "nothing"}, "does not exist"),
    ],
)  # fmt: skip
def test_failures_are_told(service: Service, text: str, parameters: dict[str, str], message: str) -> None:
    answer = post(service, "/v1.44/build", packed(Dockerfile=text), **parameters)
    assert message in (answer.lines[-1].get("error") or answer.json["message"])
    assert answer.status == (200 if "STEP" in told(answer.lines) else answer.status)


def test_accounts_for_base_images(service: Service, tmp_path: Path) -> None:
    registry = Registry(tmp_path, user="ann", password="s3cret")
    try:
        registry.push("base", "1", Image([layer({"etc": None, "etc/who": b"me"})]))
        text = f"FROM {registry.host}/base:1\nLABEL a=b\n"
        accounts = {registry.host: {"username": "ann", "password": "s3cret", "serveraddress": registry.host}}
        header = base64.urlsafe_b64encode(json.dumps(accounts).encode()).decode()
        headers = {"Content-Type": "application/x-tar", "X-Registry-Config": header}
        answer = service("POST", "/v1.44/build?tlsVerify=false&pull=1", raw=packed(Dockerfile=text), headers=headers)
        assert "Successfully built" in told(answer.lines), answer.body
        refused = service(
            "POST",
            "/v1.44/build?tlsVerify=false&pull=1",
            raw=packed(Dockerfile=text),
            headers={"Content-Type": "application/x-tar"},
        )
        assert b"Successfully" not in refused.body
        headers["X-Registry-Config"] = "!"
        assert service("POST", "/v1.44/build", raw=packed(Dockerfile=text), headers=headers).status == 400
    finally:
        registry.stop()


def test_bad_requests(service: Service) -> None:
    assert post(service, "/v1.44/build", packed(Dockerfile=TEXT), buildargs="{").status == 400
    assert post(service, "/v1.44/build", packed(Dockerfile=TEXT), labels="7").status == 400
    assert service("POST", "/v1.44/build", raw=b"x", headers={"Content-Type": "text/plain"}).status == 400
    assert (
        service("POST", "/v1.44/build?version=2", raw=b"", headers={"Content-Type": "application/x-tar"}).status == 400
    )
    assert post(service, "/v1.44/build", b"\x1f\x8b broken").status >= 400
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../out"))
    assert post(service, "/v1.44/build", out.getvalue()).status >= 400


def test_who_leaves_ends_the_step(service: Service, podling: Podling) -> None:
    body = packed(Dockerfile=f"FROM {IMAGE}\nRUN echo begun; sleep 1000\n")
    with service.raw() as sock:
        head = f"POST /v1.44/build?networkmode=none HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        seen = b""
        while b"begun\\n" not in seen:
            seen += sock.recv(4096)
        assert "sleep 1000" in podling.ok("ps", "--external", "--no-trunc")
    eventually(lambda: podling.ok("ps", "-aq", "--external") == "")
    assert service("GET", "/_ping").status == 200


# -- clients
@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command here")
def test_docker_build(docker_env: dict[str, str], context: Path) -> None:
    def docker(*args: str, code: int = 0) -> str:
        done = subprocess.run(
            ["docker", *args],
            capture_output=True,
            text=True,
            env={**docker_env, "DOCKER_BUILDKIT": "0"},
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    out = docker(
        "build", "-t", "docked", "--build-arg", "WHO=docker", "--network", "none", "--label", "l=1", str(context)
    )
    assert "Successfully built" in out and "told" in out
    assert docker("run", "--rm", "--network", "none", "docked") == "a\nhello docker\n"
    assert docker("build", "-q", "--network", "none", str(context)).startswith("sha256:")
    (context / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN exit 3\n")
    assert "exit status 3" in docker("build", "--network", "none", str(context), code=1)
    docker("rmi", "docked")


def test_docker_py(service: Service, context: Path) -> None:
    docker = pytest.importorskip("docker")
    client = docker.DockerClient(base_url=service.address, version="auto", timeout=30)
    image, log = client.images.build(
        path=str(context), tag="dpy:1", buildargs={"WHO": "py"}, network_mode="none", rm=True
    )
    assert image.tags == ["docker.io/library/dpy:1"] and any("told" in line.get("stream", "") for line in log)
    (context / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN exit 3\n")
    with pytest.raises(docker.errors.BuildError, match="exit status 3"):
        client.images.build(path=str(context), network_mode="none")
    client.images.remove("dpy:1")
    client.close()


def test_podman_remote(service: Service, context: Path) -> None:
    if not shutil.which("podman"):
        pytest.skip("no podman here")
    argv = ["podman", "--remote", "--url", service.address, "build", "-t", "remote:1", "--network=none", str(context)]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, env={**os.environ, "TMPDIR": "/tmp"}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "told" in done.stdout and len(done.stdout.splitlines()[-1]) == 64
    (context / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN exit 3\n")
    assert subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode != 0


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="no docker-compose here")
def test_compose(docker_env: dict[str, str], context: Path) -> None:
    (context / "docker-compose.yml").write_text(
        "services:\n  app:\n    image: composed\n    build:\n      context: .\n      args: {WHO: compose}\n      network: none\n    network_mode: none\n"
    )

    def compose(*args: str) -> str:
        done = subprocess.run(["docker-compose", "-p", "cb", *args], capture_output=True, text=True, env={**docker_env, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}, cwd=context, timeout=90, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    compose("build")
    assert "hello compose" in compose("run", "--rm", "app")
    compose("down", "--rmi", "all")
