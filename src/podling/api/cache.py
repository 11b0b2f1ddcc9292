"""Lists that many clients ask for again and again: kept for as long as nothing has changed.

An answer holds while the database's change counter stands still, the processes of the containers in it live (their pidfds tell, before
anybody has written it down), and for a second at most, for it says `Up 5 seconds`.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SECONDS = 1.0
#: answers kept at most, and processes watched at most
_ANSWERS, _PROCESSES = 64, 1000


class Answers:
    """Bodies by what was asked for."""

    def __init__(self, counter: Callable[[], int]) -> None:
        self._counter = counter
        self._mark = -1
        self._until = 0.0
        self._bodies: dict[str, bytes] = {}
        self._watched: dict[int, int] = {}

    def get(self, key: str) -> bytes | None:
        """The body, where it still holds."""
        if time.monotonic() > self._until or self._counter() != self._mark:
            self.forget()
            return None
        return self._bodies.get(key)

    def mark(self) -> int:
        """Take this before the list is read, and give it to `put`."""
        return self._counter()

    def put(self, key: str, body: bytes, pids: Iterable[int], mark: int) -> None:
        """Keep a body that was made of what stood at `mark`, about containers with these processes."""
        if mark != self._counter() or len(self._bodies) >= _ANSWERS:
            return
        if mark != self._mark or not self._bodies:
            self.forget()
            self._mark, self._until = mark, time.monotonic() + _SECONDS
        wanted = set(pids) - self._watched.keys()
        if len(self._watched) + len(wanted) > _PROCESSES:
            return
        loop = asyncio.get_running_loop()
        for pid in wanted:
            try:
                fd = os.pidfd_open(pid)
            except OSError:  # it has just ended
                self.forget()
                return
            self._watched[pid] = fd
            loop.add_reader(fd, self.forget)
        self._bodies[key] = body

    def forget(self) -> None:
        self._bodies.clear()
        self._mark = -1
        if self._watched:
            loop = asyncio.get_running_loop()
            for fd in self._watched.values():
                loop.remove_reader(fd)
                os.close(fd)
            self._watched.clear()
