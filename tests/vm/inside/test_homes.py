"""Users whose homes are on NFS, or cannot be written to."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rootless.conftest import IMAGE, User, session_user, shared_package, user

from . import long

__all__ = ["session_user", "shared_package", "user"]
pytestmark = [
    pytest.mark.xdist_group("homes"),
    long,
]
NONE = "--network=none"


@pytest.fixture
def nfs(user: User) -> Iterator[Path]:
    """A folder of the user's on a server that this guest is itself."""
    exported, place = Path("/srv/exported"), user.home / "nfs"
    exported.mkdir(exist_ok=True)
    place.mkdir(exist_ok=True)
    Path("/etc/exports").write_text(f"{exported} 127.0.0.1(rw,no_subtree_check,insecure,fsid=0,sync)\n")
    os.chown(exported, user.uid, user.gid)
    subprocess.run(["systemctl", "start", "nfs-server"], check=True)
    subprocess.run(["exportfs", "-ra"], check=True)
    subprocess.run(["mount", "-t", "nfs4", "127.0.0.1:/", str(place)], check=True)
    user.ok("system", "migrate")  # the user's namespace has the mounts of when it was made
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_home_on_nfs(user: User, nfs: Path) -> None:
    user.env["XDG_DATA_HOME"] = str(nfs)
    try:
        driver, place = user.ok("info", "--format", "{{.Store.GraphDriverName}} {{.Store.GraphRoot}}").split()
        root = Path(place)
        assert root == nfs / "podling" and driver in ("vfs", "overlay")
        names = subprocess.run(user.command("ls", str(root)), capture_output=True, text=True, check=True).stdout.split()
        assert "podling.db" in names and "podling.db-wal" not in names
        user.ok("pull", "-q", IMAGE)
        assert user.ok("run", "--rm", NONE, IMAGE, "sh", "-c", "echo x >/f; cat /f") == "x"
        # the server knows nothing of subordinate ids
        (user.home / "f").write_text("x")
        subprocess.run(
            ["tar", "-C", str(user.home), "--owner=7", "--group=7", "-cf", str(user.home / "a.tar"), "f"], check=True
        )
        (user.home / "a.tar").chmod(0o644)
        error = user.fails(125, "import", str(user.home / "a.tar"), "localhost/owned")
        assert "NFS does not" in error and "rootless_storage_path" in error
        user.ok("--storage-opt=ignore_chown_errors=true", "import", str(user.home / "a.tar"), "localhost/owned")
        user.ok("system", "reset", "-f")
    finally:
        user.env.pop("XDG_DATA_HOME")


def test_a_home_that_cannot_be_written_to(user: User) -> None:
    place = user.home / "shut"
    place.mkdir()
    os.chown(place, user.uid, user.gid)
    subprocess.run(["mount", "--bind", str(place), str(place)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
    user.ok("system", "migrate")
    user.env["XDG_DATA_HOME"] = str(place)
    try:
        error = user.fails(125, "ps")
        assert "Read-only file system" in error and f"export XDG_DATA_HOME=/var/tmp/{user.uid}" in error
    finally:
        user.env.pop("XDG_DATA_HOME")
        subprocess.run(["umount", "-l", str(place)], check=True)
        place.rmdir()
