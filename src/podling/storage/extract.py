"""Unpacking a layer's tar into a folder that the archive can never leave.

Every parent folder is opened with RESOLVE_IN_ROOT and entries are made relative to that descriptor with O_EXCL and
O_NOFOLLOW, so neither `..`, absolute names, links in the archive nor a race can reach the host's files. Descriptors of the
last parents are kept: entries of one folder come one after the other.
"""

from __future__ import annotations

import errno
import os
import stat

from podling.errors import BadArchive, PodlingError, StorageFull
from podling.linux.calls import open_in_root
from podling.linux.files import remove_tree
from podling.linux.proc import in_user_namespace
from podling.storage import tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from podling.rootless.subids import Owners
    from podling.storage.recipe import RecipeWriter

    class Whiteouts(Protocol):
        """How a driver records that a layer hides what is below it."""

        def hide(self, parent: int, name: str) -> None: ...
        def hide_all(self, parent: int) -> None: ...


class IdsMissing(BadArchive):
    """Files belong to ids that this user was not granted."""

    reference = "ids-missing"


def missing_ids(what: str, uid: int, gid: int) -> IdsMissing:
    """`what` belongs to ids that are not this user's."""
    from podling.linux.proc import outer_uid
    from podling.rootless import namespace, subids

    have = min(subids.size(subids.current(kind)) for kind in ("uid", "gid"))
    wanted = max(uid, gid) + 1
    if wanted <= have:  # it is not for want of ids
        return IdsMissing(
            f"{what} belongs to {uid}:{gid}, and this file system lets users give no files away (NFS does not)",
            hint="keep the store on a local disk: --root PATH, or rootless_storage_path in ~/.config/containers/storage.conf; "
            "or --storage-opt ignore_chown_errors=true",
        )
    return IdsMissing(
        f"{what} belongs to {uid}:{gid}, but this user has {have} ids: {wanted} are needed",
        hint=f"{namespace.grant_command(outer_uid(), wanted)}; or --storage-opt ignore_chown_errors=true",
    )


_KEPT_FOLDERS = 48
_MAX_ID = (1 << 32) - 2
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
#: set by archives, would change how overlayfs reads the layer
_FOREIGN_XATTRS = ("trusted.overlay.", "user.overlay.", "trusted.", "security.selinux", "security.ima", "security.evm")


def clean(name: str) -> str:
    """`name` relative to the archive's root, without `.`, `..` and doubled slashes; "" for the root itself."""
    if "\0" in name:
        raise BadArchive(f"hostile archive: a NUL byte in the name {name!r}")
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise BadArchive(f"hostile archive: the entry {name!r} leads out of the layer")
            parts.pop()
        elif part and part != ".":
            parts.append(part)
    return "/".join(parts)


class Extractor:
    """Unpacks members below `folder`. `lookup(path)` gives the attributes of a folder in the layers below, or None.

    `owner` is what everything gets, instead of what the archive says; -1 keeps who unpacks. `literal` takes names of whiteouts
    for names. `owners` are id maps that owners go through. `strays`: what becomes of files of ids that this user has not got: an id,
    -1 for the user's own, None for an error.
    """

    def __init__(
        self,
        folder: str,
        whiteouts: Whiteouts,
        *,
        recipe: RecipeWriter | None = None,
        lookup: Callable[[str], os.stat_result | None] = lambda path: None,
        squash_owner: bool = False,
        owner: tuple[int, int] | None = None,
        literal: bool = False,
        keep_kinds: bool = False,
        owners: Owners | None = None,
        strays: int | None = None,
    ) -> None:
        self._root = os.open(folder, _FOLDER)
        self._whiteouts = whiteouts
        self._recipe = recipe
        self._lookup = lookup
        self._squash = squash_owner
        self._owned_by = owner
        self._literal = literal
        self._keep_kinds = keep_kinds
        self._owners = owners
        self._strays = strays
        self._unprivileged = in_user_namespace()
        self._folders: dict[str, int] = {}
        self._times: dict[str, int] = {}

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._forget("")
        os.close(self._root)

    def run(self, reader: tar.Reader) -> None:
        """Unpack all of `reader`.

        Raises:
            BadArchive: an entry is hostile or makes no sense; what was unpacked so far stays for the caller to remove.
            StorageFull: the file system is full.
        """
        member = None
        try:
            for member in reader:
                self._entry(reader, member)
            for path in sorted(self._times, key=len, reverse=True):
                self._set_folder_time(path)
        except PodlingError:
            raise
        except OSError as error:
            name = member.name if member else ""
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull(
                    f"no space left while unpacking {name!r}", hint="free some space, then try again"
                ) from None
            raise BadArchive(f"cannot unpack {name!r}: {os.strerror(error.errno or 0)}") from error

    # -- folders
    def _forget(self, path: str) -> None:
        """Close the kept descriptors of `path` and of all below it."""
        for known in [known for known in self._folders if not path or known == path or known.startswith(path + "/")]:
            os.close(self._folders.pop(known))

    def _folder(self, path: str) -> int:
        """A descriptor of the folder `path`, made where it is missing, with the attributes it has in the layers below."""
        if not path:
            return self._root
        fd = self._folders.get(path)
        if fd is not None:
            return fd
        try:
            fd = open_in_root(self._root, path, _FOLDER)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise BadArchive(f"the archive puts entries into {path!r}, which is no folder there") from None
            parent, _, name = path.rpartition("/")
            above = self._folder(parent)
            try:
                os.mkdir(name, 0o755, dir_fd=above)
            except FileExistsError:
                raise BadArchive(f"the archive puts entries below {path!r}, a link that leads nowhere") from None
            fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
            below = self._lookup(path)
            if below is not None:
                owner = below.st_uid, below.st_gid
                os.fchown(fd, *(self._owners.outward(*owner) if self._owners else owner))
                os.fchmod(fd, stat.S_IMODE(below.st_mode))
        if len(self._folders) >= _KEPT_FOLDERS:
            os.close(self._folders.pop(next(iter(self._folders))))
        self._folders[path] = fd
        return fd

    def _remove(self, parent: int, name: str, path: str, *, makes_folder: bool = False) -> None:
        try:
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        whiteout = stat.S_ISCHR(info.st_mode) and info.st_rdev == 0
        if self._keep_kinds and stat.S_ISDIR(info.st_mode) != makes_folder and not whiteout:
            have, comes = ("folder", "file") if stat.S_ISDIR(info.st_mode) else ("file", "folder")
            raise BadArchive(
                f"{path}: there is a {have}, and a {comes} is to be put there", hint="--overwrite replaces it"
            )
        if stat.S_ISDIR(info.st_mode):
            self._forget(path)
            self._times = {
                known: time for known, time in self._times.items() if known != path and not known.startswith(path + "/")
            }
        remove_tree(name, dir_fd=parent)

    def _set_folder_time(self, path: str) -> None:
        time = self._times[path]
        try:
            fd = open_in_root(self._root, path or ".", os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return
        os.utime(fd, ns=(time, time))
        os.close(fd)

    # -- entries
    def _entry(self, reader: tar.Reader, member: tar.Member) -> None:
        path = clean(member.name)
        folder, _, name = path.rpartition("/")
        if name.startswith(".wh.") and not self._literal:
            self._whiteout(folder, name)
        elif member.kind == tar.REGULAR:
            self._file(reader, member, path, folder, name)
            return
        elif member.kind == tar.FOLDER:
            self._make_folder(member, path, folder, name)
        elif member.kind == tar.SYMLINK:
            parent = self._place(folder, name, path)
            os.symlink(member.link, name, dir_fd=parent)
            if not self._squash:
                self._give(name, member, parent)
            os.utime(name, ns=(member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)
        elif member.kind == tar.LINK:
            self._hard_link(member, path, folder, name)
        elif member.kind in (tar.CHARACTER, tar.BLOCKDEV, tar.FIFO):
            self._node(member, path, folder, name)
        else:
            raise BadArchive(f"the entry {member.name!r} has the unknown type {member.kind!r}")

    def _place(self, folder: str, name: str, path: str) -> int:
        """The parent's descriptor, with nothing called `name` in it."""
        if not name:
            raise BadArchive("hostile archive: the root of a layer must be a folder")
        parent = self._folder(folder)
        self._remove(parent, name, path)
        return parent

    def _owner(self, member: tar.Member) -> tuple[int, int]:
        owner = self._owned_by or (member.uid, member.gid)
        if not (0 <= owner[0] <= _MAX_ID and 0 <= owner[1] <= _MAX_ID):
            raise BadArchive(f"the entry {member.name!r} has the impossible owner {owner[0]}:{owner[1]}")
        return self._owners.outward(*owner) if self._owners else owner

    def _give(self, target: int | str, member: tar.Member, parent: int | None = None) -> None:
        """chown, which a user may do to mapped ids only."""
        try:
            os.chown(target, *self._owner(member), dir_fd=parent, follow_symlinks=parent is None)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM) or not self._unprivileged:
                raise
            if self._strays is None:
                raise missing_ids(repr(member.name), member.uid, member.gid) from None
            if self._strays >= 0:
                self._squash_ids(target, member, parent, self._strays)

    def _squash_ids(self, target: int | str, member: tar.Member, parent: int | None, stray: int) -> None:
        """chown with `stray` for each of the two ids that is not this user's."""
        from podling.rootless import subids

        known = [id < subids.size(subids.current(kind)) for kind, id in (("uid", member.uid), ("gid", member.gid))]
        owner = (member.uid if known[0] else stray, member.gid if known[1] else stray)
        os.chown(target, *owner, dir_fd=parent, follow_symlinks=parent is None)

    def _whiteout(self, folder: str, name: str) -> None:
        parent = self._folder(folder)
        if name == ".wh..wh..opq":
            self._whiteouts.hide_all(parent)
        elif not name.startswith(".wh..wh."):  # aufs' own bookkeeping
            hidden = name[4:]
            if hidden in ("", ".", ".."):
                raise BadArchive(f"hostile archive: the whiteout {name!r}")
            self._whiteouts.hide(parent, hidden)

    def _file(self, reader: tar.Reader, member: tar.Member, path: str, folder: str, name: str) -> None:
        if not name:
            raise BadArchive("hostile archive: the root of a layer must be a folder")
        parent = self._folder(folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, 0o600, dir_fd=parent)
        except FileExistsError:
            self._remove(parent, name, path)
            fd = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            if member.pieces is None:
                if member.size:
                    if self._recipe:
                        self._recipe.data(path, 0, member.size)
                    while (piece := reader.data()) is not None:
                        written = os.write(fd, piece)
                        while written < len(piece):
                            written += os.write(fd, piece[written:])
            else:
                self._sparse(reader, member, path, fd)
            if not self._squash:
                self._give(fd, member)
            os.fchmod(fd, member.mode)  # after chown, which drops the set-id bits
            if member.xattrs:
                self._set_xattrs(fd, member)
            os.utime(fd, ns=(member.mtime, member.mtime))
        finally:
            os.close(fd)

    def _sparse(self, reader: tar.Reader, member: tar.Member, path: str, fd: int) -> None:
        os.ftruncate(fd, member.real_size)
        pending = memoryview(b"")
        for offset, length in member.pieces or ():
            if self._recipe:
                self._recipe.data(path, offset, length)
            while length:
                pending = pending or reader.data() or memoryview(b"")
                if not pending:
                    raise BadArchive(f"the sparse file {path!r} ends too early")
                written = os.pwrite(fd, pending[:length], offset)
                offset, length, pending = offset + written, length - written, pending[written:]

    def _make_folder(self, member: tar.Member, path: str, folder: str, name: str) -> None:
        if name:
            parent = self._folder(folder)
            try:
                os.mkdir(name, 0o755, dir_fd=parent)
            except FileExistsError:
                if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    self._remove(parent, name, path, makes_folder=True)
                    os.mkdir(name, 0o755, dir_fd=parent)
            fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
        else:
            fd = os.dup(self._root)
        try:
            if not self._squash:
                self._give(fd, member)
            os.fchmod(fd, member.mode)
            if member.xattrs:
                self._set_xattrs(fd, member)
        finally:
            os.close(fd)
        self._times[path] = member.mtime

    def _hard_link(self, member: tar.Member, path: str, folder: str, name: str) -> None:
        target = clean(member.link)
        if target == path:
            return
        target_folder, _, target_name = target.rpartition("/")
        parent = os.dup(self._place(folder, name, path))  # opening the target's folder may push this one out
        try:
            source = self._folder(target_folder)
            info = os.stat(target_name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                raise BadArchive(f"{member.name!r} is a hard link to the folder {member.link!r}")
            os.link(target_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise BadArchive(
                f"{member.name!r} is a hard link to {member.link!r}, which is not in the archive"
            ) from None
        finally:
            os.close(parent)

    def _node(self, member: tar.Member, path: str, folder: str, name: str) -> None:
        parent = self._place(folder, name, path)
        kind = {tar.CHARACTER: stat.S_IFCHR, tar.BLOCKDEV: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}[member.kind]
        if member.kind == tar.CHARACTER and not member.major and not member.minor:
            raise BadArchive(f"hostile archive: {member.name!r} is a device 0:0, an overlay whiteout in disguise")
        try:
            os.mknod(name, kind | member.mode, os.makedev(member.major, member.minor), dir_fd=parent)
        except PermissionError:
            if self._unprivileged:  # a user has no use for it: the kernel opens no device on such a mount
                return
            raise
        if not self._squash:
            self._give(name, member, parent)
        os.chmod(name, member.mode, dir_fd=parent)
        os.utime(name, ns=(member.mtime, member.mtime), dir_fd=parent)

    def _set_xattrs(self, fd: int, member: tar.Member) -> None:
        for key, value in member.xattrs.items():
            if key.startswith(_FOREIGN_XATTRS):
                continue
            try:
                os.setxattr(fd, key, value)
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise


def unpack_tree(chunks: Iterator[bytes], folder: str) -> None:
    """Unpack a tar, compressed or not, that is no layer: names are taken literally, and none leads out of `folder`.

    Raises:
        BadArchive, StorageFull.
    """
    from podling.storage.decompress import decompressed
    from podling.storage.drivers import CopyWhiteouts

    stream = decompressed(chunks)
    with Extractor(folder, CopyWhiteouts(), literal=True) as extractor:
        extractor.run(tar.Reader(lambda: next(stream, b"")))
