"""Network namespaces held by a bind mount (ip-netns.8), so that they outlive the process that made them."""

from __future__ import annotations

import os

from podling.linux import calls

FOLDER = "/run/netns"


def path_of(container: str) -> str:
    return f"{FOLDER}/podling-{container[:24]}"


def create(path: str) -> None:
    """Make a namespace and hold it at `path`. The calling thread comes back to its own namespace."""
    os.makedirs(FOLDER, 0o755, exist_ok=True)
    _shared_folder()
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        calls.unshare(calls.CLONE_NEWNET)
        try:
            calls.mount("/proc/thread-self/ns/net", path, "", calls.MS_BIND)
            _loopback_up()
        finally:
            calls.setns(home, calls.CLONE_NEWNET)
    except BaseException:
        delete(path)
        raise
    finally:
        os.close(home)


def delete(path: str) -> None:
    """Let go of the namespace; the kernel removes it when its last process has ended."""
    if not os.path.exists(path):
        return
    calls.umount(path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _shared_folder() -> None:
    """As `ip netns` does: unmounting in one mount namespace must reach the others."""
    try:
        calls.mount("", FOLDER, "none", calls.MS_SHARED | calls.MS_REC)
    except OSError:
        calls.mount(FOLDER, FOLDER, "none", calls.MS_BIND | calls.MS_REC)
        calls.mount("", FOLDER, "none", calls.MS_SHARED | calls.MS_REC)


def _loopback_up() -> None:
    import fcntl
    import socket
    import struct

    siocgifflags, siocsifflags, iff_up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, siocgifflags, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack("16sh14x", answer)[1]
        fcntl.ioctl(sock, siocsifflags, struct.pack("16sh14x", b"lo", flags | iff_up))
