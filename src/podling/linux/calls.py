"""System calls through ctypes: mount, umount2, openat2, unshare, setns, and a forked helper for them."""

from __future__ import annotations

import ctypes
import errno
import os

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

_OPEN_TREE_CLONE = 1
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_IDMAP = 0x00100000
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10
_SYS_OPENAT2 = 437

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def _failed(call: str, path: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}", path)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    if _libc.mount(os.fsencode(source), os.fsencode(target), kind.encode() or None, flags, os.fsencode(data) or None):
        raise _failed("mount", target)


def context_option(label: str) -> str:
    """For the data of `mount`: every file has this SELinux label, "" for its own. With the comma before it."""
    return f',context="{label}"' if label else ""


#: f_type of file systems that other hosts may have mounted too (statfs(2)), and of FUSE, behind which may be anything
_REMOTE = frozenset(
    (0x6969, 0xFF534D42, 0xFE534D42, 0x517B, 0x01021997, 0x5346414F, 0x00C36400, 0x0BD00BD0, 0x47504653, 0x65735546)
)


def is_remote(path: str) -> bool:
    """Whether a folder is on a network file system, as far as can be told."""
    record = ctypes.create_string_buffer(256)
    if _libc.statfs(os.fsencode(path or "."), record):
        return False
    return ctypes.c_ulong.from_buffer(record).value & 0xFFFFFFFF in _REMOTE


def umount(target: str, *, detach: bool = True) -> bool:
    """umount2(2); False when nothing is mounted there."""
    if _libc.umount2(os.fsencode(target), MNT_DETACH if detach else 0) == 0:
        return True
    if ctypes.get_errno() in (2, 22):  # ENOENT, EINVAL: not a mount point
        return False
    raise _failed("umount", target)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """openat2(2) with RESOLVE_IN_ROOT: `path`'s links and `..` never lead out of the folder `root_fd`."""
    return _openat2(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def open_unmounted(folder_fd: int, name: str, flags: int) -> int:
    """Open a file of a folder unless something is mounted there: EXDEV then."""
    try:
        return _openat2(folder_fd, name, flags, 0, RESOLVE_NO_XDEV)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
    return os.open(name, flags | os.O_CLOEXEC, dir_fd=folder_fd)  # a kernel before 5.6


def _openat2(root_fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    while True:
        fd: int = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(root_fd),
            ctypes.c_char_p(os.fsencode(path)),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if fd >= 0:
            return fd
        if ctypes.get_errno() not in (4, 11):  # EINTR; EAGAIN: a rename raced with the walk
            raise _failed("openat2", path)


def unshare(flags: int) -> None:
    """unshare(2) for the calling thread."""
    if _libc.unshare(flags):
        raise _failed("unshare", hex(flags))


def setns(fd: int, kind: int) -> None:
    """setns(2) for the calling thread."""
    if _libc.setns(fd, kind):
        raise _failed("setns", str(fd))


def sync_file_system(fd: int) -> None:
    """syncfs(2): all that was written to the file system of `fd` is on its disk when this returns."""
    if _libc.syncfs(fd):
        raise _failed("syncfs", str(fd))


class _MountAttr(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns_fd"))


def bind_shifted(source: str, target: str, userns_fd: int, *, recursive: bool = False) -> None:
    """Bind `source` to `target` as an id-mapped mount (mount_setattr(2)): owners appear as the user namespace maps them.

    Raises:
        OSError: the kernel or the file system of `source` has no such mounts.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    tree = _libc.syscall(
        ctypes.c_long(_SYS_OPEN_TREE), ctypes.c_int(-100), ctypes.c_char_p(os.fsencode(source)), ctypes.c_uint(flags)
    )
    if tree < 0:
        raise _failed("open_tree", source)
    try:
        attributes = _MountAttr(set=_MOUNT_ATTR_IDMAP, userns_fd=userns_fd)
        if _libc.syscall(
            ctypes.c_long(_SYS_MOUNT_SETATTR), ctypes.c_int(tree), ctypes.c_char_p(b""),
            ctypes.c_uint(_AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)), ctypes.byref(attributes),
            ctypes.c_size_t(ctypes.sizeof(attributes)),
        ):  # fmt: skip
            raise _failed("mount_setattr", source)
        if _libc.syscall(
            ctypes.c_long(_SYS_MOVE_MOUNT), ctypes.c_int(tree), ctypes.c_char_p(b""), ctypes.c_int(-100),
            ctypes.c_char_p(os.fsencode(target)), ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
        ):  # fmt: skip
            raise _failed("move_mount", target)
    finally:
        os.close(tree)
