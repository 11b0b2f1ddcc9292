"""What operations take and give, in one place for those above: the command line, the API, users of the library."""

from __future__ import annotations

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
from podling.runtime.streams import Streams

__all__ = [
    "AddOptions", "ArtifactOptions", "CheckpointOptions", "CommitOptions", "CreateOptions", "ExecOptions", "Platforms",
    "PodOptions", "RestoreOptions", "SecretOptions", "Streams", "VolumeOptions",
]  # fmt: skip
