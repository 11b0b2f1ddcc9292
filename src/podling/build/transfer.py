"""What COPY and ADD bring into an image: which files, under which names, as a tar."""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat

from podling.build.containerfile import BuildError
from podling.build.ignore import Ignore, compile
from podling.oci.record import Record
from podling.storage.changes import View, entry, header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAGIC = "*?["


class Attributes(Record):
    """What files get instead of their own; None and "" keep that. `mode` is octal, or symbolic as chmod(1)'s."""

    uid: int | None = None
    gid: int | None = None
    mode: str = ""
    #: nanoseconds since the epoch
    mtime: int | None = None


def altered(attributes: Attributes) -> Callable[[os.stat_result], os.stat_result]:
    """A function that gives a file's status these attributes."""
    mode_of = chmod(attributes.mode) if attributes.mode else None

    def alter(info: os.stat_result) -> os.stat_result:
        values: list[int] = [int(value) for value in info]
        if mode_of and not stat.S_ISLNK(info.st_mode):
            values[0] = stat.S_IFMT(info.st_mode) | mode_of(info)
        values[4] = info.st_uid if attributes.uid is None else attributes.uid
        values[5] = info.st_gid if attributes.gid is None else attributes.gid
        names = {name: getattr(info, name) for name in ("st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_rdev")}
        if attributes.mtime is not None:
            names["st_mtime_ns"] = attributes.mtime
        return os.stat_result(values, names)

    return alter


def chmod(text: str) -> Callable[[os.stat_result], int]:
    """`755`, or `u+x,go=r`, as a function from a file's status to its permissions.

    Raises:
        BuildError: it is neither.
    """
    if text and all(character in "01234567" for character in text) and len(text) <= 5:
        fixed = int(text, 8)
        return lambda info: fixed
    changes = []
    for part in text.split(","):
        position = next((place for place, character in enumerate(part) if character in "+-="), -1)
        who, what = part[:position], part[position + 1 :]
        if position < 0 or set(who) - set("ugoa") or set(what) - set("rwxXst"):
            raise BuildError(f"invalid chmod parameter: {text!r}: it must be octal, such as 0755, or like u+rw,go-w")
        changes.append((set(who.replace("a", "ugo") or "ugo"), part[position], what))

    def mode_of(info: os.stat_result) -> int:
        mode = stat.S_IMODE(info.st_mode)
        for who, operator, what in changes:
            bits = 0
            for letter in what:
                if letter == "X":
                    letter = "x" if stat.S_ISDIR(info.st_mode) or mode & 0o111 else ""
                bits |= {"r": 4, "w": 2, "x": 1}.get(letter, 0)
            mask = sum(bits << shift for shift, name in ((6, "u"), (3, "g"), (0, "o")) if name in who)
            all_bits = sum(7 << shift for shift, name in ((6, "u"), (3, "g"), (0, "o")) if name in who)
            special = (0o4000 if "s" in what and "u" in who else 0) | (0o2000 if "s" in what and "g" in who else 0)
            special |= 0o1000 if "t" in what else 0
            if operator == "+":
                mode |= mask | special
            elif operator == "-":
                mode &= ~(mask | special)
            else:
                mode = (mode & ~all_bits) | mask | special
        return mode

    return mode_of


# -- which files
class Found:
    """One source: where it is in its tree, and what it is called when it is put into a folder."""

    __slots__ = ("is_folder", "name", "path")

    def __init__(self, path: str, name: str, *, is_folder: bool) -> None:
        self.path, self.name, self.is_folder = path, name, is_folder


def find(view: View, pattern: str, ignore: Ignore) -> list[Found]:
    """The sources that a path or a pattern means, links on the way followed inside the tree."""
    places = [("", "")]
    for part in [part for part in posixpath.normpath(f"/{pattern}").split("/") if part]:
        following = []
        for shown, real in places:
            if any(character in part for character in _MAGIC):
                rule = compile(part)
                names = [name for name in sorted(_listing(view, real)) if rule.fullmatch(name)]
            else:
                names = [part]
            following += [(f"{shown}/{name}", view.resolve(f"{real}/{name}")) for name in names]
        places = following
    found = []
    for shown, real in places:
        info = view.stat(real)
        if info is None:
            continue
        is_folder = stat.S_ISDIR(info.st_mode)
        if not ignore.leaves_out(real.lstrip("/")) or (is_folder and ignore.has_exceptions):
            found.append(Found(real.rstrip("/"), posixpath.basename(shown), is_folder=is_folder))
    return found


def _folders(view: View, path: str) -> list[str]:
    folders, so_far = view.folders, ""
    for part in [part for part in path.split("/") if part]:
        so_far += f"/{part}"
        folders = view.inside(so_far, folders)
    return folders


def _listing(view: View, path: str) -> list[str]:
    path = path.rstrip("/")
    info = view.stat(path or "/")
    if info is None or not stat.S_ISDIR(info.st_mode):
        return []
    return list(view.listing(path, _folders(view, path)))


def below(view: View, path: str, ignore: Ignore) -> Iterator[tuple[str, bool]]:
    """(path, is a folder) of all below a folder of the tree that is not left out, folders before what is in them."""

    def walk(here: str, folders: list[str]) -> Iterator[tuple[str, bool]]:
        for name, (info, _) in sorted(view.listing(here, folders).items()):
            inner = f"{here}/{name}"
            is_folder = stat.S_ISDIR(info.st_mode)
            out = bool(ignore) and ignore.leaves_out(inner.lstrip("/"))
            if not out:
                yield inner, is_folder
            if is_folder and (not out or ignore.has_exceptions):
                yield from walk(inner, view.inside(inner, folders))

    yield from walk(path.rstrip("/"), _folders(view, path))


# -- as a tar
class Load:
    """Files that are to be put into an image, as (tree, path in it, name in the image), and folders that have to be made first."""

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.pieces: list[tuple[View, str, str]] = []
        self.folders: list[str] = []
        #: (name, content) of files that are written in the Containerfile
        self.texts: list[tuple[str, bytes]] = []

    def add_tree(self, view: View, path: str, name: str, ignore: Ignore, exclude: Ignore) -> None:
        """A folder's content as the content of `name`."""
        for inner, _ in below(view, path, ignore):
            rest = inner[len(path.rstrip("/")) :].lstrip("/")
            if not (exclude and exclude.leaves_out(rest)):
                self.pieces.append((view, inner, posixpath.join(name, rest)))

    def digest(self) -> str:
        """Of names, attributes and contents, whatever the times are."""
        still = Attributes(uid=self.attributes.uid, gid=self.attributes.gid, mode=self.attributes.mode, mtime=0)
        digest = hashlib.sha256()
        for chunk in self._chunks(still, 0):
            digest.update(chunk)
        return digest.hexdigest()

    def tar(self, moment: int) -> Iterator[bytes]:
        """`moment` is when what has no time of its own was made, in nanoseconds."""
        return self._chunks(self.attributes, moment)

    def _chunks(self, attributes: Attributes, moment: int) -> Iterator[bytes]:
        alter = altered(attributes)
        for name in self.folders:
            yield header(name.strip("/") + "/", _made(stat.S_IFDIR | 0o755, attributes, moment))
        for name, content in self.texts:
            info = _made(stat.S_IFREG | 0o644, attributes, moment, len(content))
            mode = chmod(attributes.mode)(info) if attributes.mode else 0o644
            yield header(name.strip("/"), _made(stat.S_IFREG | mode, attributes, moment, len(content)))
            yield content + bytes(-len(content) % 512)
        bases: dict[str, int] = {}
        links: dict[tuple[int, int], str] = {}
        try:
            for view, path, name in self.pieces:
                place = view.locate(path)
                if place not in bases:
                    bases[place] = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                yield from entry(bases[place], path.lstrip("/"), links, name.strip("/"), alter)
        finally:
            for base in bases.values():
                os.close(base)
        yield bytes(1024)


def _made(mode: int, attributes: Attributes, moment: int, size: int = 0) -> os.stat_result:
    """The status of something that is made here; `size` of a file."""
    when = moment if attributes.mtime is None else attributes.mtime
    values = [mode, 0, 0, 1, attributes.uid or 0, attributes.gid or 0, size, 0, when // 10**9, 0]
    return os.stat_result(values, {"st_mtime_ns": when, "st_rdev": 0})
