"""tar-split: how containers/storage keeps what it needs to write a layer's tar again (vbatts/tar-split).

A gzip stream of JSON lines: segments (type 2) hold raw bytes in base64, files (type 1) stand for the content of a file.
"""

from __future__ import annotations

import base64
import json
import os

from podling.errors import StateError
from podling.linux.calls import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20


def read_tar(path: str, folder: str) -> Iterator[bytes]:
    """The tar that `path` describes, with file data from `folder`.

    Raises:
        StateError: the description or a file is missing or has another size than it came with.
    """
    import gzip

    try:
        root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StateError(f"{folder}: {error.strerror}", hint="the other engine's store has lost this layer") from None
    try:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                item = json.loads(line)
                if item.get("type") == 2:
                    yield base64.b64decode(item.get("payload") or "")
                elif item.get("size"):
                    name = item.get("name") or os.fsdecode(base64.b64decode(item.get("name_raw") or ""))
                    yield from _content(root, name, int(item["size"]), folder)
    except (OSError, ValueError, EOFError) as error:
        raise StateError(f"{path} cannot be read: {error}") from None
    finally:
        os.close(root)


def _content(root: int, name: str, size: int, folder: str) -> Iterator[bytes]:
    try:
        fd = open_in_root(root, name, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise StateError(f"{folder}/{name}: {error.strerror}") from None
    with os.fdopen(fd, "rb", buffering=0) as file:
        left = size
        while left:
            piece = file.read(min(left, _CHUNK))
            if not piece:
                raise StateError(f"{folder}/{name} is shorter than it came")
            left -= len(piece)
            yield piece
