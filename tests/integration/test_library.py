"""The library, in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import podling as library
from podling.engine import Engine
from podling.errors import CommandNotFound, NameInUse, NoSuchContainer, NoSuchImage, RuntimeFailed

from .conftest import IMAGE, Podling


@pytest.fixture
def engine(podling: Podling) -> Iterator[Engine]:
    with library.open(root=f"{podling.root}/root", runroot=f"{podling.root}/run") as opened:
        yield opened


def test_run(engine: Engine) -> None:
    result = engine.containers.run(
        IMAGE, ["sh", "-c", "cat; echo $A >&2; exit 3"], env={"A": "1"}, input=b"in", remove=True, network=["none"]
    )
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"in", b"1\n")
    assert engine.containers.list(all=True) == []


def test_errors(engine: Engine) -> None:
    with pytest.raises(NoSuchImage):
        engine.containers.run("localhost/nosuch", ["true"])
    with pytest.raises(CommandNotFound):
        engine.containers.run(IMAGE, ["nosuch"], remove=True, network=["none"])
    with pytest.raises(NoSuchContainer):
        engine.containers.get("nosuch")
    with pytest.raises(RuntimeFailed, match="ended with 2"):
        engine.containers.run(IMAGE, ["sh", "-c", "exit 2"], remove=True, check=True, network=["none"])
    with pytest.raises(TypeError):
        engine.containers.create(IMAGE, no_such_option=1)
    engine.containers.create(IMAGE, name="taken")
    with pytest.raises(NameInUse):
        engine.containers.create(IMAGE, name="taken")


def test_life(engine: Engine) -> None:
    with engine.containers.start(
        IMAGE, ["sh", "-c", "echo hello; sleep 100"], name="lib", network=["none"]
    ) as container:
        assert container.status == "running" and container.name == "lib"
        assert container.exec(["wc", "-c"], input=b"12345").stdout == b"5\n"
        assert [line.text for line in container.logs()] == [b"hello\n"]
        container.pause()
        assert container.status == "paused"
        container.unpause()
        container.stop(timeout=0)
        assert container.wait() == 137
        container.start()
        assert container.top()[1][-1]
    assert not engine.containers.exists("lib")


def test_images(engine: Engine) -> None:
    engine.images.tag(IMAGE, "other:1")
    assert "localhost/other:1" in engine.images.list()[0].names
    engine.images.remove("other:1")
    assert not engine.images.exists("other:1") and engine.images.exists(IMAGE)
    assert engine.images.inspect(IMAGE)["Os"] == "linux"
    assert engine.images.history(IMAGE)


def test_events_and_info(engine: Engine) -> None:
    engine.containers.run(IMAGE, ["true"], name="ev", remove=True, network=["none"])
    seen = [event.action for event in engine.system.events(since="1h", filters=["container=ev"], follow=False)]
    assert seen[-2:] == ["died", "remove"]
    assert engine.system.info()["host"]["os"] == "linux"


def test_the_readme_runs(podling: Podling, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    opened = library.open
    monkeypatch.setattr(library, "open", lambda: opened(root=f"{podling.root}/root", runroot=f"{podling.root}/run"))
    exec(code, {})
    lines = capsys.readouterr().out.split("\n")
    assert lines[0] == "0 5" and "running" in lines[3] and "localhost/busybox:latest" in lines[4]


def test_threads(engine: Engine) -> None:
    results: list[bytes] = []

    def work(number: int) -> None:
        results.append(engine.containers.run(IMAGE, ["echo", str(number)], remove=True, network=["none"]).stdout)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [f"{number}\n".encode() for number in range(6)]
