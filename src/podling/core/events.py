"""The event stream: rows of a table, written with the changes they tell of, or what `eventlogs` keeps instead."""

from __future__ import annotations

import time

from podling.core.filters import match_label, moment, split
from podling.oci import json
from podling.oci.record import Record
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.core.context import Context

FILTERS = ("container", "event", "image", "label", "pod", "type", "volume", "network", "status")
_POLL_SECONDS = 0.1


class Event(Record):
    """`time` in nanoseconds since the epoch; `attributes` are the object's labels and the action's own values."""

    time: int
    type: str
    action: str
    id: str
    name: str
    image: str
    attributes: dict[str, str]


def stream(
    ctx: Context, since: str, until: str, filters: list[str], follow: bool, *, patient: bool = True
) -> Iterator[Event | None]:
    """Events in their order. Without `since` only those to come; `follow` waits for more until `until` has passed.

    One that is not `patient` yields None instead of waiting.
    """
    wanted = split(filters, FILTERS)
    current = now()
    end = _limit(until, current) if until else 0
    to_come = not since and follow and (not end or end > current)
    start = -1 if to_come else moment(since, current) if since else 0
    if ctx.db.elsewhere is None:
        source = _read_database(ctx, start)
    else:
        from podling.core.eventlogs import open_log

        source = open_log(ctx.settings).read(start, follow=follow)
    for event in source:
        if event is None:
            if not follow or (end and now() > end):
                return
            if patient:
                time.sleep(_POLL_SECONDS)
            else:
                yield None
        elif end and event.time > end:
            return
        elif _matches(event, wanted):
            yield event


def _read_database(ctx: Context, since: int) -> Iterator[Event | None]:
    """Events from `since` on, below 0 only those to come; None whenever there is nothing more as yet."""
    last = 0
    if since >= 0:
        last = (ctx.db.value("SELECT min(seq) FROM events WHERE time >= ?", since) or (1 << 62)) - 1
    if since < 0 or last > 1 << 61:
        last = ctx.db.value("SELECT max(seq) FROM events") or 0
    while True:
        rows = ctx.db.rows(
            "SELECT seq, time, type, action, id, name, image, attributes FROM events WHERE seq > ? ORDER BY seq LIMIT 1000",
            last,
        )
        for seq, when, kind, action, id, name, image, attributes in rows:
            last = seq
            yield Event(
                time=when, type=kind, action=action, id=id, name=name, image=image, attributes=json.loads(attributes)
            )
        if not rows:
            yield None


def _limit(until: str, current: int) -> int:
    """--until of a duration is in the future for `events` when it has a plus, as `10s` is with Podman."""
    from podling.core.filters import duration
    from podling.errors import InvalidInput

    try:
        return current + duration(until)
    except InvalidInput:
        return moment(until, current)


def _matches(event: Event, wanted: dict[str, list[str]]) -> bool:
    tests: dict[str, Any] = {
        "container": lambda v: event.type == "container" and (event.name == v or event.id.startswith(v)),
        "image": lambda v: v in (event.image, event.name) or (event.type == "image" and event.id.startswith(v)),
        "volume": lambda v: event.type == "volume" and event.name == v,
        "network": lambda v: event.type == "network" and event.name == v,
        "pod": lambda v: event.type == "pod" and (event.name == v or event.id.startswith(v)),
        "event": lambda v: event.action == v,
        "status": lambda v: event.action == v,
        "type": lambda v: event.type == v,
        "label": lambda v: match_label(event.attributes, v),
        "label!": lambda v: not match_label(event.attributes, v),
    }
    return all(any(tests[key](value) for value in values) for key, values in wanted.items())
