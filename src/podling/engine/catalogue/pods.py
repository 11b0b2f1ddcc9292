"""Operations on pods."""

from __future__ import annotations

from podling.core.options import PodOptions
from podling.engine.catalogue.base import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class CreatePod(Operation):
    executor: ClassVar = "pods:create"
    route: ClassVar = "POST /libpod/pods/create"
    options: PodOptions


class PodSelection(Operation):
    """Pods by name or id, by files with ids, all of them, or the one made last."""

    names: list[str] = []
    id_files: list[str] = []
    all: bool = False
    latest: bool = False
    ignore: bool = False


class StartPods(PodSelection):
    executor: ClassVar = "pods:start"
    route: ClassVar = "POST /libpod/pods/{name}/start"


class StopPods(PodSelection):
    """`timeout` in seconds before a container is killed; -1 is its own setting."""

    executor: ClassVar = "pods:stop"
    route: ClassVar = "POST /libpod/pods/{name}/stop"
    timeout: int = -1


class RestartPods(PodSelection):
    executor: ClassVar = "pods:restart"
    route: ClassVar = "POST /libpod/pods/{name}/restart"


class KillPods(PodSelection):
    executor: ClassVar = "pods:kill"
    route: ClassVar = "POST /libpod/pods/{name}/kill"
    signal: str = "KILL"


class PausePods(PodSelection):
    executor: ClassVar = "pods:pause"
    route: ClassVar = "POST /libpod/pods/{name}/pause"


class UnpausePods(PodSelection):
    executor: ClassVar = "pods:unpause"
    route: ClassVar = "POST /libpod/pods/{name}/unpause"


class RemovePods(PodSelection):
    executor: ClassVar = "pods:remove"
    route: ClassVar = "DELETE /libpod/pods/{name}"
    force: bool = False
    timeout: int = -1


class ListPods(Operation):
    executor: ClassVar = "pods:list_pods"
    route: ClassVar = "GET /libpod/pods/json"
    writes: ClassVar = False
    filters: list[str] = []


class InspectPod(Operation):
    executor: ClassVar = "pods:inspect"
    quick: ClassVar = True
    route: ClassVar = "GET /libpod/pods/{name}/json"
    writes: ClassVar = False
    name: str = ""
    latest: bool = False


class PodExists(Operation):
    executor: ClassVar = "pods:exists"
    quick: ClassVar = True
    route: ClassVar = "GET /libpod/pods/{name}/exists"
    writes: ClassVar = False
    name: str


class PrunePods(Operation):
    """Remove pods of which nothing runs; with `force` nobody is asked, and nothing else."""

    executor: ClassVar = "pods:prune"
    route: ClassVar = "POST /libpod/pods/prune"


class PodTop(Operation):
    executor: ClassVar = "pods:top"
    route: ClassVar = "GET /libpod/pods/{name}/top"
    writes: ClassVar = False
    name: str = ""
    latest: bool = False
    descriptors: list[str] = []


class ClonePod(Operation):
    """Make a pod like another, with containers like its own."""

    executor: ClassVar = "pods:clone"
    name: str
    options: PodOptions
    #: fields of the infra container's options that were given
    given: list[str] = []
    start: bool = False
    destroy: bool = False
