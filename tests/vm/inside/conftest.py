"""The fixtures of the integration and rootless tests, for the guest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.conftest import Podling, _make_store, podling, session_store  # noqa: F401 - fixtures

IMAGE = "localhost/busybox"


@pytest.fixture(scope="session")
def runc_store() -> Iterator[Podling]:
    """A store whose containers runc runs: Debian's crun cannot checkpoint."""
    for engine in _make_store():
        engine.flags.append("--runtime=runc")
        engine.ok("pull", "-q", IMAGE)
        yield engine


@pytest.fixture
def criu(runc_store: Podling) -> Iterator[Podling]:
    """The store, and nothing in it afterwards."""
    yield runc_store
    runc_store("rm", "-f", "-t", "0", "-a")
    runc_store("rmi", "-f", "localhost/checkpoint")
    runc_store("volume", "rm", "-a", "-f")
    assert runc_store.folders()["bundles"] == [] and runc_store.folders()["logs"] == []
    assert runc_store.conmons() == []
