"""zstd:chunked: a zstd stream in which every file is a frame of its own, with a table of contents and the tar's headers behind
it (containers/storage, pkg/chunked). Any zstd reader reads it as a whole; one that knows it fetches single files.

The blob: frames of headers and of files in turn, then three skippable frames: the table (zstd of JSON), the headers
(zstd of tar-split's JSON lines), and a footer that says where the two are.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct

from podling.errors import BadArchive
from podling.oci.record import Record
from podling.storage import tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_PREFIX = "io.github.containers.zstd-chunked."
MANIFEST_CHECKSUM = _PREFIX + "manifest-checksum"
MANIFEST_POSITION = _PREFIX + "manifest-position"
TARSPLIT_CHECKSUM = _PREFIX + "tarsplit-checksum"
TARSPLIT_POSITION = _PREFIX + "tarsplit-position"
_SKIPPABLE = b"\x50\x2a\x4d\x18"
_MAGIC = b"GNUlInUx"
_TYPE = 1
_TABLE_LIMIT = 256 << 20
_KINDS = {
    tar.REGULAR: "reg", tar.LINK: "hardlink", tar.SYMLINK: "symlink", tar.CHARACTER: "char", tar.BLOCKDEV: "block",
    tar.FOLDER: "dir", tar.FIFO: "fifo",
}  # fmt: skip


def _skippable(data: bytes) -> bytes:
    return _SKIPPABLE + struct.pack("<I", len(data)) + data


class ChunkedWriter:
    """Turns a tar into such a blob; `annotations` for its descriptor are there when it has been read to the end."""

    def __init__(self, chunks: Iterator[bytes], level: int | None = None) -> None:
        self._chunks = chunks
        self._level = level or 3
        self.annotations: dict[str, str] = {}

    def __iter__(self) -> Iterator[bytes]:
        import zstandard
        from fastcrc import crc64

        offset = 0
        entries: list[dict[str, Any]] = []
        split: list[dict[str, Any]] = []
        raw = bytearray()
        packer = zstandard.ZstdCompressor(level=self._level)

        def headers() -> bytes:
            """A frame of what was read since the last file, noted as a segment."""
            nonlocal offset
            if not raw:
                return b""
            split.append({"type": 2, "payload": base64.b64encode(raw).decode(), "position": len(split)})
            frame = packer.compress(bytes(raw))
            raw.clear()
            offset += len(frame)
            return frame

        reader = tar.Reader(lambda: next(self._chunks, b""), raw.extend)
        for member in reader:
            entry = _entry(member)
            entries.append(entry)
            if not member.size:
                continue
            yield headers()
            start, hasher, checksum = offset, hashlib.sha256(), 0
            frame = packer.compressobj(size=member.size)
            while (piece := reader.data()) is not None:
                data = bytes(piece)
                hasher.update(data)
                checksum = crc64.go_iso(data, checksum)
                if packed := frame.compress(data):
                    offset += len(packed)
                    yield packed
            packed = frame.flush()
            offset += len(packed)
            yield packed
            if member.pieces is None:
                entry.update(digest="sha256:" + hasher.hexdigest(), offset=start, endOffset=offset, size=member.size)
            name = member.name.encode("utf-8", "surrogateescape")
            noted: dict[str, Any] = {"type": 1, "size": member.size, "position": len(split)}
            noted["payload"] = base64.b64encode(checksum.to_bytes(8, "big")).decode()
            try:
                noted["name"] = name.decode()
            except UnicodeDecodeError:
                noted["name_raw"] = base64.b64encode(name).decode()
            split.append(noted)
        yield headers()
        yield self._tail(entries, split, offset)

    def _tail(self, entries: list[dict[str, Any]], split: list[dict[str, Any]], offset: int) -> bytes:
        import zstandard

        packer = zstandard.ZstdCompressor(level=self._level)
        lines = "".join(json.dumps(item, separators=(",", ":")) + "\n" for item in split).encode()
        packed_lines = packer.compress(lines)
        lines_digest = "sha256:" + hashlib.sha256(packed_lines).hexdigest()
        table = json.dumps(
            {"version": 1, "entries": entries, "tarSplitDigest": lines_digest}, separators=(",", ":")
        ).encode()
        packed_table = packer.compress(table)
        table_at = offset + 8
        lines_at = table_at + len(packed_table) + 8
        self.annotations = {
            MANIFEST_CHECKSUM: "sha256:" + hashlib.sha256(packed_table).hexdigest(),
            MANIFEST_POSITION: f"{table_at}:{len(packed_table)}:{len(table)}:{_TYPE}",
            TARSPLIT_CHECKSUM: lines_digest,
            TARSPLIT_POSITION: f"{lines_at}:{len(packed_lines)}:{len(lines)}",
        }
        footer = struct.pack(
            "<7Q", table_at, len(packed_table), len(table), _TYPE, lines_at, len(packed_lines), len(lines)
        )  # fmt: skip
        return _skippable(packed_table) + _skippable(packed_lines) + _skippable(footer + _MAGIC)


def _entry(member: tar.Member) -> dict[str, Any]:
    """A file's line in the table."""
    from podling.oci.times import format_time

    entry: dict[str, Any] = {
        "type": _KINDS.get(member.kind, "reg"),
        "name": member.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        "mode": member.mode,
        "uid": member.uid,
        "gid": member.gid,
        "modtime": format_time(member.mtime),
    }
    if member.kind in (tar.LINK, tar.SYMLINK):
        entry["linkName"] = member.link
    if member.kind in (tar.CHARACTER, tar.BLOCKDEV):
        entry["devMajor"], entry["devMinor"] = member.major, member.minor
    if member.xattrs:
        entry["xattrs"] = {key: base64.b64encode(value).decode() for key, value in member.xattrs.items()}
    return entry


class Piece(Record):
    """A part of the tar: `raw` bytes, or the content of a file of `size` bytes, which lies in the blob from `start` to `end`."""

    raw: bytes = b""
    path: str = ""
    digest: str = ""
    size: int = 0
    start: int = 0
    end: int = 0


class Table:
    """What a chunked blob holds: the pieces of its tar, in order; the file with the highest id: (name, uid, gid)."""

    def __init__(self, pieces: list[Piece], farthest: tuple[str, int, int] = ("", 0, 0)) -> None:
        self.pieces = pieces
        self.farthest = farthest

    @property
    def files(self) -> dict[str, tuple[str, int]]:
        """(path, size) of a file for each digest."""
        return {piece.digest: (piece.path, piece.size) for piece in self.pieces if piece.digest}


def read_table(annotations: dict[str, str], fetch: Callable[[int, int], bytes]) -> Table | None:
    """The table of a blob whose parts `fetch(start, length)` gives; None when it is not chunked, or in a way we do not know.

    Raises:
        BadArchive: table and headers contradict each other, or their checksums are wrong.
    """
    try:
        table_at = [int(number) for number in annotations[MANIFEST_POSITION].split(":")]
        lines_at = [int(number) for number in annotations[TARSPLIT_POSITION].split(":")]
        checksums = annotations[MANIFEST_CHECKSUM], annotations[TARSPLIT_CHECKSUM]
    except (KeyError, ValueError):
        return None
    if len(table_at) != 4 or table_at[3] != _TYPE or len(lines_at) != 3:
        return None
    table = json.loads(_checked(fetch(table_at[0], table_at[1]), checksums[0], table_at[2]))
    lines = _checked(fetch(lines_at[0], lines_at[1]), checksums[1], lines_at[2])
    files: dict[str, dict[str, Any]] = {}
    ends: dict[str, int] = {}
    farthest = ("", 0, 0)
    for entry in table.get("entries") or ():
        name = str(entry.get("name", "")).strip("/").removeprefix("./")
        if entry.get("type") == "reg" and entry.get("digest"):
            files[name] = entry
        uid, gid = int(entry.get("uid") or 0), int(entry.get("gid") or 0)
        if max(uid, gid) > max(farthest[1:]):
            farthest = (name, uid, gid)
        if entry.get("endOffset"):
            ends[name] = max(ends.get(name, 0), int(entry["endOffset"]))
    pieces = []
    for line in lines.splitlines():
        item = json.loads(line)
        if item.get("type") == 2:
            pieces.append(Piece(raw=base64.b64decode(item.get("payload") or "")))
        elif item.get("size"):
            name = item.get("name") or base64.b64decode(item["name_raw"]).decode("utf-8", "replace")
            bare = name.strip("/").removeprefix("./")
            entry = files.get(bare)
            if entry is None:
                return None
            pieces.append(
                Piece(
                    path=bare,
                    digest=entry["digest"],
                    size=int(item["size"]),
                    start=int(entry.get("offset") or 0),
                    end=ends[bare],
                )
            )
    return Table(pieces, farthest)


def _checked(data: bytes, checksum: str, size: int) -> bytes:
    import zstandard

    if "sha256:" + hashlib.sha256(data).hexdigest() != checksum or size > _TABLE_LIMIT:
        raise BadArchive("a layer's table of contents does not have the digest that the manifest says")
    try:
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except zstandard.ZstdError as error:
        raise BadArchive(f"a layer's table of contents is corrupt: {error}") from None
