"""What a layer changes: added, changed and deleted paths, and the tar that says the same."""

from __future__ import annotations

import errno
import os
import stat

from podling.linux.calls import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podling.rootless.subids import Owners

    Alter = Callable[[os.stat_result], os.stat_result]

ADDED, CHANGED, DELETED = "A", "C", "D"
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_HIDDEN_XATTRS = ("trusted.overlay.", "user.overlay.")
_CHUNK = 1 << 20
Change = tuple[str, str]


def overlay_changes(upper: str, lowers: list[str]) -> list[Change]:
    """(kind, path from the root) of what the folder `upper` of an overlay changes; `lowers` from the top down. Sorted."""
    found: list[Change] = []

    def walk(path: str, below: list[str]) -> None:
        """`below` are those lower folders in which `path` is a folder that is still seen."""
        entries = sorted(_scan(upper, path), key=lambda entry: entry[0])
        if path and _is_opaque(upper + path):
            names = {name for name, _ in entries}
            for name in sorted(_names_in(below, path) - names):
                found.append((DELETED, f"{path}/{name}"))
            below = []
        for name, info in entries:
            inner = f"{path}/{name}"
            old = _lower(below, inner)
            if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
                found.append((DELETED, inner))
            elif old is None:
                found.append((ADDED, inner))
                if stat.S_ISDIR(info.st_mode):
                    walk(inner, [])
            else:
                found.append((CHANGED, inner))
                if stat.S_ISDIR(info.st_mode):
                    walk(inner, folders_of(below, inner))

    walk("", lowers)
    return found


def _scan(folder: str, path: str) -> list[tuple[str, os.stat_result]]:
    """What is in `path` below `folder`. A container that runs may put a link there meanwhile: it does not lead out."""
    try:
        root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        fd = open_in_root(root, path.lstrip("/") or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return []
        raise
    finally:
        os.close(root)
    try:
        with os.scandir(fd) as entries:
            return [(entry.name, os.stat(entry.name, dir_fd=fd, follow_symlinks=False)) for entry in entries]
    finally:
        os.close(fd)


def _is_opaque(path: str) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False


def _lower(lowers: list[str], path: str) -> os.stat_result | None:
    """What is seen at `path` through `lowers`."""
    for folder in lowers:
        try:
            info = os.stat(folder + path, follow_symlinks=False)
        except OSError:
            continue
        return None if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0 else info
    return None


def folders_of(lowers: list[str], path: str) -> list[str]:
    """Those of `lowers` whose `path` is part of what is seen there, down to one that hides what is below."""
    seen = []
    for folder in lowers:
        try:
            info = os.stat(folder + path, follow_symlinks=False)
        except OSError:
            continue
        if not stat.S_ISDIR(info.st_mode):
            break
        seen.append(folder)
        if _is_opaque(folder + path):
            break
    return seen


def _names_in(lowers: list[str], path: str) -> set[str]:
    names: set[str] = set()
    hidden: set[str] = set()
    for folder in lowers:
        for name, info in _scan(folder, path):
            if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
                hidden.add(name)
            elif name not in hidden:
                names.add(name)
    return names


class View:
    """The merged tree of layers' folders, from the top down, as overlayfs would show it; nothing is mounted for it."""

    def __init__(self, folders: list[str], owners: Owners | None = None) -> None:
        self.folders = folders
        #: the id maps that the first folder's owners went through
        self.owners = owners

    def listing(self, path: str, folders: list[str]) -> dict[str, tuple[os.stat_result, str]]:
        """(attributes, its folder) of what is in the folder `path`, which is seen through `folders`."""
        found: dict[str, tuple[os.stat_result, str]] = {}
        hidden: set[str] = set()
        for folder in folders:
            for name, info in _scan(folder, path):
                if name in hidden or name in found:
                    continue
                if self.owners and folder == self.folders[0]:
                    info = self.owners.inward(info)
                if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
                    hidden.add(name)
                else:
                    found[name] = info, folder
        return found

    def inside(self, path: str, folders: list[str]) -> list[str]:
        """Those of `folders` through which the folder `path` is seen."""
        return folders_of(folders, path)

    def locate(self, path: str) -> str:
        """The folder that holds a path of the tree."""
        for folder in self.folders:
            if os.path.lexists(folder + path):
                return folder
        return self.folders[0]

    def stat(self, path: str) -> os.stat_result | None:
        """The attributes of a path whose parents are no links; None when there is nothing."""
        if path in ("", "/"):
            return os.stat(self.folders[0])
        folders = self.folders
        prefixes = _prefixes(path)
        for part in prefixes[:-1]:
            folders = self.inside(part, folders)
        found = self.listing(prefixes[-1].rpartition("/")[0], folders).get(prefixes[-1].rpartition("/")[2])
        return found[0] if found else None

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """`path` with its links followed as the container would; parts that do not exist stay."""
        todo = [part for part in path.split("/") if part and part != "."]
        done: list[str] = []
        for _ in range(1000):
            if not todo:
                return "/" + "/".join(done)
            part = todo.pop(0)
            if part == "..":
                done = done[:-1]
                continue
            here = "/" + "/".join([*done, part])
            info = self.stat(here)
            if info is None or not stat.S_ISLNK(info.st_mode) or (not todo and not follow_last):
                done.append(part)
                continue
            target = self.read_link(here)
            if target.startswith("/"):
                done = []
            todo = [piece for piece in target.split("/") if piece and piece != "."] + todo
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def read_link(self, path: str) -> str:
        base = os.open(self.locate(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            folder, _, last = path.lstrip("/").rpartition("/")
            parent = open_in_root(base, folder or ".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                return os.readlink(last, dir_fd=parent)
            finally:
                os.close(parent)
        finally:
            os.close(base)

    def walk(self) -> Iterator[Change]:
        """Every path of the tree, as added."""
        return self._below("", self.folders)

    def _below(self, path: str, folders: list[str]) -> Iterator[Change]:
        for name, (info, _) in sorted(self.listing(path, folders).items()):
            inner = f"{path}/{name}"
            yield ADDED, inner
            if stat.S_ISDIR(info.st_mode):
                yield from self._below(inner, self.inside(inner, folders))


def tree_changes(old: View, new: View, *, content: bool = False) -> list[Change]:
    """As `overlay_changes`, between two whole trees: by kind, owner, mode, size, time and link, and with `content` by what is
    in files that are alike in all that."""
    found: list[Change] = []

    def walk(path: str, olds: list[str], news: list[str]) -> None:
        before, after = old.listing(path, olds), new.listing(path, news)
        for name in sorted(before.keys() | after.keys()):
            inner = f"{path}/{name}"
            if name not in after:
                found.append((DELETED, inner))
                continue
            info, folder = after[name]
            if name not in before:
                found.append((ADDED, inner))
                if stat.S_ISDIR(info.st_mode):
                    found.extend(new._below(inner, new.inside(inner, news)))
                continue
            was, place = before[name]
            if place == folder and not stat.S_ISDIR(info.st_mode):
                continue  # the very same file
            start = len(found)
            if stat.S_ISDIR(info.st_mode) and stat.S_ISDIR(was.st_mode):
                found.append((CHANGED, inner))
                walk(inner, old.inside(inner, olds), new.inside(inner, news))
                if len(found) == start + 1 and _same(was, info, "", ""):
                    found.pop()
            elif not _same(was, info, place + inner, folder + inner) or (
                content and stat.S_ISREG(info.st_mode) and not _same_content(place + inner, folder + inner)
            ):
                found.append((CHANGED, inner))

    walk("", old.folders, new.folders)
    return found


def _same(one: os.stat_result, other: os.stat_result, old: str, new: str) -> bool:
    facts = [(i.st_mode, i.st_uid, i.st_gid, i.st_rdev) for i in (one, other)]
    if facts[0] != facts[1]:
        return False
    if stat.S_ISDIR(one.st_mode):
        return True
    if stat.S_ISLNK(one.st_mode):
        return os.readlink(old) == os.readlink(new)
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _same_content(old: str, new: str) -> bool:
    with open(old, "rb") as one, open(new, "rb") as other:
        while True:
            pieces = one.read(_CHUNK), other.read(_CHUNK)
            if pieces[0] != pieces[1]:
                return False
            if not pieces[0]:
                return True


# -- as a tar
def tar_of(
    view: View, changes: Iterable[Change], *, skip: frozenset[str] = frozenset(), alter: Alter | None = None
) -> Iterator[bytes]:
    """A layer's tar of `changes`, whose files are in `view`; whiteouts as in image-spec layer.md.

    Links in the tree are never followed out of it. Sockets are left out; so are the paths in `skip`. `alter` changes attributes.
    """
    bases: dict[str, int] = {}
    links: dict[tuple[int, int], str] = {}
    try:
        for kind, path in changes:
            if path in skip:
                continue
            name = path.lstrip("/")
            if kind == DELETED:
                folder, _, last = name.rpartition("/")
                yield header(f"{folder}/.wh.{last}" if folder else f".wh.{last}", None)
                continue
            place = view.folders[0] if len(view.folders) == 1 else view.locate(path)
            if place not in bases:
                bases[place] = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            own = view.owners.inward if view.owners and place == view.folders[0] else None
            yield from entry(bases[place], name, links, alter=_both(own, alter))
    finally:
        for base in bases.values():
            os.close(base)
    yield bytes(1024)


def header(
    name: str, info: os.stat_result | None, *, link: str = "", hard: bool = False, xattrs: dict[str, str] | None = None
) -> bytes:
    import tarfile

    entry = tarfile.TarInfo(name)
    if info is None:
        return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    entry.mode, entry.uid, entry.gid = stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid
    entry.mtime = info.st_mtime_ns // 10**9
    entry.linkname = link
    headers = dict(xattrs or {})
    if info.st_mtime_ns % 10**9:
        headers["mtime"] = f"{info.st_mtime_ns // 10**9}.{info.st_mtime_ns % 10**9:09d}"
    entry.pax_headers = headers
    if hard:
        entry.type = tarfile.LNKTYPE
    elif stat.S_ISDIR(info.st_mode):
        entry.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(info.st_mode):
        entry.type = tarfile.SYMTYPE
    elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
        entry.type = tarfile.CHRTYPE if stat.S_ISCHR(info.st_mode) else tarfile.BLKTYPE
        entry.devmajor, entry.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
    elif stat.S_ISFIFO(info.st_mode):
        entry.type = tarfile.FIFOTYPE
    else:
        entry.size = info.st_size
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def tree_archive(view: View, path: str, shown: str, *, inside: bool = False) -> Iterator[bytes]:
    """A tar of `path` and all below it, in which it is called `shown`; with `inside` without an entry for itself."""
    links: dict[tuple[int, int], str] = {}
    paths = [] if inside else [path]
    folders = view.folders
    for part in _prefixes(path):
        folders = view.inside(part, folders)
    if folders:
        paths += [found for _, found in view._below(path if path != "/" else "", folders)]
    for found in paths:
        place = view.locate(found)
        base = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            rest = found[len(path.rstrip("/")) :].lstrip("/")
            name = "/".join(part for part in (shown, rest) if part)
            own = view.owners.inward if view.owners and place == view.folders[0] else None
            yield from entry(base, found.lstrip("/"), links, name, own)
        finally:
            os.close(base)
    yield bytes(1024)


def _prefixes(path: str) -> list[str]:
    """`/a/b` as /a and /a/b."""
    parts = [part for part in path.split("/") if part]
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]


def _both(first: Alter | None, second: Alter | None) -> Alter | None:
    if first and second:
        return lambda info: second(first(info))
    return first or second


def entry(
    base: int, place: str, links: dict[tuple[int, int], str], name: str = "", alter: Alter | None = None
) -> Iterator[bytes]:
    """The header and content of `place` below `base`, called `name` in the tar, with attributes as `alter` has them. `links` are
    the files with several names so far."""
    name = name or place
    folder, _, last = place.rpartition("/")
    last = last or "."
    try:
        parent = open_in_root(base, folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return  # it went away while we read
    try:
        info = os.stat(last, dir_fd=parent, follow_symlinks=False)
        if alter:
            info = alter(info)
        if stat.S_ISSOCK(info.st_mode):
            return
        if stat.S_ISLNK(info.st_mode):
            yield header(name, info, link=os.readlink(last, dir_fd=parent))
            return
        if not stat.S_ISREG(info.st_mode):
            xattrs = _xattrs(parent, last) if stat.S_ISDIR(info.st_mode) else {}
            yield header(name + "/" if stat.S_ISDIR(info.st_mode) else name, info, xattrs=xattrs)
            return
        if info.st_nlink > 1:
            first = links.setdefault((info.st_dev, info.st_ino), name)
            if first != name:
                yield header(name, info, link=first, hard=True)
                return
        fd = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=parent)
    except FileNotFoundError:
        return
    finally:
        os.close(parent)
    with os.fdopen(fd, "rb", buffering=0) as file:
        yield header(name, info, xattrs=_xattrs_of(fd))
        left = info.st_size
        while left:
            piece = file.read(min(left, _CHUNK))
            if not piece:  # it became shorter while we read: the header has promised its size
                piece = bytes(min(left, _CHUNK))
            left -= len(piece)
            yield piece
    yield bytes(-info.st_size % 512)


def _xattrs(parent: int, name: str) -> dict[str, str]:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        return _xattrs_of(fd)
    finally:
        os.close(fd)


def _xattrs_of(fd: int) -> dict[str, str]:
    found = {}
    try:
        for name in os.listxattr(fd):
            if not name.startswith(_HIDDEN_XATTRS):
                found[f"SCHILY.xattr.{name}"] = os.getxattr(fd, name).decode("utf-8", "surrogateescape")
    except OSError:
        pass
    return found
