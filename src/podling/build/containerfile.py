"""Containerfiles as text: lines to instructions (Containerfile(5), Docker's Dockerfile reference)."""

from __future__ import annotations

import re

from podling.errors import InvalidInput
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

INSTRUCTIONS = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR".split()
)
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][\w-]*)\s*=\s*(.+?)\s*$")
_HEREDOC = re.compile(r"(?<![<\w])(\d*)<<(-?)\s*(['\"]?)([A-Za-z_][\w.-]*)\3")


class BuildError(InvalidInput):
    """The Containerfile, or what it asks for, is wrong."""

    reference = "build"


class Heredoc:
    """`<<EOF` … `EOF`; its variables are the builder's to expand unless the delimiter is quoted."""

    __slots__ = ("content", "expand", "name", "strip_tabs")

    def __init__(self, name: str, content: str, *, expand: bool, strip_tabs: bool) -> None:
        self.name, self.content, self.expand, self.strip_tabs = name, content, expand, strip_tabs


class Instruction:
    """One instruction: its name in capitals, its flags as `--key` or `--key=value`, and the rest of its text as it stands there."""

    __slots__ = ("flags", "heredocs", "line", "name", "text")

    def __init__(self, name: str, text: str, line: int, heredocs: list[Heredoc] | None = None) -> None:
        self.name, self.line = name, line
        self.heredocs = heredocs or []
        self.flags, self.text = (
            _split_flags(text) if name in ("FROM", "COPY", "ADD", "RUN", "HEALTHCHECK") else ([], text)
        )

    @property
    def shown(self) -> str:
        """As one line, for people and for the history."""
        return " ".join(
            [
                self.name,
                *(f"--{key}" + (f"={value}" if value is not None else "") for key, value in self.flags),
                self.text,
            ]
        ).strip()

    def as_list(self) -> list[str] | None:
        """The exec form: a JSON list of strings; None for any other text."""
        if not self.text.startswith("["):
            return None
        try:
            words = json.loads(self.text)
        except ValueError:
            return None
        return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None

    def error(self, message: str, hint: str = "") -> BuildError:
        return BuildError(f"line {self.line}: {self.name}: {message}", hint=hint)


class Containerfile:
    """The instructions in their order; `escape` is the character that continues lines."""

    def __init__(self, instructions: list[Instruction], escape: str) -> None:
        self.instructions, self.escape = instructions, escape


def parse(text: str) -> Containerfile:
    """Read a Containerfile.

    Raises:
        BuildError: with the line: an unknown instruction, one without its arguments, a heredoc without its end, nothing at all.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    escape = _directives(lines)
    found = list(_instructions(lines, escape))
    if not found:
        raise BuildError("the Containerfile is empty: no instruction in it")
    return Containerfile(found, escape)


def _directives(lines: list[str]) -> str:
    """`# escape=` and the like, which stand before everything else."""
    seen: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None:
            break
        name, value = match[1].lower(), match[2]
        if name in seen:
            raise BuildError(f"line {number}: only one {name} parser directive can be used")
        seen[name] = value
    escape = seen.get("escape", "\\")
    if escape not in ("\\", "`"):
        raise BuildError(f"invalid escape token {escape!r}: it must be \\ or `")
    return escape


def _instructions(lines: list[str], escape: str) -> Iterator[Instruction]:
    position = 0
    while position < len(lines):
        line = lines[position].strip()
        if not line or line.startswith("#"):
            position += 1
            continue
        start = position + 1
        text, position = _logical_line(lines, position, escape)
        name, _, rest = text.partition(" ") if " " in text.split("\t")[0] else text.partition("\t")
        name, rest = name.upper(), rest.strip()
        if name not in INSTRUCTIONS:
            raise BuildError(f"line {start}: unknown instruction: {name}", hint=_nearest(name))
        if not rest:
            raise BuildError(f"line {start}: {name} requires at least one argument")
        heredocs: list[Heredoc] = []
        inner = rest.split(None, 1)[0].upper() if name == "ONBUILD" else name
        if inner in _WITH_HEREDOCS:
            for match in _HEREDOC.finditer(rest):
                content, position = _heredoc(lines, position, match[4], start, strip_tabs=bool(match[2]))
                heredocs.append(Heredoc(match[4], content, expand=not match[3], strip_tabs=bool(match[2])))
        yield Instruction(name, rest, start, heredocs)


def _nearest(name: str) -> str:
    import difflib

    found = difflib.get_close_matches(name, INSTRUCTIONS, 1, 0.6)
    return f"did you mean {found[0]}?" if found else ""


def _logical_line(lines: list[str], position: int, escape: str) -> tuple[str, int]:
    """A line with those that continue it, and the position after them. Comments and empty lines in between do not count."""
    text = ""
    while position < len(lines):
        line = lines[position]
        position += 1
        bare = line.strip()
        if text and (not bare or bare.startswith("#")):
            continue
        stripped = line.rstrip()
        if not stripped.endswith(escape):
            return (text + line).strip(), position
        text += stripped[:-1]
    return text.strip(), position


def _heredoc(lines: list[str], position: int, name: str, start: int, *, strip_tabs: bool) -> tuple[str, int]:
    content = ""
    while position < len(lines):
        line = lines[position].lstrip("\t") if strip_tabs else lines[position]
        position += 1
        if line == name:
            return content, position
        content += line + "\n"
    raise BuildError(f"line {start}: unterminated heredoc: there is no line {name}")


def _split_flags(text: str) -> tuple[list[tuple[str, str | None]], str]:
    """`--key=value --key rest`; quotes and backslashes keep blanks in a value."""
    flags: list[tuple[str, str | None]] = []
    while text.startswith("--"):
        word, text = _first_word(text)
        if word == "--":
            break
        key, equals, value = word[2:].partition("=")
        flags.append((key.lower(), value if equals else None))
    return flags, text


def _first_word(text: str) -> tuple[str, str]:
    word, quote, position = "", "", 0
    while position < len(text):
        character = text[position]
        if character == "\\" and position + 1 < len(text):
            word += text[position + 1]
            position += 2
            continue
        if quote:
            if character == quote:
                quote = ""
            else:
                word += character
        elif character in "\"'":
            quote = character
        elif character.isspace():
            break
        else:
            word += character
        position += 1
    return word, text[position:].lstrip()
