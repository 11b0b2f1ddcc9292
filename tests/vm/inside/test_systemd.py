"""Containers as systemd's services: notification, auto-update with its rollback, health checks by timers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import IMAGE, Podling, eventually

from . import long

NONE = "--network=none"
UNIT = Path("/etc/systemd/system/web.service")
NAMED = "localhost/web:latest"


def _systemctl(*args: str) -> str:
    return subprocess.run(["systemctl", *args], capture_output=True, text=True).stdout.strip()


@pytest.fixture
def unit(podling: Podling) -> Iterator[Podling]:
    """web.service, which runs localhost/web."""
    podling.ok("tag", IMAGE, NAMED)
    label = ("--label", "io.containers.autoupdate=local")
    run = podling.argv(
        "run",
        "-d",
        "--replace",
        "--name",
        "web",
        "--sdnotify=conmon",
        "--cgroups=no-conmon",
        *label,
        NONE,
        NAMED,
        "sh",
        "/start",
    )
    podling.ok("run", "--name", "made", NONE, NAMED, "sh", "-c", "echo 'exec sleep 1000' >/start")
    podling.ok("commit", "-q", "made", NAMED)
    UNIT.write_text(
        "[Service]\nType=notify\nNotifyAccess=all\nTimeoutStartSec=30\nEnvironment=PODMAN_SYSTEMD_UNIT=%n PYTHONPATH=/src/src HOME=/root\n"
        f"ExecStart={' '.join(run)}\nExecStop={' '.join(podling.argv('stop', '-t0', '-i', 'web'))}\n"
        f"ExecStopPost={' '.join(podling.argv('rm', '-f', '-t0', '-i', 'web'))}\n"
    )
    _systemctl("daemon-reload")
    subprocess.run(["systemctl", "start", "web"], check=True)
    yield podling
    _systemctl("stop", "web")
    UNIT.unlink()
    _systemctl("daemon-reload")
    podling("rm", "-f", "-t0", "-a")
    podling("rmi", "-f", NAMED)
    podling("image", "prune", "-f")


def _image(podling: Podling) -> str:
    return podling.ok("container", "inspect", "--format", "{{.Image}}", "web")


@pytest.mark.xdist_group("web")
def test_a_service(unit: Podling) -> None:
    assert _systemctl("is-active", "web") == "active"
    main = _systemctl("show", "-p", "MainPID", "--value", "web")
    assert main == unit.ok("container", "inspect", "--format", "{{.State.ConmonPid}}", "web")
    unit.ok("kill", "web")
    eventually(lambda: _systemctl("is-active", "web") != "active")


@long
@pytest.mark.xdist_group("web")
def test_update_and_rollback(unit: Podling) -> None:
    show = ("--format", "{{.Unit}} {{.ContainerName}} {{.Policy}} {{.Updated}}")
    assert unit.ok("auto-update", *show) == "web.service web local false"
    unit.ok("run", "--name", "newer", NONE, NAMED, "touch", "/newer")
    unit.ok("commit", "-q", "newer", NAMED)
    before = _image(unit)
    assert unit.ok("auto-update", "--dry-run", *show) == "web.service web local pending"
    assert _image(unit) == before
    assert unit.ok("auto-update", *show) == "web.service web local true"
    assert _image(unit) != before
    unit.ok("exec", "web", "ls", "/newer")
    # one that does not start
    before = _image(unit)
    unit.ok("run", "--name", "broken", NONE, NAMED, "sh", "-c", "rm /bin/sh")
    unit.ok("commit", "-q", "broken", NAMED)
    assert unit.ok("auto-update", *show) == "web.service web local rolled back"
    assert _image(unit) == before and _systemctl("is-active", "web") == "active"


def test_journal(podling: Podling) -> None:
    podling.ok(
        "run",
        "--name",
        "c",
        NONE,
        "--log-driver",
        "journald",
        "--log-opt",
        "tag=mine",
        IMAGE,
        "sh",
        "-c",
        "echo one; echo two >&2",
    )
    eventually(lambda: podling("logs", "c").stdout == "one\n")
    assert podling("logs", "c").stderr == "two\n"
    shown = subprocess.run(["journalctl", "-o", "cat", "CONTAINER_TAG=mine"], capture_output=True, text=True).stdout
    assert shown.split() == ["one", "two"]
    assert podling.ok("logs", "--tail", "1", "c", "--since", "1h") in ("", "one")


@pytest.fixture
def units() -> Iterator[Podling]:
    """Our units, and the command that they call, on root's own store."""
    command = Path("/usr/local/bin/podling")
    command.write_text('#!/bin/sh\nexport PYTHONPATH=/src/src HOME=/root\nexec python3 -m podling "$@"\n')
    command.chmod(0o755)
    names = []
    for path in Path("/src/systemd").iterdir():
        (Path("/etc/systemd/system") / path.name).write_text(path.read_text())
        names.append(path.name)
    _systemctl("daemon-reload")
    engine = Podling("/var/lib/podling")
    engine.flags = []
    engine.ok("pull", "-q", IMAGE)
    yield engine
    _systemctl("stop", *names)
    for name in names:
        (Path("/etc/systemd/system") / name).unlink()
    _systemctl("daemon-reload")
    engine("rm", "-f", "-t0", "-a")
    command.unlink()


@pytest.mark.xdist_group("units")
def test_what_ran_runs_again_after_a_boot(units: Podling) -> None:
    for name, policy in (("always", "always"), ("stopped", "unless-stopped"), ("once", "no")):
        units.ok("run", "-d", "--name", name, f"--restart={policy}", NONE, IMAGE, "sleep", "1000")
    units.ok("stop", "-t0", "stopped")
    for pid in units.ok("inspect", "--format", "{{.State.ConmonPid}} {{.State.Pid}}", "always", "once").split():
        subprocess.run(["kill", "-9", pid], check=False)
    Path("/run/podling/boot").write_text("another")  # as after a boot, when nothing of ours is in /run
    subprocess.run(["systemctl", "start", "podling-restart"], check=True)
    assert units.ok("ps", "--format", "{{.Names}}") == "always"


@pytest.mark.xdist_group("units")
def test_the_socket_and_the_updates(units: Podling) -> None:
    subprocess.run(["systemctl", "start", "podling.socket"], check=True)
    ask = ["curl", "-s", "--max-time", "60", "--unix-socket", "/run/podman/podman.sock", "http://d/_ping"]
    assert subprocess.run(ask, capture_output=True, text=True).stdout == "OK"
    subprocess.run(["systemctl", "start", "podling-auto-update.service"], check=True)
    assert _systemctl("show", "-P", "Result", "podling-auto-update") == "success"
    subprocess.run(["systemctl", "start", "podling-auto-update.timer"], check=True)


def test_generated_units_run(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "shop", NONE)
    podling.ok("create", "--pod", "shop", "--name", "front", IMAGE, "sleep", "1000")
    podling.ok("create", "--name", "alone", NONE, IMAGE, "sleep", "1000")
    units = json.loads(podling.ok("generate", "systemd", "--new", "--name", "--format", "json", "shop"))
    units |= json.loads(
        podling.ok("generate", "systemd", "--new", "--name", "--format", "json", "--stop-timeout", "1", "alone")
    )
    podling.ok("pod", "rm", "-f", "-t", "0", "shop")
    podling.ok("rm", "alone")
    files = [Path(f"/run/systemd/system/{name}.service") for name in units]
    for file, text in zip(files, units.values(), strict=True):
        text = text.replace("/usr/local/bin/podling", "/usr/bin/python3 -m podling")
        file.write_text(text.replace("[Service]\n", "[Service]\nEnvironment=PYTHONPATH=/src/src HOME=/root\n"))
    try:
        _systemctl("daemon-reload")
        subprocess.run(["systemctl", "start", "pod-shop", "container-alone"], check=True)
        eventually(lambda: {"alone", "front"} <= set(podling.ok("ps", "--format", "{{.Names}}").split()))
        assert _systemctl("is-active", "pod-shop", "container-front", "container-alone").split() == ["active"] * 3
        subprocess.run(["systemctl", "stop", "pod-shop", "container-alone"], check=True)
        assert podling.ok("ps", "-aq") == "" and podling.ok("pod", "ps", "-q") == ""
    finally:
        for file in files:
            file.unlink()
        _systemctl("daemon-reload")
