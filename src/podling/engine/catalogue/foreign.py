"""Operations that take over what another engine has."""

from __future__ import annotations

from podling.core.foreign import ForeignSecret, ForeignVolume
from podling.engine.catalogue.base import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class ReadForeign(Operation):
    """What the store of `engine`, podman or docker, has, in `root` or in its usual place."""

    executor: ClassVar = "foreign:read"
    route: ClassVar = ""
    local: ClassVar = True
    writes: ClassVar = False
    engine: str = "podman"
    root: str = ""


class TakeImage(Operation):
    executor: ClassVar = "foreign:take_image"
    route: ClassVar = ""
    local: ClassVar = True
    engine: str
    root: str
    id: str
    names: list[str] = []


class TakeVolume(Operation):
    executor: ClassVar = "foreign:take_volume"
    route: ClassVar = ""
    local: ClassVar = True
    nested: ClassVar = {"volume": ForeignVolume}
    volume: ForeignVolume


class TakeSecret(Operation):
    executor: ClassVar = "foreign:take_secret"
    route: ClassVar = ""
    local: ClassVar = True
    nested: ClassVar = {"secret": ForeignSecret}
    secret: ForeignSecret
