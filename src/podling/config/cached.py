"""Files of settings, parsed once: reading TOML costs more than a whole `ps`, so what came out is kept as JSON beside their times."""

from __future__ import annotations

import os

from podling.errors import InvalidInput
from podling.linux.proc import outer_uid
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def read(name: str, paths: list[str], parse: Callable[[list[str]], Any]) -> Any:
    """What `parse` makes of the files, something that JSON can say; `name` is that of the cache.

    Raises:
        InvalidInput: a file is missing; what `parse` raises.
    """
    stamps = []
    for path in paths:
        try:
            info = os.stat(path)
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}") from None
        stamps.append([path, info.st_mtime_ns, info.st_size, info.st_ino])
    cache = _place(name)
    try:
        with open(cache) as file:
            kept = json.loads(file.read())
        if kept["stamps"] == stamps:
            return kept["parsed"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    parsed = parse(paths)
    try:
        with open(f"{cache}.{os.getpid()}", "w") as file:
            file.write(json.dumps({"stamps": stamps, "parsed": parsed}))
        os.rename(f"{cache}.{os.getpid()}", cache)
    except (OSError, ValueError):  # the next one tries again
        pass
    return parsed


def line_of(text: str, name: str) -> int:
    """The line of a TOML file that a key or section is on; 1 when it cannot be told."""
    import re

    pattern = re.compile(rf"\s*(\[\s*)?[\"']?{re.escape(name)}[\"']?\s*(=|\]|\.)")
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)


def _place(name: str) -> str:
    uid = outer_uid()
    if not uid:
        return f"/run/podling-{name}.json"
    from podling.config.settings import user_folder

    return f"{user_folder(uid)}/{name}.json"
