"""Operations on Kubernetes' documents."""

from __future__ import annotations

from podling.engine.catalogue.base import Operation
from podling.kube.options import PlayOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class PlayKube(Operation):
    """Make pods, volumes and secrets of documents; a `Played`."""

    executor: ClassVar = "kube:play"
    route: ClassVar = "POST /libpod/play/kube"
    options: PlayOptions


class DownKube(Operation):
    """Remove what was made of documents, with `force` the volumes too; a `TakenDown`."""

    executor: ClassVar = "kube:down"
    route: ClassVar = "DELETE /libpod/play/kube"
    text: str
    force: bool = False


class GenerateKube(Operation):
    """Documents of pods, containers and volumes, as YAML. `kind` is pod, deployment, daemonset or job."""

    executor: ClassVar = "kube:generate"
    writes: ClassVar = False
    route: ClassVar = "GET /libpod/generate/kube"
    names: list[str]
    kind: str = "pod"
    service: bool = False
    replicas: int = 1
    podman_only: bool = False


class ApplyKube(Operation):
    """Make documents in a cluster; what was made, as KIND NAME."""

    executor: ClassVar = "kube:apply"
    route: ClassVar = "POST /libpod/kube/apply"
    text: str
    kubeconfig: str
    namespace: str = ""
    ca: str = ""
