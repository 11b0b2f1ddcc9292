"""pull, from Debian's docker-registry and from one that misbehaves."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import zstandard

from .conftest import Podling, eventually
from .registry import Image, Registry, digest, index, layer, misbehaving, send

INSECURE = "--tls-verify=false"
BUSYBOX = Path("/bin/busybox").read_bytes()


def small_image(text: bytes = b"hello", **options: object) -> Image:
    return Image([layer({"etc": None, "etc/base": b"base"}), layer({"etc/greeting": text})], **options)  # type: ignore[arg-type]


def runnable() -> Image:
    def add(out: object) -> None:
        import io
        import tarfile

        assert isinstance(out, tarfile.TarFile)
        info = tarfile.TarInfo("bin/busybox")
        info.size, info.mode = len(BUSYBOX), 0o755
        out.addfile(info, io.BytesIO(BUSYBOX))
        for name in ("sh", "cat", "ls"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            out.addfile(link)

    return Image(
        [
            layer({"bin": None, "etc": None, "etc/gone": b"x", "etc/dir": None, "etc/dir/old": b"x"}, edit=add),
            layer({"etc/greeting": b"hello", "etc/.wh.gone": b"", "etc/dir/.wh..wh..opq": b"", "etc/dir/new": b"n"}),
        ]
    )


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = Registry(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def secure_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = Registry(tmp_path_factory.mktemp("secure"), tls=True, user="ann", password="s3cret")
    yield server
    server.stop()


def nothing_stored(podling: Podling) -> None:
    assert podling.ok("images", "-aq") == ""
    assert podling.folders()["layers"] == []


# -- what works
@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_pull_and_run(any_driver: Podling, registry: Registry, kind: str) -> None:
    image = runnable()
    name = registry.push(f"app-{kind}", "1", image)
    assert any_driver.ok("pull", "-q", INSECURE, name) == image.id
    assert (
        any_driver.ok("images", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}")
        == f"{name} {digest(image.manifest)}"
    )
    text = any_driver.ok(
        "run", "--rm", "--network=none", name, "sh", "-c", "cat /etc/greeting; ls -a /etc/dir; ls /etc"
    )
    assert "hello" in text and "new" in text and "old" not in text and "gone" not in text


def test_zstd_and_uncompressed_layers(fresh: Podling, registry: Registry) -> None:
    for repository, compress in (("zstd", zstandard.ZstdCompressor().compress), ("plain", bytes)):
        image = small_image(repository.encode(), compress=compress)
        assert fresh.ok("pull", "-q", INSECURE, registry.push(repository, "1", image)) == image.id


def test_by_digest(fresh: Podling, registry: Registry) -> None:
    image = small_image()
    registry.push("bydigest", "1", image)
    name = f"{registry.host}/bydigest@{digest(image.manifest)}"
    assert fresh.ok("pull", "-q", INSECURE, name) == image.id
    assert fresh.ok("image", "exists", name) == ""
    assert fresh.ok("inspect", "-f", "{{.RepoDigests}}", image.id) == f"[{name}]"


def test_platforms(fresh: Podling, registry: Registry) -> None:
    amd, arm = small_image(b"amd"), small_image(b"arm", arch="arm64")
    both = index({"linux/amd64": amd, "linux/arm64/v8": arm})
    registry.push("multi", "arm", arm)
    registry._call("PUT", f"/v2/multi/manifests/{digest(arm.manifest)}", arm.manifest, arm.media_type)
    name = registry.push("multi", "1", amd, listed=both)
    host = os.uname().machine
    expected = {"x86_64": amd, "aarch64": arm}[host]
    assert fresh.ok("pull", "-q", INSECURE, name) == expected.id
    assert fresh.ok("pull", "-q", INSECURE, "--platform", "linux/arm64", name) == arm.id
    assert fresh.ok("pull", "-q", INSECURE, "--arch", "amd64", name) == amd.id
    assert "no image for platform linux/s390x; there is linux/amd64" in fresh.fails(
        125, "pull", INSECURE, "--arch", "s390x", name
    )


def test_shared_layers_are_fetched_once(fresh: Podling) -> None:
    first = small_image()
    second = Image([layer({"etc": None, "etc/base": b"base"}), layer({"etc/other": b"other"})])
    assert first.layers[0] == second.layers[0]
    with misbehaving(first) as server:
        fresh.ok("pull", "-q", INSECURE, server.name)
    with misbehaving(second) as server:
        fresh.ok("pull", "-q", INSECURE, server.name)
        fetched = [path.rpartition("/")[2] for _, path, _ in server.requests if "/blobs/" in path]
    assert second.layers[0] not in fetched and second.layers[1] in fetched
    assert len(fresh.folders()["layers"]) == 3


def test_concurrent_pulls_do_the_work_once(fresh: Podling) -> None:
    image = small_image()

    def slow(handler: BaseHTTPRequestHandler) -> bool:
        time.sleep(0.5)
        return False

    with misbehaving(image) as server:
        server.rules["/blobs/" + image.layers[0]] = slow
        running = [fresh.background("pull", "-q", INSECURE, server.name) for _ in range(4)]
        for process in running:
            out, err = process.communicate(timeout=60)
            assert out.decode().strip() == image.id, err
        assert sum(image.layers[0] in path for _, path, _ in server.requests) == 1


def test_pull_policies(fresh: Podling) -> None:
    image = small_image()
    with misbehaving(image) as server:
        fresh.fails(125, "pull", "--policy=never", server.name)
        fresh.ok("pull", "-q", INSECURE, "--policy=missing", server.name)
        count = len(server.requests)
        fresh.ok("pull", "-q", INSECURE, "--policy=missing", server.name)
        fresh.ok("create", "--network=none", "--pull=never", server.name)
        assert len(server.requests) == count
        fresh.ok("create", "--network=none", "--pull=always", INSECURE, server.name)
        assert len(server.requests) > count
        fresh.fails(125, "create", "--pull=sometimes", server.name)


# -- TLS and passwords
def test_tls_and_passwords(fresh: Podling, secure_registry: Registry, tmp_path: Path) -> None:
    image = small_image()
    name = secure_registry.push("private", "1", image)
    error = fresh.fails(125, "pull", name)
    assert "certificate" in error.lower() and "certs.d" in error
    (tmp_path / "ca.crt").write_bytes(secure_registry.ca.read_bytes())
    certificates = f"--cert-dir={tmp_path}"
    error = fresh.fails(125, "pull", certificates, name)
    assert "access denied" in error and "--creds" in error
    error = fresh.fails(125, "pull", certificates, "--creds", "ann:wrong", name)
    assert "access denied" in error and "wrong" not in error
    nothing_stored(fresh)
    assert fresh.ok("pull", "-q", certificates, "--creds", "ann:s3cret", name) == image.id
    fresh.ok("rmi", name)
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"auths": {secure_registry.host: {"auth": base64.b64encode(b"ann:s3cret").decode()}}}))
    assert fresh.ok("pull", "-q", certificates, "--authfile", str(auth), name) == image.id
    assert fresh.ok("pull", "-q", INSECURE, "--creds", "ann:s3cret", name) == image.id


def test_token_authentication(fresh: Podling) -> None:
    image = small_image()
    with misbehaving(image) as server:

        def needs_token(handler: BaseHTTPRequestHandler) -> bool:
            if handler.headers.get("Authorization") == "Bearer token-for-ann":
                return False
            challenge = f'Bearer realm="http://{server.host}/token",service="test",scope="repository:app:pull"'
            return send(handler, 401, b"{}", {"WWW-Authenticate": challenge})

        def token(handler: BaseHTTPRequestHandler) -> bool:
            expected = "Basic " + base64.b64encode(b"ann:s3cret").decode()
            if handler.headers.get("Authorization") != expected:
                return send(handler, 401, b"{}")
            return send(handler, 200, json.dumps({"token": "token-for-ann"}).encode())

        server.rules = {"/token": token, "/v2/": needs_token}
        assert "access denied" in fresh.fails(125, "pull", INSECURE, server.name)
        assert fresh.ok("pull", "-q", INSECURE, "--creds", "ann:s3cret", server.name) == image.id


def test_credentials_do_not_follow_a_redirect(fresh: Podling) -> None:
    image = small_image()
    with misbehaving(image) as server, misbehaving(image) as elsewhere:

        def needs_password(handler: BaseHTTPRequestHandler) -> bool:
            if handler.headers.get("Authorization"):
                return False
            return send(handler, 401, b"{}", {"WWW-Authenticate": 'Basic realm="x"'})

        def redirect(handler: BaseHTTPRequestHandler) -> bool:
            return (
                send(handler, 307, b"", {"Location": f"http://{elsewhere.host}{handler.path}"})
                if handler.headers.get("Authorization")
                else False
            )

        server.rules = {"/blobs/" + image.layers[0]: redirect, "/v2/": needs_password}
        assert fresh.ok("pull", "-q", INSECURE, "--creds", "ann:s3cret", server.name) == image.id
        assert elsewhere.requests and all("Authorization" not in headers for _, _, headers in elsewhere.requests)


def test_plain_http_needs_the_flag(fresh: Podling, registry: Registry) -> None:
    name = registry.push("plainhttp", "1", small_image())
    assert "--tls-verify=false" in fresh.fails(125, "pull", name)


# -- what goes wrong
def test_missing_images(fresh: Podling, registry: Registry) -> None:
    assert "manifest unknown" in fresh.fails(125, "pull", INSECURE, f"{registry.host}/nosuch:1")
    assert "localhost/" in fresh.fails(125, "run", "localhost/nosuch", "true")
    assert "image not known" in fresh.fails(125, "run", "--pull=never", "nosuch", "true")
    assert "not an image name" in fresh.fails(125, "pull", "Bad/Name")
    assert "Connection refused" in fresh.fails(125, "pull", INSECURE, "127.0.0.1:1/x:1")
    nothing_stored(fresh)


def test_throttling_is_waited_out(fresh: Podling) -> None:
    image = small_image()
    seen: list[float] = []

    def throttle(handler: BaseHTTPRequestHandler) -> bool:
        seen.append(time.monotonic())
        return send(handler, 429, b"{}", {"Retry-After": "1"}) if len(seen) < 3 else False

    with misbehaving(image) as server:
        server.rules["/manifests/"] = throttle
        assert fresh.ok("pull", "-q", INSECURE, server.name) == image.id
        assert seen[1] - seen[0] >= 1
        server.rules["/manifests/"] = lambda handler: send(handler, 429, b"{}", {"Retry-After": "0"})
        assert "too many requests" in fresh.fails(125, "pull", INSECURE, "--retry=1", server.name)


def test_server_errors(fresh: Podling) -> None:
    image = small_image()
    calls: list[str] = []

    def flaky(handler: BaseHTTPRequestHandler) -> bool:
        calls.append(handler.path)
        return send(handler, 500) if len(calls) == 1 else False

    with misbehaving(image) as server:
        server.rules["/manifests/"] = lambda handler: send(handler, 503, b"{}")
        assert "answered 503" in fresh.fails(125, "pull", INSECURE, "--retry=0", server.name)
        nothing_stored(fresh)
        server.rules["/manifests/"] = flaky
        assert fresh.ok("pull", "-q", INSECURE, server.name) == image.id


def big_image() -> Image:
    return Image([layer({"big": os.urandom(6_000_000)})])


def cut_after(image: Image, count: int, times: int) -> tuple[list[int], object]:
    """A rule that sends only `count` bytes of the layer, `times` times; and the offsets that were asked for."""
    asked: list[int] = []
    data = image.blobs[image.layers[0]]

    def cut(handler: BaseHTTPRequestHandler) -> bool:
        start = int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        asked.append(start)
        if len(asked) > times:
            return False
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start : start + count])
        handler.wfile.flush()
        handler.connection.close()
        handler.close_connection = True
        return True

    return asked, cut


def test_cut_connection_goes_on_by_range(fresh: Podling) -> None:
    image = big_image()
    asked, rule = cut_after(image, 1_500_000, 2)
    with misbehaving(image) as server:
        server.rules["/blobs/" + image.layers[0]] = rule  # type: ignore[assignment]
        assert fresh.ok("pull", "-q", INSECURE, server.name) == image.id
    assert asked[0] == 0 and asked[1] > 0 and asked[2] > asked[1]


def test_interrupted_pull_is_resumed(fresh: Podling) -> None:
    image = big_image()
    asked, rule = cut_after(image, 2_000_000, 99)
    with misbehaving(image) as server:
        server.rules["/blobs/" + image.layers[0]] = rule  # type: ignore[assignment]
        error = fresh.fails(125, "pull", INSECURE, "--retry=0", server.name)
        assert "pull again" in error
        nothing_stored(fresh)
        server.rules.clear()
        asked.clear()
        before = len(server.requests)
        assert fresh.ok("pull", "-q", INSECURE, server.name) == image.id
        ranges = [headers.get("Range") for _, path, headers in server.requests[before:] if image.layers[0] in path]
    assert ranges and ranges[0] and int(ranges[0].removeprefix("bytes=").rstrip("-")) > 1_000_000
    assert list(Path(fresh.root, "root", "blobs").iterdir()) == []


def test_killed_pull_leaves_nothing_and_resumes(fresh: Podling) -> None:
    image = big_image()

    def stall(handler: BaseHTTPRequestHandler) -> bool:
        if handler.headers.get("Range"):
            return False
        data = image.blobs[image.layers[0]]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:3_000_000])
        handler.wfile.flush()
        time.sleep(20)
        return True

    with misbehaving(image) as server:
        server.rules["/blobs/" + image.layers[0]] = stall
        process = fresh.background("pull", INSECURE, server.name)
        partial = Path(fresh.root, "root", "blobs", image.layers[0].replace(":", "-") + ".partial")
        eventually(lambda: partial.exists() and partial.stat().st_size > 1_000_000)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(fresh.folders()["layers"]) == 1  # half made, and in the journal
        assert fresh.ok("images", "-aq") == ""
        assert fresh.ok("pull", "-q", INSECURE, server.name) == image.id
    assert len(fresh.folders()["layers"]) == 1


@pytest.mark.parametrize("layers", [1, 3])
def test_ctrl_c_ends_a_hanging_pull_at_once(fresh: Podling, layers: int) -> None:
    image = Image([layer({f"f{number}": os.urandom(2_000_000)}) for number in range(layers)])

    def hang(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(image.blobs[image.layers[0]])))
        handler.end_headers()
        handler.wfile.write(image.blobs[image.layers[0]][:1_500_000])
        handler.wfile.flush()
        time.sleep(25)
        return True

    with misbehaving(image) as server:
        server.rules["/blobs/" + image.layers[0]] = hang
        process = fresh.background("pull", INSECURE, server.name)
        eventually(lambda: any(image.layers[0] in path for _, path, _ in server.requests))
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
        assert process.returncode == 130 and b"Traceback" not in err
        server.rules.clear()
        assert fresh.ok("pull", "-q", INSECURE, server.name) == image.id
    assert len(fresh.folders()["layers"]) == layers


def test_lies_about_digests(fresh: Podling) -> None:
    image = small_image()
    wrong = image.layers[1]
    with misbehaving(image) as server:
        good = image.blobs[wrong]
        image.blobs[wrong] = gzip.compress(layer({"etc/evil": b"evil"}))[: len(good)].ljust(len(good), b"\0")
        error = fresh.fails(125, "pull", INSECURE, "--retry=0", server.name)
        assert "digest" in error or "corrupt" in error
        image.blobs[wrong] = good + b"more"
        fresh.fails(125, "pull", INSECURE, "--retry=0", server.name)
        image.blobs[wrong] = good
        by_digest = f"{server.host}/app@{digest(b'something else')}"
        assert "digest" in fresh.fails(125, "pull", INSECURE, by_digest)
    nothing_stored(fresh)


def test_wrong_diff_id(fresh: Podling) -> None:
    image = small_image()
    document = json.loads(image.config)
    document["rootfs"]["diff_ids"][1] = digest(b"not this")
    changed = json.dumps(document).encode()
    image.manifest = image.manifest.replace(digest(image.config).encode(), digest(changed).encode()).replace(
        f'"size": {len(image.config)}'.encode(), f'"size": {len(changed)}'.encode()
    )
    image.blobs[digest(changed)] = changed
    with misbehaving(image) as server:
        assert "configuration says" in fresh.fails(125, "pull", INSECURE, server.name)
    nothing_stored(fresh)


@pytest.mark.parametrize("body", [b"{}", b"not json", b"[]", b'{"schemaVersion": 1}', b'{"mediaType": "text/plain"}'])
def test_broken_manifests(fresh: Podling, body: bytes) -> None:
    with misbehaving(small_image()) as server:
        server.rules["/manifests/"] = lambda handler: send(handler, 200, body, {"Content-Type": "application/json"})
        fresh.fails(125, "pull", INSECURE, server.name)
    nothing_stored(fresh)


@pytest.mark.parametrize("tail", [b"", b"garbage"])
def test_truncated_and_corrupt_gzip(fresh: Podling, tail: bytes) -> None:
    image = small_image()
    tar = layer({"etc/x": os.urandom(50_000)})
    broken = Image([tar], compress=lambda data: gzip.compress(data)[:20_000] + tail)
    image.manifest, image.blobs = broken.manifest, broken.blobs
    with misbehaving(image) as server:
        error = fresh.fails(125, "pull", INSECURE, server.name)
        assert "gzip" in error or "archive" in error
    nothing_stored(fresh)


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_truncated_and_corrupt_zstd(fresh: Podling, damage: str) -> None:
    tar = layer({"etc/x": os.urandom(50_000)})

    def spoil(data: bytes) -> bytes:
        packed = zstandard.ZstdCompressor(write_checksum=True).compress(data)
        return packed[:-2000] if damage == "cut" else packed[:-2000] + bytes(2000)

    image = small_image()
    broken = Image([tar], compress=spoil)
    image.manifest, image.blobs = broken.manifest, broken.blobs
    with misbehaving(image) as server:
        error = fresh.fails(125, "pull", INSECURE, server.name)
        assert "zstd" in error or "archive" in error
    nothing_stored(fresh)


def test_a_layer_that_inflates_without_end(tmp_path: Path) -> None:
    """3 MB that become 3 GB: the disk's limit ends it, in little memory, and the space comes back."""
    block = gzip.compress(bytes(1 << 20) * 100, 9)
    header = tarfile.TarInfo("zeros")
    header.size = 100 * 30 << 20
    bomb = Image([layer({"x": b"x"})])
    blob = gzip.compress(header.tobuf()) + block * 30
    document = json.loads(bomb.manifest)
    document["layers"][0].update(digest=digest(blob), size=len(blob))
    bomb.manifest = json.dumps(document).encode()
    bomb.blobs[digest(blob)] = blob
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", tmp_path], check=True)
    try:
        podling = Podling(str(tmp_path))
        with misbehaving(bomb) as server:
            argv = podling.argv("pull", INSECURE, server.name)
            done = subprocess.run(
                ["/bin/sh", "-c", 'ulimit -v 1500000; exec "$@"', "sh", *argv],
                capture_output=True,
                env=podling.env,
                timeout=60,
            )
        assert done.returncode == 125 and b"no space left" in done.stderr
        assert podling.folders()["layers"] == [] and podling.ok("images", "-aq") == ""
        assert os.statvfs(tmp_path).f_bavail * 4096 > 30 << 20
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_equal_content_on_other_layers_is_not_fetched_again(fresh: Podling) -> None:
    same = layer({"data": None, "data/big": os.urandom(2 << 20)})
    first, second = Image([layer({"a": b"a"}), same]), Image([layer({"b": b"b"}), same])
    with misbehaving(first) as server:
        fresh.ok("pull", "-q", INSECURE, server.name)
    with misbehaving(second) as server:
        fresh.ok("pull", "-q", INSECURE, server.name)
        fetched = [path.rpartition("/")[2] for _, path, _ in server.requests if "/blobs/" in path]
    assert second.layers[1] not in fetched
