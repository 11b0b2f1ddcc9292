"""The library whole: objects, conditions, asyncio, the pytest plugin; in this process and at a service, through the same interface."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import podling as library
from podling import aio, conditions
from podling.engine import Engine
from podling.engine.dial import Unreachable
from podling.errors import InvalidInput, NoSuchContainer, NotFound, Unsupported, WrongState
from tests.api.conftest import Service

from .conftest import IMAGE, Podling

pytestmark = pytest.mark.xdist_group("network")
HTTPD = ["sh", "-c", "mkdir -p /www; echo page > /www/i; sleep 0.3; echo ready; exec httpd -f -p 80 -h /www"]


@pytest.fixture(scope="module")
def library_service(session_store: Podling) -> Iterator[Service]:
    service = Service(session_store, f"{session_store.root}/library.sock", "-t", "0")
    yield service
    service.stop()


@pytest.fixture(params=["here", "there"])
def engine(request: pytest.FixtureRequest, podling: Podling) -> Iterator[Engine]:
    if request.param == "here":
        with library.open(root=f"{podling.root}/root", runroot=f"{podling.root}/run") as opened:
            yield opened
    else:
        with library.open(request.getfixturevalue("library_service").address) as opened:
            yield opened


def test_the_same_interface(engine: Engine, tmp_path: Path) -> None:
    result = engine.containers.run(
        IMAGE, ["sh", "-c", "cat; echo $A >&2; exit 3"], env={"A": "1"}, input=b"in", remove=True, network=["none"]
    )
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"in", b"1\n")
    assert engine.containers.list(all=True) == []
    with pytest.raises(NoSuchContainer):
        engine.containers.get("nosuch")
    with engine.containers.start(IMAGE, ["sh", "-c", "echo hello; sleep 100"], name="lib", network=["none"]) as box:
        box.wait_for(conditions.log("hello"))
        assert box.exec(["wc", "-c"], input=b"12345").stdout == b"5\n"
        (tmp_path / "f").write_text("x")
        box.copy_in(str(tmp_path / "f"), "/tmp/g")
        box.copy_out("/tmp/g", str(tmp_path / "h"))
        assert (tmp_path / "h").read_text() == "x"
        assert next(box.stats()).memory > 0
        image = box.commit("localhost/made:1")
        assert engine.images.exists("localhost/made:1") and engine.images.inspect("localhost/made:1")["Id"] == image
        engine.images.remove("localhost/made:1")
        assert [event.action for event in engine.system.events(since="1m", filters=["container=lib"], follow=False)][
            -1
        ] == "commit"
    assert not engine.containers.exists("lib")


def test_conditions(engine: Engine) -> None:
    with engine.containers.start(
        IMAGE, HTTPD, publish=["127.0.0.1::80"], health_cmd="true", health_interval="1s"
    ) as web:
        web.wait_for(conditions.port(80))
        web.wait_for(conditions.http(80, "/i"))
        web.wait_for(conditions.log("ready"))
        web.wait_for(conditions.healthy())
        assert web.port(80)[0] == "127.0.0.1"
        with pytest.raises(NotFound):
            web.port(81)
        with pytest.raises(TimeoutError, match="'never' in the log within"):
            web.wait_for(conditions.log("never"), timeout=0.2)
    with (
        engine.containers.start(IMAGE, ["sh", "-c", "echo why; exit 7"], network=["none"]) as box,
        pytest.raises(WrongState, match=r"(?s)ended with 7 before.*why"),
    ):
        box.wait_for(lambda _: False)


def test_objects(engine: Engine) -> None:
    with engine.networks.create("libnet", subnets=["10.66.0.0/24"], labels={"a": "b"}) as network:
        assert network.inspect()["subnets"][0]["gateway"] == "10.66.0.1"
        with engine.containers.start(IMAGE, ["sleep", "60"]) as box:
            network.connect(box.id, aliases=["other"])
            assert "libnet" in box.inspect()["NetworkSettings"]["Networks"]
            network.disconnect(box.id)
    assert not engine.networks.exists("libnet")
    with engine.volumes.create("libvol", labels={"a": "b"}) as volume:
        assert engine.volumes.list(filters=["label=a=b"])[0].name == volume.name and Path(volume.path).is_dir()
    assert engine.volumes.list(filters=["name=libvol"]) == []
    with engine.pods.create("libpod", labels={"a": "b"}) as pod:
        engine.containers.start(IMAGE, ["sleep", "60"], pod="libpod")
        assert pod.status == "Running" and len(pod.top()) == 3
        pod.stop(timeout=0)
        assert pod.status == "Exited"
    assert not engine.pods.exists("libpod")
    engine.secrets.create("libsec", b"data")
    assert engine.secrets.reveal("libsec") == b"data" and engine.secrets.list()[0].name == "libsec"
    engine.secrets.remove("libsec")


def test_a_stream_ends_when_it_is_left(engine: Engine) -> None:
    with engine.containers.start(IMAGE, ["sh", "-c", "while :; do echo x; sleep 0.05; done"], network=["none"]) as box:
        lines = box.logs(follow=True)
        assert next(lines).text == b"x\n"
        lines.close()  # type: ignore[attr-defined]
        with pytest.raises(StopIteration):
            next(lines)


def test_where_no_service_is(podling: Podling, library_service: Service) -> None:
    with pytest.raises(Unreachable, match="cannot connect"), library.open("unix:///nowhere/sock") as engine:
        engine.containers.list()
    with pytest.raises(InvalidInput):
        library.open("http://x")
    with library.open(library_service.address) as engine, pytest.raises(Unsupported):
        engine.examine()


@pytest.mark.parametrize("place", ["here", "there"])
def test_asyncio(podling: Podling, library_service: Service, place: str) -> None:
    async def use() -> None:
        options = {} if place == "there" else {"root": f"{podling.root}/root", "runroot": f"{podling.root}/run"}
        async with aio.open(library_service.address if place == "there" else "", **options) as engine:
            results = await asyncio.gather(
                *(
                    engine.containers.run(IMAGE, ["sh", "-c", f"echo {n}"], remove=True, network=["none"])
                    for n in range(5)
                )
            )
            assert [int(result.stdout) for result in results] == list(range(5))
            async with await engine.containers.start(
                IMAGE, ["sh", "-c", "while :; do echo x; sleep 0.05; done"], network=["none"]
            ) as box:
                seen = 0
                stream = box.logs(follow=True)
                async for line in stream:
                    assert line.text == b"x\n"
                    seen += 1
                    if seen == 3:
                        break
                await stream.aclose()  # type: ignore[attr-defined]
                assert (await box.exec(["echo", "hi"])).stdout == b"hi\n"
                events = engine.events()
                waiting = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0.3)
                await box.kill()
                assert (await asyncio.wait_for(waiting, 10)).action == "kill"
                await events.aclose()  # type: ignore[attr-defined]
            assert await engine.containers.list(all=True) == []

    begun = time.monotonic()
    asyncio.run(use())
    assert time.monotonic() - begun < 60


_PLUGGED = """
from podling import conditions

def test_web(podling_run, podling_network, podling_volume):
    volume = podling_volume()
    web = podling_run({image!r}, {command!r}, wait=conditions.http(80, "/i"), publish=["127.0.0.1::80"], network=[podling_network.name],
                      name="plugged", volume=[volume.name + ":/data"])
    assert web.status == "running"
    client = podling_run({image!r}, ["wget", "-qO-", "http://plugged/i"], network=[podling_network.name])
    assert client.wait() == 0

def test_that_fails(podling_run):
    podling_run({image!r}, ["sh", "-c", "echo the reason; exit 1"], wait=conditions.log("never"), network=["none"])
"""


@pytest.mark.parametrize("place", ["here", "there"])
def test_the_pytest_plugin(podling: Podling, library_service: Service, tmp_path: Path, place: str) -> None:
    (tmp_path / "test_it.py").write_text(_PLUGGED.format(image=IMAGE, command=HTTPD))
    where = [f"--podling-root={podling.root}"] if place == "here" else [f"--podling-url={library_service.address}"]
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "--rootdir",
        str(tmp_path),
        *where,
    ]
    plugin = ["-p", "podling.pytest"] if not _is_installed() else []
    done = subprocess.run([*argv, *plugin, str(tmp_path)], capture_output=True, text=True, timeout=120, env=podling.env)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "the reason" in done.stdout
    assert podling.ok("ps", "-aq") == "" and podling.ok("volume", "ls", "-q") == ""


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(entry.value == "podling.pytest" for entry in entry_points(group="pytest11"))
