"""Answers that are known before a request is taken apart: `/_ping`, and lists that stand in the cache.

Health checks and dashboards ask for them again and again, and most of the time goes into the making of a request and a response that say
nothing new. A whole request without a body, on a connection where nothing else is under way, is answered at once; everything else goes
its usual way through aiohttp.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from podling.api import router

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.api.cache import Answers

#: longer heads, and those that ask for more than the document, are not looked at here
_LONGEST = 4096
_SPECIAL = re.compile(
    rb"\n(?:connection:(?! keep-alive\r)|upgrade:|expect:|content-length:|transfer-encoding:|range:|if-)", re.I
)
_END = b"\r\n\r\n"
PING = {
    "Buildah-Version": "1.42.0", "Builder-Version": "1", "Docker-Experimental": "true", "Ostype": "linux",
    "Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache",
}  # fmt: skip


class Known:
    """The bytes that answer a request, where they are known. `headers` are those of all answers."""

    def __init__(self, headers: dict[str, str], answers: Answers) -> None:
        self._answers = answers
        common = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._json = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{common}".encode("latin-1")
        ping = "".join(f"{name}: {value}\r\n" for name, value in PING.items())
        self._ping = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n{ping}{common}".encode(
                "latin-1"
            )
        )
        self._is_ping: dict[bytes, bool] = {}
        self._second = 0
        self._date = b""

    def __call__(self, data: bytes) -> bytes | None:
        line, _, rest = data.partition(b"\r\n")
        if (
            not line.endswith(b" HTTP/1.1")
            or len(data) > _LONGEST
            or data.find(_END) != len(data) - 4
            or _SPECIAL.search(rest, 0)
        ):
            return None
        path = line[4:-9]
        if path.endswith(b"/_ping"):
            return self._ping + self._dated() + b"\r\nOK" if self._pings(path) else None
        if b"/containers/json" not in path:
            return None
        body = self._answers.get(path.decode("latin-1"))
        if body is None:
            return None
        return b"%sContent-Length: %d\r\n%s\r\n%s" % (self._json, len(body), self._dated(), body)

    def _pings(self, path: bytes) -> bool:
        known = self._is_ping.get(path)
        if known is None:
            found = router.find("GET", path.decode("latin-1"))
            known = found is not None and found.handler.__name__ == "ping"
            if len(self._is_ping) < 64:
                self._is_ping[path] = known
        return known

    def _dated(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._date


class Handler(RequestHandler):
    """aiohttp's protocol of one connection, with `known` in front of it."""

    __slots__ = ("_only_heads", "known")

    known: Callable[[bytes], bytes | None]
    _only_heads: bool

    def data_received(self, data: bytes) -> None:
        if self._only_heads:
            if data.startswith(b"GET /") and self._is_idle():
                answer = self.known(data)
                if answer is not None and self.transport is not None:
                    self._request_count += 1
                    self.transport.write(answer)
                    return
            # once there was a body, or a part of a head, we no longer know where a request begins
            self._only_heads = (
                data.startswith((b"GET ", b"HEAD ")) and data.endswith(_END) and not _SPECIAL.search(data)
            )
        super().data_received(data)

    def _is_idle(self) -> bool:
        """aiohttp waits for a request: no other one is under way, none waits, and the connection has not become something else."""
        return (
            self._waiter is not None
            and not self._waiter.done()
            and not self._messages
            and self._current_request is None
        )


class FrontServer(web.Server):
    """A server whose connections have `known` in front; None for none."""

    def __init__(self, handler: Any, known: Callable[[bytes], bytes | None] | None, **options: Any) -> None:
        super().__init__(handler, **options)
        self._known = known

    def __call__(self) -> RequestHandler:
        if self._known is None:
            return super().__call__()
        handler = Handler(self, loop=self._loop, **self._kwargs)
        handler.known, handler._only_heads = self._known, True
        return handler
