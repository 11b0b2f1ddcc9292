"""Volumes as objects, and secrets."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling

RUN = ("run", "--rm", "--network=none")


def names(podling: Podling, *args: str) -> list[str]:
    return podling.ok("volume", "ls", "-q", *args).split()


@pytest.fixture(autouse=True)
def no_volumes(podling: Podling) -> None:
    podling.ok("volume", "rm", "-f", "-a")


def test_life(podling: Podling) -> None:
    assert podling.ok("volume", "create", "--label", "a=1", "--uid", "5", "--gid", "6", "data") == "data"
    assert "already exists" in podling.fails(125, "volume", "create", "data")
    assert podling.ok("volume", "create", "--ignore", "data") == "data"
    (document,) = json.loads(podling.ok("volume", "inspect", "data"))
    assert document["Labels"] == {"a": "1"} and document["UID"] == 5 and document["NeedsCopyUp"] is True
    info = os.stat(document["Mountpoint"])
    assert (info.st_uid, info.st_gid) == (5, 6)
    podling.ok(*RUN, "-v", "data:/d", IMAGE, "sh", "-c", "echo kept > /d/f")
    assert podling.ok(*RUN, "-v", "data:/d", IMAGE, "cat", "/d/f") == "kept"
    assert podling("volume", "exists", "data").returncode == 0 and podling("volume", "exists", "dat").returncode == 1
    assert podling.ok("volume", "ls").splitlines()[0].split() == ["DRIVER", "VOLUME", "NAME"]
    assert podling.ok("volume", "ls", "--format", "{{.Name}} {{.Driver}}") == "data local"
    assert podling.ok("volume", "rm", "dat") == "data"
    assert "no such volume" in podling.fails(1, "volume", "rm", "data")
    assert podling.ok("volume", "rm", "-f", "data") == ""
    assert not os.path.exists(os.path.dirname(document["Mountpoint"]))


def test_in_use(podling: Podling) -> None:
    podling.ok("create", "--name", "c", "-v", "used:/d", IMAGE, "true")
    assert "is being used by the following container(s)" in podling.fails(2, "volume", "rm", "used")
    assert podling.ok("volume", "prune", "-f") == ""
    assert podling.ok("volume", "rm", "--force", "used") == "used"
    assert podling.ok("ps", "-aq") == ""


def test_filters_and_prune(podling: Podling) -> None:
    podling.ok("volume", "create", "--label", "k=v", "one")
    podling.ok("volume", "create", "-o", "type=tmpfs", "two")
    podling.ok("create", "--name", "c", "-v", "three:/d", "-v", "/anonymous", IMAGE, "true")
    assert names(podling, "--filter", "label=k=v") == ["one"]
    assert names(podling, "--filter", "name=^t") == ["three", "two"]
    assert names(podling, "--filter", "opt=type=tmpfs") == ["two"]
    assert names(podling, "--filter", "dangling=true") == ["one", "two"]
    assert "one" not in names(podling, "--filter", "label!=k=v")
    assert "unknown key" in podling.fails(125, "volume", "ls", "--filter", "odd=1")
    done = podling("volume", "prune", input=b"n\n")
    assert "one\ntwo" in done.stdout and "one" in names(podling)
    assert podling.ok("volume", "prune", "-f", "--filter", "label!=k=v") == "two"
    assert podling.ok("volume", "prune", "-f") == "one"
    podling.ok("rm", "-v", "c")
    assert names(podling) == ["three"]


def test_options_of_mount(podling: Podling, tmp_path: Path) -> None:
    podling.ok("volume", "create", "-o", "type=tmpfs", "-o", "o=size=1m,mode=711", "small")
    line = podling.ok(*RUN, "-v", "small:/d", IMAGE, "grep", " /d ", "/proc/mounts")
    assert "tmpfs" in line and "size=1024k" in line and podling.mounts() == []
    (tmp_path / "f").write_text("bound")
    podling.ok("volume", "create", "-o", "type=bind", "-o", f"device={tmp_path}", "bound")
    assert podling.ok(*RUN, "-v", "bound:/d", IMAGE, "cat", "/d/f") == "bound"
    podling.ok("run", "-d", "--name", "a", "--network=none", "-v", "small:/d", IMAGE, "sleep", "100")
    podling.ok("exec", "a", "touch", "/d/x")
    assert podling.ok(*RUN, "-v", "small:/d", IMAGE, "ls", "/d") == "x"  # and it stays for the first
    assert podling.ok("exec", "a", "ls", "/d") == "x"
    podling.ok("rm", "-f", "-t", "0", "a")
    assert podling.mounts() == []
    path = Path(podling.ok("volume", "mount", "small"))
    assert os.path.ismount(path)
    podling.ok("volume", "unmount", "small")
    assert podling.mounts() == []
    podling.ok("volume", "create", "-d", "image", "-o", f"image={IMAGE}", "img")
    assert podling.ok(*RUN, "-v", "img:/i", IMAGE, "ls", "/i/bin/busybox") == "/i/bin/busybox"
    podling.ok("image", "unmount", "-a")
    assert "no such file" in podling.fails(125, "volume", "create", "-o", "type=bind", "-o", "device=/nothing", "bad")
    assert "is not known" in podling.fails(125, "volume", "create", "-o", "odd=1", "bad")
    assert "is not known" in podling.fails(125, "volume", "create", "-d", "odd", "bad")
    assert "cannot be limited here" in podling.fails(125, "volume", "create", "-o", "size=1m", "bad")
    podling.ok("volume", "create", "-o", "type=nosuchfs", "-o", "device=none", "broken")
    assert "cannot be mounted" in podling.fails(125, *RUN, "-v", "broken:/d", IMAGE, "true")
    assert "bad" not in names(podling) and podling.ok("ps", "-aq") == ""


def test_tars(podling: Podling, tmp_path: Path) -> None:
    podling.ok(
        *RUN,
        "-v",
        "src:/d",
        IMAGE,
        "sh",
        "-c",
        "mkdir /d/sub; echo 1 > /d/sub/f; chown 7:8 /d/sub/f; ln -s f /d/sub/l; touch /d/.wh.x",
    )
    podling.ok("volume", "export", "src", "-o", str(tmp_path / "v.tar"))
    with tarfile.open(tmp_path / "v.tar") as archive:
        assert archive.getmember("sub/f").uid == 7 and set(archive.getnames()) == {"sub", "sub/f", "sub/l", ".wh.x"}
    podling.ok("volume", "create", "dst")
    podling.ok("volume", "import", "dst", str(tmp_path / "v.tar"))
    assert podling.ok(
        *RUN, "-v", "dst:/d", IMAGE, "sh", "-c", "cat /d/sub/l; stat -c %u /d/sub/f; ls -A /d"
    ).split() == ["1", "7", ".wh.x", "sub"]
    data = subprocess.run(
        podling.argv("volume", "export", "dst"), capture_output=True, env=podling.env, check=True
    ).stdout
    podling.ok("volume", "import", "src", "-", input=data)
    assert "no such volume" in podling("volume", "import", "nosuch", str(tmp_path / "v.tar")).stderr
    hostile = io.BytesIO()
    with tarfile.open(fileobj=hostile, mode="w") as out:
        info = tarfile.TarInfo("../escaped")
        out.addfile(info)
    assert "hostile archive" in podling.fails(125, "volume", "import", "dst", "-", input=hostile.getvalue())


# -- secrets
def test_secrets(podling: Podling, tmp_path: Path) -> None:
    podling.ok("secret", "rm", "-a")
    id = podling.ok("secret", "create", "--label", "k=v", "token", "-", input=b"s3cr3t")
    path = tmp_path / "file"
    path.write_text("from a file")
    podling.ok("secret", "create", "other", str(path))
    podling.env["A_SECRET"] = "from the environment"
    podling.ok("secret", "create", "--env", "third", "A_SECRET")
    assert [line.split()[1] for line in podling.ok("secret", "ls", "-n").splitlines()] == ["other", "third", "token"]
    (document,) = json.loads(podling.ok("secret", "inspect", "token"))
    assert document["ID"] == id and document["Spec"]["Labels"] == {"k": "v"} and "SecretData" not in document
    assert json.loads(podling.ok("secret", "inspect", "--showsecret", id[:6]))[0]["SecretData"] == "s3cr3t"
    assert "token" in podling.ok("secret", "inspect", "--pretty", "token")
    assert "secret name in use" in podling.fails(125, "secret", "create", "token", str(path))
    new = podling.ok("secret", "create", "--replace", "token", "-", input=b"newer")
    assert new != id and podling.ok("secret", "create", "--ignore", "token", str(path)) == new
    folder = Path(podling.root, "root/secrets")
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert all(entry.stat().st_mode & 0o777 == 0o600 for entry in folder.iterdir()) and len(list(folder.iterdir())) == 3
    assert b"newer" not in Path(podling.root, "root/podling.db").read_bytes()
    assert podling("secret", "exists", "token").returncode == 0 and podling("secret", "exists", "none").returncode == 1
    assert podling.ok("secret", "rm", "other") != ""
    assert "no such secret" in podling.fails(125, "secret", "rm", "other")
    podling.ok("secret", "rm", "-a")
    assert list(folder.iterdir()) == []
    assert "can not include" in podling.fails(125, "secret", "create", "a/b", str(path))
    assert "between 1 and" in podling.fails(125, "secret", "create", "empty", "-", input=b"")


def test_secrets_in_containers(podling: Podling) -> None:
    podling.ok("secret", "create", "--replace", "token", "-", input=b"s3cr3t")
    text = podling.ok(
        *RUN, "--secret", "token", "--secret", "token,target=/etc/key,uid=7,gid=8,mode=0400", "--secret", "token,type=env,target=TOKEN", IMAGE,
        "sh", "-c", "cat /run/secrets/token /etc/key; echo; echo $TOKEN; stat -c '%u:%g %a' /etc/key",
    )  # fmt: skip
    assert text.split("\n") == ["s3cr3ts3cr3t", "s3cr3t", "7:8 400"]
    podling.ok("run", "-d", "--name", "c", "--network=none", "--secret", "token,type=env", IMAGE, "sleep", "100")
    assert podling.ok("exec", "c", "sh", "-c", "echo $token") == "s3cr3t"
    assert "s3cr3t" not in podling.ok("inspect", "c")
    podling.ok("commit", "-q", "c", "leaky:1")
    assert "s3cr3t" not in podling.ok("image", "inspect", "leaky:1")
    podling.ok("rm", "-f", "-t", "0", "c")
    podling.ok("rmi", "leaky:1")
    assert "no such secret" in podling.fails(125, "create", "--secret", "nosuch", IMAGE)
    assert "cannot be set with secret type env" in podling.fails(
        125, "create", "--secret", "token,type=env,uid=1", IMAGE
    )
    podling.ok("secret", "rm", "token")


def test_shell_driver(podling: Podling, tmp_path: Path) -> None:
    options = f"list=ls {tmp_path},lookup=cat {tmp_path}/$SECRET_ID,store=cat > {tmp_path}/$SECRET_ID,delete=rm {tmp_path}/$SECRET_ID"
    id = podling.ok("secret", "create", "-d", "shell", "--driver-opts", options, "sh1", "-", input=b"kept")
    assert (tmp_path / id).read_bytes() == b"kept"
    assert podling.ok(*RUN, "--secret", "sh1", IMAGE, "cat", "/run/secrets/sh1") == "kept"
    podling.ok("secret", "rm", "sh1")
    assert os.listdir(tmp_path) == []
    assert "failed with code" in podling.fails(
        125, "secret", "create", "-d", "shell", "--driver-opts", "store=false", "sh2", "-", input=b"x"
    )
    assert podling("secret", "exists", "sh2").returncode == 1


# -- the space of all of it
def test_df_and_prune(fresh: Podling) -> None:
    fresh.ok("pull", "-q", IMAGE)
    fresh.ok(
        "run",
        "--name",
        "done",
        "--network=none",
        "-v",
        "kept:/d",
        IMAGE,
        "sh",
        "-c",
        "head -c 5000 /dev/zero > /x; head -c 7000 /dev/zero > /d/y",
    )
    fresh.ok("commit", "-q", "done", "extra:1")
    rows = [line.split() for line in fresh.ok("system", "df").splitlines()]
    assert rows[0] == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert (
        rows[1][:3] == ["Images", "2", "1"]
        and rows[2][:4] == ["Containers", "1", "0", "5kB"]
        and rows[3][2:5] == ["1", "1", "7kB"]
    )
    found = {row["Type"]: row for row in json.loads(fresh.ok("system", "df", "--format", "json"))}
    assert found["Local Volumes"]["RawSize"] == 7000 and found["Containers"]["RawReclaimable"] == 5000
    text = fresh.ok("system", "df", "-v")
    assert "SHARED SIZE" in text and "kept" in text and "done" in text
    done = fresh("system", "prune", input=b"n\n")
    assert "- all stopped containers" in done.stdout and fresh.ok("ps", "-aq") != ""
    text = fresh.ok("system", "prune", "-f")
    assert text.startswith("Deleted Containers\n") and text.splitlines()[-1].startswith("Total reclaimed space: ")
    assert fresh.ok("images", "-q").count("\n") == 1
    text = fresh.ok("system", "prune", "-f", "-a", "--volumes")
    assert "Deleted Images" in text and "Deleted Volumes\nkept" in text
    assert fresh.folders()["layers"] == [] and fresh.ok("volume", "ls", "-q") == ""
