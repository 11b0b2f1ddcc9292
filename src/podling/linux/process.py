"""The one gateway to external programs that are waited for: stderr kept, a failure replayable by hand."""

from __future__ import annotations

import os
from _thread import get_ident

from podling.errors import ProgramMissing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


#: SIGPIPE and SIGXFSZ, which the interpreter ignores; nobody who inherits that expects it
_IGNORED = (13, 25)

_guards: dict[int, list[int]] = {}


def guard(fd: int) -> None:
    """Let the programs that this thread runs to their end hold the lock behind `fd` too, until `unguard`.

    When we are killed while such a program works, the lock is free only after it has ended, so that whoever cleans up after
    us does not meet it half-way.
    """
    _guards.setdefault(get_ident(), []).append(fd)


def unguard(fd: int) -> None:
    for held in _guards.values():
        if fd in held:
            held.remove(fd)


def adopt(fds: list[int]) -> None:
    """Have the programs that this thread runs hold another thread's locks too."""
    _guards[get_ident()] = list(fds)


def guards() -> list[int]:
    """The lock descriptors of this thread."""
    return list(_guards.get(get_ident(), ()))


class Outcome:
    """What a program left: exit code (negative for a signal) and the output that was captured."""

    __slots__ = ("argv", "code", "stderr", "stdout")

    def __init__(self, argv: Sequence[str], code: int, stdout: bytes, stderr: bytes) -> None:
        self.argv, self.code, self.stdout, self.stderr = argv, code, stdout, stderr

    @property
    def message(self) -> str:
        """The last line of stderr, or what the code says."""
        lines = self.stderr.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.code}"


def spawn(
    argv: Sequence[str],
    *,
    stdin: int = -1,
    stdout: int = -1,
    stderr: int = -1,
    env: Mapping[str, str] | None = None,
    keep: Sequence[int] = (),
    place: Mapping[int, int] | None = None,
    session: bool = False,
    folder: str = "",
) -> int:
    """Start a program through posix_spawn; its pid. A descriptor of -1 is /dev/null; `keep` stay open under their numbers, those
    in `place` under others: number there to descriptor here. It may lead a `session` of its own, and work in `folder`.

    Nothing is made inheritable in this process, so that a program which another thread starts at the same time gets none of it.
    """
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        actions: list[tuple[int, ...]] = [
            (os.POSIX_SPAWN_DUP2, null if fd < 0 else fd, number) for number, fd in enumerate((stdin, stdout, stderr))
        ]
        actions += [
            (os.POSIX_SPAWN_DUP2, fd, fd) for fd in keep
        ]  # onto itself: clears close-on-exec in the child alone
        if place:  # out of the way first: one may lie where another is to go
            highest = max(*place.values(), *place, 100) + 1
            for step, fd in enumerate(place.values()):
                actions.append((os.POSIX_SPAWN_DUP2, fd, highest + step))
            for step, number in enumerate(place):
                actions.append((os.POSIX_SPAWN_DUP2, highest + step, number))
                actions.append((os.POSIX_SPAWN_CLOSE, highest + step))
        words = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', folder, *argv] if folder else list(argv)
        return os.posix_spawn(
            words[0],
            words,
            os.environ if env is None else env,
            file_actions=actions,
            setsid=session,
            setsigdef=_IGNORED,
        )
    except FileNotFoundError:
        raise ProgramMissing(f"{argv[0]}: no such program") from None
    finally:
        os.close(null)


#: holds what it inherits while the program runs, which itself gets none of it
_HOLDER = '"$@" 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-'


def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    capture: bool = False,
    env: Mapping[str, str] | None = None,
    leaves_daemon: bool = False,
) -> Outcome:
    """Run a program to its end. stderr, and stdout with `capture`, go to memory files: no pipe can fill up.

    Of one that `leaves_daemon` behind, which would keep our locks for ever, a shell around it holds them.
    """
    err = os.memfd_create("stderr", os.MFD_CLOEXEC)
    out = os.memfd_create("stdout", os.MFD_CLOEXEC) if capture else -1
    feed = -1
    try:
        if stdin:
            feed = os.memfd_create("stdin", os.MFD_CLOEXEC)
            os.write(feed, stdin)
            os.lseek(feed, 0, os.SEEK_SET)
        if leaves_daemon:
            held = dict(zip(range(3, 10), guards(), strict=False))
            wrapped = ["/bin/sh", "-c", _HOLDER, "sh", *argv]
            pid = spawn(wrapped, stdin=feed, stdout=out, stderr=err, env=env, place=held)
        else:
            pid = spawn(argv, stdin=feed, stdout=out, stderr=err, env=env, keep=guards())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return Outcome(argv, code, _content(out) if capture else b"", _content(err))
    finally:
        for fd in (err, out, feed):
            if fd >= 0:
                os.close(fd)


class Running:
    """A program that was started and is waited for later; its stderr is kept. `leaves_daemon` as with `run`."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = argv
        self._err = os.memfd_create("stderr", os.MFD_CLOEXEC)
        held = dict(zip(range(3, 10), guards(), strict=False))
        self._pid = spawn(["/bin/sh", "-c", _HOLDER, "sh", *argv], stderr=self._err, place=held)

    def wait(self) -> Outcome:
        """Its outcome, once."""
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        try:
            return Outcome(self._argv, code, b"", _content(self._err))
        finally:
            os.close(self._err)


def _content(fd: int) -> bytes:
    os.lseek(fd, 0, os.SEEK_SET)
    parts = []
    while piece := os.read(fd, 1 << 20):
        parts.append(piece)
    return b"".join(parts)
