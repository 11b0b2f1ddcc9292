"""Volumes and secrets."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from podling.api.docker import shapes as docker
from podling.api.fields import Fields
from podling.api.router import route
from podling.api.streams import download, upload
from podling.engine import shapes
from podling.engine.catalogue import storage as ops
from podling.engine.types import SecretOptions, VolumeOptions
from podling.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from aiohttp.web import StreamResponse

    from podling.api.call import Call
    from podling.core.volumes import Volume


# -- volumes
@route("POST", "/volumes/create")
async def create_volume(call: Call) -> StreamResponse:
    """Create a volume; Docker's clients get the one that is there already."""
    body = Fields(await call.json())
    options = VolumeOptions(
        driver=body.text("Driver") or "local", options=body.pairs("Options" if call.libpod else "DriverOpts"),
        labels=body.pairs("Labels") or body.pairs("Label"), uid=body.number("UID"), gid=body.number("GID"),
        ignore=body.flag("IgnoreIfExists") or not call.libpod,
    )  # fmt: skip
    found: Volume = await call.do(ops.CreateVolume(name=body.text("Name"), options=options))
    return call.answer(shapes.volume(found) if call.libpod else docker.volume(found), 201)


@route("GET", "/volumes", tree="docker")
async def list_docker(call: Call) -> StreamResponse:
    """List volumes."""
    found = await call.do(ops.ListVolumes(filters=call.filters()))
    return call.answer({"Volumes": [docker.volume(volume) for volume in found], "Warnings": []})


@route("GET", "/volumes/json", tree="libpod")
async def list_libpod(call: Call) -> StreamResponse:
    """List volumes."""
    return call.answer([shapes.volume(volume) for volume in await call.do(ops.ListVolumes(filters=call.filters()))])


@route("GET", "/volumes/{name}/json", tree="libpod")
@route("GET", "/volumes/{name}", tree="docker")
async def inspect_volume(call: Call) -> StreamResponse:
    """A volume."""
    found: Volume = await call.do(ops.InspectVolume(name=call.name))
    return call.answer(shapes.volume(found) if call.libpod else docker.volume(found))


@route("GET", "/volumes/{name}/exists", tree="libpod")
async def volume_exists(call: Call) -> StreamResponse:
    """Whether there is a volume of exactly this name: 204 or 404."""
    found: Volume = await call.do(ops.InspectVolume(name=call.name))
    if found.name != call.name:
        raise NotFound(f"no volume with name {call.name!r} found: no such volume")
    return call.done()


@route("DELETE", "/volumes/{name}")
async def remove_volume(call: Call) -> StreamResponse:
    """Remove a volume."""
    force = call.flag("force")
    report = await call.do_one(
        ops.RemoveVolumes(names=[call.name], force=force, timeout=call.number("timeout", default=-1))
    )
    if not report.done and not force:
        raise NotFound(f"no volume with name {call.name!r} found: no such volume")
    return call.done()


@route("POST", "/volumes/prune")
async def prune_volumes(call: Call) -> StreamResponse:
    """Remove the volumes that no container uses; of Docker's clients the anonymous ones, unless all=true."""
    filters = call.filters()
    if not call.libpod:
        every = any(text in ("all=true", "all=1") for text in filters)
        filters = [text for text in filters if not text.startswith("all=")]
        filters += [] if every else ["anonymous=true"]
    names, freed = await call.do(ops.PruneVolumes(filters=filters))
    if call.libpod:
        share = freed // len(names) if names else 0
        return call.answer([{"Id": name, "Size": share, "Err": None} for name in names])
    return call.answer({"VolumesDeleted": names, "SpaceReclaimed": freed})


@route("GET", "/volumes/{name}/export", tree="libpod")
async def export_volume(call: Call) -> StreamResponse:
    """A volume's files, as a tar."""
    await call.do(ops.InspectVolume(name=call.name))
    return await download(call, lambda fd: ops.ExportVolume(name=call.name, fd=fd), "application/x-tar")


@route("POST", "/volumes/{name}/import", tree="libpod")
async def import_volume(call: Call) -> StreamResponse:
    """Unpack the tar in the body into a volume."""
    await call.do(ops.InspectVolume(name=call.name))
    await upload(call, lambda fd: ops.ImportVolume(name=call.name, fd=fd))
    return call.done()


# -- secrets
def _map(call: Call, name: str) -> list[str]:
    text = call.text(name)
    if not text:
        return []
    try:
        document = json.loads(text)
    except ValueError:
        raise InvalidInput(f"failed to parse parameters: {name}={text!r} is not JSON") from None
    return Fields({name: document}).pairs(name)


@route("POST", "/secrets/create", tree="libpod")
async def create_secret_libpod(call: Call) -> StreamResponse:
    """Make a secret of the body."""
    name = call.text("name")
    options = SecretOptions(
        driver=call.text("driver") or "file", options=_map(call, "driveropts"), labels=_map(call, "labels"),
        replace=call.flag("replace"), ignore=call.flag("ignore"),
    )  # fmt: skip
    data = await call.request.read()
    return call.answer({"ID": await call.do(ops.CreateSecret(name=name, data=data, options=options))})


@route("POST", "/secrets/create", tree="docker")
async def create_secret_docker(call: Call) -> StreamResponse:
    """Make a secret."""
    body = Fields(await call.json())
    driver = body.inner("Driver")
    try:
        data = base64.b64decode(body.text("Data"), validate=True)
    except ValueError:
        raise InvalidInput("Data is not base64") from None
    options = SecretOptions(
        driver=driver.text("Name") or "file", options=driver.pairs("Options"), labels=body.pairs("Labels")
    )
    id = await call.do(ops.CreateSecret(name=body.text("Name"), data=data, options=options))
    return call.answer({"ID": id}, 201)


@route("GET", "/secrets/json", tree="libpod")
@route("GET", "/secrets", tree="docker")
async def list_secrets(call: Call) -> StreamResponse:
    """List secrets."""
    found = await call.do(ops.ListSecrets(filters=call.filters({"names": "name"})))
    return call.answer([shapes.secret(secret) for secret in found])


@route("GET", "/secrets/{name}/json", tree="libpod")
@route("GET", "/secrets/{name}", tree="docker")
async def inspect_secret(call: Call) -> StreamResponse:
    """A secret; with `showsecret` what it holds."""
    reveal = call.flag("showsecret")
    secret, data = await call.do(ops.InspectSecret(name=call.name, reveal=reveal))
    return call.answer(shapes.secret(secret, data if reveal else None))


@route("GET", "/secrets/{name}/exists", tree="libpod")
async def secret_exists(call: Call) -> StreamResponse:
    """Whether there is such a secret: 204 or 404."""
    await call.do(ops.InspectSecret(name=call.name))
    return call.done()


@route("DELETE", "/secrets/{name}")
@route("DELETE", "/secret/{name}", tree="docker")
async def remove_secret(call: Call) -> StreamResponse:
    """Remove a secret."""
    await call.do_one(ops.RemoveSecrets(names=[call.name]))
    return call.done()


@route("POST", "/secrets/{name}/update", tree="docker")
async def update_secret(call: Call) -> StreamResponse:
    """Docker's update of a secret's labels is not answered: 501."""
    from podling.api.call import fail

    return fail(501, "update is not supported", "update is not supported")
