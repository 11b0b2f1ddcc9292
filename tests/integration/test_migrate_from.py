"""system migrate-from: what Debian's podman has made, of its own database and of the one that later versions have."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from podling.core import foreign
from podling.core.boltdb import Bolt
from podling.errors import StateError

from .conftest import IMAGE, Podling

NONE = "--network=none"


class Podman:
    def __init__(self, folder: Path) -> None:
        self.root, self.folder = folder / "root", folder

    def __call__(self, *args: str, input: bytes | None = None) -> str:
        flags = [
            f"--root={self.root}",
            f"--runroot={self.folder}/run",
            f"--tmpdir={self.folder}/tmp",
            "--storage-driver=vfs",
        ]
        env = {
            **os.environ,
            "CONTAINERS_CONF": "/dev/null",
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
        }
        done = subprocess.run(["podman", *flags, *args], input=input, capture_output=True, env=env)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()


@pytest.fixture(scope="module")
def podman(session_store: Podling) -> Iterator[Podman]:
    """A store with something of each kind."""
    folder = Path(tempfile.mkdtemp(prefix="pm-", dir="/var/tmp"))  # podman wants short paths
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/root"\n'
    )
    theirs = Podman(folder)
    session_store.ok("save", "-q", "-o", str(folder / "image.tar"), IMAGE)
    theirs("load", "-q", "-i", str(folder / "image.tar"))
    theirs("tag", IMAGE, "localhost/other:2")
    theirs("volume", "create", "--label", "kind=kept", "theirs-data")
    Path(theirs("volume", "inspect", "-f", "{{.Mountpoint}}", "theirs-data"), "file").write_text("from podman")
    theirs("volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=nodev", "theirs-tmpfs")
    theirs("secret", "create", "theirs-secret", "-", input=b"hush")
    flags = (
        "--label a=b -e X=1 -v theirs-data:/data:ro -v /etc:/etc2 --tmpfs /t:size=1m --pids-limit 33 --cap-add NET_RAW --cap-drop CHOWN "
        "--user 5:6 -w /tmp --hostname theirs --restart on-failure:3 --ulimit nofile=64:128 --read-only --stop-timeout 0 "
        "--health-cmd true --health-interval 5s --secret theirs-secret,target=s --network none --security-opt seccomp=unconfined --init"
    )
    theirs(
        "create",
        "--name",
        "theirs-box",
        *flags.split(),
        IMAGE,
        "sh",
        "-c",
        "id -u; cat /data/file; cat /run/secrets/s; echo $X",
    )
    theirs("create", "--name", "theirs-plain", "--network", "bridge", "-p", "127.0.0.1:21997:80", IMAGE, "true")
    theirs("create", "--name", "theirs-joined", "--network", "container:theirs-plain", IMAGE, "true")
    theirs("pod", "create", "--name", "theirs-pod", "--infra=false", "--label", "p=q", "--share", "")
    theirs("create", "--name", "theirs-member", "--pod", "theirs-pod", NONE, IMAGE, "true")
    yield theirs
    shutil.rmtree(folder)


def _digest(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*") if path.is_file()}


def test_everything(podman: Podman, fresh: Podling) -> None:
    before = _digest(podman.root)
    command = ("system", "migrate-from", f"--from-root={podman.root}")
    listed = fresh.ok(*command, "--dry-run", "podman").splitlines()
    assert "container theirs-box (localhost/busybox:latest)" in listed and "pod theirs-pod" in listed
    assert fresh.ok("images", "-q") == ""
    said = fresh.ok(*command, "podman").splitlines()
    assert "volume theirs-data: taken" in said and "container theirs-box: taken" in said
    assert fresh("image", "exists", "localhost/other:2").returncode == 0
    assert fresh.ok("volume", "ls", "-q", "--filter", "label=kind=kept") == "theirs-data"
    assert fresh.ok("volume", "inspect", "-f", "{{.Options.type}}", "theirs-tmpfs") == "tmpfs"
    box = json.loads(fresh.ok("inspect", "theirs-box"))[0]
    host, config = box["HostConfig"], box["Config"]
    assert (config["Hostname"], config["User"], config["WorkingDir"], config["Labels"]) == (
        "theirs",
        "5:6",
        "/tmp",
        {"a": "b"},
    )
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3} and host["PidsLimit"] == 33
    assert host["ReadonlyRootfs"] and config["StopTimeout"] == 0 and host["Init"]
    assert "CAP_NET_RAW" in host["CapAdd"] and set(host["CapDrop"]) == {"CAP_CHOWN"}
    assert config["Healthcheck"]["Test"] == ["CMD-SHELL", "true"] and config["Healthcheck"]["Interval"] == 5 * 10**9
    assert {mount["Destination"] for mount in box["Mounts"]} == {"/data", "/etc2"} and "/t" in host["Tmpfs"]
    assert fresh.ok("start", "-a", "theirs-box") == "5\nfrom podmanhush1"
    joined = fresh.ok("inspect", "-f", "{{.HostConfig.NetworkMode}}", "theirs-joined")
    assert joined == f"container:{fresh.ok('inspect', '-f', '{{.Id}}', 'theirs-plain')}"
    assert (
        json.loads(fresh.ok("inspect", "theirs-plain"))[0]["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"]
        == "21997"
    )
    assert fresh.ok("ps", "-a", "--filter", "pod=theirs-pod", "--format", "{{.Names}}") == "theirs-member"
    # once more: nothing is taken twice, and nothing has been written there
    again = fresh.ok(*command, "podman")
    assert "container theirs-box: is here already" in again and "volume theirs-data: is here already" in again
    assert _digest(podman.root) == before


def test_only_some(podman: Podman, fresh: Podling) -> None:
    fresh.ok("system", "migrate-from", f"--from-root={podman.root}", "--only=volumes,secrets", "podman")
    assert fresh.ok("volume", "ls", "-q").split() == ["theirs-data", "theirs-tmpfs"] and fresh.ok("images", "-q") == ""
    # containers whose image is not here fail, each for itself
    done = fresh("system", "migrate-from", f"--from-root={podman.root}", "--only=containers", "podman")
    assert done.returncode == 1 and "did not come along" in done.stderr
    assert "not one of" in fresh.fails(125, "system", "migrate-from", "--only=odd", "podman")
    assert "not one of podman, docker" in fresh.fails(125, "system", "migrate-from", "odd")
    assert "no store of containers/storage" in fresh.fails(125, "system", "migrate-from", "--from-root=/etc", "podman")


def test_the_database_of_later_versions(podman: Podman, tmp_path: Path) -> None:
    """The same documents in SQLite are the same world."""
    bolt = podman.root / "libpod/bolt_state.db"
    if not bolt.exists():
        pytest.skip("this podman has SQLite itself")
    here = foreign.read(str(podman.root))
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(podman.root), str(copy)], check=True)
    reader = Bolt(str(bolt))
    with sqlite3.connect(copy / "db.sql") as connection:
        for table, bucket in (("ContainerConfig", "ctr"), ("PodConfig", "pod"), ("VolumeConfig", "vol")):
            connection.execute(f"CREATE TABLE {table} (ID TEXT, JSON TEXT)")
            for name in reader.buckets(bucket):
                connection.execute(f"INSERT INTO {table} VALUES (?, ?)", (name, reader.bucket(bucket, name)["config"]))
    connection.close()
    (copy / "libpod/bolt_state.db").unlink()
    there = foreign.read(str(copy))
    assert there.containers == here.containers and there.pods == here.pods and len(here.containers) == 4
    assert [volume.name for volume in there.volumes] == [volume.name for volume in here.volumes]


def test_damaged_databases(podman: Podman, tmp_path: Path) -> None:
    source = podman.root / "libpod/bolt_state.db"
    if not source.exists():
        pytest.skip("this podman has SQLite itself")
    data = bytearray(source.read_bytes())
    for name, content in (("short", data[:60]), ("none", b"x" * 9000)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StateError, match="no bbolt file"):
            Bolt(str(tmp_path / name))
    # any page may hold anything: it ends, and is told
    for position in range(8192, len(data), 4096):
        broken = bytearray(data)
        broken[position : position + 64] = b"\xff" * 64
        (tmp_path / "broken").write_bytes(broken)
        try:
            bolt = Bolt(str(tmp_path / "broken"))
            for bucket in ("ctr", "pod", "vol"):
                for inner in bolt.buckets(bucket):
                    bolt.bucket(bucket, inner)
        except StateError as error:
            assert "is damaged" in error.message
