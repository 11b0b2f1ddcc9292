"""Flags as Docker and Podman read them (pflag): `--flag=value`, `--flag value`, `-itd`, `-w/x`, `--flag=false`, repeated lists.

argparse is not used: it costs 8 ms at start-up, and it can neither end options at the first argument nor take `--flag=false`.
"""

from __future__ import annotations

from podling.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


#: older names and Docker's of long flags, where a command has the flag under the newer one
_SYNONYMS = {
    "dns-opt": "dns-option", "healthcheck-command": "health-cmd", "healthcheck-interval": "health-interval",
    "healthcheck-retries": "health-retries", "healthcheck-start-period": "health-start-period", "healthcheck-timeout": "health-timeout",
    "namespace": "ns", "net": "network", "notruncate": "no-trunc", "override-arch": "arch", "override-os": "os",
    "override-variant": "variant", "purge": "rm", "storage": "external", "timeout": "time",
}  # fmt: skip


class UsageError(InvalidInput):
    """A command line that cannot be read; the message is followed by where to find help."""

    reference = "usage"


class Flag:
    """One flag.

    `kind`: bool, tristate (a bool that may be left open), string, int, float, list (repeatable) or slice (repeatable, commas
    separate). `value` names the value in help; `bare` is what the flag means without a value, where it may stand alone. A
    `hidden` one is not in help: it is there for the scripts of others. An `inherited` one of the engine may follow a command too.
    """

    __slots__ = ("bare", "default", "field", "help", "hidden", "inherited", "kind", "name", "short", "value")

    def __init__(
        self,
        name: str,
        short: str,
        kind: str,
        help: str,
        default: Any = None,
        *,
        field: str = "",
        value: str = "",
        bare: str | None = None,
        hidden: bool = False,
        inherited: bool = False,
    ) -> None:
        self.name, self.short, self.kind, self.help = name, short, kind, help
        blank: dict[str, Any] = {"bool": False, "string": "", "int": 0, "float": 0.0, "list": [], "slice": []}
        self.default = blank.get(kind) if default is None else default
        self.field = field or name.replace("-", "_")
        self.value = value
        self.hidden = hidden
        self.inherited = inherited
        self.bare = "true" if kind in ("bool", "tristate") else bare

    def convert(self, text: str, before: Any) -> Any:
        """The value after another occurrence of the flag."""
        if self.kind in ("bool", "tristate"):
            if text.lower() in ("true", "t", "1"):
                return True
            if text.lower() in ("false", "f", "0"):
                return False
            raise self._invalid(text, "not true or false")
        if self.kind == "int":
            try:
                return int(text, 0)
            except ValueError:
                raise self._invalid(text, "not a whole number") from None
        if self.kind == "float":
            try:
                return float(text)
            except ValueError:
                raise self._invalid(text, "not a number") from None
        if self.kind == "list":
            return [*(before or []), text]
        if self.kind == "slice":
            return [*(before or []), *_comma_separated(text)]
        return text

    def _invalid(self, text: str, why: str) -> UsageError:
        name = f'"-{self.short}, --{self.name}"' if self.short else f'"--{self.name}"'
        return UsageError(f'invalid argument "{text}" for {name} flag: {why}')


def _comma_separated(text: str) -> list[str]:
    """CSV as pflag reads slices: a part in double quotes may hold commas."""
    if '"' not in text:
        return text.split(",") if text else []
    import csv

    return next(csv.reader([text]))


class Args:
    """Parsed flags as attributes, and `rest`, the arguments."""

    def __init__(self, flags: tuple[Flag, ...]) -> None:
        self.rest: list[str] = []
        self.given: set[str] = set()
        for flag in flags:
            default = flag.default
            self.__dict__[flag.field] = list(default) if isinstance(default, list) else default

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def only(self, *fields: str) -> dict[str, Any]:
        """The values of some fields, as keyword arguments."""
        return {field: self.__dict__[field] for field in fields}


def parse(
    argv: list[str],
    flags: tuple[Flag, ...],
    *,
    stop_at_argument: bool = False,
    outer: tuple[tuple[Flag, ...], Args] | None = None,
) -> Args:
    """Read `argv`. With `stop_at_argument` the first argument ends the flags, as `run IMAGE COMMAND` needs it. Long flags that are
    not among `flags` may be `outer` ones, the engine's own: those go where the others of them are.

    Raises:
        UsageError: an unknown flag, a missing or a bad value.
    """
    args = Args(flags)
    long = {flag.name: flag for flag in flags}
    short = {flag.short: flag for flag in flags if flag.short}
    position = 0

    def take(flag: Flag, text: str, args: Args = args) -> None:
        before = args.__dict__[flag.field] if flag.field in args.given else []
        args.__dict__[flag.field] = flag.convert(text, before)
        args.given.add(flag.field)

    def next_value(flag: Flag, shown: str) -> str:
        nonlocal position
        if position >= len(argv):
            raise UsageError(f"flag needs an argument: {shown}")
        position += 1
        return argv[position - 1]

    while position < len(argv):
        word = argv[position]
        position += 1
        if word == "--":
            args.rest += argv[position:]
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            flag, target = long.get(name) or long.get(_SYNONYMS.get(name, "")), args
            if flag is None and outer:
                flag, target = next((item for item in outer[0] if item.name == name and item.inherited), None), outer[1]
            if flag is None:
                raise UsageError(f"unknown flag: --{name}", hint=_close("--", name, long))
            if not equals:
                value = flag.bare if flag.bare is not None else next_value(flag, f"--{name}")
            take(flag, value, target)
        elif word.startswith("-") and len(word) > 1:
            _cluster(word[1:], short, take, next_value)
        else:
            args.rest.append(word)
            if stop_at_argument:
                args.rest += argv[position:]
                break
    return args


def _cluster(letters: str, short: dict[str, Flag], take: Any, next_value: Any) -> None:
    """`-itd`, `-eA=1`, `-e A=1`, `-t=false`."""
    whole = letters
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = short.get(letter)
        if flag is None:
            raise UsageError(f"unknown shorthand flag: {letter!r} in -{whole}")
        if letters.startswith("="):
            take(flag, letters[1:])
            return
        if flag.bare is not None:
            take(flag, flag.bare)
        elif letters:
            take(flag, letters)
            return
        else:
            take(flag, next_value(flag, f"{letter!r} in -{whole}"))


def _close(prefix: str, name: str, known: dict[str, Flag]) -> str:
    import difflib

    found = difflib.get_close_matches(name, known, 1, 0.7)
    return f"did you mean {prefix}{found[0]}?" if found else ""
