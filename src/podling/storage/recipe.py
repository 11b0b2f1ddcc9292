"""How to write a layer's tar again with the same digest: every byte that is not file data, and where the data lies.

A registry names a layer by the digest of its tar, and no two tar writers agree on headers, so the original ones are kept
when a layer comes in (containers/storage keeps the same facts as "tar-split"). The file is one deflate stream of records:

    R length:u32 bytes                    raw bytes: headers, padding, the end marker
    F offset:u64 length:u64 name:u16 path  that range of the file `path` below the layer's diff folder
"""

from __future__ import annotations

import os
import struct

from podling.errors import StateError
from podling.linux.calls import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20


class RecipeWriter:
    """Collects the records of one tar while it is read."""

    def __init__(self, path: str) -> None:
        from isal import isal_zlib

        self._file = open(path, "wb")
        self._deflate = isal_zlib.compressobj(1)
        self._raw = bytearray()

    def raw(self, data: bytes) -> None:
        self._raw += data
        if len(self._raw) > _CHUNK:
            self._flush()

    def data(self, path: str, offset: int, length: int) -> None:
        self._flush()
        name = path.encode("utf-8", "surrogateescape")
        self._write(b"F" + struct.pack("<QQH", offset, length, len(name)) + name)

    def _flush(self) -> None:
        if self._raw:
            self._write(b"R" + struct.pack("<I", len(self._raw)) + bytes(self._raw))
            self._raw.clear()

    def _write(self, data: bytes) -> None:
        if packed := self._deflate.compress(data):
            self._file.write(packed)

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._file.write(self._deflate.flush())
        self._file.close()

    def abandon(self) -> None:
        """Close the file, complete or not, without another write: its disk may be full."""
        self._raw.clear()
        try:
            self._file.close()
        except OSError:
            pass


def read_tar(recipe: str, diff: str) -> Iterator[bytes]:
    """The bytes of the tar that `recipe` describes, with file data from the folder `diff`.

    Raises:
        StateError: a file of the layer has gone or has another size than it came with.
    """
    from isal import isal_zlib

    with open(recipe, "rb") as file:
        records = memoryview(isal_zlib.decompress(file.read()))
    root = os.open(diff, os.O_PATH | os.O_DIRECTORY)
    try:
        position = 0
        while position < len(records):
            kind = records[position]
            if kind == ord("R"):
                (length,) = struct.unpack_from("<I", records, position + 1)
                yield bytes(records[position + 5 : position + 5 + length])
                position += 5 + length
                continue
            offset, length, name = struct.unpack_from("<QQH", records, position + 1)
            position += 19
            path = bytes(records[position : position + name]).decode("utf-8", "surrogateescape")
            position += name
            yield from _file_data(root, path, offset, length)
    finally:
        os.close(root)


def _file_data(root: int, path: str, offset: int, length: int) -> Iterator[bytes]:
    try:
        fd = open_in_root(root, path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise StateError(f"a layer has lost its file {path}: {error.strerror}", hint="pull the image again") from None
    try:
        while length:
            piece = os.pread(fd, min(length, _CHUNK), offset)
            if not piece:
                raise StateError(f"a layer's file {path} is shorter than it came", hint="pull the image again")
            yield piece
            offset += len(piece)
            length -= len(piece)
    finally:
        os.close(fd)
