"""The engine as a whole: ping, version, info, events, disk usage, credentials."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aiohttp import web

from podling.api import openapi
from podling.api.call import fail
from podling.api.docker import shapes as docker
from podling.api.front import PING
from podling.api.router import route
from podling.api.streams import Lines, batches
from podling.engine.catalogue import images as image_ops
from podling.engine.catalogue import system as ops

if TYPE_CHECKING:
    from typing import Any

    from aiohttp.web import StreamResponse

    from podling.api.call import Call
    from podling.core.events import Event


@route("GET HEAD", "/_ping")
async def ping(call: Call) -> StreamResponse:
    """OK, with the versions in the headers."""
    response = web.Response(text="OK" if call.request.method == "GET" else "", content_type="text/plain")
    response.headers.update(PING)
    return response


@route("GET", "/version")
async def version(call: Call) -> StreamResponse:
    """The versions of the engine, of both APIs and of the parts."""
    from podling.api.server import DOCKER_API, DOCKER_API_OLDEST, LIBPOD_API

    client = (await call.do(ops.Version()))["Client"]
    info = await call.do(ops.Info())
    kernel = os.uname().release
    details = {
        "APIVersion": LIBPOD_API, "Arch": info["host"]["arch"], "BuildTime": "", "Experimental": "false", "GitCommit": "",
        "GoVersion": client["GoVersion"], "KernelVersion": kernel, "MinAPIVersion": "4.0.0", "Os": "linux",
    }  # fmt: skip
    conmon, runtime = info["host"]["conmon"], info["host"]["ociRuntime"]
    components = [
        {"Name": "Podman Engine", "Version": client["Version"], "Details": details},
        {"Name": "Conmon", "Version": conmon["version"], "Details": {"Package": conmon["package"]}},
        {
            "Name": f"OCI Runtime ({runtime['name']})",
            "Version": runtime["version"],
            "Details": {"Package": runtime["package"]},
        },
    ]
    return call.answer(
        {
            "Platform": {"Name": f"linux/{info['host']['arch']}/{info['host']['distribution']['distribution']}"},
            "Components": components, "Version": client["Version"], "ApiVersion": DOCKER_API, "MinAPIVersion": DOCKER_API_OLDEST,
            "GitCommit": "", "GoVersion": client["GoVersion"], "Os": "linux", "Arch": info["host"]["arch"],
            "KernelVersion": kernel, "BuildTime": "",
        }
    )  # fmt: skip


@route("GET", "/info", tree="libpod")
async def info_libpod(call: Call) -> StreamResponse:
    """Host and store."""
    document = await call.do(ops.Info())
    document["host"]["serviceIsRemote"] = True
    document["host"]["remoteSocket"] = {"exists": True, "path": call.service.options.address}
    return call.answer(document)


@route("GET", "/info", tree="docker")
async def info_docker(call: Call) -> StreamResponse:
    """Host and store, in Docker's shape."""
    document = await call.do(ops.Info())
    images = await call.do(image_ops.ListImages())
    return call.answer(docker.info(document, len(images)))


@route("GET", "/events")
async def events(call: Call) -> StreamResponse:
    """Events, a JSON document a line: those since and those to come."""
    names = {"daemon": "type", "scope": "type"}
    filters = [_event_filter(call, text) for text in call.filters(names)]
    follow = call.flag("stream", default=True)
    operation = ops.StreamEvents(
        since=call.text("since"), until=call.text("until"), filters=filters, follow=follow, patient=False
    )
    lines = Lines(call)
    async for batch in batches(call, lambda: call.engine.call(operation)):
        if batch:
            await lines.send(*(_event(call, event) for event in batch))
        elif lines.response is None:
            await lines.send()  # a client waits for the head
    return await lines.end()


_DOCKER_ACTIONS = {"died": "die", "remove": "destroy", "exec": "exec_start", "exec_died": "exec_die"}


def _event_filter(call: Call, text: str) -> str:
    key, _, value = text.partition("=")
    if key == "event" and not call.libpod:
        back = {docker: ours for ours, docker in _DOCKER_ACTIONS.items()}
        return f"event={back.get(value, value)}"
    return text


def _event(call: Call, event: Event) -> dict[str, Any]:
    action = event.action
    if not call.libpod and event.type == "container":
        action = _DOCKER_ACTIONS.get(action, action)
    attributes = {**event.attributes, "name": event.name}
    attributes.pop("inspectData", None)
    if event.image:
        attributes["image"] = event.image
    if call.is_podman_4:
        attributes.setdefault("containerExitCode", "0")
    if "containerExitCode" in attributes:
        attributes["exitCode"] = attributes["containerExitCode"]
    document = {
        "status": action, "id": event.id or event.name, "from": event.image, "Type": event.type, "Action": action,
        "Actor": {"ID": event.id or event.name, "Attributes": attributes}, "scope": "local", "time": event.time // 10**9,
        "timeNano": event.time,
    }  # fmt: skip
    if "health_status" in attributes:
        document["HealthStatus"] = attributes["health_status"]
    return document


@route("GET", "/system/df")
async def disk_usage(call: Call) -> StreamResponse:
    """How much space images, containers and volumes take."""
    usage = await call.do(ops.DiskUsage())
    if call.libpod:
        return call.answer(docker.libpod_usage(usage))
    images = {image.id: image for image in await call.do(image_ops.ListImages(all=True))}
    from podling.engine.catalogue import containers as container_ops
    from podling.engine.catalogue import storage as storage_ops

    found = await call.do(container_ops.ListContainers(all=True, details=True, size=True))
    volumes = {volume.name: volume for volume in await call.do(storage_ops.ListVolumes())}
    return call.answer(docker.usage(usage, images, found, volumes))


@route("POST", "/system/prune", tree="libpod")
async def prune(call: Call) -> StreamResponse:
    """Remove what nobody uses."""
    wanted = ops.PruneSystem(
        all=call.flag("all"), volumes=call.flag("volumes"), build=call.flag("build"), external=call.flag("external"), filters=call.filters()
    )  # fmt: skip
    done = await call.do(wanted)

    def reports(names: list[str]) -> list[dict[str, Any]]:
        return [{"Id": name, "Size": 0, "Err": None} for name in names]

    return call.answer(
        {
            "PodPruneReport": reports(done.pods), "ContainerPruneReports": reports(done.containers),
            "ImagePruneReports": reports(done.images), "NetworkPruneReports": [{"Name": n, "Error": None} for n in done.networks],
            "VolumePruneReports": reports(done.volumes), "ReclaimedSpace": done.freed,
        }
    )  # fmt: skip


@route("POST", "/system/check", tree="libpod")
async def check(call: Call) -> StreamResponse:
    """Compare database and files, and repair what does not agree where that is asked for."""
    lossy = call.flag("repair_lossy")
    wanted = ops.CheckSystem(
        content=not call.flag("quick"), repair=lossy or call.flag("repair"), force=lossy,
        max_age=call.text("unreferenced_layer_max_age") or "24h",
    )  # fmt: skip
    found = await call.do(wanted)
    report: dict[str, Any] = {"Errors": any(not damage.repaired for damage in found)}
    report |= {
        kind: {}
        for kind in ("Layers", "ROLayers", "Images", "ROImages", "RemovedImages", "Containers", "RemovedContainers")
    }
    report["RemovedLayers"] = []
    places = {"layer": "Layers", "folder": "Layers", "image": "Images", "container": "Containers"}
    for damage in found:
        report[places.get(damage.kind, "Layers")].setdefault(damage.id, []).append(damage.problem)
        if damage.repaired and damage.kind in ("layer", "folder"):
            report["RemovedLayers"].append(damage.id)
        elif damage.repaired and damage.kind == "image":
            report["RemovedImages"][damage.id] = []
        elif damage.repaired and damage.kind == "container":
            report["RemovedContainers"][damage.id] = ""
    return call.answer(report)


@route("POST", "/auth", tree="docker")
async def auth(call: Call) -> StreamResponse:
    """Try a user name and a password at a registry. Nothing is kept here: the client keeps them."""
    import tempfile

    body = await call.json()
    server = str(body.get("serveraddress") or "docker.io")
    server = server.partition("://")[2] or server
    server = server.removesuffix("/").removesuffix("/v1").removesuffix("/v2")
    server = {"index.docker.io": "docker.io", "registry-1.docker.io": "docker.io"}.get(server, server)
    with tempfile.TemporaryDirectory(prefix="podling-auth") as folder:
        await call.do(
            image_ops.Login(
                registry=server, username=str(body.get("username") or ""), password=str(body.get("password") or ""),
                authfile=f"{folder}/auth.json", tls_verify=call.flag("tlsVerify") if call.has("tlsVerify") else None,
            )
        )  # fmt: skip
    return call.answer({"IdentityToken": "", "Status": "Login Succeeded"})


@route("GET", "/swagger", tree="libpod")
async def swagger(call: Call) -> StreamResponse:
    """This API as an OpenAPI document."""
    return call.answer(openapi.document())


# -- what Docker has and Podman answers without having it
for _family in ("swarm", "services", "nodes", "tasks", "configs"):

    @route("GET POST DELETE PUT", f"/{_family}", tree="docker")
    @route("GET POST DELETE PUT", f"/{_family}/{{rest}}", tree="docker")
    async def no_swarm(call: Call) -> StreamResponse:
        """Docker's swarm does not exist here: 503, as a node that is in none answers."""
        return fail(503, "node is not part of a swarm", "this node is not a swarm manager")


@route("GET POST DELETE", "/plugins", tree="docker")
@route("GET POST DELETE", "/plugins/{rest}", tree="docker")
async def no_plugins(call: Call) -> StreamResponse:
    """Docker's plugins do not exist here: an empty list."""
    if call.request.method == "GET" and not call.names:
        return call.answer([])
    return fail(404, "plugins do not exist here", "no such plugin")


@route("GET", "/distribution/{image}/json", tree="docker")
async def distribution(call: Call) -> StreamResponse:
    """Docker's question for an image at its registry is not answered: 501."""
    return fail(501, "distribution information is not supported", "not supported")


@route("POST", "/session", tree="docker")
@route("POST", "/grpc", tree="docker")
async def no_buildkit(call: Call) -> StreamResponse:
    """BuildKit's connections are not served: clients fall back to the classic builder."""
    return fail(404, "BuildKit is not served: build with DOCKER_BUILDKIT=0", "page not found")
