"""A folder that root of a container's own user namespace can reach: its root file system and all that is mounted in it.

The store is closed to everybody but its owner (0700), and the runtime looks paths up with the rights of the container. Opening the
store's folders instead, as others do, would let every user of the host run set-id programs of images.
"""

from __future__ import annotations

import os
import stat

from podling.errors import InvalidInput, Unsupported
from podling.linux import calls
from podling.linux.proc import outer_uid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.containers import Container
    from podling.rootless.subids import Owners


def _base() -> str:
    uid = outer_uid()
    path = f"/tmp/podling-mapped-{uid}" if uid else "/run/podling-mapped"
    try:
        os.mkdir(path, 0o711)
        os.chmod(path, 0o711)
    except FileExistsError:
        info = os.lstat(path)
        if info.st_uid or not stat.S_ISDIR(info.st_mode) or info.st_mode & 0o022:
            raise InvalidInput(f"{path} belongs to somebody else", hint=f"have {path} removed") from None
    return path


def _folder(container: Container) -> str:
    return f"{_base()}/{container.id[:32]}"


def fill(container: Container, owners: Owners, root: str, sources: dict[str, str]) -> tuple[str, dict[str, str]]:
    """(root file system, target to source), all of them in the folder."""
    folder = _folder(container)
    empty(container)
    os.mkdir(folder, 0o700)
    os.chown(folder, *owners.outward(0, 0))
    os.mkdir(f"{folder}/root", 0o755)
    calls.mount(root, f"{folder}/root", "", calls.MS_BIND | calls.MS_REC)
    shifted = {mount.target for mount in container.config.mounts if "idmap" in mount.options}
    found = {}
    for number, (target, source) in enumerate(sources.items()):
        place = f"{folder}/{number}"
        if os.path.isdir(source):
            os.mkdir(place, 0o755)
        else:
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        if target in shifted:
            _bind_shifted(source, place, owners)
        else:
            calls.mount(source, place, "", calls.MS_BIND | calls.MS_REC)
        found[target] = place
    return f"{folder}/root", found


def _bind_shifted(source: str, place: str, owners: Owners) -> None:
    userns = owners.namespace()
    try:
        calls.bind_shifted(source, place, userns)
    except OSError as error:
        raise Unsupported(
            f"{source} cannot be mounted with the option idmap: {error.strerror}",
            hint="the option U gives the files to the container instead",
        ) from None
    finally:
        os.close(userns)


def empty(container: Container) -> None:
    """Unmount all and remove the folder; nothing when it is not there."""
    folder = _folder(container)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        path = f"{folder}/{name}"
        while calls.umount(path):
            pass
        os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
    os.rmdir(folder)
