"""Whom the host's files that are mounted into a container belong to there, said in words: what a denied access needs to be understood."""

from __future__ import annotations

import os
import stat

from podling.errors import InvalidInput
from podling.linux.proc import in_user_namespace, outer_uid
from podling.rootless import subids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.users import Identity
    from podling.rootless.subids import Owners
    from podling.runtime.config import Mount

#: what the kernel shows of an owner that the user namespace does not map (/proc/sys/kernel/overflowuid)
_NOBODY = 65534


def trouble(source: str, mount: Mount, identity: Identity, owners: Owners | None) -> str:
    """Why the container's process may not write to a bind mount, and which option mends that; "" when it may, or should not."""
    if mount.kind != "bind" or {"ro", "U", "idmap", "O"} & {option.partition("=")[0] for option in mount.options}:
        return ""
    try:
        info = os.stat(source)
    except OSError:
        return ""
    if not (stat.S_ISDIR(info.st_mode) or stat.S_ISREG(info.st_mode)) or _may_write(info, identity, owners):
        return ""
    inside = _inside(info.st_uid, owners)
    whose = "an id that is not mapped" if inside is None else f"id {inside}"
    return (
        f"{source}, mounted at {mount.target}, belongs to {whose} in the container; its process runs as {identity.uid}:{identity.gid} "
        f"and may not write there. {_remedy(source, info, identity, inside)}"
    )


def _may_write(info: os.stat_result, identity: Identity, owners: Owners | None) -> bool:
    mapped = _inside(info.st_uid, owners) is not None
    if identity.uid == 0 and mapped:  # root's capabilities count for files whose owner its namespace knows
        return True
    uid, gid, groups = identity.uid, identity.gid, list(identity.groups)
    if owners:
        uid, gid = owners.outward(uid, gid)
        groups = [outer for group in groups if (outer := subids.outside(owners.groups, group)) is not None]
    if uid == info.st_uid and mapped:
        return bool(info.st_mode & stat.S_IWUSR)
    if info.st_gid in (gid, *groups):
        return bool(info.st_mode & stat.S_IWGRP)
    return bool(info.st_mode & stat.S_IWOTH)


def _inside(uid: int, owners: Owners | None) -> int | None:
    """The id in the container of an owner as we see it."""
    if uid == _NOBODY and in_user_namespace():
        return None
    return subids.inside(owners.users, uid) if owners else uid


def _remedy(source: str, info: os.stat_result, identity: Identity, inside: int | None) -> str:
    if outer_uid() and info.st_uid == 0:  # the user's own
        if identity.uid == 0:
            return "Leave --userns out, or use --userns=keep-id"
        return f"--userns=keep-id:uid={identity.uid},gid={identity.gid} makes you that user"
    if inside is None and outer_uid():
        return f"Mount a folder of your own, or have root give it to you: sudo chown -R {outer_uid()} {source}"
    return (
        "The option U gives the files to it, idmap maps their owners"
        if not outer_uid()
        else "The option U gives the files to it"
    )


def not_given(path: str, uid: int, gid: int, error: OSError) -> InvalidInput:
    """Option U failed."""
    if not outer_uid():
        return InvalidInput(f"the option U cannot give {path} to {uid}:{gid}: {error.strerror}")
    try:
        unknown = os.stat(path).st_uid == _NOBODY
    except OSError:
        unknown = False
    ids = subids.size(subids.current("uid"))
    whose = f", which belongs to none of this user's {ids} ids" if unknown else ""
    return InvalidInput(
        f"the option U cannot give {path}{whose}, to {uid}:{gid} of the user's namespace: {error.strerror}",
        hint=f"mount a folder of your own, or have root give it to you: sudo chown -R {outer_uid()} {path}",
    )


def hidden(path: str, flag: str) -> InvalidInput:
    """A source that this user may not even look at."""
    closed = path
    while closed != "/" and not os.access(os.path.dirname(closed), os.X_OK):
        closed = os.path.dirname(closed)
    return InvalidInput(
        f"{flag}: statfs {path}: permission denied",
        hint=f"{closed} is closed to this user: chmod o+x there, or mount something of your own",
    )
