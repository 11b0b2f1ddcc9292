"""A connection that stops being HTTP: attach and exec (Docker's `hijack`, with or without `Upgrade: tcp`).

With a terminal the bytes go through as they are. Without one, output comes in frames: a byte for the stream (0 input, 1 output,
2 errors), three zeros, the length in four bytes (big-endian), the data.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from typing import Any

    from podling.api.call import Call

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"


def frame(stream: int, data: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


class Taken(web.Response):
    """What a handler returns whose connection no longer speaks HTTP: nothing more is written."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        return None

    async def write_eof(self, data: Any = b"") -> None:
        pass


class Channel:
    """Both directions of a hijacked connection, for the length of a `with` block."""

    def __init__(self, call: Call, content_type: str) -> None:
        self._call = call
        self._content_type = content_type
        self._former: asyncio.BaseProtocol | None = None

    @property
    def is_open(self) -> bool:
        return self._former is not None

    async def open(self) -> None:
        """Send the head, and take the connection over."""
        request = self._call.request
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self.reader = asyncio.StreamReader(limit=1 << 20)
        protocol = asyncio.StreamReaderProtocol(self.reader)
        protocol.connection_made(transport)
        self._former = transport.get_protocol()
        transport.set_protocol(protocol)
        if not transport.is_reading():
            transport.resume_reading()
        early = getattr(request.protocol, "_message_tail", b"")  # what came right behind the request
        if early:
            self.reader.feed_data(early)
        self.writer = asyncio.StreamWriter(transport, protocol, self.reader, asyncio.get_running_loop())
        upgrade = request.headers.get("Upgrade", "")
        head = (
            ["HTTP/1.1 101 UPGRADED", "Connection: Upgrade", f"Upgrade: {upgrade}"] if upgrade else ["HTTP/1.1 200 OK"]
        )
        head.append(f"Content-Type: {self._content_type}")
        head += [f"{name}: {value}" for name, value in self._call.service.headers.items()]
        self.writer.write(("\r\n".join(head) + "\r\n\r\n").encode())

    async def close(self) -> None:
        """The rest is sent, and the connection ends; aiohttp's own protocol sees it end, to forget it."""
        if self._former is None:
            return
        transport = self.writer.transport
        try:
            await self.writer.drain()
        except ConnectionError:
            pass
        transport.set_protocol(self._former)
        self._former = None
        self._call.request.protocol.force_close()
        transport.close()

    async def __aenter__(self) -> Channel:
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError when the client has gone."""
        self.writer.write(data)
        await self.writer.drain()
