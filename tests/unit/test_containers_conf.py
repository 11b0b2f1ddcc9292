"""containers.conf: order, merging, warnings, errors, the cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from podling.config import cached, containers
from podling.errors import InvalidInput


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Vendor, host and user folders of the test's own."""
    monkeypatch.setattr(containers, "_VENDOR", str(tmp_path / "vendor"))
    monkeypatch.setattr(containers, "_HOST", str(tmp_path / "host"))
    monkeypatch.setattr(containers, "_user_folder", lambda: str(tmp_path / "user"))
    monkeypatch.setattr(cached, "_place", lambda name: str(tmp_path / f"{name}.json"))
    for name in ("CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("vendor", "host", "user"):
        (tmp_path / name / "containers.conf.d").mkdir(parents=True)
        (tmp_path / name / "containers.conf.modules").mkdir()
    monkeypatch.setattr(containers, "_modules", [])
    containers.forget()
    yield tmp_path
    containers.forget()


def _text(section: str, **values: str) -> str:
    return f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())


def test_nothing_there(folder: Path) -> None:
    conf = containers.load()
    assert conf.text("engine", "runtime", "crun") == "crun" and conf.warnings == []
    assert not (folder / "containers-conf.json").exists()


def test_order(folder: Path) -> None:
    for place, value in (("vendor", "a"), ("host", "b"), ("user", "c")):
        (folder / place / "containers.conf").write_text(
            _text("engine", runtime=f'"{value}"', stop_timeout=str(ord(value)))
        )
        assert containers._load(containers.files()).text("engine", "runtime") == value
    (folder / "vendor/containers.conf.d/50.conf").write_text(_text("engine", runtime='"d"'))
    assert containers.load().text("engine", "runtime") == "c"  # the user's file comes after all of the vendor's
    (folder / "user/containers.conf.d/10.conf").write_text(_text("engine", runtime='"e"'))
    (folder / "user/containers.conf.d/20.txt").write_text("no TOML")
    containers.forget()
    assert containers.load().text("engine", "runtime") == "e"
    assert containers.load().number("engine", "stop_timeout", 0) == ord("c")


def test_environment_and_modules(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "host/containers.conf").write_text(_text("containers", tz='"host"', umask='"0077"'))
    (folder / "alone.conf").write_text(_text("containers", tz='"alone"'))
    (folder / "over.conf").write_text(_text("containers", log_tag='"over"'))
    (folder / "host/containers.conf.modules/m.conf").write_text(_text("containers", tz='"module"', log_tag='"module"'))
    monkeypatch.setenv("CONTAINERS_CONF", str(folder / "alone.conf"))
    conf = containers.load()
    assert conf.text("containers", "tz") == "alone" and conf.text("containers", "umask") == ""
    monkeypatch.setenv("CONTAINERS_CONF_OVERRIDE", str(folder / "over.conf"))
    containers.use_modules(["m.conf"])
    containers.forget()
    conf = containers.load()
    assert conf.text("containers", "tz") == "module" and conf.text("containers", "log_tag") == "over"
    with pytest.raises(InvalidInput, match="could not resolve module"):
        containers.use_modules(["nosuch.conf"])
    monkeypatch.setenv("CONTAINERS_CONF", str(folder / "nosuch.conf"))
    containers.forget()
    with pytest.raises(InvalidInput, match=r"nosuch\.conf: No such file"):
        containers.load()


def test_lists(folder: Path) -> None:
    (folder / "vendor/containers.conf").write_text(_text("containers", env='["A=1"]', dns_servers='["192.0.2.1"]'))
    (folder / "host/containers.conf").write_text(
        _text("containers", env='["B=2", {append = true}]', dns_servers='["192.0.2.2"]')
    )
    (folder / "user/containers.conf").write_text(_text("containers", env='["C=3"]'))
    conf = containers.load()
    assert conf.texts("containers", "env") == ["A=1", "B=2", "C=3"]  # once appending, later files append too
    assert conf.texts("containers", "dns_servers") == ["192.0.2.2"]
    (folder / "user/containers.conf").write_text(_text("containers", env='["C=3", {append = false}]'))
    containers.forget()
    assert containers.load().texts("containers", "env") == ["C=3"]


def test_tables_are_merged(folder: Path) -> None:
    (folder / "vendor/containers.conf").write_text('[engine.runtimes]\na = ["/a"]\nb = ["/b"]\n')
    (folder / "host/containers.conf").write_text('[engine.runtimes]\nb = ["/other"]\n')
    assert containers.load().get("engine", "runtimes") == {"a": ["/a"], "b": ["/other"]}


def test_what_is_unknown_is_told_with_its_line(folder: Path) -> None:
    path = folder / "host/containers.conf"
    path.write_text('[containers]\ntz = "UTC"\nnosuch = 1\n\n[nonsense]\nx = 1\n')
    assert containers.load().warnings == [
        f"{path}:3: unknown key containers.nosuch",
        f"{path}:5: unknown section [nonsense]",
    ]
    containers.forget()
    assert len(containers.load().warnings) == 2  # out of the cache too


def test_broken_files(folder: Path) -> None:
    path = folder / "host/containers.conf"
    path.write_text("[containers]\ntz = \n")
    with pytest.raises(InvalidInput, match=r"containers\.conf: .*line 2"):
        containers.load()
    path.write_text('[containers]\ntz = 1\nenv = "A=1"\ninit = "yes"\npids_limit = "many"\n')
    containers.forget()
    conf = containers.load()
    for call in (
        lambda: conf.text("containers", "tz"), lambda: conf.texts("containers", "env"), lambda: conf.flag("containers", "init"),
        lambda: conf.number("containers", "pids_limit", 0),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match=r"containers\.conf: containers\."):
            call()


def test_the_cache_notices_changes(folder: Path) -> None:
    path = folder / "host/containers.conf"
    path.write_text(_text("containers", tz='"one"'))
    assert containers.load().text("containers", "tz") == "one"
    assert (folder / "containers-conf.json").exists()
    path.write_text(_text("containers", tz='"two"'))
    os.utime(path, ns=(1, 1))
    containers.forget()
    assert containers.load().text("containers", "tz") == "two"
    (folder / "containers-conf.json").write_text("{damaged")
    containers.forget()
    assert containers.load().text("containers", "tz") == "two"
