"""Limits of layers and volumes, on file systems with project quotas."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from podling.linux import quota
from tests.integration.conftest import IMAGE, Podling, fresh

__all__ = ["fresh"]
NONE, FULL = "--network=none", "No space left"


@pytest.fixture(params=["ext4", "xfs"])
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system that has quotas, for the store of `limited`."""
    image, place = tmp_path / "disk", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(400 << 20)
    features = ("-O", "quota,project", "-E", "quotatype=usrquota:grpquota:prjquota")
    make = ["mke2fs", "-q", "-t", "ext4", *features] if request.param == "ext4" else ["mkfs.xfs", "-q"]
    subprocess.run([*make, str(image)], check=True)
    subprocess.run(["mount", "-o", "loop,prjquota", str(image), str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def limited(disk: Path, fresh: Podling) -> Iterator[Podling]:
    flags = fresh.flags
    fresh.flags = [f"--root={disk}/root", f"--runroot={disk}/run"]
    fresh.ok("pull", "-q", IMAGE)
    yield fresh
    fresh("rm", "-f", "-t", "0", "-a")
    fresh.flags = flags


def _write(podling: Podling, path: str, count: int, *flags: str) -> str:
    fill = f"dd if=/dev/zero of={path} bs=1M count={count} 2>&1"
    return podling("run", "--rm", NONE, *flags, IMAGE, "sh", "-c", fill).stdout.replace("Disk quota exceeded", FULL)


def test_layers_of_containers(limited: Podling) -> None:
    assert FULL not in _write(limited, "/f", 20)
    limited.flags += ["--storage-opt=overlay.size=5m", "--storage-opt=overlay.inodes=40"]
    assert FULL in _write(limited, "/f", 20)
    many = "for n in $(seq 60); do : >/file-$n || exit 3; done"
    assert limited("run", "--rm", NONE, IMAGE, "sh", "-c", many).returncode != 0
    assert FULL not in _write(limited, "/f", 3)


def test_volumes(limited: Podling) -> None:
    limited.ok("volume", "create", "-o", "o=size=4m,inodes=10,uid=7", "small")
    assert FULL in _write(limited, "/data/f", 9, "-v", "small:/data")
    place = Path(limited.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "small"))
    assert place.stat().st_uid == 7 and (place / "f").stat().st_size <= 4 << 20
    limited.ok("volume", "create", "-o", "size=4m", "-o", "inodes=10", "few")
    many = "for n in $(seq 20); do : >/data/$n || exit 3; done"
    assert limited("run", "--rm", NONE, "-v", "few:/data", IMAGE, "sh", "-c", many).returncode != 0
    limited.ok("volume", "rm", "small", "few")


def test_a_folder_is_free_again(disk: Path) -> None:
    folder = disk / "folder"
    folder.mkdir()
    quota.limit(str(folder), 1 << 20, 0)
    # root of the host may do as it pleases on an ext4
    fill = [
        "setpriv",
        "--bounding-set=-sys_resource",
        "--inh-caps=-sys_resource",
        "dd",
        "if=/dev/zero",
        f"of={folder}/f",
        "bs=1M",
        "count=2",
    ]
    assert subprocess.run(fill).returncode == 1
    quota.forget(str(folder))
    assert subprocess.run(fill).returncode == 0
