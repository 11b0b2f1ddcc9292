"""Images in files: docker-archive, the OCI image layout (in a tar or a folder), and the folders of the dir: transport."""

from __future__ import annotations

import json

from podling.errors import BadArchive, NotFound
from podling.oci.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    INDEXES,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    choose,
    digest_of,
    parse_config,
    parse_manifest,
)
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from podling.registry.files import Files

_DOCUMENT_LIMIT = 64 << 20
REF_NAME = "org.opencontainers.image.ref.name"


class SourceImage(Record):
    """An image that can be read. `layers` are functions that give the (perhaps compressed) tar of each layer, lowest first.

    `index` is the index that it was chosen from, where there was one; `signatures` are bodies of simple signatures.
    """

    manifest: bytes
    media_type: str
    config: bytes
    names: list[str]
    descriptors: list[Descriptor]
    layers: list[Callable[[], Iterator[bytes]]]
    index: bytes = b""
    signatures: list[bytes] = []


def read_images(files: Files, platform: Platform, wanted: str = "") -> list[SourceImage]:
    """The images in `files`, whichever of the three formats it is. `wanted` chooses one: a name in it, or `@` and a position.

    Raises:
        BadArchive: it is none of them, or something in it is missing or corrupt.
        NotFound: there is no image `wanted` in it.
    """
    if files.find("oci-layout") and files.find("index.json"):
        return _layout_images(files, platform, wanted)
    if files.find("manifest.json"):
        document = _json(files.document("manifest.json"), "manifest.json")
        if isinstance(document, dict):
            return [_dir_image(files, platform)]
        return _docker_images(files, document, wanted)
    if files.find("index.json"):
        return _layout_images(files, platform, wanted)
    raise BadArchive(
        f"{files.path}: no image archive: it has neither manifest.json nor index.json",
        hint="a root file system is read by `podling import`",
    )


def transport_of(files: Files) -> str:
    """The name of the transport that reads `files`."""
    folder = not files.is_tar
    if files.find("oci-layout") or not files.find("manifest.json"):
        return "oci" if folder else "oci-archive"
    return "dir" if folder else "docker-archive"


def _json(data: bytes, what: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise BadArchive(f"{what} in the archive is not JSON: {error}") from None


def _select(position: int, names: list[str], wanted: str) -> bool:
    if not wanted:
        return True
    if wanted.startswith("@"):
        return wanted[1:] == str(position)
    return any(wanted in (name, name.rpartition("/")[2], f"{name}:latest") for name in names) or any(
        name.removeprefix("docker.io/library/").removeprefix("docker.io/") == wanted for name in names
    )


def _missing(files: Files, wanted: str) -> NotFound:
    return NotFound(
        f"{files.path}: there is no image {wanted!r} in it", hint="leave the name out to take what there is"
    )


# -- docker save
def _docker_images(files: Files, document: Any, wanted: str) -> list[SourceImage]:
    images = []
    try:
        for position, entry in enumerate(document):
            names = [str(name) for name in entry.get("RepoTags") or ()]
            if not _select(position, names, wanted):
                continue
            config = files.document(entry["Config"])
            layers = [str(name) for name in entry["Layers"]]
            diff_ids = parse_config(config).diff_ids
            if len(diff_ids) != len(layers):
                raise BadArchive(f"the archive has {len(layers)} layers, its configuration names {len(diff_ids)}")
            for name in layers:
                if files.find(name) is None:
                    raise BadArchive(f"the archive lacks the layer {name}")
            descriptors = [
                Descriptor(media_type=DOCKER_LAYER, digest=diff_id, size=(files.find(name) or (0, 0))[1])
                for diff_id, name in zip(diff_ids, layers, strict=True)
            ]
            manifest = {
                "schemaVersion": 2,
                "mediaType": DOCKER_MANIFEST,
                "config": Descriptor(media_type=DOCKER_CONFIG, digest=digest_of(config), size=len(config)).to_wire(),
                "layers": [descriptor.to_wire() for descriptor in descriptors],
            }
            images.append(
                SourceImage(
                    manifest=json.dumps(manifest, separators=(",", ":")).encode(), media_type=DOCKER_MANIFEST, config=config,
                    names=[wanted] if wanted in names else names, descriptors=descriptors,
                    layers=[_source(files, name) for name in layers],
                )
            )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise BadArchive(f"manifest.json in the archive is not as it should be: {error!r}") from None
    if not images:
        raise _missing(files, wanted) if wanted else BadArchive("the archive holds no image")
    return images


def _source(files: Files, name: str, digest: str = "") -> Callable[[], Iterator[bytes]]:
    return lambda: files.stream(name, digest=digest)


# -- OCI image layout
def _blob(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def layout_entries(files: Files) -> list[dict[str, Any]]:
    """The descriptors in a layout's index.json."""
    index = _json(files.document("index.json"), "index.json")
    entries = index.get("manifests") if isinstance(index, dict) else None
    if not isinstance(entries, list):
        raise BadArchive("index.json in the archive has no list of manifests")
    return entries


def _layout_images(files: Files, platform: Platform, wanted: str) -> list[SourceImage]:
    images = []
    try:
        for position, entry in enumerate(layout_entries(files)):
            annotations = entry.get("annotations") or {}
            names = [annotations[key] for key in ("io.containerd.image.name", REF_NAME) if annotations.get(key)]
            if not _select(position, names, wanted):
                continue
            digest, kind, index = str(entry["digest"]), str(entry.get("mediaType", OCI_MANIFEST)), b""
            data = b"".join(files.stream(_blob(digest), digest=digest, limit=_DOCUMENT_LIMIT))
            while kind in INDEXES:
                index = index or data
                chosen = choose(data, platform, "the archive")
                kind = chosen.media_type
                data = b"".join(files.stream(_blob(chosen.digest), digest=chosen.digest, limit=_DOCUMENT_LIMIT))
            manifest = parse_manifest(data, kind, "a manifest in the archive")
            place = _blob(manifest.config.digest)
            config = b"".join(files.stream(place, digest=manifest.config.digest, limit=_DOCUMENT_LIMIT))
            images.append(
                SourceImage(
                    manifest=data, media_type=manifest.media_type, config=config, names=names[:1], descriptors=manifest.layers,
                    layers=[_source(files, _blob(layer.digest), layer.digest) for layer in manifest.layers], index=index,
                )
            )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise BadArchive(f"index.json in the archive is not as it should be: {error!r}") from None
    if not images:
        raise _missing(files, wanted) if wanted else BadArchive("the archive holds no image")
    return images


# -- dir:
def _dir_image(files: Files, platform: Platform) -> SourceImage:
    data, index = files.document("manifest.json"), b""
    document = _json(data, "manifest.json")
    kind = str(document.get("mediaType") or (INDEXES[0] if "manifests" in document else OCI_MANIFEST))
    if kind in INDEXES:
        chosen = choose(data, platform, files.path)
        index, kind = data, chosen.media_type
        name = f"{chosen.digest.partition(':')[2]}.manifest.json"
        data = b"".join(files.stream(name, digest=chosen.digest, limit=_DOCUMENT_LIMIT))
    manifest = parse_manifest(data, kind, f"{files.path}/manifest.json")

    def place(digest: str) -> str:
        bare = digest.partition(":")[2]
        return bare if files.find(bare) else digest.replace(":", "-")

    digest = manifest.config.digest
    config = b"".join(files.stream(place(digest), digest=digest, limit=_DOCUMENT_LIMIT))
    signatures: list[bytes] = []
    while files.find(f"signature-{len(signatures) + 1}"):
        signatures.append(files.document(f"signature-{len(signatures) + 1}"))
    return SourceImage(
        manifest=data, media_type=manifest.media_type, config=config, names=[], descriptors=manifest.layers,
        layers=[_source(files, place(layer.digest), layer.digest) for layer in manifest.layers], index=index,
        signatures=signatures,
    )  # fmt: skip
