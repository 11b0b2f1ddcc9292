"""Operations and their results as JSON, and the frames in which they go between a client and a service of ours.

A frame is a byte for its kind, the length of what follows (four bytes, big-endian), and that. From the client: `O` the operation, `I` input
for a descriptor of it (a byte for which, then data; none ends it). From the service: `W` a warning, `P` a step of progress, `M` how far a
transfer is, `D` output of a descriptor (a byte for which, then data), `Y` items of a stream, then `R` the result or `E` the error.
"""

from __future__ import annotations

import base64
from importlib import import_module

from podling.engine.catalogue.base import Operation
from podling.errors import InvalidInput, PodlingError
from podling.oci import json
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: the version of all this; a service that speaks another one says so
PROTOCOL = "podling/1"
HEAD = 5
#: a frame is never longer
LONGEST = 16 << 20


def frame(kind: bytes, data: bytes = b"") -> bytes:
    return kind + len(data).to_bytes(4, "big") + data


def parse_head(head: bytes) -> tuple[bytes, int]:
    """(kind, length) of the frame that begins so.

    Raises:
        InvalidInput: no frame of ours is so long.
    """
    length = int.from_bytes(head[1:HEAD], "big")
    if length > LONGEST:
        raise InvalidInput(f"a frame of {length} bytes is none of ours", hint="is that a podling service?")
    return head[:1], length


# -- values
def pack(value: Any) -> Any:
    """A result as JSON values; what JSON does not know is an object with one key that begins with $."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [pack(item) for item in value]
    if isinstance(value, tuple):
        return {"$tuple": [pack(item) for item in value]}
    if isinstance(value, dict):
        return {"$map": {key: pack(item) for key, item in value.items()}}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    kind = type(value)
    if isinstance(value, Record):
        fields = {name: pack(item) for name, item in value.__dict__.items() if name in value._fields}
        return {"$record": f"{kind.__module__}:{kind.__name__}", "fields": fields}
    if isinstance(value, PodlingError):
        fields = {name: item for name, item in value.__dict__.items() if isinstance(item, str | int)}
        return {"$error": f"{kind.__module__}:{kind.__name__}", "fields": fields}
    if isinstance(value, Exception):
        return {"$error": "podling.errors:PodlingError", "fields": pack_foreign(value)}
    if kind.__name__ == "LogLine":
        return {"$log": [value.time, value.stream, base64.b64encode(value.text).decode()]}
    raise TypeError(f"{kind.__name__} does not travel")


def pack_foreign(error: Exception) -> dict[str, Any]:
    text = str(error) or type(error).__name__
    return {"message": text, "hint": "", "cause": text}


def unpack(value: Any) -> Any:
    """The inverse of `pack`.

    Raises:
        InvalidInput: nothing that `pack` makes.
    """
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$map" in value:
        return {key: unpack(item) for key, item in value["$map"].items()}
    if "$tuple" in value:
        return tuple(unpack(item) for item in value["$tuple"])
    if "$bytes" in value:
        return base64.b64decode(value["$bytes"])
    if "$record" in value:
        kind = _class(value["$record"], Record)
        fields = {name: unpack(item) for name, item in value["fields"].items() if name in kind._fields}
        try:
            return kind(**fields)
        except TypeError as error:
            raise InvalidInput(f"{value['$record']}: {error}") from None
    if "$error" in value:
        kind = _class(value["$error"], PodlingError)
        made = PodlingError.__new__(kind)  # its own __init__ takes what only the raiser knew
        Exception.__init__(made, value["fields"].get("message", ""))
        made.__dict__.update(value["fields"])
        return made
    if "$log" in value:
        from podling.runtime.logs import LogLine

        time, stream, text = value["$log"]
        return LogLine(time, stream, base64.b64decode(text))
    raise InvalidInput("that is not a value of ours")


def _class(name: str, base: type[Any]) -> type[Any]:
    """A class of ours by `module:name`; nothing but subclasses of `base`."""
    module, _, attribute = name.partition(":")
    if module != "podling" and not module.startswith("podling."):
        raise InvalidInput(f"{name} is not ours")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError):
        raise InvalidInput(
            f"{name} is not known here", hint="client and service are of different versions: update the older one"
        ) from None
    if not isinstance(found, type) or not issubclass(found, base):
        raise InvalidInput(f"{name} is not a {base.__name__}")
    return found


def dump(value: Any) -> bytes:
    return json.dumps(pack(value)).encode("utf-8", "surrogateescape")


def load(data: bytes) -> Any:
    """Raises InvalidInput."""
    try:
        return unpack(json.loads(data.decode("utf-8", "surrogateescape")))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInput(f"that is not a value of ours: {error}") from None


def load_operation(data: bytes) -> Operation:
    """Raises InvalidInput."""
    operation = load(data)
    if not isinstance(operation, Operation) or not operation.executor:
        raise InvalidInput("that is not an operation")
    if type(operation).local:
        raise InvalidInput(f"{type(operation).__name__} is for the host's own command line")
    return operation
