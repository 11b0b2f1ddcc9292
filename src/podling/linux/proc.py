"""Facts about processes and the host, read from /proc."""

from __future__ import annotations

import os


def boot_id() -> str:
    """The kernel's random id of this boot (random(4))."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


#: set inside the user namespace of `rootless.namespace`, as Podman has it: the uid outside
ROOTLESS_UID = "_CONTAINERS_ROOTLESS_UID"


def outer_uid() -> int:
    """The uid of the person who runs this; inside their user namespace, where they are root, that from outside."""
    uid = os.geteuid()
    text = os.environ.get(ROOTLESS_UID, "")
    return uid or (int(text) if text.isdigit() else 0)


def in_user_namespace() -> bool:
    """Whether our root is not the host's: some things stay forbidden to it whatever capabilities it has."""
    with open("/proc/self/uid_map") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def read_small(path: str) -> bytes:
    """A file of the kernel's, or its first 64 KiB: three system calls instead of the eight of `open` and `read`."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, 1 << 16)
    finally:
        os.close(file)


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat, in clock ticks since boot; 0 when there is no such process or it is a zombie.

    A pid is used again, a pid with its start time is not (proc(5)).
    """
    try:
        fields = read_small(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether the process `pid` that started at tick `started` still runs."""
    return pid > 0 and start_time(pid) == started != 0


def hugetlb_unmounted_hybrid() -> bool:
    """A cgroup v1 host whose v2 mount holds a controller that no v1 mount has: crun refuses it."""
    try:
        with open("/sys/fs/cgroup/unified/cgroup.controllers") as file:
            controllers = file.read().split()
    except OSError:
        return False
    return any(not os.path.isdir(f"/sys/fs/cgroup/{name}") for name in controllers)


def is_mounted(path: str) -> bool:
    """Whether something is mounted at exactly `path`; bind mounts of one file system too, which os.path.ismount cannot see."""
    wanted = path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")
    with open("/proc/self/mountinfo") as file:
        return any(line.split(" ")[4] == wanted for line in file)


def own_cgroup() -> str | None:
    """The path of our cgroup in the one hierarchy of cgroup v2; None on other hosts."""
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return None
    with open("/proc/self/cgroup") as file:
        return file.readline().strip().removeprefix("0::")
