"""policy.json (containers-policy.json(5)): which images may be used, by transport and scope."""

from __future__ import annotations

import os

from podling.errors import InvalidInput
from podling.oci import json
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

TYPES = ("insecureAcceptAnything", "reject", "signedBy", "sigstoreSigned")
_IDENTITIES = (
    "matchExact", "matchRepoDigestOrExact", "matchRepository", "exactReference", "exactRepository", "remapIdentity",
)  # fmt: skip


class Requirement(Record):
    """One requirement. `keys` are paths, `key_data` base64; `identity` is the signedIdentity object."""

    type: str
    keys: list[str] = []
    key_data: list[str] = []
    identity: dict[str, str] = {}
    #: what is asked for beyond a key, and cannot be checked here
    unsupported: str = ""


class Policy(Record):
    nested: ClassVar[dict[str, type[Record]]] = {}

    path: str
    raw: dict[str, Any]

    def requirements(self, transport: str, scopes: list[str]) -> list[Requirement]:
        """What must hold, all of it, for the first of `scopes` that the policy knows, or by its defaults."""
        scoped = (self.raw.get("transports") or {}).get(transport) or {}
        for scope in (*scopes, ""):
            if scope in scoped:
                return self._parsed(scoped[scope], f"transports.{transport}.{scope or chr(34) * 2}")
        return self._parsed(self.raw["default"], "default")

    def _parsed(self, items: Any, where: str) -> list[Requirement]:
        if not isinstance(items, list) or not items:
            raise InvalidInput(f"{self.path}: {where} must be a list that is not empty")
        return [self._requirement(item, where) for item in items]

    def _requirement(self, item: Any, where: str) -> Requirement:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind not in TYPES:
            raise InvalidInput(f"{self.path}: {where}: unknown type {kind!r}", hint=f"the types are {', '.join(TYPES)}")
        identity = item.get("signedIdentity") or {"type": "matchRepoDigestOrExact"}
        if identity.get("type") not in _IDENTITIES:
            raise InvalidInput(f"{self.path}: {where}: unknown signedIdentity {identity.get('type')!r}")
        keys = [str(path) for path in (item.get("keyPaths") or ([item["keyPath"]] if item.get("keyPath") else []))]
        data = [str(text) for text in (item.get("keyDatas") or ([item["keyData"]] if item.get("keyData") else []))]
        unsupported = next((name for name in ("fulcio", "pki", "rekorPublicKeyPath") if item.get(name)), "")
        if kind in ("signedBy", "sigstoreSigned") and not keys and not data and not unsupported:
            raise InvalidInput(f"{self.path}: {where}: {kind} needs keyPath, keyPaths or keyData")
        if kind == "signedBy" and item.get("keyType") not in ("GPGKeys", None):
            unsupported = f"keyType {item['keyType']}"
        return Requirement(type=kind, keys=keys, key_data=data, identity=identity, unsupported=unsupported)


def find_file(explicit: str = "") -> str:
    """The policy's file: the one that was named, the user's, the host's; "" when there is none."""
    if explicit:
        return explicit
    own = os.path.join(os.path.expanduser("~"), ".config/containers/policy.json")
    return next((path for path in (own, "/etc/containers/policy.json") if os.path.exists(path)), "")


def load(explicit: str = "") -> Policy | None:
    """The policy; None when there is no file, which accepts everything.

    Raises:
        InvalidInput: the file is no policy.
    """
    path = find_file(explicit)
    if not path:
        return None
    try:
        with open(path) as file:
            document = json.loads(file.read())
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidInput(f"{path}: not JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("default"), list):
        raise InvalidInput(f"{path}: a policy needs a list called default", hint="see containers-policy.json(5)")
    if unknown := set(document) - {"default", "transports"}:
        raise InvalidInput(f"{path}: unknown key {sorted(unknown)[0]!r}")
    return Policy(path=path, raw=document)


def docker_scopes(registry: str, repository: str, tag: str, digest: str) -> list[str]:
    """Scopes of an image at a registry, from the narrowest on (containers-policy.json(5), "docker:")."""
    name = f"{registry}/{repository}"
    scopes = [f"{name}@{digest}"] if digest else [f"{name}:{tag}"]
    while "/" in name:
        scopes.append(name)
        name = name.rpartition("/")[0]
    scopes.append(registry)
    host = registry
    while "." in host:
        host = host.partition(".")[2]
        scopes.append(f"*.{host}")
    return scopes


def path_scopes(path: str) -> list[str]:
    """Scopes of an image in a file: its path, then the folders above."""
    scopes = [path]
    while path not in ("/", ""):
        path = os.path.dirname(path)
        if path != "/":
            scopes.append(path)
    return scopes
