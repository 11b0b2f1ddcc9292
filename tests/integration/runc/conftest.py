"""Tests of containers once more, with runc."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.integration.conftest import IMAGE, Podling, _make_store


@pytest.fixture(scope="session")
def session_store() -> Iterator[Podling]:
    """Takes the place of the store whose containers crun runs."""
    if not shutil.which("runc"):
        pytest.skip("no runc here")
    for engine in _make_store():
        engine.flags.append("--runtime=runc")
        engine.ok("pull", "-q", IMAGE)
        yield engine
