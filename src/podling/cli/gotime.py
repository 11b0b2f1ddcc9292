"""Go's time.Time and time.Duration as templates meet them: how they print, and their methods."""

from __future__ import annotations

import datetime

from podling.cli.template import TemplateError, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SECOND = 1_000_000_000
#: seconds from the year 1 to 1970: Go's zero time lies that far before the epoch
_YEAR_ONE = -62_135_596_800
_EPOCH = datetime.datetime(1970, 1, 1)
_MONTHS = (
    "January February March April May June July August September October November December".split()
)  # fmt: skip
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
#: the parts of a layout, the longest first (https://pkg.go.dev/time#Layout)
_LAYOUT = (
    "January", "Monday", "-07:00:00", "Z07:00:00", "-07:00", "Z07:00", "-070000", "Z070000", "-0700", "Z0700", "2006", "Jan", "Mon", "MST",
    "002", "__2", "-07", "Z07", "01", "02", "03", "04", "05", "06", "15", "PM", "pm", "_2", "1", "2", "3", "4", "5",
)  # fmt: skip


class Duration(Value):
    """A span of time; `ns` nanoseconds."""

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def __bool__(self) -> bool:
        return bool(self.ns)

    def __eq__(self, other: object) -> bool:
        return self.ns == (other.ns if isinstance(other, Duration) else other)

    def __hash__(self) -> int:
        return hash(self.ns)

    def plain(self) -> int:
        return self.ns

    def __str__(self) -> str:
        """`1h2m3.5s`, and below a second `1.5ms`, `2µs`, `3ns`."""
        left, sign = abs(self.ns), "-" if self.ns < 0 else ""
        if not left:
            return "0s"
        for unit, size in (("ns", 1), ("µs", 1000), ("ms", 1_000_000)):
            if left < size * 1000 and left < _SECOND:
                return f"{sign}{_decimal(left, size)}{unit}"
        minutes, rest = divmod(left, 60 * _SECOND)
        hours, minutes = divmod(minutes, 60)
        text = f"{hours}h" if hours else ""
        text += f"{minutes}m" if hours or minutes else ""
        return f"{sign}{text}{_decimal(rest, _SECOND)}s"

    def field(self, name: str) -> Any:
        whole = {"Nanoseconds": 1, "Microseconds": 1000, "Milliseconds": 1_000_000}
        parts = {"Seconds": _SECOND, "Minutes": 60 * _SECOND, "Hours": 3600 * _SECOND}
        if name in whole:
            return int(self.ns / whole[name])
        if name in parts:
            return self.ns / parts[name]
        if name == "String":
            return str(self)
        if name == "Abs":
            return Duration(abs(self.ns))
        if name in ("Round", "Truncate"):
            return lambda step: Duration(_rounded(self.ns, span(step), up=name == "Round"))
        raise TemplateError(f"template: can't evaluate field {name} in type time.Duration")


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{rest:0{len(str(unit)) - 1}d}".rstrip("0")


def _rounded(value: int, step: int, *, up: bool) -> int:
    if step <= 0:
        return value
    rest = value % step
    return value - rest + (step if up and 2 * rest >= step else 0)


def span(value: Any) -> int:
    """An argument that is a duration: one, or a number of nanoseconds."""
    if isinstance(value, Duration):
        return value.ns
    if isinstance(value, int):
        return value
    raise TemplateError(f"template: wrong type for value; expected time.Duration; got {value}")


class Time(Value):
    """A moment: `ns` nanoseconds since the epoch, shown in a zone that is `offset` seconds east of UTC; `zone` None is UTC."""

    def __init__(self, ns: int, offset: int = 0, zone: str | None = None) -> None:
        self.ns, self.offset, self.zone = ns, offset, zone

    @classmethod
    def parse(cls, text: str) -> Time:
        """RFC 3339; the zero time of an empty or unreadable text."""
        from podling.oci.times import parse_time

        offset = 0
        if len(text) > 6 and text[-6] in "+-" and text[-3] == ":":
            offset = (-1 if text[-6] == "-" else 1) * (int(text[-5:-3]) * 3600 + int(text[-2:]) * 60)
        return cls(parse_time(text) or _YEAR_ONE * _SECOND, offset, "" if offset else None)

    def __bool__(self) -> bool:
        return True

    def plain(self) -> str:
        """As JSON has it."""
        return self.layout("2006-01-02T15:04:05") + self._fraction() + self.layout("Z07:00")

    def __str__(self) -> str:
        return self.layout("2006-01-02 15:04:05") + self._fraction() + self.layout(" -0700 MST")

    def _fraction(self) -> str:
        rest = self.ns % _SECOND
        return f".{rest:09d}".rstrip("0") if rest else ""

    def _moment(self) -> datetime.datetime:
        return _EPOCH + datetime.timedelta(seconds=self.ns // _SECOND + self.offset)

    def layout(self, text: str) -> str:
        """What `Format` gives for a layout that is written as Go's reference time, Mon Jan 2 15:04:05 MST 2006."""
        moment, out = self._moment(), ""
        while text:
            if text[0] in ".," and text[1:2] in ("0", "9"):
                count = len(text[1:]) - len(text[1:].lstrip(text[1]))
                if not text[1 + count : 2 + count].isdigit():
                    digits = f"{self.ns % _SECOND:09d}"[:count]
                    digits = digits.rstrip("0") if text[1] == "9" else digits
                    out += text[0] + digits if digits else ""
                    text = text[1 + count :]
                    continue
            part = next((part for part in _LAYOUT if text.startswith(part)), "")
            if part in ("Jan", "Mon") and text[3:4].islower():
                part = ""  # a word that only begins so
            out += self._part(part, moment) if part else text[0]
            text = text[len(part) or 1 :]
        return out

    def _part(self, part: str, moment: datetime.datetime) -> str:
        hour = moment.hour % 12 or 12
        if part[0] in "-Z" and part != "-":
            return self._zone_part(part)
        parts: dict[str, str | int] = {
            "2006": f"{moment.year:04d}", "06": f"{moment.year % 100:02d}", "January": _MONTHS[moment.month - 1],
            "Jan": _MONTHS[moment.month - 1][:3], "01": f"{moment.month:02d}", "1": moment.month, "Monday": _DAYS[moment.weekday()],
            "Mon": _DAYS[moment.weekday()][:3], "02": f"{moment.day:02d}", "_2": f"{moment.day:2d}", "2": moment.day,
            "002": f"{self._yearday():03d}", "__2": f"{self._yearday():3d}", "15": f"{moment.hour:02d}", "03": f"{hour:02d}", "3": hour,
            "04": f"{moment.minute:02d}", "4": moment.minute, "05": f"{moment.second:02d}", "5": moment.second,
            "PM": "PM" if moment.hour >= 12 else "AM", "pm": "pm" if moment.hour >= 12 else "am", "MST": self._zone_name(),
        }  # fmt: skip
        return str(parts[part])

    def _zone_part(self, part: str) -> str:
        if part[0] == "Z" and not self.offset:
            return "Z"
        minutes, seconds = divmod(abs(self.offset), 60)
        hours, minutes = divmod(minutes, 60)
        colon = ":" if ":" in part else ""
        digits = sum(character.isdigit() for character in part)
        text = (
            f"{hours:02d}"
            + (f"{colon}{minutes:02d}" if digits >= 4 else "")
            + (f"{colon}{seconds:02d}" if digits >= 6 else "")
        )
        return ("-" if self.offset < 0 else "+") + text

    def _zone_name(self) -> str:
        if self.zone is None:
            return "UTC"
        return self.zone or self._zone_part("-0700")

    def _yearday(self) -> int:
        return self._moment().timetuple().tm_yday

    def local(self) -> Time:
        import time

        if self.ns < 0:
            return self
        moment = time.localtime(self.ns // _SECOND)
        return Time(self.ns, moment.tm_gmtoff, moment.tm_zone)

    def field(self, name: str) -> Any:
        moment = self._moment()
        plain: dict[str, Any] = {
            "Year": moment.year, "Month": _MONTHS[moment.month - 1], "Day": moment.day, "Hour": moment.hour, "Minute": moment.minute,
            "Second": moment.second, "Nanosecond": self.ns % _SECOND, "Weekday": _DAYS[moment.weekday()], "YearDay": self._yearday(),
            "Unix": self.ns // _SECOND, "UnixMilli": self.ns // 1_000_000, "UnixMicro": self.ns // 1000, "UnixNano": self.ns,
            "IsZero": self.ns == _YEAR_ONE * _SECOND, "IsDST": False, "Location": self._zone_name(), "String": str(self),
            "UTC": Time(self.ns),
        }  # fmt: skip
        if name in plain:
            return plain[name]
        if name == "Local":
            return self.local()
        if name == "GoString":
            where = "time.UTC" if self.zone is None else "time.Local"
            return (
                self.layout("time.Date(2006, time.January, 2, ")
                + f"{moment.hour}, {moment.minute}, {moment.second}, {self.ns % _SECOND}, {where})"
            )
        methods = self._methods()
        if name not in methods:
            raise TemplateError(f"template: can't evaluate field {name} in type time.Time")
        return methods[name]

    def _methods(self) -> dict[str, Callable[..., Any]]:
        return {
            "Format": self.layout,
            "Add": lambda more: Time(self.ns + span(more), self.offset, self.zone),
            "AddDate": self._add_date,
            "Sub": lambda other: Duration(self.ns - moment(other).ns),
            "After": lambda other: self.ns > moment(other).ns,
            "Before": lambda other: self.ns < moment(other).ns,
            "Equal": lambda other: self.ns == moment(other).ns,
            "Compare": lambda other: (self.ns > moment(other).ns) - (self.ns < moment(other).ns),
            "Round": lambda step: Time(_rounded(self.ns, span(step), up=True), self.offset, self.zone),
            "Truncate": lambda step: Time(_rounded(self.ns, span(step), up=False), self.offset, self.zone),
        }

    def _add_date(self, years: int, months: int, days: int) -> Time:
        """As Go does: what is beyond a month's last day goes on in the next."""
        start = self._moment()
        month = start.month - 1 + months
        first = datetime.datetime(
            start.year + years + month // 12, month % 12 + 1, 1, start.hour, start.minute, start.second
        )
        end = first + datetime.timedelta(days=start.day - 1 + days)
        return Time(self.ns + round((end - start).total_seconds()) * _SECOND, self.offset, self.zone)


def moment(value: Any) -> Time:
    """An argument that is a time."""
    if not isinstance(value, Time):
        raise TemplateError(f"template: wrong type for value; expected time.Time; got {value}")
    return value
