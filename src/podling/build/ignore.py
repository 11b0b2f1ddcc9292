"""Which files of a context are left out: .containerignore and .dockerignore, and --exclude.

Patterns are Go's path.Match with `**` for any number of folders; a later `!pattern` takes back what an earlier one left out.
"""

from __future__ import annotations

import posixpath
import re

from podling.build.containerfile import BuildError


class Ignore:
    """An ordered list of patterns."""

    def __init__(self, patterns: list[str]) -> None:
        self.lines = patterns
        self._rules: list[tuple[re.Pattern[str], bool]] = []
        for line in patterns:
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            negated = text.startswith("!")
            cleaned = posixpath.normpath(text.removeprefix("!").strip()).lstrip("/")
            if cleaned in ("", "."):
                continue
            self._rules.append((compile(cleaned), negated))
        #: whether something below a folder that is left out may be taken back
        self.has_exceptions = any(negated for _, negated in self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def leaves_out(self, path: str) -> bool:
        """Whether `path`, relative to the context, is left out: it or a folder that it is in fits."""
        out = False
        prefixes = [path]
        while "/" in prefixes[-1]:
            prefixes.append(prefixes[-1].rpartition("/")[0])
        for rule, negated in self._rules:
            if negated == out and any(rule.fullmatch(prefix) for prefix in prefixes):
                out = not negated
        return out


def compile(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression.

    Raises:
        BuildError: it is not one.
    """
    out, position = "", 0
    while position < len(pattern):
        character = pattern[position]
        if pattern.startswith("**", position):
            position += 2
            if pattern.startswith("/", position):
                position += 1
                out += "(?:.*/)?"
            else:
                out += ".*"
            continue
        if character == "*":
            out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif character == "[":
            end = pattern.find("]", position + 2)
            if end < 0:
                raise BuildError(f"syntax error in pattern {pattern!r}: a ] is missing")
            inner = pattern[position + 1 : end].replace("\\", "\\\\")
            out += f"[{'^' + inner[1:] if inner[0] in '^!' else inner}]"
            position = end
        elif character == "\\" and position + 1 < len(pattern):
            position += 1
            out += re.escape(pattern[position])
        else:
            out += re.escape(character)
        position += 1
    try:
        return re.compile(out, re.S)
    except re.error:
        raise BuildError(f"syntax error in pattern {pattern!r}") from None
