"""--userns and --uidmap: which ids of the host, or of the user's own namespace, a container's ids are."""

from __future__ import annotations

import os

from podling.errors import InvalidInput, Unsupported, WrongState
from podling.linux.proc import outer_uid
from podling.rootless import subids
from podling.runtime.config import UserNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.core.options import CreateOptions
    from podling.rootless.subids import Map

_SIZE = 65536


def mapping(ctx: Context, options: CreateOptions, top_ids: tuple[int, int]) -> UserNamespace:
    """What --userns, --uidmap, --gidmap, --subuidname and --subgidname come to. `top_ids`: the image's highest ids, for auto.

    Raises:
        InvalidInput: they contradict each other, or name ids that are not granted.
    """
    mode, _, rest = options.userns.partition(":")
    by_hand = bool(options.uidmap or options.gidmap or options.subuidname or options.subgidname)
    if by_hand and mode not in ("", "private"):
        raise InvalidInput(
            f"--userns={options.userns} and --uidmap/--gidmap/--subuidname conflict", hint="give one of them"
        )
    if by_hand:
        return _by_hand(options)
    if mode in ("", "host"):
        return UserNamespace()
    if mode == "private":
        raise InvalidInput(
            "--userns=private needs --uidmap, or --subuidname", hint="--userns=auto chooses ids by itself"
        )
    values = _values(rest, mode) if mode in ("auto", "keep-id", "nomap") else {}
    if mode == "auto":
        return _auto(ctx, options.userns, values, top_ids)
    if mode in ("keep-id", "nomap"):
        return _kept(options.userns, mode, values)
    if mode == "container":
        return _joined(ctx, rest)
    if mode == "ns":
        return _of_namespace(rest)
    raise InvalidInput(
        f"--userns {options.userns!r}: unknown mode",
        hint="auto, host, keep-id, nomap, container:NAME, ns:PATH, or --uidmap",
    )


def _values(text: str, mode: str) -> dict[str, list[str]]:
    known = {"auto": ("size", "uidmapping", "gidmapping"), "keep-id": ("uid", "gid", "size"), "nomap": ("size",)}[mode]
    found: dict[str, list[str]] = {}
    for item in text.split(",") if text else ():
        name, equals, value = item.partition("=")
        if name not in known or not equals or (name in ("uid", "gid", "size") and not value.isdigit()):
            raise InvalidInput(f"--userns={mode}: invalid option {item!r}", hint=f"its options are {', '.join(known)}")
        found.setdefault(name, []).append(value)
    return found


# -- by hand
def _by_hand(options: CreateOptions) -> UserNamespace:
    users = _lines(options.uidmap, "uid", "--uidmap") if options.uidmap else []
    groups = _lines(options.gidmap, "gid", "--gidmap") if options.gidmap else []
    # without a flag before it a line of --uidmap is for users; "u" and "g" make lines for one or both of them
    if options.subuidname and not users:
        users = _named("uid", options.subuidname)
    if options.subgidname and not groups:
        groups = _named("gid", options.subgidname)
    users, groups = users or groups, groups or users
    return UserNamespace(mode="private", users=_checked(users, "uid"), groups=_checked(groups, "gid"))


def _lines(items: list[str], kind: str, flag: str) -> Map:
    """The lines of --uidmap or --gidmap, with the prefixes + (over what would be mapped anyway), u and g, and @."""
    extended = [item for item in items if item[:1] in "+ug"]
    maps: Map = []
    for item in items:
        prefix = item[: len(item) - len(item.lstrip("+ug"))]
        if ("g" in prefix and kind == "uid" and "u" not in prefix) or (
            "u" in prefix and kind == "gid" and "g" not in prefix
        ):
            continue
        first, outer, count = subids.parse(item.lstrip("+ug"), flag)
        maps.append((first, _host_id(outer, kind, flag), count))
    if not any("+" in item for item in extended):
        return maps
    return _over(maps, kind)


def _host_id(text: str, kind: str, flag: str) -> int:
    """A number, or @NUMBER: an id of the host, looked up in the user's own namespace."""
    if not text.startswith("@"):
        return int(text)
    number = int(text[1:])
    if not outer_uid():
        return number
    found = subids.inside(subids.current(kind), number)
    if found is None:
        raise InvalidInput(f"{flag}: the host id {number} is not mapped in this user's namespace")
    return found


def _over(maps: Map, kind: str) -> Map:
    """`maps` laid over what a user's container has anyway: every id as itself, those taken twice moved out of the way."""
    size = subids.size(subids.current(kind)) if outer_uid() else _SIZE
    taken_inside = [(first, count) for first, _, count in maps]
    taken_outside = {outer + step for _, outer, count in maps for step in range(count)}
    free = iter(id for id in range(size) if id not in taken_outside)
    result = list(maps)
    for id in range(size):
        if not any(first <= id < first + count for first, count in taken_inside):
            outer = next(free, None)
            if outer is None:
                break
            result.append((id, outer, 1))
    return subids.merged(result)


def _named(kind: str, name: str) -> Map:
    granted = subids.ranges(kind, name)
    if not granted:
        raise InvalidInput(
            f"{name} has no entry in /etc/sub{kind}", hint=f"sudo usermod --add-sub{kind}s 100000-165535 {name}"
        )
    maps: Map = []
    inside = 0
    for first, count in granted:
        if outer_uid():
            within = subids.inside(subids.current(kind), first)
            if within is None:
                raise InvalidInput(f"/etc/sub{kind}: the ids of {name} are not this user's")
            first = within
        maps.append((inside, first, count))
        inside += count
    return maps


def _checked(maps: Map, kind: str) -> list[list[int]]:
    if not maps:
        raise InvalidInput(f"no {kind}s are mapped")
    have = subids.current(kind)
    for first, outer, count in maps:
        if subids.outside(have, outer) is None or subids.outside(have, outer + count - 1) is None:
            raise InvalidInput(
                f"--{kind}map {first}:{outer}:{count}: this user has no id {outer + count - 1} to map",
                hint=f"the {kind}s from 0 to {subids.size(have) - 1} can be mapped",
            )
    return [list(entry) for entry in subids.merged(maps)]


# -- auto
def _auto(ctx: Context, text: str, values: dict[str, list[str]], top_ids: tuple[int, int]) -> UserNamespace:
    """Ids that no other container has: of `containers` in /etc/subuid for root, of the user's own otherwise."""
    from podling.config import containers, storage

    fewest, most = storage.load().auto_sizes()
    fewest = containers.load().number("containers", "userns_size", 0) or fewest
    size = int(values["size"][0]) if "size" in values else min(max(fewest, max(top_ids) + 1), max(fewest, most))
    maps: dict[str, list[list[int]]] = {}
    for kind in ("uid", "gid"):
        fixed = [subids.parse(item, f"{kind}mapping") for item in values.get(f"{kind}mapping", ())]
        chosen: Map = [(first, _host_id(outer, kind, f"{kind}mapping"), count) for first, outer, count in fixed]
        wanted = [id for id in range(size) if not any(first <= id < first + count for first, _, count in chosen)]
        start = _free_range(ctx, kind, len(wanted), chosen)
        position = 0
        while position < len(wanted):  # runs of ids that are still to be mapped
            run = 1
            while position + run < len(wanted) and wanted[position + run] == wanted[position] + run:
                run += 1
            chosen.append((wanted[position], start + position, run))
            position += run
        maps[kind] = [list(entry) for entry in subids.merged(chosen)]
    return UserNamespace(mode=text, users=maps["uid"], groups=maps["gid"])


def _free_range(ctx: Context, kind: str, size: int, fixed: Map) -> int:
    from podling.oci import json

    taken = [(outer, outer + count) for _, outer, count in fixed]
    for (document,) in ctx.db.rows("SELECT config FROM containers WHERE config LIKE '%\"userns\":%'"):
        maps = (json.loads(document).get("userns") or {}).get("users" if kind == "uid" else "groups") or ()
        taken += [(outer, outer + count) for _, outer, count in maps]
    if outer_uid():
        places = [(1, subids.size(subids.current(kind)) - 1)]
    else:
        from podling.config import storage

        owner = storage.load().auto_user
        places = subids.ranges(kind, owner)
        if not places:
            raise InvalidInput(
                f"--userns=auto: the user {owner} has no entry in /etc/sub{kind}",
                hint=f"echo {owner}:2147483647:2147483648 | sudo tee -a /etc/subuid /etc/subgid",
            )
    for first, count in places:
        start = first
        for low, high in sorted(taken):
            if start + size <= low:
                break
            if start < high:
                start = high
        if start + size <= first + count:
            return start
    raise InvalidInput(
        f"--userns=auto: no {size} {kind}s in a row are free", hint="--userns=auto:size=N asks for fewer"
    )


# -- the caller's own ids
def _kept(text: str, mode: str, values: dict[str, list[str]]) -> UserNamespace:
    """keep-id and nomap: the caller is a user of the same number in the container, or is not there at all."""
    own = outer_uid()
    if not own:
        raise Unsupported(f"--userns={mode} is for users other than root", hint="--userns=auto, or --uidmap")
    from podling.rootless import namespace

    if mode == "nomap":
        maps = {}
        for kind in ("uid", "gid"):
            size = subids.size(subids.current(kind)) - 1
            size = min(size, int(values["size"][0])) if "size" in values else size
            if size < 1:
                raise InvalidInput("--userns=nomap needs subordinate ids", hint=namespace.grant_command(own))
            maps[kind] = [[0, 1, size]]
        return UserNamespace(mode=text, users=maps["uid"], groups=maps["gid"])
    uid, gid = kept_ids(values)
    limit = int(values["size"][0]) if "size" in values else 0
    users, groups = _around("uid", uid, limit), _around("gid", gid, limit)
    return UserNamespace(mode=text, users=users, groups=groups)


def kept_ids(values: dict[str, list[str]]) -> tuple[int, int]:
    """(uid, gid) of the caller in a container with --userns=keep-id."""
    from podling.rootless import namespace

    return (
        int(values["uid"][0]) if "uid" in values else outer_uid(),
        int(values["gid"][0]) if "gid" in values else namespace.group(),
    )


def default_user(userns: str) -> str:
    """UID:GID that a container runs as with --userns=keep-id, where nothing else is said; "" with other modes."""
    mode, _, rest = userns.partition(":")
    return "{}:{}".format(*kept_ids(_values(rest, mode))) if mode == "keep-id" else ""


def _around(kind: str, id: int, limit: int) -> list[list[int]]:
    """The caller (0 in their namespace) is `id`; the granted ids are those around it."""
    granted = subids.size(subids.current(kind)) - 1
    below = min(id, granted)
    above = granted - below
    if limit:
        above = max(0, min(above, limit - below - 1))
    maps = [[0, 1, below]] if below else []
    maps.append([id, 0, 1])
    if above:
        maps.append([id + 1, below + 1, above])
    return maps


# -- somebody else's
def _joined(ctx: Context, name: str) -> UserNamespace:
    from podling.core.containers import find

    other = find(ctx, name)
    theirs = other.config.userns
    if theirs is None:
        return UserNamespace()
    return UserNamespace(mode=f"container:{other.id}", users=theirs.users, groups=theirs.groups)


def _of_namespace(path: str) -> UserNamespace:
    """The maps of the namespace at `path`, seen from ours."""
    from podling.linux import calls

    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidInput(f"--userns ns:{path}: {error.strerror}") from None
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(writer)
            calls.setns(fd, calls.CLONE_NEWUSER)
            code = 0
        except OSError:
            pass
        finally:
            if code:
                os._exit(code)
            os.read(reader, 1)
            os._exit(0)
    os.close(reader)
    try:
        maps: dict[str, Any] = {}
        for kind in ("uid", "gid"):
            maps[kind] = _settled(child, kind)
    finally:
        os.close(writer)
        os.close(fd)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise WrongState(f"--userns ns:{path}: it is not a user namespace that can be joined")
    return UserNamespace(mode=f"ns:{path}", users=maps["uid"], groups=maps["gid"])


def _settled(pid: int, kind: str) -> list[list[int]]:
    """The map of a child that is about to change its namespace, once it has."""
    import time

    own = subids.current(kind)
    found: list[list[int]] = []
    for _ in range(200):
        try:
            with open(f"/proc/{pid}/{kind}_map") as file:
                found = [[int(word) for word in line.split()] for line in file]
        except OSError:
            break
        if [tuple(entry) for entry in found] != own:
            break
        time.sleep(0.001)
    return found
