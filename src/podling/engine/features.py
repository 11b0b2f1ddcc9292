"""What builds, Kubernetes' documents and systemd's units take and give: as `types`, but apart, for most commands need none of it."""

from __future__ import annotations

from podling.build.options import BuildOptions
from podling.core.archives import download
from podling.core.options import RegistryAccess
from podling.kube.options import Played, PlayedPod, PlayOptions, TakenDown
from podling.oci.image import host_platform
from podling.units.options import Quadlet, UnitOptions

__all__ = [
    "BuildOptions", "PlayOptions", "Played", "PlayedPod", "Quadlet", "RegistryAccess", "TakenDown", "UnitOptions", "download",
    "host_platform",
]  # fmt: skip
