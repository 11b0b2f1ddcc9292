"""Running a further process in a container.

Without a terminal and in the foreground the runtime's `exec` gets our own descriptors: no socket, no second program. With a
terminal, or detached, a conmon holds the session as it holds a container.
"""

from __future__ import annotations

import os
import stat

from podling.core import users
from podling.core.containers import Container
from podling.core.options import ExecOptions
from podling.errors import CommandNotFound, CommandNotInvocable, InvalidInput, NotFound, WrongState
from podling.linux.calls import open_in_root
from podling.linux.files import remove_tree
from podling.linux.proc import is_alive, start_time
from podling.linux.process import spawn
from podling.oci import json
from podling.runtime import capabilities, conmon, oci_runtime, spec
from podling.runtime.streams import Streams
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class NotRunning(WrongState):
    """`exec` in a container that does not run; Podman's exit code."""

    exit_code = 255
    reference = "container-not-running"


def _process(container: Container, options: ExecOptions) -> dict[str, Any]:
    from podling.core import parse

    config = container.config
    security = config.security
    root = container.live_root
    identity = users.resolve(root, options.user or config.user, [] if options.user else config.groups)
    privileged = options.privileged or security.privileged
    caps = capabilities.effective(
        privileged=privileged, add=security.cap_add, drop=[] if options.privileged else security.cap_drop
    )
    env = dict(config.env)
    if config.secrets:
        from podling.core.container_files import secret_env

        env.update(secret_env(container))
    if options.tty:
        env["TERM"] = "xterm"
    env.update(parse.environment(options.env, options.env_file))
    env.setdefault("HOME", identity.home)
    env.setdefault("HOSTNAME", config.hostname)
    workdir = options.workdir or config.workdir
    if not workdir.startswith("/"):
        raise InvalidInput(f"--workdir {workdir!r}: must be absolute")
    _check_command(root, options.command[0], env.get("PATH", ""), workdir)
    process: dict[str, Any] = {
        "terminal": options.tty,
        "user": spec.user_entry(identity.uid, identity.gid, identity.groups, config.umask),
        "args": options.command,
        "env": [f"{name}={value}" for name, value in env.items()],
        "cwd": workdir,
        "capabilities": spec.capability_sets(caps, identity.uid, ["ALL"] if privileged else security.cap_add),
        "noNewPrivileges": security.no_new_privileges,
        "rlimits": spec.rlimits(config.ulimits),
        "oomScoreAdj": spec.oom_score(config.oom_score_adj),
    }
    if security.apparmor:
        process["apparmorProfile"] = security.apparmor
    if security.process_label and not privileged:
        process["selinuxLabel"] = security.process_label
    return process


def _check_command(root: str, name: str, search: str, workdir: str) -> None:
    """Tell a missing command or folder before the runtime is started, whose message would end up in the process's output.

    Raises:
        CommandNotFound, CommandNotInvocable, InvalidInput.
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _mode(root_fd, workdir) is None:
            raise CommandNotInvocable(
                f"workdir {workdir!r} does not exist in the container", hint="give another one with --workdir"
            )
        paths = (
            [os.path.join(workdir, name)]
            if "/" in name
            else [f"{folder}/{name}" for folder in search.split(":") if folder]
        )
        modes = [mode for path in paths if (mode := _mode(root_fd, path)) is not None]
    finally:
        os.close(root_fd)
    if not modes:
        where = "" if "/" in name else " in $PATH"
        raise CommandNotFound(
            f"executable file `{name}` not found{where}: No such file or directory: "
            "OCI runtime attempted to invoke a command that was not found",
            hint="the command must be in the container, by full path or in its PATH",
            cause="command not found",
        )
    if not any(stat.S_ISREG(mode) and mode & 0o111 for mode in modes):
        raise CommandNotInvocable(
            f"`{name}`: Permission denied: OCI permission denied",
            hint="it has no execute permission, or is a folder",
            cause="permission denied",
        )


def _mode(root_fd: int, path: str) -> int | None:
    try:
        fd = open_in_root(root_fd, path, os.O_PATH)
    except OSError:
        return None
    try:
        return os.fstat(fd).st_mode
    finally:
        os.close(fd)


def folder_of(container: Container, session: str) -> str:
    return f"{container.bundle.folder}/exec/{session[:16]}"


def drop_folder(container: Container, session: str) -> None:
    remove_tree(folder_of(container, session))


def write_process(container: Container, session: str, options: ExecOptions) -> None:
    """The process specification that the runtime gets."""
    with open(f"{folder_of(container, session)}/process.json", "w") as file:
        file.write(json.dumps(_process(container, options)))


def begin(container: Container, options: ExecOptions) -> tuple[str, str]:
    """(session id, its folder) with the process specification in it."""
    if not options.command:
        raise InvalidInput("must provide a non-empty command to start an exec session")
    if not container.is_alive or container.status == "paused":
        status = container.truth()[0]
        raise NotRunning(
            f"can only create exec sessions on running containers: container state improper ({container.name} is {status})",
            hint=f"podling {'unpause' if status == 'paused' else 'start'} {container.name}",
        )
    session = os.urandom(32).hex()
    folder = folder_of(container, session)
    os.makedirs(folder, 0o700)
    try:
        write_process(container, session, options)
    except BaseException:
        remove_tree(folder)
        raise
    ctx = container.ctx
    with ctx.db.write() as tx:
        tx.insert(
            "exec_sessions", id=session, container=container.key, created=now(), config=json.dumps(options.to_json())
        )
        container.tell(tx, "exec", execID=session)
    return session, folder


def _end(container: Container, session: str, folder: str, code: int) -> None:
    ctx = container.ctx
    with ctx.db.write() as tx:
        tx.run("DELETE FROM exec_sessions WHERE id=?", session)
        container.tell(tx, "exec_died", execID=session, containerExitCode=str(code))
    remove_tree(folder)


def run(
    container: Container, options: ExecOptions, streams: Streams, detach_keys: str, *, seconds: float = 0
) -> int | None:
    """Run a process with its streams joined to ours; its exit code, None when the user detached.

    Raises:
        TimeoutError: it took more than `seconds`, and was killed.
        NotRunning, InvalidInput, CommandNotFound, CommandNotInvocable, RuntimeFailed.
    """
    session, folder = begin(container, options)
    code = -1
    try:
        if options.tty:
            result = _with_terminal(container, options, session, folder, streams, detach_keys)
            if result is None:
                code = 0
                return None
            code = result
        else:
            code = _direct(container, options, folder, streams, seconds)
        return code
    finally:
        _end(container, session, folder, code)


def _direct(container: Container, options: ExecOptions, folder: str, streams: Streams, seconds: float) -> int:
    runtime = container.ctx.runtime(container.config.runtime)
    log = f"{folder}/oci-log"
    argv = [
        runtime.path,
        *runtime.arguments,
        f"--log={log}",
        "--log-format=json",
        "exec",
        "--process",
        f"{folder}/process.json",
    ]
    pidfile = f"{folder}/process.pid"
    if seconds:
        argv += ["--pid-file", pidfile]
    keep = options.preserve_fds
    if keep:
        argv += ["--preserve-fds", str(max(keep) - 2)]
    pid = spawn([*argv, container.id], stdin=streams.stdin, stdout=streams.stdout, stderr=streams.stderr, keep=keep)
    if seconds and not _ends_within(pid, seconds):
        with open(pidfile) as file:
            os.kill(int(file.read()), 9)
        os.waitpid(pid, 0)
        raise TimeoutError
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        try:
            with open(log) as file:
                text = file.read()
        except FileNotFoundError:
            text = ""
        if '"error"' in text or "level=error" in text:
            raise oci_runtime.failure(f"{runtime.name} could not run the command in {container.name}", text)
    return code if code >= 0 else 128 - code


def _ends_within(pid: int, seconds: float) -> bool:
    import select

    fd = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return bool(poller.poll(seconds * 1000))
    finally:
        os.close(fd)


def _with_terminal(
    container: Container, options: ExecOptions, session: str, folder: str, streams: Streams, detach_keys: str
) -> int | None:
    from podling.core.attached import Session

    ctx = container.ctx
    joined = Session(
        folder,
        Streams(stdin=streams.stdin, stdout=streams.stdout, stderr=streams.stderr, tty=True, detach_keys=detach_keys),
    )
    pid = conmon.create_exec(
        ctx.settings, ctx.runtime(container.config.runtime), container.id, session, folder, tty=True, stdin=options.interactive,
        exit_folder=folder, connect=joined.connect,
    )  # fmt: skip
    started = start_time(pid)
    _record_pid(container, session, pid)
    joined.resize()
    exit_file = f"{folder}/{container.id}"  # conmon names it after the container, not after the session
    if not joined.run(pid, exit_file, None):
        return None
    found = conmon.wait_for_exit_file(exit_file, pid, started)
    return found[0] if found else -1


def detached(container: Container, options: ExecOptions) -> str:
    """Start a process in the background; the session's id."""
    session, folder = begin(container, options)
    ctx = container.ctx
    try:
        pid = conmon.create_exec(
            ctx.settings, ctx.runtime(container.config.runtime), container.id, session, folder, tty=options.tty,
            stdin=options.interactive, exit_folder=folder, connect=None,
        )  # fmt: skip
    except BaseException:
        _end(container, session, folder, -1)
        raise
    _record_pid(container, session, pid)
    return session


def forget(container: Container, id: str) -> None:
    """Strike an exec session that has ended off the list.

    Raises:
        NotFound: the container has no such session. WrongState: it still runs.
    """
    row = container.ctx.db.row(
        "SELECT id, pid, pid_start FROM exec_sessions WHERE container=? AND id LIKE ?", container.key, id + "%"
    )
    if row is None:
        raise NotFound(f"no exec session with ID {id} found: no such exec session")
    if is_alive(row[1], row[2]):
        raise WrongState(f"exec session {row[0]} of container {container.name} is running: container state improper")
    _end(container, row[0], folder_of(container, row[0]), -1)


def _record_pid(container: Container, session: str, pid: int) -> None:
    with container.ctx.db.write() as tx:
        tx.run("UPDATE exec_sessions SET pid=?, pid_start=? WHERE id=?", pid, start_time(pid), session)
