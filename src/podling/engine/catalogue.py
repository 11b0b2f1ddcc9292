"""Every operation, declared once: its parameters as a typed record, where it runs, and where the REST API will serve it.

`executor` is `module:function` below `podling.engine.execute`; the function takes the context and the record. `route` is the
libpod route whose parameters the record covers.
"""

from __future__ import annotations

from podling.core.options import CreateOptions, ExecOptions
from podling.oci.record import Record
from podling.runtime.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class Operation(Record):
    """Base of all operations."""

    executor: ClassVar[str] = ""
    route: ClassVar[str] = ""
    #: it changes something
    writes: ClassVar[bool] = True


class Report(Record):
    """What an operation on several objects did: what went well, as it was named, and what did not."""

    done: list[str] = []
    errors: list[Exception] = []


class Selection(Operation):
    """Which containers: by name or id, or all, the latest, or those that filters select."""

    names: list[str] = []
    all: bool = False
    latest: bool = False
    filters: list[str] = []
    cidfiles: list[str] = []
    ignore: bool = False


# -- containers
class CreateContainer(Operation):
    executor: ClassVar = "containers:create"
    route: ClassVar = "POST /libpod/containers/create"
    options: CreateOptions


class StartContainers(Selection):
    executor: ClassVar = "containers:start"
    route: ClassVar = "POST /libpod/containers/{name}/start"


class RunAttached(Operation):
    """Start with streams joined."""

    executor: ClassVar = "containers:run_attached"
    route: ClassVar = "POST /libpod/containers/{name}/attach"
    name: str
    streams: Streams
    sig_proxy: bool = True


class AttachContainer(Operation):
    executor: ClassVar = "containers:attach"
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


class WaitContainer(Operation):
    executor: ClassVar = "containers:wait"
    route: ClassVar = "POST /libpod/containers/{name}/wait"
    writes: ClassVar = False
    name: str
    conditions: list[str] = []
    #: seconds between looks at a condition that no event tells of
    interval: float = 0.25


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


class InspectContainer(Operation):
    executor: ClassVar = "containers:inspect"
    route: ClassVar = "GET /libpod/containers/{name}/json"
    writes: ClassVar = False
    name: str
    size: bool = False


class ContainerExists(Operation):
    executor: ClassVar = "containers:exists"
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


class ContainerTop(Operation):
    executor: ClassVar = "containers:top"
    route: ClassVar = "GET /libpod/containers/{name}/top"
    writes: ClassVar = False
    name: str
    descriptors: list[str] = []


class ExecContainer(Operation):
    """Run a process and stay with it."""

    executor: ClassVar = "containers:exec_attached"
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


class CleanupContainers(Selection):
    executor: ClassVar = "containers:cleanup"
    route: ClassVar = ""


# -- images
class PullImage(Operation):
    executor: ClassVar = "images:pull"
    route: ClassVar = "POST /libpod/images/pull"
    name: str
    policy: str = "always"
    platform: str = ""
    creds: str = ""
    authfile: str = ""
    tls_verify: bool | None = None
    cert_dir: str = ""
    retries: int = 3


class ListImages(Operation):
    executor: ClassVar = "images:list_images"
    route: ClassVar = "GET /libpod/images/json"
    writes: ClassVar = False
    names: list[str] = []
    filters: list[str] = []
    all: bool = False


class RemoveImages(Operation):
    executor: ClassVar = "images:remove"
    route: ClassVar = "DELETE /libpod/images/remove"
    names: list[str] = []
    force: bool = False
    all: bool = False
    ignore: bool = False


class TagImage(Operation):
    executor: ClassVar = "images:tag"
    route: ClassVar = "POST /libpod/images/{name}/tag"
    name: str
    targets: list[str]


class UntagImage(Operation):
    executor: ClassVar = "images:untag"
    route: ClassVar = "POST /libpod/images/{name}/untag"
    name: str
    targets: list[str] = []


class InspectImage(Operation):
    executor: ClassVar = "images:inspect"
    route: ClassVar = "GET /libpod/images/{name}/json"
    writes: ClassVar = False
    name: str


class ImageHistory(Operation):
    executor: ClassVar = "images:history"
    route: ClassVar = "GET /libpod/images/{name}/history"
    writes: ClassVar = False
    name: str


class ImageExists(Operation):
    executor: ClassVar = "images:exists"
    route: ClassVar = "GET /libpod/images/{name}/exists"
    writes: ClassVar = False
    name: str


class LoadImages(Operation):
    """From the file `path`, or from the descriptor `fd`."""

    executor: ClassVar = "images:load"
    route: ClassVar = "POST /libpod/images/load"
    path: str = ""
    fd: int = -1


class SaveImages(Operation):
    executor: ClassVar = "images:save"
    route: ClassVar = "GET /libpod/images/export"
    names: list[str]
    path: str = ""
    fd: int = -1
    format: str = "docker-archive"


class ImportImage(Operation):
    executor: ClassVar = "images:import_image"
    route: ClassVar = "POST /libpod/images/import"
    path: str = ""
    fd: int = -1
    name: str = ""
    changes: list[str] = []
    message: str = ""
    platform: str = ""


# -- the rest
class StreamEvents(Operation):
    executor: ClassVar = "system:events"
    route: ClassVar = "GET /libpod/events"
    writes: ClassVar = False
    since: str = ""
    until: str = ""
    filters: list[str] = []
    follow: bool = True


class Info(Operation):
    executor: ClassVar = "system:info"
    route: ClassVar = "GET /libpod/info"
    writes: ClassVar = False


class Version(Operation):
    executor: ClassVar = "system:version"
    route: ClassVar = "GET /libpod/version"
    writes: ClassVar = False
