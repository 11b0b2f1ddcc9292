"""The end of a build: the image's row, its names, and copies of its files elsewhere."""

from __future__ import annotations

import os

from podling.build import cache
from podling.build.containerfile import BuildError
from podling.core import images, parse
from podling.core.changes import CHAIN, manifest_for
from podling.core.imagestore import record_image
from podling.oci import json
from podling.oci.image import chain_ids, digest_of
from podling.oci.times import format_time
from podling.state.database import now
from podling.storage.changes import View, tar_of, tree_changes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.build.builder import Builder
    from podling.build.state import State


def commit(builder: Builder, state: State) -> str:
    """Make the image of a finished stage; its id.

    Raises:
        StorageFull; InvalidInput: a label or a name is none.
    """
    ctx, options = builder.ctx, builder.options
    names = [images.full_name(name) for name in options.tags]
    _said(builder, state)
    state.key = cache.key_of(
        state.key, "end", state.config, options.squash, options.squash_all, options.omit_history, options.format, options.timestamp,
        options.annotations,
    )  # fmt: skip
    known = cache.find(ctx, state.key, builder.cache_ttl) if options.layers and not options.no_cache else None
    if known:
        state.layer, state.document = known
    else:
        if options.squash or options.squash_all or not options.layers:
            _squash(builder, state, whole=options.squash_all)
        state.document["created"] = format_time(builder.timestamp or now())
        state.document.pop("container", None)
        state.document.pop("container_config", None)
        if options.omit_history:
            state.document.pop("history", None)
    config = json.dumps(state.document).encode()
    id = digest_of(config).partition(":")[2]
    annotations = {
        **(state.annotations if options.inherit_annotations else {}),
        **parse.pairs(options.annotations, "--annotation"),
    }
    for name in options.unset_annotations:
        annotations.pop(name, None)
    with ctx.db.write() as tx:
        sizes = list(tx.rows(CHAIN, state.layer)) if state.layer is not None else []
        manifest = manifest_for(config, sizes, options.format, annotations)
        record_image(tx, id, state.layer, manifest, config, state.document, sum(size for _, size in sizes))
        cache.keep(tx, state.key, state.layer, state.document)
        for name in names:
            images.put_name(tx, name, id)
            tx.run(
                "INSERT OR REPLACE INTO image_digests VALUES (?, ?, ?)",
                name.rpartition(":")[0],
                digest_of(manifest),
                id,
            )
        tx.event("image", "build", id, names[0] if names else "")
    builder.say("COMMIT" + (f" {options.tags[0]}" if names else ""))
    builder.say(f"--> {id[:12]}")
    for name in names:
        builder.say(f"Successfully tagged {name}")
    return id


def _said(builder: Builder, state: State) -> None:
    """--label, --unsetlabel, --unsetenv."""
    options = builder.options
    labels = {**(state.config.get("Labels") or {}), **parse.pairs(options.labels, "--label")}
    for name in options.unset_labels:
        labels.pop(name, None)
    if labels:
        state.config["Labels"] = labels
    else:
        state.config.pop("Labels", None)
    if options.unset_env:
        kept = [item for item in state.config.get("Env") or () if item.partition("=")[0] not in options.unset_env]
        state.config["Env"] = kept


def _squash(builder: Builder, state: State, *, whole: bool) -> None:
    """One layer of all that the build made, or of the whole image."""
    ctx = builder.ctx
    diff_ids = list(state.document["rootfs"]["diff_ids"])
    keys = list(reversed(ctx.store.chain(state.layer))) if state.layer is not None else []
    kept = 0 if whole else state.base_layers
    if len(keys) - kept < (1 if whole else 2):
        return
    parent = keys[kept - 1] if kept else None
    base = _view(builder, parent)
    top = state.view(ctx)
    changes = tree_changes(base, top) if base.folders else list(top.walk())
    staged = ctx.store.stage("build", parent)
    try:
        ctx.store.unpack(staged, tar_of(top, changes, alter=builder.alter), parent)
        diff_ids = [*diff_ids[:kept], staged.diff_id]
        ctx.store.flush()
        chain_id = chain_ids(diff_ids)[-1]
        with ctx.db.write() as tx:
            row = tx.row("SELECT key FROM layers WHERE chain_id=?", chain_id)
            if not row:
                staged.record(tx, parent=parent, chain_id=chain_id)
            state.layer = row[0] if row else staged.key
            cache.keep(tx, f"{state.key}-squashed", state.layer, state.document)  # nothing else holds the layer yet
    finally:
        staged.close()
    state.document["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    state.document["history"] = _squashed_history(state.document.get("history") or [], kept)


def _view(builder: Builder, layer: int | None) -> View:
    from podling.build.state import State

    return State(layer, {}, "").view(builder.ctx)


def _squashed_history(history: list[dict[str, Any]], kept: int) -> list[dict[str, Any]]:
    """The steps of the layers that stay, and one for the rest."""
    out: list[dict[str, Any]] = []
    layers = 0
    for step in history:
        if layers >= kept and not step.get("empty_layer"):
            step = {**step, "empty_layer": True}
        elif not step.get("empty_layer"):
            layers += 1
        out.append(step)
    if out:
        out[-1] = {key: value for key, value in out[-1].items() if key != "empty_layer"}
    return out


def export(builder: Builder, state: State, text: str) -> None:
    """--output: the files of the image, into a folder or a tar.

    Raises:
        BuildError: the option makes no sense, or the place cannot be written to.
    """
    values = (
        dict(part.strip().partition("=")[::2] for part in text.split(","))
        if "=" in text
        else {"type": "local", "dest": text}
    )
    kind, target = values.get("type", "local"), values.get("dest", "")
    if text == "-":
        kind, target = "tar", "-"
    if kind not in ("local", "tar") or not target:
        raise BuildError(f"--output {text}: it is type=local,dest=FOLDER or type=tar,dest=FILE")
    view = state.view(builder.ctx)
    chunks = tar_of(view, view.walk()) if view.folders else iter([bytes(1024)])
    try:
        if kind == "local":
            from podling.core.copying import unpack_here

            os.makedirs(target, exist_ok=True)
            unpack_here(target, chunks, archive=True, overwrite=True)
            return
        out = (
            os.dup(builder.stdout)
            if target == "-"
            else os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        )
        with os.fdopen(out, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
    except OSError as error:
        raise BuildError(f"--output {text}: {error.strerror}") from None
