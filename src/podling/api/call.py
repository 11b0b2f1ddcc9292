"""One request: its parameters, its body, the engine's operations run for it, and its answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web

from podling.errors import InvalidInput, PodlingError

if TYPE_CHECKING:
    from typing import Any

    from podling.api.server import Service
    from podling.engine.catalogue.base import Operation, Report
    from podling.engine.local import Engine

_YES = ("1", "t", "true", "on", "yes")
_NO = ("", "0", "f", "false", "off", "no", "none")
#: the longest JSON document that a client may send, in bytes
MOST_JSON = 8 << 20


class Call:
    """`libpod` tells the dialect; `names` are the parts of the path."""

    def __init__(
        self,
        service: Service,
        request: web.BaseRequest,
        libpod: bool,
        names: dict[str, str],
        version: tuple[int, ...] = (),
    ) -> None:
        self.service = service
        self._version = version
        self.request = request
        self.libpod = libpod
        self.names = names
        self._query: dict[str, list[str]] = {}
        for key, value in request.query.items():
            self._query.setdefault(key.lower(), []).append(value)

    @property
    def name(self) -> str:
        return self.names["name"]

    @property
    def is_podman_4(self) -> bool:
        """The client speaks libpod's API of Podman 4, some of whose shapes were others."""
        return self.libpod and len(self._version) > 0 and self._version < (5,)

    @property
    def engine(self) -> Engine:
        return self.service.engine

    # -- parameters: names in the query are told apart without regard to case, as Podman's are
    def has(self, *names: str) -> bool:
        return any(name.lower() in self._query for name in names)

    def text(self, *names: str, default: str = "") -> str:
        """The first of the parameters that was given."""
        for name in names:
            if values := self._query.get(name.lower()):
                return values[0]
        return default

    def many(self, *names: str) -> list[str]:
        """All values of a parameter that may be repeated; a JSON list is one too."""
        found: list[str] = []
        for name in names:
            for value in self._query.get(name.lower(), ()):
                if value.startswith("["):
                    try:
                        items = json.loads(value)
                    except ValueError:
                        items = [value]
                    found += [str(item) for item in items]
                else:
                    found.append(value)
        return found

    def flag(self, *names: str, default: bool = False) -> bool:
        for name in names:
            if values := self._query.get(name.lower()):
                if values[0].lower() in _YES:
                    return True
                if values[0].lower() in _NO:
                    return False
                raise InvalidInput(f"failed to parse parameters: {name}={values[0]!r} is neither true nor false")
        return default

    def number(self, *names: str, default: int = 0) -> int:
        for name in names:
            if values := self._query.get(name.lower()):
                try:
                    return int(values[0] or default)
                except ValueError:
                    raise InvalidInput(f"failed to parse parameters: {name}={values[0]!r} is not a number") from None
        return default

    def filters(self, known: dict[str, str] | None = None) -> list[str]:
        """The JSON of `filters` as KEY=VALUE; `known` gives keys of another dialect their names here.

        Both forms are taken: {"label": ["a=b"]} and Docker's old {"label": {"a=b": true}}.
        """
        text = self.text("filters")
        if not text:
            return []
        try:
            document = json.loads(text)
        except ValueError:
            raise InvalidInput(f"failed to parse parameters: filters: {text!r} is not JSON") from None
        if not isinstance(document, dict):
            raise InvalidInput("failed to parse parameters: filters: not a map of lists")
        found = []
        for key, values in document.items():
            if isinstance(values, dict):
                values = [value for value, wanted in values.items() if wanted]
            if isinstance(values, str):
                values = [values]
            if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
                raise InvalidInput(f"failed to parse parameters: filters: {key!r} is not a list of strings")
            found += [f"{(known or {}).get(key, key)}={value}" for value in values]
        return found

    async def json(self) -> dict[str, Any]:
        """The body, a JSON object; an empty body is an empty one."""
        data = await self.request.read()
        if not data.strip():
            return {}
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"failed to decode the request's body: {error}") from None
        if not isinstance(document, dict):
            raise InvalidInput("failed to decode the request's body: not a JSON object")
        return document

    # -- work
    async def do(self, operation: Operation, engine: Engine | None = None) -> Any:
        """Execute an operation: in a thread, so that it holds up nobody else, or at once where it is over before a thread would begin."""
        if type(operation).quick and not getattr(operation, "size", False):
            return self.engine.call(operation)
        return await self.service.run((engine or self.engine).call, operation)

    async def do_one(self, operation: Operation) -> Report:
        """Execute an operation on one object; its error is raised."""
        report: Report = await self.do(operation)
        if report.errors:
            raise report.errors[0]
        return report

    def told(self, warnings: list[str]) -> Engine:
        """An engine that puts its warnings into `warnings`."""
        return self.engine.told(warn=warnings.append)

    # -- answers
    def answer(self, document: Any, status: int = 200) -> web.Response:
        return respond(document, status)

    def json_bytes(self, body: bytes) -> web.Response:
        """A document that is bytes already."""
        return web.Response(body=body, content_type="application/json")

    def done(self, status: int = 204) -> web.Response:
        return web.Response(status=status)

    def not_modified(self) -> web.Response:
        return web.Response(status=304)


def dumps(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")


def respond(document: Any, status: int = 200) -> web.Response:
    return web.Response(body=dumps(document) + b"\n", status=status, content_type="application/json")


def fail(status: int, message: str, cause: str = "") -> web.Response:
    """The one shape of all errors."""
    return respond({"cause": cause or message, "message": message, "response": status}, status)


def failure(error: PodlingError) -> web.Response:
    message = str(error) + (f" ({error.hint})" if error.hint else "")
    return fail(error.status, message, error.cause)
