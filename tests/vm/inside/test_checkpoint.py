"""Checkpoint and restore with CRIU, on a kernel that this CRIU can dump on."""

from __future__ import annotations

import json
import tarfile
import time
import urllib.request
from pathlib import Path

import pytest

from tests.integration.conftest import IMAGE, Podling, eventually

from . import long

NONE = "--network=none"
COUNT = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.2; done"


def _numbers(podling: Podling, name: str) -> list[int]:
    return [int(line) for line in podling.ok("logs", name).split()]


def _counting(podling: Podling, name: str, *flags: str) -> None:
    podling.ok("run", "-d", "--name", name, NONE, *flags, IMAGE, "sh", "-c", COUNT)
    eventually(lambda: len(_numbers(podling, name)) >= 2)


def test_goes_on_where_it_was(criu: Podling) -> None:
    _counting(criu, "c")
    criu.ok("exec", "c", "sh", "-c", "echo shared >/dev/shm/x; echo kept >/f")
    assert criu.ok("container", "checkpoint", "c") == "c"
    state = json.loads(criu.ok("inspect", "--format", "{{json .State}}", "c"))
    assert state["Status"] == "exited" and state["Checkpointed"] and state["CheckpointedAt"] > "2020"
    before = _numbers(criu, "c")
    time.sleep(1)
    assert criu.ok("container", "restore", "c") == "c"
    eventually(lambda: len(_numbers(criu, "c")) > len(before))
    after = _numbers(criu, "c")
    assert after == list(range(1, len(after) + 1))
    assert criu.ok("exec", "c", "cat", "/dev/shm/x", "/f") == "shared\nkept"
    state = json.loads(criu.ok("inspect", "--format", "{{json .State}}", "c"))
    assert state["Restored"] and "Checkpointed" not in state
    criu.ok("stop", "-t0", "c")
    assert "complete checkpoint" in criu.fails(125, "container", "restore", "c")
    actions = criu.ok("events", "--stream=false", "--filter", "container=c", "--format", "{{.Status}}").split()
    assert [name for name in actions if name in ("checkpoint", "restore")][-2:] == ["checkpoint", "restore"]


@long
def test_twice_and_kept(criu: Podling) -> None:
    _counting(criu, "c")
    statistics = json.loads(criu.ok("container", "checkpoint", "--keep", "--print-stats", "-l"))
    assert statistics["container_statistics"][0]["criu_statistics"]["pages_written"] > 0
    for _ in range(2):
        shown = json.loads(criu.ok("container", "restore", "--keep", "--print-stats", "--all"))
        assert shown["container_statistics"][0]["criu_statistics"]["pages_restored"] > 0
        criu.ok("kill", "c")
        criu.ok("wait", "c")
    criu.ok("container", "restore", "c")
    criu.ok("rm", "-f", "-t0", "c")


def test_leave_running(criu: Podling) -> None:
    _counting(criu, "c")
    criu.ok("container", "checkpoint", "--leave-running", "c")
    count = len(_numbers(criu, "c"))
    eventually(lambda: len(_numbers(criu, "c")) > count)


@pytest.mark.parametrize(
    ("how", "magic"),
    [
        ("zstd", b"\x28\xb5\x2f\xfd"),
        pytest.param("gzip", b"\x1f\x8b", marks=long),
        pytest.param("none", b"", marks=long),
    ],
)
def test_archives(criu: Podling, tmp_path: Path, how: str, magic: bytes) -> None:
    archive = tmp_path / "c.tar"
    _counting(criu, "c", "-v", "data:/data")
    criu.ok("exec", "c", "sh", "-c", "echo changed >/etc/hello; rm /bin/vi; echo in volume >/data/x")
    criu.ok("container", "checkpoint", "--export", str(archive), "--compress", how, "c")
    assert archive.read_bytes().startswith(magic) and archive.stat().st_mode & 0o077 == 0
    if how == "none":
        with tarfile.open(archive) as tar:
            names = tar.getnames()
        assert {"config.dump", "spec.dump", "network.status", "rootfs-diff.tar", "volumes/data.tar"} <= {
            n.strip("./") for n in names
        }
    id = criu.ok("inspect", "--format", "{{.Id}}", "c")
    assert "already in use" in criu.fails(125, "container", "restore", "--import", str(archive))
    criu.ok("rm", "c")
    assert "already exists" in criu.fails(125, "container", "restore", "--import", str(archive))
    assert criu.ok("ps", "-aq") == ""
    criu.ok("volume", "rm", "data")
    assert criu.ok("container", "restore", "--import", str(archive)) == id
    assert criu.ok("exec", "c", "cat", "/etc/hello", "/data/x") == "changed\nin volume"
    assert criu("exec", "c", "ls", "/bin/vi").returncode == 1
    other = criu.ok("container", "restore", "--import", str(archive), "--name", "d", "--ignore-volumes")
    assert other != id
    assert criu.ok("exec", "d", "cat", "/etc/hello") == "changed"
    criu.ok("pause", "d")  # it is in its own cgroup, not in that of c
    criu.ok("rm", "-f", "-t0", "c")
    criu.ok("unpause", "d")
    criu.ok("container", "checkpoint", "d")


@long
def test_in_two_passes(criu: Podling, tmp_path: Path) -> None:
    _counting(criu, "c")
    assert "no pre-checkpoint" in criu.fails(125, "container", "checkpoint", "--with-previous", "c")
    criu.ok("container", "checkpoint", "--pre-checkpoint", "c")
    assert criu.ok("inspect", "--format", "{{.State.Status}}", "c") == "running"
    archive = tmp_path / "c.tar.zst"
    criu.ok("container", "checkpoint", "--with-previous", "--export", str(archive), "c")
    criu.ok("rm", "c")
    criu.ok("container", "restore", "-i", str(archive))
    count = len(_numbers(criu, "c"))
    eventually(lambda: len(_numbers(criu, "c")) > count)


def test_as_an_image(criu: Podling) -> None:
    _counting(criu, "c")
    criu.ok("exec", "c", "sh", "-c", "echo changed >/etc/hello")
    criu.ok("container", "checkpoint", "--create-image", "localhost/checkpoint", "c")
    criu.ok("rm", "c")
    criu.ok("container", "restore", "--name", "d", "localhost/checkpoint")
    assert criu.ok("exec", "d", "cat", "/etc/hello") == "changed"


def test_keeps_its_address(criu: Podling) -> None:
    criu.ok("run", "-d", "--name", "c", "--network=podman", IMAGE, "sleep", "1000")
    seen = criu.ok("exec", "c", "ip", "-4", "addr", "show", "eth0").splitlines()[1].split()[1]
    criu.ok("container", "checkpoint", "c")
    criu.ok("run", "-d", "--name", "other", "--network=podman", IMAGE, "sleep", "1000")
    criu.ok("container", "restore", "c")
    assert criu.ok("exec", "c", "ip", "-4", "addr", "show", "eth0").splitlines()[1].split()[1] == seen


@long
def test_a_terminal(criu: Podling) -> None:
    criu.ok("run", "-dt", "--name", "c", NONE, IMAGE, "sh", "-c", COUNT)
    eventually(lambda: len(criu.ok("logs", "c").split()) >= 2)
    criu.ok("container", "checkpoint", "c")
    count = len(criu.ok("logs", "c").split())
    criu.ok("container", "restore", "c")
    eventually(lambda: len(criu.ok("logs", "c").split()) > count)


def test_what_cannot_be_done(criu: Podling, tmp_path: Path) -> None:
    criu.ok("create", "--name", "c", NONE, IMAGE, "sleep", "1000")
    assert "only checkpoint running" in criu.fails(125, "container", "checkpoint", "c")
    assert "cannot be found" in criu.fails(125, "container", "restore", "c")
    criu.ok("start", "c")
    assert "running or paused" in criu.fails(125, "container", "restore", "c")
    assert "--ignore-rootfs" in criu.fails(125, "container", "checkpoint", "--ignore-rootfs", "c")
    assert "--compress" in criu.fails(125, "container", "checkpoint", "--compress", "lz4", "c")
    (tmp_path / "bad.tar").write_bytes(b"no tar at all" * 100)
    criu.fails(125, "container", "restore", "--import", str(tmp_path / "bad.tar"))
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(__file__, "config.dump")
    assert "podling.json" in criu.fails(125, "container", "restore", "--import", str(tmp_path / "other.tar"))
    criu.ok("run", "-d", "--rm", "--name", "r", NONE, IMAGE, "sleep", "1000")
    assert "--rm" in criu.fails(125, "container", "checkpoint", "r")


def test_a_corrupt_checkpoint(criu: Podling, tmp_path: Path) -> None:
    _counting(criu, "c")
    criu.ok("container", "checkpoint", "c")
    folder = Path(criu.ok("inspect", "--format", "{{.State.CheckpointPath}}", "c"))
    for path in folder.glob("core-*.img"):
        path.write_bytes(b"\0" * 16)
    assert "could not be restored" in criu.fails(126, "container", "restore", "c")
    assert criu.ok("ps", "-a", "--format", "{{.State}}") == "exited"
    eventually(lambda: criu.mounts() == [] and criu.conmons() == [])
    criu.ok("start", "c")


@long
def test_all_and_the_latest(criu: Podling) -> None:
    for name in ("one", "two"):
        _counting(criu, name)
    ids = set(criu.ok("ps", "-q", "--no-trunc").split())
    assert set(criu.ok("container", "checkpoint", "--all", "--file-locks").split()) == ids
    assert set(criu.ok("container", "restore", "--all", "--file-locks").split()) == ids
    criu.ok("container", "checkpoint", "--latest")
    assert criu.ok("ps", "--format", "{{.Names}}") == "one"
    criu.ok("container", "restore", "--latest")
    assert len(criu.ok("ps", "-q").split()) == 2


@long
def test_connections_live_on(criu: Podling) -> None:
    """Within the container."""
    serve = "(sleep 1000 | nc -l -p 5000 >/got) & sleep 0.5; (echo before; while sleep 1; do echo more; done) | nc 127.0.0.1 5000; echo closed"
    criu.ok("run", "-d", "--name", "c", "--network=podman", IMAGE, "sh", "-c", f"{serve}; sleep 1000")
    eventually(lambda: "more" in criu("exec", "c", "cat", "/got").stdout, 30)
    assert "established" in criu.fails(126, "container", "checkpoint", "c")
    criu.ok("container", "checkpoint", "--tcp-established", "c")
    criu.ok("container", "restore", "--tcp-established", "c")
    lines = criu.ok("exec", "c", "cat", "/got").count("more")
    eventually(lambda: criu.ok("exec", "c", "cat", "/got").count("more") > lines, 30)
    criu.ok("container", "checkpoint", "--tcp-established", "c")
    assert "--tcp-close" in criu.fails(
        125, "container", "restore", "--tcp-close", "c"
    )  # Debian's runc has no such flag


@long
def test_addresses_and_ports_anew(criu: Podling, tmp_path: Path) -> None:
    archive = tmp_path / "c.tar"
    criu.ok("network", "create", "--subnet=10.177.0.0/24", "pt-anew")
    criu.ok(
        "run", "-d", "--name", "c", "--network=pt-anew", "--ip=10.177.0.77", "--mac-address=02:00:00:00:00:77", "-p", "8077:80", IMAGE,
        "httpd", "-f", "-h", "/etc",
    )  # fmt: skip
    criu.ok("container", "checkpoint", "--leave-running", "--export", str(archive), "c")
    anew = (
        "container",
        "restore",
        "--import",
        str(archive),
        "--name",
        "d",
        "--ignore-static-ip",
        "--ignore-static-mac",
    )
    criu.ok(*anew, "--publish", "8078:80")
    shown = criu.ok("exec", "d", "ip", "addr", "show", "eth0")
    assert "10.177.0.77/" not in shown and "02:00:00:00:00:77" not in shown
    assert criu.ok("port", "d") == "80/tcp -> 0.0.0.0:8078"
    with urllib.request.urlopen("http://127.0.0.1:8078/hostname", timeout=10) as answer:
        assert answer.status == 200
    criu.ok("rm", "-f", "-t0", "-a")
    criu.ok("network", "rm", "pt-anew")


@long
def test_into_a_pod(criu: Podling, tmp_path: Path) -> None:
    archive = tmp_path / "c.tar"
    criu.ok("pod", "create", "--name", "from", NONE)
    criu.ok("run", "-d", "--name", "c", "--pod", "from", IMAGE, "sh", "-c", COUNT)
    eventually(lambda: len(_numbers(criu, "c")) >= 2)
    criu.ok("container", "checkpoint", "--export", str(archive), "c")
    criu.ok("pod", "create", "--name", "to", NONE)
    criu.ok("container", "restore", "--import", str(archive), "--pod", "to", "--name", "d")
    assert criu.ok("inspect", "--format", "{{.Pod}}", "d") == criu.ok("pod", "inspect", "--format", "{{.Id}}", "to")
    assert criu.ok("inspect", "--format", "{{.State.Status}}", "d") == "running"
    criu.ok("pod", "rm", "-f", "-t0", "-a")


@long
def test_without_files_and_volumes(criu: Podling, tmp_path: Path) -> None:
    archive = tmp_path / "c.tar"
    _counting(criu, "c", "-v", "data:/data")
    criu.ok("exec", "c", "sh", "-c", "echo changed >/new; echo x >/data/x")
    criu.ok("container", "checkpoint", "--ignore-volumes", "--ignore-rootfs", "--export", str(archive), "c")
    criu.ok("rm", "-v", "c")
    criu.ok("volume", "rm", "data")
    criu.ok("container", "restore", "--ignore-rootfs", "--import", str(archive))
    assert criu("exec", "c", "ls", "/new").returncode == criu("exec", "c", "ls", "/data/x").returncode == 1


@long
def test_two_archives(criu: Podling, tmp_path: Path) -> None:
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    _counting(criu, "c")
    criu.ok("container", "checkpoint", "--pre-checkpoint", "--export", str(first), "c")
    criu.ok("container", "checkpoint", "--with-previous", "--export", str(second), "c")
    criu.ok("rm", "c")
    criu.ok("container", "restore", "--import-previous", str(first), "--import", str(second))
    count = len(_numbers(criu, "c"))
    eventually(lambda: len(_numbers(criu, "c")) > count)
