"""Removing images: by name, by force, with what they were built on, and those that nobody uses."""

from __future__ import annotations

from podling.core.images import candidates, find, list_images
from podling.errors import ImageInUse, NoSuchImage
from podling.linux.files import remove_tree
from podling.oci.record import Record
from podling.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context
    from podling.state.database import Transaction


class Removal(Record):
    """What `rmi` did."""

    untagged: list[str] = []
    deleted: list[str] = []


def remove(
    ctx: Context, names: list[str], force: bool, all: bool, ignore: bool, *, prune: bool = True
) -> tuple[Removal, list[Exception]]:
    """Remove images, and with `prune` those without a name that they were built on; what went wrong comes back beside what
    went well."""
    from podling.errors import PodlingError

    ctx.recover()
    result = Removal()
    errors: list[Exception] = []
    if all:
        names = [image.id for image in list_images(ctx, [], [], True) if not image.shelf]
    for name in names:
        try:
            _remove_one(ctx, name, force, result, prune=prune)
        except NoSuchImage as error:
            if not (ignore or all):
                errors.append(error)
        except PodlingError as error:
            errors.append(error)
    return result, errors


def _remove_one(ctx: Context, name: str, force: bool, result: Removal, *, prune: bool = True) -> None:
    image = find(ctx, name)
    if image.shelf:
        raise ImageInUse(
            f"image {name} lies in the additional store {image.shelf}, which is read-only",
            hint="remove it with the engine that owns that store",
        )
    by_id = image.id.startswith(name.removeprefix("sha256:"))
    full = "" if by_id else next((known for known in image.names if known in candidates(parse(name))), "")
    if full and len(image.names) > 1:
        with ctx.db.write() as tx:
            tx.run("DELETE FROM image_names WHERE name=? AND image_id=?", full, image.id)
            tx.event("image", "untag", image.id, full)
        result.untagged.append(full)
        return
    if by_id and len(image.names) > 1 and not force:
        raise ImageInUse(
            f"unable to delete image {image.id[:12]} by ID with more than one tag ({', '.join(image.names)}): please force removal",
            hint="--force removes all its names; or remove it name by name",
        )
    users = ctx.db.rows("SELECT id, name FROM containers WHERE image_id=?", image.id)
    if ctx.db.row("SELECT 1 FROM image_mounts WHERE image_id=?", image.id):
        if not force:
            raise ImageInUse(f"image {image.id[:12]} is mounted", hint=f"podling image unmount {name}, or --force")
        from podling.core.mounts import unmount_image

        unmount_image(ctx, image, force=True)
    if users and not force:
        listed = ", ".join(f"{id[:12]} ({container})" for id, container in users)
        raise ImageInUse(
            f"image used by {listed}: image is in use by a container: consider listing external containers and force-removing image",
            hint="remove the container first, or use --force to remove both",
            cause="image is in use by a container",
        )
    if users:
        from podling.core import containers, removal

        for id, _ in users:
            removal.remove_one(containers.find(ctx, id), force=True, volumes=False)
    below = ctx.store.chain(image.layer)[1:] if image.layer and prune else []
    with ctx.db.write() as tx:
        tx.run("DELETE FROM images WHERE id=?", image.id)
        for key in below:
            for (parent,) in tx.rows(_DANGLING_ON, key):
                if _has_other_users(tx, key, below, image.layer):
                    continue
                tx.run("DELETE FROM images WHERE id=?", parent)
                tx.event("image", "remove", parent, "")
                result.deleted.append(parent)
        _forget_steps(ctx, tx, image.layer)
        erased = ctx.store.collect(tx)
        for known in image.names:
            tx.event("image", "untag", image.id, known)
        tx.event("image", "remove", image.id, image.names[0] if image.names else "")
    ctx.store.bury(erased)
    result.untagged += image.names
    result.deleted.append(image.id)


def _forget_steps(ctx: Context, tx: Transaction, layer: int | None) -> None:
    """The steps of builds that led to an image go with it, down to where something else stands on their layers."""
    above = None
    for key in ctx.store.chain(layer) if layer is not None else ():
        others = [child for (child,) in tx.rows("SELECT key FROM layers WHERE parent=?", key) if child != above]
        if others or tx.row("SELECT 1 FROM images WHERE layer=?", key):
            return
        tx.run("DELETE FROM build_steps WHERE layer=?", key)
        above = key


#: steps whose layers are part of no image: of other stages, and of builds that failed
_LOOSE_STEPS = (
    "DELETE FROM build_steps WHERE layer NOT IN (WITH RECURSIVE up(key, parent) AS (SELECT l.key, l.parent FROM layers l "
    "JOIN images i ON i.layer=l.key UNION SELECT l.key, l.parent FROM layers l JOIN up ON l.key=up.parent) SELECT key FROM up)"
)


def drop_build_cache(ctx: Context) -> None:
    """Remove what builds keep for later ones."""
    remove_tree(f"{ctx.settings.root}/build-cache")
    with ctx.db.write() as tx:
        tx.run("DELETE FROM build_steps")
        erased = ctx.store.collect(tx)
    ctx.store.bury(erased)


def prune(ctx: Context, filters: list[str], *, all: bool, build_cache: bool = False) -> tuple[list[str], int]:
    """Remove images that no container uses: those without a name, or all; (ids, bytes of their layers that are gone).

    `build_cache` also forgets all steps of builds, and empties `<root>/build-cache`, what RUN --mount=type=cache mounts.
    """
    ctx.recover()
    if build_cache:
        drop_build_cache(ctx)
    from podling.core import shelves

    shelves.forget(ctx)
    chosen = list_images(ctx, [], [*filters, *([] if all else ["dangling=true"])], True)
    removed: list[str] = []
    before = ctx.db.value("SELECT total(size) FROM layers WHERE chain_id IS NOT NULL")
    if not filters:
        with ctx.db.write() as tx:
            tx.run(_LOOSE_STEPS)
            erased = ctx.store.collect(tx)
        ctx.store.bury(erased)
    for image in chosen:
        if image.containers or image.shelf or ctx.db.row("SELECT 1 FROM image_mounts WHERE image_id=?", image.id):
            continue
        try:
            _remove_one(ctx, image.id, True, Removal())
        except (NoSuchImage, ImageInUse):  # somebody was faster
            continue
        removed.append(image.id)
    return removed, int(before - ctx.db.value("SELECT total(size) FROM layers WHERE chain_id IS NOT NULL"))


_DANGLING_ON = (
    "SELECT id FROM images WHERE layer=? AND kind='image' AND shelf='' "
    "AND NOT EXISTS (SELECT 1 FROM image_names WHERE image_id=id) "
    "AND NOT EXISTS (SELECT 1 FROM image_mounts WHERE image_id=id) "
    "AND NOT EXISTS (SELECT 1 FROM containers WHERE image_id=id)"
)


def _has_other_users(tx: Transaction, key: int, below: list[int], top: int | None) -> bool:
    """Whether anything but the chain that is going stands on a layer."""
    rows = tx.rows("SELECT key FROM layers WHERE parent=?", key)
    return any(child not in below and child != top for (child,) in rows)
