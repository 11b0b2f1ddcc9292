"""Limits of layers and volumes, on file systems with project quotas."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from podling.linux import quota
from tests.integration.conftest import IMAGE, Podling, fresh

__all__ = ["fresh"]
NONE = "--network=none"


_SYSTEMS = ["ext4", "xfs"] if os.environ.get("PODLING_TEST_VM") else ["ext4"]


@pytest.fixture(params=_SYSTEMS)
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


def _fill(podling: Podling, folder: str, *flags: str) -> list[str]:
    """What comes of 20 MB in one file, then of 60 files, in a container: the words of the error, or "well"."""
    much = f"mkdir -p {folder}; dd if=/dev/zero of={folder}/much bs=1M count=20 2>&1 | grep -o -e 'No space' -e 'quota exceeded' || echo well; rm {folder}/much"
    many = f"(for n in $(seq 60); do : >{folder}/$n || exit 3; done) 2>&1 | grep -o -e 'No space' -e 'quota exceeded' || echo well"
    said = podling.ok("run", "--rm", NONE, *flags, IMAGE, "sh", "-c", f"{much}; {many}")
    return ["full" if line != "well" else line for line in said.splitlines()]


def test_layers_of_containers_and_volumes(limited: Podling) -> None:
    limited.ok("volume", "create", "-o", "o=size=4m,inodes=10,uid=7", "small")
    assert _fill(limited, "/data", "-v", "small:/data") == ["full", "full"]
    place = Path(limited.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "small"))
    assert place.stat().st_uid == 7
    limited.ok("volume", "rm", "small")
    assert _fill(limited, "/new") == ["well", "well"]
    limited.flags += ["--storage-opt=overlay.size=5m", "--storage-opt=overlay.inodes=40"]
    assert _fill(limited, "/new") == ["full", "full"]


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
