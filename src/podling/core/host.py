"""`info` and `version`: what this host and this engine are."""

from __future__ import annotations

import os

from podling.config.settings import find_program
from podling.core import volume_plugins
from podling.errors import PodlingError
from podling.linux import selinux
from podling.linux.proc import outer_uid
from podling.linux.process import run
from podling.oci.image import host_platform
from podling.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context

#: the Podman API whose shapes we follow
API_VERSION = "5.7.1"


def version() -> dict[str, Any]:
    """In the shape of `podman version`; there is no server part without a server."""
    import sys

    platform = host_platform()
    return {
        "Client": {
            "APIVersion": API_VERSION,
            "Version": VERSION,
            "GoVersion": f"python{sys.version.split()[0]}",
            "GitCommit": "",
            "BuiltTime": "",
            "Built": 0,
            "BuildOrigin": "",
            "OsArch": f"{platform.os}/{platform.architecture}",
            "Os": platform.os,
        }
    }


def _program(name: str) -> dict[str, str]:
    try:
        path = find_program(name)
    except PodlingError:
        return {"path": "", "package": "", "version": ""}
    return {
        "path": path,
        "package": "",
        "version": run([path, "--version"], capture=True).stdout.decode("utf-8", "replace").strip(),
    }


def _memory() -> dict[str, int]:
    values = {}
    with open("/proc/meminfo") as file:
        for line in file:
            key, _, rest = line.partition(":")
            values[key] = int(rest.split()[0]) * 1024
    return values


def _distribution() -> dict[str, str]:
    values = {}
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        if os.path.exists(path):
            with open(path) as file:
                for line in file:
                    key, equals, value = line.strip().partition("=")
                    if equals:
                        values[key] = value.strip('"')
            break
    return {
        "distribution": values.get("ID", "unknown"),
        "version": values.get("VERSION_ID", "unknown"),
        "codename": values.get("VERSION_CODENAME", ""),
    }


def _cgroup_version() -> str:
    return "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1"


def _controllers() -> list[str]:
    if _cgroup_version() == "v2":
        with open("/sys/fs/cgroup/cgroup.controllers") as file:
            return file.read().split()
    with open("/proc/cgroups") as file:
        return [line.split()[0] for line in file if not line.startswith("#")]


def _uptime() -> str:
    with open("/proc/uptime") as file:
        seconds = int(float(file.read().split()[0]))
    return f"{seconds // 3600}h {seconds % 3600 // 60}m {seconds % 60:.2f}s"


def info(ctx: Context) -> dict[str, Any]:
    """In the shape of `podman info`."""
    settings = ctx.settings
    memory = _memory()
    platform = host_platform()
    runtime = ctx.runtime()
    usage = os.statvfs(settings.root)
    counts = dict(ctx.db.rows("SELECT status, count(*) FROM containers GROUP BY status"))
    total = sum(counts.values())
    running, paused = counts.get("running", 0) + counts.get("stopping", 0), counts.get("paused", 0)
    netavark, aardvark = _program("netavark"), _program("aardvark-dns")
    return {
        "host": {
            "arch": platform.architecture,
            "cgroupControllers": _controllers(),
            "cgroupManager": settings.cgroup_manager,
            "cgroupVersion": _cgroup_version(),
            "conmon": _program(settings.conmon or "conmon"),
            "cpus": os.cpu_count(),
            "databaseBackend": "sqlite",
            "distribution": _distribution(),
            "eventLogger": "database",
            "hostname": os.uname().nodename,
            "idMappings": {"gidmap": None, "uidmap": None},
            "kernel": os.uname().release,
            "logDriver": "k8s-file",
            "memFree": memory["MemFree"],
            "memTotal": memory["MemTotal"],
            "networkBackend": "netavark",
            "networkBackendInfo": {"backend": "netavark", **netavark, "dns": aardvark},
            "ociRuntime": {"name": runtime.name, "path": runtime.path, "package": "", "version": runtime.version()},
            "os": "linux",
            "remoteSocket": {"exists": False, "path": ""},
            "security": {
                "apparmorEnabled": os.path.isdir("/sys/kernel/security/apparmor"),
                "capabilities": ",".join(f"CAP_{name}" for name in _default_capabilities()),
                "rootless": bool(outer_uid()),
                "seccompEnabled": True,
                "seccompProfilePath": "default",
                "selinuxEnabled": selinux.enabled(),
            },
            "serviceIsRemote": False,
            "swapFree": memory["SwapFree"],
            "swapTotal": memory["SwapTotal"],
            "uptime": _uptime(),
            "variant": platform.variant,
        },
        "store": {
            "configFile": "",
            "containerStore": {
                "number": total,
                "paused": paused,
                "running": running,
                "stopped": total - running - paused,
            },
            "graphDriverName": ctx.store.driver.name,
            "graphOptions": dict(option.partition("=")[::2] for option in settings.storage_opts),
            "graphRoot": settings.root,
            "graphRootAllocated": usage.f_blocks * usage.f_frsize,
            "graphRootUsed": (usage.f_blocks - usage.f_bfree) * usage.f_frsize,
            "graphStatus": {"Native Overlay Diff": "true"} if ctx.store.driver.name == "overlay" else {},
            "imageCopyTmpDir": settings.scratch,
            "imageStore": {"number": ctx.db.value("SELECT count(*) FROM images")},
            "runRoot": settings.runroot,
            "transientStore": False,
            "volumePath": settings.volume_path,
        },
        "registries": {"search": _search()},
        "plugins": {
            "volume": ["local", "image", *volume_plugins.names()],
            "network": ["bridge"],
            "log": ["k8s-file", "none", "passthrough", "journald"],
            "authorization": None,
        },
        "version": version()["Client"],
    }


def _default_capabilities() -> list[str]:
    from podling.runtime.capabilities import DEFAULT

    return DEFAULT


def _search() -> list[str]:
    from podling.config.registries import load

    return load().search
