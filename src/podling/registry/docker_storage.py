"""Images of a Docker daemon's store (its data root; drivers overlay2 and vfs), read without changing anything.

`image/DRIVER/repositories.json` has the names, `imagedb` the configurations, `layerdb` says for each chain ID where the files are and how
its tar was.
"""

from __future__ import annotations

import json
import os

from podling.errors import InvalidInput, NoSuchImage, StateError
from podling.oci.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    Descriptor,
    chain_ids,
    digest_of,
    parse_config,
)
from podling.oci.reference import parse
from podling.registry.readers import SourceImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DRIVERS = ("overlay2", "vfs")


class DockerStore:
    """The store below `root`.

    Raises:
        InvalidInput: there is none.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.driver = next((name for name in DRIVERS if os.path.isdir(f"{root}/image/{name}")), "")
        if not self.driver:
            raise InvalidInput(
                f"{root} is no data root of Docker's with the driver overlay2 or vfs",
                hint="`docker info` says where it is; images in containerd's store are saved with `docker save`",
            )

    def names(self) -> dict[str, list[str]]:
        """The full names of each image by its id."""
        folder = f"{self.root}/image/{self.driver}"
        found: dict[str, list[str]] = {}
        try:
            found = {id: [] for id in sorted(os.listdir(f"{folder}/imagedb/content/sha256"))}
            with open(f"{folder}/repositories.json") as file:
                repositories = json.load(file).get("Repositories") or {}
        except FileNotFoundError:
            return found
        except (OSError, ValueError) as error:
            raise StateError(f"{folder}/repositories.json: {error}") from None
        for references in repositories.values():
            for name, id in references.items():
                if "@" not in name:
                    reference = parse(name)
                    full = reference if reference.registry else reference.at("docker.io")
                    found.setdefault(str(id).partition(":")[2], []).append(str(full))
        return found

    def image(self, id: str) -> SourceImage:
        """An image to be copied out of the store.

        Raises:
            NoSuchImage. StateError: it is not whole.
        """
        folder = f"{self.root}/image/{self.driver}"
        try:
            with open(f"{folder}/imagedb/content/sha256/{id}", "rb") as file:
                config = file.read()
        except FileNotFoundError:
            raise NoSuchImage(id) from None
        diff_ids = parse_config(config).diff_ids
        layers, descriptors = [], []
        for chain, diff_id in zip(chain_ids(diff_ids), diff_ids, strict=True):
            place = f"{folder}/layerdb/sha256/{chain.partition(':')[2]}"
            try:
                with open(f"{place}/cache-id") as file:
                    cache = file.read().strip()
                with open(f"{place}/size") as file:
                    size = int(file.read())
            except (OSError, ValueError) as error:
                raise StateError(f"{place}: image {id[:12]} lacks a layer: {error}") from None
            below = f"overlay2/{cache}/diff" if self.driver == "overlay2" else f"vfs/dir/{cache}"
            layers.append(_source(f"{place}/tar-split.json.gz", f"{self.root}/{below}"))
            descriptors.append(Descriptor(media_type=DOCKER_LAYER, digest=diff_id, size=size))
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": Descriptor(media_type=DOCKER_CONFIG, digest=digest_of(config), size=len(config)).to_wire(),
            "layers": [descriptor.to_wire() for descriptor in descriptors],
        }
        return SourceImage(
            manifest=json.dumps(manifest, separators=(",", ":")).encode(), media_type=DOCKER_MANIFEST, config=config, names=[],
            descriptors=descriptors, layers=layers,
        )  # fmt: skip


def _source(tarsplit: str, folder: str) -> Callable[[], Iterator[bytes]]:
    from podling.storage.tarsplit import read_tar

    return lambda: read_tar(tarsplit, folder)
