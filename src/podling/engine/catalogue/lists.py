"""Operations on manifest lists and artifacts."""

from __future__ import annotations

from podling.core.options import AddOptions, ArtifactOptions, Platforms
from podling.engine.catalogue.base import Operation
from podling.engine.catalogue.images import RegistryOperation, SigningOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


# -- manifest lists
class CreateManifest(RegistryOperation):
    executor: ClassVar = "lists:create_manifest"
    route: ClassVar = "POST /libpod/manifests/{name}"
    name: str
    images: list[str] = []
    all: bool = False
    amend: bool = False
    annotations: list[str] = []


class AddToManifest(RegistryOperation):
    """`artifact` makes one of the files in `images`."""

    nested: ClassVar = {"platforms": Platforms, "artifact": ArtifactOptions}
    executor: ClassVar = "lists:add_to_manifest"
    route: ClassVar = "PUT /libpod/manifests/{name}"
    name: str
    images: list[str]
    all: bool = False
    platforms: Platforms
    artifact: ArtifactOptions | None = None


class AnnotateManifest(Operation):
    nested: ClassVar = {"platforms": Platforms}
    executor: ClassVar = "lists:annotate_manifest"
    route: ClassVar = "PUT /libpod/manifests/{name}"
    name: str
    image: str = ""
    platforms: Platforms
    index: bool = False
    subject: str = ""


class RemoveFromManifest(Operation):
    executor: ClassVar = "lists:remove_from_manifest"
    route: ClassVar = "DELETE /libpod/manifests/{name}"
    name: str
    image: str


class RemoveManifests(Operation):
    executor: ClassVar = "lists:remove_manifests"
    route: ClassVar = "DELETE /libpod/manifests/{name}"
    names: list[str]
    ignore: bool = False


class InspectManifest(RegistryOperation):
    executor: ClassVar = "lists:inspect_manifest"
    route: ClassVar = "GET /libpod/manifests/{name}/json"
    writes: ClassVar = False
    name: str


class ManifestExists(Operation):
    executor: ClassVar = "lists:manifest_exists"
    route: ClassVar = "GET /libpod/manifests/{name}/exists"
    writes: ClassVar = False
    name: str


class PushManifest(SigningOperation):
    executor: ClassVar = "lists:push_manifest"
    route: ClassVar = "POST /libpod/manifests/{name}/registry/{destination}"
    name: str
    target: str = ""
    all: bool = True
    format: str = ""
    compression: str = ""
    compression_level: int | None = None
    force_compression: bool = False
    add_compression: list[str] = []
    remove: bool = False


# -- artifacts
class AddArtifact(Operation):
    nested: ClassVar = {"options": AddOptions}
    executor: ClassVar = "lists:add_artifact"
    route: ClassVar = "POST /libpod/artifacts/add"
    name: str
    paths: list[str]
    options: AddOptions


class ListArtifacts(Operation):
    executor: ClassVar = "lists:list_artifacts"
    route: ClassVar = "GET /libpod/artifacts/json"
    writes: ClassVar = False


class InspectArtifact(Operation):
    executor: ClassVar = "lists:inspect_artifact"
    route: ClassVar = "GET /libpod/artifacts/{name}/json"
    writes: ClassVar = False
    name: str


class ExtractArtifact(Operation):
    executor: ClassVar = "lists:extract_artifact"
    route: ClassVar = "GET /libpod/artifacts/{name}/extract"
    writes: ClassVar = False
    name: str
    target: str
    title: str = ""
    digest: str = ""


class PullArtifact(RegistryOperation):
    executor: ClassVar = "lists:pull_artifact"
    route: ClassVar = "POST /libpod/artifacts/pull"
    name: str
    keys: list[str] = []


class PushArtifact(SigningOperation):
    executor: ClassVar = "lists:push_artifact"
    route: ClassVar = "POST /libpod/artifacts/{name}/push"
    name: str


class RemoveArtifacts(Operation):
    executor: ClassVar = "lists:remove_artifacts"
    route: ClassVar = "DELETE /libpod/artifacts/remove"
    names: list[str] = []
    all: bool = False
    ignore: bool = False
