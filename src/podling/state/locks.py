"""Locks that the kernel holds: byte ranges of one file per kind, taken as open-file-description locks (fcntl(2)).

The range is the object's key, so there is no pool to exhaust and nothing to clean up; a killed process frees its locks
with its last descriptor. A descriptor is opened per hold, so threads exclude each other too. Order: pod, container, volume;
`chain` (one layer being fetched) and `intent` stand alone.
"""

from __future__ import annotations

import fcntl
import os
import struct

from podling.linux.process import guard, unguard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

# struct flock on 64-bit Linux: type, whence, start, length, pid (must be 0 for OFD locks)
_FLOCK = "hhqqi4x"


class Locks:
    """The lock files in `folder`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def hold(self, kind: str, key: int, *, shared: bool = False) -> Lock:
        """Wait for the lock and hold it until the `with` block or `release()`."""
        lock = self.attempt(kind, key, shared=shared, wait=True)
        assert lock is not None
        return lock

    def attempt(self, kind: str, key: int, *, shared: bool = False, wait: bool = False) -> Lock | None:
        """The lock, or None when another holds it."""
        path = os.path.join(self.folder, kind)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        request = struct.pack(_FLOCK, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, os.SEEK_SET, key, 1, 0)
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, request)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        return Lock(fd)


class Lock:
    """A held lock; released at most once."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        guard(fd)

    def release(self) -> None:
        if self._fd >= 0:
            unguard(self._fd)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
