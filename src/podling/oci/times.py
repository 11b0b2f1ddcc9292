"""Times as the formats write them: RFC 3339, in nanoseconds since the epoch inside the engine."""

from __future__ import annotations


def parse_time(text: str) -> int:
    """RFC 3339 to nanoseconds since the epoch; 0 for an empty, a zero or an unreadable time."""
    import calendar

    try:
        date, _, clock = text.replace("z", "Z").replace("t", "T").partition("T")
        year, month, day = (int(part) for part in date.split("-"))
        if year < 1970:
            return 0
        offset = 0
        if clock.endswith("Z"):
            clock = clock[:-1]
        elif len(clock) > 6 and clock[-6] in "+-":
            sign = -1 if clock[-6] == "-" else 1
            offset = sign * (int(clock[-5:-3]) * 3600 + int(clock[-2:]) * 60)
            clock = clock[:-6]
        clock, _, fraction = clock.partition(".")
        hour, minute, second = (int(part) for part in clock.split(":"))
        seconds = calendar.timegm((year, month, day, hour, minute, second)) - offset
        return seconds * 1_000_000_000 + int((fraction + "000000000")[:9])
    except ValueError:
        return 0


def format_time(nanoseconds: int) -> str:
    """Nanoseconds since the epoch to RFC 3339 in UTC, as Go's `time.RFC3339Nano` prints it; its zero time for 0."""
    import time

    if nanoseconds <= 0:
        return "0001-01-01T00:00:00Z"
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return text + (f".{fraction:09d}".rstrip("0") if fraction else "") + "Z"
