"""Reading tar archives as a stream: ustar, pax (POSIX.1-2001) and GNU extensions (long names, base-256 numbers, sparse files).

The standard library's tarfile spends 10 times as long per member and cannot tell us the raw header bytes, which we keep
so that a layer can be written again with the same digest.
"""

from __future__ import annotations

from podling.errors import BadArchive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
_MAX_EXTENSION = 4 << 20
REGULAR, LINK, SYMLINK, CHARACTER, BLOCKDEV, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"


class Member:
    """One entry. `size` is the stored length; sparse files map (offset, length) pieces of `real_size` bytes."""

    __slots__ = (
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime",
        "name",
        "pieces",
        "real_size",
        "size",
        "uid",
        "xattrs",
    )

    def __init__(self) -> None:
        self.xattrs: dict[str, bytes] = {}
        self.pieces: list[tuple[int, int]] | None = None
        self.kind = REGULAR
        self.name = self.link = ""
        self.size = self.real_size = self.mode = self.uid = self.gid = self.mtime = self.major = self.minor = 0


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # base-256, two's complement
        value = int.from_bytes(field, "big") & ((1 << (len(field) * 8 - 1)) - 1)
        return value - (1 << (len(field) * 8 - 1)) if field[0] & 0x40 and field[0] == 0xFF else value
    text = field.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise BadArchive(f"corrupt tar header: {text!r} is not a number") from None


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


class Reader:
    """Members of the tar stream whose chunks `read_chunk` yields (b"" at the end).

    For each member call `data()` as often as wanted; what is left is skipped. `keep` receives every byte that is not file
    data, in order: the recipe of the archive.
    """

    def __init__(self, read_chunk: Callable[[], bytes], keep: Callable[[bytes], None] | None = None) -> None:
        self._read_chunk = read_chunk
        self._keep = keep
        self._buffer = b""
        self._position = 0
        self._left = 0  # bytes of the current member not yet given out
        self._padding = 0
        self._globals: dict[str, bytes] = {}

    # -- the byte stream
    def _exactly(self, count: int) -> bytes:
        data = self._buffer[self._position : self._position + count]
        self._position += len(data)
        if len(data) == count:
            return data
        parts = [data]
        missing = count - len(data)
        while missing:
            self._buffer = self._read_chunk()
            if not self._buffer:
                raise BadArchive("the archive ends in the middle of an entry")
            piece = self._buffer[:missing]
            self._position = len(piece)
            missing -= len(piece)
            parts.append(piece)
        return b"".join(parts)

    def _raw(self, count: int) -> bytes:
        data = self._exactly(count)
        if self._keep and data:
            self._keep(data)
        return data

    def data(self) -> memoryview | None:
        """The next piece of the current member's content, without copying; None at its end."""
        if not self._left:
            return None
        if self._position >= len(self._buffer):
            self._buffer = self._read_chunk()
            self._position = 0
            if not self._buffer:
                raise BadArchive("the archive ends in the middle of a file")
        piece = memoryview(self._buffer)[self._position : self._position + self._left]
        self._position += len(piece)
        self._left -= len(piece)
        return piece

    def read(self, limit: int = 16 << 20) -> bytes:
        """The whole content of the current member, for small ones."""
        if self._left > limit:
            raise BadArchive(f"an entry of {self._left} bytes is too large here")
        return b"".join(iter(self.data, None))

    def _finish_member(self) -> None:
        while self.data() is not None:
            pass
        if self._padding:
            self._raw(self._padding)
            self._padding = 0

    # -- headers
    def __iter__(self) -> Iterator[Member]:
        extended: dict[str, bytes] = {}
        long_name = long_link = ""
        while True:
            self._finish_member()
            header = self._header()
            if header is None:
                return
            kind = header[156:157]
            size = _number(header[124:136])
            if size < 0:
                raise BadArchive("corrupt tar header: negative size")
            if kind in (b"x", b"g", b"L", b"K"):
                if size > _MAX_EXTENSION:
                    raise BadArchive(f"a tar extension header of {size} bytes is too large")
                body = self._raw(size)
                self._raw(-size % BLOCK)
                if kind == b"x":
                    extended = _pax(body)
                elif kind == b"g":
                    self._globals.update(_pax(body))
                elif kind == b"L":
                    long_name = _text(body)
                else:
                    long_link = _text(body)
                continue
            member = self._member(
                header, kind, size, {**self._globals, **extended} if self._globals else extended, long_name
            )
            if long_name and "path" not in extended:
                member.name = long_name
            if long_link and "linkpath" not in extended:
                member.link = long_link
            extended, long_name, long_link = {}, "", ""
            yield member

    def _header(self) -> bytes | None:
        """The next header block; None at the end of the archive, whose last blocks are read too."""
        if self._position >= len(self._buffer):
            self._buffer, self._position = self._read_chunk(), 0
            if not self._buffer:
                return None  # no end marker: GNU tar warns, everybody accepts
        header = self._raw(BLOCK)
        if not any(header):
            self._drain()
            return None
        stored = _number(header[148:156])
        if stored != sum(header) - sum(header[148:156]) + 256:
            raise BadArchive("corrupt tar header: wrong checksum")
        return header

    def _drain(self) -> None:
        rest = self._buffer[self._position :]
        while rest:
            if self._keep:
                self._keep(rest)
            rest = self._read_chunk()
        self._buffer, self._position = b"", 0

    def _member(self, header: bytes, kind: bytes, size: int, extended: dict[str, bytes], long_name: str) -> Member:
        member = Member()
        member.kind = REGULAR if kind in (b"\0", b"7") else kind
        member.name = _text(header[:100])
        member.mode = _number(header[100:108]) & 0o7777
        member.uid = _number(header[108:116])
        member.gid = _number(header[116:124])
        member.mtime = _number(header[136:148]) * 1_000_000_000
        member.link = _text(header[157:257])
        if kind in (CHARACTER, BLOCKDEV):
            member.major, member.minor = _number(header[329:337]), _number(header[337:345])
        if header[257:263] == b"ustar\0" and header[345]:
            member.name = f"{_text(header[345:500])}/{member.name}"
        if extended:
            size = _apply_pax(member, extended, size)
        name = long_name or member.name
        if member.kind == REGULAR and name.endswith(
            "/"
        ):  # as tar of 1979 marked folders; not if a pax name was cut here
            member.kind = FOLDER
        if member.kind != REGULAR and kind != b"S":
            size = 0 if kind in (LINK, SYMLINK, CHARACTER, BLOCKDEV, FOLDER, FIFO) else size
        member.size = member.real_size = self._left = size
        self._padding = -size % BLOCK
        if kind == b"S":
            self._old_sparse(member, header)
        elif extended and (extended.get("GNU.sparse.major"), extended.get("GNU.sparse.minor")) == (b"1", b"0"):
            self._sparse_1_0(member, extended)
        return member

    def _old_sparse(self, member: Member, header: bytes) -> None:
        member.kind = REGULAR
        member.real_size = _number(header[483:495])
        member.pieces = []
        entries, more = header[386:482], header[482]
        while True:
            for start in range(0, len(entries) - 23, 24):
                length = _number(entries[start + 12 : start + 24])
                if length:
                    member.pieces.append((_number(entries[start : start + 12]), length))
            if not more:
                break
            block = self._raw(BLOCK)
            entries, more = block[:504], block[504]
        _check_pieces(member)

    def _sparse_1_0(self, member: Member, extended: dict[str, bytes]) -> None:
        """The map stands before the data: decimal numbers, a line each, padded to a block."""
        member.name = extended.get("GNU.sparse.name", member.name.encode()).decode("utf-8", "surrogateescape")
        try:
            member.real_size = int(extended["GNU.sparse.realsize"])
            text = b""
            numbers: list[int] = []
            while not numbers or len(numbers) < 1 + 2 * numbers[0]:
                if self._left < BLOCK or len(text) > _MAX_EXTENSION:
                    raise BadArchive("corrupt sparse file: its map has no end")
                text += self._raw(BLOCK)
                self._left -= BLOCK
                numbers = [int(line) for line in text.split(b"\n")[: text.count(b"\n")] if line.strip(b"\0")]
        except (KeyError, ValueError):
            raise BadArchive("corrupt sparse file: its map is not readable") from None
        pairs = numbers[1 : 1 + 2 * numbers[0]]
        member.pieces = [pair for pair in zip(pairs[::2], pairs[1::2], strict=True) if pair[1]]
        member.size = self._left
        _check_pieces(member)


def _check_pieces(member: Member) -> None:
    end = 0
    for offset, length in member.pieces or ():
        if offset < end or length < 0 or offset + length > member.real_size:
            raise BadArchive("corrupt sparse file: its map is out of order")
        end = offset + length
    if sum(length for _, length in member.pieces or ()) != member.size:
        raise BadArchive("corrupt sparse file: its map does not fit its data")


def _pax(body: bytes) -> dict[str, bytes]:
    """Records of the form `length key=value\\n`."""
    records: dict[str, bytes] = {}
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 20)
        try:
            length = int(body[position:space])
        except ValueError:
            length = 0
        record = body[space + 1 : position + length - 1]
        if space < 0 or length < 5 or position + length > len(body) or b"=" not in record:
            raise BadArchive("corrupt pax header")
        key, _, value = record.partition(b"=")
        records[key.decode("utf-8", "replace")] = value
        position += length
    return records


def _apply_pax(member: Member, extended: dict[str, bytes], size: int) -> int:
    try:
        for key, value in extended.items():
            if key == "path":
                member.name = value.decode("utf-8", "surrogateescape")
            elif key == "linkpath":
                member.link = value.decode("utf-8", "surrogateescape")
            elif key == "size":
                size = int(value)
            elif key == "uid":
                member.uid = int(value)
            elif key == "gid":
                member.gid = int(value)
            elif key == "mtime":
                seconds, _, fraction = value.partition(b".")
                nanoseconds = int((fraction + b"000000000")[:9])
                member.mtime = int(seconds) * 1_000_000_000 + (
                    -nanoseconds if seconds.startswith(b"-") else nanoseconds
                )
            elif key.startswith("SCHILY.xattr."):
                member.xattrs[key[13:]] = value
    except ValueError:
        raise BadArchive("corrupt pax header: a number is not one") from None
    if size < 0:
        raise BadArchive("corrupt pax header: negative size")
    return size
