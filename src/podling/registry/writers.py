"""Where an image is written to, one interface: a registry, an OCI layout, a docker-archive, a folder of the dir: transport."""

from __future__ import annotations

import hashlib
import json
import os

from podling.errors import InvalidInput
from podling.linux.files import remove_tree
from podling.oci.image import INDEXES, OCI_INDEX, digest_of
from podling.oci.record import Record
from podling.registry.readers import REF_NAME
from podling.storage import tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, Any

    from podling.oci.reference import Reference
    from podling.registry.client import Client

    Content = Callable[[], Iterator[bytes]]

_CHUNK = 1 << 20


class Destination:
    """Takes blobs first, then the manifests that name them; `finish` makes it all visible, `abandon` takes it back."""

    #: how layers are compressed there when nobody asks: "" is not at all
    compression = "gzip"
    #: the one manifest format that it takes, or "" where it takes both
    format = ""
    #: several blobs may be written at the same time
    parallel = False
    #: it can keep an index with several images
    takes_indexes = True

    def has(self, digest: str, places: list[str]) -> bool:
        """Whether the blob is there already; a registry may take it over from one of `places`."""
        return False

    def blob(self, content: Content, *, digest: str = "", size: int = -1) -> tuple[str, int]:
        """Write a blob; (digest, size). Those that are known before are given."""
        raise NotImplementedError

    def config(self, data: bytes) -> None:
        self.blob(lambda: iter((data,)), digest=digest_of(data), size=len(data))

    def manifest(self, data: bytes, media_type: str, names: list[str], *, instance: bool = False) -> None:
        """Write a manifest or an index; an `instance` belongs to an index that follows."""
        raise NotImplementedError

    def signature(self, digest: str, body: bytes, number: int) -> None:
        raise InvalidInput("signatures cannot be kept there")

    def finish(self) -> None:
        """Everything is written."""

    def abandon(self) -> None:
        """Something went wrong: remove what was written."""


class RegistryDestination(Destination):
    parallel = True

    def __init__(self, client: Client, reference: Reference) -> None:
        self.client = client
        self.reference = reference
        self.place = f"{client.host}/{reference.repository}"

    def has(self, digest: str, places: list[str]) -> bool:
        from podling.registry.upload import has_blob, mount_blob

        repository = self.reference.repository
        if has_blob(self.client, repository, digest):
            return True
        for place in places:
            host, _, other = place.partition("/")
            if host == self.client.host and other != repository and mount_blob(self.client, repository, digest, other):
                return True
        return False

    def blob(self, content: Content, *, digest: str = "", size: int = -1) -> tuple[str, int]:
        from podling.registry.upload import upload, upload_small

        if 0 <= size <= _CHUNK:
            return upload_small(self.client, self.reference.repository, b"".join(content())), size
        return upload(self.client, self.reference.repository, content)

    def manifest(self, data: bytes, media_type: str, names: list[str], *, instance: bool = False) -> None:
        from podling.registry.upload import put_manifest

        where = digest_of(data) if instance or self.reference.digest else self.reference.tag
        put_manifest(self.client, self.reference.repository, where, data, media_type)


class Folder(Destination):
    """What the two folder formats share: files appear under their names when they are whole."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._made = _first_missing(path)
        self._new: list[str] = []
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}") from None

    def _write(self, content: Iterator[bytes], name: Callable[[str], str]) -> tuple[str, int]:
        import tempfile

        hasher, size = hashlib.sha256(), 0
        fd, temporary = tempfile.mkstemp(prefix=".part-", dir=self.path)
        try:
            with os.fdopen(fd, "wb") as file:
                for piece in content:
                    hasher.update(piece)
                    size += len(piece)
                    file.write(piece)
            os.chmod(temporary, 0o644)
            target = os.path.join(self.path, name(hasher.hexdigest()))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if not os.path.exists(target):
                self._new.append(target)
            os.rename(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
        return "sha256:" + hasher.hexdigest(), size

    def _file(self, name: str, data: bytes) -> None:
        self._write(iter((data,)), lambda _: name)

    def abandon(self) -> None:
        if self._made:
            remove_tree(self._made)
            return
        for path in self._new:
            if os.path.exists(path):
                os.unlink(path)


def _first_missing(path: str) -> str:
    """The highest folder on the way to `path` that does not exist yet; "" when all do."""
    missing = ""
    while path not in ("", "/") and not os.path.lexists(path):
        missing, path = path, os.path.dirname(path)
    return missing


class DirFolder(Folder):
    """dir: every blob a file named by its digest's hex, one manifest.json (containers-transports(5))."""

    compression = ""

    def __init__(self, path: str) -> None:
        if os.path.isdir(path) and os.listdir(path) and not os.path.exists(f"{path}/version"):
            raise InvalidInput(f"{path} is no image folder, and not empty", hint="name a new folder")
        super().__init__(path)

    def has(self, digest: str, places: list[str]) -> bool:
        return os.path.exists(os.path.join(self.path, digest.partition(":")[2]))

    def blob(self, content: Content, *, digest: str = "", size: int = -1) -> tuple[str, int]:
        return self._write(content(), lambda value: value)

    def manifest(self, data: bytes, media_type: str, names: list[str], *, instance: bool = False) -> None:
        if not instance:
            self._file("version", b"Directory Transport Version: 1.1\n")
        self._file(f"{digest_of(data).partition(':')[2]}.manifest.json" if instance else "manifest.json", data)

    def signature(self, digest: str, body: bytes, number: int) -> None:
        self._file(f"signature-{number}", body)


class LayoutFolder(Folder):
    """oci: an image layout in a folder (image-spec image-layout.md); other images in it stay."""

    format = "oci"

    def has(self, digest: str, places: list[str]) -> bool:
        algorithm, _, value = digest.partition(":")
        return os.path.exists(f"{self.path}/blobs/{algorithm}/{value}")

    def blob(self, content: Content, *, digest: str = "", size: int = -1) -> tuple[str, int]:
        return self._write(content(), lambda value: f"blobs/sha256/{value}")

    def manifest(self, data: bytes, media_type: str, names: list[str], *, instance: bool = False) -> None:
        digest, size = self.blob(lambda: iter((data,)))
        if instance:
            return
        path = f"{self.path}/index.json"
        known: list[dict[str, Any]] = []
        if os.path.exists(path):
            with open(path) as file:
                known = json.load(file).get("manifests") or []
        for entry in _entries(digest, size, media_type, names):
            name = (entry.get("annotations") or {}).get(REF_NAME)
            known = [old for old in known if (old.get("annotations") or {}).get(REF_NAME) != name]
            known.append(entry)
        self._file("oci-layout", _LAYOUT)
        self._file("index.json", _index(known))


_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def _entries(digest: str, size: int, media_type: str, names: list[str]) -> list[dict[str, Any]]:
    entry = {"mediaType": media_type, "digest": digest, "size": size}
    return [{**entry, "annotations": {REF_NAME: name}} if name else entry for name in names or [""]]


def _index(entries: list[dict[str, Any]]) -> bytes:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return json.dumps(document, separators=(",", ":")).encode()


class Tar(Destination):
    """What the two tar formats share. A blob of unknown size goes through a temporary file in `temporary`."""

    def __init__(self, out: IO[bytes], temporary: str) -> None:
        self._out = out
        self._temporary = temporary
        self._written: set[str] = set()

    def _add(self, name: str, size: int, content: Iterator[bytes]) -> None:
        import tarfile

        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o644
        self._out.write(info.tobuf(tarfile.GNU_FORMAT))
        count = 0
        for piece in content:
            count += len(piece)
            self._out.write(piece)
        if count != size:
            raise InvalidInput(f"{name} has {count} bytes, not {size}")
        self._out.write(bytes(-size % tar.BLOCK))

    def _spooled(self, content: Iterator[bytes]) -> tuple[str, int, IO[bytes]]:
        import tempfile

        hasher, size = hashlib.sha256(), 0
        file = tempfile.TemporaryFile(dir=self._temporary)
        for piece in content:
            hasher.update(piece)
            size += len(piece)
            file.write(piece)
        file.seek(0)
        return "sha256:" + hasher.hexdigest(), size, file

    def _once(self, name: str, size: int, content: Iterator[bytes]) -> None:
        if name not in self._written:
            self._written.add(name)
            self._add(name, size, content)

    def _add_blob(self, content: Content, digest: str, size: int, name: Callable[[str], str]) -> tuple[str, int]:
        if digest and size >= 0:
            self._once(name(digest), size, content())
            return digest, size
        digest, size, file = self._spooled(content())
        with file:
            self._once(name(digest), size, iter(lambda: file.read(_CHUNK), b""))
        return digest, size


class LayoutTar(Tar):
    """oci-archive."""

    format = "oci"

    def __init__(self, out: IO[bytes], temporary: str) -> None:
        super().__init__(out, temporary)
        self._entries: list[dict[str, Any]] = []
        self._add("oci-layout", len(_LAYOUT), iter((_LAYOUT,)))

    def blob(self, content: Content, *, digest: str = "", size: int = -1) -> tuple[str, int]:
        return self._add_blob(content, digest, size, lambda known: f"blobs/{known.replace(':', '/')}")

    def manifest(self, data: bytes, media_type: str, names: list[str], *, instance: bool = False) -> None:
        digest, size = self.blob(lambda: iter((data,)), digest=digest_of(data), size=len(data))
        if not instance:
            self._entries += _entries(digest, size, media_type, names)

    def finish(self) -> None:
        index = _index(self._entries)
        self._add("index.json", len(index), iter((index,)))
        self._out.write(bytes(1024))


class DockerTar(Tar):
    """docker-archive: layers as HEX.tar, configurations as HEX.json, manifest.json and repositories."""

    compression = ""
    takes_indexes = False

    def __init__(self, out: IO[bytes], temporary: str) -> None:
        super().__init__(out, temporary)
        self._images: list[dict[str, Any]] = []
        self._repositories: dict[str, dict[str, str]] = {}

    def blob(self, content: Content, *, digest: str = "", size: int = -1) -> tuple[str, int]:
        return self._add_blob(content, digest, size, lambda known: f"{known.partition(':')[2]}.tar")

    def config(self, data: bytes) -> None:
        self._once(f"{digest_of(data).partition(':')[2]}.json", len(data), iter((data,)))

    def manifest(self, data: bytes, media_type: str, names: list[str], *, instance: bool = False) -> None:
        if media_type in INDEXES:
            raise InvalidInput("a docker-archive cannot hold a manifest list", hint="use oci-archive")
        document = json.loads(data)
        layers = [f"{layer['digest'].partition(':')[2]}.tar" for layer in document["layers"]]
        config = f"{document['config']['digest'].partition(':')[2]}.json"
        self._images.append({"Config": config, "RepoTags": names, "Layers": layers})
        for full in names:
            repository, _, tag = full.rpartition(":")
            self._repositories.setdefault(repository, {})[tag] = layers[-1].removesuffix(".tar") if layers else ""

    def finish(self) -> None:
        for name, document in (("manifest.json", self._images), ("repositories", self._repositories)):
            data = json.dumps(document, separators=(",", ":")).encode()
            self._add(name, len(data), iter((data,)))
        self._out.write(bytes(1024))


class Written(Record):
    """What became of an image that was written."""

    manifest: bytes
    media_type: str

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)
