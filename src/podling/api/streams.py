"""Answers at length: what an operation writes to a descriptor, yields, or tells on its way."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

from aiohttp import web

from podling.api.call import dumps
from podling.errors import PodlingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    from podling.api.call import Call
    from podling.engine.catalogue.base import Operation

_CHUNK = 1 << 18
#: how many items of a generator one visit of a thread takes at most
_BATCH = 500
#: seconds between two looks for news
POLL = 0.1


# -- bytes
async def download(
    call: Call, write: Callable[[int], Operation | None], content_type: str, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """Send what an operation (or `write` itself) writes to a descriptor. An error before the first byte is an answer like any other."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)

    def work() -> None:
        try:
            operation = write(write_fd)
            if operation is not None:
                call.engine.call(operation)
        except BrokenPipeError:
            pass  # the client has gone
        finally:
            os.close(write_fd)

    task = asyncio.ensure_future(call.service.run(work))
    reader = asyncio.StreamReader(limit=_CHUNK)
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", buffering=0)
    )
    try:
        first = await reader.read(_CHUNK)
        if not first:
            await task
        response = await begin(call, content_type, headers)
        while first:
            await response.write(first)
            first = await reader.read(_CHUNK)
        try:
            await task
        except PodlingError:
            _cut(call)  # too late for a status: the client must not take it for the whole
        return response
    finally:
        pipe.close()


async def begin(call: Call, content_type: str, headers: dict[str, str] | None = None) -> web.StreamResponse:
    """Send the head of an answer of unknown length."""
    response = web.StreamResponse(headers={"Content-Type": content_type, **call.service.headers, **(headers or {})})
    await response.prepare(call.request)
    return response


def _cut(call: Call) -> None:
    if call.request.transport is not None:
        call.request.transport.abort()


async def upload(
    call: Call, operation: Callable[[int], Operation], run: Callable[[Operation], Any] | None = None
) -> Any:
    """Let an operation read the request's body from a descriptor; its result."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)

    def work() -> Any:
        try:
            return (run or call.engine.call)(operation(read_fd))
        finally:
            os.close(read_fd)

    task = asyncio.ensure_future(call.service.run(work))
    await feed(call, write_fd)
    return await task


async def feed(call: Call, fd: int) -> None:
    """Write the request's body to a pipe, for as long as somebody reads it."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(fd, "wb", buffering=0)
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        async for chunk in call.request.content.iter_chunked(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    except (ConnectionError, RuntimeError):
        pass  # the operation has stopped reading: it says why
    finally:
        writer.close()


# -- lines of JSON
class Lines:
    """An answer of one JSON document a line, begun with the first."""

    def __init__(self, call: Call, content_type: str = "application/json") -> None:
        self._call, self._type = call, content_type
        self.response: web.StreamResponse | None = None

    async def send(self, *documents: Any) -> None:
        if self.response is None:
            self.response = await begin(self._call, self._type)
        if documents:
            await self.response.write(b"".join(dumps(document) + b"\r\n" for document in documents))

    async def end(self) -> web.StreamResponse:
        await self.send()
        assert self.response is not None
        return self.response


async def progress(
    call: Call, operation: Operation, told: Callable[[str], Any], metered: Callable[[str, int, int], Any] | None = None
) -> AsyncIterator[Any]:
    """What an operation tells on its way, in documents made by `told` and `metered`; the last item is its result."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Any] = asyncio.Queue()

    def put(document: Any) -> None:
        if document is not None:
            loop.call_soon_threadsafe(queue.put_nowait, document)

    engine = call.engine.told(
        progress=lambda text: put(told(text)),
        meter=(lambda what, more, total: put(metered(what, more, total))) if metered else None,
    )
    task = asyncio.ensure_future(call.do(operation, engine))
    end = object()
    task.add_done_callback(lambda _: loop.call_soon(queue.put_nowait, end))
    while (item := await queue.get()) is not end:
        yield item
    yield await task


# -- generators
async def batches(call: Call, make: Callable[[], Iterator[Any]]) -> AsyncIterator[list[Any]]:
    """What a generator yields, in lists; it runs in the threads. Its None means "nothing now": it is asked again a little later.

    An empty list comes with every pause, so that the caller can look whether its client is still there.
    """
    generator = await call.service.run(make)
    lock = threading.Lock()

    def take() -> tuple[list[Any], bool]:
        found: list[Any] = []
        with lock:
            for item in generator:
                if item is None:
                    return found, True
                found.append(item)
                if len(found) == _BATCH:
                    return found, True
        return found, False

    def close() -> None:
        with lock:  # a thread may still be at it when its client has gone
            getattr(generator, "close", lambda: None)()

    try:
        more = True
        while more:
            found, more = await call.service.run(take)
            yield found
            if more and len(found) < _BATCH:
                await asyncio.sleep(POLL)
    finally:
        await asyncio.shield(call.service.run(close))
