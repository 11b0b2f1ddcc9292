"""OCI hooks from folders of JSON files: programs that the runtime runs at a container's steps (oci-hooks.5, version 1.0.0)."""

from __future__ import annotations

import os

from podling.errors import InvalidInput, RuntimeFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FOLDERS = ("/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d")
_STAGES = ("precreate", "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_SECONDS = 10


def _load(folders: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """File name to (path, document); a file hides one of the same name in an earlier folder."""
    from podling.oci import json

    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for folder in folders:
        if not os.path.isdir(folder):
            continue
        for name in os.listdir(folder):
            if not name.endswith(".json"):
                continue
            path = f"{folder}/{name}"
            try:
                with open(path) as file:
                    document = json.loads(file.read())
            except (OSError, ValueError) as error:
                raise InvalidInput(f"hook {path}: {error}") from None
            hook = document.get("hook") if isinstance(document, dict) else None
            if not isinstance(hook, dict) or not str(hook.get("path", "")).startswith("/"):
                raise InvalidInput(f"hook {path}: it has no hook with an absolute path")
            unknown = set(document.get("stages") or ()) - set(_STAGES)
            if unknown:
                raise InvalidInput(f"hook {path}: unknown stage {sorted(unknown)[0]!r}")
            if not os.path.exists(hook["path"]):
                raise InvalidInput(f"hook {path}: {hook['path']}: no such program")
            found[name] = path, document
    return found


def _wanted(path: str, when: dict[str, Any], spec: dict[str, Any], *, binds: bool) -> bool:
    """Whether the conditions of a hook hold: those that it names, all of them."""
    import re

    try:
        if "always" in when and not when["always"]:
            return False
        for key, value in (when.get("annotations") or {}).items():
            if not any(re.search(key, name) and re.search(value, text) for name, text in spec["annotations"].items()):
                return False
        commands = when.get("commands")
        if commands and not any(re.search(pattern, spec["process"]["args"][0]) for pattern in commands):
            return False
    except re.error as error:
        raise InvalidInput(f"hook {path}: {error}") from None
    return not (when.get("hasBindMounts") and not binds)


def apply(spec: dict[str, Any], folders: list[str], *, binds: bool) -> dict[str, Any]:
    """Add the hooks whose conditions hold to a specification, which those of the stage precreate may change.

    Raises:
        InvalidInput: a file is broken. RuntimeFailed: a precreate hook failed.
    """
    for _name, (path, document) in sorted(_load(folders).items()):
        if not _wanted(path, document.get("when") or {}, spec, binds=binds):
            continue
        hook = {key: document["hook"][key] for key in ("path", "args", "env", "timeout") if key in document["hook"]}
        for stage in document.get("stages") or ():
            if stage == "precreate":
                spec = _change(spec, hook)
            else:
                spec.setdefault("hooks", {}).setdefault(stage, []).append(hook)
    return spec


def _change(spec: dict[str, Any], hook: dict[str, Any]) -> dict[str, Any]:
    """Let a precreate hook write the specification anew."""
    import subprocess

    from podling.oci import json

    argv = [hook["path"], *(hook.get("args") or [hook["path"]])[1:]]
    env = dict(item.partition("=")[::2] for item in hook.get("env") or ())
    seconds = hook.get("timeout") or _SECONDS
    try:
        done = subprocess.run(
            argv, input=json.dumps(spec).encode(), capture_output=True, timeout=seconds, env=env, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeFailed(f"precreate hook {hook['path']} did not end within {seconds} s") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RuntimeFailed(f"precreate hook {hook['path']}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    if not done.stdout.strip():
        return spec
    try:
        changed = json.loads(done.stdout)
    except ValueError:
        changed = None
    if not isinstance(changed, dict):
        raise RuntimeFailed(f"precreate hook {hook['path']}: its output is no specification")
    return changed
