"""Operations on volumes and secrets."""

from __future__ import annotations

from podling.core.store_options import SecretOptions, VolumeOptions
from podling.engine.catalogue.base import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

#: the options too: the command line takes them from here
__all__ = [
    "CreateSecret",
    "CreateVolume",
    "ExportVolume",
    "ImportVolume",
    "InspectSecret",
    "InspectVolume",
    "ListSecrets",
    "ListVolumes",
    "MountVolume",
    "PruneVolumes",
    "ReloadVolumes",
    "RemoveSecrets",
    "RemoveVolumes",
    "SecretOptions",
    "UnmountVolume",
    "VolumeOptions",
]  # fmt: skip


class CreateVolume(Operation):
    nested: ClassVar = {"options": VolumeOptions}
    executor: ClassVar = "storage:create_volume"
    route: ClassVar = "POST /libpod/volumes/create"
    name: str = ""
    options: VolumeOptions


class ListVolumes(Operation):
    executor: ClassVar = "storage:list_volumes"
    route: ClassVar = "GET /libpod/volumes/json"
    writes: ClassVar = False
    filters: list[str] = []


class InspectVolume(Operation):
    executor: ClassVar = "storage:inspect_volume"
    route: ClassVar = "GET /libpod/volumes/{name}/json"
    writes: ClassVar = False
    name: str


class RemoveVolumes(Operation):
    executor: ClassVar = "storage:remove_volumes"
    route: ClassVar = "DELETE /libpod/volumes/{name}"
    names: list[str] = []
    all: bool = False
    force: bool = False
    timeout: int = -1


class PruneVolumes(Operation):
    executor: ClassVar = "storage:prune_volumes"
    route: ClassVar = "POST /libpod/volumes/prune"
    filters: list[str] = []


class ReloadVolumes(Operation):
    """Ask volume plugins which volumes they have: (names that came, names that went)."""

    executor: ClassVar = "storage:reload_volumes"
    route: ClassVar = ""


class ExportVolume(Operation):
    executor: ClassVar = "storage:export_volume"
    outputs: ClassVar = ("fd",)
    route: ClassVar = "GET /libpod/volumes/{name}/export"
    writes: ClassVar = False
    name: str
    fd: int


class ImportVolume(Operation):
    """From the file `path`, or from the descriptor `fd`."""

    executor: ClassVar = "storage:import_volume"
    inputs: ClassVar = ("fd",)
    route: ClassVar = "POST /libpod/volumes/{name}/import"
    name: str
    path: str = ""
    fd: int = -1


class MountVolume(Operation):
    executor: ClassVar = "storage:mount_volume"
    route: ClassVar = ""
    name: str


class UnmountVolume(Operation):
    executor: ClassVar = "storage:unmount_volume"
    route: ClassVar = ""
    name: str


class CreateSecret(Operation):
    nested: ClassVar = {"options": SecretOptions}
    executor: ClassVar = "storage:create_secret"
    route: ClassVar = "POST /libpod/secrets/create"
    name: str
    data: bytes
    options: SecretOptions


class ListSecrets(Operation):
    executor: ClassVar = "storage:list_secrets"
    route: ClassVar = "GET /libpod/secrets/json"
    writes: ClassVar = False
    filters: list[str] = []


class InspectSecret(Operation):
    """With `reveal` also what it says."""

    executor: ClassVar = "storage:inspect_secret"
    route: ClassVar = "GET /libpod/secrets/{name}/json"
    writes: ClassVar = False
    name: str
    reveal: bool = False


class RemoveSecrets(Operation):
    executor: ClassVar = "storage:remove_secrets"
    route: ClassVar = "DELETE /libpod/secrets/{name}"
    names: list[str] = []
    all: bool = False
    ignore: bool = False
