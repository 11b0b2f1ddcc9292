"""Where the engine keeps things and which programs it uses: defaults, then the environment, then global flags."""

from __future__ import annotations

import os

from podling.errors import InvalidInput, ProgramMissing
from podling.oci.record import Record

#: folders searched for helper programs before PATH (containers.conf(5), helper_binaries_dir)
HELPERS = ("/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman")
RUNTIMES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/sbin", "/bin")
DRIVERS = ("overlay", "vfs")
CGROUP_MANAGERS = ("cgroupfs", "systemd")


class Settings(Record):
    """`root` holds what lasts, `runroot` what a reboot voids, `tmpdir` exit files and sockets."""

    root: str = ""
    runroot: str = ""
    tmpdir: str = ""
    runtime: str = "crun"
    runtime_flags: list[str] = []
    conmon: str = ""
    storage_driver: str = ""
    storage_opts: list[str] = []
    cgroup_manager: str = ""
    log_level: str = "warn"

    def completed(self) -> Settings:
        """With every default filled in; the paths absolute."""
        if os.geteuid() != 0:
            raise InvalidInput(
                "this version of podling runs containers as root only",
                hint="run it with sudo; rootless comes with a later version",
            )
        root = os.path.abspath(self.root or "/var/lib/podling")
        runroot = os.path.abspath(self.runroot or "/run/podling")
        tmpdir = os.path.abspath(self.tmpdir) if self.tmpdir else os.path.join(runroot, "tmp")
        driver = self.storage_driver or os.environ.get("STORAGE_DRIVER", "")
        if driver and driver not in DRIVERS:
            raise InvalidInput(f"unknown storage driver {driver!r}", hint=f"the drivers are {', '.join(DRIVERS)}")
        manager = self.cgroup_manager or ("systemd" if os.path.isdir("/run/systemd/system") else "cgroupfs")
        if manager not in CGROUP_MANAGERS:
            raise InvalidInput(
                f"unknown cgroup manager {manager!r}", hint=f"the cgroup managers are {', '.join(CGROUP_MANAGERS)}"
            )
        values = self.to_json()
        values.update(root=root, runroot=runroot, tmpdir=tmpdir, storage_driver=driver, cgroup_manager=manager)
        return Settings.from_json(values)

    def arguments(self) -> list[str]:
        """Global flags that make another podling use the same stores: for conmon's exit command."""
        flags = [
            f"--root={self.root}",
            f"--runroot={self.runroot}",
            f"--tmpdir={self.tmpdir}",
            f"--runtime={self.runtime}",
        ]
        flags += [f"--cgroup-manager={self.cgroup_manager}"]
        flags += [f"--runtime-flag={flag}" for flag in self.runtime_flags]
        flags += [f"--storage-opt={option}" for option in self.storage_opts]
        if self.conmon:
            flags.append(f"--conmon={self.conmon}")
        if self.storage_driver:
            flags.append(f"--storage-driver={self.storage_driver}")
        return flags


def find_program(name: str, *, package: str = "") -> str:
    """The path of a helper program; ProgramMissing tells which package has it."""
    if "/" in name:
        if os.access(name, os.X_OK):
            return name
        raise ProgramMissing(f"{name}: no such program")
    for folder in (*HELPERS, *RUNTIMES):
        path = f"{folder}/{name}"
        if os.access(path, os.X_OK):
            return path
    for folder in os.environ.get("PATH", "").split(":"):
        path = f"{folder}/{name}"
        if folder and os.access(path, os.X_OK):
            return path
    raise ProgramMissing(f"{name} is not installed", hint=f"apt install {package or name}")
