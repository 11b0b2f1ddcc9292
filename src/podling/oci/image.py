"""Images: manifests, indexes, configurations (image-spec 1.1, Docker image manifest v2 schema 2), chain ids, platforms."""

from __future__ import annotations

import hashlib
import os

from podling.errors import BadArchive, InvalidInput
from podling.oci import json
from podling.oci.record import Record
from podling.oci.reference import check_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_LIST)
LAYERS = (
    OCI_LAYER,
    OCI_LAYER + "+gzip",
    OCI_LAYER + "+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    DOCKER_LAYER,
    DOCKER_LAYER + ".gzip",
    DOCKER_LAYER + ".zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
)

_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "riscv64": ("riscv64", ""),
    "s390x": ("s390x", ""),
}


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The chain id of each layer (image-spec config.md, "Layer ChainID")."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain


class Platform(Record):
    """GOOS, GOARCH and variant."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def host_platform() -> Platform:
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform(os="linux", architecture=architecture, variant=variant)


def parse_platform(text: str) -> Platform:
    """`os/arch[/variant]` or `arch`."""
    parts = text.split("/")
    if len(parts) > 3 or not all(parts):
        raise InvalidInput(f"{text!r} is not a platform", hint="a platform looks like linux/arm64 or linux/arm/v7")
    if len(parts) == 1:
        parts.insert(0, "linux")
    parts[1] = _MACHINES.get(parts[1], (parts[1], ""))[0]
    return Platform(os=parts[0], architecture=parts[1], variant=parts[2] if len(parts) == 3 else "")


class Descriptor(Record):
    """image-spec descriptor.md; `size` in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            wire["annotations"] = self.annotations
        return wire


def _descriptor(document: Any, what: str) -> Descriptor:
    try:
        return Descriptor(
            media_type=str(document["mediaType"]),
            digest=check_digest(document["digest"]),
            size=int(document["size"]),
            annotations=document.get("annotations") or {},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadArchive(f"{what}: not a descriptor ({error})") from None


def _document(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise BadArchive(f"{what} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadArchive(f"{what} is not a JSON object")
    return document


class Manifest(Record):
    """One image: its configuration and its layers, lowest first."""

    nested: ClassVar[dict[str, type[Record]]] = {"config": Descriptor, "layers": Descriptor}

    media_type: str
    config: Descriptor
    layers: list[Descriptor]


def parse_manifest(data: bytes, media_type: str, what: str = "manifest") -> Manifest:
    """Read an OCI manifest or a Docker v2s2 one; BadArchive for anything else."""
    document = _document(data, what)
    kind = str(document.get("mediaType") or media_type or OCI_MANIFEST)
    if kind.startswith(DOCKER_SCHEMA1) or document.get("schemaVersion") == 1:
        raise BadArchive(
            f"{what} is a Docker schema 1 manifest, which is not supported",
            hint="have it pushed again by a current tool, which makes schema 2 or OCI",
        )
    if kind not in MANIFESTS:
        raise BadArchive(f"{what} has the unknown media type {kind!r}")
    layers = [_descriptor(item, f"{what}: layer") for item in document.get("layers") or ()]
    for layer in layers:
        if layer.media_type.removesuffix("+encrypted") not in LAYERS:
            raise BadArchive(f"{what}: a layer has the unknown media type {layer.media_type!r}")
    return Manifest(media_type=kind, config=_descriptor(document.get("config"), f"{what}: config"), layers=layers)


def artifact_type(data: bytes) -> str:
    """What a manifest is, where it is no container image's; "" for an image, and for what is no manifest at all."""
    try:
        document = json.loads(data)
        config = str((document.get("config") or {}).get("mediaType") or "")
    except (ValueError, AttributeError):
        return ""
    return "" if config in ("", OCI_CONFIG, DOCKER_CONFIG) else str(document.get("artifactType") or config)


def choose(data: bytes, wanted: Platform, what: str) -> Descriptor:
    """The manifest of an index that fits `wanted` best: an exact variant, then none, then a lower one."""
    document = _document(data, what)
    fitting: list[tuple[int, Descriptor]] = []
    found: list[str] = []
    for item in document.get("manifests") or ():
        platform = item.get("platform") or {}
        names = (platform.get("os", ""), platform.get("architecture", ""), platform.get("variant", ""))
        if names[0] == "unknown":  # an attestation, not an image
            continue
        found.append("/".join(name for name in names if name))
        if names[:2] == (wanted.os, wanted.architecture):
            variant = names[2]
            rank = (
                0 if variant == wanted.variant else 1 if not variant else 2 if variant < (wanted.variant or "~") else 3
            )
            fitting.append((rank, _descriptor(item, what)))
    if fitting:
        return min(fitting, key=lambda pair: pair[0])[1]
    raise InvalidInput(
        f"{what}: no image for platform {wanted}; there is {', '.join(found) or 'none at all'}",
        hint="choose one with --platform",
    )


class ImageConfig(Record):
    """What we read of an image's configuration (image-spec config.md); `raw` is the whole document."""

    raw: dict[str, Any]
    diff_ids: list[str]

    @property
    def config(self) -> dict[str, Any]:
        return self.raw.get("config") or {}

    @property
    def history(self) -> list[dict[str, Any]]:
        return self.raw.get("history") or []


def parse_config(data: bytes, what: str = "image configuration") -> ImageConfig:
    document = _document(data, what)
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict) or not isinstance(rootfs.get("diff_ids"), list):
        raise BadArchive(f"{what} has no rootfs.diff_ids")
    return ImageConfig(raw=document, diff_ids=[check_digest(str(item)) for item in rootfs["diff_ids"]])
