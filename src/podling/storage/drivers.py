"""The two ways to put layers on each other: overlay (native, or fuse-overlayfs) and vfs (copies)."""

from __future__ import annotations

import errno
import os
import stat

from podling.errors import RuntimeFailed, Unsupported
from podling.linux import calls
from podling.linux.files import remove_tree
from podling.linux.proc import in_user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from podling.rootless.subids import Owners
    from podling.storage.extract import Whiteouts

    class Driver(Protocol):
        name: str
        #: a layer's folder holds only its own changes, so layers can be unpacked side by side
        independent: bool

        @property
        def whiteouts(self) -> Whiteouts: ...

        def prepare(self, folder: str, parent: str | None, *, writable: bool) -> None:
            """Make the empty layer `folder` on top of the layer in `parent`."""

        def mount(self, folder: str, lowers: list[str], label: str, *, volatile: bool = False) -> str:
            """The path of the root file system of the writable layer `folder`; `lowers` from the top down. What is written to
            a `volatile` one is not flushed to the disk."""

        def mount_shifted(self, folder: str, lowers: list[str], owners: Owners, label: str) -> str:
            """As `mount`, with the owners of what is in `lowers` mapped.

            Raises:
                Unsupported: the driver, the kernel or the file system cannot do it.
            """

        def mount_readonly(self, target: str, folders: list[str]) -> None:
            """Mount the `diff` folders of several layers, from the top down, on each other."""

        def unmount(self, folder: str) -> None: ...
        def root(self, folder: str) -> str:
            """Where the root file system is while it is mounted."""


_PAGE = 4096


class OverlayWhiteouts:
    """As overlayfs has them (kernel documentation, filesystems/overlayfs): device 0:0 and the opaque attribute."""

    def __init__(self, attribute: str = "trusted.overlay.opaque") -> None:
        self._attribute = attribute

    def hide(self, parent: int, name: str) -> None:
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        except FileExistsError:
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):  # this layer makes the folder anew: only what is below it is hidden
                fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
                self.hide_all(fd)
                os.close(fd)

    def hide_all(self, parent: int) -> None:
        os.setxattr(parent, self._attribute, b"y")


class CopyWhiteouts:
    """The layer's folder holds a copy of what is below, so hidden things are deleted there."""

    def hide(self, parent: int, name: str) -> None:
        remove_tree(name, dir_fd=parent)

    def hide_all(self, parent: int) -> None:
        for name in os.listdir(parent):
            self.hide(parent, name)


class Overlay:
    """overlayfs; `program` is fuse-overlayfs where the kernel refuses the native one."""

    name = "overlay"
    independent = True

    def __init__(self, program: str = "", flags: int = 0, options: str = "") -> None:
        self.program = program
        #: of every mount of a container's root file system
        self._flags, self._options = flags, f",{options}" if options else ""
        #: root of a user namespace may not set trusted attributes: overlayfs reads the user ones instead
        self._unprivileged = in_user_namespace()
        kind = "user" if self._unprivileged else "trusted"
        self.whiteouts: Whiteouts = OverlayWhiteouts(f"{kind}.overlay.opaque")

    def prepare(self, folder: str, parent: str | None, *, writable: bool) -> None:
        os.mkdir(folder, 0o700)
        os.mkdir(f"{folder}/diff", 0o755)
        if writable:
            # overlayfs shows the upper folder's attributes as the root's
            if parent:
                info = os.stat(f"{parent}/diff")
                os.chown(f"{folder}/diff", info.st_uid, info.st_gid)
                os.chmod(f"{folder}/diff", stat.S_IMODE(info.st_mode))
            os.mkdir(f"{folder}/work", 0o700)
            os.mkdir(f"{folder}/merged", 0o700)

    def mount(self, folder: str, lowers: list[str], label: str, *, volatile: bool = False) -> str:
        if volatile and not self.program:
            # the mark of a mount that was not undone, which the kernel refuses to forget
            remove_tree(f"{folder}/work/work/incompat")
            try:
                return self._mount(folder, lowers, label, ",volatile")
            except OSError as error:
                if error.errno != errno.EINVAL:  # a kernel before 5.10
                    raise
        return self._mount(folder, lowers, label, "")

    def _mount(self, folder: str, lowers: list[str], label: str, extra: str) -> str:
        target = f"{folder}/merged"
        base = os.path.dirname(folder)
        for absolute in (True, False):
            names = [f"{lower}/diff" if absolute else f"{os.path.basename(lower)}/diff" for lower in lowers]
            own = folder if absolute else os.path.basename(folder)
            data = f"lowerdir={':'.join(names)},upperdir={own}/diff,workdir={own}/work"
            if not lowers:
                empty = f"{folder}/empty"
                os.makedirs(empty, exist_ok=True)
                data = f"lowerdir={empty if absolute else own + '/empty'},upperdir={own}/diff,workdir={own}/work"
            data += calls.context_option(label) + self._options
            if self.program:
                self._fuse(target, base, data)
                return target
            # userxattr implies no redirects, and conflicts with saying so: "off" means "follow" to some kernels
            data += f"{extra},index=off," + ("userxattr" if self._unprivileged else "redirect_dir=off")
            if len(data) < _PAGE:
                break
        else:
            raise Unsupported(f"{len(lowers)} layers are more than this kernel's overlayfs takes in one mount")
        if absolute:
            calls.mount("overlay", target, "overlay", self._flags, data)
        else:
            _in_folder(base, target, data, self._flags)
        return target

    def mount_shifted(self, folder: str, lowers: list[str], owners: Owners, label: str) -> str:
        if self.program or self._unprivileged:
            raise Unsupported("id-mapped layers need overlayfs, and the host's root")
        own_root(f"{folder}/diff", owners)
        target, shifted = f"{folder}/merged", f"{folder}/shifted"
        os.makedirs(shifted, 0o700, exist_ok=True)
        # a file system of its own, so that the mounts in it go with it
        calls.mount("shifted", shifted, "tmpfs", 0, "mode=700")
        userns = owners.namespace()
        try:
            names = []
            for number, lower in enumerate(lowers):
                os.mkdir(f"{shifted}/{number}")
                calls.bind_shifted(f"{lower}/diff", f"{shifted}/{number}", userns)
                names.append(f"{shifted}/{number}")
            data = f"lowerdir={':'.join(names)},upperdir={folder}/diff,workdir={folder}/work,index=off,redirect_dir=off"
            data += calls.context_option(label) + self._options
            if len(data) >= _PAGE:
                raise Unsupported(f"{len(lowers)} layers are too many for id-mapped mounts")
            calls.mount("overlay", target, "overlay", self._flags, data)
            return target
        except OSError as error:
            raise Unsupported(f"id-mapped layers: {error.strerror}") from None
        finally:
            os.close(userns)
            calls.umount(shifted)  # overlayfs keeps clones of its own
            os.rmdir(shifted)

    def mount_readonly(self, target: str, folders: list[str]) -> None:
        data = f"lowerdir={':'.join(folders)}"
        if self.program:
            self._fuse(target, "/", data)
            return
        extra = ",userxattr" if self._unprivileged else ""
        data += extra
        if len(data) < _PAGE:
            calls.mount("overlay", target, "overlay", calls.MS_RDONLY, data)
            return
        base = os.path.dirname(os.path.dirname(folders[0]))
        short = ":".join(f"{os.path.basename(os.path.dirname(folder))}/diff" for folder in folders)
        if len(short) > _PAGE:
            raise Unsupported(f"{len(folders)} layers are more than this kernel's overlayfs takes in one mount")
        _in_folder(base, target, f"lowerdir={short}{extra}", calls.MS_RDONLY)

    def _fuse(self, target: str, base: str, data: str) -> None:
        code = os.spawnv(
            os.P_WAIT, "/bin/sh", ["sh", "-c", 'cd "$0" && exec "$@"', base, self.program, "-o", data, target]
        )
        if code:
            raise RuntimeFailed(f"{self.program} failed with code {code}", hint="try --storage-driver=vfs")

    def unmount(self, folder: str) -> None:
        calls.umount(f"{folder}/merged")

    def root(self, folder: str) -> str:
        return f"{folder}/merged"


class Vfs:
    """Each layer is a full copy of the one below with its changes; works on any file system, costs its space."""

    name = "vfs"
    independent = False

    def __init__(self) -> None:
        self.whiteouts: Whiteouts = CopyWhiteouts()

    def prepare(self, folder: str, parent: str | None, *, writable: bool) -> None:
        os.mkdir(folder, 0o700)
        if parent is None:
            os.mkdir(f"{folder}/diff", 0o755)
            return
        copy_tree(f"{parent}/diff", f"{folder}/diff")

    def mount(self, folder: str, lowers: list[str], label: str, *, volatile: bool = False) -> str:
        if label:
            from podling.linux import selinux

            selinux.relabel(f"{folder}/diff", label)
        return f"{folder}/diff"

    def mount_shifted(self, folder: str, lowers: list[str], owners: Owners, label: str) -> str:
        mark = f"{folder}/shifted"
        if not os.path.exists(mark):
            shift_tree(f"{folder}/diff", owners)
            with open(mark, "w") as file:
                file.write(owners.key)
        return self.mount(folder, lowers, label)

    def mount_readonly(self, target: str, folders: list[str]) -> None:
        calls.mount(folders[0], target, "", calls.MS_BIND)

    def unmount(self, folder: str) -> None:
        pass

    def root(self, folder: str) -> str:
        return f"{folder}/diff"


def own_root(folder: str, owners: Owners) -> None:
    """Give a container's own layer, which shows as its root folder, to the mapped owner; once."""
    mark = f"{os.path.dirname(folder)}/owned"
    if os.path.exists(mark):
        return
    info = os.stat(folder)
    os.chown(folder, *owners.outward(info.st_uid, info.st_gid))
    os.chmod(folder, stat.S_IMODE(info.st_mode))
    os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def shift_tree(folder: str, owners: Owners) -> None:
    """chown of a whole tree through id maps; set-id bits and file capabilities, which chown drops, are put back."""
    done: set[int] = set()
    for _, folders, files, fd in os.fwalk(folder, follow_symlinks=False):
        for name in (".", *files, *(name for name in folders if stat.S_ISLNK(os.lstat(name, dir_fd=fd).st_mode))):
            info = os.lstat(name, dir_fd=fd)
            if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                if info.st_ino in done:
                    continue
                done.add(info.st_ino)
            path = f"/proc/self/fd/{fd}/{name}"
            try:
                capability = os.getxattr(path, "security.capability", follow_symlinks=False)
            except OSError:
                capability = b""
            os.chown(name, *owners.outward(info.st_uid, info.st_gid), dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISLNK(info.st_mode) and info.st_mode & 0o6000:
                os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=fd)
            if capability:
                os.setxattr(path, "security.capability", capability)


def copy_tree(source: str, target: str) -> None:
    """Copy a folder with owners, times, links, attributes and holes; shares blocks where the file system can."""
    code = os.spawnv(os.P_WAIT, "/bin/cp", ["cp", "-aH", "--reflink=auto", "--sparse=auto", "-T", source, target])
    if code:
        raise RuntimeFailed(f"copying {source} failed with code {code}")


def _in_folder(folder: str, target: str, data: str, flags: int = 0) -> None:
    """mount(2) with paths relative to `folder`, in a child of ours: the working directory belongs to the whole process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        number = 0
        try:
            os.chdir(folder)
            calls.mount("overlay", target, "overlay", flags, data)
        except OSError as error:
            number = error.errno or 255
        finally:
            os.write(writer, bytes([min(number, 255)]))
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    answer = os.read(reader, 1)
    os.close(reader)
    if answer != b"\0":
        number = answer[0] if answer else errno.EIO
        raise OSError(number, f"mount: {os.strerror(number)}", target)


def choose(folder: str, wanted: str, program: str = "") -> Driver:
    """The driver for the store in `folder`: `wanted`, or the best that works there, found out by trying."""
    if wanted == "vfs":
        return Vfs()
    if program:
        return Overlay(program)
    trial = f"{folder}/.trial-{os.getpid()}"
    try:
        os.makedirs(trial)
        overlay = Overlay()
        for name in ("1", "2"):
            overlay.prepare(f"{trial}/{name}", None, writable=True)
        try:
            overlay.mount(f"{trial}/2", [f"{trial}/1"], "")
            overlay.unmount(f"{trial}/2")
            return overlay
        except OSError as error:
            reason = error.strerror
        for path in ("/usr/bin/fuse-overlayfs", "/usr/local/bin/fuse-overlayfs"):
            if os.access(path, os.X_OK) and os.path.exists("/dev/fuse"):
                return Overlay(path)
        if wanted:
            raise Unsupported(
                f"overlay does not work on {folder}: {reason}",
                hint="apt install fuse-overlayfs, or --storage-driver=vfs",
            )
        return Vfs()
    finally:
        remove_tree(trial)
