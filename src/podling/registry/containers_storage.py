"""Another engine's store (containers/storage, as Podman, Buildah and skopeo have it), read without changing anything."""

from __future__ import annotations

import base64
import json
import os

from podling.errors import InvalidInput, NoSuchImage, StateError
from podling.oci.image import OCI_MANIFEST, parse_manifest
from podling.oci.record import Record
from podling.oci.reference import is_hex, parse
from podling.registry.readers import SourceImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from podling.oci.image import Platform


class KeptLayer(Record):
    """A layer of the store: where its files are, and the description of its tar."""

    id: str
    diff_id: str
    size: int
    folder: str
    tarsplit: str


class KeptImage(Record):
    """An image of the store; `layers` lowest first."""

    id: str
    names: list[str]
    created: str
    manifest: bytes
    config: bytes
    layers: list[KeptLayer]


class Store:
    """The store below `root`; its driver is overlay or vfs."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.driver = next((name for name in ("overlay", "vfs") if os.path.isdir(f"{root}/{name}-images")), "")
        if not self.driver:
            raise InvalidInput(
                f"{root} is no store of containers/storage with the driver overlay or vfs",
                hint="name it: containers-storage:[overlay@/path/of/graphroot]IMAGE",
            )

    def _document(self, name: str) -> list[dict[str, Any]]:
        try:
            with open(f"{self.root}/{name}") as file:
                return json.load(file) or []
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise StateError(f"{self.root}/{name}: {error}") from None

    def _records(self) -> list[dict[str, Any]]:
        return self._document(f"{self.driver}-images/images.json")

    def names(self) -> dict[str, list[str]]:
        """The names of each image by its id."""
        return {str(record["id"]): list(record.get("names") or ()) for record in self._records()}

    def find(self, text: str) -> str:
        """The id of the image that `text` names, as for our own images; "" when there is none."""
        bare = text.removeprefix("@").removeprefix("sha256:")
        records = self._records()
        if is_hex(bare) and len(bare) >= 6:
            fitting = [record["id"] for record in records if record["id"].startswith(bare)]
            if len(fitting) == 1:
                return str(fitting[0])
        try:
            reference = parse(text)
        except InvalidInput:
            return ""
        if reference.digest:
            wanted_names = {reference.name, f"localhost/{reference.repository}", reference.at("docker.io").name}
            for record in records:
                known = {name.partition("@")[0].rpartition(":")[0] for name in record.get("names") or ()}
                if reference.digest in _digests(record) and known & wanted_names:
                    return str(record["id"])
            return ""
        tag = reference.tag or "latest"
        wanted = [f"{reference.name}:{tag}"]
        if not reference.registry:
            wanted = [f"localhost/{reference.repository}:{tag}", f"{reference.at('docker.io').name}:{tag}"]
        for name in wanted:
            for record in records:
                if name in (record.get("names") or ()):
                    return str(record["id"])
        if not reference.registry:
            suffix = f"/{reference.repository}:{tag}"
            found = {r["id"] for r in records if any(name.endswith(suffix) for name in r.get("names") or ())}
            if len(found) == 1:
                return str(found.pop())
        return ""

    def _big(self, id: str, name: str) -> bytes:
        plain = name if all(letter.isalnum() or letter in "-_." for letter in name) else ""
        encoded = plain if plain and not plain.startswith("=") else "=" + base64.b64encode(name.encode()).decode()
        for candidate in (plain, encoded, "=" + base64.b64encode(name.encode()).decode()):
            path = f"{self.root}/{self.driver}-images/{id}/{candidate}"
            if candidate and os.path.exists(path):
                with open(path, "rb") as file:
                    return file.read()
        raise StateError(f"{self.root}: image {id[:12]} has no {name}")

    def load(self, id: str) -> KeptImage:
        """Everything about an image but its files."""
        record = next((record for record in self._records() if record["id"] == id), None)
        if record is None:
            raise NoSuchImage(id)
        manifest = self._big(id, "manifest")
        document = json.loads(manifest)
        config = self._big(id, str(document["config"]["digest"])) if "config" in document else b""
        layers: dict[str, dict[str, Any]] = {}
        for name in ("layers.json", "volatile-layers.json"):
            layers.update({item["id"]: item for item in self._document(f"{self.driver}-layers/{name}")})
        chain: list[KeptLayer] = []
        current = str(record.get("layer") or "")
        while current:
            item = layers.get(current)
            if item is None:
                raise StateError(f"{self.root}: image {id[:12]} lacks its layer {current[:12]}")
            place = f"overlay/{current}/diff" if self.driver == "overlay" else f"vfs/dir/{current}"
            chain.append(
                KeptLayer(
                    id=current, diff_id=str(item.get("diff-digest") or ""), size=int(item.get("diff-size") or 0),
                    folder=f"{self.root}/{place}", tarsplit=f"{self.root}/{self.driver}-layers/{current}.tar-split.gz",
                )
            )  # fmt: skip
            current = str(item.get("parent") or "")
        chain.reverse()
        return KeptImage(
            id=id, names=list(record.get("names") or ()), created=str(record.get("created") or ""), manifest=manifest,
            config=config, layers=chain,
        )  # fmt: skip

    def image(self, name: str, platform: Platform) -> SourceImage:
        """An image to be copied out of the store.

        Raises:
            NoSuchImage.
        """
        id = self.find(name)
        if not id:
            raise NoSuchImage(name, hint=f"it is not in {self.root}")
        kept = self.load(id)
        if not kept.config:
            raise InvalidInput(f"{name} is a manifest list in that store", hint="name one of its images by id")
        kind = str(json.loads(kept.manifest).get("mediaType") or OCI_MANIFEST)
        manifest = parse_manifest(kept.manifest, kind, name)
        descriptors = manifest.layers
        if len(descriptors) != len(kept.layers):
            raise StateError(
                f"{self.root}: image {id[:12]} has {len(kept.layers)} layers, its manifest {len(descriptors)}"
            )
        tagged = parse(name).tagged() if not is_hex(name) else None
        suffix = str(tagged) if tagged and tagged.registry else f"/{tagged}"
        asked = [full for full in kept.names if tagged and (full == suffix or full.endswith(suffix))] or kept.names
        return SourceImage(
            manifest=kept.manifest, media_type=kind, config=kept.config, names=[] if is_hex(name) else asked[:1],
            descriptors=descriptors, layers=[_source(layer) for layer in kept.layers],
        )  # fmt: skip


def _digests(record: dict[str, Any]) -> list[str]:
    found = [
        name.removeprefix("manifest-") for name in record.get("big-data-names") or () if name.startswith("manifest-")
    ]
    return [*found, str(record.get("digest") or "")]


def _source(layer: KeptLayer) -> Callable[[], Iterator[bytes]]:
    from podling.storage.tarsplit import read_tar

    return lambda: read_tar(layer.tarsplit, layer.folder)
