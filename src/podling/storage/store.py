"""The store: layers as rows and folders that never disagree.

A new layer is declared as an intent, made in its folder, and becomes a row in the transaction that makes it visible; a crash
in between leaves a folder that `recover` removes. A layer is removed the other way round: row first, with an intent, then folder.
"""

from __future__ import annotations

import errno
import os

from podling.errors import DigestMismatch, InvalidInput, PodlingError, StateError, StorageFull, Unsupported
from podling.linux import quota
from podling.linux.calls import sync_file_system, umount
from podling.linux.files import remove_tree
from podling.state.database import Database, now
from podling.state.intents import Intent, declare, orphans
from podling.state.locks import Locks
from podling.storage import drivers
from podling.storage.options import parse as parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podling.rootless.subids import Owners
    from podling.state.database import Transaction


class Doomed:
    """A folder that is to be removed once a transaction has been committed."""

    __slots__ = ("folder", "intent")

    def __init__(self, intent: int, folder: str) -> None:
        self.intent, self.folder = intent, folder


class Staged:
    """A layer that is being made: its folder exists, its row does not yet."""

    def __init__(self, store: Store, intent: Intent) -> None:
        self._store = store
        self._intent = intent
        self.key = intent.key
        self.diff_id = ""
        self.size = 0
        self.settled = False
        self.abandoned = False

    @property
    def folder(self) -> str:
        return self._store.folder(self.key)

    def record(self, tx: Transaction, *, parent: int | None, chain_id: str | None) -> None:
        """Make the layer visible, in the caller's transaction."""
        tx.insert(
            "layers",
            key=self.key,
            parent=parent,
            chain_id=chain_id,
            diff_id=self.diff_id or None,
            size=self.size,
            created=now(),
        )
        self._intent.finish(tx)
        self.settled = True

    def close(self) -> None:
        """Let go: a layer that was not recorded is removed."""
        if not self.abandoned:
            if not self.settled:
                self._store.erase(self.key)
                with self._store.database.write() as tx:
                    self._intent.finish(tx)
                self.settled = True
            self._intent.release()

    def abandon(self) -> None:
        """Leave a layer to the journal: this process is about to end, and threads of ours may still write into it."""
        self.abandoned = not self.settled


class Store:
    """Layers below `root`, of one driver."""

    def __init__(
        self,
        root: str,
        database: Database,
        locks: Locks,
        driver: str = "",
        options: list[str] | None = None,
        *,
        preferred: Callable[[], str] = str,
        image_store: str = "",
    ) -> None:
        self.root = root
        self.database = database
        self.locks = locks
        self._wanted = driver
        #: the driver of a new store where none is wanted in particular
        self._preferred = preferred
        self.options = parse_options(options or [])
        #: where the content of image layers is instead
        self._image_store = image_store
        self._driver: drivers.Driver | None = None

    @property
    def driver(self) -> drivers.Driver:
        """The store's driver: chosen at its first use and kept in the database."""
        if self._driver is None:
            kept = self.database.value("SELECT value FROM meta WHERE name='driver'")
            program = self.options.mount_program
            if kept is None:
                chosen = drivers.choose(self.root, self._wanted or self._preferred(), program)
                kept = f"{chosen.name} {getattr(chosen, 'program', '')}".strip()
                with self.database.write() as tx:
                    tx.run("INSERT OR IGNORE INTO meta VALUES ('driver', ?)", kept)
                kept = self.database.value("SELECT value FROM meta WHERE name='driver'")
            name, _, kept_program = str(kept).partition(" ")
            if self._wanted and self._wanted != name:
                raise InvalidInput(
                    f"the store {self.root} uses the driver {name}, not {self._wanted}",
                    hint="leave --storage-driver out, or choose another --root",
                )
            flags, data = self.options.mount_flags, self.options.mount_data
            driver: drivers.Driver = (
                drivers.Vfs() if name == "vfs" else drivers.Overlay(program or kept_program, flags, data)
            )
            self._driver = driver
            os.makedirs(os.path.join(self.root, name), mode=0o700, exist_ok=True)
        return self._driver

    def folder(self, key: int) -> str:
        return f"{self.root}/{self.driver.name}/{key}"

    # -- making layers
    def stage(self, subject: str, parent: int | None, *, writable: bool = False) -> Staged:
        """Declare and make an empty layer on top of `parent`. The intent's key becomes the layer's."""
        self.driver  # noqa: B018 - chosen and recorded before the intent, outside of any transaction
        intent = declare(self.database, self.locks, "layer", subject)
        staged = Staged(self, intent)
        try:
            self.driver.prepare(staged.folder, self.folder(parent) if parent else None, writable=writable)
            if self._image_store and not writable:
                self._put_elsewhere(staged)
            if writable and (self.options.size or self.options.inodes):
                quota.limit(staged.folder, self.options.size, self.options.inodes)
        except BaseException:
            staged.close()
            raise
        return staged

    def _put_elsewhere(self, staged: Staged) -> None:
        """The content of an image's layer lies in another folder, on another disk perhaps; `diff` is a link."""
        target = f"{self._image_store}/podling-layers/{self._name}-{staged.key}"
        try:
            os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"--imagestore {self._image_store}: {error.strerror}") from None
        diff = f"{staged.folder}/diff"
        if self.driver.independent:
            os.rmdir(diff)
            os.mkdir(target, 0o755)
        else:
            drivers.copy_tree(diff, target)
            remove_tree(diff)
        os.symlink(target, diff)

    @property
    def _name(self) -> str:
        """What tells this store from others that keep layers in the same folder."""
        import hashlib

        return hashlib.sha256(os.path.realpath(self.root).encode()).hexdigest()[:12]

    def unpack(self, staged: Staged, chunks: Iterator[bytes], parent: int | None, *, expected: str = "") -> None:
        """Decompress, hash and unpack a layer's tar in one pass.

        `chunks` come on this thread's demand; decompression and hashing run in a second thread, both outside of the GIL.

        Raises:
            DigestMismatch: the tar's digest is not `expected`.
            BadArchive, StorageFull: as `extract.Extractor.run`.
        """
        from podling.storage.extract import Extractor
        from podling.storage.pipeline import HashedStream
        from podling.storage.recipe import RecipeWriter
        from podling.storage.tar import Reader

        recipe = RecipeWriter(f"{staged.folder}/recipe")
        lookup = self._lookup_below(parent)
        try:
            with (
                HashedStream(chunks) as stream,
                Extractor(
                    f"{staged.folder}/diff",
                    self.driver.whiteouts,
                    recipe=recipe,
                    lookup=lookup,
                    strays=self.options.strays,
                ) as extractor,
            ):
                extractor.run(Reader(stream.next, recipe.raw))
                stream.drain()
            recipe.close()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull(
                    f"no space left to unpack a layer in {self.root}", hint="free some space, then try again"
                ) from None
            raise
        finally:
            recipe.abandon()
        staged.diff_id = stream.digest
        staged.size = stream.size
        if expected and staged.diff_id != expected:
            raise DigestMismatch(
                f"a layer's content has the digest {staged.diff_id}, but the image's configuration says {expected}",
                hint="the image is damaged or was tampered with; pull it from another place",
            )

    def flush(self) -> None:
        """Have everything that was unpacked on the disk, before rows say that it is there: a power loss must not leave a layer
        with empty files."""
        for folder in (self.root, self._image_store):
            if folder:
                fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    sync_file_system(fd)
                finally:
                    os.close(fd)

    def _lookup_below(self, parent: int | None) -> Callable[[str], os.stat_result | None]:
        folders: list[str] = []

        def lookup(path: str) -> os.stat_result | None:
            if not self.driver.independent or parent is None:
                return None
            if not folders:
                folders.extend(self.folder(key) for key in self.chain(parent))
            for folder in folders:
                try:
                    return os.stat(f"{folder}/diff/{path}", follow_symlinks=False)
                except OSError:
                    continue
            return None

        return lookup

    # -- reading
    def chain(self, key: int) -> list[int]:
        """The layer and those below it, from the top down."""
        rows = self.database.rows(
            "WITH RECURSIVE up(key, parent, depth) AS (SELECT key, parent, 0 FROM layers WHERE key=? "
            "UNION ALL SELECT l.key, l.parent, depth+1 FROM layers l JOIN up ON l.key=up.parent) SELECT key FROM up ORDER BY depth",
            key,
        )
        return [row[0] for row in rows]

    def tar(self, key: int) -> Iterator[bytes]:
        """The layer's tar, byte for byte as it came."""
        from podling.storage import recipe, tarsplit

        folder = self.folder(key)
        if os.path.exists(f"{folder}/recipe"):
            return recipe.read_tar(f"{folder}/recipe", f"{folder}/diff")
        if os.path.lexists(f"{folder}/tar-split"):  # the layer lies in another engine's store
            return tarsplit.read_tar(f"{folder}/tar-split", f"{folder}/diff")
        raise StateError(f"layer {key} has no recipe for its tar", hint="pull the image again")

    # -- mounting
    def mount(self, key: int, owners: Owners | None = None, label: str = "", *, volatile: bool = False) -> str:
        """Mount a container's writable layer, or count one more user of it; its root file system, with the owners of the
        image's files mapped, and all files with this SELinux label. A `volatile` one need not outlive a power loss."""
        with self.locks.hold("layer", key):
            lowers = [self.folder(lower) for lower in self.chain(key)[1:]]
            users = self.database.value("SELECT mounts FROM layers WHERE key=?", key)
            if users is None:
                raise StateError(f"layer {key} is gone")
            root = self.driver.root(self.folder(key))
            if not users or not self._is_mounted(root):
                users = 0
                root = (
                    self._mount_shifted(key, lowers, owners, label)
                    if owners
                    else self.driver.mount(self.folder(key), lowers, label, volatile=volatile and self.options.volatile)
                )
            with self.database.write() as tx:
                tx.update("layers", key, mounts=users + 1)
        return root

    def _mount_shifted(self, key: int, lowers: list[str], owners: Owners, label: str) -> str:
        try:
            return self.driver.mount_shifted(self.folder(key), lowers, owners, label)
        except Unsupported:
            drivers.own_root(f"{self.folder(key)}/diff", owners)
            return self.driver.mount(self.folder(key), [self._copy_shifted(lowers, owners)], label)

    def _copy_shifted(self, lowers: list[str], owners: Owners) -> str:
        """A copy of all of an image's layers in one, with mapped owners; made once for each map, and gone with the image."""
        top = os.path.basename(lowers[0])
        folder = f"{self.root}/mapped/{top}-{owners.key}"
        with self.locks.hold("layer", int(top)):
            if os.path.exists(f"{folder}/complete"):
                return folder
            remove_tree(folder)
            os.makedirs(f"{folder}/merged", 0o700)
            if len(lowers) == 1:  # which overlayfs does not take
                drivers.copy_tree(f"{lowers[0]}/diff", f"{folder}/diff")
            else:
                self.driver.mount_readonly(f"{folder}/merged", [f"{lower}/diff" for lower in lowers])
                try:
                    drivers.copy_tree(f"{folder}/merged", f"{folder}/diff")
                finally:
                    umount(f"{folder}/merged")
            drivers.shift_tree(f"{folder}/diff", owners)
            os.close(os.open(f"{folder}/complete", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return folder

    def unmount(self, key: int, *, force: bool = False) -> None:
        """One user less; the last one, or `force`, unmounts."""
        with self.locks.hold("layer", key):
            users = self.database.value("SELECT mounts FROM layers WHERE key=?", key) or 0
            left = 0 if force else max(users - 1, 0)
            if not left:
                self.driver.unmount(self.folder(key))
            if users != left:
                with self.database.write() as tx:
                    tx.update("layers", key, mounts=left)

    def _is_mounted(self, root: str) -> bool:
        return self.driver.name == "vfs" or os.path.ismount(root)

    def unmount_everything(self) -> None:
        """Unmount whatever is mounted below the store."""
        with open("/proc/self/mountinfo") as file:
            targets = [line.split(" ")[4] for line in file]
        for target in sorted(targets, reverse=True):
            if target.startswith(self.root + "/"):
                umount(target)

    # -- removing
    def doom(self, tx: Transaction, folder: str) -> Doomed:
        """Note in the caller's transaction that `folder`, absolute or below the root, is to go; `bury` it after the commit."""
        return Doomed(tx.insert("intents", kind="erase", subject=folder, created=now()), folder)

    def discard(self, tx: Transaction, key: int) -> Doomed:
        """Delete the layer's row in the caller's transaction."""
        tx.run("DELETE FROM layers WHERE key=?", key)
        return self.doom(tx, f"{self.driver.name}/{key}")

    def bury(self, doomed: list[Doomed]) -> None:
        """Remove doomed folders and strike out their intents."""
        for item in doomed:
            self._erase_folder(os.path.join(self.root, item.folder))
        if doomed:
            with self.database.write() as tx:
                for item in doomed:
                    tx.run("DELETE FROM intents WHERE key=?", item.intent)

    def erase(self, key: int) -> None:
        """Remove a layer's folder; works on a full disk, and where something is still mounted."""
        self._erase_folder(self.folder(key))

    def _erase_folder(self, folder: str) -> None:
        if self.options.size or self.options.inodes:
            quota.forget(folder)
        if os.path.isdir(f"{folder}/merged"):
            try:
                self.driver.unmount(folder)
            except OSError:
                pass
        if os.path.islink(f"{folder}/diff"):
            target = os.readlink(f"{folder}/diff")
            # ours, and not a layer of somebody else's store
            if target.endswith(f"/podling-layers/{self._name}-{os.path.basename(folder)}"):
                remove_tree(target)
        remove_tree(folder)
        self._erase_copies(os.path.basename(folder))

    def _erase_copies(self, layer: str) -> None:
        """What `_copy_shifted` made of an image whose top layer goes."""
        try:
            names = os.listdir(f"{self.root}/mapped")
        except FileNotFoundError:
            return
        for name in names:
            if name.partition("-")[0] == layer:
                umount(f"{self.root}/mapped/{name}/merged")
                remove_tree(f"{self.root}/mapped/{name}")

    def collect(self, tx: Transaction) -> list[Doomed]:
        """Discard image layers that nothing refers to, in the caller's transaction."""
        found: list[Doomed] = []
        while True:
            rows = tx.rows(
                "SELECT key FROM layers l WHERE chain_id IS NOT NULL "
                "AND NOT EXISTS (SELECT 1 FROM layers WHERE parent=l.key) "
                "AND NOT EXISTS (SELECT 1 FROM images WHERE layer=l.key) "
                "AND NOT EXISTS (SELECT 1 FROM containers WHERE layer=l.key) "
                "AND NOT EXISTS (SELECT 1 FROM build_steps WHERE layer=l.key)"
            )
            if not rows:
                return found
            found += [self.discard(tx, row[0]) for row in rows]

    def recover(self) -> int:
        """Undo what killed processes left half done; how many things that were."""
        count = 0
        if not self.database.value("SELECT count(*) FROM intents"):
            return 0
        for intent, kind, subject in orphans(self.database, self.locks):
            try:
                if kind == "layer":
                    self.erase(intent.key)
                elif kind == "erase":
                    self._erase_folder(os.path.join(self.root, subject))
                else:
                    continue
            except (OSError, PodlingError):
                continue  # it stays in the journal for the next command
            with self.database.write() as tx:
                intent.finish(tx)
            count += 1
        return count
