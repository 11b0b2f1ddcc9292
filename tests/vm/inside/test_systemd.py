"""Containers as systemd's services: notification, auto-update with its rollback, health checks by timers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import IMAGE, Podling, eventually

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
