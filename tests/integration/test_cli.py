"""The frame: help, unknown commands and flags, global flags, formats, exit codes."""

from __future__ import annotations

import json
import os
import pstats
import subprocess
from pathlib import Path

import pytest

from podling.cli import table
from podling.version import VERSION

from .conftest import IMAGE, Podling


def test_version(podling: Podling) -> None:
    assert podling.ok("--version") == f"podling version {VERSION}"
    assert podling.ok("version", "-f", "{{.Client.Version}} {{.Server.Version}}") == f"{VERSION} {VERSION}"
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
    assert podling.ok("info", "-f", "{{.Host.OCIRuntime.Name}} {{.Host.CgroupsVersion}} {{.Host.Linkmode}}") in (
        "crun v1 dynamic",
        "crun v2 dynamic",
    )
    text = podling.ok("info", "--debug")
    assert "  kernel: " in text and f'    version: "{document["host"]["distribution"]["version"]}"' in text
    host = document["host"]
    assert host["conmon"]["package"].startswith("conmon_") and host["pasta"]["executable"].endswith("/pasta")
    assert all(0 <= value <= 100 for value in host["cpuUtilization"].values())


def test_what_no_help_shows(podling: Podling, tmp_path: Path) -> None:
    """Flags that scripts may have, and those for whoever works on the engine."""
    podling.ok("--max-workers=3", "--namespace=x", "--trace", "--pull-option=a=b", "--db-backend=sqlite", "ps")
    assert "sqlite" in podling.fails(125, "--db-backend=boltdb", "ps")
    podling.ok("--cpu-profile", str(tmp_path / "cpu"), "--memory-profile", str(tmp_path / "memory"), "ps")
    assert len(pstats.Stats(str(tmp_path / "cpu")).get_stats_profile().func_profiles) > 100
    assert "size=" in (tmp_path / "memory").read_text()


def test_rows_as_json(podling: Podling) -> None:
    podling.ok("create", "--name", "web", "--network=none", IMAGE)
    row = json.loads(podling.ok("ps", "-a", "--format", "{{json .}}"))
    assert row["Names"] == ["web"] and row["State"] == "created"
    assert podling.ok("ps", "-a", "--format", "{{.ListContainer.Names}} {{.Created.Year}}").startswith("[web] 20")
    assert json.loads(podling.ok("images", "--format", "{{json .}}").splitlines()[0])["Names"]
    assert podling.ok("images", "--format", "{{.ImageSummary.Created}}").splitlines()[0].isdigit()
    assert podling.ok("history", "--format", "{{.ImageHistoryLayer.Created.Year}}", IMAGE).splitlines()[0].isdigit()


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
