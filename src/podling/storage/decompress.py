"""Layers come as they are, gzip, zstd, xz or bzip2; the first bytes tell which, not the media type."""

from __future__ import annotations

from podling.errors import BadArchive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    class _Inflater(Protocol):
        def decompress(self, data: bytes, /) -> bytes: ...
        @property
        def eof(self) -> bool: ...
        @property
        def unused_data(self) -> bytes: ...


def _gzip() -> _Inflater:
    from isal import isal_zlib

    inflater: _Inflater = isal_zlib.decompressobj(31)
    return inflater


def _zstd() -> _Inflater:
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()


def _xz() -> _Inflater:
    import lzma

    return lzma.LZMADecompressor(memlimit=256 << 20)


def _bzip2() -> _Inflater:
    import bz2

    return bz2.BZ2Decompressor()


_MAGIC: tuple[tuple[bytes, str, Callable[[], _Inflater]], ...] = (
    (b"\x1f\x8b", "gzip", _gzip),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
    (b"\xfd7zXZ\0", "xz", _xz),
    (b"BZh", "bzip2", _bzip2),
)


def compression(head: bytes) -> str:
    """gzip, zstd, xz, bzip2, or "" for none."""
    return next((name for magic, name, _ in _MAGIC if head.startswith(magic)), "")


def decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of a stream that may be compressed; several members one after the other are one content.

    Raises:
        BadArchive: the stream is corrupt or ends too early.
    """
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= 6:
            break
    if not head:
        return
    make = next((make for magic, _, make in _MAGIC if head.startswith(magic)), None)
    if make is None:
        yield head
        yield from chunks
        return
    magic = compression(head)
    inflater, pending, fed = make(), head, False
    try:
        while True:
            while pending:
                if inflater.eof:  # another member follows; anything else behind the end is padding
                    if compression(pending) != magic:
                        for _ in chunks:  # read on: the source checks its digest at its end
                            pass
                        return
                    inflater, fed = make(), False
                data = inflater.decompress(pending)
                fed = True
                pending = inflater.unused_data if inflater.eof else b""
                if data:
                    yield data
            pending = next(chunks, b"")
            if not pending:
                break
    except BadArchive:
        raise
    except Exception as error:  # each library raises its own class
        if (isinstance(error, OSError) and error.errno) or type(error).__module__.startswith("podling"):
            raise
        raise BadArchive(f"corrupt {magic} stream: {error}") from None
    if fed and not inflater.eof:
        raise BadArchive(f"the {magic} stream ends too early")
