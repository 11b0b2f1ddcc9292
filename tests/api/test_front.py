"""Answers that are known before a request is taken apart: they are those of the usual way, and come only where one may begin."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.api.conftest import Service
from tests.integration.conftest import IMAGE, Podling

PING = b"GET /v1.44/_ping HTTP/1.1\r\nHost: d\r\n\r\n"
LIST = b"GET /v1.44/containers/json?all=1 HTTP/1.1\r\nHost: d\r\nAccept-Encoding: identity\r\n\r\n"


class _Quiet(Service):
    """A service that logs no requests: only such a one has answers in front."""

    def __init__(self, engine: Podling, path: str) -> None:
        original = engine.argv
        engine.argv = lambda *args: original(*(arg for arg in args if arg != "--log-level=info"))  # type: ignore[method-assign]
        try:
            super().__init__(engine, path, "-t", "0")
        finally:
            engine.argv = original  # type: ignore[method-assign]


@pytest.fixture
def quiet(session_store: Podling) -> Iterator[Service]:
    service = _Quiet(session_store, f"{session_store.root}/front.sock")
    yield service
    service.stop()


def answer(sock: socket.socket) -> tuple[bytes, dict[str, str], bytes]:
    """One answer of a connection: status line, headers, body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "content-length" in headers:
        while len(body) < int(headers["content-length"]):
            body += sock.recv(65536)
    return status.encode(), headers, body


def ask(sock: socket.socket, request: bytes) -> tuple[bytes, dict[str, str], bytes]:
    sock.sendall(request)
    return answer(sock)


def test_both_ways_give_the_same(quiet: Service, podling: Podling) -> None:
    podling.ok("create", "--name", "front", "--network=none", IMAGE)
    for request in (PING, PING.replace(b"/v1.44", b""), PING.replace(b"/v1.44", b"/v5.0.0/libpod"), LIST):
        with quiet.raw() as sock:
            ask(sock, request)  # a list comes into the cache
            fast = ask(sock, request)
            slow = ask(sock, request.replace(b"Host: d", b"Host: d\r\nIf-None-Match: x"))
        assert fast[0] == slow[0] == b"HTTP/1.1 200 OK" and fast[2] == slow[2]
        assert {key: value for key, value in fast[1].items() if key != "date"} == {
            key: value for key, value in slow[1].items() if key != "date"
        }
    assert json.loads(fast[2])[0]["Names"] == ["/front"]


def test_what_has_changed_is_told(quiet: Service, podling: Podling) -> None:
    with quiet.raw() as sock:
        for number in range(3):
            podling.ok("create", "--name", f"f{number}", "--network=none", IMAGE)
            for _ in range(3):
                assert len(json.loads(ask(sock, LIST)[2])) == number + 1


def test_requests_of_all_kinds_on_one_connection(quiet: Service) -> None:
    with quiet.raw() as sock:
        assert ask(sock, PING)[2] == b"OK"
        assert ask(sock, PING.replace(b"GET", b"HEAD"))[1]["api-version"] == "1.44"
        assert ask(sock, b"GET /v1.44/version HTTP/1.1\r\nHost: d\r\n\r\n")[0].endswith(b"200 OK")
        assert ask(sock, PING)[2] == b"OK"
        body = b'{"Name": "nothing"}'
        request = (
            b"POST /v1.44/networks/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(body)
        )
        sock.sendall(request + body[:5])
        sock.sendall(body[5:])
        assert b" 20" in answer(sock)[0]
        assert ask(sock, PING)[2] == b"OK"
        assert ask(sock, b"DELETE /v1.44/networks/nothing HTTP/1.1\r\nHost: d\r\n\r\n")[0].startswith(b"HTTP/1.1 204")
        assert ask(sock, PING)[2] == b"OK"


def test_a_head_in_pieces_and_several_at_once(quiet: Service) -> None:
    with quiet.raw() as sock:
        sock.sendall(b"POST /v1.44/nothing HTTP/1.1\r\nHost: d\r\nX: ")
        sock.sendall(PING)  # a part of that head, and no request of its own
        assert b" 40" in answer(sock)[0]
    with quiet.raw() as sock:
        sock.sendall(PING + PING + PING)
        data = b""
        while data.count(b"\r\n\r\nOK") < 3:
            data += sock.recv(65536)
    with quiet.raw() as sock:
        sock.sendall(PING[:20])
        sock.sendall(PING[20:])
        assert answer(sock)[2] == b"OK"
        assert ask(sock, PING)[2] == b"OK"


def test_a_connection_that_is_to_be_closed_is(quiet: Service) -> None:
    with quiet.raw() as sock:
        assert ask(sock, PING.replace(b"Host: d", b"Host: d\r\nConnection: close"))[2] == b"OK"
        assert sock.recv(10) == b""
    with quiet.raw() as sock:
        assert ask(sock, PING.replace(b"HTTP/1.1", b"HTTP/1.0"))[2] == b"OK"
        assert sock.recv(10) == b""
    with quiet.raw() as sock:
        assert ask(sock, PING.replace(b"/v1.44", b"/v9.99.9"))[0] == ask(sock, PING.replace(b"/v1.44", b"/v9.99.9"))[0]


def test_a_client_that_does_not_read_does_not_fill_the_memory(quiet: Service) -> None:
    with quiet.raw() as sock:
        sock.settimeout(0.5)
        try:
            for _ in range(20_000):
                sock.sendall(PING)
        except TimeoutError:
            pass
        with open(f"/proc/{quiet.process.pid}/statm") as file:
            assert int(file.read().split()[1]) * 4096 < 400 << 20
    assert quiet("GET", "/_ping").status == 200
