"""mounts.conf (containers-mounts.conf(5)): what of the host every container gets a copy of, such as a subscription's keys."""

from __future__ import annotations

import os

from podling.errors import InvalidInput
from podling.linux.proc import outer_uid

_HOST, _VENDOR = "/etc/containers/mounts.conf", "/usr/share/containers/mounts.conf"


def entries(path: str = "") -> list[tuple[str, str]]:
    """(source here, target in the container) for each line `SOURCE:TARGET`, or `PATH` for both, whose source is there.

    `path` counts instead of the user's file, the host's, or else the vendor's.

    Raises:
        InvalidInput: `path` cannot be read; a target that is no absolute path, with file and line.
    """
    chosen = path or next(filter(os.path.exists, (*_own(), _HOST, _VENDOR)), "")
    if not chosen:
        return []
    try:
        with open(chosen) as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise InvalidInput(f"{chosen}: {error.strerror}") from None
    found = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        source, _, target = text.partition(":")
        target = target or source
        if not (source.startswith("/") and target.startswith("/")) or ".." in target.split("/"):
            raise InvalidInput(f"{chosen}:{number}: not SOURCE:TARGET, two absolute paths: {text}")
        if os.path.exists(source):
            found.append((os.path.realpath(source), os.path.normpath(target)))
    return found


def _own() -> list[str]:
    if not outer_uid():
        return []
    from podling.config.settings import home_folder

    base = os.environ.get("XDG_CONFIG_HOME") or f"{home_folder(outer_uid())}/.config"
    return [f"{base}/containers/mounts.conf"]
