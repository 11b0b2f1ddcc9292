"""Operations on containers."""

from __future__ import annotations

from podling.core.options import CheckpointOptions, CommitOptions, CreateOptions, ExecOptions, RestoreOptions
from podling.engine.catalogue.base import Operation
from podling.runtime.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ClassVar


class Selection(Operation):
    """Which containers: by name or id, or all, the latest, or those that filters select."""

    names: list[str] = []
    all: bool = False
    latest: bool = False
    filters: list[str] = []
    cidfiles: list[str] = []
    ignore: bool = False


class CreateContainer(Operation):
    executor: ClassVar = "containers:create"
    route: ClassVar = "POST /libpod/containers/create"
    options: CreateOptions


class StartContainers(Selection):
    """`boot` starts what ran when the host went down and has a restart policy."""

    executor: ClassVar = "containers:start"
    route: ClassVar = "POST /libpod/containers/{name}/start"
    boot: bool = False
    preserve_fds: list[int] = []


class CheckpointContainers(Selection):
    """Freeze containers into files; with `options.export` one of them into an archive."""

    executor: ClassVar = "containers:checkpoint"
    route: ClassVar = "POST /libpod/containers/{name}/checkpoint"
    options: CheckpointOptions


class RestoreContainers(Selection):
    """Let containers go on from their checkpoints, or one from an archive or an image."""

    executor: ClassVar = "containers:restore"
    route: ClassVar = "POST /libpod/containers/{name}/restore"
    options: RestoreOptions


class InitContainers(Selection):
    """Make everything ready for a start."""

    executor: ClassVar = "containers:init"
    route: ClassVar = "POST /libpod/containers/{name}/init"


class WarnOfLogout(Operation):
    """Warn a user, once, whose detached containers would end with the session."""

    executor: ClassVar = "containers:warn_of_logout"
    local: ClassVar = True


class RunAttached(Operation):
    """Start with streams joined."""

    executor: ClassVar = "containers:run_attached"
    local: ClassVar = True
    route: ClassVar = "POST /libpod/containers/{name}/attach"
    name: str
    streams: Streams
    sig_proxy: bool = True
    preserve_fds: list[int] = []


class AttachContainer(Operation):
    executor: ClassVar = "containers:attach"
    local: ClassVar = True
    route: ClassVar = "POST /libpod/containers/{name}/attach"
    name: str
    latest: bool = False
    streams: Streams
    sig_proxy: bool = True
    detach_keys: str = ""


class StopContainers(Selection):
    executor: ClassVar = "containers:stop"
    route: ClassVar = "POST /libpod/containers/{name}/stop"
    timeout: int = -1


class RestartContainers(Selection):
    executor: ClassVar = "containers:restart"
    route: ClassVar = "POST /libpod/containers/{name}/restart"
    timeout: int = -1
    running: bool = False


class KillContainers(Selection):
    executor: ClassVar = "containers:kill"
    route: ClassVar = "POST /libpod/containers/{name}/kill"
    signal: str = "KILL"


class PauseContainers(Selection):
    executor: ClassVar = "containers:pause"
    route: ClassVar = "POST /libpod/containers/{name}/pause"


class UnpauseContainers(Selection):
    executor: ClassVar = "containers:unpause"
    route: ClassVar = "POST /libpod/containers/{name}/unpause"


class RemoveContainers(Selection):
    executor: ClassVar = "containers:remove"
    route: ClassVar = "DELETE /libpod/containers/{name}"
    force: bool = False
    volumes: bool = False
    timeout: int = -1
    #: those that require it too
    depend: bool = False


class WaitContainer(Operation):
    executor: ClassVar = "containers:wait"
    route: ClassVar = "POST /libpod/containers/{name}/wait"
    writes: ClassVar = False
    name: str
    conditions: list[str] = []
    #: seconds between looks at a condition that no event tells of
    interval: float = 0.25
    #: clean up after it, rather than leave that to conmon's exit command
    settle: bool = False


class WaitFirst(Operation):
    """Wait until the first of several containers is in one of the conditions: (exit code, name)."""

    executor: ClassVar = "containers:wait_first"
    writes: ClassVar = False
    names: list[str]
    conditions: list[str] = []
    interval: float = 0.25
    ignore: bool = False


class RenameContainer(Operation):
    executor: ClassVar = "containers:rename"
    route: ClassVar = "POST /libpod/containers/{name}/rename"
    name: str
    new_name: str


class ListContainers(Operation):
    executor: ClassVar = "containers:list_containers"
    route: ClassVar = "GET /libpod/containers/json"
    writes: ClassVar = False
    all: bool = False
    filters: list[str] = []
    last: int = 0
    size: bool = False
    details: bool = False
    #: those of builds too
    external: bool = False


class InspectContainer(Operation):
    executor: ClassVar = "containers:inspect"
    quick: ClassVar = True
    route: ClassVar = "GET /libpod/containers/{name}/json"
    writes: ClassVar = False
    name: str
    size: bool = False


class ContainerExists(Operation):
    executor: ClassVar = "containers:exists"
    quick: ClassVar = True
    route: ClassVar = "GET /libpod/containers/{name}/exists"
    writes: ClassVar = False
    name: str


class ContainerLogs(Operation):
    executor: ClassVar = "containers:logs"
    route: ClassVar = "GET /libpod/containers/{name}/logs"
    writes: ClassVar = False
    name: str
    tail: int = -1
    since: str = ""
    until: str = ""
    follow: bool = False
    patient: bool = True


class CopyLogs(Operation):
    """What a container wrote, to two descriptors; False when its log driver has no such short way."""

    executor: ClassVar = "containers:copy_logs"
    outputs: ClassVar = ("stdout", "stderr")
    route: ClassVar = "GET /libpod/containers/{name}/logs"
    writes: ClassVar = False
    name: str
    tail: int = -1
    stdout: int = 1
    stderr: int = 2


class ContainerTop(Operation):
    executor: ClassVar = "containers:top"
    route: ClassVar = "GET /libpod/containers/{name}/top"
    writes: ClassVar = False
    name: str
    descriptors: list[str] = []


class ExecContainer(Operation):
    """Run a process and stay with it."""

    executor: ClassVar = "containers:exec_attached"
    local: ClassVar = True
    route: ClassVar = "POST /libpod/exec/{id}/start"
    name: str
    options: ExecOptions
    streams: Streams
    detach_keys: str = ""


class ExecDetached(Operation):
    executor: ClassVar = "containers:exec_detached"
    route: ClassVar = "POST /libpod/containers/{name}/exec"
    name: str
    options: ExecOptions


class CreateExec(Operation):
    """Prepare an exec session; it runs when it is started."""

    executor: ClassVar = "sessions:create"
    route: ClassVar = "POST /libpod/containers/{name}/exec"
    name: str
    options: ExecOptions


class StartExec(Operation):
    """Start a session: its `Link` when somebody wants to be joined to it. `ready` is called before its process begins."""

    executor: ClassVar = "sessions:start"
    local: ClassVar = True
    route: ClassVar = "POST /libpod/exec/{id}/start"
    id: str
    attach: bool = True
    tty: bool | None = None
    ready: Callable[[], None] | None = None


class InspectExec(Operation):
    executor: ClassVar = "sessions:inspect"
    quick: ClassVar = True
    route: ClassVar = "GET /libpod/exec/{id}/json"
    writes: ClassVar = False
    id: str


class ResizeExec(Operation):
    executor: ClassVar = "sessions:resize"
    route: ClassVar = "POST /libpod/exec/{id}/resize"
    id: str
    rows: int
    columns: int


class RemoveExec(Operation):
    executor: ClassVar = "sessions:remove"
    route: ClassVar = "POST /libpod/exec/{id}/remove"
    id: str
    force: bool = False


class ResizeContainer(Operation):
    executor: ClassVar = "sessions:resize_container"
    route: ClassVar = "POST /libpod/containers/{name}/resize"
    name: str
    rows: int
    columns: int


class OpenContainer(Operation):
    """A `Link` to a container's streams; one that was never started is made ready for it first."""

    executor: ClassVar = "sessions:open_container"
    local: ClassVar = True
    route: ClassVar = "POST /libpod/containers/{name}/attach"
    name: str
    detach_keys: str = ""


class ContainerState(Operation):
    """Where a container is, in one query."""

    executor: ClassVar = "sessions:state"
    quick: ClassVar = True
    route: ClassVar = ""
    writes: ClassVar = False
    name: str


class CleanupContainers(Selection):
    """`restart` starts a container again, as its policy says."""

    executor: ClassVar = "containers:cleanup"
    local: ClassVar = True
    route: ClassVar = ""
    restart: bool = False
    remove: bool = False
    remove_image: bool = False


class CleanupExec(Operation):
    """Forget an exec session that has ended."""

    executor: ClassVar = "containers:cleanup_exec"
    name: str
    session: str
    remove: bool = False


class CommitContainer(Operation):
    executor: ClassVar = "containers:commit"
    route: ClassVar = "POST /libpod/commit"
    name: str
    target: str = ""
    options: CommitOptions


class CopyFiles(Operation):
    """`CONTAINER:PATH`, a path of the host, or `-` for a tar on a descriptor."""

    executor: ClassVar = "upkeep:copy_files"
    outputs: ClassVar = ("stdout",)
    inputs: ClassVar = ("stdin",)
    route: ClassVar = "PUT /libpod/containers/{name}/archive"
    source: str
    target: str
    archive: bool = True
    overwrite: bool = False
    stdin: int = 0
    stdout: int = 1
    #: other names for what lies at the top of a tar
    rename: dict[str, str] = {}


class StatPath(Operation):
    """What a path in a container is, in the shape of Docker's X-Docker-Container-Path-Stat."""

    executor: ClassVar = "upkeep:stat_path"
    route: ClassVar = "HEAD /libpod/containers/{name}/archive"
    writes: ClassVar = False
    name: str
    path: str


class ExportContainer(Operation):
    executor: ClassVar = "upkeep:export"
    outputs: ClassVar = ("fd",)
    route: ClassVar = "GET /libpod/containers/{name}/export"
    writes: ClassVar = False
    name: str
    fd: int


class ContainerStats(Operation):
    """Samples again and again: of those that are named, or of all that run."""

    executor: ClassVar = "upkeep:stats"
    route: ClassVar = "GET /libpod/containers/stats"
    writes: ClassVar = False
    names: list[str] = []
    all: bool = False
    latest: bool = False
    interval: float = 5.0
    patient: bool = True
    #: the time in the kernel too, which takes another file per container
    system: bool = True


class PruneContainers(Operation):
    executor: ClassVar = "upkeep:prune"
    route: ClassVar = "POST /libpod/containers/prune"
    filters: list[str] = []


class MountContainers(Selection):
    """Without a selection: what is mounted."""

    executor: ClassVar = "upkeep:mount"
    route: ClassVar = "POST /libpod/containers/{name}/mount"


class UnmountContainers(Selection):
    executor: ClassVar = "upkeep:unmount"
    route: ClassVar = "POST /libpod/containers/{name}/unmount"
    force: bool = False


class UpdateContainer(Operation):
    """`given` names the fields of `changes` that count."""

    nested: ClassVar = {"changes": CreateOptions}
    executor: ClassVar = "upkeep:update"
    route: ClassVar = "POST /libpod/containers/{name}/update"
    name: str
    changes: CreateOptions
    given: list[str]


class CloneContainer(Operation):
    nested: ClassVar = {"changes": CreateOptions}
    executor: ClassVar = "upkeep:clone"
    route: ClassVar = ""
    name: str
    new_name: str = ""
    image: str = ""
    changes: CreateOptions
    given: list[str] = []
    destroy: bool = False
    force: bool = False


class RunHealthcheck(Operation):
    executor: ClassVar = "upkeep:run_healthcheck"
    route: ClassVar = "GET /libpod/containers/{name}/healthcheck"
    name: str
