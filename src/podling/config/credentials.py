"""auth.json (containers-auth.json(5)) and Docker's config.json: user names and passwords for registries."""

from __future__ import annotations

import base64
import os

from podling.errors import InvalidInput
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _files(explicit: str) -> list[str]:
    if explicit:
        return [explicit]
    home = os.path.expanduser("~")
    if override := os.environ.get("REGISTRY_AUTH_FILE"):
        return [override]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    primary = f"{runtime}/containers/auth.json" if os.getuid() else "/run/containers/0/auth.json"
    return [
        primary,
        os.path.join(os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config", "containers/auth.json"),
        os.path.join(os.environ.get("DOCKER_CONFIG") or f"{home}/.docker", "config.json"),
    ]


def parse_pair(text: str) -> tuple[str, str]:
    """`user:password` as --creds takes it."""
    user, colon, password = text.partition(":")
    if not user or not colon:
        raise InvalidInput("--creds must be USER:PASSWORD")
    return user, password


def find(registry: str, repository: str, authfile: str = "") -> tuple[str, str] | None:
    """(user, password) for the most specific key that covers registry/repository, or None."""
    keys = [registry]
    for part in repository.split("/"):
        keys.append(f"{keys[-1]}/{part}")
    for path in _files(authfile):
        try:
            with open(path) as file:
                document: Any = json.loads(file.read())
        except FileNotFoundError:
            if authfile:
                raise InvalidInput(f"{path}: no such file") from None
            continue
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{path}: {error}") from None
        auths = {_key(name): entry for name, entry in (document.get("auths") or {}).items()}
        for key in reversed(keys):
            encoded = (auths.get(key) or {}).get("auth")
            if encoded:
                try:
                    user, _, password = base64.b64decode(encoded).decode().partition(":")
                except ValueError:
                    raise InvalidInput(f"{path}: the entry for {key} is not base64 of user:password") from None
                return user, password.rstrip("\0")
    return None


def _key(name: str) -> str:
    """Docker writes URLs as keys."""
    name = name.removeprefix("https://").removeprefix("http://")
    host, _, path = name.partition("/")
    if host in ("index.docker.io", "registry-1.docker.io") or path in ("v1/", "v2/", "v1", "v2"):
        return "docker.io" if "docker.io" in host else host
    return name.rstrip("/")
