"""cp and export: both ways, stopped and running, links, owners, volumes, tars, and paths that want to get out."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling

NONE = "--network=none"


@pytest.fixture(params=["running", "stopped"])
def box(request: pytest.FixtureRequest, podling: Podling) -> Iterator[str]:
    """A container with some files and a volume, running or stopped."""
    script = (
        "[ -e /done ] || { touch /done; mkdir -p /d/sub /away; echo a > /d/a; echo b > /d/sub/b; ln -s sub /d/link; ln -s /d /abs; echo v > /vol/in; "
        "ln -s ../../../../../../etc /d/out; chown 7:8 /d/a; chmod 640 /d/a; }; sleep 100"
    )
    name = f"box-{request.param}"
    podling.ok("run", "-d", "--name", name, NONE, "-v", f"vol-{name}:/vol", IMAGE, "sh", "-c", script)
    for _ in range(100):
        if podling("exec", name, "test", "-e", "/d/out").returncode == 0:
            break
    if request.param == "stopped":
        podling.ok("stop", "-t", "0", name)
    yield name
    podling.ok("rm", "-f", "-t", "0", name)


def inside(podling: Podling, name: str, command: str) -> str:
    """What a shell in the container says, also of a stopped one."""
    if podling.ok("inspect", "-f", "{{.State.Running}}", name) == "true":
        return podling.ok("exec", name, "sh", "-c", command)
    podling.ok("start", name)
    try:
        return podling.ok("exec", name, "sh", "-c", command)
    finally:
        podling.ok("stop", "-t", "0", name)


def test_out_of_a_container(podling: Podling, box: str, tmp_path: Path) -> None:
    podling.ok("cp", f"{box}:/d/a", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_text() == "a\n"
    info = (tmp_path / "copy").stat()
    assert (info.st_uid, info.st_mode & 0o777) == (os.getuid(), 0o640)
    podling.ok("cp", f"{box}:/d", str(tmp_path))
    assert (tmp_path / "d/sub/b").read_text() == "b\n" and os.readlink(tmp_path / "d/link") == "sub"
    podling.ok("cp", f"{box}:/d/.", str(tmp_path / "new"))
    assert sorted(os.listdir(tmp_path / "new")) == ["a", "link", "out", "sub"]
    podling.ok("cp", "-a=false", f"{box}:/d/a", str(tmp_path / "owned"))
    assert (tmp_path / "owned").stat().st_uid == 7
    podling.ok("cp", f"{box}:abs/a", str(tmp_path / "through-link"))
    assert (tmp_path / "through-link").read_text() == "a\n"
    podling.ok("cp", f"{box}:/vol/in", str(tmp_path / "volume"))
    assert (tmp_path / "volume").read_text() == "v\n"


def test_into_a_container(podling: Podling, box: str, tmp_path: Path) -> None:
    (tmp_path / "t/deep").mkdir(parents=True)
    (tmp_path / "t/deep/f").write_text("new")
    os.link(tmp_path / "t/deep/f", tmp_path / "t/hard")
    os.symlink("deep/f", tmp_path / "t/soft")
    (tmp_path / "t/.wh.odd").write_text("not a whiteout")
    os.chown(tmp_path / "t/deep/f", 55, 66)
    podling.ok("cp", str(tmp_path / "t"), f"{box}:/away")
    podling.ok("cp", str(tmp_path / "t/deep/f"), f"{box}:/d/a")
    podling.ok("cp", str(tmp_path / "t/deep/f"), f"{box}:/vol/")
    podling.ok("cp", str(tmp_path / "t") + "/.", f"{box}:/fresh")
    text = inside(
        podling, box,
        "cat /away/t/soft /d/a /vol/f /fresh/deep/f; stat -c %u:%g /away/t/deep/f; stat -c %h /away/t/hard; ls -A /away/t | head -1",
    )  # fmt: skip
    assert text.replace("new", "new ").split() == ["new", "new", "new", "new", "0:0", "2", ".wh.odd"]


def test_between_containers(podling: Podling, box: str) -> None:
    podling.ok("create", "--name", "other", NONE, IMAGE, "sh")
    podling.ok("cp", f"{box}:/d/sub", "other:/")
    podling.ok("cp", "other:/sub/b", f"{box}:/d/back")
    assert inside(podling, box, "cat /d/back") == "b"
    podling.ok("rm", "other")


def test_tars(podling: Podling, box: str, tmp_path: Path) -> None:
    done = subprocess.run(podling.argv("cp", f"{box}:/d", "-"), capture_output=True, check=True, env=podling.env)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert {"d", "d/a", "d/sub", "d/sub/b", "d/link", "d/out"} == set(archive.getnames())
        assert archive.getmember("d/a").uid == 7
    podling.ok("cp", "-", f"{box}:/away", input=done.stdout)
    assert inside(podling, box, "cat /away/d/sub/b") == "b"
    assert "a folder that exists" in podling.fails(125, "cp", "-", f"{box}:/nowhere", input=done.stdout)


def test_links_do_not_lead_to_the_host(podling: Podling, box: str, tmp_path: Path) -> None:
    """/d/out points above the root: inside, that is the container's own /etc."""
    secret = Path(f"/etc/podling-test-{box}")
    secret.write_text("host")
    try:
        podling.fails(125, "cp", f"{box}:/d/out/{secret.name}", str(tmp_path / "x"))
        podling.ok("cp", str(secret), f"{box}:/d/out/copied")
        assert not Path("/etc/copied").exists()
        assert inside(podling, box, "cat /etc/copied") == "host"
    finally:
        secret.unlink()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["{box}:/nothing", "/tmp"], "could not be found on container"),
        (["/nothing/here", "{box}:/d"], "could not be found on the host"),
        (["/etc/hostname", "{box}:/nothing/x"], "its folder does not exist"),
        (["/etc/hostname", "{box}:/nothing/"], "does not exist"),
        (["/etc", "{box}:/d/a"], "is a file"),
        (["/etc/hostname", "/tmp/x"], "one of the two must be in a container"),
        (["nosuchbox:/etc", "/tmp/x"], "no such container"),
    ],
)
def test_refused(podling: Podling, box: str, args: list[str], words: str) -> None:
    assert words in podling.fails(125, "cp", *(arg.format(box=box) for arg in args))


def test_overwrite(podling: Podling, box: str, tmp_path: Path) -> None:
    (tmp_path / "sub").write_text("file")
    assert "there is a folder" in podling.fails(125, "cp", str(tmp_path / "sub"), f"{box}:/d")
    podling.ok("cp", "--overwrite", str(tmp_path / "sub"), f"{box}:/d")
    assert inside(podling, box, "cat /d/sub") == "file"


def test_a_new_owner_and_tmpfs(podling: Podling, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    podling.ok("run", "-d", "--name", "user", NONE, "--user", "12:34", "--tmpfs", "/scratch", IMAGE, "sleep", "100")
    podling.ok("cp", str(tmp_path / "f"), "user:/scratch/f")
    assert podling.ok("exec", "user", "stat", "-c", "%u:%g", "/scratch/f") == "12:34"
    podling.ok("stop", "-t", "0", "user")
    assert "exists only while the container runs" in podling.fails(125, "cp", "user:/scratch/f", str(tmp_path))
    podling.ok("rm", "user")


def test_export(podling: Podling, box: str, tmp_path: Path) -> None:
    podling.ok("export", "-o", str(tmp_path / "x.tar"), box)
    with tarfile.open(tmp_path / "x.tar") as archive:
        names = set(archive.getnames())
        assert {"d/sub/b", "bin/busybox", "abs"} <= names and "vol/in" not in names
    assert podling.ok("import", "-q", str(tmp_path / "x.tar"), "exported:1").startswith("sha256:")
    assert podling.ok("run", "--rm", NONE, "exported:1", "cat", "/d/a") == "a"
    podling.ok("rmi", "exported:1")
    assert os.listdir(tmp_path) == ["x.tar"]
    podling.fails(125, "export", "-o", str(tmp_path / "y.tar"), "nosuch")
    assert os.listdir(tmp_path) == ["x.tar"]
