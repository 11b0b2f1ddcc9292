"""Limits of a folder's size by project quotas (quotactl(2), ioctl_xfs_fsgetxattr(2)): XFS with `prjquota`, ext4 with the feature
`project` and the mount option `prjquota`.

A folder's project is the number of its inode, which no other folder of the file system has.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from podling.errors import Unsupported

_FSGETXATTR, _FSSETXATTR = 0x801C581F, 0x401C5820
_ATTRIBUTES = struct.Struct("=IIIII8x")  # flags, extent size, extents, project, copy-on-write extent size
_INHERIT = 0x200
_QUOTACTL_FD = 443
_SETQUOTA, _PROJECT, _LIMITS = 0x800008, 2, 5
_QUOTA = struct.Struct(
    "=8QI4x"
)  # bytes: hard (KiB), soft, used; files: hard, soft, used; two times; which fields count


def limit(folder: str, size: int, inodes: int) -> None:
    """Let what is made in `folder`, in which there is nothing but empty folders, have at most so many bytes and files; 0: any number.

    Raises:
        Unsupported: the file system keeps no such quotas.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        project = _project(fd)
        _join(fd, project)
        for name in os.listdir(fd):
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            try:
                _join(inner, project)
            finally:
                os.close(inner)
        _set(fd, project, size, inodes)
    except OSError as error:
        raise Unsupported(
            f"{folder}: sizes cannot be limited here: {error.strerror}",
            hint="mount an XFS with -o prjquota, or an ext4 made with -O quota,project, there",
        ) from None
    finally:
        os.close(fd)


def forget(folder: str) -> None:
    """The limits of a folder that is about to be removed; nothing where it has none."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if _ATTRIBUTES.unpack(fcntl.ioctl(fd, _FSGETXATTR, bytes(_ATTRIBUTES.size)))[3] == _project(fd):
            _set(fd, _project(fd), 0, 0)
    except OSError:
        pass
    finally:
        os.close(fd)


def _join(fd: int, project: int) -> None:
    """Count a folder, and what will be made in it, to a project."""
    flags, extent, extents, _, cow = _ATTRIBUTES.unpack(fcntl.ioctl(fd, _FSGETXATTR, bytes(_ATTRIBUTES.size)))
    fcntl.ioctl(fd, _FSSETXATTR, _ATTRIBUTES.pack(flags | _INHERIT, extent, extents, project, cow))


def _project(fd: int) -> int:
    return os.fstat(fd).st_ino & 0xFFFFFFFF or 1


def _set(fd: int, project: int, size: int, inodes: int) -> None:
    blocks = -(-size // 1024)
    record = _QUOTA.pack(blocks, blocks, 0, inodes, inodes, 0, 0, 0, _LIMITS)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_QUOTACTL_FD, fd, _SETQUOTA << 8 | _PROJECT, project, record):
        number = ctypes.get_errno()
        raise OSError(number, "no project quotas" if number in (errno.ESRCH, errno.ENOSYS) else os.strerror(number))
