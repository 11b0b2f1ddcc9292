"""The service of each test process, on its store."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Podling, eventually, podling, session_store

__all__ = ["podling", "session_store"]


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("podling", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines() if line]


class Service:
    """A running `podling system service`."""

    def __init__(self, engine: Podling, path: str, *arguments: str, address: str = "") -> None:
        self.path = path
        self.address = address or f"unix://{path}"
        with open(f"{engine.root}/service.log", "wb") as log:
            argv = engine.argv("--log-level=info", "system", "service", *arguments, self.address)
            self.process = subprocess.Popen(argv, env=engine.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.log = f"{engine.root}/service.log"
        if not address:
            eventually(self._is_up)

    def _is_up(self) -> bool:
        assert self.process.poll() is None, Path(self.log).read_text()
        try:
            return self("GET", "/_ping").status == 200
        except OSError:
            return False

    def raw(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(self.path)
        return sock

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        raw: bytes | None = None,
    ) -> Answer:
        connection = Connection(self.path)
        try:
            data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
            connection.request(method, path, data, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@pytest.fixture(scope="session")
def session_service(session_store: Podling) -> Iterator[Service]:
    service = Service(session_store, f"{session_store.root}/api.sock", "-t", "0")
    yield service
    service.stop()


@pytest.fixture
def service(session_service: Service, podling: Podling) -> Service:
    """The service; its store is looked at after the test, as in tests/integration. No descriptor may be left open."""
    return session_service


@pytest.fixture
def docker_env(service: Service) -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": service.address, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
