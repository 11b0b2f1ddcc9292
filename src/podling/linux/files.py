"""Whole trees of files. shutil is not used on the start-up path: its import loads every compression module."""

from __future__ import annotations

import errno
import os
import stat

from podling.linux import calls


def remove_tree(path: str, *, dir_fd: int | None = None) -> None:
    """Remove a file or a folder with all below it, never through a link; nothing when it is not there.

    Another process may be removing the same tree. Folders without permission for us are opened up first.

    Raises:
        OSError: EXDEV, something is mounted below it, whose files are not ours to remove.
    """
    try:
        info = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        if not stat.S_ISDIR(info.st_mode):
            os.unlink(path, dir_fd=dir_fd)
            return
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = _open(path, flags, dir_fd)
        except PermissionError:
            os.chmod(path, 0o700, dir_fd=dir_fd)
            fd = _open(path, flags, dir_fd)
    except FileNotFoundError:
        return
    try:
        if info.st_mode & 0o700 != 0o700 and os.geteuid():
            os.fchmod(fd, 0o700)
        with os.scandir(fd) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_folder in names:
            if is_folder:
                remove_tree(name, dir_fd=fd)
            else:
                try:
                    os.unlink(name, dir_fd=fd)
                except FileNotFoundError:
                    pass
    finally:
        os.close(fd)
    try:
        os.rmdir(path, dir_fd=dir_fd)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        remove_tree(path, dir_fd=dir_fd)  # something was made in it meanwhile


def _open(path: str, flags: int, dir_fd: int | None) -> int:
    return os.open(path, flags) if dir_fd is None else calls.open_unmounted(dir_fd, path, flags)
