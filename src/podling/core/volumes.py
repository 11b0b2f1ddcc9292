"""Volumes: folders in the store that outlive containers; with the options of mount(8), or of a plugin, they are mounts instead."""

from __future__ import annotations

import os

from podling.core import volume_plugins
from podling.core.store_options import VolumeOptions
from podling.errors import Conflict, InvalidInput, NameInUse, NotFound, PodlingError, Unsupported
from podling.oci import json, sizes
from podling.oci.record import Record
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from podling.core.context import Context
    from podling.rootless.subids import Owners
    from podling.runtime.config import ContainerConfig
    from podling.state.database import Transaction
    from podling.storage.store import Doomed

FILTERS = ("after", "anonymous", "dangling", "driver", "label", "name", "opt", "scope", "since", "until")
DRIVERS = ("local", "image")
_OPTIONS = ("type", "o", "device", "size", "inodes", "noquota", "image")
#: of `o`, for folders of our own; everything else is mount(8)'s
_LIMITS = ("size", "inodes", "uid", "gid", "noquota")


class NoSuchVolume(NotFound):
    reference = "no-such-volume"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no volume with name {name!r} found: no such volume", hint="`podling volume ls` lists the volumes",
            cause="no such volume",
        )  # fmt: skip


class VolumeInUse(Conflict):
    reference = "volume-in-use"
    exit_code = 2


class Volume(Record):
    """A volume's row. Times in nanoseconds; `users` are the ids of containers that have it."""

    key: int
    name: str
    created: int
    anonymous: bool
    filled: bool
    labels: dict[str, str] = {}
    driver: str = "local"
    options: dict[str, str] = {}
    uid: int = 0
    gid: int = 0
    mounted: int = 0
    users: list[str] = []
    path: str = ""

    @property
    def is_mount(self) -> bool:
        """It exists only while something is mounted at its path."""
        return self.driver != "local" or bool(self.options.get("type") or self.options.get("device"))

    @property
    def limits(self) -> dict[str, str]:
        """What `o` says of a folder of our own: size, inodes, uid, gid."""
        words = self.options.get("o", "").split(",") if not self.is_mount else []
        found = {key: value for key, _, value in (word.partition("=") for word in words) if key in _LIMITS}
        return found | {key: value for key, value in self.options.items() if key in _LIMITS}


def folder(ctx: Context, name: str) -> str:
    """The folder that is removed with the volume."""
    return f"{ctx.settings.volume_path}/{name}"


def path_of(ctx: Context, name: str) -> str:
    """Where the content is."""
    return f"{folder(ctx, name)}/_data"


def ensure(tx: Transaction, name: str) -> int:
    """The key of the volume, made in the caller's transaction when it is new; 64 hexadecimal digits are an anonymous one."""
    row = tx.row("SELECT key FROM volumes WHERE name=?", name)
    if row:
        key: int = row[0]
        return key
    anonymous = len(name) == 64
    key = tx.insert("volumes", name=name, created=now(), anonymous=anonymous)
    tx.event("volume", "create", name, name)
    return key


# -- finding
def _volume(ctx: Context, row: tuple[Any, ...], users: list[str]) -> Volume:
    return Volume(
        key=row[0], name=row[1], created=row[2], anonymous=bool(row[3]), filled=bool(row[4]), labels=json.loads(row[5]),
        driver=row[6], options=json.loads(row[7]), uid=row[8], gid=row[9], mounted=row[10], users=users, path=path_of(ctx, row[1]),
    )  # fmt: skip


_COLUMNS = "key, name, created, anonymous, filled, labels, driver, options, uid, gid, mounted"


def find(ctx: Context, name: str) -> Volume:
    """The volume called `name`, or whose name alone begins so.

    Raises:
        NoSuchVolume. Conflict: several begin so.
    """
    rows = ctx.db.rows(f"SELECT {_COLUMNS} FROM volumes WHERE name=?", name)
    if not rows and name:
        rows = ctx.db.rows(f"SELECT {_COLUMNS} FROM volumes WHERE substr(name, 1, ?)=? LIMIT 3", len(name), name)
    if len(rows) > 1:
        raise Conflict(f"more than one volume begins with {name!r}", hint="give the whole name")
    if not rows:
        raise NoSuchVolume(name)
    users = ctx.db.rows(
        "SELECT c.id FROM containers c JOIN volume_users u ON u.container=c.key WHERE u.volume=? ORDER BY c.id",
        rows[0][0],
    )
    return _volume(ctx, rows[0], [id for (id,) in users])


def list_volumes(ctx: Context, filters: list[str]) -> list[Volume]:
    """Volumes by name."""
    users: dict[int, list[str]] = {}
    for key, id in ctx.db.rows("SELECT u.volume, c.id FROM volume_users u JOIN containers c ON c.key=u.container"):
        users.setdefault(key, []).append(id)
    rows = ctx.db.rows(f"SELECT {_COLUMNS} FROM volumes ORDER BY name")
    found = [_volume(ctx, row, users.get(row[0], [])) for row in rows]
    return [volume for volume in found if all(test(volume) for test in _tests(ctx, filters))] if filters else found


def _tests(ctx: Context, filters: list[str]) -> list[Callable[[Volume], bool]]:
    import re

    from podling.core.filters import boolean, match_label, moment, split

    def opt(volume: Volume, value: str) -> bool:
        key, equals, text = value.partition("=")
        return key in volume.options and (not equals or volume.options[key] == text)

    known: dict[str, Callable[[Volume, str], bool]] = {
        "name": lambda volume, value: re.search(value, volume.name) is not None,
        "driver": lambda volume, value: volume.driver == value,
        "scope": lambda volume, value: value == "local",
        "label": lambda volume, value: match_label(volume.labels, value),
        "label!": lambda volume, value: not match_label(volume.labels, value),
        "opt": opt,
        "anonymous": lambda volume, value: bool(volume.anonymous) == boolean(value),
        "dangling": lambda volume, value: (not volume.users) == boolean(value),
        "until": lambda volume, value: volume.created < moment(value, now()),
        "since": lambda volume, value: volume.created > find(ctx, value).created,
        "after": lambda volume, value: volume.created > find(ctx, value).created,
    }
    tests: list[Callable[[Volume], bool]] = []
    for key, values in split(filters, FILTERS).items():
        if key not in known:
            raise InvalidInput(f"--filter {key}: cannot be negated")
        one = known[key]
        every_or_any = all if key.startswith("label") else any  # of labels every one must fit, of other keys one

        def test(
            volume: Volume,
            one: Callable[[Volume, str], bool] = one,
            values: list[str] = values,
            fits: Callable[[Iterable[bool]], bool] = every_or_any,
        ) -> bool:
            return fits(one(volume, value) for value in values)

        tests.append(test)
    return tests


# -- making and removing
def create(ctx: Context, name: str, wanted: VolumeOptions) -> Volume:
    """Make a volume; a name is made up where none is given.

    Raises:
        NameInUse, InvalidInput.
    """
    from podling.core.parse import check_volume_name, pairs

    ctx.recover()
    name = name or os.urandom(32).hex()
    check_volume_name(name)
    options = pairs(wanted.options, "--opt")
    plugin = wanted.driver if wanted.driver not in DRIVERS else ""
    if plugin:
        if not ctx.db.row("SELECT 1 FROM volumes WHERE name=?", name):
            volume_plugins.create(plugin, name, options)
    else:
        _check(ctx, wanted.driver, options)
    with ctx.db.write() as tx:
        if tx.row("SELECT 1 FROM volumes WHERE name=?", name):
            if not wanted.ignore:
                raise NameInUse(
                    f"volume with name {name} already exists: volume already exists",
                    hint="choose another name, or --ignore",
                )
        else:
            tx.insert(
                "volumes", name=name, created=now(), anonymous=0, labels=json.dumps(pairs(wanted.labels, "--label")),
                driver=wanted.driver, options=json.dumps(options), uid=wanted.uid, gid=wanted.gid,
            )  # fmt: skip
            tx.event("volume", "create", name, name)
    volume = find(ctx, name)
    try:
        _make_folder(ctx, volume)
    except PodlingError:
        remove(ctx, volume.name, force=False)
        raise
    return volume


def _check(ctx: Context, driver: str, options: dict[str, str]) -> None:
    for key in options:
        if key.lower() not in _OPTIONS:
            raise InvalidInput(f"volume option {key!r} is not known", hint=f"the options are {', '.join(_OPTIONS)}")
    if driver == "image":
        from podling.core import images

        if not options.get("image"):
            raise InvalidInput("a volume of the driver image needs --opt image=NAME")
        images.find(ctx, options["image"])
    elif options.get("type") == "bind" and not os.path.exists(options.get("device", "")):
        raise InvalidInput(f"volume option device={options.get('device', '')}: no such file or folder")
    if not options.get("type") and not options.get("device"):
        unknown = [word for word in options.get("o", "").split(",") if word and word.partition("=")[0] not in _LIMITS]
        if unknown:
            raise InvalidInput(
                f"volume option o={unknown[0]} needs a type or a device",
                hint=f"a folder of the store takes {', '.join(_LIMITS)}",
            )


def _make_folder(ctx: Context, volume: Volume) -> None:
    if os.path.isdir(volume.path):
        return
    limits = volume.limits
    try:
        uid, gid = int(limits.get("uid") or volume.uid), int(limits.get("gid") or volume.gid)
        inodes = int(limits.get("inodes") or 0)
    except ValueError:
        raise InvalidInput(f"volume {volume.name}: uid, gid and inodes are numbers") from None
    size = sizes.size(limits["size"], "volume option size") if limits.get("size") else 0
    try:
        os.makedirs(volume.path, 0o755, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"volume {volume.name}: {ctx.settings.volume_path}: {error.strerror}") from None
    os.chown(volume.path, uid, gid)
    if (size or inodes) and "noquota" not in limits:
        from podling.linux import quota

        try:
            quota.limit(volume.path, size, inodes)
        except Unsupported as error:
            raise Unsupported(
                error.message, hint=f"{error.hint}; or --opt type=tmpfs --opt o=size={limits.get('size') or '10m'}"
            ) from None


def reload(ctx: Context) -> tuple[list[str], list[str]]:
    """Ask the plugins which volumes they have: (names that are new here, names that are gone there and here). What a plugin fails with
    is a warning, and its volumes stay."""
    ctx.recover()
    here = list_volumes(ctx, [])
    added, removed = [], []
    for plugin in volume_plugins.names():
        try:
            there = volume_plugins.volumes(plugin)
        except PodlingError as error:
            ctx.warn(f"{error.message}; its volumes stay as they are")
            continue
        for name in there:
            if all(volume.name != name for volume in here):
                with ctx.db.write() as tx:
                    tx.insert(
                        "volumes", name=name, created=now(), anonymous=0, labels="{}", driver=plugin, options="{}", uid=0, gid=0
                    )  # fmt: skip
                    tx.event("volume", "create", name, name)
                added.append(name)
        for volume in here:
            if volume.driver == plugin and volume.name not in there and not volume.users:
                remove(ctx, volume.name, force=False)
                removed.append(volume.name)
    return added, removed


def remove(ctx: Context, name: str, *, force: bool, timeout: int = -1) -> str:
    """Remove a volume, with `force` also the containers that use it; its name.

    Raises:
        NoSuchVolume. VolumeInUse: a container has it.
    """
    from podling.core import containers, removal

    volume = find(ctx, name)
    if volume.users and not force:
        raise VolumeInUse(
            f"volume {volume.name} is being used by the following container(s): {', '.join(volume.users)}: volume is being used",
            hint="remove them first, or use --force to remove them too",
        )
    for id in volume.users:
        removal.remove_one(containers.find(ctx, id), force=True, volumes=False, timeout=timeout, depend=True)
    with ctx.locks.hold("volume", volume.key):
        _unmount(volume)
        if volume.driver not in DRIVERS:
            try:
                volume_plugins.remove(volume.driver, volume.name)
            except PodlingError as error:
                if not force:
                    raise
                ctx.warn(f"{error.message}; the volume is forgotten here all the same")
        elif volume.limits:
            from podling.linux import quota

            quota.forget(volume.path)
        with ctx.db.write() as tx:
            if tx.row("SELECT 1 FROM volume_users WHERE volume=?", volume.key):
                raise VolumeInUse(f"volume {volume.name} is being used: volume is being used", hint="try again")
            tx.run("DELETE FROM volumes WHERE key=?", volume.key)
            tx.event("volume", "remove", volume.name, volume.name)
            doomed = ctx.store.doom(tx, folder(ctx, volume.name))
    ctx.store.bury([doomed])
    return volume.name


def prune(ctx: Context, filters: list[str]) -> tuple[list[str], int]:
    """Remove volumes that no container has; (names, bytes)."""
    from podling.storage.usage import folder_size

    ctx.recover()
    done, freed = [], 0
    for volume in list_volumes(ctx, filters):
        if volume.users or volume.mounted:
            continue
        size = 0 if volume.is_mount else folder_size(volume.path)
        try:
            done.append(remove(ctx, volume.name, force=False))
            freed += size
        except (NoSuchVolume, VolumeInUse):  # somebody was faster
            continue
    return done, freed


# -- mounting
def mount(ctx: Context, name: str) -> str:
    """Mount a volume that is a mount, or count one more user; its path."""
    volume = find(ctx, name)
    with ctx.locks.hold("volume", volume.key):
        _mount(ctx, volume)
        with ctx.db.write() as tx:
            tx.run("UPDATE volumes SET mounted=mounted+1 WHERE key=?", volume.key)
    return volume.path


def unmount(ctx: Context, name: str) -> str:
    """One user less; its name."""
    volume = find(ctx, name)
    with ctx.locks.hold("volume", volume.key):
        with ctx.db.write() as tx:
            tx.run("UPDATE volumes SET mounted=max(mounted-1, 0) WHERE key=?", volume.key)
        _unmount_unused(ctx, volume.key, 0)
    return volume.name


def _mount(ctx: Context, volume: Volume) -> None:
    from podling.linux import calls
    from podling.linux.proc import is_mounted
    from podling.linux.process import run

    _make_folder(ctx, volume)
    if not volume.is_mount or is_mounted(volume.path):
        return
    if volume.driver == "image":
        from podling.core import images, mounts

        source = mounts.mount_image(ctx, images.instance(ctx, images.find(ctx, volume.options["image"])))
        calls.mount(source, volume.path, "", calls.MS_BIND)
        return
    if volume.driver != "local":
        source = volume_plugins.mount(volume.driver, volume.name)
        try:
            calls.mount(source, volume.path, "", calls.MS_BIND | calls.MS_REC)
        except OSError as error:
            volume_plugins.unmount(volume.driver, volume.name)
            raise InvalidInput(
                f"volume {volume.name}: {source}, which the plugin {volume.driver} named: {error.strerror}"
            ) from None
        return
    kind, device = volume.options.get("type", ""), volume.options.get("device", "")
    argv = ["/bin/mount"]
    if kind and kind != "bind":
        argv += ["-t", kind]
    options = [option for option in volume.options.get("o", "").split(",") if option]
    if kind == "bind" and not any(option in ("bind", "rbind") for option in options):
        options.append("rbind")
    if options:
        argv += ["-o", ",".join(options)]
    outcome = run([*argv, "--", device or kind, volume.path])
    if outcome.code:
        raise InvalidInput(
            f"volume {volume.name} cannot be mounted: {outcome.message}",
            hint="`podling volume inspect` shows its options",
        )
    if kind == "tmpfs" and not any(option.startswith(("uid=", "gid=")) for option in options):
        os.chown(volume.path, volume.uid, volume.gid)


def _unmount(volume: Volume) -> None:
    from podling.linux.calls import umount

    if volume.is_mount and umount(volume.path) and volume.driver not in DRIVERS:
        try:
            volume_plugins.unmount(volume.driver, volume.name)
        except PodlingError:  # the container has ended all the same; the plugin finds it unmounted
            pass


def _unmount_unused(ctx: Context, key: int, leaving: int) -> None:
    """Unmount a volume that neither a person nor a started container other than `leaving` uses; the caller holds its lock."""
    row = ctx.db.row(f"SELECT {_COLUMNS} FROM volumes WHERE key=?", key)
    if row is None:
        return
    volume = _volume(ctx, row, [])
    busy = ctx.db.value(
        "SELECT count(*) FROM volume_users u JOIN containers c ON c.key=u.container WHERE u.volume=? AND c.dirty AND c.key<>?",
        key, leaving,
    )  # fmt: skip
    if not busy and not volume.mounted:
        _unmount(volume)


def let_go(ctx: Context, container: int) -> None:
    """A container has ended: volumes that are mounts, and that nobody else uses, are unmounted."""
    for (key,) in ctx.db.rows(
        "SELECT v.key FROM volumes v JOIN volume_users u ON u.volume=v.key "
        "WHERE u.container=? AND (v.options <> '{}' OR v.driver <> 'local')",
        container,
    ):
        with ctx.locks.hold("volume", key):
            _unmount_unused(ctx, key, container)


# -- filling
def fill(ctx: Context, config: ContainerConfig, root: str, owners: Owners | None) -> None:
    """Mount volumes that are mounts; copy what the image has at a mount point into a volume that is used for the first time,
    which then belongs to whom `owners` says.
    """
    for wanted in config.mounts:
        if wanted.kind != "volume":
            continue
        row = ctx.db.row("SELECT key, filled, options, driver FROM volumes WHERE name=?", wanted.name)
        if row is None or (row[1] and row[2] == "{}" and row[3] == "local"):
            continue
        with ctx.locks.hold("volume", row[0]):
            volume = find(ctx, wanted.name)
            _mount(ctx, volume)
            if volume.filled or volume.driver == "image":
                continue
            if owners:
                os.chown(volume.path, *owners.outward(volume.uid, volume.gid))
            if wanted.copy_up and not os.listdir(volume.path):
                _copy_up(root, wanted.target, volume.path)
            with ctx.db.write() as tx:
                tx.update("volumes", volume.key, filled=1)


def _copy_up(root: str, inside: str, target: str) -> None:
    from podling.linux.calls import open_in_root
    from podling.storage.drivers import copy_tree

    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        source = open_in_root(root_fd, inside, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return  # the image has nothing there
    finally:
        os.close(root_fd)
    try:
        os.set_inheritable(source, True)
        copy_tree(f"/proc/self/fd/{source}/.", target)
    finally:
        os.close(source)


def release(ctx: Context, tx: Transaction, container: int) -> list[Doomed]:
    """A container goes in the caller's transaction: the anonymous volumes that only it used go with it."""
    rows = tx.rows(
        "SELECT v.key, v.name FROM volumes v JOIN volume_users u ON u.volume=v.key WHERE u.container=? AND v.anonymous "
        "AND NOT EXISTS (SELECT 1 FROM volume_users o WHERE o.volume=v.key AND o.container<>?)",
        container,
        container,
    )
    doomed = []
    for key, name in rows:
        tx.run("DELETE FROM volume_users WHERE volume=?", key)
        tx.run("DELETE FROM volumes WHERE key=?", key)
        tx.event("volume", "remove", name, name)
        doomed.append(ctx.store.doom(tx, folder(ctx, name)))
    return doomed


# -- as a tar
def export(ctx: Context, name: str, fd: int) -> None:
    """Write a volume's content as a tar."""
    from podling.storage.changes import View, tree_archive

    volume = find(ctx, name)
    with ctx.locks.hold("volume", volume.key):
        _mount(ctx, volume)
        try:
            for piece in tree_archive(View([volume.path]), "/", "", inside=True):
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
        finally:
            _unmount_unused(ctx, volume.key, 0)


def import_tar(ctx: Context, name: str, chunks: Iterator[bytes]) -> None:
    """Unpack a tar, compressed or not, into a volume.

    Raises:
        BadArchive, StorageFull.
    """
    from podling.storage.extract import unpack_tree

    volume = find(ctx, name)
    with ctx.locks.hold("volume", volume.key):
        _mount(ctx, volume)
        try:
            unpack_tree(chunks, volume.path)
            with ctx.db.write() as tx:
                tx.update("volumes", volume.key, filled=1)
        finally:
            _unmount_unused(ctx, volume.key, 0)
