"""Devices by name, as the Container Device Interface describes them (CNCF CDI specification 0.8, SPEC.md).

Vendors put files into /etc/cdi or /var/run/cdi which say what a container needs for a device: nodes, mounts, variables, hooks.
"""

from __future__ import annotations

import os

from podling.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FOLDERS = ("/etc/cdi", "/var/run/cdi")
_NAME = r"[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z][A-Za-z0-9_-]*=[A-Za-z0-9][A-Za-z0-9_.:-]*\Z"


def is_name(text: str) -> bool:
    """Whether --device means a CDI device, VENDOR/CLASS=NAME, and no path."""
    return not text.startswith("/") and "=" in text


def gpus(text: str) -> list[str]:
    """The CDI names for --gpus: `all`, a number, or `device=A,B`."""
    value = text.strip().strip('"').removeprefix("device=")
    if text.strip().isdigit():
        return [f"nvidia.com/gpu={number}" for number in range(int(text))]
    if not value:
        raise InvalidInput(f"--gpus {text!r}: say all, how many, or device=NAME")
    return [f"nvidia.com/gpu={name}" for name in value.split(",")]


def _files(folders: list[str]) -> list[str]:
    """Later folders come first: they win."""
    found = []
    for folder in reversed(folders or list(FOLDERS)):
        if os.path.isdir(folder):
            found += [
                f"{folder}/{name}" for name in sorted(os.listdir(folder)) if name.endswith((".json", ".yaml", ".yml"))
            ]
    return found


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path) as file:
            if path.endswith(".json"):
                import json

                document = json.load(file)
            else:
                import yaml

                document = yaml.safe_load(file)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"CDI file {path}: {error}") from None
    except Exception as error:  # yaml has a tree of its own
        raise InvalidInput(f"CDI file {path}: {' '.join(str(error).split())}") from None
    if (
        not isinstance(document, dict)
        or not isinstance(document.get("devices"), list)
        or "/" not in str(document.get("kind"))
    ):
        raise InvalidInput(f"CDI file {path}: not a CDI document, which has a kind and devices")
    return document


def edits(names: list[str], folders: list[str]) -> list[dict[str, Any]]:
    """The `containerEdits` of the named devices, each file's own before those of its devices.

    Raises:
        InvalidInput: no file has a device of that name; a file is broken.
    """
    import re

    for name in names:
        if not re.match(_NAME, name):
            raise InvalidInput(f"--device {name!r}: not VENDOR/CLASS=NAME", hint="a path of a device begins with /")
    documents = [(path, _read(path)) for path in _files(folders)]
    found: list[dict[str, Any]] = []
    used: set[str] = set()
    for name in names:
        kind, _, device = name.partition("=")
        for path, document in documents:
            entry = next((d for d in document["devices"] if document["kind"] == kind and d.get("name") == device), None)
            if entry is None:
                continue
            if path not in used:
                used.add(path)
                found.append(document.get("containerEdits") or {})
            found.append(entry.get("containerEdits") or {})
            break
        else:
            known = sorted(f"{d['kind']}={e.get('name')}" for _, d in documents for e in d["devices"])
            raise InvalidInput(
                f"unresolvable CDI device {name}",
                hint=f"the devices are {', '.join(known)}"
                if known
                else f"no file in {' or '.join(folders or FOLDERS)}",
            )
    return found


def apply(spec: dict[str, Any], names: list[str], folders: list[str], *, unprivileged: bool) -> None:
    """Change a runtime specification as the devices want it."""
    process, linux = spec["process"], spec["linux"]
    for edit in edits(names, folders):
        for text in edit.get("env") or ():
            key = text.partition("=")[0]
            process["env"] = [item for item in process["env"] if item.partition("=")[0] != key] + [text]
        for node in edit.get("deviceNodes") or ():
            _add_node(linux, node, unprivileged=unprivileged)
        for mount in edit.get("mounts") or ():
            options = list(mount.get("options") or ("ro", "nosuid", "nodev", "bind"))
            spec["mounts"].append(
                {
                    "destination": mount["containerPath"], "source": mount["hostPath"], "type": mount.get("type") or "bind",
                    "options": options if any(o in ("bind", "rbind") for o in options) else [*options, "rbind"],
                }
            )  # fmt: skip
        for hook in edit.get("hooks") or ():
            entry = {key: hook[key] for key in ("path", "args", "env", "timeout") if key in hook}
            spec.setdefault("hooks", {}).setdefault(hook["hookName"], []).append(entry)
        if groups := edit.get("additionalGids"):
            process["user"]["additionalGids"] = sorted({*process["user"].get("additionalGids", ()), *groups} - {0})
        if resctrl := edit.get("intelRdt"):
            linux["intelRdt"] = resctrl


def _add_node(linux: dict[str, Any], node: dict[str, Any], *, unprivileged: bool) -> None:
    import stat

    path = node["path"]
    host = node.get("hostPath") or path
    try:
        info = os.stat(host)
    except OSError as error:
        if "major" not in node:
            raise InvalidInput(f"CDI device node {host}: {error.strerror}") from None
        info = None
    kind = node.get("type") or ("b" if info and stat.S_ISBLK(info.st_mode) else "c")
    major = node.get("major", os.major(info.st_rdev) if info else 0)
    minor = node.get("minor", os.minor(info.st_rdev) if info else 0)
    entry = {
        "path": path, "type": kind, "major": major, "minor": minor, "uid": node.get("uid", info.st_uid if info else 0),
        "gid": node.get("gid", info.st_gid if info else 0), "fileMode": node.get("fileMode", stat.S_IMODE(info.st_mode) if info else 0o666),
    }  # fmt: skip
    linux["devices"] = [known for known in linux.get("devices", ()) if known["path"] != path] + [entry]
    rules = linux.get("resources", {}).get("devices")
    if rules is not None and not unprivileged:
        access = node.get("permissions") or "rwm"
        rules.append({"allow": True, "type": kind, "major": major, "minor": minor, "access": access})
