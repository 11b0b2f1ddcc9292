"""load, save, import, images, rmi, tag, history; corrupt and hostile archives; a full disk."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from .conftest import IMAGE, Podling
from .registry import digest, layer
from .test_registry import nothing_stored

NONE = "--network=none"


def imported(podling: Podling, tar: bytes, name: str = "x", *flags: str) -> str:
    return podling.ok("import", *flags, "-", name, input=tar).removeprefix("sha256:")


def diff_folder(podling: Podling, name: str) -> Path:
    return Path(podling.ok("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", name))


# -- import
def test_import(fresh: Podling, tmp_path: Path) -> None:
    tar = layer(
        {"bin": None, "bin/busybox": Path("/bin/busybox").read_bytes()},
        edit=lambda out: _link(out, "bin/sh", "busybox"),
    )
    path = tmp_path / "rootfs.tar"
    path.write_bytes(tar)
    changes = [
        "-c",
        'CMD ["sh", "-c", "echo $GREETING $PWD"]',
        "-c",
        "ENV GREETING=hi",
        "-c",
        "WORKDIR=/tmp",
        "-c",
        "LABEL a=b",
        "-c",
        "EXPOSE 80",
    ]
    id = fresh.ok("import", "-m", "made here", *changes, str(path), "mine:1")
    document = json.loads(fresh.ok("inspect", "mine:1"))[0]
    assert id == "sha256:" + document["Id"] and document["RepoTags"] == ["localhost/mine:1"]
    assert document["RootFS"]["Layers"] == [digest(tar)] and document["Labels"] == {"a": "b"}
    assert document["Config"]["ExposedPorts"] == {"80/tcp": {}} and document["Comment"] == "made here"
    os.chmod(Path(fresh.root, "root"), 0o700)
    assert "made here" in fresh.ok("history", "mine:1")


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, zstandard.ZstdCompressor().compress], ids=["plain", "gzip", "zstd"]
)
def test_import_compressed(fresh: Podling, compress: Callable[[bytes], bytes]) -> None:
    tar = layer({"file": b"content" * 1000})
    imported(fresh, compress(tar))
    assert (diff_folder(fresh, "x") / "file").read_bytes() == b"content" * 1000
    assert fresh.ok("inspect", "-f", "{{index .RootFS.Layers 0}}", "x") == digest(tar)


def test_bad_changes(fresh: Podling) -> None:
    for change in ("NOSUCH x", "CMD", "ENV A", "CMD [oops"):
        fresh.fails(125, "import", "-c", change, "-", "x", input=layer({}))
    nothing_stored(fresh)


def _link(out: tarfile.TarFile, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mtime = kind, target, 1_700_000_000
    out.addfile(info)


def _node(out: tarfile.TarFile, name: str, kind: bytes, major: int = 0, minor: int = 0, mode: int = 0o600) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.devmajor, info.devminor, info.mode = kind, major, minor, mode
    out.addfile(info)


def _file(out: tarfile.TarFile, name: str, data: bytes = b"", **attributes: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items():
        setattr(info, key, value)
    out.addfile(info, io.BytesIO(data))


def test_every_kind_of_entry(fresh: Podling) -> None:
    def edit(out: tarfile.TarFile) -> None:
        _file(out, "owned", b"x", uid=123, gid=456, mode=0o4755, mtime=1_500_000_000)
        _link(out, "soft", "/owned")
        _link(out, "hard", "owned", tarfile.LNKTYPE)
        _node(out, "fifo", tarfile.FIFOTYPE)
        _node(out, "null", tarfile.CHRTYPE, 1, 3, 0o666)
        _file(out, "a" * 90 + "/" + "b" * 200, b"long")
        _file(
            out,
            "attributed",
            b"x",
            pax_headers={"SCHILY.xattr.user.note": "kept", "SCHILY.xattr.trusted.overlay.opaque": "y"},
        )

    tar = layer({"dir": None}, edit=edit)
    imported(fresh, tar)
    root = diff_folder(fresh, "x")
    info = (root / "owned").stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777, info.st_mtime, info.st_nlink) == (
        123,
        456,
        0o4755,
        1_500_000_000,
        2,
    )
    assert os.readlink(root / "soft") == "/owned"
    assert (root / "hard").stat().st_ino == info.st_ino
    assert stat.S_ISFIFO((root / "fifo").stat().st_mode)
    assert (root / "null").stat().st_rdev == os.makedev(1, 3)
    assert (root / ("a" * 90) / ("b" * 200)).read_bytes() == b"long"
    assert os.getxattr(root / "attributed", "user.note") == b"kept"
    assert os.listxattr(root / "attributed") == ["user.note"]


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_sparse_files(fresh: Podling, tmp_path: Path, form: str) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.seek(3_000_000)
        file.write(b"middle")
        file.seek(9_000_000)
        file.write(b"end")
    tar = subprocess.run(
        ["tar", "-C", tmp_path, "-cSf", "-", f"--format={form}", "sparse"], check=True, capture_output=True
    ).stdout
    assert len(tar) < 1_000_000
    imported(fresh, tar)
    path = diff_folder(fresh, "x") / "sparse"
    assert path.read_bytes() == (tmp_path / "sparse").read_bytes()
    assert path.stat().st_blocks * 512 < 1_000_000
    assert saved_layers(fresh, "x", tmp_path) == [tar]


# -- hostile archives
def _link_then_file(target: str) -> Callable[[tarfile.TarFile], None]:
    def edit(out: tarfile.TarFile) -> None:
        _link(out, "out", target)
        _file(out, "out/podling-escape", b"x")

    return edit


def _hostile(name: str) -> bytes:
    edits: dict[str, Callable[[tarfile.TarFile], None]] = {
        "dotdot": lambda out: _file(out, "../../../../../../tmp/podling-escape", b"x"),
        "absolute link then file": _link_then_file("/tmp"),
        "dotdot link then file": _link_then_file("../../../../../../../../tmp"),
        "hard link out": lambda out: _link(out, "passwd", "../../../../../../../etc/passwd", tarfile.LNKTYPE),
        "hard link to absolute": lambda out: _link(out, "passwd", "/etc/passwd", tarfile.LNKTYPE),
        "whiteout out": lambda out: _file(out, "a/.wh..", b""),
        "whiteout of dotdot": lambda out: _file(out, ".wh...", b""),
        "device as whiteout": lambda out: _node(out, "etc", tarfile.CHRTYPE),
        "file as root": lambda out: _file(out, "./", b"", type=tarfile.REGTYPE),
        "unknown type": lambda out: _file(out, "odd", b"", type=b"Z"),
        "huge owner": lambda out: _file(out, "odd", b"", uid=1 << 33),
    }
    return layer({}, edit=edits[name])


@pytest.mark.parametrize(
    "name",
    [
        "dotdot",
        "hard link out",
        "hard link to absolute",
        "whiteout out",
        "whiteout of dotdot",
        "device as whiteout",
        "unknown type",
        "huge owner",
    ],
)
def test_hostile_archives_are_refused(fresh: Podling, name: str) -> None:
    fresh.fails(125, "import", "-", "x", input=_hostile(name))
    assert not Path("/tmp/podling-escape").exists()
    nothing_stored(fresh)


@pytest.mark.parametrize("name", ["absolute link then file", "dotdot link then file"])
def test_links_never_lead_out(fresh: Podling, name: str) -> None:
    """The link is followed within the layer, as a container would follow it."""
    done = fresh("import", "-", "x", input=_hostile(name))
    assert not Path("/tmp/podling-escape").exists()
    if done.returncode == 0:
        assert (diff_folder(fresh, "x") / "tmp" / "podling-escape").exists()
    else:
        nothing_stored(fresh)


def test_corrupt_tars(fresh: Podling) -> None:
    tar = layer({"file": os.urandom(5000), "other": b"x" * 5000})
    flipped = bytearray(tar)
    flipped[20] ^= 0xFF
    for broken in (
        bytes(flipped),
        tar[:3000],
        tar[:700],
        b"\x1f\x8bnot gzip",
        gzip.compress(tar)[:-20],
        os.urandom(2000),
    ):
        fresh.fails(125, "import", "-", "x", input=broken)
    nothing_stored(fresh)


def test_full_disk(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", tmp_path], check=True)
    try:
        podling = Podling(str(tmp_path))
        podling.ok("pull", "-q", IMAGE)
        error = podling.fails(125, "import", "-", "big", input=layer({"big": os.urandom(20_000_000)}))
        assert "no space left" in error and "free some space" in error
        assert len(podling.folders()["layers"]) == 1
        assert podling.ok("run", "--rm", NONE, IMAGE, "echo", "still works") == "still works"
        filler = tmp_path / "filler"
        with open(filler, "wb") as file, pytest.raises(OSError):
            while True:
                file.write(bytes(65536))
                file.flush()
        podling("run", "--rm", NONE, IMAGE, "true")
        filler.unlink()
        podling.ok("create", "--name", "c", NONE, IMAGE)
        podling.ok("rm", "c")
        assert len(podling.folders()["layers"]) == 1
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


# -- load and save
def saved_layers(podling: Podling, name: str, folder: Path) -> list[bytes]:
    path = folder / "saved.tar"
    podling.ok("save", "-o", str(path), name)
    with tarfile.open(path) as archive:
        listed = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        return [archive.extractfile(layer_name).read() for layer_name in listed[0]["Layers"]]  # type: ignore[union-attr]


def test_layers_are_saved_bit_by_bit(fresh: Podling, tmp_path: Path) -> None:
    tar = layer(
        {"dir": None, "dir/file": os.urandom(70_000), "empty": b"", "f" * 150: b"long"},
        edit=lambda out: _link(out, "l", "empty", tarfile.LNKTYPE),
    )
    imported(fresh, tar)
    assert saved_layers(fresh, "x", tmp_path) == [tar]


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_save_and_load(fresh: Podling, tmp_path: Path, form: str) -> None:
    fresh.ok("pull", "-q", IMAGE)
    id = fresh.ok("inspect", "-f", "{{.Id}}", IMAGE)
    path = tmp_path / "image.tar"
    fresh.ok("save", "--format", form, "-o", str(path), IMAGE)
    fresh.ok("rmi", "-f", id)
    nothing_stored(fresh)
    assert fresh.ok("load", "-q", "-i", str(path)) == "Loaded image: localhost/busybox:latest"
    assert fresh.ok("inspect", "-f", "{{.Id}}", IMAGE) == id
    assert fresh.ok("run", "--rm", NONE, IMAGE, "echo", "loaded") == "loaded"
    compressed = gzip.compress(path.read_bytes())
    fresh.ok("rmi", IMAGE)
    assert "Loaded image" in fresh.ok("load", "-q", input=compressed)


def test_two_images_in_one_archive(fresh: Podling, tmp_path: Path) -> None:
    imported(fresh, layer({"a": b"a"}), "one:1")
    imported(fresh, layer({"b": b"b"}), "two:2")
    path = tmp_path / "both.tar"
    fresh.ok("save", "-o", str(path), "one:1", "two:2")
    fresh.ok("rmi", "-a")
    assert set(fresh.ok("load", "-q", "-i", str(path)).splitlines()) == {
        "Loaded image: localhost/one:1",
        "Loaded image: localhost/two:2",
    }


@pytest.mark.parametrize(("form", "transport"), [("docker-archive", "docker-archive"), ("oci-archive", "oci-archive")])
def test_skopeo_reads_ours_and_we_read_its(fresh: Podling, tmp_path: Path, form: str, transport: str) -> None:
    tar = layer({"etc": None, "etc/x": b"x" * 1000})
    id = imported(fresh, tar, "app:1")
    ours, theirs = tmp_path / "ours.tar", tmp_path / "theirs.tar"
    fresh.ok("save", "--format", form, "-o", str(ours), "app:1")
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "-q", f"{transport}:{ours}", f"{transport}:{theirs}:localhost/app:1"],
        check=True,
    )
    fresh.ok("rmi", "-a")
    fresh.ok("load", "-q", "-i", str(theirs))
    assert fresh.ok("images", "-q", "--no-trunc") == f"sha256:{id}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        layer({"file": b"x"}),
        layer({"manifest.json": b"[]"}),
        layer({"manifest.json": b"not json"}),
        layer({"manifest.json": b'[{"Config": "c", "Layers": ["l"]}]'}),
        layer({"index.json": b'{"manifests": [{"digest": "sha256:00"}]}'}),
    ],
)
def test_broken_archives(fresh: Podling, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.tar"
    path.write_bytes(content)
    fresh.fails(125, "load", "-i", str(path))
    nothing_stored(fresh)
    assert list(Path(fresh.root, "root", "tmp").glob("*")) == []


def test_save_errors(fresh: Podling, tmp_path: Path) -> None:
    assert "image not known" in fresh.fails(125, "save", "-o", str(tmp_path / "x"), "nosuch")
    assert list(tmp_path.iterdir()) == []
    fresh.ok("pull", "-q", IMAGE)
    fresh.fails(125, "save", "-o", "/no/such/folder/x", IMAGE)
    fresh.fails(125, "save", "--format", "nosuch", "-o", str(tmp_path / "x"), IMAGE)


# -- images, tags, removal
def test_tags(fresh: Podling) -> None:
    id = imported(fresh, layer({"a": b"a"}), "one:1")
    fresh.ok("tag", "one:1", "two", "registry.example.com/three:3")
    assert set(fresh.ok("images", "--format", "{{.Repository}}:{{.Tag}}").split()) == {
        "localhost/one:1",
        "localhost/two:latest",
        "registry.example.com/three:3",
    }
    assert fresh.ok("rmi", "two") == "Untagged: localhost/two:latest"
    fresh.ok("untag", "one:1", "one:1")
    assert fresh.ok("images", "-q") == id[:12]
    assert "more than one tag" not in fresh.ok("rmi", id)
    nothing_stored(fresh)
    fresh.fails(125, "tag", "nosuch", "x")


def test_rmi(fresh: Podling) -> None:
    imported(fresh, layer({"a": b"a"}), "one:1", "-c", 'CMD ["x"]')
    fresh.ok("create", "--name", "user", NONE, "one:1")
    assert "in use by a container" in fresh.fails(2, "rmi", "one:1")
    fresh.ok("tag", "one:1", "two:2")
    id = fresh.ok("images", "-q").split()[0]
    assert "more than one tag" in fresh.fails(2, "rmi", id)
    assert "image not known" in fresh.fails(1, "rmi", "nosuch")
    fresh.ok("rmi", "-i", "nosuch")
    fresh.ok("rmi", "-f", id)
    assert fresh.ok("ps", "-aq") == ""
    nothing_stored(fresh)


def test_images_table_and_filters(fresh: Podling) -> None:
    imported(fresh, layer({"a": b"a" * 2000}), "app:1", "-c", "LABEL tier=front")
    imported(fresh, layer({"b": b"b"}), "app:2")
    imported(fresh, layer({"c": b"c"}), "other")
    fresh.ok("untag", "other")
    lines = fresh.ok("images").splitlines()
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert lines[1].split()[:2] == ["<none>", "<none>"]

    def listed(*flags: str) -> list[str]:
        return sorted(fresh.ok("images", "--format", "{{.Repository}}:{{.Tag}}", *flags).split())

    assert listed("app") == ["localhost/app:1", "localhost/app:2"]
    assert listed("app:1") == ["localhost/app:1"]
    assert listed("--filter", "label=tier=front") == ["localhost/app:1"]
    assert listed("--filter", "dangling=true") == ["<none>:<none>"]
    assert listed("--filter", "reference=*app:2") == ["localhost/app:2"]
    assert listed("--filter", "before=app:2") == ["localhost/app:1"]
    fresh.fails(125, "images", "--filter", "colour=red")
    fresh.ok("create", NONE, "app:1", "x")
    document = json.loads(fresh.ok("images", "--format", "json", "app:1"))[0]
    assert document["Names"] == ["localhost/app:1"] and document["Containers"] == 1
    assert listed("--filter", "containers=true") == ["localhost/app:1"]
    assert fresh.ok("images", "--sort", "size", "-q", "--no-trunc").count("sha256:") == 3
