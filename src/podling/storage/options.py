"""Options of the storage driver (--storage-opt, storage.conf): KEY=VALUE, where `overlay.` or `vfs.` may be before KEY."""

from __future__ import annotations

from podling.errors import InvalidInput
from podling.linux import calls
from podling.oci.record import Record
from podling.oci.sizes import size

_NOBODY = 65534
_FLAGS = {"nodev": calls.MS_NODEV, "nosuid": calls.MS_NOSUID, "noexec": calls.MS_NOEXEC, "ro": calls.MS_RDONLY}
_HINT = (
    "known: overlay.mount_program=PATH, overlay.mountopt=OPTION,…, overlay.size=BYTES, overlay.inodes=NUMBER, "
    "ignore_chown_errors=true, squash_ids=ID, additionalimagestore=PATH"
)
#: accepted for storage.conf's sake: nothing depends on them
_IDLE = ("additionalimagestore", "imagestore", "skip_mount_home")


class StoreOptions(Record):
    """What the options come to."""

    #: what mounts in the kernel's stead
    mount_program: str = ""
    #: flags and data of every overlay mount
    mount_flags: int = 0
    mount_data: str = ""
    #: limits of a container's writable layer: bytes, files; 0: none
    size: int = 0
    inodes: int = 0
    #: whose files of ids become that this user was not granted: an id, -1 for the user's own; None: such images are refused
    strays: int | None = None
    #: containers that go with their end (--rm) are not written through to the disk
    volatile: bool = True


def parse(options: list[str]) -> StoreOptions:
    """
    Raises:
        InvalidInput: an option that nobody knows, or a value that cannot be.
    """
    found = StoreOptions()
    for option in options:
        key, _, value = option.partition("=")
        bare = key.removeprefix("overlay.").removeprefix("vfs.")
        if bare == "mount_program":
            found.mount_program = value
        elif bare == "mountopt":
            _mount_options(found, value)
        elif bare == "size":
            found.size = size(value, f"storage option {key}")
        elif bare == "inodes":
            found.inodes = size(value, f"storage option {key}")
        elif bare == "ignore_chown_errors":
            if value.lower() in ("true", "1") and found.strays is None:
                found.strays = -1
        elif bare == "squash_ids":
            found.strays = _stray_id(key, value)
        elif bare == "disable-volatile":
            found.volatile = value.lower() not in ("true", "1")
        elif bare not in _IDLE:
            raise InvalidInput(f"unknown storage option {key!r}", hint=_HINT)
    return found


def _stray_id(key: str, value: str) -> int | None:
    """`true`: nobody."""
    if value.lower() in ("true", "false"):
        return _NOBODY if value.lower() == "true" else None
    if not value.isdigit() or int(value) > _NOBODY:
        raise InvalidInput(
            f"storage option {key}: {value!r} is no id",
            hint="an id that every user has, such as 1000, or true for nobody's",
        )
    return int(value)


def _mount_options(found: StoreOptions, text: str) -> None:
    data = []
    for word in filter(None, text.split(",")):
        if word in _FLAGS:
            found.mount_flags |= _FLAGS[word]
        # layers hold whole files, for images are made of them; who may set which attribute is ours to know
        elif word.partition("=")[0] not in (
            "metacopy",
            "redirect_dir",
            "index",
            "userxattr",
            "rw",
            "dev",
            "suid",
            "exec",
        ):
            data.append(word)
    found.mount_data = ",".join(data)
