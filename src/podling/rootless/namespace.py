"""Entering the user namespace that all commands of one user share, in this very process.

The first command makes it: `unshare`, then a forked helper outside of it has newuidmap and newgidmap write the maps. A pause process
keeps it, with its mount namespace, which holds the mounts of all containers; later commands join through that.
"""

from __future__ import annotations

import errno
import os

from podling.errors import PodlingError
from podling.linux import calls
from podling.linux.proc import ROOTLESS_UID, is_alive, start_time
from podling.linux.process import spawn
from podling.rootless import subids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.rootless.subids import Map

#: set in the namespace, as Podman has them: programs that we start there, and they us, know who they are outside
_GID, _DONE = "_CONTAINERS_ROOTLESS_GID", "_CONTAINERS_USERNS_CONFIGURED"
MARKS = (ROOTLESS_UID, _GID, _DONE)


class NoNamespace(PodlingError):
    """The kernel or the host's set-up refuses user namespaces to this user."""


def enter(folder: str) -> None:
    """Become root of the caller's user namespace, making it where there is none. `folder`: the user's own, for the pause process.

    Raises:
        NoNamespace: it cannot be made; the hint says what to do.
    """
    uid, gid = os.getuid(), os.getgid()
    here = _working_folder()
    pidfile = f"{folder}/pause.pid"
    if not _join(pidfile):
        import fcntl

        lock = os.open(f"{folder}/pause.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _join(pidfile) and not _join_container(folder, pidfile):
                _make(pidfile)
        finally:
            os.close(lock)
    os.environ[ROOTLESS_UID], os.environ[_GID], os.environ[_DONE] = str(uid), str(gid), "done"
    if here:
        try:
            os.chdir(here)
        except OSError:
            os.chdir("/")


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


# -- joining
def _join(pidfile: str) -> bool:
    try:
        with open(pidfile) as file:
            pid, start = (int(word) for word in file.read().split())
    except (OSError, ValueError):
        return False
    if not is_alive(pid, start):
        return False
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        calls.setns(fd, calls.CLONE_NEWUSER | calls.CLONE_NEWNS)
        return True
    except OSError as error:
        raise _refused("joining the user namespace", error) from None
    finally:
        os.close(fd)


def _join_container(folder: str, pidfile: str) -> bool:
    """The pause process was killed: containers that run still keep the namespace, through their conmons. Start another one there."""
    import glob

    for path in glob.glob(f"{folder}/run/containers/*/conmon.pid"):
        try:
            with open(path) as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as command:
                if b"conmon" not in command.read():
                    continue
            fd = os.pidfd_open(pid)
        except (OSError, ValueError):
            continue
        try:
            calls.setns(fd, calls.CLONE_NEWUSER | calls.CLONE_NEWNS)
        except OSError:
            continue
        finally:
            os.close(fd)
        _pause(pidfile)
        return True
    return False


def end(folder: str) -> None:
    """End the pause process: the next command makes the namespace anew."""
    try:
        with open(f"{folder}/pause.pid") as file:
            pid, start = (int(word) for word in file.read().split())
        if is_alive(pid, start):
            os.kill(pid, 9)
        os.unlink(f"{folder}/pause.pid")
    except (OSError, ValueError):
        pass


def _refused(what: str, error: OSError) -> NoNamespace:
    if error.errno == errno.EINVAL:
        return NoNamespace(
            f"{what}: this process has several threads",
            hint="call podling.open() before threads are started, or use the command line or a service",
        )
    if error.errno == errno.ENOSPC:
        return NoNamespace(f"{what}: no more namespaces", hint="sudo sysctl user.max_user_namespaces=28633")
    return NoNamespace(f"{what}: {error.strerror}", hint=advice())


def advice() -> str:
    """What an administrator has to change so that unprivileged user namespaces work."""
    for name, bad in (
        ("kernel.unprivileged_userns_clone", "0"),
        ("user.max_user_namespaces", "0"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1"),
    ):
        try:
            with open("/proc/sys/" + name.replace(".", "/")) as file:
                if file.read().strip() == bad:
                    return f"sudo sysctl {name}={'28633' if 'max' in name else '1' if bad == '0' else '0'}"
        except OSError:
            continue
    return "this host, or the container it is, forbids user namespaces; run as root, or ask its administrator"


# -- making
def _make(pidfile: str) -> None:
    uid, gid = os.getuid(), os.getgid()
    maps = granted(uid, gid)
    reader, writer = os.pipe()
    answer_reader, answer_writer = os.pipe()
    us = os.getpid()
    helper = os.fork()
    if not helper:
        _help(us, maps, reader, writer, answer_writer)
    os.close(reader)
    os.close(answer_writer)
    try:
        calls.unshare(calls.CLONE_NEWUSER | calls.CLONE_NEWNS)
    except OSError as error:
        os.close(writer)
        os.waitpid(helper, 0)
        raise _refused("making a user namespace", error) from None
    os.write(writer, b"x")
    os.close(writer)
    answer = os.read(answer_reader, 4000).decode("utf-8", "replace")
    os.close(answer_reader)
    os.waitpid(helper, 0)
    if answer != "ok":
        raise NoNamespace(
            f"the ids could not be mapped: {answer}",
            hint="the ids must be this user's in /etc/subuid and /etc/subgid, and newuidmap set-uid root: "
            "sudo apt install --reinstall uidmap",
        )
    try:
        calls.mount("", "/", "none", calls.MS_REC | calls.MS_SLAVE)
    except OSError as error:  # AppArmor takes a namespace's capabilities away
        raise _refused("using the user namespace", error) from None
    _pause(pidfile)


def granted(uid: int, gid: int) -> tuple[Map, Map]:
    """The maps of the user's namespace; of the own ids alone where no others are granted, with newuidmap missing too."""
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    users, groups = subids.ranges("uid", name, str(uid)), subids.ranges("gid", name, str(uid))
    if not users or not groups or not _mappers():
        users = groups = []
    return subids.stacked(uid, users), subids.stacked(gid, groups)


def _mappers() -> bool:
    return os.access("/usr/bin/newuidmap", os.X_OK) and os.access("/usr/bin/newgidmap", os.X_OK)


def grant_command(uid: int, count: int = 65536) -> str:
    """What gives a user subordinate ids, as a hint: the command, with ids that nobody has."""
    import pwd

    if not _mappers():
        return "sudo apt install uidmap"
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    count = max(count, 65536)
    first = 100000
    for start, size in sorted(_granted_to_anybody()):
        if first + count <= start:
            break
        first = max(first, start + size)
    last = first + count - 1
    return f"sudo usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {name}, then podling system migrate"


def _granted_to_anybody() -> list[tuple[int, int]]:
    found = []
    for kind in ("uid", "gid"):
        try:
            with open(f"/etc/sub{kind}") as file:
                for line in file:
                    parts = line.strip().split(":")
                    if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
                        found.append((int(parts[1]), int(parts[2])))
        except OSError:
            continue
    return found


def _help(target: int, maps: tuple[Map, Map], reader: int, writer: int, answer: int) -> None:
    """In the helper: when the namespace is there, write its maps. Never returns."""
    text = "ok"
    try:
        os.close(writer)
        if os.read(reader, 1):
            users, groups = maps
            if subids.size(users) == 1:
                for name, content in (("setgroups", "deny"), ("uid_map", _lines(users)), ("gid_map", _lines(groups))):
                    with open(f"/proc/{target}/{name}", "w") as file:
                        file.write(content)
            else:
                for program, entries in (("newuidmap", users), ("newgidmap", groups)):
                    words = [str(number) for entry in entries for number in entry]
                    text = _run([f"/usr/bin/{program}", str(target), *words]) or text
    except BaseException as error:
        text = str(error)
    finally:
        os.write(answer, text.encode()[:4000])
        os._exit(0)


def _lines(maps: Map) -> str:
    return "".join(f"{a} {b} {c}\n" for a, b, c in maps)


def _run(argv: list[str]) -> str:
    """What a program complained of; "" when it succeeded."""
    from podling.linux.process import run

    outcome = run(argv)
    return outcome.message if outcome.code else ""


def _pause(pidfile: str) -> None:
    """Start the process that keeps the namespace, and note who it is."""
    from podling.config.settings import find_program

    try:
        argv = [find_program("catatonit"), "-P"]
    except PodlingError:
        argv = [find_program("sleep"), "infinity"]
    pid = spawn(argv, env={"PATH": "/usr/bin:/bin"}, session=True, folder="/")
    with open(pidfile + ".new", "w") as file:
        file.write(f"{pid} {start_time(pid)}")
    os.rename(pidfile + ".new", pidfile)


# -- who we are
def group() -> int:
    """The gid outside of the user namespace that we are root of."""
    text = os.environ.get(_GID, "")
    return int(text) if text.isdigit() else 0
