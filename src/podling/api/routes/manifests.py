"""Manifest lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podling.api.fields import Fields
from podling.api.router import route
from podling.api.routes.images import credentials
from podling.engine.catalogue import lists as ops
from podling.engine.types import Platforms
from podling.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from typing import Any

    from aiohttp.web import StreamResponse

    from podling.api.call import Call


async def _create(call: Call, name: str) -> StreamResponse:
    images = [image for text in call.many("images", "image") for image in text.split(",") if image]
    id = await call.do(
        ops.CreateManifest(
            name=name, images=images, all=call.flag("all"), amend=call.flag("amend"), annotations=call.many("annotation"),
            **credentials(call),
        )
    )  # fmt: skip
    body = Fields(await call.json())
    if body.texts("images"):
        await _add(call, name, body)
    return call.answer({"Id": id}, 201)


@route("POST", "/manifests/create", tree="libpod")
async def create_by_parameter(call: Call) -> StreamResponse:
    """Create a manifest list (its name in the query, as in Podman 3)."""
    if not call.text("name"):
        raise InvalidInput("the name is missing: ?name=NAME")
    return await _create(call, call.text("name"))


@route("GET", "/manifests/{manifest}/exists", tree="libpod")
async def exists(call: Call) -> StreamResponse:
    """Whether there is such a manifest list: 204 or 404."""
    if not await call.do(ops.ManifestExists(name=call.names["manifest"])):
        raise NotFound(f"{call.names['manifest']}: manifest not known")
    return call.done()


@route("GET", "/manifests/{manifest}/json", tree="libpod")
async def inspect(call: Call) -> StreamResponse:
    """A manifest list's document."""
    return call.answer(await call.do(ops.InspectManifest(name=call.names["manifest"], **credentials(call))))


async def _add(call: Call, name: str, body: Fields) -> str:
    platforms = Platforms(
        os=body.text("os"), arch=body.text("arch"), variant=body.text("variant"), os_version=body.text("os_version"),
        features=body.texts("features"), os_features=body.texts("os_features"),
        annotations=body.texts("annotation") or body.pairs("annotations"),
    )  # fmt: skip
    id: str = await call.do(
        ops.AddToManifest(
            name=name, images=body.texts("images"), all=body.flag("all"), platforms=platforms, **credentials(call)
        )
    )
    return id


@route("POST", "/manifests/{manifest}/add", tree="libpod")
async def add(call: Call) -> StreamResponse:
    """Add images to a manifest list."""
    return call.answer({"Id": await _add(call, call.names["manifest"], Fields(await call.json()))})


@route("POST", "/manifests/{manifest}/push", tree="libpod")
async def push_by_parameter(call: Call) -> StreamResponse:
    """Push a manifest list (its destination in the query, as in Podman 3)."""
    return await _push(call, call.text("destination"))


@route("POST", "/manifests/{manifest}/registry/{destination}", tree="libpod")
async def push(call: Call) -> StreamResponse:
    """Push a manifest list."""
    return await _push(call, call.names["destination"])


async def _push(call: Call, destination: str) -> StreamResponse:
    digest = await call.do(
        ops.PushManifest(
            name=call.names["manifest"], target=destination, all=call.flag("all", default=True), format=call.text("format"),
            compression=call.text("compressionFormat"), add_compression=call.many("addCompression"),
            compression_level=call.number("compressionLevel") if call.has("compressionLevel") else None,
            force_compression=call.flag("forceCompressionFormat"), **credentials(call),
        )
    )  # fmt: skip
    return call.answer({"Id": digest})


@route("POST", "/manifests/{manifest}", tree="libpod")
async def create(call: Call) -> StreamResponse:
    """Create a manifest list."""
    return await _create(call, call.names["manifest"])


@route("PUT", "/manifests/{manifest}", tree="libpod")
async def modify(call: Call) -> StreamResponse:
    """Add entries to a manifest list, take some away, or annotate them: `operation` is update, remove or annotate."""
    name, body = call.names["manifest"], Fields(await call.json())
    what = body.text("operation") or "update"
    if what == "update":
        id = await _add(call, name, body)
        return call.answer({"Id": id, "Images": body.texts("images")})
    if what == "remove":
        id = ""
        for image in body.texts("images"):
            id, _ = await call.do(ops.RemoveFromManifest(name=name, image=image))
        return call.answer({"Id": id, "Images": body.texts("images")})
    if what != "annotate":
        raise InvalidInput(f"invalid operation {what!r} for manifest: not update, remove or annotate")
    platforms = Platforms(
        os=body.text("os"), arch=body.text("arch"), variant=body.text("variant"), os_version=body.text("os_version"),
        features=body.texts("features"), os_features=body.texts("os_features"),
        annotations=body.texts("annotation") or body.pairs("annotations"),
    )  # fmt: skip
    id = ""
    for image in body.texts("images"):
        id = await call.do(ops.AnnotateManifest(name=name, image=image, platforms=platforms))
    index = body.texts("index_annotation") or body.pairs("index_annotations")
    if index or body.text("subject"):
        id = await call.do(
            ops.AnnotateManifest(
                name=name, index=True, platforms=Platforms(annotations=index), subject=body.text("subject")
            )
        )
    return call.answer({"Id": id, "Images": body.texts("images")})


@route("DELETE", "/manifests/{manifest}", tree="libpod")
async def remove(call: Call) -> StreamResponse:
    """Remove a manifest list, or with `digest` one of its entries."""
    name = call.names["manifest"]
    if call.text("digest"):
        id, digest = await call.do(ops.RemoveFromManifest(name=name, image=call.text("digest")))
        return call.answer({"Id": id, "Deleted": [digest], "ExitCode": 0})
    removal, report = await call.do(ops.RemoveManifests(names=[name], ignore=call.flag("ignore")))
    if report.errors:
        raise report.errors[0]
    found: dict[str, Any] = {"Deleted": removal.deleted, "Untagged": removal.untagged, "Errors": None, "ExitCode": 0}
    return call.answer(found)
