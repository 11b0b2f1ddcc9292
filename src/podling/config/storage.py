"""storage.conf (containers-storage.conf(5)): the additional image stores."""

from __future__ import annotations

import os

_OPTIONS = ("additionalimagestore", "imagestore")


def additional_stores(options: list[str]) -> list[str]:
    """Roots of stores whose images may be used: from --storage-opt additionalimagestore=PATH, then from storage.conf."""
    found = []
    for option in options:
        key, _, value = option.partition("=")
        if key.removeprefix("overlay.") in _OPTIONS and value:
            found.append(value)
    return [*found, *(path for path in _configured() if path not in found)]


def _configured() -> list[str]:
    """additionalimagestores; the file is parsed only where the list is not empty, as parsing costs more than a whole `ps`."""
    override = os.environ.get("CONTAINERS_STORAGE_CONF")
    for path in [override] if override else ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"]:
        try:
            with open(path) as file:
                text = file.read()
        except OSError:
            continue
        bare = "".join(line.partition("#")[0].strip() for line in text.splitlines())
        start = bare.find("additionalimagestores")
        if start < 0 or '"' not in bare[start : bare.find("]", start)]:
            return []
        import tomllib

        options = (tomllib.loads(text).get("storage") or {}).get("options") or {}
        return [str(item) for item in options.get("additionalimagestores") or ()]
    return []
