"""Pulling a zstd:chunked layer: only the files that no layer here has are fetched, and the tar is put together again.

What comes out is the whole tar, so the layer's diff ID is checked as for every other.
"""

from __future__ import annotations

import hashlib
import json
import os

from podling.errors import DigestMismatch, NotFound, RegistryError
from podling.linux.calls import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from podling.core.context import Context
    from podling.oci.image import Descriptor
    from podling.registry.client import Client
    from podling.storage.chunked import Piece, Table

#: files of a run that lie closer together than this are fetched with what is between them
_GAP = 1 << 16
_WORTH = 0.8
_CHUNK = 1 << 20


def reassembled(
    ctx: Context, client: Client, repository: str, layer: Descriptor, diff_id: str
) -> Iterator[bytes] | None:
    """The layer's tar from local files and ranges of the blob; None when fetching it whole is the better way."""
    from podling.storage.chunked import read_table

    def fetch(start: int, length: int) -> bytes:
        return b"".join(client.blob_range(repository, layer.digest, start, length))

    try:
        table = read_table(layer.annotations, fetch)
    except (RegistryError, NotFound, ValueError, KeyError):
        return None
    if table is None:
        return None
    known = _known_files(ctx)
    keep_table(ctx, diff_id, table)
    missing = sum(piece.end - piece.start for piece in table.pieces if piece.digest and piece.digest not in known)
    if missing > layer.size * _WORTH:
        return None
    ctx.progress(f"Copying blob {layer.digest}: {missing} of {layer.size} bytes are not here yet")
    return _pieces(ctx, client, repository, layer, table, known)


# -- which files are here
def _folder(ctx: Context) -> str:
    return f"{ctx.settings.root}/tables"


def keep_table(ctx: Context, diff_id: str, table: Table) -> None:
    """Note the digests of a layer's files, for later pulls."""
    import zstandard

    folder = _folder(ctx)
    os.makedirs(folder, 0o700, exist_ok=True)
    path = f"{folder}/{diff_id.partition(':')[2]}"
    data = zstandard.ZstdCompressor().compress(json.dumps(table.files, separators=(",", ":")).encode())
    with open(f"{path}.{os.getpid()}", "wb") as file:
        file.write(data)
    os.rename(f"{path}.{os.getpid()}", path)


def _known_files(ctx: Context) -> dict[str, tuple[str, str]]:
    """(layer's folder, path) for the digest of each file that is known; tables of layers that are gone are removed."""
    import zstandard

    known: dict[str, tuple[str, str]] = {}
    folder = _folder(ctx)
    if not os.path.isdir(folder):
        return known
    for name in os.listdir(folder):
        key = ctx.db.value("SELECT key FROM layers WHERE diff_id=?", f"sha256:{name}")
        path = f"{folder}/{name}"
        try:
            if key is None:
                if os.stat(path).st_mtime < os.stat(folder).st_mtime - 3600:
                    os.unlink(path)
                continue
            with open(path, "rb") as file:
                data = zstandard.ZstdDecompressor().decompressobj().decompress(file.read())
        except (OSError, zstandard.ZstdError):
            continue
        for digest, (file_path, _) in json.loads(data).items():
            known[digest] = f"{ctx.store.folder(key)}/diff", file_path
    return known


def _local(place: tuple[str, str], piece: Piece) -> int:
    """A descriptor of a local file with the right content; -1 when it is not what it was."""
    folder, path = place
    try:
        root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = open_in_root(root, path, os.O_RDONLY | os.O_NOFOLLOW)
        finally:
            os.close(root)
    except OSError:
        return -1
    hasher = hashlib.sha256()
    offset = 0
    while data := os.pread(fd, _CHUNK, offset):
        hasher.update(data)
        offset += len(data)
    if offset != piece.size or f"sha256:{hasher.hexdigest()}" != piece.digest:
        os.close(fd)
        return -1
    return fd


# -- putting it together
def _pieces(
    ctx: Context, client: Client, repository: str, layer: Descriptor, table: Table, known: dict[str, tuple[str, str]]
) -> Iterator[bytes]:
    remote = _Remote(ctx, client, repository, layer)
    wanted = [piece for piece in table.pieces if piece.digest and piece.digest not in known]
    runs = _runs(wanted)
    for piece in table.pieces:
        if not piece.digest:
            yield piece.raw
            continue
        fd = _local(known[piece.digest], piece) if piece.digest in known else -1
        if fd >= 0:
            offset = 0
            try:
                while data := os.pread(fd, _CHUNK, offset):
                    offset += len(data)
                    yield data
            finally:
                os.close(fd)
            continue
        yield from remote.content(piece, runs.get(piece.start, (piece.start, piece.end)))


def _runs(pieces: list[Piece]) -> dict[int, tuple[int, int]]:
    """For the start of each piece the range that is fetched in one request with its neighbours."""
    runs: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda item: item.start):
        if runs and 0 <= piece.start - runs[-1][-1].end <= _GAP:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return {piece.start: (run[0].start, run[-1].end) for run in runs for piece in run}


class _Remote:
    """Files of the blob, read from ranges that hold several of them one after the other."""

    def __init__(self, ctx: Context, client: Client, repository: str, layer: Descriptor) -> None:
        self._ctx, self._client, self._repository, self._layer = ctx, client, repository, layer
        self._run = (0, 0)
        self._position = 0
        self._stream: Iterator[bytes] = iter(())
        self._buffer = b""

    def content(self, piece: Piece, run: tuple[int, int]) -> Iterator[bytes]:
        """The file, decompressed; DigestMismatch at its end when it is not what the table says."""
        from podling.storage.decompress import decompressed

        if run != self._run or piece.start < self._position:
            self._run, self._position, self._buffer = run, run[0], b""
            chunks = self._client.blob_range(self._repository, self._layer.digest, run[0], run[1] - run[0])
            self._stream = self._ctx.measured(self._layer.digest, self._layer.size, chunks)
        for _ in self._take(piece.start - self._position):
            pass
        hasher, size = hashlib.sha256(), 0
        for data in decompressed(self._take(piece.end - piece.start)):
            hasher.update(data)
            size += len(data)
            yield data
        if size != piece.size or f"sha256:{hasher.hexdigest()}" != piece.digest:
            raise DigestMismatch(f"the registry sent another file than {piece.path} has to be")

    def _take(self, count: int) -> Iterator[bytes]:
        while count:
            if not self._buffer:
                self._buffer = next(self._stream, b"")
                if not self._buffer:
                    raise RegistryError(f"blob {self._layer.digest[:19]} is shorter than its table says")
            data, self._buffer = self._buffer[:count], self._buffer[count:]
            count -= len(data)
            self._position += len(data)
            yield data
