"""The catalogue itself, for clients of ours: any operation, with its descriptors, its progress and its typed result."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from podling.api.call import fail
from podling.api.hijack import Channel, Taken
from podling.api.router import route
from podling.api.streams import batches
from podling.engine import wire
from podling.errors import PodlingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from aiohttp.web import StreamResponse

    from podling.api.call import Call
    from podling.engine.catalogue.base import Operation

_CHUNK = 1 << 16


@route("POST", "/podling/call", tree="docker")
async def call_operation(call: Call) -> StreamResponse:
    """Execute one operation of the catalogue over this connection (`Upgrade: podling/1`)."""
    if call.request.headers.get("Upgrade") != wire.PROTOCOL:
        return fail(426, f"this service speaks {wire.PROTOCOL} here", "wrong protocol")
    async with Channel(call, "application/vnd.podling.operations") as channel:
        try:
            await _execute(call, channel)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
    return Taken()


async def _read(channel: Channel) -> tuple[bytes, bytes]:
    kind, length = wire.parse_head(await channel.reader.readexactly(wire.HEAD))
    return kind, await channel.reader.readexactly(length)


def _giving(protocol: asyncio.StreamReaderProtocol) -> Callable[[], asyncio.StreamReaderProtocol]:
    return lambda: protocol


class _Descriptors:
    """Pipes in place of the descriptors that the client has."""

    def __init__(self, operation: Operation, channel: Channel) -> None:
        self._channel = channel
        self._writers: list[asyncio.StreamWriter | None] = []
        self._pumps: list[asyncio.Task[None]] = []
        self._ours: list[int] = []
        self._operation = operation

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for name in self._operation.inputs:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            setattr(self._operation, name, reader)
            self._ours.append(reader)
            transport, protocol = await loop.connect_write_pipe(
                lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(writer, "wb", buffering=0)
            )
            self._writers.append(asyncio.StreamWriter(transport, protocol, None, loop))
        for position, name in enumerate(self._operation.outputs):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            setattr(self._operation, name, writer)
            self._ours.append(writer)
            stream = asyncio.StreamReader(limit=_CHUNK)
            protocol = asyncio.StreamReaderProtocol(stream)
            await loop.connect_read_pipe(_giving(protocol), os.fdopen(reader, "rb", buffering=0))
            self._pumps.append(asyncio.ensure_future(self._pump(position, stream)))

    async def _pump(self, position: int, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(_CHUNK):
            await self._channel.send(wire.frame(b"D", bytes((position,)) + data))

    async def feed(self) -> None:
        """Input of the client, for as long as it sends some."""
        while True:
            kind, data = await _read(self._channel)
            if kind != b"I" or not data or data[0] >= len(self._writers):
                continue
            writer = self._writers[data[0]]
            if writer is None:
                continue
            try:
                if len(data) > 1:
                    writer.write(data[1:])
                    await writer.drain()
                    continue
            except (ConnectionError, RuntimeError):
                pass  # the operation wants no more
            writer.close()
            self._writers[data[0]] = None

    def close_ours(self) -> None:
        """The operation has ended."""
        while self._ours:
            os.close(self._ours.pop())

    async def drain(self) -> None:
        """All that was written is sent."""
        self.close_ours()
        await asyncio.gather(*self._pumps)

    def close(self) -> None:
        self.close_ours()
        for writer in self._writers:
            if writer is not None:
                writer.close()
        for pump in self._pumps:
            pump.cancel()


async def _execute(call: Call, channel: Channel) -> None:
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[bytes] = asyncio.Queue()

    def tell(kind: bytes, value: Any) -> None:
        loop.call_soon_threadsafe(told.put_nowait, wire.frame(kind, wire.dump(value)))

    async def forward() -> None:
        while True:
            await channel.send(await told.get())

    descriptors: _Descriptors | None = None
    tasks: list[asyncio.Future[Any]] = []
    try:
        _, data = await _read(channel)
        operation = wire.load_operation(data)
        if "patient" in operation._fields:
            operation.patient = False  # type: ignore[attr-defined]
        descriptors = _Descriptors(operation, channel)
        await descriptors.open()
        engine = call.engine.told(
            warn=lambda text: tell(b"W", text),
            progress=lambda text: tell(b"P", text),
            meter=lambda *values: tell(b"M", list(values)),
        )
        work = asyncio.ensure_future(call.service.run(engine.call, operation))
        feed = asyncio.ensure_future(descriptors.feed())
        forwarding = asyncio.ensure_future(forward())
        tasks += [feed, forwarding]
        await asyncio.wait((work, feed), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():  # the client has gone: what it no longer reads ends the operation where it writes
            descriptors.close()
        result = await work
        await descriptors.drain()
        if hasattr(result, "__next__"):
            async for items in batches(call, lambda: result):
                if feed.done():
                    return
                if items:
                    await channel.send(wire.frame(b"Y", wire.dump(items)))
            result = None
        while not told.empty():
            await asyncio.sleep(0)
        await channel.send(wire.frame(b"R", wire.dump(result)))
    except PodlingError as error:
        while not told.empty():
            await asyncio.sleep(0)
        await channel.send(wire.frame(b"E", wire.dump(error)))
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        raise
    except Exception as error:
        await channel.send(wire.frame(b"E", wire.dump(error)))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if descriptors is not None:
            descriptors.close()
