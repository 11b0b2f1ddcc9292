"""Names with a transport: docker://, oci:, oci-archive:, docker-archive:, dir:, containers-storage: (containers-transports(5))."""

from __future__ import annotations

import os

from podling.config import containers
from podling.errors import InvalidInput, Unsupported
from podling.linux.proc import outer_uid
from podling.oci.record import Record

TRANSPORTS = ("docker", "oci", "oci-archive", "docker-archive", "dir", "containers-storage", "docker-daemon")


class Place(Record):
    """`path` is a file, a folder, or for containers-storage the store's root; `name` chooses an image in it."""

    transport: str
    path: str
    name: str = ""


def split(text: str) -> Place | None:
    """The place that `text` names; None for a plain image name and for docker://.

    Raises:
        InvalidInput: a transport without what it needs. Unsupported: docker-daemon.
    """
    default = containers.load().text("engine", "image_default_transport").removesuffix("//").removesuffix(":")
    if default and default != "docker" and not text.startswith(tuple(f"{name}:" for name in TRANSPORTS)):
        text = f"{default}:{text}"
    transport, colon, rest = text.partition(":")
    if not colon or transport not in TRANSPORTS or transport == "docker":
        return None
    if transport == "docker-daemon":
        raise Unsupported(f"{text}: there is no Docker daemon to ask", hint="docker save | podling load")
    if not rest:
        raise InvalidInput(f"{text!r}: {transport}: needs a path")
    if transport == "dir":
        return Place(transport=transport, path=os.path.abspath(rest))
    if transport == "containers-storage":
        root, name = _store(rest)
        return Place(transport=transport, path=root, name=name)
    path, _, name = rest.partition(":")
    return Place(transport=transport, path=os.path.abspath(path), name=name)


def _store(text: str) -> tuple[str, str]:
    """(root, image) of `[[driver@]root[+runroot][:options]]image`; the root defaults to that of the user who asks."""
    if not text.startswith("["):
        return default_store(), text
    inside, bracket, name = text[1:].partition("]")
    if not bracket or not name:
        raise InvalidInput(f"containers-storage:{text}: not [DRIVER@ROOT+RUNROOT]IMAGE")
    root = inside.rpartition("@")[2].partition("+")[0].partition(":")[0]
    return root or default_store(), name


def default_store() -> str:
    """Where Podman, Buildah and skopeo keep their images for this user."""
    if outer_uid() == 0:
        return "/var/lib/containers/storage"
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.path.join(base, "containers/storage")
