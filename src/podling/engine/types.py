"""What operations take and give, in one place for those above: the command line, the API, users of the library."""

from __future__ import annotations

from podling.build.options import BuildOptions
from podling.core.options import (
    AddOptions,
    ArtifactOptions,
    CheckpointOptions,
    CommitOptions,
    CreateOptions,
    ExecOptions,
    Platforms,
    PodOptions,
    RestoreOptions,
)
from podling.core.store_options import SecretOptions, VolumeOptions
from podling.oci.image import host_platform
from podling.runtime.streams import Streams

__all__ = [
    "AddOptions", "ArtifactOptions", "BuildOptions", "CheckpointOptions", "CommitOptions", "CreateOptions", "ExecOptions", "Platforms",
    "PodOptions", "RestoreOptions", "SecretOptions", "Streams", "VolumeOptions", "host_platform",
]  # fmt: skip
