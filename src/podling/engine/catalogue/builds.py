"""Operations that build images."""

from __future__ import annotations

from podling.build.options import BuildOptions
from podling.engine.catalogue.base import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class BuildImage(Operation):
    """Build an image of a Containerfile; its id. A context that is no folder here comes as a tar through `fd`; what the steps
    print goes to `stdout` and `stderr`."""

    executor: ClassVar = "builds:build"
    inputs: ClassVar = ("fd",)
    outputs: ClassVar = ("stdout", "stderr")
    route: ClassVar = "POST /libpod/build"
    options: BuildOptions
    fd: int = -1
    stdout: int = 1
    stderr: int = 2
