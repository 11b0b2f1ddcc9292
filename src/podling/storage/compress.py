"""Compressing layers: gzip on several threads, zstd on its own."""

from __future__ import annotations

import os
import struct

from podling.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS = ("gzip", "zstd", "zstd:chunked")
_BLOCK = 1 << 20
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_RAW = -15


def check_level(format: str, level: int | None) -> None:
    """InvalidInput when the format has no such level."""
    highest = 9 if format == "gzip" else 20
    if level is not None and not 0 <= level <= highest:
        raise InvalidInput(f"--compression-level {level}: {format} has the levels 0 to {highest}")


def compressed(chunks: Iterator[bytes], format: str, level: int | None = None) -> Iterator[bytes]:
    """`chunks` as one gzip or zstd stream, or as they are for ""."""
    if format == "gzip":
        return _gzip(chunks, level)
    if format == "zstd":
        return _zstd(chunks, level)
    return chunks


def _blocks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= _BLOCK:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


def _gzip(chunks: Iterator[bytes], level: int | None) -> Iterator[bytes]:
    """One gzip member. Its blocks are deflated side by side and end on byte borders, as pigz does it."""
    import zlib
    from collections import deque
    from concurrent.futures import Future, ThreadPoolExecutor

    from isal import isal_zlib

    def deflate(block: bytes) -> bytes:
        if level is None or level <= 2:
            fast = isal_zlib.compressobj(2 if level is None else level, isal_zlib.DEFLATED, _RAW)
            packed: bytes = fast.compress(block) + fast.flush(isal_zlib.Z_FULL_FLUSH)
            return packed
        small = zlib.compressobj(level, zlib.DEFLATED, _RAW)
        return small.compress(block) + small.flush(zlib.Z_FULL_FLUSH)

    checksum = size = 0
    workers = min(os.cpu_count() or 1, 8)
    pending: deque[Future[bytes]] = deque()
    yield _GZIP_HEAD
    pool = ThreadPoolExecutor(workers)
    try:
        for block in _blocks(chunks):
            checksum = isal_zlib.crc32(block, checksum)
            size += len(block)
            pending.append(pool.submit(deflate, block))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    yield b"\x03\0" + struct.pack("<II", checksum & 0xFFFFFFFF, size & 0xFFFFFFFF)


def _zstd(chunks: Iterator[bytes], level: int | None) -> Iterator[bytes]:
    import zstandard

    packer = zstandard.ZstdCompressor(level=level or 3, threads=-1, write_checksum=True).compressobj()
    for block in _blocks(chunks):
        if data := packer.compress(block):
            yield data
    yield packer.flush()
