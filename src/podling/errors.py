"""The one tree of errors.

    PodlingError                         exit 125, HTTP 500
    ├── InvalidInput                     400  a flag, a name or a document that cannot be right
    │   ├── AmbiguousName                     a short name or id that fits several objects
    │   └── BadArchive                        a tar, image or layer that is corrupt or hostile
    ├── NotFound                         404
    │   ├── NoSuchContainer, NoSuchImage, NoSuchNetwork
    ├── Conflict                         409
    │   ├── NameInUse, ImageInUse, WrongState, PortInUse
    ├── Unsupported                      501  this host or version cannot do it
    ├── RuntimeFailed                    500  a program that we started failed
    │   ├── CommandNotInvocable          exit 126
    │   ├── CommandNotFound              exit 127
    │   └── ProgramMissing                    conmon, crun, netavark … is not installed
    ├── RegistryError                    502
    │   ├── AccessDenied                 401
    │   └── DigestMismatch
    ├── StorageFull                      507  no space left on a device of ours
    └── StateError                       500  the database is damaged, or newer than we are

An error names the object, the cause and, in `hint`, the way out. `reference` is stable: scripts may match it.
Imports nothing of ours.
"""

from __future__ import annotations


class PodlingError(Exception):
    """Root of the tree. `message` is one line for a person; `hint` says what to do next."""

    exit_code = 125
    status = 500
    reference = "internal"

    def __init__(self, message: str, *, hint: str = "", cause: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        #: the bare reason, without the object: what the REST API calls `cause`
        self.cause = cause or message

    def __str__(self) -> str:
        return self.message


class InvalidInput(PodlingError):
    status = 400
    reference = "invalid-input"


class AmbiguousName(InvalidInput):
    reference = "ambiguous-name"


class BadArchive(InvalidInput):
    reference = "bad-archive"


class NotFound(PodlingError):
    status = 404
    reference = "not-found"


class NoSuchContainer(NotFound):
    reference = "no-such-container"

    def __init__(self, name: str) -> None:
        super().__init__(
            f'no container with name or ID "{name}" found: no such container',
            hint="`podling ps -a` lists all containers",
            cause="no such container",
        )


class NoSuchImage(NotFound):
    reference = "no-such-image"

    def __init__(
        self, name: str, hint: str = "`podling images` lists the images here; `podling pull` fetches one"
    ) -> None:
        super().__init__(f"{name}: image not known", hint=hint, cause="image not known")


class NoSuchNetwork(NotFound):
    reference = "no-such-network"


class Conflict(PodlingError):
    status = 409
    reference = "conflict"


class NameInUse(Conflict):
    reference = "name-in-use"


class ImageInUse(Conflict):
    exit_code = 2
    reference = "image-in-use"


class WrongState(Conflict):
    reference = "wrong-state"


class PortInUse(Conflict):
    exit_code = 126
    status = 500
    reference = "port-in-use"


class NoSuchPod(NotFound):
    reference = "no-such-pod"

    def __init__(self, name: str) -> None:
        super().__init__(f"no pod with name or ID {name} found: no such pod", hint="`podling pod ps` lists the pods")


class Unsupported(PodlingError):
    status = 501
    reference = "unsupported"


class RuntimeFailed(PodlingError):
    exit_code = 126
    reference = "runtime-failed"


class CommandNotInvocable(RuntimeFailed):
    reference = "command-not-invocable"


class CommandNotFound(RuntimeFailed):
    exit_code = 127
    reference = "command-not-found"


class ProgramMissing(RuntimeFailed):
    exit_code = 125
    reference = "program-missing"


class RegistryError(PodlingError):
    status = 502
    reference = "registry"
    #: another attempt may succeed
    temporary = False


class AccessDenied(RegistryError):
    status = 401
    reference = "access-denied"


class DigestMismatch(RegistryError):
    reference = "digest-mismatch"


class StorageFull(PodlingError):
    status = 507
    reference = "storage-full"


class StateError(PodlingError):
    reference = "state"
