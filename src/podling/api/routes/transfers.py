"""Images on their way: pull and push with progress, archives in and out."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from podling.api.router import route
from podling.api.routes.images import credentials, hub_name
from podling.api.streams import Lines, download, progress, upload
from podling.engine.catalogue import images as ops
from podling.errors import InvalidInput, PodlingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from aiohttp.web import StreamResponse

    from podling.api.call import Call
    from podling.engine.catalogue.base import Operation


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
    with tempfile.TemporaryDirectory(prefix="podling-save", dir=call.engine.settings.scratch) as folder:
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
