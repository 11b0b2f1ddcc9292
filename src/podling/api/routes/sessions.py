"""What goes in and out of containers: attach, exec sessions, archives of files."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING

from aiohttp import web

from podling.api.hijack import MULTIPLEXED, RAW, Channel, Taken, frame
from podling.api.joined import join, join_channel
from podling.api.router import route
from podling.api.streams import batches, download, upload
from podling.engine.catalogue import containers as ops
from podling.engine.types import ExecOptions
from podling.errors import InvalidInput, PodlingError

if TYPE_CHECKING:
    from typing import Any

    from aiohttp.web import StreamResponse

    from podling.api.call import Call
    from podling.core.sessions import Link


# -- attach
@route("POST", "/containers/{name}/attach")
async def attach(call: Call) -> StreamResponse:
    """Join a container's streams: the connection is taken over (101 with `Upgrade: tcp`, else 200)."""
    stdin, stdout, stderr = (call.flag(name, default=call.libpod) for name in ("stdin", "stdout", "stderr"))
    stream, logs = call.flag("stream", default=call.libpod), call.flag("logs")
    if not (stream or logs):
        raise InvalidInput("at least one of stream or logs must be set")
    document = await call.do(ops.InspectContainer(name=call.name))
    tty, interactive = document["Config"]["Tty"], document["Config"]["OpenStdin"]
    link: Link | None = None
    if stream:
        link = await call.do(ops.OpenContainer(name=document["Id"], detach_keys=call.text("detachKeys")))
    try:
        async with Channel(call, RAW if tty or call.libpod else MULTIPLEXED) as channel:
            if logs:
                await _send_log(call, channel, document["Id"], tty)
            if link is not None:
                await join_channel(channel, link, stdin=stdin and interactive, stdout=stdout, stderr=stderr)
    finally:
        if link is not None:
            link.close()
    return Taken()


async def _send_log(call: Call, channel: Channel, id: str, tty: bool) -> None:
    """What was written before."""
    operation = ops.ContainerLogs(name=id, patient=False)
    async for lines in batches(call, lambda: call.engine.call(operation)):
        for line in lines:
            await channel.send(line.text if tty else frame(1 if line.stream == "stdout" else 2, line.text))


@route("GET", "/containers/{name}/attach/ws", tree="docker")
async def attach_websocket(call: Call) -> StreamResponse:
    """Join a container's streams over a WebSocket; output comes unframed, in binary messages."""
    socket = web.WebSocketResponse()
    if not socket.can_prepare(call.request):
        raise InvalidInput("this path speaks WebSocket alone")
    link: Link = await call.do(ops.OpenContainer(name=call.name, detach_keys=call.text("detachKeys")))
    try:
        await socket.prepare(call.request)

        async def read() -> bytes:
            message = await socket.receive()
            if message.type == web.WSMsgType.TEXT:
                return str(message.data).encode()
            return message.data if message.type == web.WSMsgType.BINARY else b""

        async def send(data: bytes) -> None:
            await socket.send_bytes(data if link.tty else data[8:])

        await join(link, read, send)
        await socket.close()
    finally:
        link.close()
    return socket


@route("POST", "/containers/{name}/resize")
async def resize(call: Call) -> StreamResponse:
    """Give a container's terminal `h` rows and `w` columns."""
    rows, columns = call.number("h"), call.number("w")
    if call.flag("running") and not (await call.do(ops.ContainerState(name=call.name))).pid:
        return call.done(200)
    await call.do(ops.ResizeContainer(name=call.name, rows=rows, columns=columns))
    return call.answer({}, 200)


# -- exec
@route("POST", "/containers/{name}/exec")
async def create_exec(call: Call) -> StreamResponse:
    """Prepare an exec session; its id."""
    body = await call.json()
    command = body.get("Cmd") or []
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise InvalidInput("Cmd: not a list of strings")
    options = ExecOptions(
        command=command, env=[str(item) for item in body.get("Env") or ()], workdir=str(body.get("WorkingDir") or ""),
        user=str(body.get("User") or ""), privileged=bool(body.get("Privileged")), tty=bool(body.get("Tty")),
        interactive=bool(body.get("AttachStdin")),
    )  # fmt: skip
    if body.get("DetachKeys"):
        options.detach_keys = str(body["DetachKeys"])
    id = await call.do(ops.CreateExec(name=call.name, options=options))
    return call.answer({"Id": id}, 201)


@route("POST", "/exec/{id}/start")
async def start_exec(call: Call) -> StreamResponse:
    """Run a prepared session: joined to this connection, or with `Detach` in the background."""
    body = await call.json()
    id = call.names["id"]
    if body.get("Detach"):
        await call.do(ops.StartExec(id=id, attach=False))
        return call.done(204 if not call.libpod else 200)
    session = await call.do(ops.InspectExec(id=id))
    tty = session["ProcessConfig"]["tty"]
    channel = Channel(call, RAW if tty or call.libpod else MULTIPLEXED)
    loop = asyncio.get_running_loop()

    def ready() -> None:
        """The head is sent before the process begins: clients lose output that comes with it."""
        asyncio.run_coroutine_threadsafe(channel.open(), loop).result()

    link: Link | None = None
    try:
        link = await call.do(ops.StartExec(id=id, ready=ready))
        assert link is not None
        if tty and body.get("h") and body.get("w"):
            await call.do(ops.ResizeExec(id=id, rows=int(body["h"]), columns=int(body["w"])))
        await join_channel(channel, link, stdin=session["OpenStdin"], stdout=True, stderr=True)
        await call.do(ops.InspectExec(id=id))  # its exit code is known before the client asks
    except PodlingError as error:
        if not channel.is_open:
            raise
        await channel.send(f"{error}\r\n".encode() if tty else frame(2, f"{error}\n".encode()))
    finally:
        if link is not None:
            link.close()
        await channel.close()
    return Taken()


@route("GET", "/exec/{id}/json")
async def inspect_exec(call: Call) -> StreamResponse:
    """An exec session: whether it runs, and its exit code."""
    return call.answer(await call.do(ops.InspectExec(id=call.names["id"])))


@route("POST", "/exec/{id}/resize")
async def resize_exec(call: Call) -> StreamResponse:
    """Give a session's terminal `h` rows and `w` columns."""
    id = call.names["id"]
    if call.flag("running") and not (await call.do(ops.InspectExec(id=id)))["Running"]:
        return call.done(201)
    await call.do(ops.ResizeExec(id=id, rows=call.number("h"), columns=call.number("w")))
    return call.answer({}, 201)


@route("POST", "/exec/{id}/remove", tree="libpod")
async def remove_exec(call: Call) -> StreamResponse:
    """Forget an exec session; with `Force` in the body one that runs too."""
    body = await call.json()
    await call.do(ops.RemoveExec(id=call.names["id"], force=bool(body.get("Force") or body.get("force"))))
    return call.done()


# -- files
_STAT = "X-Docker-Container-Path-Stat"


@route("HEAD", "/containers/{name}/archive")
async def stat_archive(call: Call) -> StreamResponse:
    """What a path in a container is, in the header X-Docker-Container-Path-Stat."""
    response = web.Response(status=200)
    response.headers[_STAT] = await _stat(call)
    return response


@route("GET", "/containers/{name}/archive")
async def get_archive(call: Call) -> StreamResponse:
    """A path of a container, as a tar."""
    headers = {_STAT: await _stat(call)}
    source = f"{call.name}:{_path(call)}"
    rename = _rename(call)
    return await download(
        call,
        lambda fd: ops.CopyFiles(source=source, target="-", stdout=fd, rename=rename),
        "application/x-tar",
        headers,
    )


@route("PUT", "/containers/{name}/archive")
async def put_archive(call: Call) -> StreamResponse:
    """Unpack the tar in the body into a folder of a container."""
    target, rename = f"{call.name}:{_path(call)}", _rename(call)
    chown = call.flag("copyUIDGID", default=call.libpod)
    overwrite = not call.flag("noOverwriteDirNonDir")
    await call.do(ops.StatPath(name=call.name, path=_path(call)))
    await upload(
        call,
        lambda fd: ops.CopyFiles(
            source="-", target=target, stdin=fd, archive=chown, overwrite=overwrite, rename=rename
        ),
    )
    return call.done(200)


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise InvalidInput("missing `path` parameter")
    return path


def _rename(call: Call) -> dict[str, str]:
    text = call.text("rename")
    if not text:
        return {}
    try:
        document = json.loads(text)
        return {str(old): str(new) for old, new in document.items()}
    except (ValueError, AttributeError):
        raise InvalidInput(f"failed to parse parameters: rename={text!r} is not a map") from None


async def _stat(call: Call) -> str:
    found: dict[str, Any] = await call.do(ops.StatPath(name=call.name, path=_path(call)))
    return base64.b64encode(json.dumps(found).encode()).decode()


@route("GET", "/containers/{name}/export")
async def export(call: Call) -> StreamResponse:
    """A container's file system, as a tar."""
    await call.do(ops.ContainerState(name=call.name))
    return await download(call, lambda fd: ops.ExportContainer(name=call.name, fd=fd), "application/x-tar")
