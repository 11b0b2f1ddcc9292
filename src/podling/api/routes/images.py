"""Images: lists, pull and push with progress, archives in and out."""

from __future__ import annotations

import base64
import json
import tempfile
from typing import TYPE_CHECKING

from podling.api.docker import shapes as docker
from podling.api.router import route
from podling.api.routes.containers import change_list
from podling.api.streams import Lines, download, progress, upload
from podling.engine import shapes
from podling.engine.catalogue import images as ops
from podling.errors import InvalidInput, NoSuchImage, PodlingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from aiohttp.web import StreamResponse

    from podling.api.call import Call
    from podling.core.image_removal import Removal
    from podling.core.images import Image
    from podling.engine.catalogue.base import Operation

_HUB = "docker.io"


def hub_name(name: str) -> str:
    """A name as Docker means it: without a registry it is Docker Hub's."""
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
        filters = call.filters({"before": "before"})
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


# -- pull and push
_SHORT = 12


def _told_docker(text: str) -> dict[str, Any]:
    """A line of progress as `docker pull` shows it."""
    words = text.split()
    if words[:2] in (["Copying", "blob"], ["Copying", "layer"]):
        id = words[2].rstrip(":").removeprefix("sha256:")[:_SHORT]
        status = "Already exists" if "already exists" in text else "Pulling fs layer"
        return {"status": status, "progressDetail": {}, "id": id}
    return {"status": text}


class _Bars:
    """Bytes so far, by what is transferred."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._done: dict[str, int] = {}

    def __call__(self, what: str, more: int, total: int) -> dict[str, Any]:
        self._done[what] = self._done.get(what, 0) + more
        current = self._done[what]
        id = what.rsplit(maxsplit=1)[-1].removeprefix("sha256:")[:_SHORT]
        detail = {"current": current, **({"total": total} if total >= 0 else {})}
        if current == total:
            return {
                "status": "Download complete" if self._word == "Downloading" else "Pushed",
                "progressDetail": {},
                "id": id,
            }
        return {"status": self._word, "progressDetail": detail, "id": id}


async def _streamed(call: Call, items: AsyncIterator[Any], finish: Any) -> StreamResponse:
    """Documents as they come. An error is an answer of its own as long as nothing has been transferred."""
    lines = Lines(call)
    held: list[Any] = []
    last: Any = None
    first = True
    try:
        async for item in items:
            if not first:
                begun = (
                    lines.response is not None
                    or "progressDetail" in last
                    or str(last.get("stream", "")).startswith("Copying")
                )
                held.append(last)
                if begun:
                    await lines.send(*held)
                    held.clear()
            last, first = item, False
    except PodlingError as error:
        if lines.response is None:
            raise
        message = str(error)
        failure = {"error": message} if call.libpod else {"errorDetail": {"message": message}, "error": message}
        await lines.send(failure)
        return await lines.end()
    await lines.send(*held, *finish(last))
    return await lines.end()


@route("POST", "/images/create", tree="docker")
async def create(call: Call) -> StreamResponse:
    """Pull an image (fromImage), or make one of a tar (fromSrc)."""
    if call.has("fromSrc"):
        return await _import_docker(call)
    name, version = call.text("fromImage"), call.text("tag")
    if not name:
        raise InvalidInput("fromImage or fromSrc must be given")
    if version:
        name += f"@{version}" if version.startswith("sha256:") else f":{version}"
    operation = ops.PullImage(name=hub_name(name), platform=call.text("platform"), **credentials(call, name))

    def finish(ids: list[str]) -> list[dict[str, Any]]:
        return [
            {"status": f"Digest: sha256:{ids[-1]}"}, {"status": f"Status: Downloaded newer image for {name}", "id": ids[-1][:_SHORT]},
        ]  # fmt: skip

    return await _streamed(call, progress(call, operation, _told_docker, _Bars("Downloading")), finish)


async def _import_docker(call: Call) -> StreamResponse:
    source = call.text("fromSrc")
    name = call.text("repo")
    if name:
        name = hub_name(name) + (f":{call.text('tag')}" if call.text("tag") else "")
    changed = [line for text in call.many("changes") for line in text.split("\n") if line]
    id = await _imported(
        call, source if source != "-" else "", name, changed, call.text("message"), call.text("platform")
    )
    lines = Lines(call)
    await lines.send({"status": f"sha256:{id}"})
    return await lines.end()


async def _imported(call: Call, url: str, name: str, changed: list[str], message: str, platform: str) -> str:
    def operation(fd: int) -> Operation:
        return ops.ImportImage(path=url, fd=fd, name=name, changes=changed, message=message, platform=platform)

    id: str = await call.do(operation(-1)) if url else await upload(call, operation)
    return id


@route("POST", "/images/import", tree="libpod")
async def import_libpod(call: Call) -> StreamResponse:
    """Make an image of the root file system in a tar: the body, or what `url` names."""
    parts = [call.text("OS"), call.text("Architecture"), call.text("Variant")]
    platform = "/".join(part for part in parts if part) if any(parts) else ""
    id = await _imported(
        call, call.text("url"), call.text("reference"), call.many("changes"), call.text("message"), platform
    )
    return call.answer({"Id": id})


@route("POST", "/images/pull", tree="libpod")
async def pull(call: Call) -> StreamResponse:
    """Pull an image."""
    name = call.text("reference")
    if not name:
        raise InvalidInput("reference parameter cannot be empty")
    parts = [call.text("OS"), call.text("Arch"), call.text("Variant")]
    platform = "/".join(part for part in parts if part) if parts[1] or parts[2] else ""
    if platform and not parts[0]:
        platform = f"linux/{platform}"
    operation = ops.PullImage(
        name=name.removeprefix("docker://"), policy=call.text("policy") or "always", platform=platform,
        all_tags=call.flag("allTags"), **credentials(call),
    )  # fmt: skip
    if call.flag("compatMode"):
        return await _streamed(
            call,
            progress(call, operation, _told_docker, _Bars("Downloading")),
            lambda ids: [{"status": f"Digest: sha256:{ids[-1]}"}],
        )
    quiet = call.flag("quiet")
    told = progress(call, operation, lambda text: None if quiet else {"stream": text + "\n"})
    return await _streamed(call, told, lambda ids: [{"images": ids, "id": ids[-1]}])


@route("POST", "/images/{image}/push", tree="docker")
async def push_docker(call: Call) -> StreamResponse:
    """Push an image."""
    name = call.names["image"]
    if call.text("tag"):
        name += f":{call.text('tag')}"
    # short names are Docker Hub's, unless an image is here under that very name
    operation = ops.PushImage(
        name=name,
        target=call.text("destination"),
        format=call.text("format"),
        compress=call.flag("compress"),
        **credentials(call, name),
    )

    def finish(digest: str) -> list[dict[str, Any]]:
        version = name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else "latest"
        return [
            {"status": f"{version}: digest: {digest}"},
            {"progressDetail": {}, "aux": {"Tag": version, "Digest": digest, "Size": 0}},
        ]

    def told(text: str) -> dict[str, Any]:
        document = _told_docker(text)
        if document["status"] == "Pulling fs layer":
            document["status"] = "Preparing"
        return document

    return await _streamed(call, progress(call, operation, told, _Bars("Pushing")), finish)


@route("POST", "/images/{image}/push", tree="libpod")
async def push_libpod(call: Call) -> StreamResponse:
    """Push an image."""
    operation = ops.PushImage(
        name=call.names["image"], target=call.text("destination"), format=call.text("format"),
        compression=call.text("compressionFormat"), force_compression=call.flag("forceCompressionFormat"),
        compression_level=call.number("compressionLevel") if call.has("compressionLevel") else None,
        remove_signatures=call.flag("removeSignatures"), **credentials(call),
    )  # fmt: skip
    quiet = call.flag("quiet", default=True)
    told = progress(call, operation, lambda text: None if quiet else {"stream": text + "\n"})
    return await _streamed(call, told, lambda digest: [{"manifestdigest": digest}])


# -- archives
@route("POST", "/images/load")
async def load(call: Call) -> StreamResponse:
    """Load the images of the archive in the body."""
    names: list[str] = await upload(call, lambda fd: ops.LoadImages(fd=fd))
    if call.libpod:
        return call.answer({"Names": names})
    lines = Lines(call)
    await lines.send(*({"stream": f"Loaded image: {name}\n"} for name in names))
    return await lines.end()


@route("POST", "/local/images/load", tree="libpod")
async def load_local(call: Call) -> StreamResponse:
    """Load the images of an archive that lies on this host."""
    path = call.text("path")
    if not path.startswith("/"):
        raise InvalidInput("path must be absolute")
    return call.answer({"Names": await call.do(ops.LoadImages(path=path))})


@route("GET", "/images/get", tree="docker")
async def save_several(call: Call) -> StreamResponse:
    """Images as one docker-archive."""
    names = [name for text in call.many("names") for name in text.split(",") if name]
    return await _save(call, names, "docker-archive")


@route("GET", "/images/{image}/get", tree="docker")
async def save_docker(call: Call) -> StreamResponse:
    """An image as a docker-archive."""
    return await _save(call, [call.names["image"]], "docker-archive")


@route("GET", "/images/export", tree="libpod")
async def export(call: Call) -> StreamResponse:
    """Images as one archive."""
    names = [name for text in call.many("references") for name in text.split(",") if name]
    return await _save(call, names, call.text("format") or "docker-archive")


@route("GET", "/images/{image}/get", tree="libpod")
async def save_libpod(call: Call) -> StreamResponse:
    """An image as an archive."""
    return await _save(call, [call.names["image"]], call.text("format") or "oci-archive")


async def _save(call: Call, names: list[str], format: str) -> StreamResponse:
    if not names:
        raise InvalidInput("no image was named")
    if format in ("docker-archive", "oci-archive"):
        compress, uncompressed = call.flag("compress"), call.flag("ociAcceptUncompressedLayers")
        return await download(
            call,
            lambda fd: ops.SaveImages(names=names, fd=fd, format=format, compress=compress, uncompressed=uncompressed),
            "application/x-tar",
        )
    if format not in ("docker-dir", "oci-dir"):
        raise InvalidInput(f"unknown format {format!r}", hint="docker-archive, oci-archive, docker-dir or oci-dir")
    with tempfile.TemporaryDirectory(prefix="podling-save", dir=f"{call.engine.settings.root}/tmp") as folder:
        path = f"{folder}/image"
        await call.do(ops.SaveImages(names=names, path=path, format=format, compress=call.flag("compress")))

        def write(fd: int) -> None:
            import os
            import tarfile

            with os.fdopen(os.dup(fd), "wb") as file, tarfile.open(fileobj=file, mode="w|") as archive:
                archive.add(path, arcname=".")

        return await download(call, write, "application/x-tar")


@route("POST", "/images/scp/{image}", tree="libpod")
async def scp(call: Call) -> StreamResponse:
    """Copy an image to another host or user."""
    id = await call.do(ops.CopyImage(source=call.names["image"], target=call.text("destination")))
    return call.answer({"Id": id})
