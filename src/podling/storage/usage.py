"""How much space a folder takes."""

from __future__ import annotations

import os


def folder_size(folder: str) -> int:
    """Bytes of the regular files below `folder`; a file with several links counts once."""
    total, seen = 0, set()
    stack = [folder]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    elif entry.is_file(follow_symlinks=False) and (info.st_nlink == 1 or info.st_ino not in seen):
                        seen.add(info.st_ino)
                        total += info.st_size
        except OSError:
            continue  # it changes while we look
    return total
