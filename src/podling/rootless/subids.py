"""Subordinate ids (subuid(5)) and maps of ids (user_namespaces(7))."""

from __future__ import annotations

import os

from podling.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: (first id inside, first id outside, how many)
    Map = list[tuple[int, int, int]]


def ranges(kind: str, *owners: str) -> list[tuple[int, int]]:
    """(first, count) of what /etc/subuid or /etc/subgid (`kind`: uid, gid) grants to any of `owners`: names, or numbers as text."""
    found: list[tuple[int, int]] = []
    try:
        with open(f"/etc/sub{kind}") as file:
            for line in file:
                owner, _, rest = line.strip().partition(":")
                first, _, count = rest.partition(":")
                if owner in owners and first.isdigit() and count.isdigit() and int(count):
                    found.append((int(first), int(count)))
    except FileNotFoundError:
        pass
    return found or _from_service(kind, owners)


def _from_service(kind: str, owners: tuple[str, ...]) -> list[tuple[int, int]]:
    """From a name service, where nsswitch.conf names one for subid: `getsubids` asks it."""
    from podling.linux.process import run

    try:
        with open("/etc/nsswitch.conf") as file:
            if not any(line.startswith("subid:") for line in file):
                return []
    except OSError:
        return []
    program = "/usr/bin/getsubids"
    if not os.access(program, os.X_OK):
        return []
    for owner in owners:
        text = run([program, *(["-g"] if kind == "gid" else []), owner], capture=True).stdout.decode()
        fields = [line.split() for line in text.splitlines()]
        if found := [(int(parts[2]), int(parts[3])) for parts in fields if len(parts) == 4 and parts[3].isdigit()]:
            return found
    return []


def stacked(own: int, granted: list[tuple[int, int]]) -> Map:
    """The map of a user's namespace: root inside is the user, and from 1 on follow the granted ranges."""
    maps: Map = [(0, own, 1)]
    inside = 1
    for first, count in granted:
        maps.append((inside, first, count))
        inside += count
    return maps


def size(maps: Map) -> int:
    """How many ids a map has."""
    return sum(count for _, _, count in maps)


def outside(maps: Map, inside: int) -> int | None:
    """The id outside for one inside; None where it is not mapped."""
    for first, target, count in maps:
        if first <= inside < first + count:
            return target + inside - first
    return None


def inside(maps: Map, outer: int) -> int | None:
    """The id inside for one outside; None where it is not mapped."""
    return outside([(target, first, count) for first, target, count in maps], outer)


def current(kind: str) -> Map:
    """The map of the namespace that this process is in."""
    with open(f"/proc/self/{kind}_map") as file:
        return [(int(a), int(b), int(c)) for a, b, c in (line.split() for line in file)]


def parse(text: str, flag: str) -> tuple[int, str, int]:
    """(first inside, first outside as text, count) of `INSIDE:OUTSIDE[:COUNT]`; OUTSIDE may start with @."""
    parts = text.split(":")
    if len(parts) in (2, 3) and parts[0].isdigit() and parts[1].removeprefix("@").isdigit():
        count = parts[2] if len(parts) == 3 else "1"
        if count.isdigit() and 0 < int(count) <= 1 << 32:
            return int(parts[0]), parts[1], int(count)
    raise InvalidInput(f"{flag} {text!r}: not CONTAINER_ID:HOST_ID[:COUNT]", hint=f"for example {flag} 0:100000:65536")


def merged(maps: Map) -> Map:
    """Sorted, with neighbours joined.

    Raises:
        InvalidInput: two of the ranges share an id, inside or outside.
    """
    result: Map = []
    for first, outer, count in sorted(maps):
        if result:
            last_first, last_outer, last_count = result[-1]
            if first < last_first + last_count:
                raise InvalidInput(f"the id {first} is mapped twice")
            if first == last_first + last_count and outer == last_outer + last_count:
                result[-1] = (last_first, last_outer, last_count + count)
                continue
        result.append((first, outer, count))
    taken = 0
    for _, outer, count in sorted(result, key=lambda entry: entry[1]):
        if outer < taken:
            raise InvalidInput(f"the host id {outer} is mapped twice")
        taken = outer + count
    return result


_NOBODY = 65534


class Owners:
    """The two maps of a container, and what they make of owners of files."""

    def __init__(self, users: list[list[int]], groups: list[list[int]]) -> None:
        self.users: Map = [(a, b, c) for a, b, c in users]
        self.groups: Map = [(a, b, c) for a, b, c in groups]

    @property
    def key(self) -> str:
        """A short name that only equal maps share."""
        import hashlib

        return hashlib.sha256(repr((self.users, self.groups)).encode()).hexdigest()[:16]

    def outward(self, uid: int, gid: int) -> tuple[int, int]:
        """The owner outside of what belongs to uid:gid inside.

        Raises:
            InvalidInput: one of them is not mapped.
        """
        found = outside(self.users, uid), outside(self.groups, gid)
        for kind, id, outer in (("UID", uid, found[0]), ("GID", gid, found[1])):
            if outer is None:
                raise InvalidInput(
                    f"the container's id map has no {kind} {id}, which a file of its image belongs to",
                    hint="map more ids: --userns=auto:size=65536, or a larger --uidmap and --gidmap",
                )
        return found[0] or 0, found[1] or 0

    def inward(self, info: os.stat_result) -> os.stat_result:
        """`info` with the owner that is seen inside; what is not mapped is nobody's, as the kernel shows it."""
        values: list[int] = [int(value) for value in info]
        for position, map_ in ((4, self.users), (5, self.groups)):
            id = inside(map_, values[position])
            values[position] = _NOBODY if id is None else id
        names = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_blksize", "st_blocks", "st_rdev")
        return os.stat_result(values, {name: getattr(info, name) for name in names})

    def namespace(self) -> int:
        """A descriptor of a user namespace with these maps, for id-mapped mounts."""
        from podling.linux import calls

        reader, writer = os.pipe()
        ready_reader, ready_writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(writer)
                calls.unshare(calls.CLONE_NEWUSER)
                os.write(ready_writer, b"x")
                os.read(reader, 1)
            finally:
                os._exit(0)
        os.close(reader)
        os.close(ready_writer)
        try:
            os.read(ready_reader, 1)
            for kind, maps in (("uid", self.users), ("gid", self.groups)):
                with open(f"/proc/{child}/{kind}_map", "w") as file:
                    file.write("".join("{} {} {}\n".format(*entry) for entry in maps))
            return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(writer)
            os.close(ready_reader)
            os.waitpid(child, 0)
