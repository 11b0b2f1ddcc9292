"""Additional image stores: images that another engine holds are run from where they lie, and never changed.

A shelf is the root of a containers/storage store. Its images are found by name in the store itself, each time anew; using one
gives it a row here, and its layers folders whose `diff` is a link into the shelf.
"""

from __future__ import annotations

import os

from podling.config.storage import additional_stores
from podling.errors import StateError, Unsupported
from podling.oci.image import chain_ids, parse_config
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context
    from podling.registry.containers_storage import KeptImage
    from podling.storage.store import Staged


class ShelfImage(Record):
    """An image on a shelf that has not been used yet."""

    shelf: str
    id: str
    names: list[str]


def paths(ctx: Context) -> list[str]:
    return additional_stores(ctx.settings.storage_opts)


def find(ctx: Context, text: str) -> str:
    """The id of the image on a shelf that `text` names, ready for use; "" when there is none."""
    from podling.registry.containers_storage import Store

    for path in paths(ctx):
        if not os.path.isdir(path):
            ctx.warn(f"the additional image store {path} does not exist")
            continue
        store = Store(path)
        id = store.find(text)
        if id:
            if not ctx.db.row("SELECT 1 FROM images WHERE id=?", id):
                _adopt(ctx, path, store.load(id))
            return id
    return ""


def names(ctx: Context, shelf: str, id: str) -> list[str]:
    """The names that an image has on its shelf now."""
    from podling.errors import InvalidInput
    from podling.registry.containers_storage import Store

    try:
        return sorted(Store(shelf).names().get(id, []))
    except InvalidInput:
        return []


def unused(ctx: Context, known: set[str]) -> list[ShelfImage]:
    """Images on the shelves that have no row yet; `known` are the ids that have."""
    from podling.registry.containers_storage import Store

    found = []
    for path in paths(ctx):
        if os.path.isdir(path):
            for id, kept in Store(path).names().items():
                if id not in known:
                    known.add(id)
                    found.append(ShelfImage(shelf=path, id=id, names=kept))
    return found


def adopt(ctx: Context, image: ShelfImage) -> bool:
    """Give an image on a shelf its row; False when it is a manifest list, which has none."""
    from podling.registry.containers_storage import Store

    kept = Store(image.shelf).load(image.id)
    if not kept.config:
        return False
    _adopt(ctx, image.shelf, kept)
    return True


def _adopt(ctx: Context, shelf: str, kept: KeptImage) -> None:
    from podling.core.imagestore import record_image

    document = parse_config(kept.config)
    chain = chain_ids(document.diff_ids)
    if len(chain) != len(kept.layers):
        raise StateError(f"{shelf}: image {kept.id[:12]} has {len(kept.layers)} layers, its configuration {len(chain)}")
    if not ctx.store.driver.independent:
        raise Unsupported(
            f"{shelf}: additional image stores need the storage driver overlay",
            hint=f"copy the image: podling pull containers-storage:[{shelf}]NAME",
        )
    staged: dict[int, Staged] = {}
    try:
        for position, (chain_id, layer) in enumerate(zip(chain, kept.layers, strict=True)):
            if ctx.db.row("SELECT 1 FROM layers WHERE chain_id=?", chain_id):
                continue
            if not os.path.isdir(layer.folder):
                raise StateError(f"{layer.folder}: no such folder", hint="the other store has lost this layer")
            made = staged[position] = ctx.store.stage(chain_id, None)
            os.rmdir(f"{made.folder}/diff")
            os.symlink(layer.folder, f"{made.folder}/diff")
            os.symlink(layer.tarsplit, f"{made.folder}/tar-split")
            made.diff_id, made.size = document.diff_ids[position], layer.size
        size = 0
        with ctx.db.write() as tx:
            parent: int | None = None
            for position, chain_id in enumerate(chain):
                known = tx.row("SELECT key, size FROM layers WHERE chain_id=?", chain_id)
                if known:
                    parent, size = known[0], size + known[1]
                else:
                    staged[position].record(tx, parent=parent, chain_id=chain_id)
                    parent, size = staged[position].key, size + staged[position].size
            record_image(tx, kept.id, parent, kept.manifest, kept.config, document.raw, size, shelf=shelf)
    finally:
        for made in staged.values():
            made.close()


def forget(ctx: Context) -> None:
    """Remove the rows of images whose shelf is no longer configured, or has lost them, and that no container uses."""
    here = {path: _known(path) for path in paths(ctx)}
    with ctx.db.write() as tx:
        for id, shelf in tx.rows(
            "SELECT id, shelf FROM images WHERE shelf <> '' AND NOT EXISTS (SELECT 1 FROM containers WHERE image_id=images.id) "
            "AND NOT EXISTS (SELECT 1 FROM image_mounts WHERE image_id=images.id)"
        ):
            if id not in here.get(shelf, ()):
                tx.run("DELETE FROM images WHERE id=?", id)
        erased = ctx.store.collect(tx)
    ctx.store.bury(erased)


def _known(path: str) -> set[str]:
    from podling.errors import InvalidInput
    from podling.registry.containers_storage import Store

    try:
        return set(Store(path).names())
    except InvalidInput:
        return set()
