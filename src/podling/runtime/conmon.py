"""conmon: the small C program that stays with a container, holds its terminal, writes its log and its exit code.

Protocol (conmon.8 and Podman's use of it): arguments; `_OCI_SYNCPIPE`, where it writes {"data": PID, "message": …};
`_OCI_ATTACHPIPE`, where an exec session waits for us to attach; `attach`, a SEQPACKET socket in the bundle; `ctl`, a fifo that
takes resize commands; the exit file, written and renamed when the container has ended.
"""

from __future__ import annotations

import os
import time

from podling.config import containers
from podling.config.settings import Settings, find_program
from podling.errors import RuntimeFailed, Unsupported
from podling.linux.proc import is_alive
from podling.linux.process import spawn
from podling.runtime.oci_runtime import OCIRuntime, failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.runtime.config import ContainerConfig

_CREATE_SECONDS = 120
_GRACE_SECONDS = 0.5
_SPAWN_SECONDS = 0.5
_PASSED_ENV = frozenset(
    ("PATH", "HOME", "LANG", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS")
)

#: Waits until nobody attends to the container, then cleans up unless that has been done. $0: lock file, $1: marker.
#: The one who waits for a container cleans up itself, so a second interpreter starts only when there is no first one.
_EXIT_SCRIPT = 'exec 9<"$0" || exit 0; flock 9; [ -e "$1" ] || exit 0; exec 9<&-; shift; exec "$@"'


class Bundle:
    """The folder of one started container: <runroot>/containers/<id>/."""

    def __init__(self, settings: Settings, container: str) -> None:
        self.folder = f"{settings.runroot}/containers/{container}"
        self.exit_file = f"{settings.tmpdir}/exits/{container}"
        self.exit_folder = f"{settings.tmpdir}/exits"
        self.config = f"{self.folder}/config.json"
        self.pidfile = f"{self.folder}/pidfile"
        self.conmon_pidfile = f"{self.folder}/conmon.pid"
        self.log = f"{self.folder}/oci-log"
        #: where conmon notes that the kernel killed for want of memory: a file `oom`
        self.persist = f"{self.folder}/persist"
        #: locked, shared, by every process that will clean up after the container itself
        self.attend = f"{self.folder}/attend"
        #: exists while clean-up is still to be done
        self.marker = f"{self.folder}/started"

    def make(self) -> None:
        try:
            os.mkdir(self.folder, 0o700)
        except FileNotFoundError:
            os.makedirs(self.folder, 0o700)
        except FileExistsError:
            pass
        os.makedirs(self.exit_folder, 0o700, exist_ok=True)
        for stale in (self.exit_file, f"{self.folder}/attach", f"{self.folder}/ctl", f"{self.folder}/winsz"):
            try:
                os.unlink(stale)
            except FileNotFoundError:
                pass
        os.makedirs(self.persist, 0o700, exist_ok=True)
        for path in (self.attend, self.marker):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def attended(self) -> int:
        """A descriptor that holds `attend` shared until it is closed; -1 when the bundle is gone."""
        import fcntl

        try:
            fd = os.open(self.attend, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1
        fcntl.flock(fd, fcntl.LOCK_SH)
        return fd


def exit_code(path: str) -> tuple[int, int] | None:
    """(exit code, time of the end in ns) from an exit file; None while there is none."""
    try:
        with open(path) as file:
            return int(file.read()), os.fstat(file.fileno()).st_mtime_ns
    except (FileNotFoundError, ValueError):
        return None


def wait_for_exit_file(path: str, writer: int, writer_start: int, seconds: float = 5.0) -> tuple[int, int] | None:
    """The exit file's content, which conmon writes a moment after the process has died; None when none comes.

    `writer` is conmon's pid: once it has died too, only a short grace is left.
    """
    deadline = time.monotonic() + seconds
    pause = 0.0004
    while True:
        found = exit_code(path)
        if found:
            return found
        if not is_alive(writer, writer_start):
            deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
        if time.monotonic() > deadline:
            return exit_code(path)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)


def await_create(bundle: Bundle) -> None:
    """Wait until a conmon whose starter was killed has had its container created, or has ended.

    The runtime cannot delete what it is about to create: it would say "does not exist", and the container would come into
    being after its row has gone.
    """
    if not os.path.exists(bundle.config):  # written just before conmon is started
        return
    begin = time.monotonic()
    while time.monotonic() < begin + _CREATE_SECONDS:
        try:
            with open(bundle.conmon_pidfile) as file:
                pid = int(file.read() or 0)
        except FileNotFoundError:
            pid = 0
        if not pid:
            if time.monotonic() > begin + _SPAWN_SECONDS:  # it was never started
                return
        elif os.path.exists(bundle.pidfile) or not _is_conmon_of(pid, bundle):
            return
        time.sleep(0.005)


def _is_conmon_of(pid: int, bundle: Bundle) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsencode(bundle.folder) in file.read()
    except OSError:
        return False


def own_command(settings: Settings, *words: str) -> list[str]:
    """The command line that runs another podling on the same stores."""
    import sys

    package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = f"import sys; sys.path.insert(0, {package_root!r}); from podling.cli.main import main; main()"
    return [sys.executable, "-I", "-c", code, *settings.arguments(), *words]


def exit_command(settings: Settings, bundle: Bundle, container: str) -> list[str]:
    """What conmon runs when the container has ended."""
    clean_up = own_command(settings, "container", "cleanup", container)
    return ["/bin/sh", "-c", _EXIT_SCRIPT, bundle.attend, bundle.marker, *clean_up]


def _environment() -> dict[str, str]:
    """What conmon, and the clean-up that it starts, need of our environment; it stays in memory as long as the container."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ENV or name.startswith(("LC_", "CONTAINERS_", "_CONTAINERS_"))
    }
    for text in containers.load().texts("engine", "conmon_env_vars"):
        name, _, value = text.partition("=")
        ours[name] = value
    return ours


def _base_arguments(settings: Settings, runtime: OCIRuntime, runtime_flags: list[str]) -> list[str]:
    arguments = [find_program(settings.conmon or "conmon"), "--api-version", "1", "-r", runtime.path]
    if runtime.systemd_cgroup:
        arguments.append("-s")
    for flag in (*runtime.arguments, *runtime_flags):
        arguments += ["--runtime-arg", flag]
    return arguments


def create(
    settings: Settings,
    runtime: OCIRuntime,
    config: ContainerConfig,
    bundle: Bundle,
    *,
    log: str,
    no_cgroups: bool,
    reserved: list[int],
    preserve: list[int],
    restore: list[str],
) -> tuple[int, int]:
    """Start conmon, which has the runtime create the container; (pid of the container's init, pid of conmon).

    `restore`, where it is not empty, is the folder of a checkpoint and arguments for the runtime, which restores then. `reserved`
    are sockets that hold the container's host ports for as long as conmon lives; `preserve` are descriptors from 3 on
    that the container gets.

    Raises:
        CommandNotFound, CommandNotInvocable, RuntimeFailed: what the runtime said.
    """
    flags = ["--log-format=json", f"--log={bundle.log}", *(runtime.without_cgroups() if no_cgroups else [])]
    arguments = _base_arguments(settings, runtime, flags)
    arguments += ["-c", config.id, "-u", config.id, "-n", config.name, "-b", bundle.folder, "-p", bundle.pidfile]
    arguments += [
        "--exit-dir",
        bundle.exit_folder,
        "--full-attach",
        "-l",
        log,
        "--conmon-pidfile",
        bundle.conmon_pidfile,
        "--persist-dir",
        bundle.persist,
    ]
    if config.log_size > 0:
        arguments += ["--log-size-max", str(config.log_size)]
    if config.log_tag:
        arguments += ["--log-tag", config.log_tag]
    for label in config.log_labels:
        arguments += ["--log-label", label]
    if config.tty:
        arguments.append("-t")
    elif config.stdin:  # not with a terminal: conmon would close it when the first client leaves
        arguments.append("-i")
    if config.timeout:
        arguments += ["--timeout", str(config.timeout)]
    conf = containers.load()
    if conf.flag("engine", "no_pivot_root"):
        arguments.append("--no-pivot")
    if not conf.flag("containers", "keyring", default=True):
        arguments.append("--no-new-keyring")
    command = exit_command(settings, bundle, config.id)
    arguments += ["--exit-command", command[0]]
    for argument in command[1:]:
        arguments += ["--exit-command-arg", argument]
    if restore:
        arguments += ["--restore", restore[0]]
        for argument in restore[1:]:
            arguments += ["--runtime-opt", argument]
    if preserve:
        arguments += ["--runtime-opt", "--preserve-fds", "--runtime-opt", str(max(preserve) - 2)]
    notify = os.environ.get("NOTIFY_SOCKET", "")
    if notify and config.sdnotify == "container":
        arguments += ["--sdnotify-socket", notify]
        os.makedirs(f"{bundle.folder}/notify", 0o700, exist_ok=True)
    passthrough = config.log_driver.startswith("passthrough")
    pid = _start(arguments, bundle, passthrough=passthrough, reserved=[*reserved, *preserve])
    with open(bundle.conmon_pidfile) as file:
        return pid, int(file.read())


def _start(
    arguments: list[str], bundle: Bundle, *, passthrough: bool = False, reserved: list[int] | None = None
) -> int:
    """Run conmon (it forks itself into the background) and read the pid it reports."""
    reader, writer = os.pipe()
    env = {**_environment(), "_OCI_SYNCPIPE": str(writer)}
    errors = os.memfd_create("conmon", os.MFD_CLOEXEC)
    try:
        streams = (0, 1, 2) if passthrough else (-1, errors, errors)  # complaints about options go to standard output
        child = spawn(
            arguments, stdin=streams[0], stdout=streams[1], stderr=streams[2], env=env, keep=[writer, *(reserved or ())]
        )
        os.close(writer)
        writer = -1
        os.waitpid(child, 0)  # the first process only forks
        document = _read_report(reader)
        if document is None:
            os.lseek(errors, 0, os.SEEK_SET)
            text = os.read(errors, 4000).decode("utf-8", "replace").strip()
            if "log-label" in text:
                raise Unsupported(
                    f"--log-opt label: {arguments[0]} cannot write labels", hint="conmon 2.1.13 and later can"
                )
            raise failure("conmon ended early", _runtime_log(bundle) or text or "no message")
        pid = int(document.get("data", document.get("pid", -1)))
        if pid > 0:
            return pid
        raise failure("the container could not be made", _runtime_log(bundle) or str(document.get("message") or ""))
    finally:
        for fd in (reader, writer, errors):
            if fd >= 0:
                os.close(fd)


def _read_report(reader: int) -> dict[str, Any] | None:
    import select

    from podling.oci import json

    text = b""
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    while not text.endswith(b"\n"):
        if not poller.poll(_CREATE_SECONDS * 1000):
            raise RuntimeFailed(f"the runtime did not create the container within {_CREATE_SECONDS} s")
        piece = os.read(reader, 65536)
        if not piece:
            break
        text += piece
    if not text.strip():
        return None
    try:
        # of a process that has ended already the exit code is there too, on a line of its own
        document: dict[str, Any] = json.loads(text.splitlines()[0])
        return document
    except ValueError:
        raise RuntimeFailed(f"conmon reported {text[:200]!r}") from None


def _runtime_log(bundle: Bundle) -> str:
    try:
        with open(bundle.log) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def create_exec(
    settings: Settings,
    runtime: OCIRuntime,
    container: str,
    session: str,
    folder: str,
    *,
    tty: bool,
    stdin: bool,
    exit_folder: str,
    connect: Callable[[], None] | None,
) -> int:
    """Start an exec session under a conmon of its own; the pid of its process.

    With `connect` conmon first makes the attach socket, and starts the process when `connect()` has returned.
    """
    arguments = _base_arguments(settings, runtime, ["--log-format=json", f"--log={folder}/oci-log"])
    arguments += ["-c", container, "-u", session, "-n", session, "-b", folder, "-p", f"{folder}/pidfile"]
    arguments += ["--full-attach", "-l", "none", "-e", "--exec-process-spec", f"{folder}/process.json"]
    arguments += ["--exit-dir", exit_folder]
    if tty:
        arguments.append("-t")
    elif stdin:
        arguments.append("-i")
    reader, writer = os.pipe()
    start_reader, start_writer = os.pipe()
    attach_reader, attach_writer = os.pipe()
    env = {**_environment(), "_OCI_SYNCPIPE": str(writer), "_OCI_STARTPIPE": str(start_reader)}
    if connect:
        arguments.append("--exec-attach")
        env["_OCI_ATTACHPIPE"] = str(attach_writer)
    errors = os.memfd_create("conmon", os.MFD_CLOEXEC)
    opened = [reader, start_reader, start_writer, attach_reader, errors]
    try:
        child = spawn(arguments, stderr=errors, env=env, keep=[writer, start_reader, attach_writer])
        os.close(writer)
        os.close(attach_writer)
        os.write(start_writer, b"0")
        os.waitpid(child, 0)
        if connect:
            os.read(attach_reader, 4096)  # reports that the socket is there
            connect()
            os.write(start_writer, b"0")
        return _exec_pid(reader, folder)
    finally:
        for fd in opened:
            os.close(fd)


def _exec_pid(reader: int, folder: str) -> int:
    document = _read_report(reader)
    text = ""
    try:
        with open(f"{folder}/oci-log") as file:
            text = file.read()
    except FileNotFoundError:
        pass
    pid = int(document.get("data", -1)) if document else -1
    if pid > 0:
        return pid
    raise failure("the exec session could not be started", text or str((document or {}).get("message") or ""))


def resize(folder: str, rows: int, columns: int) -> None:
    """Tell conmon the size of the terminal; nothing when it has ended."""
    try:
        fd = os.open(f"{folder}/ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, f"1 {rows} {columns}\n".encode())
    except OSError:
        pass
    finally:
        os.close(fd)
