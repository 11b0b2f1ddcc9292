"""system migrate-from docker: a real daemon's data root where there is one, and one put together by hand everywhere."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import IMAGE, Podling, eventually
from .test_migrate_from import Podman, podman

__all__ = ["podman"]
pytestmark = pytest.mark.xdist_group("network")
NAME = "docker.io/library/theirs:1"


# -- by hand
def _bolt(path: Path, bucket: str, values: dict[str, bytes]) -> None:
    """A bbolt file with one bucket, which is small enough to lie in its parent's page."""

    def page(number: int, flags: int, items: list[tuple[int, bytes, bytes]]) -> bytes:
        offset, heads, bodies = 16 * len(items), b"", b""
        for position, (kind, key, value) in enumerate(items):
            heads += struct.pack("<IIII", kind, offset - 16 * position + len(bodies), len(key), len(value))
            bodies += key + value
        return struct.pack("<QHHI", number, flags, len(items), 0) + heads + bodies

    inner = struct.pack("<QQ", 0, 0) + page(0, 2, [(0, key.encode(), value) for key, value in sorted(values.items())])
    meta = [
        struct.pack("<QHHI", number, 4, 0, 0) + struct.pack("<III4xQQQQQ", 0xED0CDAED, 2, 4096, 3, 0, 2, 4, number)[:64]
        for number in (0, 1)
    ]
    pages = [*meta, struct.pack("<QHHI", 2, 16, 0, 0), page(3, 2, [(1, bucket.encode(), inner)])]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(data.ljust(4096, b"\0") for data in pages[:3]) + pages[3].ljust(8192, b"\0"))


def _network(name: str, kind: str, pools: str = "") -> bytes:
    document = {"name": name, "networkType": kind, "labels": {"n": "m"}, "ipamV4Config": pools, "internal": False}
    return struct.pack("<Q", 7) + json.dumps(document).encode()


def _by_hand(root: Path, theirs: Podman) -> None:
    """Docker keeps the same description of tars as Podman: its layers are those of a store of Podman's."""
    source = theirs.root
    kept = json.loads((source / "vfs-layers/layers.json").read_text())
    image = next(item for item in json.loads((source / "vfs-images/images.json").read_text()) if item.get("layer"))
    layer = next(item for item in kept if item["id"] == image["layer"])
    id = image["id"]
    folder = root / "image/vfs"
    (folder / "imagedb/content/sha256").mkdir(parents=True)
    name = next(
        path
        for path in (source / f"vfs-images/{id}").iterdir()
        if path.name.startswith("=") and "diff_ids" in path.read_text()
    )
    shutil.copy(name, folder / "imagedb/content/sha256" / id)
    place = folder / "layerdb/sha256" / layer["diff-digest"].partition(":")[2]
    place.mkdir(parents=True)
    (place / "cache-id").write_text("abc")
    (place / "size").write_text(str(layer["diff-size"]))
    shutil.copy(source / f"vfs-layers/{layer['id']}.tar-split.gz", place / "tar-split.json.gz")
    assert gzip.open(place / "tar-split.json.gz").read(1)
    (root / "vfs/dir").mkdir(parents=True)
    subprocess.run(["cp", "-a", str(source / f"vfs/dir/{layer['id']}"), str(root / "vfs/dir/abc")], check=True)
    (folder / "repositories.json").write_text(
        json.dumps({"Repositories": {"theirs": {"theirs:1": f"sha256:{id}", "theirs@sha256:0": f"sha256:{id}"}}})
    )
    _bolt(root / "volumes/metadata.db", "volumes", {
        "dvol": b'{"Name":"dvol","Driver":"local","Labels":{"k":"v"},"Options":null}',
        "a" * 64: json.dumps({"Name": "a" * 64, "Driver": "local", "Labels": None, "Options": None}).encode(),
    })  # fmt: skip
    for volume in ("dvol", "a" * 64):
        (root / f"volumes/{volume}/_data").mkdir(parents=True)
    (root / "volumes/dvol/_data/f").write_text("hi\n")
    prefix = "docker/network/v1.0/network/"
    pools = json.dumps([{"PreferredPool": "10.222.0.0/24", "Gateway": ""}])
    _bolt(root / "network/files/local-kv.db", "libnetwork", {
        f"{prefix}1/": _network("host", "host"), f"{prefix}2/": _network("pt-dnet", "bridge", pools), f"{prefix}3/": _network("swarm", "overlay"),
        "docker/network/v1.0/endpoint/x/": b"\0" * 8 + b"{}",
    })  # fmt: skip
    config: dict[str, Any] = {
        "Hostname": "h", "User": "5:6", "Env": ["X=1", "PATH=/bin"], "Cmd": ["sh", "-c", "cat /data/f; echo $X"], "Image": "theirs:1",
        "WorkingDir": "/tmp", "Entrypoint": None, "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/anon": {}},
    }  # fmt: skip
    host = {
        "Binds": ["/etc:/etc2", "dvol:/data:ro"], "NetworkMode": "pt-dnet", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "21996"}]},
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "CapAdd": ["CAP_NET_RAW"], "ReadonlyRootfs": True, "PidsLimit": 33,
        "Tmpfs": {"/t": "size=1m"}, "Runtime": "runc", "LogConfig": {"Type": "json-file", "Config": {}},
    }  # fmt: skip
    mounts = {
        "/anon": {"Type": "volume", "Name": "a" * 64},
        "/data": {"Type": "volume", "Name": "dvol"},
        "/etc2": {"Type": "bind", "Name": ""},
    }
    box = root / "containers" / hashlib.sha256(b"box").hexdigest()
    box.mkdir(parents=True)
    document = {
        "ID": box.name, "Name": "/dbox", "Image": f"sha256:{id}", "Config": config, "MountPoints": mounts,
        "NetworkSettings": {"Networks": {"pt-dnet": {"IPAMConfig": {"IPv4Address": "10.222.0.9"}}}},
    }  # fmt: skip
    (box / "config.v2.json").write_text(json.dumps(document) + "\n")
    (box / "hostconfig.json").write_text(json.dumps(host) + "\n")


# -- by a daemon
def _by_a_daemon(root: Path, image: Path) -> None:
    """In a network namespace of its own, so that it changes nothing on this host."""
    socket = root.parent / "docker.sock"
    argv = [
        "dockerd",
        f"--data-root={root}",
        f"--exec-root={root.parent}/exec",
        f"-Hunix://{socket}",
        f"--pidfile={root.parent}/pid",
    ]
    argv += ["--bridge=none", "--iptables=false", "--ip-masq=false"]
    with (root.parent / "log").open("wb") as log:
        daemon = subprocess.Popen(["unshare", "-n", *argv], stdout=log, stderr=log)

    def docker(*args: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["docker", *args], env={**os.environ, "DOCKER_HOST": f"unix://{socket}"}, capture_output=True
        )

    try:
        eventually(lambda: docker("version").returncode == 0, 60)
        for command in (
            ["load", "-q", "-i", str(image)], ["tag", IMAGE, "theirs:1"], ["rmi", IMAGE], ["volume", "create", "--label", "k=v", "dvol"],
            ["network", "create", "--subnet", "10.222.0.0/24", "--label", "n=m", "pt-dnet"],
            [
                "create", "--name", "dbox", "--label", "a=b", "-e", "X=1", "-v", "dvol:/data:ro", "-v", "/etc:/etc2", "-v", "/anon", "--tmpfs", "/t:size=1m",
                "--pids-limit", "33", "--cap-add", "NET_RAW", "--user", "5:6", "-w", "/tmp", "--hostname", "h", "--restart", "on-failure:3", "--read-only",
                "--network", "pt-dnet", "--ip", "10.222.0.9", "-p", "127.0.0.1:21996:80", "theirs:1", "sh", "-c", "cat /data/f; echo $X",
            ],
        ):  # fmt: skip
            done = docker(*command)
            assert done.returncode == 0, done.stderr.decode()
        (root / "volumes/dvol/_data/f").write_text("hi\n")
    finally:
        daemon.terminate()
        daemon.wait(30)


@pytest.fixture(params=["by hand", "by a daemon"])
def data_root(request: pytest.FixtureRequest, podman: Podman, tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "docker"
    if request.param == "by hand":
        _by_hand(root, podman)
    elif not shutil.which("dockerd"):
        pytest.skip("dockerd is not installed")
    else:
        _by_a_daemon(root, podman.folder / "image.tar")
    yield root
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split()[4] for line in file if str(tmp_path) in line]
    for target in sorted(mounts, reverse=True):
        subprocess.run(["umount", "-l", target], check=False)


def test_everything(data_root: Path, fresh: Podling) -> None:
    command = ("system", "migrate-from", f"--from-root={data_root}")
    listed = fresh.ok(*command, "--dry-run", "docker").splitlines()
    assert f"image {NAME}" in listed and "container dbox (theirs:1)" in listed and "network pt-dnet" in listed
    try:
        said = fresh.ok(*command, "docker").splitlines()
        assert all(line.endswith(": taken") for line in said) and len(said) == 5
        assert fresh("image", "exists", NAME).returncode == 0
        net = json.loads(fresh.ok("network", "inspect", "pt-dnet"))[0]
        assert net["subnets"][0]["subnet"] == "10.222.0.0/24" and net["labels"] == {"n": "m"}
        box = json.loads(fresh.ok("inspect", "dbox"))[0]
        host, config = box["HostConfig"], box["Config"]
        assert (config["Hostname"], config["User"], config["WorkingDir"], config["Labels"]["a"]) == (
            "h",
            "5:6",
            "/tmp",
            "b",
        )
        assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3} and host["PidsLimit"] == 33
        assert host["ReadonlyRootfs"] and host["PortBindings"]["80/tcp"][0]["HostPort"] == "21996"
        assert {mount["Destination"] for mount in box["Mounts"]} == {"/data", "/etc2", "/anon"}
        assert len(fresh.ok("volume", "ls", "-q").split()) == 2  # the anonymous one too, and no other
        assert fresh.ok("start", "-a", "dbox") == "hi\n1"
        assert "dbox: is here already" in fresh.ok(*command, "docker")
    finally:
        fresh("rm", "-f", "-t0", "-a")
        fresh("network", "rm", "pt-dnet")


def test_what_is_no_store(fresh: Podling, tmp_path: Path) -> None:
    assert "no data root of Docker's" in fresh.fails(125, "system", "migrate-from", f"--from-root={tmp_path}", "docker")
    (tmp_path / "image/overlay2/imagedb/content/sha256").mkdir(parents=True)
    (tmp_path / "image/overlay2/imagedb/content/sha256/abc").write_text(
        '{"rootfs": {"type": "layers", "diff_ids": ["sha256:' + "0" * 64 + '"]}}'
    )
    (tmp_path / "image/overlay2/repositories.json").write_text('{"Repositories": {"a": {"a:1": "sha256:abc"}}}')
    done = fresh("system", "migrate-from", f"--from-root={tmp_path}", "docker")
    assert done.returncode == 1 and "lacks a layer" in done.stderr
    (tmp_path / "image/overlay2/repositories.json").write_text("{")
    assert "repositories.json" in fresh.fails(125, "system", "migrate-from", f"--from-root={tmp_path}", "docker")
