"""The service as HTTP sees it: dialects, errors, taken-over connections, ways to listen, and clients that misbehave."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.api.conftest import Service, descriptors
from tests.integration.conftest import IMAGE, Podling, eventually


# -- dialects and errors
def test_versions_and_headers(service: Service) -> None:
    for path in ("/_ping", "/v1.24/_ping", "/v1.44/_ping", "/libpod/_ping", "/v5.7.1/libpod/_ping"):
        answer = service("GET", path)
        assert (answer.status, answer.body) == (200, b"OK"), path
        assert answer.headers["Api-Version"] == "1.44" and answer.headers["Libpod-Api-Version"] == "5.7.1"
    assert service("HEAD", "/_ping").body == b""
    assert service("GET", "/v1.44/version").json["ApiVersion"] == "1.44"
    assert service("GET", "/libpod/version").json["Components"][0]["Details"]["APIVersion"] == "5.7.1"
    assert service("GET", "/libpod/info").json["host"]["serviceIsRemote"] is True


def test_the_store_is_checked(service: Service, podling: Podling) -> None:
    clean = service("POST", "/libpod/system/check?quick=true").json
    assert clean["Errors"] is False and clean["Layers"] == {}
    left = Path(podling.root, "root/containers/left-behind")
    left.mkdir(parents=True)
    found = service("POST", "/libpod/system/check?quick=true").json
    assert found["Errors"] is True and found["Layers"] == {"containers/left-behind": ["nothing refers to it"]}
    assert left.exists()
    mended = service("POST", "/libpod/system/check?quick=true&repair=true").json
    assert mended["Errors"] is False and mended["RemovedLayers"] == ["containers/left-behind"] and not left.exists()
    assert service("POST", "/libpod/system/check?unreferenced_layer_max_age=odd").status == 400
    away = [sys.executable, "-m", "podling", "--url", service.address, "system", "check", "--quick"]
    assert subprocess.run(away, capture_output=True, check=True).stdout == b""


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/nothing", None, 404, "no such path"),
        ("PUT", "/_ping", None, 405, "not a method"),
        ("GET", "/containers/nope/json", None, 404, "no such container"),
        ("GET", "/libpod/containers/nope/json", None, 404, "no such container"),
        ("GET", "/images/nope:1/json", None, 404, "No such image: nope:1"),
        ("GET", "/libpod/networks/nope/json", None, 404, "network"),
        ("GET", "/networks/nope", None, 404, "network"),
        ("GET", "/volumes/nope", None, 404, "volume"),
        ("GET", "/libpod/pods/nope/json", None, 404, "no such pod"),
        ("GET", "/exec/nope/json", None, 404, "no such exec session"),
        ("GET", "/libpod/secrets/nope/json", None, 404, "secret"),
        ("GET", "/containers/json?all=perhaps", None, 400, "neither true nor false"),
        ("GET", "/containers/json?limit=many", None, 400, "not a number"),
        ("GET", "/containers/json?filters=%7B", None, 400, "not JSON"),
        ("GET", "/containers/json?filters=%5B%5D", None, 400, "map of lists"),
        ("GET", "/containers/json?filters=%7B%22nope%22:%5B%22x%22%5D%7D", None, 400, "nope"),
        ("POST", "/containers/create", {"Cmd": ["x"]}, 400, "no image"),
        ("POST", "/containers/create", {"Image": 5}, 400, "Image is not a string"),
        ("POST", "/containers/create", {"Image": IMAGE, "HostConfig": []}, 400, "HostConfig is not an object"),
        ("POST", "/containers/create", {"Image": IMAGE, "HostConfig": {"Memory": "1g"}}, 400, "HostConfig.Memory"),
        ("POST", "/containers/create", {"Image": IMAGE, "HostConfig": {"Binds": [5]}}, 400, "HostConfig.Binds"),
        ("POST", "/containers/create?name=..", {"Image": IMAGE}, 400, "name"),
        ("POST", "/libpod/containers/create", {"image": IMAGE, "portmappings": [{"container_port": 99999}]}, 400, "99999"),
        ("POST", "/libpod/containers/create", {}, 400, "image"),
        ("POST", "/containers/create", {"Image": "localhost/none"}, 404, "No such image"),
        ("POST", "/networks/create", {"Name": "x y"}, 400, "x y"),
        ("POST", "/networks/create", {"Name": "n", "IPAM": {"Config": [{"Subnet": "300.1.1.1/8"}]}}, 400, "300.1.1.1"),
        ("POST", "/volumes/create", {"Name": "../x"}, 400, "../x"),
        ("DELETE", "/networks/nope", None, 404, "network"),
        ("DELETE", "/volumes/nope", None, 404, "volume"),
        ("DELETE", "/images/nope", None, 404, "image"),
        ("POST", "/containers/nope/wait?condition=never", None, 400, "condition"),
        ("GET", "/containers/nope/logs", None, 400, "stream"),
        ("GET", "/swarm", None, 503, "swarm"),
        ("POST", "/images/create", None, 400, "fromImage"),
        ("GET", "/distribution/x/json", None, 501, "not supported"),
        ("GET", "/images/%2e%2e%2f%2e%2e%2fetc%2fpasswd/json", None, 400, ".."),
    ],
)  # fmt: skip
def test_errors(service: Service, method: str, path: str, body: object, status: int, words: str) -> None:
    answer = service(method, path, body)
    assert answer.status == status, answer.body
    assert set(answer.json) == {"cause", "message", "response"} and answer.json["response"] == status
    assert words.lower() in answer.json["message"].lower()
    assert "Traceback" not in answer.json["message"]


@pytest.mark.parametrize("data", [b"{", b"[]", b'"x"', b"\xff\xfe", b"{" * 100_000, b'{"Image": NaN'])
def test_bodies_that_are_no_documents(service: Service, data: bytes) -> None:
    assert service("POST", "/containers/create", raw=data).status == 400


def test_a_body_that_is_too_large(service: Service) -> None:
    answer = service("POST", "/containers/create", raw=b'{"Image": "' + b"x" * (9 << 20) + b'"}')
    assert answer.status == 413


def test_every_documented_route_exists(service: Service) -> None:
    """The OpenAPI document is that of the routes; none of Podman's is missing but those of what is not built yet."""
    from podling.api import router, routes

    routes.load()
    document = service("GET", "/libpod/swagger").json
    assert document["paths"]["/libpod/containers/json"]["get"]["parameters"]
    names = {parameter["name"] for parameter in document["paths"]["/containers/create"]["post"]["parameters"]}
    assert names == {"name", "platform"}
    missing = []
    table = Path(__file__).parent / "data" / "routes.txt"
    for line in table.read_text().splitlines():
        method, path = line.split()
        try:
            found = router.find(method, path.replace("{", "").replace("}", ""))
        except router.WrongMethod:
            found = None
        if found is None:
            missing.append(line)
    assert missing == []


# -- taken-over connections
def read_frames(sock: socket.socket) -> list[tuple[int, bytes]]:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    frames = []
    while data:
        stream, size = struct.unpack(">BxxxI", data[:8])
        frames.append((stream, data[8 : 8 + size]))
        data = data[8 + size :]
    return frames


def read_head(sock: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        assert piece, head
        head += piece
    return head


@pytest.mark.parametrize("upgrade", [True, False])
def test_attach_by_upgrade_and_by_plain_hijack(service: Service, upgrade: bool) -> None:
    id = service(
        "POST", "/containers/create",
        {"Image": IMAGE, "Cmd": ["sh", "-c", "cat; echo err >&2"], "OpenStdin": True, "HostConfig": {"NetworkMode": "none"}},
    ).json["Id"]  # fmt: skip
    sock = service.raw()
    lines = f"POST /v1.44/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\n"
    sock.sendall((lines + ("Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else "") + "\r\n").encode())
    head = read_head(sock)
    assert head.startswith(b"HTTP/1.1 101 " if upgrade else b"HTTP/1.1 200 ")
    assert service("POST", f"/containers/{id}/start").status == 204
    assert service("POST", f"/containers/{id}/start").status == 304
    sock.sendall(b"typed\n")
    sock.shutdown(socket.SHUT_WR)
    assert read_frames(sock) == [(1, b"typed\n"), (2, b"err\n")]
    sock.close()
    assert service("POST", f"/containers/{id}/wait").json == {"StatusCode": 0, "Error": None}
    assert service("DELETE", f"/containers/{id}").status == 204


def test_much_output_arrives_whole(service: Service) -> None:
    id = service(
        "POST", "/containers/create",
        {"Image": IMAGE, "Cmd": ["sh", "-c", "sleep 0.2; seq 1 100000"], "HostConfig": {"NetworkMode": "none"}},
    ).json["Id"]  # fmt: skip
    sock = service.raw()
    sock.sendall(f"POST /containers/{id}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    read_head(sock)
    service("POST", f"/containers/{id}/start")
    text = b"".join(data for _, data in read_frames(sock))
    sock.close()
    assert text == b"".join(b"%d\n" % n for n in range(1, 100_001))
    logged = service("GET", f"/containers/{id}/logs?stdout=1").body
    assert sum(len(part) for part in re.split(rb"[\x01]\x00\x00\x00.{4}", logged, flags=re.DOTALL)) == len(text)
    service("DELETE", f"/containers/{id}?force=1")


def test_websocket_attach(service: Service) -> None:
    id = service(
        "POST", "/containers/create",
        {"Image": IMAGE, "Cmd": ["cat"], "OpenStdin": True, "HostConfig": {"NetworkMode": "none"}},
    ).json["Id"]  # fmt: skip
    service("POST", f"/containers/{id}/start")
    sock = service.raw()
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET /containers/{id}/attach/ws?stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    assert b" 101 " in read_head(sock)
    sock.sendall(b"\x82\x83\0\0\0\0hi\n")
    assert sock.recv(5) == b"\x82\x03hi\n"
    sock.close()
    assert service("DELETE", f"/containers/{id}?force=1").status == 204


def test_exec_sessions(service: Service) -> None:
    id = service(
        "POST", "/libpod/containers/create", {"image": IMAGE, "command": ["sleep", "60"], "netns": {"nsmode": "none"}}
    ).json["Id"]
    assert service("POST", f"/containers/{id}/exec", {"Cmd": ["true"]}).status == 409
    service("POST", f"/libpod/containers/{id}/start")
    session = service("POST", f"/containers/{id}/exec", {"Cmd": ["sh", "-c", "exit 7"]}).json["Id"]
    assert service("GET", f"/exec/{session}/json").json["Running"] is False
    assert service("POST", f"/exec/{session}/start", {"Detach": True}).status == 204
    eventually(lambda: service("GET", f"/exec/{session}/json").json["ExitCode"] == 7)
    assert service("POST", f"/exec/{session}/start", {"Detach": True}).status == 409
    assert service("POST", f"/libpod/exec/{session}/remove", {}).status == 204
    assert service("GET", f"/exec/{session}/json").status == 404
    assert service("POST", f"/containers/{id}/exec", {"Cmd": []}).status == 400
    assert service("POST", f"/containers/{id}/exec", {"Cmd": ["nothing"]}).status == 500
    assert service("GET", f"/containers/{id}/json").json["ExecIDs"] is None
    service("DELETE", f"/containers/{id}?force=1")


def test_wait_conditions(service: Service) -> None:
    spec = {
        "Image": IMAGE,
        "Cmd": ["sh", "-c", "sleep 0.3; exit 5"],
        "HostConfig": {"NetworkMode": "none", "AutoRemove": True},
    }
    id = service("POST", "/containers/create", spec).json["Id"]
    found: dict[str, object] = {}

    def wait(condition: str) -> None:
        found[condition] = service("POST", f"/containers/{id}/wait?condition={condition}").json["StatusCode"]

    threads = [threading.Thread(target=wait, args=(condition,)) for condition in ("next-exit", "removed")]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    service("POST", f"/containers/{id}/start")
    assert service("POST", f"/libpod/containers/{id}/wait?condition=running").json == -1
    for thread in threads:
        thread.join(20)
    assert found == {"next-exit": 5, "removed": 5}
    assert service("GET", f"/containers/{id}/json").status == 404


# -- images with a registry
def test_pull_and_push_with_progress(service: Service, podling: Podling, tmp_path: Path) -> None:
    from tests.integration.registry import Registry

    registry = Registry(tmp_path, user="user", password="secret")
    try:
        auth = base64.urlsafe_b64encode(json.dumps({"username": "user", "password": "secret"}).encode()).decode()
        name = f"{registry.host}/team/web"
        assert service("POST", f"/images/{IMAGE}/tag?repo={name}&tag=1").status == 201
        lines = service("POST", f"/images/{name}/push?tag=1", headers={"X-Registry-Auth": auth}).lines
        assert lines[-1]["aux"]["Digest"].startswith("sha256:")
        service("DELETE", f"/images/{name}:1")
        refused = service("POST", f"/images/create?fromImage={name}&tag=1")
        assert refused.status == 401, refused.body
        lines = service("POST", f"/images/create?fromImage={name}&tag=1", headers={"X-Registry-Auth": auth}).lines
        assert any(line.get("id") for line in lines) and "Digest" in lines[-2]["status"]
        assert service("GET", f"/images/{name}:1/json").json["RepoTags"]
        pulled = service(
            "POST",
            f"/libpod/images/pull?reference={name}:1&policy=always&tlsVerify=false",
            headers={"X-Registry-Auth": auth},
        ).lines
        assert pulled[-1]["images"] == [pulled[-1]["id"]]
        assert (
            service("POST", f"/images/create?fromImage={registry.host}/none", headers={"X-Registry-Auth": auth}).status
            == 404
        )
        answer = service(
            "POST", "/auth?tlsVerify=false", {"username": "user", "password": "secret", "serveraddress": registry.host}
        )
        assert answer.json["Status"] == "Login Succeeded"
        assert (
            service(
                "POST", "/auth?tlsVerify=false", {"username": "user", "password": "no", "serveraddress": registry.host}
            ).status
            == 401
        )
        service("DELETE", f"/libpod/images/{name}:1?force=true")
    finally:
        registry.stop()


# -- clients that misbehave
def test_clients_that_go_away_leave_nothing(service: Service, podling: Podling) -> None:
    podling.ok(
        "run", "-d", "--name", "talk", "--network=none", IMAGE, "sh", "-c", "while :; do echo x; sleep 0.05; done"
    )
    service("GET", "/_ping")
    before = descriptors(service.process.pid)
    for path in ("logs?follow=1&stdout=1", "stats?stream=1", "attach?stream=1&stdout=1"):
        method = "POST" if path.startswith("attach") else "GET"
        for _ in range(4):
            sock = service.raw()
            sock.sendall(f"{method} /containers/talk/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            sock.recv(100)
            sock.close()
    for _ in range(4):
        sock = service.raw()
        sock.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.recv(100)
        sock.close()
        sock = service.raw()  # half a request
        sock.sendall(b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        sock.close()
        sock = service.raw()
        sock.sendall(b"\x16\x03\x01 not http\r\n\r\n")
        sock.recv(1000)
        sock.close()
    eventually(lambda: descriptors(service.process.pid) <= before + 2)
    assert service("GET", "/_ping").status == 200


def test_a_slow_reader_holds_up_nobody(service: Service, podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "flood", "--network=none", IMAGE, "sh", "-c", "while :; do seq 1 10000; done")
    sock = service.raw()
    sock.sendall(b"GET /containers/flood/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    sock.recv(100)  # and never again
    with open(f"/proc/{service.process.pid}/statm") as file:
        first = int(file.read().split()[1])
    for _ in range(10):
        begun = time.monotonic()
        assert service("GET", "/containers/json").status == 200
        assert time.monotonic() - begun < 5
        time.sleep(0.05)
    with open(f"/proc/{service.process.pid}/statm") as file:
        assert int(file.read().split()[1]) - first < (64 << 20) // 4096
    sock.close()


# -- ways to listen
def test_pages_of_another_origin(podling: Podling) -> None:
    service = Service(podling, f"{podling.root}/cors.sock", "-t", "0", "--cors", "https://example.org")
    try:
        answer = service("GET", "/_ping")
        assert answer.headers["Access-Control-Allow-Origin"] == "https://example.org"
        assert service("OPTIONS", "/containers/json").status in (200, 204)
    finally:
        service.stop()


def test_tcp_and_tls(podling: Podling, tmp_path: Path) -> None:
    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=tmp_path, check=True, capture_output=True)

    openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=ca",
        "-days",
        "2",
    )
    for name in ("server", "client"):
        openssl(
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            "-subj",
            f"/CN={name}",
        )
        (tmp_path / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            f"{name}.pem",
            "-days",
            "2",
            "-extfile",
            "ext",
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = Service(
        podling, "", "-t", "0", "--tls-cert", f"{tmp_path}/server.pem", "--tls-key", f"{tmp_path}/server.key", "--tls-client-ca",
        f"{tmp_path}/ca.pem", address=f"tcp://127.0.0.1:{port}",
    )  # fmt: skip
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))

    def ping(context: ssl.SSLContext) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
        ):
            sock.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            data = b""
            while piece := sock.recv(4096):
                data += piece
            return data

    try:

        def refused() -> bool:
            try:
                return ping(context) == b""
            except ssl.SSLError:
                return True
            except OSError:
                return False

        eventually(refused)  # it listens, and wants a certificate
        context.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
        assert ping(context).endswith(b"OK")
    finally:
        service.stop()


def test_idle_services_end_and_leave_no_socket(podling: Podling) -> None:
    path = f"{podling.root}/idle.sock"
    service = Service(podling, path, "-t", "0.5")
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert service.process.wait(10) == 0
    assert not os.path.exists(path)
    assert Path(service.log).read_text().count("GET /_ping 200") == 1


def test_a_signal_ends_it(podling: Podling) -> None:
    path = f"{podling.root}/two.sock"
    service = Service(podling, path, "-t", "0")
    assert "another service listens there" in podling.fails(125, "system", "service", "-t", "0", f"unix://{path}")
    os.kill(service.process.pid, signal.SIGINT)
    assert service.process.wait(10) == 0
    assert not os.path.exists(path)


def test_socket_activation(podling: Podling) -> None:
    """As systemd does it: the socket is descriptor 3, and LISTEN_PID says for whom."""
    path = f"{podling.root}/activated.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    script = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])"
    )
    argv = [sys.executable, "-c", script, str(listener.fileno()), *podling.argv("system", "service", "-t", "1")]
    process = subprocess.Popen(argv, env=podling.env, pass_fds=[listener.fileno()])
    try:
        listener.close()
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(path)
        sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := sock.recv(4096):
            data += piece
        assert data.endswith(b"OK")
        sock.close()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
    assert os.path.exists(path)  # systemd's socket is systemd's


def test_addresses_that_cannot_be(podling: Podling) -> None:
    assert "unix://PATH or tcp://HOST:PORT" in podling.fails(125, "system", "service", "http://x")
    assert "tcp://HOST:PORT" in podling.fails(125, "system", "service", "tcp://nohost")
    assert "--tls-cert" in podling.fails(125, "system", "service", "--tls-cert", "/none", "unix:///tmp/x.sock")
    assert "--time" in podling.fails(125, "system", "service", "-t", "-1")
