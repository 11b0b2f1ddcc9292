"""diff and commit: what a container changed of its image, shown, or made an image."""

from __future__ import annotations

from podling.core import containers, images
from podling.core.archives import apply_change
from podling.core.imagestore import manifest_of, record_image
from podling.core.options import CommitOptions
from podling.errors import InvalidInput, NotFound
from podling.oci import json
from podling.oci.image import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, chain_ids, digest_of, host_platform
from podling.oci.times import format_time
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.core.containers import Container
    from podling.core.context import Context
    from podling.core.images import Image
    from podling.rootless.subids import Owners
    from podling.storage.changes import Alter, Change, View

#: made by the engine for its mounts, not by the container
_OURS = frozenset(
    "/dev /dev/shm /dev/pts /dev/mqueue /dev/console /proc /sys /run /run/.containerenv /run/secrets /run/notify /etc/hosts "
    "/etc/resolv.conf /etc/hostname /etc/mtab".split()
)


def diff(ctx: Context, one: str, other: str = "", kind: str = "") -> list[Change]:
    """(A, C or D, path): what a container changed of its image, an image's top layer of what is below; or from `other` to `one`.

    Raises:
        NotFound: neither a container nor an image is called so.
    """
    first = _subject(ctx, one, kind)
    if other:
        from podling.storage.changes import tree_changes

        return tree_changes(view_of(ctx, _subject(ctx, other, kind)), view_of(ctx, first), content=True)
    if isinstance(first, images.Image):
        return layer_changes(ctx, first.layer) if first.layer else []
    if not first.layer:
        raise InvalidInput(f"container {first.name} has no layer of its own")
    return [change for change in layer_changes(ctx, first.layer, first.owners) if change[1] not in ours(first)]


def ours(container: Container) -> frozenset[str]:
    """Paths that are mounts, or were made for them."""
    return _OURS | {mount.target.rstrip("/") for mount in container.config.mounts}


def _subject(ctx: Context, name: str, kind: str) -> Image | Container:
    if kind != "image":
        try:
            return containers.find(ctx, name)
        except NotFound:
            if kind == "container":
                raise
    image = images.lookup(ctx, name)
    if image is None:
        what = "image" if kind == "image" else "container or image"
        raise NotFound(f"{name}: no such {what}", hint="`podling ps -a` and `podling images` list what there is")
    return images.instance(ctx, image)


def layer_changes(ctx: Context, key: int, owners: Owners | None = None) -> list[Change]:
    """What one layer changes of those below it."""
    from podling.storage.changes import View, overlay_changes, tree_changes

    store = ctx.store
    folders = [f"{store.folder(item)}/diff" for item in store.chain(key)]
    if store.driver.independent:
        return overlay_changes(folders[0], folders[1:])
    return tree_changes(View(folders[1:2]), View(folders[:1], owners))


def view_of(ctx: Context, subject: Image | Container) -> View:
    """The whole file system of an image or a container."""
    from podling.storage.changes import View

    keys = ctx.store.chain(subject.layer) if subject.layer else []
    folders = [f"{ctx.store.folder(key)}/diff" for key in (keys if ctx.store.driver.independent else keys[:1])]
    return View(folders, None if isinstance(subject, images.Image) else subject.owners)


# -- commit
def commit(ctx: Context, name: str, target: str, options: CommitOptions) -> str:
    """Make an image of a container; its id.

    Raises:
        NoSuchContainer, InvalidInput, StorageFull: nothing is stored then.
    """
    if options.format not in ("oci", "docker"):
        raise InvalidInput(f"--format {options.format!r}: not one of oci, docker")
    if options.message and options.format == "oci":
        ctx.warn("an oci image has no field for a message of its own: it goes into the history's comment")
    full = images.full_name(target) if target else ""
    ctx.recover()
    container = containers.find(ctx, name)
    if not container.layer:
        raise InvalidInput(f"container {container.name} has a root file system of its own: there is nothing to commit")
    paused = False
    if options.pause and container.truth()[0] == "running":
        from podling.core import lifecycle

        lifecycle.pause(container)
        paused = True
    try:
        return _commit(ctx, container, full, options)
    finally:
        if paused:
            from podling.core import lifecycle

            lifecycle.unpause(container)


def _commit(ctx: Context, container: Container, full: str, options: CommitOptions) -> str:
    base = images.by_id(ctx, container.image_id) if container.image_id else None
    known = images.config_of(ctx, base.id) if base else {}
    diff_ids = [] if options.squash else list((known.get("rootfs") or {}).get("diff_ids") or ())
    parent = None if options.squash or base is None else base.layer
    staged = ctx.store.stage("commit", parent)
    try:
        ctx.store.unpack(staged, layer_tar(ctx, container, squash=options.squash), parent)
        document = _document(container, known, [*diff_ids, staged.diff_id], options)
        config = json.dumps(document).encode()
        id = digest_of(config).partition(":")[2]
        chain_id = chain_ids([*diff_ids, staged.diff_id])[-1]
        ctx.store.flush()
        with ctx.db.write() as tx:
            row = tx.row("SELECT key FROM layers WHERE chain_id=?", chain_id)
            top = row[0] if row else staged.key
            if not row:
                staged.record(tx, parent=parent, chain_id=chain_id)
            sizes = [(diff_id, size) for diff_id, size in tx.rows(CHAIN, top)]
            manifest = manifest_for(config, sizes, options.format)
            record_image(tx, id, top, manifest, config, document, sum(size for _, size in sizes))
            if full:
                tx.run("INSERT OR REPLACE INTO image_names VALUES (?, ?)", full, id)
                tx.run(
                    "INSERT OR REPLACE INTO image_digests VALUES (?, ?, ?)",
                    full.rpartition(":")[0],
                    digest_of(manifest),
                    id,
                )
            container.tell(tx, "commit")
        return id
    finally:
        staged.close()


CHAIN = (
    "WITH RECURSIVE up(key, parent, depth) AS (SELECT key, parent, 0 FROM layers WHERE key=? "
    "UNION ALL SELECT l.key, l.parent, depth+1 FROM layers l JOIN up ON l.key=up.parent) "
    "SELECT l.diff_id, l.size FROM up JOIN layers l ON l.key=up.key ORDER BY depth DESC"
)


def layer_tar(
    ctx: Context, container: Container, *, squash: bool = False, alter: Alter | None = None
) -> Iterator[bytes]:
    """What a container changed, as a layer's tar; with `squash` all that it has. `alter` changes attributes."""
    from podling.storage.changes import View, tar_of

    assert container.layer
    skip = ours(container)
    view = view_of(ctx, container)
    if squash:
        return tar_of(view, view.walk(), skip=skip)
    top = View(view.folders[:1], view.owners)
    return tar_of(top, layer_changes(ctx, container.layer), skip=skip, alter=alter)


def manifest_for(
    config: bytes, layers: list[tuple[str, int]], format: str, annotations: dict[str, str] | None = None
) -> bytes:
    """A manifest, oci or docker, for uncompressed layers: (diff id, size)."""
    if format == "oci":
        return manifest_of(config, layers, annotations)
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": DOCKER_LAYER, "digest": diff_id, "size": size} for diff_id, size in layers],
    }
    return json.dumps(document).encode()


def _document(
    container: Container, known: dict[str, Any], diff_ids: list[str], options: CommitOptions
) -> dict[str, Any]:
    """The image's configuration: the base's, what the container was made with, then --config and --change."""
    made = container.config
    created = format_time(now())
    host = host_platform()
    config: dict[str, Any] = dict(known.get("config") or {})
    config["Env"] = [
        f"{key}={value}" for key, value in made.env.items() if key not in ("container", "HOSTNAME", "HOME")
    ]
    for key, value in (("Entrypoint", made.entrypoint), ("Cmd", made.command), ("Labels", made.labels)):
        if value:
            config[key] = value
        else:
            config.pop(key, None)
    config["WorkingDir"] = made.workdir
    if made.user:
        config["User"] = made.user
    if made.exposed:
        config["ExposedPorts"] = {port if "/" in port else f"{port}/tcp": {} for port in made.exposed}
    if options.include_volumes:
        config["Volumes"] = {
            **(config.get("Volumes") or {}), **{mount.target: {} for mount in made.mounts if mount.kind in ("volume", "bind")},
        }  # fmt: skip
    if options.config:
        try:
            extra = json.loads(options.config)
        except ValueError as error:
            raise InvalidInput(f"--config: not JSON: {error}") from None
        if not isinstance(extra, dict):
            raise InvalidInput("--config: not a JSON object")
        config.update({key: value for key, value in extra.items() if value not in (None, "", [], {})})
    for change in options.changes:
        apply_change(config, change)
    step = {"created": created, "created_by": " ".join(made.argv) or "/bin/sh", "comment": options.message}
    if options.author:
        step["author"] = options.author
    history = [] if options.squash else list(known.get("history") or ())
    document: dict[str, Any] = {
        "created": created,
        "architecture": known.get("architecture") or host.architecture,
        "os": known.get("os") or host.os,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [*history, {key: value for key, value in step.items() if value}],
    }
    for key in ("variant", "os.version"):
        if known.get(key):
            document[key] = known[key]
    if author := options.author or known.get("author"):
        document["author"] = author
    if options.format == "docker":
        document["container"] = container.id
        if options.message:
            document["comment"] = options.message
    return document
