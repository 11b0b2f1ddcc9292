"""cp and export: files between containers and the host, as tar streams.

A running container is read and written through its own mount namespace (/proc/PID/root), so its volumes are where it sees them. A
stopped one through its layers and volumes, without a mount. A path is always resolved inside: no link of the container leads to
the host.
"""

from __future__ import annotations

import os
import stat

from podling.core.containers import Container, find
from podling.errors import InvalidInput, NotFound, WrongState
from podling.oci.record import Record
from podling.storage import tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from podling.core.context import Context
    from podling.storage.changes import View
    from podling.storage.extract import Whiteouts


class Side(Record):
    """One end of a copy: a path in a container, a path on the host, or `-`: a tar on a descriptor."""

    container: str = ""
    path: str

    @property
    def is_stream(self) -> bool:
        return not self.container and self.path == "-"


def parse_side(ctx: Context, text: str) -> Side:
    """`CONTAINER:PATH` or `PATH`. What begins with / or . is a path of the host, whatever colons it has."""
    name, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")) or not name:
        return Side(path=text)
    find(ctx, name)
    return Side(container=name, path=path or "/")


# -- the two kinds of places
class _Place:
    """Where a path is: a view of a tree, and the path in it. `shown` is how errors name it."""

    def __init__(self, view: View, path: str, shown: str) -> None:
        self.view, self.path, self.shown = view, path, shown

    def stat(self) -> os.stat_result | None:
        return self.view.stat(self.path)


def _view(container: Container) -> View:
    from podling.core.changes import view_of
    from podling.storage.changes import View

    if container.is_alive:
        return View([container.live_root], container.owners)
    if container.config.rootfs:
        return View([container.config.rootfs], container.owners)
    return view_of(container.ctx, container)


def _inside(container: Container, path: str, *, follow_last: bool) -> _Place:
    """A path of a container; relative ones begin at its working folder."""
    from podling.core.volumes import path_of
    from podling.storage.changes import View

    full = path if path.startswith("/") else os.path.join(container.config.workdir, path)
    view = _view(container)
    resolved = view.resolve(full, follow_last=follow_last)
    shown = f"{container.name}:{path}"
    if container.is_alive:
        return _Place(view, resolved, shown)
    for mount in sorted(container.config.mounts, key=lambda item: len(item.target), reverse=True):
        if resolved == mount.target or resolved.startswith(mount.target + "/"):
            if mount.kind not in ("bind", "volume"):
                raise WrongState(
                    f"{shown} lies in a {mount.kind} mount, which exists only while the container runs",
                    hint=f"podling start {container.name}",
                )
            source = mount.source or path_of(container.ctx, mount.name)
            if os.path.isdir(source):
                other = View([source], container.owners)
                return _Place(
                    other, other.resolve(resolved[len(mount.target) :] or "/", follow_last=follow_last), shown
                )
    return _Place(view, resolved, shown)


def _on_host(path: str) -> _Place:
    from podling.storage.changes import View

    full = os.path.realpath(path)
    folder, _, last = full.rpartition("/")
    return _Place(View([folder or "/"]), f"/{last}" if last else "/", path)


# -- copying
def copy(
    ctx: Context,
    source: str,
    target: str,
    *,
    archive: bool = True,
    overwrite: bool = False,
    stdin: int = 0,
    stdout: int = 1,
    rename: dict[str, str] | None = None,
) -> None:
    """Copy from `source` to `target`, as `cp -a` would; either may be `-`, a tar, in which `rename` gives what lies at its top
    other names.

    With `archive`, what comes into a container belongs to its user, and what comes out to us; without, owners are kept.

    Raises:
        NotFound, InvalidInput, WrongState, StorageFull.
    """
    one, other = parse_side(ctx, source), parse_side(ctx, target)
    if not one.container and not other.container:
        raise InvalidInput("one of the two must be in a container", hint="podling cp CONTAINER:PATH PATH")
    if one.is_stream:
        if not other.container:
            raise InvalidInput("a tar from standard input goes into a container")
        from podling.core.push import read_fd

        _unpack(ctx, other, read_fd(stdin), "", archive=archive, overwrite=overwrite, stream=True, rename=rename or {})
        return
    place, bare = _source(ctx, one)
    info = place.stat()
    if info is None:
        raise NotFound(f'"{one.path}" could not be found on {_where(one)}: no such file or directory')
    is_folder = stat.S_ISDIR(info.st_mode)
    from podling.storage.changes import tree_archive

    if other.is_stream:
        name = os.path.basename(place.path.rstrip("/")) or "."
        name = (rename or {}).get(name, name)
        for piece in tree_archive(place.view, place.path, "" if bare else name, inside=bare):
            _write_all(stdout, piece)
        return
    name = os.path.basename(os.path.normpath(one.path)) if not bare else ""
    _unpack(ctx, other, place, name, archive=archive, overwrite=overwrite, is_folder=is_folder)


def _where(side: Side) -> str:
    return f"container {side.container}" if side.container else "the host"


def _source(ctx: Context, side: Side) -> tuple[_Place, bool]:
    """(the place, only what is inside it): a folder with `/.` at its end stands for its content."""
    bare = side.path.endswith("/.") or side.path == "."
    follow = bare or side.path.endswith("/")
    if side.container:
        return _inside(find(ctx, side.container), side.path, follow_last=follow), bare
    place = _on_host(side.path) if follow or not os.path.islink(side.path) else _link_on_host(side.path)
    return place, bare


def _link_on_host(path: str) -> _Place:
    from podling.storage.changes import View

    full = os.path.abspath(path)
    folder, _, last = full.rpartition("/")
    return _Place(View([os.path.realpath(folder or "/")]), f"/{last}", path)


def _unpack(
    ctx: Context,
    side: Side,
    content: Iterator[bytes] | _Place,
    name: str,
    *,
    archive: bool,
    overwrite: bool,
    is_folder: bool = False,
    stream: bool = False,
    rename: dict[str, str] | None = None,
) -> None:
    """Put a tar, or a tree called `name`, where `side` says; the rules are those of `docker cp`."""
    if not side.container:
        place = _on_host(side.path)
        _extract_to(ctx, None, place, content, name, side.path, archive, overwrite, is_folder)
        return
    container = find(ctx, side.container)
    with container.lock():  # a stopped one does not start meanwhile
        container.load()
        place = _inside(container, side.path, follow_last=True)
        if stream:
            info = place.stat()
            if info is None or not stat.S_ISDIR(info.st_mode):
                raise InvalidInput(f"{place.shown}: a tar is unpacked into a folder that exists")
            assert not isinstance(content, _Place)
            _extract(container, place, content, archive=archive, overwrite=overwrite, rename=rename)
            return
        _extract_to(ctx, container, place, content, name, side.path, archive, overwrite, is_folder)


def _extract_to(
    ctx: Context,
    container: Container | None,
    place: _Place,
    content: Iterator[bytes] | _Place,
    name: str,
    asked: str,
    archive: bool,
    overwrite: bool,
    is_folder: bool,
) -> None:
    from podling.storage.changes import tree_archive as archive_of

    assert isinstance(content, _Place)
    info = place.stat()
    target = place
    if info is not None and stat.S_ISDIR(info.st_mode):
        chunks = archive_of(content.view, content.path, name, inside=not name)
    else:
        if info is not None and is_folder and not overwrite:
            raise InvalidInput(f"{place.shown} is a file, and {content.shown} a folder", hint="--overwrite replaces it")
        if info is None and asked.endswith("/") and not is_folder:
            raise InvalidInput(
                f"{place.shown} does not exist", hint="make the folder, or name the file without / at its end"
            )
        parent, _, last = place.path.rpartition("/")
        target = _Place(place.view, parent or "/", place.shown)
        above = target.stat()
        if above is None or not stat.S_ISDIR(above.st_mode):
            raise NotFound(f"{place.shown}: its folder does not exist")
        chunks = archive_of(content.view, content.path, last)
    _extract(container, target, chunks, archive=archive, overwrite=overwrite)


def _moved(reader: tar.Reader, prefix: str, rename: dict[str, str] | None = None) -> tar.Reader:
    """The members of `reader` below `prefix`; what lies at the top gets the names of `rename`."""

    def renamed(path: str) -> str:
        if not rename:
            return path
        top, slash, rest = path.removeprefix("./").partition("/")
        return f"{rename.get(top, top)}{slash}{rest}"

    class Moved(tar.Reader):
        def __init__(self) -> None:
            self.data = reader.data  # type: ignore[method-assign]

        def __iter__(self) -> Iterator[tar.Member]:
            for member in reader:
                name = renamed(member.name)
                member.name = f"{prefix}/{name}" if prefix else name
                if member.kind == tar.LINK:
                    link = renamed(member.link)
                    member.link = f"{prefix}/{link}" if prefix else link
                yield member

    return Moved()


class _NoWhiteouts:
    def hide(self, parent: int, name: str) -> None: ...
    def hide_all(self, parent: int) -> None: ...


def _extract(
    container: Container | None,
    place: _Place,
    chunks: Iterator[bytes],
    *,
    archive: bool,
    overwrite: bool,
    rename: dict[str, str] | None = None,
) -> None:
    """Unpack a tar into the folder `place`, which exists."""
    from podling.linux.calls import open_in_root
    from podling.storage.decompress import decompressed
    from podling.storage.extract import Extractor
    from podling.storage.tar import Reader

    owner: tuple[int, int] | None = None
    if container is None:
        owner = (os.getuid(), os.getgid()) if archive else None
    elif archive:
        from podling.core import users

        root = container.live_root if container.is_alive else place.view.locate("/etc/passwd")
        identity = users.resolve(root, container.config.user, [])
        owner = identity.uid, identity.gid
    owners = container.owners if container else None
    whiteouts: Whiteouts = _NoWhiteouts()
    prefix = place.path.strip("/")
    below = place.view.folders[1:]

    def lookup(path: str) -> os.stat_result | None:
        for folder in below:
            try:
                return os.stat(f"{folder}/{path}", follow_symlinks=False)
            except OSError:
                continue
        return None

    stream = decompressed(chunks)
    top = place.view.folders[0]
    if below:  # the folder may exist only in the layers below: it is made in the container's own, as overlayfs would
        with Extractor(
            top, whiteouts, lookup=lookup, owner=owner, literal=True, keep_kinds=not overwrite, owners=owners
        ) as extractor:
            extractor.run(_moved(Reader(lambda: next(stream, b"")), prefix, rename))
        return
    root_fd = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        folder_fd = open_in_root(root_fd, prefix or ".", os.O_RDONLY | os.O_DIRECTORY)
    finally:
        os.close(root_fd)
    try:
        with Extractor(
            f"/proc/self/fd/{folder_fd}", whiteouts, owner=owner, literal=True, keep_kinds=not overwrite, owners=owners
        ) as extractor:
            extractor.run(_moved(Reader(lambda: next(stream, b"")), "", rename))
    finally:
        os.close(folder_fd)


def unpack_here(folder: str, chunks: Iterator[bytes], *, archive: bool, overwrite: bool) -> None:
    """Unpack a tar that a service sent into a folder of this side; a link in it leads nowhere outside.

    Raises:
        BadArchive, InvalidInput, StorageFull.
    """
    from podling.storage.changes import View

    place = _Place(View([os.path.realpath(folder)]), "/", folder)
    _extract(None, place, chunks, archive=archive, overwrite=overwrite)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


# -- stat
_GO_MODES = (
    (stat.S_ISDIR, 31),
    (stat.S_ISLNK, 27),
    (stat.S_ISBLK, 26),
    (stat.S_ISCHR, 26),
    (stat.S_ISFIFO, 25),
    (stat.S_ISSOCK, 24),
)


def stat_path(ctx: Context, name: str, path: str) -> dict[str, object]:
    """A path of a container in the shape of Docker's PathStat; `mode` is Go's os.FileMode.

    Raises:
        NotFound: there is nothing.
    """
    from podling.oci.times import format_time

    place, _ = _source(ctx, Side(container=name, path=path))
    info = place.stat()
    if info is None:
        raise NotFound(f'"{path}" could not be found on container {name}: no such file or directory')
    mode = info.st_mode & 0o777
    for test, bit in _GO_MODES:
        if test(info.st_mode):
            mode |= 1 << bit
    if stat.S_ISCHR(info.st_mode):
        mode |= 1 << 21
    for flag, bit in ((stat.S_ISUID, 23), (stat.S_ISGID, 22), (stat.S_ISVTX, 20)):
        if info.st_mode & flag:
            mode |= 1 << bit
    link = ""
    if stat.S_ISLNK(info.st_mode):
        link = place.view.resolve(place.path)
    return {
        "name": os.path.basename(path.rstrip("/")) or "/",
        "size": info.st_size,
        "mode": mode,
        "mtime": format_time(info.st_mtime_ns) if info.st_mtime_ns else "1970-01-01T00:00:00Z",
        "isDir": stat.S_ISDIR(info.st_mode),
        "isStream": False,
        "linkTarget": link or place.path,
    }


# -- export
def export(ctx: Context, name: str, fd: int) -> None:
    """Write a container's file system as a tar, without what is mounted in it."""
    from podling.core.changes import ours, view_of
    from podling.storage.changes import View, tar_of

    container = find(ctx, name)
    view = View([container.config.rootfs], container.owners) if container.config.rootfs else view_of(ctx, container)
    for piece in tar_of(view, view.walk(), skip=ours(container) - {"/dev", "/proc", "/sys", "/run"}):
        _write_all(fd, piece)
    with ctx.db.write() as tx:
        container.tell(tx, "export")
