"""Network namespaces held by a bind mount (ip-netns.8), so that they outlive the process that made them."""

from __future__ import annotations

import os

from podling.config.settings import runtime_folder
from podling.linux import calls
from podling.linux.proc import outer_uid


def _folder() -> str:
    """Root's is where `ip netns` looks; a user's is where AppArmor lets pasta open namespaces."""
    uid = outer_uid()
    return f"{runtime_folder(uid)}/netns" if uid else "/run/netns"


def path_of(container: str) -> str:
    """Where the namespace of a container is held."""
    return f"{_folder()}/podling-{container[:24]}"


def create(path: str) -> None:
    """Make a namespace and hold it at `path`. The calling thread comes back to its own namespace.

    Root of a user namespace may not come back to the host's, so there a child of ours makes it.
    """
    folder = os.path.dirname(path)
    os.makedirs(folder, 0o755, exist_ok=True)
    _share(folder)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    if outer_uid():
        _create_apart(path)
        return
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


def _create_apart(path: str) -> None:
    child = os.fork()
    if not child:
        code = 0
        try:
            calls.unshare(calls.CLONE_NEWNET)
            calls.mount("/proc/thread-self/ns/net", path, "", calls.MS_BIND)
            _loopback_up()
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        delete(path)
        raise OSError(code, f"making a network namespace: {os.strerror(code)}", path)


def hold(path: str, pid: int) -> None:
    """Hold the namespace of a process at `path`."""
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    _share(os.path.dirname(path))
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    calls.mount(f"/proc/{pid}/ns/net", path, "", calls.MS_BIND)


def delete(path: str) -> None:
    """Let go of the namespace; the kernel removes it when its last process has ended."""
    if not os.path.exists(path):
        return
    if os.path.exists(f"{path}.sock"):
        os.unlink(f"{path}.sock")
    calls.umount(path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _share(folder: str) -> None:
    """As `ip netns` does: unmounting in one mount namespace must reach the others. A user has one alone."""
    if outer_uid():
        return
    try:
        calls.mount("", folder, "none", calls.MS_SHARED | calls.MS_REC)
    except OSError:
        calls.mount(folder, folder, "none", calls.MS_BIND | calls.MS_REC)
        calls.mount("", folder, "none", calls.MS_SHARED | calls.MS_REC)


def _loopback_up() -> None:
    from podling.network.rtnetlink import Netlink

    with Netlink() as netlink:
        netlink.set_up(1)  # the first interface of every namespace
