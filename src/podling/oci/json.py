"""JSON through the interpreter's own C scanner and encoder.

`json` pulls in `re`, `enum` and `functools`: 6 ms, more than `podling ps` may spend in all. The C functions behind it need none
of them. Where an interpreter lacks them, the standard module serves.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    from _json import encode_basestring, make_encoder, make_scanner
except ImportError:
    from json import dumps as _dumps
    from json import loads as _loads

    def loads(text: str | bytes) -> Any:
        return _loads(text)

    def dumps(value: Any) -> str:
        return _dumps(value, separators=(",", ":"), ensure_ascii=False)

else:

    class _Settings:
        """What the scanner asks its context for."""

        strict = True
        object_hook = object_pairs_hook = None
        parse_float = float
        parse_int = int
        parse_constant = float
        memo: dict[str, str] = {}

    _scan = make_scanner(_Settings())  # type: ignore[arg-type]

    def loads(text: str | bytes) -> Any:
        """Parse a document; ValueError when it is none."""
        if isinstance(text, bytes):
            text = text.decode()
        text = text.strip(" \t\n\r")
        try:
            value, end = _scan(text, 0)
        except (StopIteration, SystemError):  # the C code looks for json.decoder's error, which nobody has imported
            raise ValueError("not JSON") from None
        if end != len(text):
            raise ValueError(f"extra data after {end} characters")
        return value

    def _refuse(value: object) -> None:
        raise TypeError(f"{type(value).__name__} is not JSON")

    _encode = make_encoder(None, _refuse, encode_basestring, None, ":", ",", False, False, False)

    def dumps(value: Any) -> str:
        """The document in one line, without spaces."""
        return "".join(_encode(value, 0))


def pretty(value: Any, indent: int) -> str:
    """The document over several lines, `indent` spaces a level, as people read it."""
    return _pretty(value, " " * indent, "\n")


def _pretty(value: Any, step: str, start: str) -> str:
    inner = start + step
    if isinstance(value, dict) and value:
        items = [f"{dumps(str(key))}: {_pretty(item, step, inner)}" for key, item in value.items()]
        return f"{{{inner}{f',{inner}'.join(items)}{start}}}"
    if isinstance(value, list | tuple) and value:
        return f"[{inner}{f',{inner}'.join(_pretty(item, step, inner) for item in value)}{start}]"
    return dumps(value)
