"""--filter KEY=VALUE, the same for containers, images, events."""

from __future__ import annotations

from podling.errors import InvalidInput


def split(filters: list[str], known: tuple[str, ...]) -> dict[str, list[str]]:
    """Values by key; several values of one key are alternatives, different keys must all hold.

    Raises:
        InvalidInput: a filter without `=`, or an unknown key.
    """
    grouped: dict[str, list[str]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        negated = key.endswith("!")
        key = key.removesuffix("!").strip().lower()
        if key not in known:
            raise InvalidInput(f"--filter {text!r}: unknown key {key!r}", hint=f"the keys are {', '.join(known)}")
        if not equals:
            raise InvalidInput(f"--filter {text!r}: not KEY=VALUE")
        grouped.setdefault(key + ("!" if negated else ""), []).append(value)
    return grouped


def match_label(labels: dict[str, str], wanted: str) -> bool:
    """`key` or `key=value`."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def boolean(text: str) -> bool:
    if text.lower() in ("true", "1", "t"):
        return True
    if text.lower() in ("false", "0", "f"):
        return False
    raise InvalidInput(f"{text!r} is neither true nor false")


def moment(text: str, now: int) -> int:
    """A time as --since and --until take it: RFC 3339, a date, a Unix time, or a duration back from now; in nanoseconds."""
    from podling.oci.times import parse_time

    text = text.strip()
    try:
        return int(float(text) * 1_000_000_000)
    except ValueError:
        pass
    if len(text) >= 10 and text[4:5] == "-":
        if "T" not in text:
            text += "T00:00:00"
        date, _, clock = text.partition("T")
        body = clock.rstrip("Zz")
        zone = clock[len(body) :] or "Z"
        for sign in "+-":
            if sign in body:
                body, _, offset = body.partition(sign)
                zone = sign + offset
        parts = (body.split(":") + ["00", "00"])[:3]
        found = parse_time(f"{date}T{':'.join(parts)}{zone}")
        if found:
            return found
    return now - duration(text)


_UNITS = {"ns": 1, "us": 1000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}


def duration(text: str) -> int:
    """Go's duration syntax (`1h30m`, `1.5s`), in nanoseconds."""
    total, number, rest = 0.0, "", text
    while rest:
        head = rest[0]
        if head.isdigit() or head == ".":
            number += head
            rest = rest[1:]
            continue
        unit = next((unit for unit in ("ns", "us", "ms", "s", "m", "h", "d") if rest.startswith(unit)), "")
        if not unit or not number:
            break
        total += float(number) * _UNITS[unit]
        number, rest = "", rest[len(unit) :]
    if rest or number or not text:
        raise InvalidInput(
            f"{text!r} is no time", hint="times look like 2026-01-02T15:04:05, 1767366245, or 10m for ten minutes ago"
        )
    return int(total)
