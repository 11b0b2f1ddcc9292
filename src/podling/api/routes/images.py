"""Images: lists, names, removal."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from podling.api.docker import shapes as docker
from podling.api.router import route
from podling.api.routes.containers import change_list
from podling.config import containers
from podling.engine import shapes
from podling.engine.catalogue import images as ops
from podling.errors import InvalidInput, NoSuchImage

if TYPE_CHECKING:
    from typing import Any

    from aiohttp.web import StreamResponse

    from podling.api.call import Call
    from podling.core.image_removal import Removal
    from podling.core.images import Image

_HUB = "docker.io"


def hub_name(name: str) -> str:
    """A name as Docker means it: without a registry it is Docker Hub's."""
    if not containers.load().flag("engine", "compat_api_enforce_docker_hub", default=True):
        return name
    head, slash, _ = name.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        return name
    return f"{_HUB}/{name}" if slash else f"{_HUB}/library/{name}"


def credentials(call: Call, name: str = "") -> dict[str, Any]:
    """The options of a registry that a request's headers and parameters give. Docker speaks plain HTTP to registries on loopback."""
    found: dict[str, Any] = {}
    host = name.partition("/")[0].rpartition(":")[0] or name.partition("/")[0]
    if not call.libpod and (host == "localhost" or host.startswith("127.")):
        found["tls_verify"] = False
    text = call.request.headers.get("X-Registry-Auth", "")
    if text:
        try:
            document = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except ValueError:
            raise InvalidInput("X-Registry-Auth is not base64 of a JSON document") from None
        if isinstance(document, dict):
            if "username" not in document and document and all(isinstance(v, dict) for v in document.values()):
                document = next(iter(document.values()))  # Podman's clients send a map by registry
            user, password = document.get("username", ""), document.get("password", "")
            if not user and document.get("auth"):
                user, _, password = base64.b64decode(document["auth"]).decode(errors="replace").partition(":")
            if user:
                found["creds"] = f"{user}:{password}"
    if call.has("tlsVerify"):
        found["tls_verify"] = call.flag("tlsVerify")
    if call.has("retry"):
        found["retries"] = call.number("retry")
    if call.has("retryDelay"):
        found["retry_delay"] = call.text("retryDelay")
    return found


# -- lists
@route("GET", "/images/json")
async def list_images(call: Call) -> StreamResponse:
    """List images."""
    if call.has("filter") and not call.has("filters"):  # Docker's clients of old
        filters = [f"reference={call.text('filter')}"]
    else:
        filters = call.filters()
    found: list[Image] = await call.do(ops.ListImages(all=call.flag("all"), filters=filters))
    if call.libpod:
        return call.answer([shapes.image(image) for image in found])
    return call.answer([docker.image(image) for image in found if image.kind == "image"])


@route("GET", "/images/{image}/json")
async def inspect(call: Call) -> StreamResponse:
    """Everything about an image."""
    document = await call.do(ops.InspectImage(name=call.names["image"]))
    return call.answer(document if call.libpod else docker.inspected_image(document))


@route("GET", "/images/{image}/history")
async def history(call: Call) -> StreamResponse:
    """The steps that made an image."""
    steps = docker.history(await call.do(ops.ImageHistory(name=call.names["image"])))
    if call.libpod:
        for step in steps:
            step["Id"] = step["Id"].removeprefix("sha256:")
    return call.answer(steps)


@route("GET", "/images/{image}/exists", tree="libpod")
async def exists(call: Call) -> StreamResponse:
    """Whether there is such an image: 204 or 404."""
    if not await call.do(ops.ImageExists(name=call.names["image"])):
        raise NoSuchImage(call.names["image"])
    return call.done()


@route("GET", "/images/{image}/tree", tree="libpod")
async def tree(call: Call) -> StreamResponse:
    """An image's layers, as text."""
    image, layers = await call.do(ops.ImageTree(name=call.names["image"], dependants=call.flag("whatrequires")))
    lines = [
        f"Image ID: {image.id[:12]}",
        f"Tags:     [{' '.join(image.names)}]",
        f"Size:     {image.size}B",
        "Image Layers",
    ]
    for layer in layers:
        tops = f" Top Layer of: [{' '.join(layer.tops)}]" if layer.tops else ""
        lines.append(f"{'  ' * layer.depth}└── ID: {layer.id[:12]} Size: {layer.size}B{tops}")
    return call.answer({"Tree": "\n".join(lines) + "\n"})


@route("GET", "/images/{image}/changes", tree="libpod")
async def changes(call: Call) -> StreamResponse:
    """What an image's top layer changed in those below."""
    found = await call.do(ops.Diff(name=call.names["image"], other=call.text("parent"), kind="image"))
    return call.answer(change_list(found))


@route("GET", "/images/{image}/resolve", tree="libpod")
async def resolve(call: Call) -> StreamResponse:
    """The full names that a short one may mean."""
    from podling.engine.names import candidates

    return call.answer({"Names": await call.service.run(candidates, call.names["image"])})


@route("GET", "/images/search")
async def search(call: Call) -> StreamResponse:
    """Search registries."""
    term = call.text("term")
    if not term:
        raise InvalidInput("the term is missing: ?term=WORD")
    found = await call.do(
        ops.SearchImages(
            term=term, limit=call.number("limit"), filters=call.filters(), list_tags=call.flag("listTags"), **credentials(call)
        )
    )  # fmt: skip
    if call.libpod:
        return call.answer(
            [
                {
                    "Index": item.index, "Name": item.name, "Description": item.description, "Stars": item.stars,
                    "Official": "[OK]" if item.official else "", "Automated": "[OK]" if item.automated else "", "Tag": item.tag,
                }
                for item in found
            ]
        )  # fmt: skip
    return call.answer(
        [
            {
                "name": item.name, "description": item.description, "star_count": item.stars, "is_official": item.official,
                "is_automated": item.automated, "Tag": item.tag,
            }
            for item in found
        ]
    )  # fmt: skip


# -- names and removal
@route("POST", "/images/{image}/tag")
async def tag(call: Call) -> StreamResponse:
    """Give an image another name."""
    await call.do(ops.TagImage(name=call.names["image"], targets=[_target(call)]))
    return call.done(201)


@route("POST", "/images/{image}/untag", tree="libpod")
async def untag(call: Call) -> StreamResponse:
    """Take a name, or all, from an image."""
    targets = [_target(call)] if call.has("repo") else []
    await call.do(ops.UntagImage(name=call.names["image"], targets=targets))
    return call.done(201)


def _target(call: Call) -> str:
    repo, name = call.text("repo"), call.text("tag") or "latest"
    if not repo:
        raise InvalidInput("repo parameter is required")
    repo = repo if call.libpod else hub_name(repo)
    return f"{repo}:{name}"


@route("DELETE", "/images/{image}", tree="docker")
async def remove_docker(call: Call) -> StreamResponse:
    """Remove an image."""
    removal, report = await call.do(
        ops.RemoveImages(names=[call.names["image"]], force=call.flag("force"), prune=not call.flag("noprune"))
    )
    if report.errors:
        raise report.errors[0]
    return call.answer(
        [{"Untagged": name} for name in removal.untagged] + [{"Deleted": f"sha256:{id}"} for id in removal.deleted]
    )


@route("DELETE", "/images/remove", tree="libpod")
async def remove_several(call: Call) -> StreamResponse:
    """Remove images."""
    names = [name for text in call.many("images") for name in text.split(",") if name]
    return await _remove(call, names, call.flag("all"), several=True)


@route("DELETE", "/images/{image}", tree="libpod")
async def remove_libpod(call: Call) -> StreamResponse:
    """Remove an image."""
    return await _remove(call, [call.names["image"]], False, several=False)


async def _remove(call: Call, names: list[str], every: bool, *, several: bool) -> StreamResponse:
    removal: Removal
    removal, report = await call.do(
        ops.RemoveImages(
            names=names, force=call.flag("force"), all=every, ignore=call.flag("ignore"), prune=not call.flag("noprune")
        )
    )
    if report.errors and not several:
        raise report.errors[0]
    codes = [getattr(error, "exit_code", 125) for error in report.errors]
    return call.answer(
        {
            "Deleted": removal.deleted, "Untagged": removal.untagged, "ExitCode": codes[0] if codes else 0,
            "Errors": [str(error) for error in report.errors] or None,
        }
    )  # fmt: skip


@route("POST", "/images/prune")
async def prune(call: Call) -> StreamResponse:
    """Remove images without a name; all that no container uses with `all`, or Docker's filter dangling=false."""
    filters = call.filters()
    every = call.flag("all")
    if not call.libpod:
        every = any(text in ("dangling=false", "dangling=0") for text in filters)
        filters = [text for text in filters if not text.startswith("dangling=")]
    removed, freed = await call.do(ops.PruneImages(all=every, filters=filters, build_cache=call.flag("buildcache")))
    if call.libpod:
        share = freed // len(removed) if removed else 0
        return call.answer([{"Id": id, "Size": share, "Err": None} for id in removed])
    return call.answer({"ImagesDeleted": [{"Deleted": id} for id in removed], "SpaceReclaimed": freed})
