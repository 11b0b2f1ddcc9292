"""`top`: the processes of a container, read from /proc."""

from __future__ import annotations

import os
import time

from podling.core.containers import Container
from podling.errors import InvalidInput, WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = "user,pid,ppid,pcpu,etime,tty,time,args"
_TICKS = os.sysconf("SC_CLK_TCK")


class _Process:
    """One process: /proc/PID/stat and status."""

    def __init__(self, host_pid: int) -> None:
        self.host_pid = host_pid
        with open(f"/proc/{host_pid}/stat", "rb") as file:
            data = file.read()
        name, rest = data[data.index(b"(") + 1 :].rpartition(b")")[::2]
        self.comm = name.decode("utf-8", "replace")
        self.stat = rest.split()
        self.status: dict[str, list[str]] = {}
        with open(f"/proc/{host_pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                self.status[key] = value.split()
        with open(f"/proc/{host_pid}/cmdline", "rb") as file:
            self.args = file.read().rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace") or f"[{self.comm}]"

    @property
    def pid(self) -> int:
        return int(self.status["NSpid"][-1])

    @property
    def cpu_ticks(self) -> int:
        return int(self.stat[11]) + int(self.stat[12])

    @property
    def age_seconds(self) -> float:
        with open("/proc/uptime") as file:
            return max(float(file.read().split()[0]) - int(self.stat[19]) / _TICKS, 0.01)

    @property
    def tty(self) -> str:
        number = int(self.stat[4])
        major = (number >> 8) & 0xFFF
        return "?" if not number else f"pts/{number & 0xFF}" if 136 <= major <= 143 else f"{major}/{number & 0xFF}"


def _span(seconds: float) -> str:
    """As psgo shows it: 1m2.5s."""
    total = int(seconds)
    hours, minutes = total // 3600, total % 3600 // 60
    fraction = f"{seconds - total:.3f}"[1:].rstrip("0").rstrip(".")
    text = f"{total % 60}{fraction}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _columns(users: dict[str, str], parents: dict[int, int]) -> dict[str, tuple[str, Callable[[_Process], str]]]:
    return {
        "user": ("USER", lambda p: users.get(p.status["Uid"][1], p.status["Uid"][1])),
        "ruser": ("RUSER", lambda p: users.get(p.status["Uid"][0], p.status["Uid"][0])),
        "uid": ("UID", lambda p: p.status["Uid"][1]),
        "gid": ("GID", lambda p: p.status["Gid"][1]),
        "huser": ("HUSER", lambda p: p.status["Uid"][1]),
        "pid": ("PID", lambda p: str(p.pid)),
        "hpid": ("HPID", lambda p: str(p.host_pid)),
        "ppid": ("PPID", lambda p: str(parents.get(int(p.stat[1]), 0))),
        "pgid": ("PGID", lambda p: p.status["NSpgid"][-1]),
        "pcpu": ("%CPU", lambda p: f"{p.cpu_ticks / _TICKS / p.age_seconds * 100:.3f}"),
        "etime": ("ELAPSED", lambda p: _span(p.age_seconds)),
        "time": ("TIME", lambda p: _span(p.cpu_ticks / _TICKS)),
        "tty": ("TTY", lambda p: p.tty),
        "args": ("COMMAND", lambda p: p.args),
        "comm": ("COMMAND", lambda p: p.comm),
        "nice": ("NI", lambda p: p.stat[16].decode()),
        "rss": ("RSS", lambda p: p.status.get("VmRSS", ["0"])[0]),
        "vsz": ("VSZ", lambda p: p.status.get("VmSize", ["0"])[0]),
        "state": ("STATE", lambda p: p.stat[0].decode()),
        "seccomp": (
            "SECCOMP",
            lambda p: {"0": "disabled", "1": "strict", "2": "filter"}.get(p.status["Seccomp"][0], "?"),
        ),
        "capeff": ("EFFECTIVE CAPS", lambda p: p.status["CapEff"][0]),
    }


def descriptors() -> list[str]:
    """The column names that `top` takes."""
    return sorted(_columns({}, {}))


def top(container: Container, wanted: list[str]) -> list[list[str]]:
    """A header row and a row per process of the container's pid namespace.

    Raises:
        WrongState: it does not run. InvalidInput: an unknown column.
    """
    if not container.is_alive:
        raise WrongState(
            "top can only be used on running containers: container state improper",
            hint=f"podling start {container.name}",
        )
    names = [name for text in wanted for name in text.split(",") if name] or DEFAULT.split(",")
    users = {
        fields[2]: fields[0]
        for line in _read(f"/proc/{container.pid}/root/etc/passwd").splitlines()
        if len(fields := line.split(":")) > 2
    }
    processes = _processes(container.pid)
    for _ in range(20):  # one that is about to become another program cannot be read
        if processes or not container.is_alive:
            break
        time.sleep(0.005)
        processes = _processes(container.pid)
    columns = _columns(users, {process.host_pid: process.pid for process in processes})
    for name in names:
        if name not in columns:
            raise InvalidInput(f"unknown descriptor {name!r}", hint="`podling top --list-descriptors` lists them")
    rows = [[columns[name][0] for name in names]]
    rows += [[columns[name][1](process) for name in names] for process in processes]
    return rows


def _processes(pid: int) -> list[_Process]:
    space = os.readlink(f"/proc/{pid}/ns/pid")
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.readlink(f"/proc/{name}/ns/pid") == space:
                    found.append(_Process(int(name)))
            except (OSError, ValueError, KeyError):
                continue  # it has ended meanwhile
    return sorted(found, key=lambda process: process.pid)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
