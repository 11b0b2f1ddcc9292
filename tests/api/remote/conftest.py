"""The command line's own tests once more, through a service: the same commands, the same output, the same exit codes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.conftest import Service
from tests.integration.conftest import Podling, eventually, session_store

__all__ = ["session_store"]


class RemotePodling(Podling):
    """A command line that works at a service on the same store."""

    def __init__(self, local: Podling, service: Service) -> None:
        super().__init__(local.root)
        self.env = local.env
        self.flags = ["--url", service.address]

    def argv(self, *args: str) -> list[str]:
        """Tests that run with both back ends say so in a flag, which is the service's to choose."""
        flag = next((flag for flag in self.flags if flag.startswith("--network-backend")), "")
        return [word for word in super().argv(*args) if word != flag]


@pytest.fixture(scope="session")
def remote_service(session_store: Podling) -> Iterator[Service]:
    service = Service(session_store, f"{session_store.root}/remote.sock", "-t", "0")
    yield service
    service.stop()


@pytest.fixture
def podling(session_store: Podling, remote_service: Service) -> Iterator[Podling]:
    """A client of the service; after each test nothing may be left, as in tests/integration."""
    client = RemotePodling(session_store, remote_service)
    yield client
    client.end_background()
    session_store("pod", "rm", "-f", "-t", "0", "-a")
    session_store("rm", "-f", "-t", "0", "-a")
    assert session_store.mounts() == []
    eventually(lambda: session_store.folders()["bundles"] == [])
