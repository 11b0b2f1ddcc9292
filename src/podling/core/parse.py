"""The small languages of options: sizes, signals, mounts, ports, environment files."""

from __future__ import annotations

import os

from podling.errors import InvalidInput
from podling.oci.sizes import size
from podling.runtime.config import Device, Mount, Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIGNALS = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ "
    "VTALRM PROF WINCH IO PWR SYS"
).split()
_RTMIN, _RTMAX = 34, 64


def signal_number(text: str) -> int:
    """`TERM`, `SIGTERM`, `15`, `RTMIN+3`."""
    name = text.strip().upper().removeprefix("SIG")
    if name.isdigit() and 0 < int(name) <= _RTMAX:
        return int(name)
    name = {"CLD": "CHLD", "IOT": "ABRT", "POLL": "IO"}.get(name, name)
    if name in _SIGNALS:
        return _SIGNALS.index(name) + 1
    for base, start, sign in (("RTMIN", _RTMIN, 1), ("RTMAX", _RTMAX, -1)):
        if name.startswith(base):
            rest = name[len(base) :].lstrip("+-")
            number = start + sign * int(rest or "0") if (rest or "0").isdigit() else 0
            if _RTMIN <= number <= _RTMAX:
                return number
    raise InvalidInput(f"invalid signal: {text}", hint="signals look like TERM, SIGTERM or 15")


def pairs(items: list[str], flag: str, *, bare: bool = True) -> dict[str, str]:
    """KEY=VALUE items; a bare KEY has the value ""."""
    found = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not key or not (equals or bare):
            raise InvalidInput(f"{flag} {item!r} is not KEY=VALUE")
        found[key] = value
    return found


def environment(items: list[str], files: list[str]) -> dict[str, str]:
    """--env-file, then --env over it. A bare NAME takes the value that we have; NAME* all that begin so."""
    lines = []
    for path in files:
        try:
            with open(path) as file:
                lines += [
                    line.lstrip()
                    for line in file.read().splitlines()
                    if line.strip() and not line.lstrip().startswith("#")
                ]
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"--env-file {path}: {getattr(error, 'strerror', None) or error}") from None
    found = {}
    for item in (*lines, *items):
        name, equals, value = item.partition("=")
        if not name:
            raise InvalidInput(f"--env {item!r} has no name")
        if equals:
            found[name] = value
        elif name.endswith("*"):
            found.update({key: value for key, value in os.environ.items() if key.startswith(name[:-1])})
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


_RESTARTS = ("no", "on-failure", "always", "unless-stopped")


def restart_policy(text: str) -> tuple[str, int]:
    """(policy, limit of restarts) of `on-failure:3`; "never" is "no"."""
    name, colon, count = text.partition(":")
    name = "no" if name in ("", "never") else name
    if name not in _RESTARTS:
        raise InvalidInput(f"--restart {text!r}: not one of {', '.join(_RESTARTS)}")
    if colon and (name != "on-failure" or not count.isdigit()):
        raise InvalidInput(f"--restart {text!r}: only on-failure takes a number, as in on-failure:3")
    return name, int(count or 0)


# -- mounts
_OPTIONS = frozenset(
    "ro rw z Z U O copy nocopy idmap exec noexec dev nodev suid nosuid bind rbind private rprivate shared rshared slave rslave "
    "unbindable runbindable atime noatime diratime nodiratime relatime norelatime strictatime".split()
)


def volume(text: str) -> Mount:
    """`[SOURCE:]TARGET[:OPTIONS]` of -v. A source with a slash at its start or `.` is a path, otherwise a volume's name."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise InvalidInput(f"--volume {text!r}: incorrect volume format, should be [host-dir:]ctr-dir[:option]")
    options = parts[2].split(",") if len(parts) == 3 else []
    for option in options:
        if option not in _OPTIONS and option.partition("=")[0] not in ("upperdir", "workdir"):
            raise InvalidInput(f"--volume {text!r}: invalid option {option!r}")
    target = _target(parts[1] if len(parts) > 1 else parts[0], "--volume")
    if len(parts) == 1:
        return Mount(kind="volume", target=target, options=[])
    copy_up = "nocopy" not in options
    if parts[0].startswith(("/", ".", "~")):
        return Mount(kind="bind", source=_source(parts[0], "--volume"), target=target, options=options)
    check_volume_name(parts[0])
    return Mount(kind="volume", name=parts[0], target=target, options=options, copy_up=copy_up)


def check_volume_name(name: str) -> None:
    """InvalidInput where a volume cannot be called so."""
    allowed = name.replace("_", "a").replace(".", "a").replace("-", "a")
    if not allowed.isalnum() or not name[0].isalnum() or not name.isascii():
        raise InvalidInput(f"volume name {name!r}: names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument")


def _target(path: str, flag: str) -> str:
    if not path.startswith("/"):
        raise InvalidInput(f"{flag}: the container path {path!r} must be absolute")
    path = os.path.normpath(path).replace("//", "/")
    if path == "/":
        raise InvalidInput(f"{flag}: nothing can be mounted over the container's /")
    return path


def _source(path: str, flag: str) -> str:
    full = os.path.abspath(os.path.expanduser(path))
    try:
        os.lstat(full)
    except PermissionError:
        from podling.core import binds

        raise binds.hidden(full, flag) from None
    except OSError as error:
        said = "no such file or directory" if isinstance(error, FileNotFoundError) else error.strerror
        raise InvalidInput(f"{flag}: statfs {full}: {said}", hint=f"mkdir -p {full}") from None
    return full


def mounts(text: str) -> list[Mount]:
    """`type=bind,source=…,target=…,ro` of --mount; type=glob may be several."""
    if "type=glob" not in text.split(","):
        return [mount(text)]
    import glob

    rest = [item for item in text.split(",") if item != "type=glob"]
    pattern = next((item.partition("=")[2] for item in rest if item.partition("=")[0] in ("source", "src")), "")
    target = next(
        (item.partition("=")[2] for item in rest if item.partition("=")[0] in ("target", "dst", "destination")), ""
    )
    others = [item for item in rest if item.partition("=")[0] not in ("source", "src", "target", "dst", "destination")]
    paths = sorted(glob.glob(pattern)) if pattern else []
    if not paths:
        raise InvalidInput(f"--mount {text!r}: nothing on the host fits {pattern!r}")
    inside = [os.path.join(target, os.path.basename(path)) if target else os.path.abspath(path) for path in paths]
    return [
        mount(",".join(["type=bind", f"source={path}", f"target={place}", *others]))
        for path, place in zip(paths, inside, strict=True)
    ]


def mount(text: str) -> Mount:
    """`type=bind,source=…,target=…,ro` of --mount."""
    values: dict[str, str] = {}
    flags: list[str] = []
    for item in text.split(","):
        key, equals, value = item.partition("=")
        key = {"src": "source", "dst": "target", "destination": "target", "readonly": "ro"}.get(key, key)
        if key in ("U", "chown") and value in ("", "true", "1"):
            flags.append("U")
        elif key in (
            "type",
            "source",
            "target",
            "tmpfs-size",
            "tmpfs-mode",
            "bind-propagation",
            "uid",
            "gid",
            "mode",
            "max",
            "subpath",
            "digest",
            "title",
            "name",
        ):
            values[key] = value
        elif key == "volume-subpath":
            values["subpath"] = value
        elif key in ("tmpcopyup", "notmpcopyup", "nocopy", "volume-nocopy") and value in ("", "true", "1"):
            flags.append("nocopy" if key == "volume-nocopy" else key)
        elif key == "bind-nonrecursive" and value in ("", "true", "1"):
            flags.append("bind")
        elif key == "idmap" and value in ("", "true"):
            flags.append("idmap")
        elif key == "consistency":
            continue  # Docker's, of another system
        elif key in ("ro", "rw") and value in ("", "true", "1", "false", "0"):
            flags.append("ro" if (key == "ro") == (value in ("", "true", "1")) else "rw")
        elif key in ("relabel",) and value in ("shared", "private"):
            flags.append("z" if value == "shared" else "Z")
        elif not equals and key in _OPTIONS:
            flags.append(key)
        else:
            raise InvalidInput(f"--mount {text!r}: invalid option {item!r}")
    kind = values.get("type", "volume")
    if kind not in ("artifact", "bind", "volume", "tmpfs", "ramfs", "image", "devpts"):
        hint = "the types are artifact, bind, volume, tmpfs, ramfs, image, glob and devpts"
        raise InvalidInput(f"--mount {text!r}: invalid type {kind!r}", hint=hint)
    if not values.get("target"):
        raise InvalidInput(f"--mount {text!r}: must set volume destination")
    target = _target(values["target"], "--mount")
    if kind == "devpts":
        flags += [f"{key}={values[key]}" for key in ("uid", "gid", "mode", "max") if key in values]
        return Mount(kind="devpts", target=target, options=flags)
    if kind == "image":
        if not values.get("source"):
            raise InvalidInput(f"--mount {text!r}: an image mount needs a source: the image's name")
        return Mount(
            kind="image", source=values["source"], target=target, options=[f for f in flags if f in ("ro", "rw")],
            subpath=values.get("subpath", ""),
        )  # fmt: skip
    if kind == "artifact":
        if not values.get("source"):
            raise InvalidInput(f"--mount {text!r}: an artifact mount needs a source: the artifact's name")
        chosen = ",".join(f"{key}={values[key]}" for key in ("digest", "title", "name") if key in values)
        return Mount(kind="artifact", source=values["source"], target=target, subpath=chosen)
    if kind in ("tmpfs", "ramfs"):
        flags = [flag for flag in flags if flag != "notmpcopyup"]
        flags += [f"size={size(values['tmpfs-size'], '--mount tmpfs-size')}"] if "tmpfs-size" in values else []
        flags += [f"mode={values['tmpfs-mode']}"] if "tmpfs-mode" in values else []
        return Mount(kind=kind, target=target, options=flags)
    if "bind-propagation" in values:
        flags.append(values["bind-propagation"])
    if kind == "bind":
        if not values.get("source"):
            raise InvalidInput(f"--mount {text!r}: a bind mount needs a source")
        return Mount(kind="bind", source=_source(values["source"], "--mount"), target=target, options=flags)
    name = values.get("source", "")
    if name:
        check_volume_name(name)
    return Mount(
        kind="volume", name=name, target=target, options=flags, copy_up="nocopy" not in flags,
        subpath=values.get("subpath", ""),
    )  # fmt: skip


def tmpfs(text: str) -> Mount:
    """`TARGET[:OPTIONS]`."""
    path, _, options = text.partition(":")
    return Mount(
        kind="tmpfs", target=_target(path, "--tmpfs"), options=[option for option in options.split(",") if option]
    )


def device(text: str) -> Device:
    """`HOST[:TARGET][:rwm]`."""
    parts = text.split(":")
    access = "rwm"
    if len(parts) > 1 and set(parts[-1]) <= set("rwm") and parts[-1]:
        access = parts.pop()
    if not 1 <= len(parts) <= 2 or not parts[0].startswith("/"):
        raise InvalidInput(f"--device {text!r}: not HOST-DEVICE[:CONTAINER-DEVICE][:PERMISSIONS]")
    if not os.path.exists(parts[0]):
        raise InvalidInput(f"--device {text!r}: stat {parts[0]}: no such file or directory")
    return Device(host=parts[0], target=parts[-1], access=access)


# -- networks
def network_use(text: str) -> tuple[str, dict[str, Any]]:
    """`NAME[:ip=…,ip6=…,mac=…,alias=…,interface_name=…]` of --network."""
    name, colon, rest = text.partition(":")
    wanted: dict[str, Any] = {"ips": [], "mac": "", "aliases": [], "interface": ""}
    for item in rest.split(",") if colon else ():
        key, equals, value = item.partition("=")
        if not equals or not value or key not in ("ip", "ip6", "mac", "alias", "interface_name"):
            raise InvalidInput(
                f"--network {text!r}: invalid option {item!r}", hint="ip=, ip6=, mac=, alias= or interface_name="
            )
        if key in ("ip", "ip6"):
            _check_address(value, f"--network {text!r}")
            wanted["ips"].append(value)
        elif key == "alias":
            wanted["aliases"].append(value)
        else:
            wanted["mac" if key == "mac" else "interface"] = value
    return name, wanted


# -- ports
def _range(text: str, flag: str) -> tuple[int, int]:
    """(first, count)."""
    first, dash, last = text.partition("-")
    if not first.isdigit() or (dash and not last.isdigit()):
        raise InvalidInput(f"{flag}: {text!r} is not a port or a range of ports")
    low, high = int(first), int(last or first)
    if not 0 < low <= high <= 65535:
        raise InvalidInput(f"{flag}: port numbers must be between 1 and 65535, and a range must go up: {text!r}")
    return low, high - low + 1


def publish(text: str) -> list[Port]:
    """`[[IP:][HOST]:]CONTAINER[/PROTOCOL]` of -p, one Port per protocol. A host port of 0 is to be chosen."""
    flag = f"--publish {text!r}"
    rest, slash, protocols = text.partition("/")
    address = ""
    if rest.startswith("["):
        address, _, rest = rest[1:].partition("]")
        rest = rest.removeprefix(":")
    parts = rest.split(":")
    if len(parts) == 3 and not address:
        address, *parts = parts
    if not 1 <= len(parts) <= 2:
        raise InvalidInput(f"{flag}: not [[IP:][HOST-PORT]:]CONTAINER-PORT[/PROTOCOL]")
    if address:
        _check_address(address, flag)
    first, span = _range(parts[-1], flag)
    host = 0
    if len(parts) == 2 and parts[0]:
        host, host_span = _range(parts[0], flag)
        if host_span != span:
            raise InvalidInput(f"{flag}: host and container port ranges have different lengths: {host_span} vs {span}")
    names = protocols.split(",") if slash else ["tcp"]
    for name in names:
        if name not in ("tcp", "udp", "sctp"):
            raise InvalidInput(f"{flag}: unknown protocol {name!r}")
    return [Port(container_port=first, host_port=host, host_ip=address, protocol=name, span=span) for name in names]


def _check_address(text: str, flag: str) -> None:
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
            return
        except OSError:
            continue
    raise InvalidInput(f"{flag}: {text!r} is not an IP address")


def exposed(text: str) -> list[tuple[int, str]]:
    """`PORT[-PORT][/PROTOCOL]`: (port, protocol) pairs."""
    number, _, protocol = text.partition("/")
    first, span = _range(number, f"--expose {text!r}")
    return [(first + offset, protocol or "tcp") for offset in range(span)]
