"""Checkpoints as archives and as images, to go on elsewhere.

A tar, compressed or not: `config.dump` (what the container is, with the names that checkpointctl reads), `podling.json` (its
configuration), `spec.dump` (the OCI specification), `network.status`, `checkpoint/` (CRIU's images), `devshm-checkpoint.tar`,
`rootfs-diff.tar` (the container's layer), `volumes/NAME.tar`.
"""

from __future__ import annotations

import os
import tempfile

from podling.core import changes, images, volumes
from podling.core.containers import Container
from podling.core.options import CheckpointOptions, CreateOptions, RestoreOptions
from podling.core.volumes import NoSuchVolume
from podling.errors import Conflict, InvalidInput, NameInUse
from podling.oci import json
from podling.oci.times import format_time
from podling.runtime.config import ContainerConfig
from podling.storage.extract import unpack_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from podling.core.context import Context
    from podling.storage.store import Staged

VERSION = 1
#: on the manifest of a checkpoint image: the container's name
NAME_KEY = "io.podman.annotations.checkpoint.name"
_CHUNK = 1 << 20


# -- out
def export(container: Container, options: CheckpointOptions) -> None:
    """Write the container, whose checkpoint has just been made, to `options.export`, or as the image `options.create_image`."""
    with tempfile.TemporaryDirectory(prefix=".checkpoint-", dir=container.ctx.settings.root) as scratch:
        _collect(container, options, scratch)
        if options.create_image:
            _as_image(container, options.create_image, scratch)
        else:
            _as_file(options, scratch)


def _collect(container: Container, options: CheckpointOptions, scratch: str) -> None:
    """Links to and copies of all that the archive is to hold."""
    ctx, config = container.ctx, container.config
    folder = ctx.folder(container.id)
    base = images.by_id(ctx, container.image_id) if container.image_id else None
    runtime = ctx.runtime(config.runtime)
    shown = {
        "id": container.id,
        "name": container.name,
        "rootfsImageID": container.image_id or "",
        "rootfsImageRef": container.image_id or "",
        "rootfsImageName": config.image,
        "ociRuntime": runtime.name,
        "createdTime": format_time(container.created),
        "checkpointedTime": format_time(json.loads(container.__dict__["checkpoint"]).get("at", 0)),
        "engine": "podling",
    }
    own = {
        "version": VERSION, "image": config.image, "layers": base is not None, "started": container.started,
        "checkpoint": json.loads(container.__dict__["checkpoint"]), "config": config.to_json(),
    }  # fmt: skip
    _write(f"{scratch}/config.dump", shown)
    _write(f"{scratch}/podling.json", own)
    _write(f"{scratch}/network.status", json.loads(container.__dict__["network"] or "{}"))
    _copy(container.bundle.config, f"{scratch}/spec.dump")
    for name in ("checkpoint", "pre-checkpoint", "devshm-checkpoint.tar"):
        if os.path.exists(f"{folder}/{name}") and (
            name != "pre-checkpoint" or options.with_previous or options.pre_checkpoint
        ):
            os.symlink(f"{folder}/{name}", f"{scratch}/{name}")
    if container.layer and not options.ignore_rootfs:
        _write_tar(f"{scratch}/rootfs-diff.tar", changes.layer_tar(ctx, container))
    if not options.ignore_volumes:
        os.mkdir(f"{scratch}/volumes")
        for mount in config.mounts:
            if mount.kind == "volume":
                with open(f"{scratch}/volumes/{mount.name}.tar", "wb") as file:
                    volumes.export(ctx, mount.name, file.fileno())


def _write(path: str, document: dict[str, Any]) -> None:
    with open(path, "w") as file:
        file.write(json.dumps(document))


def _copy(source: str, target: str) -> None:
    with open(source, "rb") as read, open(target, "wb") as write:
        while piece := read.read(_CHUNK):
            write.write(piece)


def _write_tar(path: str, pieces: Iterator[bytes]) -> None:
    with open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)


def _tar(scratch: str) -> Iterator[bytes]:
    """The archive, `podling.json` first."""
    from podling.storage.changes import View, tree_archive

    # the links into the container's folder are what they point to
    for name in sorted(os.listdir(scratch)):
        path = f"{scratch}/{name}"
        if os.path.islink(path):
            target = os.readlink(path)
            os.unlink(path)
            _link_tree(target, path)
    return tree_archive(View([scratch]), "/", "", inside=True)


def _link_tree(source: str, target: str) -> None:
    """A second name for every file: both are in the store."""
    if not os.path.isdir(source):
        os.link(source, target)
        return
    os.mkdir(target, 0o700)
    for name in os.listdir(source):
        path = f"{source}/{name}"
        if os.path.islink(path):
            os.symlink(os.readlink(path), f"{target}/{name}")
        else:
            _link_tree(path, f"{target}/{name}")


def _as_file(options: CheckpointOptions, scratch: str) -> None:
    from podling.storage.compress import compressed

    temporary = f"{options.export}.{os.getpid()}.part"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidInput(f"--export {options.export}: {error.strerror}") from None
    try:
        with open(fd, "wb") as file:
            for piece in compressed(_tar(scratch), "" if options.compress == "none" else options.compress):
                file.write(piece)
        os.rename(temporary, options.export)
    except BaseException:
        os.unlink(temporary)
        raise


def _as_image(container: Container, name: str, scratch: str) -> None:
    from podling.core.imagestore import image_of_tar

    ctx, config = container.ctx, container.config
    runtime = ctx.runtime(config.runtime)
    prefix = NAME_KEY.rpartition(".")[0]
    annotations = {
        NAME_KEY: container.name,
        f"{prefix}.rawImageName": config.image,
        f"{prefix}.rootfsImageID": container.image_id or "",
        f"{prefix}.rootfsImageName": config.image,
        f"{prefix}.runtime.name": runtime.name,
    }
    image_of_tar(
        ctx, _tar(scratch), {}, f"checkpoint of {container.name}", images.full_name(name), annotations=annotations
    )


# -- in
def is_checkpoint(ctx: Context, image: images.Image) -> bool:
    """Whether an image holds a checkpoint."""
    manifest = ctx.db.value("SELECT manifest FROM images WHERE id=?", image.id)
    return NAME_KEY in (json.loads(manifest).get("annotations") or {})


def revive(ctx: Context, options: RestoreOptions, image: images.Image | None = None) -> Container:
    """A new container out of an archive, or out of an image that holds a checkpoint; ready for `restore`.

    Raises:
        BadArchive, InvalidInput: no checkpoint, or one of another engine. NameInUse: the container is there already.
        Conflict: one of its volumes is.
    """
    ctx.recover()
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=ctx.settings.root) as scratch:
        if image:
            assert image.layer
            unpack_tree(ctx.store.tar(image.layer), scratch)
        else:
            for path in filter(None, (options.previous, options.archive)):
                _unpack_file(path, scratch)
        what = options.archive or (image.names[0] if image and image.names else "the image")
        known = _read(f"{scratch}/podling.json", what)
        container = _recreate(ctx, options, known, scratch)
        folder = ctx.folder(container.id)
        os.makedirs(folder, 0o700, exist_ok=True)
        for name in ("checkpoint", "pre-checkpoint", "devshm-checkpoint.tar"):
            if os.path.exists(f"{scratch}/{name}"):
                os.rename(f"{scratch}/{name}", f"{folder}/{name}")
    return container


def _unpack_file(path: str, scratch: str) -> None:
    try:
        file = open(path, "rb")
    except OSError as error:
        raise InvalidInput(f"--import {path}: {error.strerror}") from None
    with file:
        unpack_tree(iter(lambda: file.read(_CHUNK), b""), scratch)


def _read(path: str, what: str) -> dict[str, Any]:
    try:
        with open(path) as file:
            known = json.loads(file.read())
        if known["version"] != VERSION:
            raise InvalidInput(f"{what}: a checkpoint of format {known['version']}; this podling knows {VERSION}")
        ContainerConfig.from_json(known["config"])
    except FileNotFoundError:
        raise InvalidInput(
            f"{what}: no checkpoint that podling wrote: it has no podling.json",
            hint="checkpoints of other engines cannot be restored here",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{what}: its podling.json is damaged: {error}") from None
    return dict(known)


def _recreate(ctx: Context, options: RestoreOptions, known: dict[str, Any], scratch: str) -> Container:
    from podling.core import create, parse, pods

    config = ContainerConfig.from_json(known["config"])
    old_id = config.id
    if options.name:
        create.check_name(options.name)
        config.name, config.id = options.name, os.urandom(32).hex()
    if config.log_path.endswith(f"{old_id}/ctr.log"):  # not one that --log-opt path= chose
        config.log_path = f"{ctx.folder(config.id)}/ctr.log"
    holder = ctx.db.value("SELECT id FROM containers WHERE name=? OR id=?", config.name, config.id)
    if holder:
        raise NameInUse(
            f'the container name "{config.name}" is already in use by {holder}: that name is already in use',
            hint="--name makes another container of the checkpoint",
            cause="that name is already in use",
        )
    config.pod = ""
    if options.publish:
        config.ports = [port for text in options.publish for port in parse.publish(text)]
    if options.pod:
        pods.adopt(ctx, pods.find(ctx, options.pod), config)
    image = None
    if known["layers"]:
        image = create.find_image(ctx, CreateOptions(image=config.image))
        config.image_id = image.id
    filled = [
        mount.name
        for mount in config.mounts
        if mount.kind == "volume" and os.path.exists(f"{scratch}/volumes/{mount.name}.tar")
    ]
    if not options.ignore_volumes:
        for name in filled:
            _refuse_existing(ctx, name)
    container = create.store(ctx, config, image, fixed_name=True, fill=_filler(ctx, options, scratch, image))
    try:
        if not options.ignore_volumes:
            for name in filled:
                with open(f"{scratch}/volumes/{name}.tar", "rb") as file:
                    volumes.import_tar(ctx, name, iter(lambda: file.read(_CHUNK), b""))
        with ctx.db.write() as tx:
            tx.update("containers", container.key, checkpoint=json.dumps(known["checkpoint"]), started=known["started"])
    except BaseException:
        from podling.core.removal import remove_one

        remove_one(container, force=True, volumes=True)
        raise
    return container


def _refuse_existing(ctx: Context, name: str) -> None:
    try:
        volumes.find(ctx, name)
    except NoSuchVolume:
        return
    raise Conflict(
        f"volume with name {name} already exists", hint="--ignore-volumes restores the container with that one as it is"
    )


def _filler(
    ctx: Context, options: RestoreOptions, scratch: str, image: images.Image | None
) -> Callable[[Staged], None] | None:
    """Unpacks what the container had changed of its image."""
    path = f"{scratch}/rootfs-diff.tar"
    if options.ignore_rootfs or image is None or not os.path.exists(path):
        return None
    parent = image.layer

    def fill(staged: Staged) -> None:
        with open(path, "rb") as file:
            ctx.store.unpack(staged, iter(lambda: file.read(_CHUNK), b""), parent)
        staged.diff_id = ""

    return fill
