"""User names and passwords for registries: auth.json (containers-auth.json(5)), Docker's config.json, credential helpers."""

from __future__ import annotations

import base64
import os

from podling.errors import InvalidInput, NotFound, PodlingError
from podling.linux.proc import outer_uid
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Pair = tuple[str, str]

#: as user name it means that the password is an identity token (Docker's credential helpers)
TOKEN_USER = "<token>"
_AUTH_JSON = "containers-auth.json"
_HUB_KEY = "https://index.docker.io/v1/"


def primary_file() -> str:
    """Where `login` writes when nothing else is said."""
    if override := os.environ.get("REGISTRY_AUTH_FILE"):
        return override
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{outer_uid()}"
    return f"{runtime}/containers/auth.json" if outer_uid() else "/run/containers/0/auth.json"


def _files(explicit: str) -> list[str]:
    if explicit:
        return [explicit]
    if os.environ.get("REGISTRY_AUTH_FILE"):
        return [primary_file()]
    home = os.path.expanduser("~")
    return [
        primary_file(),
        os.path.join(os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config", "containers/auth.json"),
        os.path.join(os.environ.get("DOCKER_CONFIG") or f"{home}/.docker", "config.json"),
    ]


def parse_pair(text: str) -> Pair:
    """`user:password` as --creds takes it."""
    user, colon, password = text.partition(":")
    if not user or not colon:
        raise InvalidInput("--creds must be USER:PASSWORD")
    return user, password


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path) as file:
            text = file.read()
        document: Any = json.loads(text) if text.strip() else {}
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"{path}: not a JSON object")
    return document


def _key(name: str) -> str:
    """Docker writes URLs as keys."""
    name = name.removeprefix("https://").removeprefix("http://")
    host, _, path = name.partition("/")
    if host in ("index.docker.io", "registry-1.docker.io") or path in ("v1/", "v2/", "v1", "v2"):
        return "docker.io" if "docker.io" in host else host
    return name.rstrip("/")


def find(registry: str, repository: str, authfile: str = "", helpers: list[str] | None = None) -> Pair | None:
    """(user, password) for the most specific key that covers registry/repository, or None.

    `helpers` are the credential helpers of registries.conf, asked in their order; `containers-auth.json` stands for the files.
    """
    keys = [registry]
    for part in repository.split("/") if repository else ():
        keys.append(f"{keys[-1]}/{part}")
    for helper in helpers or [_AUTH_JSON]:
        found = _from_files(keys, authfile) if helper == _AUTH_JSON else _ask(helper, registry)
        if found:
            return found
    return None


def _from_files(keys: list[str], authfile: str) -> Pair | None:
    for path in _files(authfile):
        if not os.path.exists(path):
            if authfile:
                raise InvalidInput(f"{path}: no such file")
            continue
        document = _load(path)
        helpers = {_key(name): str(helper) for name, helper in (document.get("credHelpers") or {}).items()}
        if (helper := helpers.get(keys[0])) and (found := _ask(helper, keys[0])):
            return found
        auths = {_key(name): entry for name, entry in (document.get("auths") or {}).items()}
        for key in reversed(keys):
            if found := _decode(path, key, auths.get(key) or {}):
                return found
        if (store := document.get("credsStore")) and (found := _ask(str(store), keys[0])):
            return found
    return None


def _decode(path: str, key: str, entry: dict[str, Any]) -> Pair | None:
    if token := entry.get("identitytoken"):
        return TOKEN_USER, str(token)
    encoded = entry.get("auth")
    if not encoded:
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        raise InvalidInput(f"{path}: the entry for {key} is not base64 of user:password") from None
    return user, password.rstrip("\0")


# -- helpers: programs called docker-credential-NAME (Docker's credential helper protocol)
def _run_helper(helper: str, action: str, text: str) -> str | None:
    import shutil
    import subprocess

    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        raise NotFound(
            f"the credential helper docker-credential-{helper} is not installed",
            hint="install it, or take it out of the auth file",
        )
    done = subprocess.run([program, action], input=text.encode(), capture_output=True)
    if done.returncode:
        message = (done.stdout or done.stderr).decode("utf-8", "replace").strip()
        if "not found" in message:
            return None
        raise PodlingError(f"docker-credential-{helper} {action}: {message or f'exit code {done.returncode}'}")
    return done.stdout.decode("utf-8", "replace")


def _ask(helper: str, registry: str) -> Pair | None:
    answer = _run_helper(helper, "get", _HUB_KEY if registry == "docker.io" else registry)
    if answer is None:
        return None
    try:
        document = json.loads(answer)
        return str(document["Username"]), str(document["Secret"])
    except (ValueError, KeyError, TypeError):
        raise PodlingError(f"docker-credential-{helper} gave no credentials for {registry}") from None


# -- changing
def store(registry: str, pair: Pair, authfile: str = "", compat: str = "", helpers: list[str] | None = None) -> str:
    """Keep a pair for a registry (or registry/namespace); the file or helper that has it now."""
    path = compat or authfile or primary_file()
    own = next((name for name in helpers or () if name != _AUTH_JSON), "") if not (authfile or compat) else ""
    document = _load(path) if os.path.exists(path) else {}
    helper = own or (document.get("credHelpers") or {}).get(registry) or document.get("credsStore") or ""
    if helper:
        name = _HUB_KEY if registry == "docker.io" else registry
        _run_helper(str(helper), "store", json.dumps({"ServerURL": name, "Username": pair[0], "Secret": pair[1]}))
        return f"docker-credential-{helper}"
    auths = document.setdefault("auths", {})
    key = _HUB_KEY if compat and registry == "docker.io" else registry
    auths[key] = {"auth": base64.b64encode(":".join(pair).encode()).decode()}
    _write(path, document)
    return path


def remove(registry: str, authfile: str = "", compat: str = "", helpers: list[str] | None = None) -> bool:
    """Forget what is kept for a registry; whether there was anything."""
    removed = False
    for path in [compat or authfile] if compat or authfile else _files("")[:1]:
        if not os.path.exists(path):
            continue
        document = _load(path)
        helper = (document.get("credHelpers") or {}).get(registry) or document.get("credsStore")
        if helper and _ask(str(helper), registry):
            _run_helper(str(helper), "erase", _HUB_KEY if registry == "docker.io" else registry)
            removed = True
        auths = document.get("auths") or {}
        keys = [key for key in auths if _key(key) == registry]
        for key in keys:
            del auths[key]
        if keys:
            _write(path, document)
            removed = True
    for helper in helpers or ():
        if helper != _AUTH_JSON and not (authfile or compat) and _ask(helper, registry):
            _run_helper(helper, "erase", registry)
            removed = True
    return removed


def remove_all(authfile: str = "", compat: str = "") -> None:
    """Forget everything in the file."""
    path = compat or authfile or primary_file()
    if os.path.exists(path):
        document = _load(path)
        document["auths"] = {}
        _write(path, document)


def _write(path: str, document: dict[str, Any]) -> None:
    """Replace the file in one step, readable by its owner alone."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, 0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(json.pretty(document, 4) + "\n")
        os.rename(temporary, path)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
