"""push, and every transport both ways, beside Debian's skopeo."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pty
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import zstandard

from .conftest import Podling
from .registry import Image, Registry, digest, layer, misbehaving, send

INSECURE = "--tls-verify=false"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = Registry(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


def two_layers() -> Image:
    return Image([layer({"etc": None, "etc/base": b"base" * 5000}), layer({"etc/greeting": b"hello"})])


def skopeo(*args: str) -> str:
    done = subprocess.run(["skopeo", *args], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def remote_manifest(name: str) -> tuple[bytes, dict[str, Any]]:
    raw = skopeo("inspect", "--raw", INSECURE, f"docker://{name}").encode()
    return raw, json.loads(raw)


def blobs(registry: Registry) -> set[str]:
    return {path.parent.name for path in (registry.folder / "data").rglob("data") if "blobs/sha256" in str(path)}


# -- to a registry
def test_what_was_pulled_is_pushed_bit_by_bit(fresh: Podling, registry: Registry) -> None:
    image = two_layers()
    name = registry.push("same/a", "1", image)
    fresh.ok("pull", "-q", INSECURE, name)
    before = blobs(registry)
    fresh.ok("push", INSECURE, name, f"{registry.host}/same/b:2")
    assert remote_manifest(f"{registry.host}/same/b:2")[0] == image.manifest
    assert blobs(registry) == before  # mounted from the first repository


def test_a_local_image_is_compressed_and_comes_back(fresh: Podling, registry: Registry, tmp_path: Path) -> None:
    tar = layer({"bin": None, "bin/tool": os.urandom(3 << 20), "zero": bytes(3 << 20)})
    (tmp_path / "root.tar").write_bytes(tar)
    id = fresh.ok("import", "-q", str(tmp_path / "root.tar"), "tool:1").removeprefix("sha256:")
    name = f"{registry.host}/tool:1"
    fresh.ok("push", INSECURE, "--digestfile", str(tmp_path / "digest"), "tool:1", name)
    raw, manifest = remote_manifest(name)
    assert (tmp_path / "digest").read_text() == digest(raw)
    (entry,) = manifest["layers"]
    assert entry["mediaType"].endswith("tar+gzip")
    assert entry["size"] < len(tar) - (2 << 20)
    folder = tmp_path / "copy"
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{folder}")
    assert gzip.decompress((folder / entry["digest"].partition(":")[2]).read_bytes()) == tar
    fresh.ok("rmi", "-a", "-f")
    assert fresh.ok("pull", "-q", INSECURE, name) == id


@pytest.mark.parametrize(("kind", "suffix"), [("gzip", "gzip"), ("zstd", "zstd"), ("zstd:chunked", "zstd")])
def test_compression_formats(podling: Podling, registry: Registry, tmp_path: Path, kind: str, suffix: str) -> None:
    tar = layer({"etc": None, **{f"etc/file{n}": os.urandom(5000) for n in range(20)}})
    (tmp_path / "root.tar").write_bytes(tar)
    podling.ok("import", "-q", str(tmp_path / "root.tar"), "packed:1")
    name = f"{registry.host}/packed-{suffix}{len(kind)}:1"
    podling.ok("push", "-q", INSECURE, "--compression-format", kind, "--compression-level", "5", "packed:1", name)
    _, manifest = remote_manifest(name)
    (entry,) = manifest["layers"]
    assert entry["mediaType"].endswith(suffix)
    folder = tmp_path / "copy"
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{folder}")
    data = (folder / entry["digest"].partition(":")[2]).read_bytes()
    if suffix == "gzip":
        assert gzip.decompress(data) == tar
    else:
        reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
        assert reader.read() == tar
    assert ("annotations" in entry) == (kind == "zstd:chunked")
    podling.ok("rmi", "-f", "packed:1")


def test_format_v2s2(podling: Podling, registry: Registry) -> None:
    name = f"{registry.host}/docker:1"
    podling.ok("push", "-q", INSECURE, "--format", "v2s2", "localhost/busybox", name)
    _, manifest = remote_manifest(name)
    assert manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert json.loads(skopeo("inspect", INSECURE, f"docker://{name}"))["Architecture"] == "amd64"


def test_push_again_sends_no_blob(podling: Podling, registry: Registry) -> None:
    name = f"{registry.host}/again:1"
    podling.ok("push", INSECURE, "localhost/busybox", name)
    done = podling("push", INSECURE, "localhost/busybox", f"{registry.host}/again:2")
    assert "skipped: already exists" in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["localhost/busybox"], "localhost/ means images made here"),
        (["nosuch:1", "127.0.0.1:1/x:1"], "image not known"),
        (["--compression-format", "rar", "localhost/busybox", "127.0.0.1:1/x:1"], "not one of gzip, zstd"),
        (["--compression-level", "30", "localhost/busybox", "127.0.0.1:1/x:1"], "levels 0 to 9"),
        (
            ["--format", "v2s2", "--compression-format", "zstd", "localhost/busybox", "127.0.0.1:1/x:1"],
            "need the format oci",
        ),
        (["--format", "v1", "localhost/busybox", "127.0.0.1:1/x:1"], "not one of oci, v2s2"),
        (["localhost/busybox", "docker-daemon:x:1"], "no Docker daemon"),
        (["localhost/busybox", "containers-storage:x:1"], "cannot be written to"),
        (["localhost/busybox", "dir:"], "needs a path"),
    ],
)
def test_refused(podling: Podling, args: list[str], words: str) -> None:
    assert words in podling.fails(125, "push", "--retry=0", INSECURE, *args)


def test_an_upload_that_breaks_off_is_begun_again(podling: Podling) -> None:
    uploads: list[int] = []

    def handle(handler: BaseHTTPRequestHandler) -> bool:
        if handler.command == "HEAD":
            return send(handler, 404)
        if handler.command == "POST":
            handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
            return send(handler, 202, headers={"Location": "/v2/app/blobs/uploads/1"})
        if handler.command == "PATCH":
            uploads.append(1)
            if len(uploads) == 1:
                handler.connection.close()
                return True
            data = _chunked(handler)
            known["blob"] = digest(data)
            return send(handler, 202, headers={"Location": "/v2/app/blobs/uploads/1?state=x"})
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        named = handler.path.partition("digest=")[2] or digest(body)
        known.setdefault("puts", "")
        known["puts"] += named + " "
        return send(handler, 201, headers={"Docker-Content-Digest": named})

    known: dict[str, str] = {}
    with misbehaving(two_layers()) as server:
        server.rules["/v2/"] = handle
        podling.ok("push", "-q", INSECURE, "--retry-delay", "10ms", "localhost/busybox", server.name)
    assert len(uploads) == 2
    assert known["blob"] in known["puts"]


def _chunked(handler: BaseHTTPRequestHandler) -> bytes:
    data = b""
    while size := int(handler.rfile.readline(), 16):
        data += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return data


# -- every transport
PLACES = {
    "dir": "dir:{0}/d",
    "oci": "oci:{0}/o:tag",
    "oci-archive": "oci-archive:{0}/o.tar:tag",
    "docker-archive": "docker-archive:{0}/d.tar:docker.io/library/x:y",
}


@pytest.mark.parametrize("transport", PLACES)
def test_skopeo_reads_what_we_wrote(podling: Podling, registry: Registry, tmp_path: Path, transport: str) -> None:
    place = PLACES[transport].format(tmp_path)
    podling.ok("push", "-q", "localhost/busybox", place)
    target = f"{registry.host}/from-{transport}:1"
    skopeo("copy", "--dest-tls-verify=false", place, f"docker://{target}")
    config = json.loads(skopeo("inspect", "--config", INSECURE, f"docker://{target}"))
    mine = json.loads(podling.ok("image", "inspect", "localhost/busybox"))[0]
    assert config["rootfs"]["diff_ids"] == mine["RootFS"]["Layers"]
    if transport != "docker-archive":
        _, manifest = remote_manifest(target)
        assert manifest["config"]["digest"] == f"sha256:{mine['Id']}"


@pytest.mark.parametrize("transport", PLACES)
def test_we_read_what_skopeo_wrote(fresh: Podling, registry: Registry, tmp_path: Path, transport: str) -> None:
    image = two_layers()
    name = registry.push(f"to-{transport}", "1", image)
    place = PLACES[transport].format(tmp_path)
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", place)
    id = fresh.ok("pull", "-q", place)
    document = json.loads(fresh.ok("image", "inspect", id))[0]
    assert document["RootFS"]["Layers"] == json.loads(image.config)["rootfs"]["diff_ids"]
    if transport != "docker-archive":
        assert id == image.id
        assert document["Digest"] == digest(image.manifest)


def test_a_docker_image_in_a_layout(fresh: Podling, registry: Registry, tmp_path: Path) -> None:
    image = Image([layer({"etc": None, "etc/x": b"docker"})], kind="docker")
    name = registry.push("docker-kind", "1", image)
    fresh.ok("pull", "-q", INSECURE, name)
    fresh.ok("push", "-q", name, f"oci:{tmp_path}/o:tag")
    assert json.loads(skopeo("inspect", f"oci:{tmp_path}/o:tag"))["Os"] == "linux"
    assert "takes oci alone" in fresh.fails(125, "push", "-f", "v2s2", name, f"oci:{tmp_path}/o:tag")


def test_a_layout_keeps_its_other_images(podling: Podling, tmp_path: Path) -> None:
    place = f"oci:{tmp_path}/o"
    podling.ok("push", "-q", "localhost/busybox", f"{place}:a")
    podling.ok("push", "-q", "localhost/busybox", f"{place}:b")
    podling.ok("push", "-q", "localhost/busybox", f"{place}:a")
    index = json.loads((tmp_path / "o/index.json").read_text())
    names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]]
    assert sorted(names) == ["a", "b"]
    assert "holds several images" in podling.fails(125, "pull", place)
    assert "there is no image 'c'" in podling.fails(125, "pull", f"{place}:c")


def test_a_folder_that_is_no_image_is_not_overwritten(podling: Podling, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    assert "not empty" in podling.fails(125, "push", "localhost/busybox", f"dir:{tmp_path}")
    assert os.listdir(tmp_path) == ["precious"]


def test_a_failed_push_leaves_no_file(podling: Podling, tmp_path: Path) -> None:
    target = tmp_path / "small"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", target], check=True)
    try:
        for place in (
            f"oci-archive:{target}/o.tar",
            f"docker-archive:{target}/d.tar:x:1",
            f"oci:{target}/o",
            f"dir:{target}/d",
        ):
            podling.fails(125, "push", "-q", "localhost/busybox", place)
            assert os.listdir(target) == []
    finally:
        subprocess.run(["umount", target], check=True)


def test_corrupt_layout(fresh: Podling, podling: Podling, tmp_path: Path) -> None:
    podling.ok("push", "-q", "localhost/busybox", f"oci:{tmp_path}/o:1")
    blob = max((tmp_path / "o/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(bytes(data))
    fresh.fails(125, "pull", f"oci:{tmp_path}/o:1")
    assert fresh.ok("images", "-aq") == ""
    blob.unlink()
    fresh.fails(125, "pull", f"oci:{tmp_path}/o:1")
    (tmp_path / "o/index.json").write_text("{")
    assert "not JSON" in fresh.fails(125, "pull", f"oci:{tmp_path}/o:1")
    assert fresh.folders()["layers"] == []


def test_a_link_in_a_layout_does_not_lead_out(fresh: Podling, podling: Podling, tmp_path: Path) -> None:
    podling.ok("push", "-q", "localhost/busybox", f"oci:{tmp_path}/o:1")
    (tmp_path / "o/index.json").rename(tmp_path / "outside.json")
    (tmp_path / "o/index.json").symlink_to(tmp_path / "outside.json")
    fresh.fails(125, "pull", f"oci:{tmp_path}/o:1")


# -- save and load in all formats
@pytest.mark.parametrize("format", ["oci-dir", "docker-dir"])
def test_save_and_load_folders(fresh: Podling, podling: Podling, tmp_path: Path, format: str) -> None:
    podling.ok("save", "-q", "--format", format, "-o", str(tmp_path / "out"), "localhost/busybox")
    kind = "oci" if format == "oci-dir" else "dir"
    assert json.loads(skopeo("inspect", f"{kind}:{tmp_path}/out"))["Os"] == "linux"
    loaded = fresh.ok("load", "-q", "-i", str(tmp_path / "out"))
    assert loaded.startswith("Loaded image: ")
    assert fresh.ok("images", "-q") == podling.ok("images", "-q", "localhost/busybox")


def test_save_uncompressed(podling: Podling, tmp_path: Path) -> None:
    podling.ok("save", "-q", "--format", "oci-dir", "--uncompressed", "-o", str(tmp_path / "o"), "localhost/busybox")
    manifest = json.loads(skopeo("inspect", "--raw", f"oci:{tmp_path}/o"))
    assert manifest["layers"][0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar"
    podling.ok("save", "-q", "--format", "docker-dir", "--compress", "-o", str(tmp_path / "d"), "localhost/busybox")
    manifest = json.loads((tmp_path / "d/manifest.json").read_text())
    assert manifest["layers"][0]["mediaType"].endswith("tar.gzip")
    assert "docker-dir alone" in podling.fails(
        125, "save", "--compress", "-o", str(tmp_path / "x"), "localhost/busybox"
    )
    assert "names" not in os.listdir(tmp_path)


def test_load_and_import_from_a_url(fresh: Podling, podling: Podling, tmp_path: Path) -> None:
    podling.ok("save", "-q", "-o", str(tmp_path / "image.tar"), "localhost/busybox")
    tar = layer({"etc": None, "etc/x": b"y"})
    files = {"/image.tar": (tmp_path / "image.tar").read_bytes(), "/root.tar": gzip.compress(tar)}
    with misbehaving(two_layers()) as server:
        server.rules["/"] = lambda handler: send(
            handler, 200 if handler.path in files else 404, files.get(handler.path, b"")
        )
        url = f"http://{server.host}"
        assert fresh.ok("load", "-q", "-i", f"{url}/image.tar") == "Loaded image: localhost/busybox:latest"
        id = fresh.ok("import", "-q", f"{url}/root.tar", "web:1").removeprefix("sha256:")
        document = json.loads(fresh.ok("image", "inspect", id))[0]
        assert document["RootFS"]["Layers"] == ["sha256:" + hashlib.sha256(tar).hexdigest()]
        assert "answered 404" in fresh.fails(125, "import", f"{url}/nothing", "web:2")


# -- zstd:chunked
def test_only_missing_files_are_fetched(fresh: Podling, registry: Registry, tmp_path: Path) -> None:
    files: dict[str, bytes | None] = {"data": None, **{f"data/f{n}": os.urandom(40_000) for n in range(60)}}
    for tag in ("1", "2"):
        (tmp_path / f"{tag}.tar").write_bytes(layer(files))
        fresh.ok("import", "-q", str(tmp_path / f"{tag}.tar"), f"chunks:{tag}")
        fresh.ok(
            "push",
            "-q",
            INSECURE,
            "--compression-format",
            "zstd:chunked",
            f"chunks:{tag}",
            f"{registry.host}/chunks:{tag}",
        )
        files |= {"data/f7": b"changed" * 1000, "data/new": os.urandom(30_000)}
    fresh.ok("rmi", "-a", "-f")
    fresh.ok("pull", "-q", INSECURE, f"{registry.host}/chunks:1")
    done = fresh("pull", INSECURE, f"{registry.host}/chunks:2")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if "are not here yet" in line)
    missing = int(line.partition(": ")[2].split()[0])
    assert 0 < missing < 200_000
    with_path = fresh.ok("image", "mount", f"{registry.host}/chunks:2")
    assert (Path(with_path) / "data/f7").read_bytes() == b"changed" * 1000
    fresh.ok("image", "unmount", "-a")
    # what lies here was damaged: the file is fetched instead
    folder = next(path for path in Path(fresh.root, "root/overlay").glob("*/diff/data/f9"))
    folder.write_bytes(b"x")
    fresh.ok("rmi", f"{registry.host}/chunks:2")
    fresh.ok("pull", "-q", INSECURE, f"{registry.host}/chunks:2")
    with_path = fresh.ok("image", "mount", f"{registry.host}/chunks:2")
    assert (Path(with_path) / "data/f9").read_bytes() == files["data/f9"]
    fresh.ok("image", "unmount", "-a")


# -- on a terminal
def test_bars_on_a_terminal_and_lines_in_a_pipe(podling: Podling, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(layer({"big": os.urandom(3 << 20)}))
    podling.ok("import", "-q", str(tmp_path / "root.tar"), "bars:1")
    args = ("push", INSECURE, "bars:1", f"{registry.host}/bars:1")
    pid, fd = pty.fork()
    if not pid:
        os.execve(podling.argv()[0], podling.argv(*args), {**podling.env, "TERM": "xterm", "COLUMNS": "120"})
    text = b""
    try:
        while piece := os.read(fd, 4096):
            text += piece
    except OSError:  # a pseudo-terminal ends so
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"3.2/3.2 MB" in text and b"Writing manifest" in text
    assert text.rstrip().endswith(b"\x1b[?25h")  # the cursor is shown again
    done = podling("push", INSECURE, "bars:1", f"{registry.host}/bars:2")
    assert "\x1b" not in done.stderr and done.stderr.splitlines()[0].endswith("skipped: already exists")
    podling.ok("rmi", "bars:1")


# -- encryption
@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ann", "bob"):
        subprocess.run(["openssl", "genrsa", "-out", folder / f"{name}.pem", "2048"], check=True, capture_output=True)
        subprocess.run(
            ["openssl", "rsa", "-in", folder / f"{name}.pem", "-pubout", "-out", folder / f"{name}.pub"],
            check=True,
            capture_output=True,
        )
    return folder


def test_encrypted_images(fresh: Podling, podling: Podling, registry: Registry, keys: Path, tmp_path: Path) -> None:
    name = f"{registry.host}/secret:1"
    podling.ok(
        "push", "-q", INSECURE, "--encryption-key", f"jwe:{keys}/ann.pub", "--encryption-key", f"jwe:{keys}/bob.pub",
        "localhost/busybox", name,
    )  # fmt: skip
    _, manifest = remote_manifest(name)
    assert manifest["layers"][0]["mediaType"].endswith("+encrypted")
    assert "is encrypted" in fresh.fails(125, "pull", INSECURE, name)
    for key in ("ann", "bob"):
        assert fresh.ok("pull", "-q", INSECURE, "--decryption-key", f"{keys}/{key}.pem", name) == podling.ok(
            "images", "-q", "--no-trunc", "localhost/busybox"
        ).removeprefix("sha256:")
        fresh.ok("rmi", "-a", "-f")
    skopeo(
        "copy",
        "--src-tls-verify=false",
        "--decryption-key",
        f"{keys}/ann.pem",
        f"docker://{name}",
        f"dir:{tmp_path}/plain",
    )
    # and what skopeo encrypted
    skopeo(
        "copy",
        "--dest-tls-verify=false",
        "--encryption-key",
        f"jwe:{keys}/ann.pub",
        f"dir:{tmp_path}/plain",
        f"docker://{name}2",
    )
    other = fresh.fails(125, "pull", INSECURE, "--decryption-key", f"{keys}/bob.pem", f"{name}2")
    assert "encrypted for other keys" in other
    fresh.ok("pull", "-q", INSECURE, "--decryption-key", f"{keys}/ann.pem", f"{name}2")


def test_an_encrypted_layer_that_was_changed(fresh: Podling, podling: Podling, keys: Path, tmp_path: Path) -> None:
    podling.ok("push", "-q", "--encryption-key", f"jwe:{keys}/ann.pub", "localhost/busybox", f"dir:{tmp_path}/d")
    manifest = json.loads((tmp_path / "d/manifest.json").read_text())
    (entry,) = manifest["layers"]
    path = tmp_path / "d" / entry["digest"].partition(":")[2]
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    entry["digest"] = digest(bytes(data))
    (tmp_path / "d" / entry["digest"].partition(":")[2]).write_bytes(bytes(data))
    (tmp_path / "d/manifest.json").write_text(json.dumps(manifest))
    fresh.fails(125, "pull", "--decryption-key", f"{keys}/ann.pem", f"dir:{tmp_path}/d")
    assert fresh.folders()["layers"] == []


def test_encryption_options(podling: Podling, keys: Path) -> None:
    args = ("push", "localhost/busybox", "dir:/tmp/podling-never/x")
    assert "only jwe:" in podling.fails(125, *args, "--encryption-key", "pgp:ann")
    assert "needs --encryption-key" in podling.fails(125, *args, "--encrypt-layer", "0")
    assert "has 1 layers" in podling.fails(
        125,
        "push",
        "--encryption-key",
        f"jwe:{keys}/ann.pub",
        "--encrypt-layer",
        "5",
        "localhost/busybox",
        "dir:/tmp/podling-never/x",
    )
    assert not os.path.exists("/tmp/podling-never")
