"""Any OCI runtime behind one interface: crun, runc, youki, runsc (runtime-spec runtime.md and runc's command line)."""

from __future__ import annotations

import os

from podling.config import containers
from podling.config.settings import find_program
from podling.errors import CommandNotFound, CommandNotInvocable, RuntimeFailed, WrongState
from podling.linux.process import Outcome, run

#: runtimes whose containers are processes of this kernel, so that a signal may go to the pid directly
_NATIVE = ("crun", "runc", "youki")


class OCIRuntime:
    """One runtime program with its own state folder below `runroot`."""

    def __init__(
        self, name: str, runroot: str, *, flags: list[str] | None = None, systemd_cgroup: bool = False
    ) -> None:
        conf = containers.load()
        named = (conf.get("engine", "runtimes") or {}).get(name) or ()
        self.path = next((path for path in named if os.access(path, os.X_OK)), "") or find_program(name)
        self.name = os.path.basename(self.path)
        self.systemd_cgroup = systemd_cgroup
        self.arguments = [f"--root={runroot}/oci/{self.name}"]
        configured = (conf.get("engine", "runtimes_flags") or {}).get(name) or ()
        self.arguments += [flag if flag.startswith("-") else f"--{flag}" for flag in (*configured, *(flags or ()))]
        if systemd_cgroup:
            self.arguments.append("--systemd-cgroup")

    def without_systemd(self) -> OCIRuntime:
        """The same, with cgroups that it makes itself."""
        other = self._with([argument for argument in self.arguments if argument != "--systemd-cgroup"])
        other.systemd_cgroup = False
        return other

    def for_network(self, mode: str) -> OCIRuntime:
        """The same, told of a network that is none: runsc, whose network is its own, cannot see that by itself."""
        if self.name != "runsc" or mode not in ("none", "host"):
            return self
        return self._with([*self.arguments, f"--network={mode}"])

    def _with(self, arguments: list[str]) -> OCIRuntime:
        other = OCIRuntime.__new__(OCIRuntime)
        other.__dict__.update(self.__dict__)
        other.arguments = arguments
        return other

    @property
    def signals_directly(self) -> bool:
        return self.name in _NATIVE

    @property
    def takes_ready_filters(self) -> bool:
        """crun's annotation `run.oci.seccomp_bpf_data` (crun.1)."""
        return self.name == "crun"

    def without_cgroups(self) -> list[str]:
        """Arguments for a host whose cgroup set-up the runtime refuses; only crun can do without."""
        return ["--cgroup-manager=disabled"] if self.name == "crun" else []

    def call(self, *arguments: str) -> Outcome:
        return run([self.path, *self.arguments, *arguments], env=_environment())

    def _checked(self, action: str, container: str, *arguments: str) -> None:
        outcome = self.call(*arguments)
        if outcome.code:
            raise failure(f"{self.name} could not {action} the container {container[:12]}", outcome.message)

    def start(self, container: str) -> None:
        if self.name != "crun" or not self._let_go(container):
            self._checked("start", container, "start", container)

    def _let_go(self, container: str) -> bool:
        """What `crun start` does, without a process for it: a byte into the FIFO on which the container's first process waits.

        False when there is more to do, hooks for one, or when anything is not as it should be: the program does it then, or says why not.
        """
        if "NOTIFY_SOCKET" in os.environ:
            return False
        folder = f"{self.arguments[0].removeprefix('--root=')}/{container}"
        try:
            with open(f"{folder}/config.json", "rb") as file:
                if b'"poststart"' in file.read():
                    return False
            fifo = os.open(f"{folder}/exec.fifo", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            os.unlink(f"{folder}/exec.fifo")
            return os.write(fifo, b"\0") == 1
        except OSError:  # it has died meanwhile
            return False
        finally:
            os.close(fifo)

    def pause(self, container: str) -> None:
        self._checked("pause", container, "pause", container)

    def resume(self, container: str) -> None:
        self._checked("unpause", container, "resume", container)

    def update(self, container: str, path: str) -> None:
        """Change limits; `path` is a file with the specification's `resources`."""
        self._checked("update", container, "update", "--resources", path, container)

    def kill(self, container: str, signal: int) -> None:
        outcome = self.call("kill", container, str(signal))
        if outcome.code and not _is_gone(outcome.message):
            raise failure(f"{self.name} could not signal the container {container[:12]}", outcome.message)

    def delete(self, container: str) -> None:
        """Remove the runtime's state; kills what still runs. A container that it does not know is fine."""
        outcome = self.call("delete", "--force", container)
        if outcome.code and not _is_gone(outcome.message):
            raise failure(f"{self.name} could not delete the container {container[:12]}", outcome.message)

    def knows(self, command: str, flag: str) -> bool:
        """Whether a command of the runtime has this flag, as its help says."""
        outcome = run([self.path, command, "--help"], capture=True)
        return flag.encode() in outcome.stdout + outcome.stderr

    def version(self) -> str:
        return run([self.path, "--version"], capture=True).stdout.decode("utf-8", "replace").strip()


def _environment() -> dict[str, str] | None:
    """Ours, without what systemd told us alone: a runtime would act on it. None: ours as it is."""
    if "NOTIFY_SOCKET" not in os.environ:
        return None
    return {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}


def _is_gone(message: str) -> bool:
    lowered = message.lower()
    return any(
        text in lowered for text in ("no such process", "does not exist", "no such file", "not running", "not found")
    )


def failure(what: str, message: str) -> RuntimeFailed | WrongState:
    """The error for what a runtime wrote, told apart by the errno texts that all of them print."""
    text = _plain(message)
    lowered = text.lower()
    if "for writing" in lowered or "/sys/fs/cgroup" in lowered:
        return RuntimeFailed(f"{what}: {text}", hint="this kernel does not know one of the limits that were asked for")
    if "executable file" in lowered and "not found" in lowered:
        return CommandNotFound(
            text, hint="the command must be in the image, by full path or in its PATH", cause="command not found"
        )
    if ("exec" in lowered or "open executable" in lowered) and "permission denied" in lowered:
        return CommandNotInvocable(
            text, hint="the file has no execute permission, or is a folder", cause="permission denied"
        )
    if "no such file or directory" in lowered and (
        "exec" in lowered or "stat" in lowered or ("chdir" not in lowered and "`" in lowered)
    ):
        return CommandNotFound(text, hint="the command must be in the image", cause="command not found")
    if "exec format error" in lowered:
        return CommandNotInvocable(text, hint="the program is for another architecture, or a script without #!")
    if "is a directory" in lowered:
        return CommandNotInvocable(text, hint="the command is a folder")
    return RuntimeFailed(f"{what}: {text}")


def _plain(message: str) -> str:
    """crun and runc log JSON lines; the last one with a text counts."""
    from podling.oci import json

    found = ""
    for line in message.strip().splitlines():
        try:
            document = json.loads(line)
            found = document.get("msg") or found if isinstance(document, dict) else line
        except ValueError:
            found = line.strip() or found
    return found or "no message"
