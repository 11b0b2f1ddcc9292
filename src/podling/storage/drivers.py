"""The two ways to put layers on each other: overlay (native, or fuse-overlayfs) and vfs (copies)."""

from __future__ import annotations

import errno
import os
import stat

from podling.errors import RuntimeFailed, Unsupported
from podling.linux import calls
from podling.linux.files import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from podling.storage.extract import Whiteouts

    class Driver(Protocol):
        name: str
        #: a layer's folder holds only its own changes, so layers can be unpacked side by side
        independent: bool

        @property
        def whiteouts(self) -> Whiteouts: ...

        def prepare(self, folder: str, parent: str | None, *, writable: bool) -> None:
            """Make the empty layer `folder` on top of the layer in `parent`."""

        def mount(self, folder: str, lowers: list[str]) -> str:
            """The path of the root file system of the writable layer `folder`; `lowers` from the top down."""

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

    def __init__(self, program: str = "") -> None:
        self.program = program
        self.whiteouts: Whiteouts = OverlayWhiteouts()

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

    def mount(self, folder: str, lowers: list[str]) -> str:
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
            if self.program:
                self._fuse(target, base, data)
                return target
            data += ",redirect_dir=off,index=off"
            if len(data) < _PAGE:
                break
        else:
            raise Unsupported(f"{len(lowers)} layers are more than this kernel's overlayfs takes in one mount")
        if absolute:
            calls.mount("overlay", target, "overlay", 0, data)
        else:
            _in_folder(base, target, data)
        return target

    def mount_readonly(self, target: str, folders: list[str]) -> None:
        data = f"lowerdir={':'.join(folders)}"
        if self.program:
            self._fuse(target, "/", data)
            return
        if len(data) < _PAGE:
            calls.mount("overlay", target, "overlay", calls.MS_RDONLY, data)
            return
        base = os.path.dirname(os.path.dirname(folders[0]))
        short = ":".join(f"{os.path.basename(os.path.dirname(folder))}/diff" for folder in folders)
        if len(short) > _PAGE:
            raise Unsupported(f"{len(folders)} layers are more than this kernel's overlayfs takes in one mount")
        _in_folder(base, target, f"lowerdir={short}", calls.MS_RDONLY)

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

    def mount(self, folder: str, lowers: list[str]) -> str:
        return f"{folder}/diff"

    def mount_readonly(self, target: str, folders: list[str]) -> None:
        calls.mount(folders[0], target, "", calls.MS_BIND)

    def unmount(self, folder: str) -> None:
        pass

    def root(self, folder: str) -> str:
        return f"{folder}/diff"


def copy_tree(source: str, target: str) -> None:
    """Copy a folder with owners, times, links, attributes and holes; shares blocks where the file system can."""
    code = os.spawnv(os.P_WAIT, "/bin/cp", ["cp", "-a", "--reflink=auto", "--sparse=auto", "-T", source, target])
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
            overlay.mount(f"{trial}/2", [f"{trial}/1"])
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
