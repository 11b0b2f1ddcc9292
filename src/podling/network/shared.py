"""A user's bridges: they are in a network namespace of the user's, which pasta (or slirp4netns) connects to the world.

The namespace is made with the first container on a bridge, and goes with the last one. What is done in it is done by a child of
ours: root of a user namespace cannot come back into the host's network namespace.
"""

from __future__ import annotations

import os

from podling.config.settings import find_program
from podling.errors import PodlingError, ProgramMissing, RuntimeFailed
from podling.linux import calls
from podling.linux.proc import is_alive, start_time
from podling.linux.process import spawn
from podling.network import names, native, netns, places, usermode
from podling.oci import json
from podling.state.locks import Locks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.network.netavark import Attachment
    from podling.state.locks import Lock


def _lock() -> Lock:
    return Locks(places.locks()).hold("shared-network", 0)


def _is_connected(folder: str) -> bool:
    try:
        with open(f"{folder}/alive") as file:
            pid, start = (int(word) for word in file.read().split())
    except (OSError, ValueError):
        return False
    return is_alive(pid, start) and os.path.exists(places.shared_netns())


def ensure() -> None:
    """Make the namespace and connect it, unless that has been done. The caller holds the lock.

    Raises:
        ProgramMissing, RuntimeFailed.
    """
    folder, path = places.shared_folder(), places.shared_netns()
    if _is_connected(folder):
        return
    _end(folder)
    os.makedirs(folder, 0o700, exist_ok=True)
    netns.create(path)
    try:
        find_program("pasta")
        usermode.start_pasta(places.shared_pid_folder(), path, [], []).finish()
        server = usermode.DNS_ADDRESS
    except ProgramMissing:
        server = usermode.start_slirp(places.shared_pid_folder(), path, [], []).dns
    with open(f"{places.shared_pid_folder()}/pasta.pid") as file:
        pid = int(file.read())
    with open(f"{folder}/alive", "w") as file:
        file.write(f"{pid} {start_time(pid)}")
    with open(f"{folder}/resolv.conf", "w") as file:
        file.write(f"nameserver {server}\n")


def _end(folder: str) -> None:
    usermode.stop(places.shared_pid_folder(), places.shared_netns())
    netns.delete(places.shared_netns())
    for path in (f"{folder}/alive", f"{places.shared_pid_folder()}/pasta.pid"):
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


def inside(action: Callable[[], Any]) -> Any:
    """What `action` returns, something that JSON can say, when a child of ours does it in the namespace.

    Raises:
        RuntimeFailed: what it raised there.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        answer: dict[str, Any] = {}
        try:
            enter()
            answer = {"value": action()}
        except PodlingError as error:
            answer = {"error": error.message, "hint": error.hint}
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}", "hint": ""}
        finally:
            try:
                os.write(writer, json.dumps(answer).encode())
            finally:
                os._exit(0)
    os.close(writer)
    data = b""
    while piece := os.read(reader, 65536):
        data += piece
    os.close(reader)
    os.waitpid(child, 0)
    answer = json.loads(data or b"{}")
    if "error" in answer or not answer:
        said = answer.get("error") or "the child died"
        raise RuntimeFailed(f"in the user's network namespace: {said}", hint=answer.get("hint") or "")
    return answer["value"]


def enter() -> None:
    """Be in the namespace for good, where /etc/resolv.conf names a server that is reached from there."""
    fd = os.open(places.shared_netns(), os.O_RDONLY | os.O_CLOEXEC)
    try:
        calls.setns(fd, calls.CLONE_NEWNET)
    finally:
        os.close(fd)
    own = f"{places.shared_folder()}/resolv.conf"
    if os.path.exists(own) and os.path.exists("/etc/resolv.conf"):
        calls.unshare(calls.CLONE_NEWNS)
        calls.mount("", "/", "", calls.MS_REC | calls.MS_PRIVATE)
        calls.mount(own, os.path.realpath("/etc/resolv.conf"), "", calls.MS_BIND)


def setup(runroot: str, attachment: Attachment) -> dict[str, Any]:
    """As `native.setup`, in the user's namespace."""
    with _lock():
        ensure()
        status: dict[str, Any] = inside(lambda: native.setup(runroot, attachment))
    return {**status, "host": names.host_address(), "resolver": usermode.DNS_ADDRESS}


def teardown(runroot: str, attachment: Attachment, *, stays: bool) -> None:
    """As `native.teardown`; the namespace goes when nobody is left in it."""

    def work() -> None:
        native.teardown(runroot, attachment)
        if stays:
            native.detach(attachment)

    with _lock():
        if os.path.exists(places.shared_netns()):
            inside(work)
        else:
            native.teardown(runroot, attachment)
        if not native.anybody():
            _end(places.shared_folder())


def refresh(attachment: Attachment) -> None:
    """As `native.refresh`."""
    with _lock():
        ensure()
        inside(lambda: native.refresh(attachment))


def enter_for_command() -> None:
    """`unshare --rootless-netns`: be in the namespace, which is made if need be."""
    with _lock():
        ensure()
        os.makedirs(_commands(), 0o700, exist_ok=True)
        with open(f"{_commands()}/{os.getpid()}", "w"):
            pass
    enter()


def _commands() -> str:
    """Notes of commands in the namespace, beside those of containers on bridges."""
    return f"{places.members()}/commands"


def leave(pid: int) -> None:
    """The command has ended; the namespace goes when nobody is in it. Notes of commands that were killed go too."""
    with _lock():
        for name in os.listdir(_commands()) if os.path.isdir(_commands()) else ():
            if name == str(pid) or not os.path.exists(f"/proc/{name}"):
                os.unlink(f"{_commands()}/{name}")
        if not native.anybody():
            _end(places.shared_folder())


# -- ports
def forward(folder: str, mappings: list[dict[str, Any]], addresses: list[str], reserved: list[int]) -> None:
    """Start the process that passes a container's published ports on; `reserved` are their sockets, in the order of `mappings`."""
    import sys

    four = next((address for address in addresses if ":" not in address), "")
    six = next((address for address in addresses if ":" in address), "")
    spec = []
    position = 0
    for mapping in mappings:
        if mapping["protocol"] not in ("tcp", "udp"):
            continue
        for offset in range(mapping["range"]):
            target = six if ":" in str(mapping["host_ip"] or "") else four or six
            spec.append(
                [reserved[position], mapping["protocol"], target or six or four, mapping["container_port"] + offset]
            )
            position += 1
    if not spec:
        return
    package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = f"import sys; sys.path.insert(0, {package_root!r}); from podling.network.forward import main; main()"
    argv = [sys.executable, "-I", "-c", code, places.shared_netns(), json.dumps(spec)]
    pid = spawn(argv, keep=reserved, session=True)
    with open(f"{folder}/forward.pid", "w") as file:
        file.write(f"{pid} {start_time(pid)}")


def stop_forwarding(folder: str) -> None:
    """End that process; nothing when there is none."""
    try:
        with open(f"{folder}/forward.pid") as file:
            pid, start = (int(word) for word in file.read().split())
    except (OSError, ValueError):
        return
    if pid > 1 and is_alive(pid, start):
        try:
            os.kill(pid, 15)
        except ProcessLookupError:
            pass
