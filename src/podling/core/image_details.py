"""Telling about images: history, inspect, tree."""

from __future__ import annotations

from podling.core.images import Image, config_of, find, instance
from podling.oci import json
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context


def history(ctx: Context, name: str) -> list[dict[str, Any]]:
    """The steps that made the image, newest first, with the size of each."""
    image = instance(ctx, find(ctx, name))
    document = config_of(ctx, image.id)
    sizes = (
        [ctx.db.value("SELECT size FROM layers WHERE key=?", key) for key in reversed(ctx.store.chain(image.layer))]
        if image.layer
        else []
    )
    steps: list[dict[str, Any]] = []
    for entry in document.get("history") or [{"created": document.get("created", ""), "comment": ""} for _ in sizes]:
        empty = bool(entry.get("empty_layer"))
        steps.append(
            {
                "id": "",
                "created": entry.get("created") or "",
                "Created": entry.get("created") or "",
                "CreatedBy": entry.get("created_by", ""),
                "size": 0 if empty or not sizes else sizes.pop(0),
                "comment": entry.get("comment", ""),
                "tags": [],
            }
        )
    steps.reverse()
    if steps:
        steps[0]["id"], steps[0]["tags"] = image.id, image.names
    return steps


def inspect(ctx: Context, name: str) -> dict[str, Any]:
    """Everything about an image, in the shape of `podman image inspect`."""
    from podling.oci.times import format_time

    image = instance(ctx, find(ctx, name))
    row = ctx.db.row("SELECT manifest, config FROM images WHERE id=?", image.id)
    assert row is not None
    manifest, document = json.loads(row[0]), json.loads(row[1])
    config = document.get("config") or {}
    digests = [
        f"{repo}@{digest}"
        for repo, digest in ctx.db.rows("SELECT name, digest FROM image_digests WHERE image_id=?", image.id)
    ]
    past = [
        name for (name,) in ctx.db.rows("SELECT name FROM image_past_names WHERE image_id=? ORDER BY name", image.id)
    ]
    chain = ctx.store.chain(image.layer) if image.layer else []
    folders = [f"{ctx.store.folder(key)}/diff" for key in chain]
    data = {"UpperDir": folders[0]} if folders else {}
    if len(folders) > 1:
        data["LowerDir"] = ":".join(folders[1:])
    return {
        "Id": image.id,
        "Digest": image.manifest_digest,
        "RepoTags": image.names,
        "RepoDigests": digests,
        "Parent": "",
        "Comment": (document.get("history") or [{}])[-1].get("comment", ""),
        "Created": document.get("created") or format_time(0),
        "Config": {key: value for key, value in config.items() if value not in (None, "", [], {})},
        "Version": document.get("docker_version", ""),
        "Author": document.get("author", ""),
        "Architecture": document.get("architecture", ""),
        "Os": document.get("os", ""),
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Name": ctx.store.driver.name, "Data": data},
        "RootFS": {"Type": "layers", "Layers": (document.get("rootfs") or {}).get("diff_ids") or []},
        "Labels": config.get("Labels"),
        "Annotations": manifest.get("annotations") or {},
        "ManifestType": manifest.get("mediaType") or "application/vnd.oci.image.manifest.v1+json",
        "User": config.get("User", ""),
        "HealthCheck": config.get("Healthcheck"),
        "History": document.get("history") or [],
        "NamesHistory": past,
    }


class TreeLayer(Record):
    """A layer in `image tree`: `depth` of indentation, `tops` the names of images that end with it."""

    id: str
    size: int
    depth: int
    tops: list[str] = []


def tree(ctx: Context, name: str, *, dependants: bool) -> tuple[Image, list[TreeLayer]]:
    """An image and its layers, lowest first; with `dependants` the layers that are built on it instead."""
    image = instance(ctx, find(ctx, name))
    tops: dict[int, list[str]] = {}
    for layer, full in ctx.db.rows("SELECT layer, name FROM images JOIN image_names ON image_id=id ORDER BY name"):
        tops.setdefault(layer, []).append(full)
    if image.layer is None:
        return image, []
    found: list[TreeLayer] = []

    def add(key: int, depth: int) -> None:
        row = ctx.db.row("SELECT chain_id, size FROM layers WHERE key=?", key)
        assert row is not None
        id = str(row[0]).partition(":")[2]
        found.append(TreeLayer(id=id, size=row[1], depth=depth, tops=tops.get(key, [])))

    def below(key: int, depth: int) -> None:
        add(key, depth)
        for (child,) in ctx.db.rows("SELECT key FROM layers WHERE parent=? AND chain_id IS NOT NULL ORDER BY key", key):
            below(child, depth + 1)

    if dependants:
        below(image.layer, 0)
    else:
        for key in reversed(ctx.store.chain(image.layer)):
            add(key, 0)
    return image, found
