"""The API as an OpenAPI 3.1 document, from the routes that are registered and the structs that bodies are read into."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

from podling.version import VERSION

if TYPE_CHECKING:
    from typing import Any

_ERROR = {
    "type": "object",
    "required": ["cause", "message", "response"],
    "properties": {"cause": {"type": "string"}, "message": {"type": "string"}, "response": {"type": "integer"}},
}
_READS = re.compile(r"call\.(text|flag|number|many|has|filters)\(([^()]*)\)")
_WORD = re.compile(r'"(\w[\w-]*)"')
_TYPES = {"text": "string", "has": "string", "flag": "boolean", "number": "integer", "many": "array"}


def document() -> dict[str, Any]:
    """Every route with its parameters."""
    from podling.api import router

    paths: dict[str, Any] = {}
    for entry in router.routes():
        path = ("/libpod" if entry.libpod else "") + entry.path
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", entry.path)
        ]
        parameters += _query(entry.handler)
        source = inspect.getsource(entry.handler)
        operation: dict[str, Any] = {
            "summary": entry.summary,
            "tags": ["libpod" if entry.libpod else "docker"],
            "parameters": parameters,
            "responses": {
                "2XX": {"description": "done"},
                "default": {
                    "description": "an error",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                },
            },
        }
        if entry.method in ("POST", "PUT") and "call.json()" in source:
            operation["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}}
        elif entry.method in ("POST", "PUT") and ("upload(" in source or ".read()" in source):
            operation["requestBody"] = {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
        paths.setdefault(path, {})[entry.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Podling", "version": VERSION, "summary": "The REST API of Podman and of Docker"},
        "servers": [{"url": "/v5.7.1"}, {"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": {"Error": _ERROR}},
    }


def _query(handler: Any) -> list[dict[str, Any]]:
    """The parameters that a handler reads, as its source says: a list beside it would drift."""
    found: dict[str, str] = {}
    module = inspect.getmodule(handler)
    source = inspect.getsource(handler)
    for name in re.findall(r"\b(_\w+)\(call\b", source):  # helpers of the same module
        helper = getattr(module, name, None)
        if inspect.isfunction(helper):
            source += inspect.getsource(helper)
    for kind, arguments in _READS.findall(source):
        if kind == "filters":
            found["filters"] = "string"
            continue
        for word in _WORD.findall(arguments.partition("default=")[0]):
            found.setdefault(word, _TYPES[kind])
    return [
        {
            "name": name,
            "in": "query",
            "schema": {"type": "array", "items": {"type": "string"}} if kind == "array" else {"type": kind},
        }
        for name, kind in sorted(found.items())
    ]
