"""A pytest plugin: throw-away containers in tests. It comes with the installation; `-p no:podling` turns it off.

    def test_web(podling_run):
        web = podling_run("docker.io/library/nginx", publish=["80"], wait=conditions.http(80))
        host, port = web.port(80)

`--podling-url` (or CONTAINER_HOST) has a service do the work; `--podling-root` names the store of the engine in this process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import podling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Protocol

    from podling.conditions import Condition
    from podling.engine import Engine
    from podling.engine.containers import Container
    from podling.engine.objects import Network, Volume

    class Run(Protocol):
        """Starts a container that is removed after the test."""

        def __call__(
            self,
            image: str,
            command: Sequence[str] = (),
            *,
            wait: Condition | None = None,
            timeout: float = 60,
            **options: Any,
        ) -> Container: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("podling", "containers for tests")
    group.addoption(
        "--podling-url", default="", help="service that runs the containers: unix://PATH, tcp://HOST:PORT, ssh://…"
    )
    group.addoption("--podling-root", default="", help="store of the engine in this process")


@pytest.fixture(scope="session")
def podling_engine(pytestconfig: pytest.Config) -> Iterator[Engine]:
    """The engine for the whole session: in this process, or at the service of --podling-url or CONTAINER_HOST."""
    url = pytestconfig.getoption("--podling-url") or os.environ.get("CONTAINER_HOST", "")
    root = pytestconfig.getoption("--podling-root")
    options = {"root": f"{root}/root", "runroot": f"{root}/run"} if root and not url else {}
    with podling.open(url, **options) as engine:
        yield engine


@pytest.fixture
def podling_run(podling_engine: Engine) -> Iterator[Run]:
    """Start containers as `engine.containers.start` does; each is removed after the test, with its anonymous volumes.

    `wait` is a condition of `podling.conditions`; where it does not come to hold, the error shows the end of the container's log.
    """
    started: list[Container] = []

    def run(
        image: str, command: Sequence[str] = (), *, wait: Condition | None = None, timeout: float = 60, **options: Any
    ) -> Container:
        container = podling_engine.containers.start(image, command, **options)
        started.append(container)
        if wait is not None:
            container.wait_for(wait, timeout)
        return container

    yield run
    for container in reversed(started):
        if podling_engine.containers.exists(container.id):
            container.remove(force=True, volumes=True, timeout=0)


@pytest.fixture
def podling_network(podling_engine: Engine) -> Iterator[Network]:
    """A network of the test's own: containers on it find each other by name."""
    with podling_engine.networks.create() as network:
        yield network


@pytest.fixture
def podling_volume(podling_engine: Engine) -> Iterator[Callable[[], Volume]]:
    """Makes volumes; each is removed after the test."""
    made: list[Volume] = []

    def create() -> Volume:
        made.append(podling_engine.volumes.create())
        return made[-1]

    yield create
    for volume in made:
        volume.remove(force=True)
