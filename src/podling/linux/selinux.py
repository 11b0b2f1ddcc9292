"""SELinux: which labels a container's process and files get, and giving them to files (selinux(8), container_selinux(8)).

The policy names the types in its `lxc_contexts`; two categories of our own choice keep containers apart. Files that containers share have
the level `s0` alone.
"""

from __future__ import annotations

import errno
import os

from podling.errors import InvalidInput

_ENFORCE = "/sys/fs/selinux/enforce"
_CONTEXT = "/sys/fs/selinux/context"
_CONFIG = "/etc/selinux/config"
_XATTR = "security.selinux"
_CATEGORIES = 1024
#: what no mount may give another label to: the host would not boot with it
_SYSTEM = frozenset(
    "/ /bin /boot /dev /etc /etc/passwd /etc/pki /etc/shadow /home /lib /lib64 /media /opt /proc /root /run /sbin /srv /sys "
    "/system /tmp /usr /var /var/lib /var/log".split()
)
_PARTS = ("user", "role", "type", "level")


def enabled() -> bool:
    return os.path.exists(_ENFORCE)


def of_container(options: list[str], *, systemd: bool, own_user: bool = False) -> tuple[str, str]:
    """(label of the process, label of its files) for the values of --security-opt label; both empty for `disable`, and where the
    host's policy knows no containers. With `own_user` both are of our own SELinux user and role.

    Raises:
        InvalidInput: an option that is none.
    """
    changes: dict[str, str] = {}
    file_type = ""
    for text in options:
        key, _, value = text.partition(":")
        if text in ("disable", "nested"):
            if text == "disable":
                return "", ""
        elif key in _PARTS and value:
            changes[key] = value
        elif key == "filetype" and value:
            file_type = value
        else:
            raise InvalidInput(
                f"--security-opt label={text}: not one of user:, role:, type:, level:, filetype:, disable, nested"
            )
    contexts = _contexts()
    process = contexts.get("init_process" if systemd else "process") or contexts.get("process", "")
    file = contexts.get("file", "")
    if not process or not file:
        return "", ""
    if own_user:
        ours = _own_user()
        changes = {**ours, **changes}
        file = _with(file, {"user": ours["user"]})
    level = changes.get("level") or _own_level()
    found = (
        _with(process, {**changes, "level": level}),
        _with(file, {"level": level, **({"type": file_type} if file_type else {})}),
    )
    unknown = [label for label in found if not _is_valid(label)]
    if unknown and (changes or file_type):
        raise InvalidInput(
            f"--security-opt label: the SELinux policy does not know {unknown[0]}", hint="`seinfo -t` lists its types"
        )
    return ("", "") if unknown else found


def _is_valid(label: str) -> bool:
    """Whether the loaded policy knows a label: some distributions name types of containers in `lxc_contexts` that theirs has not."""
    try:
        with open(_CONTEXT, "wb", buffering=0) as file:
            file.write(label.encode())
        return True
    except OSError as error:
        return error.errno != errno.EINVAL


def _contexts() -> dict[str, str]:
    """`lxc_contexts` of the policy in use."""
    kind = _assignments(_CONFIG).get("SELINUXTYPE", "targeted")
    return _assignments(f"/etc/selinux/{kind}/contexts/lxc_contexts")


def _assignments(path: str) -> dict[str, str]:
    try:
        with open(path) as file:
            lines = [line.strip() for line in file]
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def _own_user() -> dict[str, str]:
    """The user and the role that this process has."""
    with open("/proc/self/attr/current") as file:
        user, role = (file.read().split(":", 2) + ["", ""])[:2]
    return {"user": user, "role": role}


def _own_level() -> str:
    """Two categories by chance: of half a million pairs."""
    number = int.from_bytes(os.urandom(8), "little")
    first = number % _CATEGORIES
    second = (first + 1 + number // _CATEGORIES % (_CATEGORIES - 1)) % _CATEGORIES
    return f"s0:c{min(first, second)},c{max(first, second)}"


def _with(label: str, changes: dict[str, str]) -> str:
    parts = dict(zip(_PARTS, label.split(":", 3), strict=False))
    return ":".join({**parts, **changes}.values())


def shared(label: str) -> str:
    """The label of files that every container may use."""
    return _with(label, {"level": "s0"}) if label else ""


def type_of(label: str) -> str:
    return (label.split(":", 3) + ["", "", ""])[2]


def relabel(path: str, label: str) -> None:
    """Give a file or a whole folder this label, through no link; a file system without labels stays as it is.

    Raises:
        InvalidInput: a folder of the system.
    """
    if os.path.realpath(path) in _SYSTEM:
        raise InvalidInput(
            f"SELinux relabeling of {path} is not allowed",
            hint="--security-opt label=disable goes without, instead of :z or :Z",
        )
    value = label.encode()
    try:
        _set(path, value)
        if os.path.isdir(path) and not os.path.islink(path):
            for _, folders, files, fd in os.fwalk(path, follow_symlinks=False):
                for name in (*folders, *files):
                    _set(f"/proc/self/fd/{fd}/{name}", value)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EROFS):
            raise InvalidInput(f"SELinux: {path} cannot be labelled {label}: {error.strerror}") from None


def _set(path: str, value: bytes) -> None:
    if label_of(path) != value.decode():
        os.setxattr(path, _XATTR, value, follow_symlinks=False)


def label_of(path: str) -> str:
    """The label of a file; "" where there is none."""
    try:
        return os.getxattr(path, _XATTR, follow_symlinks=False).rstrip(b"\0").decode()
    except OSError:
        return ""
