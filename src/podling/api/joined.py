"""A client's connection joined to a container's streams: conmon's packets one way, what is typed the other."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from podling.api.hijack import Channel, frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from podling.core.sessions import Link

#: conmon's packets: a byte for the stream and 8 KiB; it takes as much of what is typed
_PACKET, _INPUT = 8193, 8192
_STDOUT, _STDERR = 2, 3
#: seconds between looks for the exit file once the process has ended
_DRAIN = 0.005


async def join(
    link: Link,
    read: Callable[[], Awaitable[bytes]],
    send: Callable[[bytes], Awaitable[None]],
    *,
    stdin: bool = True,
    stdout: bool = True,
    stderr: bool = True,
) -> None:
    """Carry bytes until the process has ended, the user has detached, or the client has gone.

    `read` gives what comes from the client, b"" at its end; `send` gets raw output with a terminal and frames without.
    """
    wanted = {_STDOUT: stdout or link.tty, _STDERR: stderr}

    async def output() -> None:
        async for kind, data in _packets(link):
            if wanted.get(kind):
                await send(data if link.tty else frame(kind - 1, data))

    async def input() -> bool:
        """Whether the user has detached."""
        loop = asyncio.get_running_loop()
        while data := await read():
            if not stdin:
                continue
            data, detached = link.keys.feed(data)
            for begin in range(0, len(data), _INPUT):
                try:
                    await loop.sock_sendall(link.socket, data[begin : begin + _INPUT])
                except OSError:
                    return False  # it has closed its side: what it writes still counts
            if detached:
                return True
        if stdin and not link.tty:  # a terminal has no end of input: its client has gone, or detached
            link.end_input()
        return False

    out, typed = asyncio.ensure_future(output()), asyncio.ensure_future(input())
    try:
        done, _ = await asyncio.wait((out, typed), return_when=asyncio.FIRST_COMPLETED)
        if (typed in done and not typed.exception() and not typed.result()) or out in done:
            await out
    except ConnectionError:
        pass
    finally:
        for task in (out, typed):
            task.cancel()
        await asyncio.gather(out, typed, return_exceptions=True)


async def _packets(link: Link) -> AsyncIterator[tuple[int, bytes]]:
    """(stream, data) of each packet, until conmon closes or the process has ended and all it wrote was read."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    fd = _watch(link.pid, ended)
    try:
        while True:
            receive = asyncio.ensure_future(loop.sock_recv(link.socket, _PACKET))
            try:
                if not ended.done():
                    await asyncio.wait((receive, ended), return_when=asyncio.FIRST_COMPLETED)
                while not receive.done():
                    drained = link.has_ended
                    await asyncio.wait((receive,), timeout=_DRAIN)
                    if drained and not receive.done():
                        return
                packet = receive.result()
            except ConnectionResetError:
                continue  # conmon went with input unread, and what it sent before that is still to come
            except OSError:
                return
            finally:
                receive.cancel()
            if not packet:
                return
            yield packet[0], packet[1:]
    finally:
        if fd >= 0:
            loop.remove_reader(fd)
            os.close(fd)


def _watch(pid: int, ended: asyncio.Future[None]) -> int:
    """Resolve `ended` when the process has ended; the descriptor that tells."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        ended.set_result(None)
        return -1
    loop = asyncio.get_running_loop()

    def tell() -> None:
        loop.remove_reader(fd)
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(fd, tell)
    return fd


async def join_channel(channel: Channel, link: Link, *, stdin: bool, stdout: bool, stderr: bool) -> None:
    await join(
        link, lambda: channel.reader.read(65536), channel.send, stdin=stdin, stdout=stdout, stderr=stderr
    )  # fmt: skip
