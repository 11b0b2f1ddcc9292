"""Operations on systemd's units and Quadlet files."""

from __future__ import annotations

from podling.engine.catalogue.base import Operation
from podling.units.options import UnitOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class GenerateUnits(Operation):
    """Units of a container, or of a pod and its containers: texts by their names."""

    executor: ClassVar = "units:generate"
    writes: ClassVar = False
    route: ClassVar = "GET /libpod/generate/{name}/systemd"
    name: str
    options: UnitOptions


class ListQuadlets(Operation):
    executor: ClassVar = "units:quadlets"
    writes: ClassVar = False
    route: ClassVar = "GET /libpod/quadlets/json"
    filters: list[str] = []


class PrintQuadlet(Operation):
    """The text of a Quadlet file."""

    executor: ClassVar = "units:print_quadlet"
    writes: ClassVar = False
    name: str
