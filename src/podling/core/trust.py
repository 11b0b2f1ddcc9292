"""image trust and image sign: looking at the signature policy, changing it, and signing what a registry holds."""

from __future__ import annotations

import base64
import os

from podling.config import policy as policies
from podling.core.access import client_for
from podling.errors import InvalidInput
from podling.oci import json
from podling.oci.image import INDEXES, Platform, choose, host_platform
from podling.oci.record import Record
from podling.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.core.options import RegistryAccess

_SHORT = {
    "insecureAcceptAnything": "accept",
    "reject": "reject",
    "signedBy": "signed",
    "sigstoreSigned": "sigstoreSigned",
}
_TYPES = {
    "accept": "insecureAcceptAnything",
    "reject": "reject",
    "signedBy": "signedBy",
    "sigstoreSigned": "sigstoreSigned",
}
_SYSTEM = "/etc/containers/policy.json"


class Trust(Record):
    """One line of `image trust show`."""

    transport: str
    name: str
    type: str
    ids: list[str] = []
    store: str = ""


def show(registry: str, path: str, folder: str) -> tuple[dict[str, Any], list[Trust]]:
    """The policy's document, and what it says line by line; `registry` narrows to one scope."""
    policy = policies.load(path)
    if policy is None:
        return {"default": [{"type": "insecureAcceptAnything"}]}, [
            Trust(transport="all", name="default", type="accept")
        ]
    if folder:
        os.environ["CONTAINERS_REGISTRIES_D"] = folder
    lines = [] if registry else [_line("all", "default", item) for item in policy.requirements("", [])]
    for transport, scopes in (policy.raw.get("transports") or {}).items():
        for scope in scopes:
            if registry and scope != registry:
                continue
            shown = "repository" if transport == "docker" else transport
            for item in policy.requirements(transport, [scope]):
                lines.append(_line(shown, scope or "default", item, scope if transport == "docker" else ""))
    return policy.raw, lines


def _line(transport: str, name: str, item: policies.Requirement, scope: str = "") -> Trust:
    ids: list[str] = []
    store = ""
    if item.type == "signedBy":
        from podling.registry.signatures import key_names

        for data in [_read(path) for path in item.keys] + [base64.b64decode(text) for text in item.key_data]:
            ids += key_names(data)
    if item.type == "sigstoreSigned":
        ids = ["N/A"]
    if scope and item.type != "insecureAcceptAnything":
        from podling.registry.signatures import lookaside

        head, _, rest = scope.partition("/")
        try:
            store = lookaside(parse(f"{head}/{rest or 'x'}").tagged()).read
        except InvalidInput:
            store = ""
    return Trust(transport=transport, name=name, type=_SHORT[item.type], ids=ids, store=store)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}", hint="the signature policy names this key") from None


def set_trust(registry: str, type: str, keys: list[str], path: str) -> None:
    """Write what the policy says of one registry, namespace or image, or of `default`."""
    if type not in _TYPES:
        raise InvalidInput(f"--type {type!r}: not one of {', '.join(_TYPES)}")
    path = path or _SYSTEM
    if type in ("signedBy", "sigstoreSigned"):
        if not keys:
            raise InvalidInput(f"--type {type} needs the public key", hint="--pubkeysfile /path/key.gpg")
        for key in keys:
            _read(key)
    elif keys:
        raise InvalidInput(f"--type {type} takes no keys")
    if registry != "default" and (
        registry.startswith("/") or registry.endswith("/") or " " in registry or not registry
    ):
        raise InvalidInput(f"{registry!r} is not a registry, a namespace or an image")
    items: list[dict[str, Any]] = []
    if type == "signedBy":
        items = [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": os.path.abspath(key)} for key in keys]
    elif type == "sigstoreSigned":
        items = [{"type": "sigstoreSigned", "keyPath": os.path.abspath(key)} for key in keys]
    else:
        items = [{"type": _TYPES[type]}]
    if os.path.exists(path):
        policy = policies.load(path)
        document = policy.raw if policy else {}
    else:
        document = {"default": [{"type": "insecureAcceptAnything"}]}
    if registry == "default":
        document["default"] = items
    else:
        document.setdefault("transports", {}).setdefault("docker", {})[registry] = items
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(f"{path}.{os.getpid()}", "w") as file:
            file.write(json.pretty(document, 4) + "\n")
        os.rename(f"{path}.{os.getpid()}", path)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None


def sign(ctx: Context, names: list[str], key: str, folder: str, access: RegistryAccess, *, all: bool) -> list[str]:
    """Sign images that a registry holds with a GPG key; the paths of the signatures. `all` signs each image of an index."""
    from podling.config import registries
    from podling.registry import signatures

    config = registries.load()
    written = []
    for name in names:
        reference = config.candidates(parse(name))[0]
        endpoint = config.endpoints(reference)[-1]
        remote = endpoint.reference
        client = client_for(
            remote.registry, remote.repository, access, insecure=endpoint.insecure, helpers=config.helpers
        )
        try:
            body, media_type, digest = client.manifest(remote)
        finally:
            client.close()
        digests = [digest]
        if media_type in INDEXES:
            host: Platform = host_platform()
            entries = [str(item["digest"]) for item in json.loads(body).get("manifests") or ()]
            digests += entries if all else [choose(body, host, name).digest]
        base = signatures.lookaside(remote).write or signatures.DEFAULT_STAGING
        if not folder and not base.startswith("file://"):
            raise InvalidInput(f"signatures for {name} would go to {base}", hint="name a folder with --directory")
        root = folder or base.removeprefix("file://")
        for item in digests:
            message = signatures.sign_with_gpg(signatures.payload(item, str(reference)), key)
            written.append(signatures.write_lookaside(signatures.store_path(root, remote, item), message))
    return written
