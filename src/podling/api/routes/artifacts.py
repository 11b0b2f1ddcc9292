"""Artifacts."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from podling.api.router import route
from podling.api.routes.images import credentials
from podling.api.streams import download
from podling.engine.catalogue import lists as ops
from podling.engine.types import AddOptions
from podling.errors import InvalidInput

if TYPE_CHECKING:
    from typing import Any

    from aiohttp.web import StreamResponse

    from podling.api.call import Call
    from podling.core.artifacts import Artifact


def _document(item: Artifact) -> dict[str, Any]:
    return {"Manifest": item.manifest, "Name": item.name, "Digest": item.digest}


@route("GET", "/artifacts/json", tree="libpod")
async def list_artifacts(call: Call) -> StreamResponse:
    """List artifacts."""
    return call.answer([_document(item) for item in await call.do(ops.ListArtifacts())])


@route("GET", "/artifacts/{artifact}/json", tree="libpod")
async def inspect(call: Call) -> StreamResponse:
    """An artifact's manifest."""
    return call.answer(_document(await call.do(ops.InspectArtifact(name=call.names["artifact"]))))


@route("POST", "/artifacts/add", tree="libpod")
async def add(call: Call) -> StreamResponse:
    """Make an artifact of the body, a file's content, or add it to one."""
    name, title = call.text("name"), call.text("fileName")
    if not name or not title or "/" in title or title in (".", ".."):
        raise InvalidInput("name and fileName are needed; fileName is no path")
    options = AddOptions(
        type=call.text("artifactMIMEType"), file_type=call.text("fileMIMEType"), annotations=call.many("annotations"),
        append=call.flag("append"), replace=call.flag("replace"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="podling-artifact", dir=call.engine.settings.scratch) as folder:
        path = os.path.join(folder, title)
        with open(path, "wb") as file:
            async for chunk in call.request.content.iter_chunked(1 << 18):
                file.write(chunk)
        digest = await call.do(ops.AddArtifact(name=name, paths=[path], options=options))
    return call.answer({"ArtifactDigest": digest}, 201)


@route("POST", "/artifacts/pull", tree="libpod")
async def pull(call: Call) -> StreamResponse:
    """Fetch an artifact."""
    if not call.text("name"):
        raise InvalidInput("name parameter is required")
    return call.answer({"ArtifactDigest": await call.do(ops.PullArtifact(name=call.text("name"), **credentials(call)))})


@route("POST", "/artifacts/{artifact}/push", tree="libpod")
async def push(call: Call) -> StreamResponse:
    """Send an artifact to the registry that its name says."""
    digest = await call.do(ops.PushArtifact(name=call.names["artifact"], **credentials(call)))
    return call.answer({"ArtifactDigest": digest})


@route("DELETE", "/artifacts/remove", tree="libpod")
async def remove_several(call: Call) -> StreamResponse:
    """Remove artifacts."""
    names = [name for text in call.many("artifacts") for name in text.split(",") if name]
    return await _remove(call, names)


@route("DELETE", "/artifacts/{artifact}", tree="libpod")
async def remove(call: Call) -> StreamResponse:
    """Remove an artifact."""
    return await _remove(call, [call.names["artifact"]])


async def _remove(call: Call, names: list[str]) -> StreamResponse:
    report = await call.do_one(ops.RemoveArtifacts(names=names, all=call.flag("all"), ignore=call.flag("ignore")))
    return call.answer({"ArtifactDigests": report.done})


@route("GET", "/artifacts/{artifact}/extract", tree="libpod")
async def extract(call: Call) -> StreamResponse:
    """An artifact's files, as a tar."""
    name = call.names["artifact"]
    await call.do(ops.InspectArtifact(name=name))

    with tempfile.TemporaryDirectory(prefix="podling-artifact", dir=call.engine.settings.scratch) as folder:
        await call.do(
            ops.ExtractArtifact(name=name, target=folder, title=call.text("title"), digest=call.text("digest"))
        )

        def write(fd: int) -> None:
            import tarfile

            with os.fdopen(os.dup(fd), "wb") as file, tarfile.open(fileobj=file, mode="w|") as archive:
                for entry in sorted(os.listdir(folder)):
                    archive.add(os.path.join(folder, entry), arcname=entry)

        return await download(call, write, "application/x-tar")
