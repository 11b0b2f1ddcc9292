"""docker-archive (`docker save`) and oci-archive / OCI layout: reading and writing.

Reading wants a seekable file: the caller spools a pipe first. Layers are read in place, without unpacking the archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import os

from podling.errors import BadArchive, DigestMismatch, InvalidInput
from podling.oci.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    INDEXES,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    choose,
    digest_of,
    parse_config,
    parse_manifest,
)
from podling.oci.record import Record
from podling.storage import tar
from podling.storage.decompress import compression, decompressed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, Any

_CHUNK = 1 << 20
_DOCUMENT_LIMIT = 64 << 20


class ArchivedImage(Record):
    """One image of an archive. `layers` are functions that give the (perhaps compressed) tar of each layer, lowest first."""

    manifest: bytes
    media_type: str
    config: bytes
    names: list[str]
    layers: list[Callable[[], Iterator[bytes]]]


class Archive:
    """The files in an uncompressed tar on disk: name to (offset, size); links are followed within it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._files: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        self._index()

    def _index(self) -> None:
        with open(self.path, "rb") as file:
            end = os.fstat(file.fileno()).st_size
            while True:
                reader = _HeaderReader(file)
                member = next(iter(reader), None)
                if member is None:
                    return
                name = os.path.normpath(member.name)
                offset = file.tell()
                if member.kind == tar.REGULAR:
                    if offset + member.size > end:
                        raise BadArchive("the archive ends in the middle of a file")
                    self._files[name] = (offset, member.size)
                elif member.kind == tar.SYMLINK:
                    self._links[name] = os.path.normpath(os.path.join(os.path.dirname(name), member.link))
                elif member.kind == tar.LINK:
                    self._links[name] = os.path.normpath(member.link)
                file.seek(offset + member.size + -member.size % tar.BLOCK)

    def find(self, name: str) -> tuple[int, int] | None:
        name = os.path.normpath(name)
        for _ in range(8):
            if name in self._files:
                return self._files[name]
            if name not in self._links:
                return None
            name = self._links[name]
        return None

    def document(self, name: str) -> bytes:
        data = b"".join(self.stream(name, limit=_DOCUMENT_LIMIT))
        return data

    def stream(self, name: str, *, digest: str = "", limit: int = 0) -> Iterator[bytes]:
        """The content of a file; its digest is checked at the end."""
        place = self.find(name)
        if place is None:
            raise BadArchive(f"the archive lacks {name}")
        offset, left = place
        if limit and left > limit:
            raise BadArchive(f"{name} in the archive is too large")
        hasher = hashlib.new(digest.partition(":")[0]) if digest else None
        with open(self.path, "rb") as file:
            file.seek(offset)
            while left:
                piece = file.read(min(left, _CHUNK))
                if not piece:
                    raise BadArchive("the archive ends in the middle of a file")
                left -= len(piece)
                if hasher:
                    hasher.update(piece)
                yield piece
        if hasher and hasher.hexdigest() != digest.partition(":")[2]:
            raise DigestMismatch(f"{name} in the archive has the digest {hasher.hexdigest()}, not {digest}")


class _HeaderReader(tar.Reader):
    """Reads the headers of one member block by block, so that the file stands at its content afterwards."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(lambda: file.read(tar.BLOCK))


def spool(chunks: Iterator[bytes], folder: str) -> str:
    """Write a stream, decompressed, to a temporary file in `folder`; its path."""
    import tempfile

    fd, path = tempfile.mkstemp(prefix="load-", dir=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            for piece in decompressed(chunks):
                file.write(piece)
    except BaseException:
        os.unlink(path)
        raise
    return path


def is_compressed(path: str) -> bool:
    with open(path, "rb") as file:
        return bool(compression(file.read(6)))


def read_images(archive: Archive, platform: Platform) -> list[ArchivedImage]:
    """The images of a docker-archive or an oci-archive, whichever it is.

    Raises:
        BadArchive: it is neither, or something in it is missing or corrupt.
    """
    if archive.find("manifest.json"):
        return _docker_images(archive)
    if archive.find("index.json"):
        return _oci_images(archive, platform)
    raise BadArchive(
        "this is no image archive: it has neither manifest.json nor index.json",
        hint="a root file system is read by `podling import`",
    )


def _json(data: bytes, what: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise BadArchive(f"{what} in the archive is not JSON: {error}") from None


def _docker_images(archive: Archive) -> list[ArchivedImage]:
    images = []
    try:
        for entry in _json(archive.document("manifest.json"), "manifest.json"):
            config = archive.document(entry["Config"])
            layers = [str(name) for name in entry["Layers"]]
            diff_ids = parse_config(config).diff_ids
            if len(diff_ids) != len(layers):
                raise BadArchive(f"the archive has {len(layers)} layers, its configuration names {len(diff_ids)}")
            for name in layers:
                if archive.find(name) is None:
                    raise BadArchive(f"the archive lacks the layer {name}")
            manifest = {
                "schemaVersion": 2,
                "mediaType": DOCKER_MANIFEST,
                "config": Descriptor(media_type=DOCKER_CONFIG, digest=digest_of(config), size=len(config)).to_wire(),
                "layers": [
                    Descriptor(
                        media_type=DOCKER_LAYER, digest=diff_id, size=(archive.find(name) or (0, 0))[1]
                    ).to_wire()
                    for diff_id, name in zip(diff_ids, layers, strict=True)
                ],
            }
            images.append(
                ArchivedImage(
                    manifest=json.dumps(manifest, separators=(",", ":")).encode(),
                    media_type=DOCKER_MANIFEST,
                    config=config,
                    names=[str(name) for name in entry.get("RepoTags") or ()],
                    layers=[_source(archive, name) for name in layers],
                )
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadArchive(f"manifest.json in the archive is not as it should be: {error!r}") from None
    if not images:
        raise BadArchive("the archive holds no image")
    return images


def _source(archive: Archive, name: str, digest: str = "") -> Callable[[], Iterator[bytes]]:
    return lambda: archive.stream(name, digest=digest)


def _blob(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def _oci_images(archive: Archive, platform: Platform) -> list[ArchivedImage]:
    index = _json(archive.document("index.json"), "index.json")
    images = []
    try:
        for entry in index["manifests"]:
            digest, kind = str(entry["digest"]), str(entry.get("mediaType", OCI_MANIFEST))
            data = b"".join(archive.stream(_blob(digest), digest=digest, limit=_DOCUMENT_LIMIT))
            if kind in INDEXES:
                chosen = choose(data, platform, "the archive")
                kind = chosen.media_type
                data = b"".join(archive.stream(_blob(chosen.digest), digest=chosen.digest, limit=_DOCUMENT_LIMIT))
            manifest = parse_manifest(data, kind, "a manifest in the archive")
            config = b"".join(
                archive.stream(_blob(manifest.config.digest), digest=manifest.config.digest, limit=_DOCUMENT_LIMIT)
            )
            annotations = entry.get("annotations") or {}
            name = (
                annotations.get("io.containerd.image.name")
                or annotations.get("org.opencontainers.image.ref.name")
                or ""
            )
            images.append(
                ArchivedImage(
                    manifest=data,
                    media_type=manifest.media_type,
                    config=config,
                    names=[name] if name else [],
                    layers=[_source(archive, _blob(layer.digest), layer.digest) for layer in manifest.layers],
                )
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadArchive(f"index.json in the archive is not as it should be: {error!r}") from None
    if not images:
        raise BadArchive("the archive holds no image")
    return images


# -- writing
class SavedImage(Record):
    """An image to write. `layers`: (diff id, size in bytes, function that gives the tar)."""

    config: bytes
    names: list[str]
    layers: list[tuple[str, int, Callable[[], Iterator[bytes]]]]


def write_docker(out: IO[bytes], images: list[SavedImage]) -> None:
    """A docker-archive: each layer once, then configurations, manifest.json and repositories."""
    entries: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    written: set[str] = set()
    for image in images:
        names = []
        for diff_id, size, content in image.layers:
            name = f"{diff_id.partition(':')[2]}.tar"
            names.append(name)
            if name not in written:
                written.add(name)
                _add(out, name, size, content())
        config_name = f"{digest_of(image.config).partition(':')[2]}.json"
        if config_name not in written:
            written.add(config_name)
            _add(out, config_name, len(image.config), iter((image.config,)))
        entries.append({"Config": config_name, "RepoTags": image.names, "Layers": names})
        for full in image.names:
            repository, _, tag = full.rpartition(":")
            repositories.setdefault(repository, {})[tag] = names[-1].removesuffix(".tar") if names else ""
    for name, document in (("manifest.json", entries), ("repositories", repositories)):
        data = json.dumps(document, separators=(",", ":")).encode()
        _add(out, name, len(data), iter((data,)))
    out.write(bytes(1024))


def write_oci(out: IO[bytes], images: list[SavedImage], temporary: str) -> None:
    """An oci-archive with gzip layers; each is compressed into a file in `temporary` first, as its digest is its name."""
    _add(out, "oci-layout", 30, iter((b'{"imageLayoutVersion":"1.0.0"}',)))
    manifests: list[dict[str, Any]] = []
    written: set[str] = set()

    def add_blob(data: bytes) -> Descriptor:
        digest = digest_of(data)
        if digest not in written:
            written.add(digest)
            _add(out, _blob(digest), len(data), iter((data,)))
        return Descriptor(media_type="", digest=digest, size=len(data))

    packed: dict[str, Descriptor] = {}
    for image in images:
        layers = []
        for diff_id, _, content in image.layers:
            if diff_id not in packed:
                packed[diff_id] = _add_compressed(out, content(), temporary, written)
            layers.append(packed[diff_id].to_wire())
        config = add_blob(image.config)
        config.media_type = OCI_CONFIG
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.to_wire(), "layers": layers},
            separators=(",", ":"),
        ).encode()
        entry: dict[str, Any] = {**add_blob(manifest).to_wire(), "mediaType": OCI_MANIFEST}
        for name in image.names or [""]:
            named = {**entry, "annotations": {"org.opencontainers.image.ref.name": name}} if name else entry
            manifests.append(named)
    index = json.dumps(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}, separators=(",", ":")
    ).encode()
    _add(out, "index.json", len(index), iter((index,)))
    out.write(bytes(1024))


def _add_compressed(out: IO[bytes], content: Iterator[bytes], temporary: str, written: set[str]) -> Descriptor:
    import tempfile

    from isal import isal_zlib

    hasher = hashlib.sha256()
    deflate = isal_zlib.compressobj(2, isal_zlib.DEFLATED, 31)
    with tempfile.TemporaryFile(dir=temporary) as file:
        for piece in content:
            data = deflate.compress(piece)
            hasher.update(data)
            file.write(data)
        data = deflate.flush()
        hasher.update(data)
        file.write(data)
        size = file.tell()
        digest = "sha256:" + hasher.hexdigest()
        if digest not in written:
            written.add(digest)
            file.seek(0)
            _add(out, _blob(digest), size, iter(lambda: file.read(_CHUNK), b""))
    return Descriptor(media_type=OCI_LAYER + "+gzip", digest=digest, size=size)


def _add(out: IO[bytes], name: str, size: int, content: Iterator[bytes]) -> None:
    import tarfile

    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    out.write(info.tobuf(tarfile.GNU_FORMAT))
    count = 0
    for piece in content:
        count += len(piece)
        out.write(piece)
    if count != size:
        raise InvalidInput(f"{name} has {count} bytes, not {size}")
    out.write(bytes(-size % tar.BLOCK))


def open_output(path: str) -> io.BufferedWriter:
    """The file to save to; it appears under its name only when it is complete (see `core.archives.save`)."""
    try:
        return open(path, "wb")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
