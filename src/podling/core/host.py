"""`info` and `version`: what this host and this engine are."""

from __future__ import annotations

import os

from podling.config import containers
from podling.config.settings import find_program, service_address
from podling.core import volume_plugins
from podling.errors import PodlingError
from podling.linux import host, packages, selinux
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


def _programs(names: dict[str, str]) -> dict[str, dict[str, str]]:
    """Path, package and version of programs, by the names that are the keys; all are asked at once."""
    import threading

    found: dict[str, dict[str, str]] = {}

    def ask(key: str, program: str) -> None:
        try:
            path = find_program(program)
        except PodlingError:
            found[key] = {"path": "", "package": "", "version": ""}
            return
        said = run([path, "--version"], capture=True).stdout.decode("utf-8", "replace").strip()
        found[key] = {"path": path, "package": packages.owner(path), "version": said}

    threads = [threading.Thread(target=ask, args=item) for item in names.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _executable(program: dict[str, str]) -> dict[str, str]:
    return {"executable": program["path"], "package": program["package"], "version": program["version"]}


def info(ctx: Context) -> dict[str, Any]:
    """In the shape of `podman info`."""
    return {
        "host": _host(ctx),
        "store": _store(ctx),
        "registries": {"search": _search()},
        "plugins": {
            "volume": ["local", "image", *volume_plugins.names()],
            "network": ["bridge", "macvlan", "ipvlan"],
            "log": ["k8s-file", "none", "passthrough", "journald"],
            "authorization": None,
        },
        "version": version()["Client"],
    }


def _host(ctx: Context) -> dict[str, Any]:
    settings, conf = ctx.settings, containers.load()
    memory = host.memory()
    platform = host_platform()
    runtime = ctx.runtime()
    programs = _programs(
        {"conmon": settings.conmon or "conmon"}
        | {name: name for name in ("netavark", "aardvark-dns", "pasta", "slirp4netns")}
    )
    socket = service_address(outer_uid()).removeprefix("unix://")
    return {
        "arch": platform.architecture,
        "buildahVersion": "",
        "cgroupControllers": host.controllers(),
        "cgroupManager": settings.cgroup_manager,
        "cgroupVersion": host.cgroup_version(),
        "conmon": programs["conmon"],
        "cpuUtilization": host.processor_use(),
        "cpus": os.cpu_count(),
        "databaseBackend": "sqlite",
        "distribution": host.distribution(),
        "emulatedArchitectures": host.emulated(),
        "eventLogger": settings.events_backend,
        "hostname": os.uname().nodename,
        "idMappings": {"gidmap": host.id_map("/proc/self/gid_map"), "uidmap": host.id_map("/proc/self/uid_map")},
        "kernel": os.uname().release,
        "linkmode": "dynamic",
        "logDriver": conf.text("containers", "log_driver", "k8s-file"),
        "memFree": memory["MemFree"],
        "memTotal": memory["MemTotal"],
        # networks are netavark's whoever sets them up, and scripts look for that name; `backend` says who does
        "networkBackend": "netavark",
        "networkBackendInfo": {
            "backend": settings.network_backend or "native",
            **programs["netavark"],
            "dns": programs["aardvark-dns"],
        },
        "ociRuntime": {
            "name": runtime.name,
            "path": runtime.path,
            "package": packages.owner(runtime.path),
            "version": runtime.version(),
        },
        "os": "linux",
        "pasta": _executable(programs["pasta"]),
        "remoteSocket": {"exists": os.path.exists(socket), "path": socket},
        "rootlessNetworkCmd": conf.text("network", "default_rootless_network_cmd", "pasta"),
        "security": {
            "apparmorEnabled": os.path.isdir("/sys/kernel/security/apparmor"),
            "capabilities": ",".join(f"CAP_{name}" for name in _default_capabilities()),
            "rootless": bool(outer_uid()),
            "seccompEnabled": True,
            "seccompProfilePath": conf.text("containers", "seccomp_profile", "default"),
            "selinuxEnabled": selinux.enabled(),
        },
        "serviceIsRemote": False,
        "slirp4netns": _executable(programs["slirp4netns"]),
        "swapFree": memory["SwapFree"],
        "swapTotal": memory["SwapTotal"],
        "uptime": host.uptime(),
        "variant": platform.variant,
    }


def _store(ctx: Context) -> dict[str, Any]:
    from podling.config import storage

    settings = ctx.settings
    usage = os.statvfs(settings.root)
    counts = dict(ctx.db.rows("SELECT status, count(*) FROM containers GROUP BY status"))
    total = sum(counts.values())
    running, paused = counts.get("running", 0) + counts.get("stopping", 0), counts.get("paused", 0)
    return {
        "configFile": storage.main_file(),
        "containerStore": {"number": total, "paused": paused, "running": running, "stopped": total - running - paused},
        "graphDriverName": ctx.store.driver.name,
        "graphOptions": dict(option.partition("=")[::2] for option in settings.storage_opts),
        "graphRoot": settings.root,
        "graphRootAllocated": usage.f_blocks * usage.f_frsize,
        "graphRootUsed": (usage.f_blocks - usage.f_bfree) * usage.f_frsize,
        "graphStatus": {"Native Overlay Diff": "true"} if ctx.store.driver.name == "overlay" else {},
        "imageCopyTmpDir": settings.scratch,
        "imageStore": {"number": ctx.db.value("SELECT count(*) FROM images")},
        "runRoot": settings.runroot,
        "transientStore": settings.transient,
        "volumePath": settings.volume_path,
    }


def _default_capabilities() -> list[str]:
    from podling.runtime.capabilities import DEFAULT

    return DEFAULT


def _search() -> list[str]:
    from podling.config.registries import load

    return load().search
