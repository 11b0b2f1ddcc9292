"""Linux capabilities (capabilities(7)): names, the default set, and --cap-add/--cap-drop."""

from __future__ import annotations

from podling.errors import InvalidInput
from podling.linux.proc import in_user_namespace

#: by number
ALL = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()

#: containers.conf(5), default_capabilities
DEFAULT = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT".split()


def normalise(name: str) -> str:
    """`net_raw`, `NET_RAW` and `CAP_NET_RAW` are the same; "ALL" stays."""
    short = name.strip().upper().removeprefix("CAP_")
    if short != "ALL" and short not in ALL:
        import difflib

        close = difflib.get_close_matches(short, ALL, 1)
        raise InvalidInput(
            f"unknown capability {name!r}", hint=f"did you mean {close[0]}?" if close else "see capabilities(7)"
        )
    return short


def bounding() -> list[str]:
    """What this process may hand out: an engine inside a container has less than all."""
    mask = 0
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("CapBnd:"):
                mask = int(line.split()[1], 16)
    return [name for number, name in enumerate(ALL) if mask >> number & 1]


def may_raise_limits() -> bool:
    """Whether limits can go above our own: the kernel asks for the host's CAP_SYS_RESOURCE."""
    return "SYS_RESOURCE" in bounding() and not in_user_namespace()


def effective(*, privileged: bool, add: list[str], drop: list[str]) -> list[str]:
    """The container's capabilities, as CAP_… names in the kernel's order.

    Raises:
        InvalidInput: one capability is both added and dropped, or unknown.
    """
    added, dropped = {normalise(name) for name in add}, {normalise(name) for name in drop}
    both = (added & dropped) - {"ALL"}
    if both:
        raise InvalidInput(f"capability {sorted(both)[0]!r} is both added and dropped")
    allowed = bounding()
    chosen = set(allowed) if privileged or "ALL" in added else set(DEFAULT)
    if "ALL" in dropped:
        chosen = set() if "ALL" not in added else chosen
    chosen = (chosen | added) - dropped
    return [f"CAP_{name}" for name in allowed if name in chosen]
