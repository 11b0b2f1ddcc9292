"""What an engine needs of a host: what is there, and the command that mends what is not."""

from __future__ import annotations

import os

from podling.config.settings import Settings, find_program
from podling.errors import PodlingError
from podling.linux.process import run
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Finding(Record):
    """One item. `state`: ok, note (it works, with a limit) or fix; `fix` is what to type."""

    name: str
    state: str
    found: str = ""
    fix: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; nothing is changed, and nothing need work for it."""
    uid = os.geteuid()
    checks: list[Callable[[], list[Finding]]] = [_kernel, _programs, _cgroups, _tun]
    if uid:
        checks += [_namespaces, _subordinate, _runtime_folder, _linger]
    checks.append(lambda: _storage(settings))
    findings = []
    for check in checks:
        findings += check()
    return findings


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _kernel() -> list[Finding]:
    release = os.uname().release
    numbers = [int(part) if part.isdigit() else 0 for part in release.split(".")[:2]]
    old = numbers < [5, 11]
    found = Finding(name="kernel", state="note" if old else "ok", found=release)
    if old:
        found.found += ": overlay mounts of users need 5.11; fuse-overlayfs or vfs serve there"
    return [found]


def _programs() -> list[Finding]:
    user = bool(os.geteuid())
    wanted = [("conmon", "conmon", True), ("crun", "crun", True), ("netavark", "netavark", not user),
              ("aardvark-dns", "aardvark-dns", not user), ("pasta", "passt", user), ("newuidmap", "uidmap", user),
              ("catatonit", "catatonit", False), ("fuse-overlayfs", "fuse-overlayfs", False)]  # fmt: skip
    findings = []
    for name, package, needed in wanted:
        try:
            findings.append(Finding(name=name, state="ok", found=find_program(name)))
        except PodlingError:
            if name == "crun":
                try:
                    findings.append(
                        Finding(
                            name=name,
                            state="note",
                            found=f"not installed; {find_program('runc')} serves with --runtime runc",
                        )
                    )
                    continue
                except PodlingError:
                    pass
            state = "fix" if needed else "note"
            findings.append(Finding(name=name, state=state, found="not installed", fix=f"sudo apt install {package}"))
    return [*findings, _firewall()]


def _firewall() -> Finding:
    """What our own bridges are made with; root's can be netavark's instead."""
    from podling.network import nftables

    if nftables.is_usable():
        return Finding(name="libnftables", state="ok", found=nftables.LIBRARY)
    serves = "bridges of users need it" if os.geteuid() else "netavark sets bridges up instead, and takes longer"
    return Finding(
        name="libnftables", state="note", found=f"not installed: {serves}", fix="sudo apt install libnftables1"
    )


def _cgroups() -> list[Finding]:
    user = bool(os.geteuid())
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        text = "version 1" + (": no limits for users' containers" if user else "")
        fix = "boot with systemd.unified_cgroup_hierarchy=1" if user else ""
        return [Finding(name="cgroups", state="note" if user else "ok", found=text, fix=fix)]
    if not user:
        return [Finding(name="cgroups", state="ok", found="version 2")]
    uid = os.geteuid()
    given = _read(f"/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers").split()
    missing = [name for name in ("cpu", "cpuset", "io", "memory", "pids") if name not in given]
    if not missing:
        return [Finding(name="cgroups", state="ok", found="version 2, delegated: " + " ".join(given))]
    return [
        Finding(
            name="cgroups", state="note", found=f"version 2; not delegated to this user: {' '.join(missing)}",
            fix="sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | "
            "sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload",
        )
    ]  # fmt: skip


def _tun() -> list[Finding]:
    if not os.geteuid():
        return []
    if not os.path.exists("/dev/net/tun"):
        return [Finding(name="/dev/net/tun", state="fix", found="missing: pasta needs it", fix="sudo modprobe tun")]
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return [
            Finding(name="/dev/net/tun", state="fix", found="not open to this user", fix="sudo chmod 0666 /dev/net/tun")
        ]
    return [Finding(name="/dev/net/tun", state="ok")]


def _namespaces() -> list[Finding]:
    """Make one in a child, and use it."""
    from podling.linux import calls

    child = os.fork()
    if not child:
        code = 1
        try:
            calls.unshare(calls.CLONE_NEWUSER | calls.CLONE_NEWNS)
            calls.mount("", "/", "none", calls.MS_REC | calls.MS_SLAVE)
            code = 0
        finally:
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        return [Finding(name="user namespaces", state="ok")]
    from podling.rootless import namespace

    return [Finding(name="user namespaces", state="fix", found="refused by this host", fix=namespace.advice())]


def _subordinate() -> list[Finding]:
    from podling.rootless import namespace, subids

    uid, gid = os.getuid(), os.getgid()
    users, groups = namespace.granted(uid, gid)
    have = min(subids.size(users), subids.size(groups)) - 1
    if have >= 65536:
        return [Finding(name="subordinate ids", state="ok", found=f"{have}")]
    text = (
        f"{have}: images whose files have other owners cannot be used"
        if not have
        else f"{have}: fewer than most images use"
    )
    return [Finding(name="subordinate ids", state="fix", found=text, fix=namespace.grant_command(uid))]


def _runtime_folder() -> list[Finding]:
    from podling.config.settings import runtime_folder

    path = runtime_folder(os.geteuid())
    if path.startswith("/tmp/podling-run-"):
        return [
            Finding(
                name="run-time folder", state="note", found=f"{path}: there is no XDG_RUNTIME_DIR",
                fix="log in through a systemd session (ssh, or machinectl shell), or set XDG_RUNTIME_DIR",
            )
        ]  # fmt: skip
    return [Finding(name="run-time folder", state="ok", found=path)]


def _linger() -> list[Finding]:
    import pwd

    if not os.path.isdir("/run/systemd/system"):
        return []
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return []
    if os.path.exists(f"/var/lib/systemd/linger/{name}"):
        return [Finding(name="linger", state="ok", found="containers stay when this user logs out")]
    text = "containers end when this user logs out"
    return [Finding(name="linger", state="note", found=text, fix=f"loginctl enable-linger {name}")]


def _storage(settings: Settings) -> list[Finding]:
    path = settings.completed().root
    place = path
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    kind = run(["/usr/bin/stat", "-f", "-c", "%T", place], capture=True).stdout.decode().strip() or "unknown"
    usage = os.statvfs(place)
    free = usage.f_bavail * usage.f_frsize
    if not os.access(place, os.W_OK):
        return [
            Finding(
                name="storage", state="fix", found=f"{path} cannot be written", fix="choose another place: --root PATH"
            )
        ]
    remote = kind in ("nfs", "cifs", "smb2", "9p", "fuseblk")
    text = f"{path} ({kind}, {free / 1e9:.1f} GB free)" + (": no overlay there, vfs copies layers" if remote else "")
    low = free < 1 << 30
    return [Finding(name="storage", state="note" if remote or low else "ok", found=text)]
