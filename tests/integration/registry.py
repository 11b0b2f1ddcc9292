"""Registries to test against: Debian's docker-registry, and a small one of ours that misbehaves on request."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import socket
import ssl
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(files: dict[str, bytes | None], *, edit: Callable[[tarfile.TarFile], None] | None = None) -> bytes:
    """A tar of `files`; None makes a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.mtime = 1_700_000_000
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                out.addfile(info)
            else:
                info.size, info.mode = len(data), 0o644
                out.addfile(info, io.BytesIO(data))
        if edit:
            edit(out)
    return buffer.getvalue()


class Image:
    """An image as a registry holds it: manifest, configuration, blobs."""

    def __init__(
        self,
        tars: list[bytes],
        *,
        kind: str = "oci",
        compress: Callable[[bytes], bytes] = gzip.compress,
        arch: str = "amd64",
        config: dict[str, Any] | None = None,
        annotations: dict[str, str] | None = None,
    ) -> None:
        blobs = [compress(tar) for tar in tars]
        suffix = "+gzip" if compress is gzip.compress else "+zstd" if compress is not bytes else ""
        document = {
            "os": "linux",
            "architecture": arch,
            "config": config or {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in tars]},
        }
        self.config = json.dumps(document).encode()
        oci = kind == "oci"
        self.media_type = OCI + "manifest.v1+json" if oci else DOCKER + "distribution.manifest.v2+json"
        layer_type = OCI + "layer.v1.tar" + suffix if oci else DOCKER + "image.rootfs.diff.tar.gzip"
        config_type = OCI + "config.v1+json" if oci else DOCKER + "container.image.v1+json"
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "config": {"mediaType": config_type, "digest": digest(self.config), "size": len(self.config)},
                "layers": [
                    {
                        "mediaType": layer_type,
                        "digest": digest(blob),
                        "size": len(blob),
                        **({"annotations": annotations} if annotations else {}),
                    }
                    for blob in blobs
                ],
            }
        ).encode()
        self.blobs = {digest(blob): blob for blob in (*blobs, self.config)}
        self.layers = [digest(blob) for blob in blobs]
        self.id = digest(self.config).partition(":")[2]


def index(images: dict[str, Image]) -> bytes:
    """An OCI index of images by `os/arch[/variant]`."""
    entries = []
    for platform, image in images.items():
        os_, arch, *variant = platform.split("/")
        entry = {"os": os_, "architecture": arch, **({"variant": variant[0]} if variant else {})}
        entries.append(
            {
                "mediaType": image.media_type,
                "digest": digest(image.manifest),
                "size": len(image.manifest),
                "platform": entry,
            }
        )
    return json.dumps({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries}).encode()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Registry:
    """A docker-registry process on loopback, perhaps with TLS and passwords."""

    def __init__(self, folder: Path, *, tls: bool = False, user: str = "", password: str = "") -> None:
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.folder = folder
        self.user, self.password = user, password
        self.ca = folder / "ca.crt"
        lines = [
            "version: 0.1",
            "log: {level: error}",
            f"storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}",
            "http:",
            f"  addr: {self.host}",
        ]
        if tls:
            _certificate(folder)
            lines.append(f"  tls: {{certificate: {folder}/ca.crt, key: {folder}/ca.key}}")
        if user:
            entry = subprocess.run(["htpasswd", "-Bbn", user, password], check=True, capture_output=True).stdout
            (folder / "htpasswd").write_bytes(entry)
            lines += ["auth:", f"  htpasswd: {{realm: test, path: {folder}/htpasswd}}"]
        (folder / "config.yml").write_text("\n".join(lines) + "\n")
        self.tls = tls
        self._log = open(folder / "log", "wb")
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=self._log, stderr=self._log
        )
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _call(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/octet-stream"
    ) -> http.client.HTTPResponse:
        import base64

        headers = {"Content-Type": kind}
        if self.user:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        connection: http.client.HTTPConnection
        if self.tls:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=ssl._create_unverified_context())
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status < 300, f"{method} {path}: {answer.status}"
        return answer

    def push(self, repository: str, tag: str, image: Image, *, listed: bytes = b"") -> str:
        """Upload an image, and an index of it where there is one; the name to pull."""
        for name, data in image.blobs.items():
            location = self._call("POST", f"/v2/{repository}/blobs/uploads/", b"").getheader("Location") or ""
            path = location[location.index("/v2/") :]
            self._call("PUT", f"{path}{'&' if '?' in path else '?'}digest={name}", data)
        if listed:
            self._call("PUT", f"/v2/{repository}/manifests/{digest(image.manifest)}", image.manifest, image.media_type)
            self._call("PUT", f"/v2/{repository}/manifests/{tag}", listed, OCI + "index.v1+json")
        else:
            self._call("PUT", f"/v2/{repository}/manifests/{tag}", image.manifest, image.media_type)
        return f"{self.host}/{repository}:{tag}"


def _certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", folder / "ca.key", "-out", folder / "ca.crt",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip


class Misbehaving:
    """A registry that answers as `rules` say: path to a function that gets the handler and handles the request, or returns False."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.rules: dict[str, Callable[[BaseHTTPRequestHandler], bool]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                outer.requests.append((self.command, self.path, dict(self.headers)))
                for path, rule in list(outer.rules.items()):
                    if path in self.path and rule(self):
                        return
                outer.normal(self)

            do_HEAD = do_POST = do_PATCH = do_PUT = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.name = f"{self.host}/app:1"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def normal(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.rpartition("/")[2]
        if "/manifests/" in handler.path:
            send(handler, 200, self.image.manifest, {"Content-Type": self.image.media_type})
        elif name in self.image.blobs:
            data = self.image.blobs[name]
            wanted = handler.headers.get("Range", "")
            if wanted:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start, end = int(first), min(int(last) + 1 if last else len(data), len(data))
                send(handler, 206, data[start:end], {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})
            else:
                send(handler, 200, data)
        else:
            send(handler, 404, b'{"errors":[{"code":"UNKNOWN","message":"unknown"}]}')

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def send(
    handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", headers: dict[str, str] | None = None
) -> bool:
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
    return True


@contextmanager
def misbehaving(image: Image) -> Iterator[Misbehaving]:
    registry = Misbehaving(image)
    try:
        yield registry
    finally:
        registry.stop()
