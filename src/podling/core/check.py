"""Whether database and files agree, and putting right what does not (podman-system-check(1)).

Layers are checked by their content: the tar that an image's layer came as is put together again, and must have its digest. Nothing that
could be somebody's data is thrown away by a repair, but images, which can be pulled again, and with `force` containers of theirs.
"""

from __future__ import annotations

import os

from podling.core import image_removal, images, removal, volumes
from podling.core.containers import every
from podling.errors import PodlingError
from podling.linux.files import remove_tree
from podling.oci.record import Record
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context


class Damage(Record):
    """One thing that is wrong; `kind` is database, layer, image, container, volume or folder."""

    kind: str
    id: str
    problem: str
    repaired: bool = False


def check(ctx: Context, *, quick: bool, repair: bool, force: bool, max_age: int) -> list[Damage]:
    """Look at everything. `quick` does not read the content of layers; unused layers count when they are older than `max_age`
    nanoseconds; `repair` removes damaged images and what nobody refers to, with `force` the containers of damaged images too."""
    ctx.recover()
    found = _database(ctx, quick=quick)
    broken = _layers(ctx, found, quick=quick)
    _unused(ctx, found, max_age, repair=repair)
    _containers(ctx, found, broken, repair=repair and force)
    _images(ctx, found, broken, repair=repair, force=force)
    _volumes(ctx, found, repair=repair)
    _folders(ctx, found, repair=repair)
    return found


def _database(ctx: Context, *, quick: bool) -> list[Damage]:
    test = "quick_check" if quick else "integrity_check"
    found = [
        Damage(kind="database", id="podling.db", problem=str(text))
        for (text,) in ctx.db.rows(f"PRAGMA {test}")
        if text != "ok"
    ]
    for table, _, parent, _ in ctx.db.rows("PRAGMA foreign_key_check"):
        found.append(
            Damage(kind="database", id=str(table), problem=f"a row refers to one of {parent} that is not there")
        )
    return found


def _layers(ctx: Context, found: list[Damage], *, quick: bool) -> set[int]:
    """The keys of layers that are damaged, or lie on one that is."""
    store = ctx.store
    parents: dict[int, int | None] = {}
    broken: set[int] = set()
    for key, parent, diff_id, chain_id in ctx.db.rows("SELECT key, parent, diff_id, chain_id FROM layers ORDER BY key"):
        parents[key] = parent
        problem = ""
        if not os.path.isdir(f"{store.folder(key)}/diff"):
            problem = "its folder is missing"
        elif chain_id and diff_id and not quick:
            problem = _content(ctx, key, diff_id)
        if problem and ctx.db.row("SELECT 1 FROM layers WHERE key=?", key):  # another command may be removing it
            broken.add(key)
            found.append(Damage(kind="layer", id=str(diff_id or key), problem=problem))
    for key, parent in parents.items():  # children come after their parents
        if parent in broken:
            broken.add(key)
    return broken


def _content(ctx: Context, key: int, diff_id: str) -> str:
    import hashlib

    digest = hashlib.sha256()
    try:
        for chunk in ctx.store.tar(key):
            digest.update(chunk)
    except (PodlingError, OSError, ValueError) as error:
        return f"its content cannot be read: {error}"
    return "" if digest.hexdigest() == diff_id.rpartition(":")[2] else "its content is not what it was"


def _unused(ctx: Context, found: list[Damage], max_age: int, *, repair: bool) -> None:
    rows = ctx.db.rows(
        "SELECT key, diff_id FROM layers l WHERE created < ? AND NOT EXISTS (SELECT 1 FROM layers WHERE parent=l.key) "
        "AND NOT EXISTS (SELECT 1 FROM images WHERE layer=l.key) AND NOT EXISTS (SELECT 1 FROM containers WHERE layer=l.key) "
        "AND NOT EXISTS (SELECT 1 FROM build_steps WHERE layer=l.key)",
        now() - max_age,
    )
    for key, diff_id in rows:
        found.append(Damage(kind="layer", id=str(diff_id or key), problem="nothing refers to it", repaired=repair))
        if repair:
            with ctx.db.write() as tx:
                doomed = [ctx.store.discard(tx, key), *ctx.store.collect(tx)]
            ctx.store.bury(doomed)


def _containers(ctx: Context, found: list[Damage], broken: set[int], *, repair: bool) -> None:
    for container in every(ctx):
        if container.layer in broken:
            damage = Damage(kind="container", id=container.id, problem=f"{container.name} is on a damaged layer")
            if repair:
                removal.remove_one(container, force=True, volumes=False, timeout=0, depend=True)
                damage.repaired = True
            found.append(damage)


def _images(ctx: Context, found: list[Damage], broken: set[int], *, repair: bool, force: bool) -> None:
    for image in images.list_images(ctx, [], [], True):
        if image.layer not in broken:
            continue
        name = image.names[0] if image.names else "<none>"
        damage = Damage(kind="image", id=image.id, problem=f"{name} has a damaged layer")
        if repair:
            _, errors = image_removal.remove(ctx, [image.id], force, all=False, ignore=True)
            damage.repaired = not errors
        found.append(damage)
    if repair and broken:  # their layers are gone with them
        left = {key for (key,) in ctx.db.rows("SELECT key FROM layers")}
        for damage in found:
            if damage.kind == "layer" and not damage.repaired:
                damage.repaired = not _is_left(ctx, damage.id, left)


def _is_left(ctx: Context, id: str, left: set[int]) -> bool:
    if id.isdigit():
        return int(id) in left
    return ctx.db.row("SELECT 1 FROM layers WHERE diff_id=?", id) is not None


def _volumes(ctx: Context, found: list[Damage], *, repair: bool) -> None:
    for name, driver in ctx.db.rows("SELECT name, driver FROM volumes ORDER BY name"):
        folder = volumes.path_of(ctx, name)
        if driver == "local" and not os.path.isdir(folder):
            found.append(Damage(kind="volume", id=name, problem="its folder is missing", repaired=repair))
            if repair:
                os.makedirs(folder, 0o755)
    names = _names(ctx.settings.volume_path)
    known = {name for (name,) in ctx.db.rows("SELECT name FROM volumes")}
    going = _going(ctx)
    for name in names:
        if name not in known and volumes.folder(ctx, name) not in going:
            damage = Damage(kind="folder", id=f"volumes/{name}", problem="is of no volume")
            if repair:  # it may hold what nobody wants to lose
                with ctx.db.write() as tx:
                    volumes.ensure(tx, name)
                damage.repaired = True
            found.append(damage)


def _folders(ctx: Context, found: list[Damage], *, repair: bool) -> None:
    """Folders of layers and containers that have no row. What is being made, or removed, has an intent.

    The folders are listed before the rows are read, intents before layers: what another command has made meanwhile is not missed.
    """
    driver = ctx.store.driver.name
    there = {place: _names(f"{ctx.settings.root}/{place}") for place in (driver, "containers")}
    going = _going(ctx)
    made = {str(key) for (key,) in ctx.db.rows("SELECT key FROM intents")}
    known = {
        driver: made | {str(key) for (key,) in ctx.db.rows("SELECT key FROM layers")},
        "containers": {id for (id,) in ctx.db.rows("SELECT id FROM containers")},
    }
    for place, names in there.items():
        for name in names:
            if name in known[place] or f"{place}/{name}" in going or (place == driver and not name.isdigit()):
                continue
            found.append(Damage(kind="folder", id=f"{place}/{name}", problem="nothing refers to it", repaired=repair))
            if repair:
                if place == driver:
                    ctx.store.erase(int(name))
                else:
                    remove_tree(f"{ctx.settings.root}/{place}/{name}")


def drop_leftovers(ctx: Context) -> list[str]:
    """Remove folders in the store that nothing refers to; which ones they were."""
    ctx.recover()
    found: list[Damage] = []
    _folders(ctx, found, repair=True)
    return [damage.id for damage in found]


def _going(ctx: Context) -> set[str]:
    """Folders, relative to the root, that are about to be removed."""
    return {subject for (subject,) in ctx.db.rows("SELECT subject FROM intents WHERE kind='erase'")}


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
