"""System call filters. The default profile allows what Podman's does; crun gets it as a ready-made BPF program.

Compiling a profile takes libseccomp about 25 ms, more than all else that crun does at create. The program depends only on
the profile, the capabilities and the machine, so it is compiled once and kept below <root>/seccomp/.
"""

from __future__ import annotations

import os

from podling.errors import InvalidInput, Unsupported
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HERE = os.path.dirname(__file__)
_EPERM, _ENOSYS, _EINVAL = 1, 38, 22
_AF_NETLINK, _NETLINK_AUDIT = 16, 9
#: raised whenever this file or seccomp.json changes what the default profile means
DEFAULT_VERSION = 1


def default_profile(capabilities: list[str]) -> dict[str, Any]:
    """The default profile for a container with these capabilities, as the runtime spec's `linux.seccomp`."""
    with open(os.path.join(_HERE, "seccomp.json")) as file:
        facts = json.loads(file.read())
    machine = os.uname().machine
    allowed = list(facts["allow"])
    refused = list(facts["errno_eperm"])
    for capability, names in facts["by_capability"].items():
        if capability in capabilities:
            allowed += names
        else:
            refused += names
    docker_names = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "x86"}
    for machines, names in facts["by_machine"].items():
        if docker_names.get(machine, machine) in machines.split(","):
            allowed += names
    allowed_set = set(allowed) - {"socket"}
    rules: list[dict[str, Any]] = [
        {"names": sorted(set(refused) - allowed_set), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM},
        {"names": sorted(allowed_set), "action": "SCMP_ACT_ALLOW"},
    ]
    for value in facts["personality"]:
        rules.append(_rule("personality", "SCMP_ACT_ALLOW", (0, value, "SCMP_CMP_EQ")))
    if "CAP_AUDIT_WRITE" in capabilities:
        rules.append({"names": ["socket"], "action": "SCMP_ACT_ALLOW"})
    else:
        # PAM treats EINVAL from an audit socket as "no audit here"
        audit = _rule("socket", "SCMP_ACT_ERRNO", (0, _AF_NETLINK, "SCMP_CMP_EQ"), (2, _NETLINK_AUDIT, "SCMP_CMP_EQ"))
        rules.append({**audit, "errnoRet": _EINVAL})
        rules.append(_rule("socket", "SCMP_ACT_ALLOW", (2, _NETLINK_AUDIT, "SCMP_CMP_NE")))
        rules.append(_rule("socket", "SCMP_ACT_ALLOW", (0, _AF_NETLINK, "SCMP_CMP_NE")))
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _ENOSYS,
        "architectures": facts["architectures"].get(machine, []),
        "syscalls": rules,
    }


def _rule(name: str, action: str, *arguments: tuple[int, int, str]) -> dict[str, Any]:
    return {
        "names": [name],
        "action": action,
        "args": [{"index": index, "value": value, "op": operator} for index, value, operator in arguments],
    }


def load_profile(path: str, capabilities: list[str]) -> dict[str, Any]:
    """A profile file, or its text: the runtime spec's form, or Docker's and Podman's with `includes`, `excludes` and `archMap`."""
    try:
        if path.startswith("{"):
            path, text = "of the image", path
        else:
            with open(path) as file:
                text = file.read()
        document = json.loads(text)
    except OSError as error:
        raise InvalidInput(f"seccomp profile {path}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidInput(f"seccomp profile {path} is not JSON: {error}") from None
    if not isinstance(document, dict) or "defaultAction" not in document:
        raise InvalidInput(f"seccomp profile {path} has no defaultAction")
    machine = os.uname().machine
    names = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "x86"}
    machine_name = names.get(machine, machine)
    rules: list[dict[str, Any]] = []
    for rule in document.get("syscalls") or ():
        include, exclude = rule.get("includes") or {}, rule.get("excludes") or {}
        if include.get("arches") and machine_name not in include["arches"]:
            continue
        if machine_name in (exclude.get("arches") or ()):
            continue
        if not all(cap in capabilities for cap in include.get("caps") or ()):
            continue
        if any(cap in capabilities for cap in exclude.get("caps") or ()):
            continue
        kept = {"names": rule.get("names") or [rule["name"]], "action": rule["action"]}
        if rule.get("args"):
            kept["args"] = rule["args"]
        if rule.get("errnoRet") is not None:
            kept["errnoRet"] = rule["errnoRet"]
        rules.append(kept)
    profile = {"defaultAction": document["defaultAction"], "syscalls": rules}
    for key in ("defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"):
        if document.get(key) is not None:
            profile[key] = document[key]
    architectures = document.get("architectures") or []
    with open(os.path.join(_HERE, "seccomp.json")) as file:
        ours = json.loads(file.read())["architectures"].get(machine, [])
    for entry in document.get("archMap") or ():
        if ours and entry["architecture"] == ours[0]:
            architectures = [entry["architecture"], *(entry.get("subArchitectures") or ())]
    profile["architectures"] = architectures
    return profile


_ACTIONS = {
    "SCMP_ACT_KILL": 0x0,
    "SCMP_ACT_KILL_THREAD": 0x0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_OPTIMIZE = 8  # SCMP_FLTATR_CTL_OPTIMIZE; 2: a binary tree, libseccomp 2.5


def compile_bpf(profile: dict[str, Any]) -> bytes:
    """The profile as a BPF program, made by libseccomp.

    Raises:
        Unsupported: no libseccomp here, or the profile holds what a plain filter cannot express.
    """
    import ctypes
    import ctypes.util

    class Comparison(ctypes.Structure):
        _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))

    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        raise Unsupported("libseccomp is not installed", hint="apt install libseccomp2") from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32

    def action(name: str, number: int | None) -> int:
        if name not in _ACTIONS:
            raise Unsupported(f"seccomp action {name} needs the runtime's own support")
        value = _ACTIONS[name]
        return (
            value | ((_EPERM if number is None else number) & 0xFFFF)
            if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
            else value
        )

    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    if not context:
        raise Unsupported("libseccomp refuses the profile's default action")
    try:
        library.seccomp_attr_set(context, _OPTIMIZE, ctypes.c_uint32(2))
        for name in profile.get("architectures") or ():
            token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
            if token:
                library.seccomp_arch_add(context, ctypes.c_uint32(token))
        for rule in profile["syscalls"]:
            verdict = action(rule["action"], rule.get("errnoRet"))
            if verdict == default:
                continue
            compare = [
                Comparison(item["index"], _OPERATORS[item["op"]], item["value"], item.get("valueTwo") or 0)
                for item in rule.get("args") or ()
            ]
            for name in rule["names"]:
                number = library.seccomp_syscall_resolve_name(name.encode())
                if number == -1:  # newer than this libseccomp; the default action covers it
                    continue
                array = (Comparison * len(compare))(*compare)
                library.seccomp_rule_add_array(context, ctypes.c_uint32(verdict), number, len(compare), array)
        fd = os.memfd_create("bpf")
        try:
            if library.seccomp_export_bpf(context, fd):
                raise Unsupported("libseccomp cannot write the filter")
            os.lseek(fd, 0, os.SEEK_SET)
            with os.fdopen(os.dup(fd), "rb") as file:
                return file.read()
        finally:
            os.close(fd)
    finally:
        library.seccomp_release(context)


def compiled(cache: str, key: str, profile: dict[str, Any]) -> str:
    """The base64 BPF program of `profile`, from `cache`/`key` or made now; "" where that is impossible."""
    from binascii import b2a_base64

    path = os.path.join(cache, key)
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        pass
    try:
        text = b2a_base64(compile_bpf(profile), newline=False).decode()
    except Unsupported:
        return ""
    os.makedirs(cache, mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w") as file:
        file.write(text)
    os.rename(temporary, path)
    return text
