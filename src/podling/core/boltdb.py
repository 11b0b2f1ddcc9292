"""Reading bbolt files (go.etcd.io/bbolt: pages of a B+ tree), in which Podman before 4.8 keeps its state. Nothing is ever written."""

from __future__ import annotations

import struct

from podling.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = 0xED0CDAED
_BRANCH, _LEAF = 0x01, 0x02
_HEADER = struct.Struct("<QHHI")  # page's number, flags, elements, further pages
_META = struct.Struct(
    "<III4xQQQQQ"
)  # magic, version, page size, root bucket's page and sequence, free list, pages, transaction
_BRANCH_ITEM = struct.Struct("<IIQ")  # offset, key's length, page
_LEAF_ITEM = struct.Struct("<IIII")  # flags, offset, key's length, value's length
_BUCKET = 0x01
_DEEPEST = 32


class Bolt:
    """An open file.

    Raises:
        StateError: it is none, or it is damaged. The same from every method.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with open(path, "rb") as file:
                self._data = file.read()
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}") from None
        found = []
        for size in (4096, 16384, 65536):
            for number in (0, 1):
                if len(self._data) >= number * size + _HEADER.size + _META.size:
                    magic, _, page, root, _, _, _, transaction = _META.unpack_from(
                        self._data, number * size + _HEADER.size
                    )
                    if magic == _MAGIC and page == size:
                        found.append((transaction, root, size))
        if not found:
            raise StateError(f"{path} is no bbolt file")
        _, self._root, self._size = max(found)

    def bucket(self, *names: str) -> dict[str, bytes]:
        """The values of a bucket below the root by their keys; nothing where there is none. Buckets in it have no value."""
        return {key: value for key, value, inner in self._inside(names) if not inner}

    def buckets(self, *names: str) -> list[str]:
        """The names of the buckets in a bucket."""
        return [key for key, _, inner in self._inside(names) if inner]

    def _inside(self, names: tuple[str, ...]) -> list[tuple[str, bytes, bool]]:
        try:
            page, place = self._data, self._root * self._size
            for name in names:
                value = next((value for key, value, inner in self._walk(page, place) if inner and key == name), None)
                if value is None:
                    return []
                number = struct.unpack_from("<Q", value)[0]
                # a small bucket's page is in the value itself
                page, place = (self._data, number * self._size) if number else (value, 16)
            return list(self._walk(page, place))
        except (struct.error, IndexError, OverflowError):
            raise StateError(f"{self.path} is damaged") from None

    def _walk(self, page: bytes, place: int, depth: int = 0) -> Iterator[tuple[str, bytes, bool]]:
        if depth > _DEEPEST:
            raise IndexError
        _, flags, count, _ = _HEADER.unpack_from(page, place)
        first = place + _HEADER.size
        for number in range(count):
            at = first + number * 16
            if flags & _BRANCH:
                _, _, child = _BRANCH_ITEM.unpack_from(page, at)
                yield from self._walk(self._data, child * self._size, depth + 1)
            elif flags & _LEAF:
                kind, offset, key, value = _LEAF_ITEM.unpack_from(page, at)
                start = at + offset
                name = page[start : start + key].decode("utf-8", "replace")
                yield name, page[start + key : start + key + value], bool(kind & _BUCKET)
