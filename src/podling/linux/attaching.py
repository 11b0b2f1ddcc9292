"""Spare a runtime the wait for the kernel when it moves a container's first process into its cgroup.

The first write to a `cgroup.procs` after a while waits for an RCU grace period, some 10 ms in which nothing happens
(`cgroup_threadgroup_rwsem`); further ones within the next grace period do not. So while the interpreter still reads what it needs,
a thread makes that first write: our own process into the cgroup in which it is anyway, again and again until the container's process
is where it belongs.
"""

from __future__ import annotations

import os
from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType

_PAUSE = 0.004  # below the length of a grace period


_TIMES = 50


class Ready:
    """`with Ready():` around the runtime's `create`. Where we may not write there, or there are no cgroups, nothing happens; nor with
    `here` false: when this process is about to go into another cgroup itself."""

    def __init__(self, *, here: bool = True) -> None:
        self._here = here

    def __enter__(self) -> Ready:
        self._over = allocate_lock()
        self._over.acquire()
        if self._here:
            _begin(self._over, _TIMES)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.release()


def ready_soon() -> None:
    """For the runtime's `exec`, of which nobody knows when it has moved its process: it is about to."""
    over = allocate_lock()
    over.acquire()
    _begin(over, _TIMES // 4)


def _begin(over: LockType, times: int) -> None:
    if not os.geteuid():
        try:
            start_new_thread(_hold, (over, times))
        except RuntimeError:  # no more threads: it takes as long as it takes
            pass


def _hold(over: LockType, times: int) -> None:
    try:
        file = os.open(_own_list(), os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for _ in range(times):
            os.write(file, b"0")
            if over.acquire(timeout=_PAUSE):
                return
    except OSError:
        return
    finally:
        os.close(file)


def _own_list() -> str:
    """`cgroup.procs` of our own cgroup, in any hierarchy."""
    with open("/proc/self/cgroup") as file:
        for line in file:
            _, names, path = line.strip().split(":", 2)
            for folder in (names.removeprefix("name="), "unified", "") if names else ("", "unified"):
                found = f"/sys/fs/cgroup/{folder}{path}/cgroup.procs"
                if os.path.exists(found):
                    return found
    raise FileNotFoundError
