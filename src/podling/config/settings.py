"""Where the engine keeps things and which programs it uses: defaults, then the environment, then global flags."""

from __future__ import annotations

import os

from podling.config import containers, storage
from podling.errors import InvalidInput, ProgramMissing
from podling.linux.proc import outer_uid
from podling.oci.record import Record

#: folders searched for helper programs before PATH (containers.conf(5), helper_binaries_dir)
HELPERS = ("/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman")
RUNTIMES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/sbin", "/bin")
DRIVERS = ("overlay", "vfs")
JOURNAL_SOCKET = "/run/systemd/journal/socket"
CGROUP_MANAGERS = ("cgroupfs", "systemd")
EVENTS_BACKENDS = ("database", "file", "journald", "none")


class Settings(Record):
    """`root` holds what lasts, `runroot` what a reboot voids, `tmpdir` exit files and sockets."""

    root: str = ""
    runroot: str = ""
    tmpdir: str = ""
    runtime: str = ""
    runtime_flags: list[str] = []
    conmon: str = ""
    storage_driver: str = ""
    storage_opts: list[str] = []
    cgroup_manager: str = ""
    #: native or netavark; "": native where it can do it
    network_backend: str = ""
    log_level: str = "warn"
    #: folders with OCI hooks and with CDI files; none: the usual ones
    hooks_dirs: list[str] = []
    cdi_dirs: list[str] = []
    #: instead of what containers.conf says
    network_cmd_path: str = ""
    network_config_dir: str = ""
    #: instead of the usual mounts.conf
    default_mounts_file: str = ""
    #: where events are kept; "": what containers.conf says, or else the database
    events_backend: str = ""
    #: where volumes are, and layers of images; "": below the root
    volume_path: str = ""
    image_store: str = ""
    #: new containers end with a reboot
    transient: bool = False

    def completed(self) -> Settings:
        """With every default filled in; the paths absolute."""
        uid = outer_uid()
        if uid:
            home = os.environ.get("XDG_DATA_HOME") or f"{home_folder(uid)}/.local/share"
            default_root, default_runroot = f"{home}/podling", f"{user_folder(uid)}/run"
        else:
            default_root, default_runroot = "/var/lib/podling", "/run/podling"
        stored = storage.load()
        root = os.path.abspath(self.root or stored.root or default_root)
        runroot = os.path.abspath(self.runroot or stored.runroot or default_runroot)
        driver = self.storage_driver or os.environ.get("STORAGE_DRIVER", "")
        if driver and driver not in DRIVERS:
            raise InvalidInput(f"unknown storage driver {driver!r}", hint=f"the drivers are {', '.join(DRIVERS)}")
        if self.network_cmd_path:
            containers.override("engine", "network_cmd_path", self.network_cmd_path)
        if self.network_config_dir:
            containers.override("network", "network_config_dir", os.path.abspath(self.network_config_dir))
        conf = containers.load()
        tmpdir = os.path.abspath(self.tmpdir or conf.text("engine", "tmp_dir") or f"{runroot}/tmp")
        for text in conf.texts("engine", "env"):
            name, _, value = text.partition("=")
            os.environ.setdefault(name, value)
        manager = (
            self.cgroup_manager
            or conf.text("engine", "cgroup_manager")
            or ("systemd" if _systemd_manages(uid) else "cgroupfs")
        )
        if manager not in CGROUP_MANAGERS:
            raise InvalidInput(
                f"unknown cgroup manager {manager!r}", hint=f"the cgroup managers are {', '.join(CGROUP_MANAGERS)}"
            )
        if self.network_backend not in ("", "native", "netavark"):
            raise InvalidInput(
                f"unknown network backend {self.network_backend!r}", hint="the network backends are native, netavark"
            )
        backend = self.network_backend or conf.text("network", "network_backend").replace("cni", "")
        values = self.to_json()
        values.update(
            runtime=self.runtime or conf.text("engine", "runtime") or "crun",
            network_backend=backend,
            conmon=self.conmon or next(filter(_is_program, conf.texts("engine", "conmon_path")), ""),
            hooks_dirs=self.hooks_dirs or conf.texts("engine", "hooks_dir"),
            cdi_dirs=self.cdi_dirs or conf.texts("engine", "cdi_spec_dirs"),
            events_backend=self._chosen_events_backend(conf.text("engine", "events_logger")),
        )
        # a flag, even an empty one, replaces what the file has
        values["storage_opts"] = [option for option in self.storage_opts or stored.options if option]
        # a root of its own has its own volumes, whatever the file says: two stores must not share their names
        volume_path = self.volume_path or ("" if self.root else conf.text("engine", "volume_path"))
        values["volume_path"] = os.path.abspath(volume_path) if volume_path else f"{root}/volumes"
        image_store = self.image_store or stored.image_store
        values["image_store"] = os.path.abspath(image_store) if image_store else ""
        values["transient"] = self.transient or stored.transient
        values.update(root=root, runroot=runroot, tmpdir=tmpdir, storage_driver=driver, cgroup_manager=manager)
        return Settings.from_json(values)

    @property
    def scratch(self) -> str:
        """Where large temporary files are: $TMPDIR, what containers.conf says (engine.image_copy_tmp_dir), or the store."""
        chosen = os.environ.get("TMPDIR") or containers.load().text("engine", "image_copy_tmp_dir")
        return f"{self.root}/tmp" if chosen in ("", "storage") else chosen

    def _chosen_events_backend(self, configured: str) -> str:
        if self.events_backend:
            chosen, source = self.events_backend, "--events-backend"
        else:
            chosen, source = configured or "database", "containers.conf: engine.events_logger"
        if chosen not in EVENTS_BACKENDS:
            raise InvalidInput(
                f"{source}: unknown events back end {chosen!r}", hint=f"the back ends are {', '.join(EVENTS_BACKENDS)}"
            )
        if chosen == "journald" and not os.path.exists(JOURNAL_SOCKET):
            if self.events_backend:
                raise InvalidInput(
                    f"{source} journald: no journal listens at {JOURNAL_SOCKET}", hint="use database or file"
                )
            return "database"
        return chosen

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
        flags += [f"--hooks-dir={folder}" for folder in self.hooks_dirs]
        flags += [f"--cdi-spec-dir={folder}" for folder in self.cdi_dirs]
        if self.default_mounts_file:
            flags.append(f"--default-mounts-file={os.path.abspath(self.default_mounts_file)}")
        if self.network_cmd_path:
            flags.append(f"--network-cmd-path={self.network_cmd_path}")
        if self.network_config_dir:
            flags.append(f"--network-config-dir={os.path.abspath(self.network_config_dir)}")
        if self.events_backend != "database":
            flags.append(f"--events-backend={self.events_backend}")
        if self.volume_path != f"{self.root}/volumes":
            flags.append(f"--volumepath={self.volume_path}")
        if self.image_store:
            flags.append(f"--imagestore={self.image_store}")
        if self.network_backend:
            flags.append(f"--network-backend={self.network_backend}")
        if self.conmon:
            flags.append(f"--conmon={self.conmon}")
        if self.storage_driver:
            flags.append(f"--storage-driver={self.storage_driver}")
        return flags


def _is_program(path: str) -> bool:
    return os.access(path, os.X_OK)


def home_folder(uid: int) -> str:
    """The user's home: $HOME, or what the user database says."""
    import pwd

    return os.environ.get("HOME") or pwd.getpwuid(uid).pw_dir


def service_address(uid: int) -> str:
    """Where a service of this user listens that is told nothing, and where clients look for it."""
    return f"unix://{runtime_folder(uid)}/podman/podman.sock" if uid else "unix:///run/podman/podman.sock"


def runtime_folder(uid: int) -> str:
    """Where a user's run-time files lie: $XDG_RUNTIME_DIR, /run/user/UID, or a folder of our own below /tmp.

    Raises:
        InvalidInput: it belongs to somebody else, who may have put a trap there.
    """
    for path in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        if path:
            try:
                info = os.stat(path)
            except OSError:
                continue
            if info.st_uid == os.geteuid() and os.access(path, os.W_OK):
                return path
    path = f"/tmp/podling-run-{uid}"
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    info = os.lstat(path)
    if info.st_uid != os.geteuid() or info.st_mode & 0o170077 != 0o040000:
        raise InvalidInput(
            f"{path} belongs to somebody else, or is open to others",
            hint=f"set XDG_RUNTIME_DIR to a folder of your own, or have {path} removed",
        )
    return path


def user_folder(uid: int) -> str:
    """Our own folder in there: the pause process, network namespaces, and below it what belongs to one store."""
    path = f"{runtime_folder(uid)}/podling"
    os.makedirs(path, 0o700, exist_ok=True)
    return path


def _systemd_manages(uid: int) -> bool:
    """Whether systemd makes the cgroups: for a user, where version 2 is delegated and a session's bus answers."""
    if not os.path.isdir("/run/systemd/system"):
        return False
    if not uid:
        return True
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return False
    bus = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    return bool(bus) or os.path.exists(f"{runtime_folder(uid)}/bus")


def find_program(name: str, *, package: str = "") -> str:
    """The path of a helper program; ProgramMissing tells which package has it."""
    if "/" in name:
        if os.access(name, os.X_OK):
            return name
        raise ProgramMissing(f"{name}: no such program")
    for folder in (*containers.load().texts("engine", "helper_binaries_dir"), *HELPERS, *RUNTIMES):
        path = f"{folder}/{name}"
        if os.access(path, os.X_OK):
            return path
    for folder in os.environ.get("PATH", "").split(":"):
        path = f"{folder}/{name}"
        if folder and os.access(path, os.X_OK):
            return path
    raise ProgramMissing(f"{name} is not installed", hint=f"apt install {package or name}")
