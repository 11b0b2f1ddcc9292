"""The frame: help, unknown commands and flags, global flags, formats, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from podling.cli import table
from podling.version import VERSION

from .conftest import IMAGE, Podling


def test_version(podling: Podling) -> None:
    assert podling.ok("--version") == f"podling version {VERSION}"
    assert podling.ok("version", "-f", "{{.Client.Version}}") == VERSION
    assert json.loads(podling.ok("version", "--format", "json"))["Client"]["Version"] == VERSION


@pytest.mark.parametrize("path", sorted(table.COMMANDS))
def test_every_command_has_help(podling: Podling, path: str) -> None:
    text = podling.ok(*path.split(), "--help")
    assert f"podling {path}" in text and "Usage:" in text and "Options:" in text
    assert podling.ok("help", *path.split()) == text


def test_group_help(podling: Podling) -> None:
    assert "Available Commands:" in podling.ok() and "  run " in podling.ok("--help")
    assert "  inspect " in podling.ok("container") and "cleanup" not in podling.ok("container", "--help")


def test_unknown_commands_and_flags(podling: Podling) -> None:
    done = podling("rnu")
    assert done.returncode == 125 and "unrecognized command `podling rnu`" in done.stderr and "\trun\n" in done.stderr
    assert "Did you mean this?" in podling("image", "lst").stderr
    done = podling("run", "--nmae", "x", IMAGE)
    assert (
        done.returncode == 125
        and "unknown flag: --nmae" in done.stderr
        and "--name" in done.stderr
        and "See 'podling run --help'" in done.stderr
    )
    for args in (
        ["run"],
        ["rm"],
        ["ps", "extra"],
        ["run", "--memory"],
        ["run", "--rm=maybe", IMAGE],
        ["ps", "-n", "x"],
        ["-x"],
    ):
        assert podling(*args).returncode == 125, args


def test_flag_forms(podling: Podling) -> None:
    assert podling.ok("run", "--rm=true", "--network", "none", "-ieA=1", IMAGE, "sh", "-c", "echo $A") == "1"
    id = podling.ok("create", "--rm=false", "--network=none", "-it", IMAGE, "ls", "--all", "-l")
    assert podling.ok("inspect", "-f", "{{.Config.Tty}} {{.Config.Cmd}}", id) == "true [ls --all -l]"


def test_global_flags(podling: Podling, tmp_path: Path) -> None:
    podling.fails(125, "--log-level=loud", "ps")
    done = subprocess.run(podling.argv("--storage-driver=vfs", "images", "-a"), capture_output=True, text=True)
    assert done.returncode == 0  # nothing of the store's layers was needed
    done = subprocess.run(
        podling.argv("--storage-driver=vfs", "create", "--network=none", IMAGE), capture_output=True, text=True
    )
    assert done.returncode == 125 and "uses the driver overlay" in done.stderr
    podling.fails(125, "--storage-driver=nosuch", "ps")
    podling.fails(125, "--cgroup-manager=nosuch", "ps")


def test_info(podling: Podling) -> None:
    document = json.loads(podling.ok("info", "-f", "json"))
    assert document["store"]["graphDriverName"] == "overlay" and document["store"]["imageStore"]["number"] >= 1
    assert podling.ok("info", "-f", "{{.Host.OCIRuntime.Name}}") == "crun"
    assert "  kernel: " in podling.ok("info")


def test_format_errors(podling: Podling) -> None:
    podling.ok("create", "--network=none", IMAGE)
    for text in ("{{.NoSuch}}", "{{", "{{nosuch .}}", "{{if .ID}}", "{{.ID | }}"):
        podling.fails(125, "ps", "-a", "--format", text)


def test_not_root(podling: Podling) -> None:
    nobody = ["setpriv", "--reuid=65534", "--clear-groups"]
    if subprocess.run([*nobody, *podling.argv("--version")], capture_output=True, cwd="/").returncode:
        pytest.skip("nobody cannot read this checkout or its interpreter")
    done = subprocess.run([*nobody, *podling.argv("ps")], capture_output=True, text=True, cwd="/")
    assert done.returncode == 125 and "Permission denied" in done.stderr


def test_broken_output(podling: Podling) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(podling.argv("images"), stdout=full, stderr=subprocess.PIPE, env={**os.environ})
    assert done.returncode != 0 and b"Traceback" not in done.stderr
