"""From a method and a path to the function that answers.

Paths may begin with a version (`/v1.44`, `/v5.7.1/libpod`). A name in braces is one or more path segments where it stands for an
image or a manifest (`/images/localhost/web:1/json`), and one segment elsewhere; both may be percent-encoded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from aiohttp.web import StreamResponse

    from podling.api.call import Call

    Handler = Callable[[Call], Awaitable[StreamResponse]]

_VERSION = re.compile(r"/v\d+(?:\.\d+){0,3}(?=/)")
_LIBPOD = "/libpod"


class Route(NamedTuple):
    """`path` as written in Podman's documentation, without version and tree."""

    method: str
    path: str
    libpod: bool
    handler: Handler
    pattern: re.Pattern[str]
    summary: str


class Found(NamedTuple):
    handler: Handler
    libpod: bool
    names: dict[str, str]
    version: tuple[int, ...]


class WrongMethod(Exception):
    """The path exists, but not with this method; the methods that do."""


_ROUTES: dict[tuple[bool, str], list[Route]] = {}


def route(method: str, path: str, *, tree: str = "both") -> Callable[[Handler], Handler]:
    """Register a handler; `tree` is docker, libpod or both. Several methods are separated by spaces."""

    def register(handler: Handler) -> Handler:
        pattern = re.compile(re.sub(r"\{(\w+)\}", _group, path) + "/?")
        summary = (handler.__doc__ or handler.__name__.replace("_", " ").capitalize()).partition("\n")[0]
        for libpod in (False, True) if tree == "both" else (tree == "libpod",):
            table = _ROUTES.setdefault((libpod, _family(path)), [])
            table += [Route(word, path, libpod, handler, pattern, summary) for word in method.split()]
        return handler

    return register


def _group(match: re.Match[str]) -> str:
    name = match[1]
    # `destination` of a manifest push and names of images hold slashes
    several = name in ("image", "manifest", "destination", "artifact", "rest")
    return f"(?P<{name}>.+)" if several else f"(?P<{name}>[^/]+)"


def _family(path: str) -> str:
    return path.split("/", 2)[1].partition("{")[0]


def routes() -> Iterator[Route]:
    for table in _ROUTES.values():
        yield from table


def find(method: str, path: str) -> Found | None:
    """The handler for a raw (percent-encoded) path; None when there is none.

    Raises:
        WrongMethod: with the methods that the path has.
    """
    from urllib.parse import unquote

    version = _VERSION.match(path)
    numbers: tuple[int, ...] = ()
    if version:
        numbers = tuple(int(part) for part in version[0][2:].split("."))
        path = path[version.end() :]
    libpod = path.startswith(_LIBPOD + "/")
    if libpod:
        path = path[len(_LIBPOD) :]
    others = []
    for entry in _ROUTES.get((libpod, _family(path)), ()):
        match = entry.pattern.fullmatch(path)
        if match is None:
            continue
        if entry.method == method:
            names = {name: unquote(text) for name, text in match.groupdict().items()}
            return Found(entry.handler, libpod, names, numbers)
        others.append(entry.method)
    if others:
        raise WrongMethod(", ".join(sorted(set(others))))
    return None
