"""Who a container runs as: `user[:group]` against the passwd and group files inside its root file system."""

from __future__ import annotations

import os

from podling.errors import InvalidInput
from podling.linux.calls import open_in_root
from podling.oci.record import Record


class Identity(Record):
    uid: int
    gid: int
    groups: list[int] = []
    home: str = "/"
    name: str = ""
    #: the root file system has no entry for it
    unknown: bool = False


def _lines(root_fd: int, path: str) -> list[list[str]]:
    try:
        fd = open_in_root(root_fd, path, os.O_RDONLY)
    except OSError:
        return []
    with os.fdopen(fd, encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n").split(":") for line in file if ":" in line and not line.startswith("#")]


def resolve(root: str, user: str, groups: list[str]) -> Identity:
    """The numbers behind `user` (name or number, with an optional group), its home, and its further groups.

    Raises:
        InvalidInput: a name that the root file system does not know.
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name, colon, group = user.partition(":")
        passwd = _lines(root_fd, "etc/passwd")
        entry = next((e for e in passwd if len(e) >= 6 and (e[0] == name or e[2] == (name or "0"))), None)
        if entry and entry[2].isdigit() and entry[3].isdigit():
            identity = Identity(uid=int(entry[2]), gid=int(entry[3]), home=entry[5] or "/", name=entry[0])
        elif not name or name.isdigit():
            identity = Identity(
                uid=int(name or "0"),
                gid=0,
                home="/root" if not int(name or "0") else "/",
                name=name or "root",
                unknown=bool(name),
            )
        else:
            raise InvalidInput(
                f"unable to find user {name}: no matching entries in passwd file",
                hint="give a number, or a user of the image",
            )
        group_lines = _lines(root_fd, "etc/group") if colon or groups or entry else []
        if colon:
            identity.gid = _group(group_lines, group)
        elif entry:
            identity.groups = [
                int(e[2])
                for e in group_lines
                if len(e) > 3 and e[2].isdigit() and entry[0] in e[3].split(",") and int(e[2]) != identity.gid
            ]
        identity.groups += [number for text in groups if (number := _group(group_lines, text)) not in identity.groups]
        return identity
    finally:
        os.close(root_fd)


def _group(lines: list[list[str]], text: str) -> int:
    for entry in lines:
        if len(entry) > 2 and entry[0] == text and entry[2].isdigit():
            return int(entry[2])
    if text.isdigit():
        return int(text)
    raise InvalidInput(
        f"unable to find group {text}: no matching entries in group file", hint="give a number, or a group of the image"
    )


def files(root: str) -> tuple[str, str]:
    """The texts of /etc/passwd and /etc/group in a root file system, each with a newline at its end."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    texts = []
    try:
        for path in ("etc/passwd", "etc/group"):
            try:
                fd = open_in_root(root_fd, path, os.O_RDONLY)
            except OSError:
                texts.append("")
                continue
            with os.fdopen(fd, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
            texts.append(text if text.endswith("\n") or not text else text + "\n")
    finally:
        os.close(root_fd)
    return texts[0], texts[1]
