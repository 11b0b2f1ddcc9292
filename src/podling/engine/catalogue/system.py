"""Operations on the engine."""

from __future__ import annotations

from podling.engine.catalogue.base import Operation
from podling.engine.catalogue.images import RegistryOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class StreamEvents(Operation):
    """One that is not `patient` yields None instead of waiting for more."""

    executor: ClassVar = "system:events"
    route: ClassVar = "GET /libpod/events"
    writes: ClassVar = False
    since: str = ""
    until: str = ""
    filters: list[str] = []
    follow: bool = True
    patient: bool = True


class Info(Operation):
    executor: ClassVar = "system:info"
    route: ClassVar = "GET /libpod/info"
    writes: ClassVar = False


class Version(Operation):
    executor: ClassVar = "system:version"
    route: ClassVar = "GET /libpod/version"
    writes: ClassVar = False


class DiskUsage(Operation):
    executor: ClassVar = "system:disk_usage"
    route: ClassVar = "GET /libpod/system/df"
    writes: ClassVar = False


class PruneSystem(Operation):
    executor: ClassVar = "system:prune"
    route: ClassVar = "POST /libpod/system/prune"
    all: bool = False
    volumes: bool = False
    #: what builds keep for later ones, too
    build: bool = False
    #: only folders in the store that nothing refers to
    external: bool = False
    filters: list[str] = []


class GenerateSpec(Operation):
    """What a container or a pod was made with, as a document of Podman's API."""

    executor: ClassVar = "system:generate_spec"
    route: ClassVar = ""
    writes: ClassVar = False
    name: str
    rename: bool = True


class ListLocks(Operation):
    """Objects that a command works on at this moment: (kind, name)."""

    executor: ClassVar = "system:locks"
    route: ClassVar = ""
    writes: ClassVar = False
    local: ClassVar = True


class AutoUpdate(RegistryOperation):
    """Give containers that ask for it the newer images of their names, by restarting their systemd units."""

    executor: ClassVar = "system:auto_update"
    dry_run: bool = False
    rollback: bool = True


class ResetSystem(Operation):
    executor: ClassVar = "system:reset"
    local: ClassVar = True


class CheckSystem(Operation):
    """Compare database and files. Unused layers count when they are older than `max_age`, a duration such as 24h."""

    executor: ClassVar = "system:check"
    route: ClassVar = "POST /libpod/system/check"
    content: bool = True
    repair: bool = False
    force: bool = False
    max_age: str = "24h"


class MigrateSystem(Operation):
    executor: ClassVar = "system:migrate"
    local: ClassVar = True
    runtime: str = ""


class EnterNamespace(Operation):
    """Make this process root of the caller's user namespace; with `network`, in the network namespace of the user's bridges."""

    executor: ClassVar = "system:enter"
    local: ClassVar = True
    network: bool = False


class LeaveNetwork(Operation):
    """A command that was in the network namespace of the user's bridges has ended."""

    executor: ClassVar = "system:leave"
    local: ClassVar = True
    pid: int
    writes: ClassVar = False
