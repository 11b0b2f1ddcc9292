"""Where images lie on disk: an uncompressed tar whose members are read in place, or a folder."""

from __future__ import annotations

import hashlib
import os

from podling.errors import BadArchive, DigestMismatch, InvalidInput
from podling.linux.calls import open_in_root
from podling.storage import tar
from podling.storage.decompress import compression, decompressed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Protocol

_CHUNK = 1 << 20
_DOCUMENT_LIMIT = 64 << 20


if TYPE_CHECKING:

    class Files(Protocol):
        """Named files: those of a tar, or of a folder."""

        path: str
        is_tar: bool

        def find(self, name: str) -> tuple[int, int] | None:
            """(offset, size), or None when there is no such file."""

        def stream(self, name: str, *, digest: str = "", limit: int = 0) -> Iterator[bytes]:
            """The content of a file; its digest is checked at the end."""

        def document(self, name: str) -> bytes:
            """A small file, whole."""


class Archive:
    """The files in an uncompressed tar on disk: name to (offset, size); links are followed within it."""

    is_tar = True

    def __init__(self, path: str, shown: str = "") -> None:
        self._path = path
        self.path = shown or path
        self._files: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        self._index()

    def _index(self) -> None:
        with open(self._path, "rb") as file:
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
        with open(self._path, "rb") as file:
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


class Folder:
    """The files below a folder; links in it do not lead out of it."""

    is_tar = False

    def __init__(self, path: str) -> None:
        self.path = path

    def _open(self, name: str) -> int:
        root = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return open_in_root(root, name, os.O_RDONLY)
        finally:
            os.close(root)

    def find(self, name: str) -> tuple[int, int] | None:
        try:
            fd = self._open(name)
        except OSError:
            return None
        size = os.fstat(fd).st_size
        os.close(fd)
        return 0, size

    def document(self, name: str) -> bytes:
        return b"".join(self.stream(name, limit=_DOCUMENT_LIMIT))

    def stream(self, name: str, *, digest: str = "", limit: int = 0) -> Iterator[bytes]:
        try:
            fd = self._open(name)
        except OSError as error:
            raise BadArchive(f"{self.path}/{name}: {os.strerror(error.errno or 0)}") from None
        hasher = hashlib.new(digest.partition(":")[0]) if digest else None
        with os.fdopen(fd, "rb") as file:
            if limit and os.fstat(fd).st_size > limit:
                raise BadArchive(f"{self.path}/{name} is too large")
            while piece := file.read(_CHUNK):
                if hasher:
                    hasher.update(piece)
                yield piece
        if hasher and hasher.hexdigest() != digest.partition(":")[2]:
            raise DigestMismatch(f"{self.path}/{name} has the digest {hasher.hexdigest()}, not {digest}")


class _HeaderReader(tar.Reader):
    """Reads the headers of one member block by block, so that the file stands at its content afterwards."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(lambda: file.read(tar.BLOCK))


def spool(chunks: Iterator[bytes], folder: str) -> IO[bytes]:
    """Write a stream, decompressed, to a temporary file in `folder` that has no name: nobody has to remove it."""
    import tempfile

    file = tempfile.TemporaryFile(dir=folder)
    try:
        for piece in decompressed(chunks):
            file.write(piece)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def is_compressed(path: str) -> bool:
    with open(path, "rb") as file:
        return bool(compression(file.read(6)))


def _indexed(path: str, shown: str) -> Archive:
    try:
        return Archive(path, shown)
    except BadArchive as error:
        raise BadArchive(
            f"{shown}: {error.message}", hint="an image archive is a tar, as `podling save` writes it"
        ) from None


class Opened:
    """`with Opened(…) as files:` a folder, or a tar that may be compressed or a pipe.

    `chunks` is read instead of `path` where it is given; `folder` takes a temporary file.

    Raises:
        InvalidInput: it cannot be opened. BadArchive: it is no tar.
    """

    def __init__(self, path: str, folder: str, chunks: Iterator[bytes] | None = None) -> None:
        self._path, self._folder, self._chunks = path, folder, chunks
        self._spooled: IO[bytes] | None = None

    def __enter__(self) -> Files:
        if self._chunks is None:
            if os.path.isdir(self._path):
                return Folder(self._path)
            try:
                fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise InvalidInput(f"{self._path}: {error.strerror}") from None
            try:
                if os.path.isfile(self._path) and not is_compressed(self._path):
                    return _indexed(self._path, self._path)
                self._spooled = spool(iter(lambda: os.read(fd, _CHUNK), b""), self._folder)
            finally:
                os.close(fd)
        else:
            self._spooled = spool(self._chunks, self._folder)
        try:
            return _indexed(f"/proc/self/fd/{self._spooled.fileno()}", self._path or "standard input")
        except BaseException:
            self._spooled.close()
            raise

    def __exit__(self, *_exc: object) -> None:
        if self._spooled is not None:
            self._spooled.close()
