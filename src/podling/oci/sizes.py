"""Sizes as people write them."""

from __future__ import annotations

from podling.errors import InvalidInput

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def size(text: str, what: str) -> int:
    """`64m`, `1.5g`, `1024`, in bytes; -1 stays.

    Raises:
        InvalidInput: it is none; `what` says where it stood.
    """
    lowered = text.strip().lower()
    if lowered == "-1":
        return -1
    number = lowered.rstrip("bi")
    number, unit = (number[:-1], number[-1]) if number and number[-1] in "kmgtp" else (number, "")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if value < 0 or lowered.strip("0123456789.") not in ("", "b", unit, unit + "b", unit + "ib"):
        raise InvalidInput(f"{what} {text!r} is not a size", hint="sizes look like 512m, 2g or 1048576")
    return int(value * _UNITS[unit])
