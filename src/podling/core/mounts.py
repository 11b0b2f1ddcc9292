"""image mount: an image's files on the host, read-only, for as long as somebody uses them."""

from __future__ import annotations

import os

from podling.core import images
from podling.errors import NoSuchImage, PodlingError
from podling.linux import calls
from podling.linux.proc import is_mounted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context
    from podling.core.images import Image


def _target(ctx: Context, id: str) -> str:
    return f"{ctx.settings.runroot}/images/{id}"


def mount_image(ctx: Context, image: Image) -> str:
    """Mount an image's root file system read-only, or count one more user; its path."""
    target = _target(ctx, image.id)
    with ctx.locks.hold("image", int(image.id[:15], 16)):
        users = ctx.db.value("SELECT users FROM image_mounts WHERE image_id=?", image.id) or 0
        if not is_mounted(target):
            os.makedirs(target, 0o700, exist_ok=True)
            store = ctx.store
            keys = store.chain(image.layer) if image.layer else []
            folders = [f"{store.folder(key)}/diff" for key in (keys if store.driver.independent else keys[:1])]
            if not folders:
                calls.mount("tmpfs", target, "tmpfs", calls.MS_RDONLY)
            elif len(folders) == 1:
                calls.mount(folders[0], target, "", calls.MS_BIND)
                calls.mount("", target, "", calls.MS_BIND | calls.MS_REMOUNT | calls.MS_RDONLY | calls.MS_NODEV)
            else:
                store.driver.mount_readonly(target, folders)
            users = 0
        with ctx.db.write() as tx:
            tx.run("INSERT OR REPLACE INTO image_mounts VALUES (?, ?)", image.id, users + 1)
            if not users:
                tx.event("image", "mount", image.id, image.names[0] if image.names else "")
    return target


def unmount_image(ctx: Context, image: Image, *, force: bool = False) -> bool:
    """One user less; the last one, or `force`, unmounts. False when it was not mounted."""
    target = _target(ctx, image.id)
    with ctx.locks.hold("image", int(image.id[:15], 16)):
        users = ctx.db.value("SELECT users FROM image_mounts WHERE image_id=?", image.id) or 0
        if not users:
            return False
        left = 0 if force else users - 1
        if not left:
            calls.umount(target)
            try:
                os.rmdir(target)
            except OSError:
                pass
        with ctx.db.write() as tx:
            if left:
                tx.run("UPDATE image_mounts SET users=? WHERE image_id=?", left, image.id)
            else:
                tx.run("DELETE FROM image_mounts WHERE image_id=?", image.id)
                tx.event("image", "unmount", image.id, image.names[0] if image.names else "")
    return True


def mount(ctx: Context, names: list[str], *, all: bool) -> list[tuple[Image, str]]:
    """Mount images; (image, path) of each. Without names: what is mounted."""
    ctx.recover()
    if all:
        chosen = [image for image in images.list_images(ctx, [], [], True) if image.kind == "image"]
        return [(image, mount_image(ctx, image)) for image in chosen]
    if not names:
        rows = ctx.db.rows("SELECT image_id FROM image_mounts ORDER BY image_id")
        return [(images.by_id(ctx, id), _target(ctx, id)) for (id,) in rows]
    found = [images.instance(ctx, images.find(ctx, name)) for name in names]
    return [(image, mount_image(ctx, image)) for image in found]


def unmount(ctx: Context, names: list[str], *, all: bool, force: bool) -> tuple[list[str], list[Exception]]:
    """Unmount images; (ids, what went wrong)."""
    done: list[str] = []
    errors: list[Exception] = []
    if all:
        names = [id for (id,) in ctx.db.rows("SELECT image_id FROM image_mounts")]
    for name in names:
        try:
            image = images.instance(ctx, images.find(ctx, name))
        except NoSuchImage as error:
            errors.append(error)
            continue
        if unmount_image(ctx, image, force=force or all):
            done.append(image.id)
        elif not all:
            errors.append(
                PodlingError(f"image {image.id[:12]} is not mounted", hint="`podling image mount` lists mounts")
            )
    return done, errors
