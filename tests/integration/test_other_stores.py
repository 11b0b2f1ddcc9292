"""Images that another engine holds: copied out of its store, run from where they lie, sent to other hosts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Podling
from .registry import Image, free_port
from .test_registry import runnable


def store_digest(folder: Path) -> dict[str, tuple[int, int]]:
    """What lies in a store, to see that nothing of it changed. Lock files are no content."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


@pytest.fixture(scope="module", params=["overlay", "vfs"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A store that Debian's podman filled."""
    folder = Path(tempfile.mkdtemp(prefix="p", dir="/var/tmp"))  # podman wants short paths
    image = runnable()
    archive = folder / "image.tar"
    _layout(image, folder / "layout")
    subprocess.run(
        ["skopeo", "copy", f"oci:{folder}/layout:1", f"docker-archive:{archive}:localhost/theirs:1"],
        check=True,
        capture_output=True,
    )
    flags = ["--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", request.param]
    env = {**os.environ, "CONTAINERS_CONF": "/dev/null"}
    subprocess.run(["podman", *flags, "load", "-q", "-i", archive], check=True, capture_output=True, env=env)
    subprocess.run(
        ["podman", *flags, "tag", "localhost/theirs:1", "docker.io/library/known:2"],
        check=True,
        capture_output=True,
        env=env,
    )
    yield request.param, folder / "root"
    subprocess.run(["umount", folder / "root" / request.param], check=False, capture_output=True)
    shutil.rmtree(folder)


def _layout(image: Image, folder: Path) -> None:
    import hashlib

    (folder / "blobs/sha256").mkdir(parents=True)
    for data in (*image.blobs.values(), image.manifest):
        (folder / "blobs/sha256" / hashlib.sha256(data).hexdigest()).write_bytes(data)
    entry = {
        "mediaType": image.media_type, "digest": "sha256:" + hashlib.sha256(image.manifest).hexdigest(), "size": len(image.manifest),
        "annotations": {"org.opencontainers.image.ref.name": "1"},
    }  # fmt: skip
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def test_copied_out_of_the_store(fresh: Podling, store: tuple[str, Path]) -> None:
    driver, root = store
    before = store_digest(root)
    place = f"containers-storage:[{driver}@{root}+/unused]"
    id = fresh.ok("pull", "-q", f"{place}localhost/theirs:1")
    assert fresh.ok("pull", "-q", f"{place}known:2") == id
    assert fresh.ok("pull", "-q", f"{place}{id[:12]}") == id
    assert sorted(fresh.ok("images", "--format", "{{.Repository}}:{{.Tag}}").split()) == [
        "docker.io/library/known:2", "localhost/theirs:1",
    ]  # fmt: skip
    assert fresh.ok("run", "--rm", "--network=none", "theirs:1", "cat", "/etc/greeting") == "hello"
    assert store_digest(root) == before
    assert "image not known" in fresh.fails(125, "pull", f"{place}nosuch:1")
    assert "is no store" in fresh.fails(125, "pull", "containers-storage:[overlay@/etc]x:1")


@pytest.mark.parametrize(
    "store", ["overlay"], indirect=True
)  # with vfs layers are whole trees: they are copied, not shared
def test_run_from_where_they_lie(fresh: Podling, store: tuple[str, Path], tmp_path: Path) -> None:
    _, root = store
    before = store_digest(root)
    fresh.flags.append(f"--storage-opt=additionalimagestore={root}")
    lines = fresh.ok("images").splitlines()
    assert lines[0].split()[-1] == "R/O" and all(line.split()[-1] == "true" for line in lines[1:]) and len(lines) == 3
    command = (
        "run",
        "--rm",
        "--network=none",
        "known:2",
        "sh",
        "-c",
        "cat /etc/greeting; echo; echo x > /etc/greeting; ls /etc/dir",
    )
    assert fresh.ok(*command).split() == ["hello", "new"]
    assert fresh.ok(*command).split() == ["hello", "new"]
    size = sum(path.stat().st_size for path in Path(fresh.root, "root/overlay").rglob("*") if path.is_file())
    assert size < 10_000  # nothing was copied
    assert "which is read-only" in fresh.fails(2, "rmi", "theirs:1")
    fresh.ok("save", "-q", "-o", str(tmp_path / "saved.tar"), "theirs:1")
    diff_ids = json.loads(fresh.ok("image", "inspect", "theirs:1"))[0]["RootFS"]["Layers"]
    fresh.ok("create", "--name", "c", "--network=none", "theirs:1")
    own = fresh.ok("commit", "-q", "-c", "LABEL mine=1", "c", "mine:1")
    assert json.loads(fresh.ok("image", "inspect", own))[0]["RootFS"]["Layers"][: len(diff_ids)] == diff_ids
    fresh.ok("rm", "c")
    fresh.ok("rmi", "mine:1")
    assert store_digest(root) == before
    fresh.flags.pop()
    fresh.ok("load", "-q", "-i", str(tmp_path / "saved.tar"))


@pytest.mark.parametrize("store", ["overlay"], indirect=True)
def test_storage_conf_names_stores(fresh: Podling, store: tuple[str, Path], tmp_path: Path) -> None:
    _, root = store
    conf = tmp_path / "storage.conf"
    conf.write_text(
        f'[storage]\ndriver = "overlay"\n[storage.options]\nadditionalimagestores = [\n  "{root}", # shared\n]\n'
    )
    fresh.env["CONTAINERS_STORAGE_CONF"] = str(conf)
    assert fresh.ok("run", "--rm", "--network=none", "theirs:1", "cat", "/etc/greeting") == "hello"
    conf.write_text("[storage.options]\nadditionalimagestores = [\n]\n")
    assert fresh("image", "exists", "theirs:1").returncode == 1
    assert fresh.ok("images", "-q") == ""
    fresh.ok("image", "prune", "-f")
    assert fresh.folders()["layers"] == []


def test_a_store_that_has_gone(fresh: Podling, tmp_path: Path) -> None:
    fresh.flags.append(f"--storage-opt=additionalimagestore={tmp_path}/gone")
    assert "does not exist" in fresh("image", "exists", "nothing:1").stderr


# -- scp, through a real sshd
@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    folder, port = tmp_path_factory.mktemp("ssh"), free_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "user.pub").rename(folder / "authorized")
    os.makedirs("/run/sshd", exist_ok=True)
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nUsePAM no\n"
        f"StrictModes no\nPermitRootLogin yes\nPidFile {folder}/pid\nSetEnv PATH={folder}/bin:/usr/bin:/bin\n"
    )
    process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-E", folder / "log", "-f", config])
    (folder / "bin").mkdir()
    # the system's ssh, told where the key is
    (folder / "bin/ssh").write_text(
        f'#!/bin/sh\nexec /usr/bin/ssh -i {folder}/user -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$@"\n'
    )
    (folder / "bin/ssh").chmod(0o755)
    time.sleep(0.3)
    yield folder, port
    process.kill()
    process.wait()


@pytest.fixture
def far(sshd: tuple[Path, int], fresh: Podling) -> Iterator[str]:
    """The store `fresh` as another host has it: there the command podling uses it."""
    folder, port = sshd
    script = folder / "bin/podling"
    words = " ".join(f"'{word}'" for word in fresh.argv())
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    script.chmod(0o755)
    yield f"ssh://root@127.0.0.1:{port}"
    script.unlink()


def test_scp(podling: Podling, fresh: Podling, far: str, sshd: tuple[Path, int]) -> None:
    path = {"PATH": f"{sshd[0]}/bin:{os.environ['PATH']}"}
    podling.ok("tag", "localhost/busybox", "travels:1")
    done = podling("image", "scp", "travels:1", f"{far}::", env=path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Loaded image: localhost/travels:1"
    assert fresh.ok("image", "exists", "travels:1") == ""
    podling.ok("rmi", "travels:1")
    done = podling("image", "scp", "-q", f"{far}::travels:1", env=path)
    assert done.returncode == 0, done.stderr
    assert podling.ok("image", "exists", "travels:1") == ""
    done = podling("image", "scp", f"{far}::nosuch:1", env=path)
    assert done.returncode == 125 and "the other side failed" in done.stderr and "image not known" in done.stderr
    assert "both ends are this store" in podling.fails(125, "image", "scp", "travels:1")
    done = podling("image", "scp", "travels:1", "ssh://root@127.0.0.1:1::", env=path)
    assert done.returncode == 125 and "the other side failed" in done.stderr
    podling.ok("rmi", "travels:1")


def test_scp_of_nothing(podling: Podling) -> None:
    assert "image not known" in podling.fails(125, "image", "scp", "nosuch:1", "host::")
    assert "ends with ::" in podling.fails(125, "image", "scp", "localhost/busybox", "other:1")
    assert "is no host" in podling.fails(125, "image", "scp", "--", "localhost/busybox", "-oProxyCommand=x::")
