"""Our own terminal while it is joined to a container's: raw mode, and its size passed on."""

from __future__ import annotations

import os
import termios
import tty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any


class RawTerminal:
    """Raw mode for the `with` block when `fd` is a terminal; the old mode comes back whatever happens."""

    def __init__(self, fd: int) -> None:
        self._fd = fd if fd >= 0 and os.isatty(fd) else -1
        self._saved: Any = None

    def __enter__(self) -> RawTerminal:
        if self._fd >= 0:
            self._saved = termios.tcgetattr(self._fd)
            tty.setraw(self._fd, termios.TCSANOW)  # what was typed ahead is kept
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)


def size(*fds: int) -> tuple[int, int] | None:
    """(rows, columns) of the first of `fds` that is a terminal."""
    for fd in fds:
        if fd >= 0:
            try:
                columns, rows = os.get_terminal_size(fd)
                return rows, columns
            except OSError:
                continue
    return None
