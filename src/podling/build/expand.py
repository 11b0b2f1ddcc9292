"""Words of a Containerfile: quotes, escapes and variables, as a shell's, but without its commands."""

from __future__ import annotations

import fnmatch
import re

from podling.build.containerfile import BuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_]\w*|\d|[@*#?$!-]")
_OPERATOR = re.compile(r":[-+?=]|[-+?=]|##?|%%?|//?")


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """`text` with its variables replaced, and without its quotes.

    Raises:
        BuildError: an open quote or brace, or `${name:?message}` without a value.
    """
    return _Reader(text, variables, escape).whole()


def expand_plain(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """As `expand`, but quotes are characters like others: the content of a heredoc."""
    return _Reader(text, variables, escape, quotes=False).whole()


def split(text: str, escape: str = "\\") -> list[str]:
    """The words of `text`, with their quotes and variables as they stand there."""
    words: list[str] = []
    word, quote, position, open_word = "", "", 0, False
    while position < len(text):
        character = text[position]
        if character == escape and quote != "'" and position + 1 < len(text):
            word += text[position : position + 2]
            position += 2
            open_word = True
            continue
        if quote:
            quote = "" if character == quote else quote
            word += character
        elif character in "\"'":
            quote = character
            word += character
            open_word = True
        elif character.isspace():
            if open_word:
                words.append(word)
            word, open_word = "", False
        else:
            word += character
            open_word = True
        position += 1
    if open_word:
        words.append(word)
    return words


def pairs(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[tuple[str, str]]:
    """`KEY=VALUE KEY="VALUE"…`, or the old `KEY the rest`. All see the variables as they were before.

    Raises:
        BuildError: neither of them.
    """
    words = split(text, escape)
    if "=" not in words[0]:
        key, _, rest = text.partition(" ") if " " in text else text.partition("\t")
        if not rest.strip():
            raise BuildError(f"{key!r} must be KEY=VALUE")
        return [(expand(key, variables, escape), expand(rest.strip(), variables, escape))]
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise BuildError(f"syntax error: can't find = in {word!r}: it must be KEY=VALUE")
        found.append((expand(key, variables, escape), expand(value, variables, escape)))
    return found


class _Reader:
    def __init__(self, text: str, variables: Mapping[str, str], escape: str, *, quotes: bool = True) -> None:
        self.text, self.variables, self.escape, self.quotes = text, variables, escape, quotes
        self.position = 0

    def whole(self) -> str:
        return self._until("")

    def _until(self, ends: str) -> str:
        """Up to one of the characters `ends`, which stays; to the end of the text when there is none."""
        out = ""
        while self.position < len(self.text):
            character = self.text[self.position]
            if character in ends and ends:
                return out
            if character == self.escape:
                out += self._escaped(ends)
            elif character == "'" and self.quotes:
                out += self._single()
            elif character == '"' and self.quotes:
                self.position += 1
                out += self._double()
            elif character == "$":
                out += self._variable()
            else:
                out += character
                self.position += 1
        if ends:
            raise BuildError(f"syntax error: {self.text!r}: a {ends} is missing")
        return out

    def _escaped(self, ends: str) -> str:
        self.position += 2
        if self.position > len(self.text):
            return self.escape
        character = self.text[self.position - 1]
        if not self.quotes and character not in ("$", self.escape):
            return self.escape + character
        return character

    def _single(self) -> str:
        end = self.text.find("'", self.position + 1)
        if end < 0:
            raise BuildError(f"unexpected end of statement while looking for matching single-quote in {self.text!r}")
        inner, self.position = self.text[self.position + 1 : end], end + 1
        return inner

    def _double(self) -> str:
        out = ""
        while self.position < len(self.text):
            character = self.text[self.position]
            if character == '"':
                self.position += 1
                return out
            if character == "$":
                out += self._variable()
            elif character == self.escape and self.position + 1 < len(self.text):
                following = self.text[self.position + 1]
                out += following if following in ('"', "$", self.escape) else character + following
                self.position += 2
            else:
                out += character
                self.position += 1
        raise BuildError(f"unexpected end of statement while looking for matching double-quote in {self.text!r}")

    def _variable(self) -> str:
        self.position += 1
        if self.text[self.position : self.position + 1] != "{":
            match = _NAME.match(self.text, self.position)
            if match is None:
                return "$"
            self.position = match.end()
            return self.variables.get(match[0], "")
        self.position += 1
        match = _NAME.match(self.text, self.position)
        if match is None:
            raise BuildError(f"bad substitution in {self.text!r}")
        name, self.position = match[0], match.end()
        operator = _OPERATOR.match(self.text, self.position)
        if operator is None:
            self._close()
            return self.variables.get(name, "")
        self.position = operator.end()
        value = self.variables.get(name)
        if operator[0] in ("/", "//"):
            pattern = self._until("/}")
            replacement = ""
            if self.text[self.position] == "/":
                self.position += 1
                replacement = self._until("}")
            self._close()
            return _replaced(value or "", pattern, replacement, all=operator[0] == "//")
        word = self._until("}")
        self._close()
        return self._operated(name, operator[0], value, word)

    def _operated(self, name: str, operator: str, value: str | None, word: str) -> str:
        missing = value is None or (operator[0] == ":" and not value)
        if operator[-1] == "-":
            return word if missing else value or ""
        if operator[-1] == "+":
            return "" if missing else word
        if operator[-1] == "?":
            if missing:
                raise BuildError(f"{name}: {word or 'is not set'}")
            return value or ""
        if operator[0] in "#%":
            return _trimmed(value or "", operator, word)
        raise BuildError(f"unsupported modifier ({operator}) in substitution of {name}")

    def _close(self) -> None:
        if self.text[self.position : self.position + 1] != "}":
            raise BuildError(f"syntax error: missing }} in {self.text!r}")
        self.position += 1


def _trimmed(value: str, operator: str, pattern: str) -> str:
    """`#`, `##`, `%`, `%%`: without the shortest or longest prefix or suffix that the pattern fits."""
    lengths = range(len(value) + 1) if len(operator) == 1 else range(len(value), -1, -1)
    for length in lengths:
        part = value[:length] if operator[0] == "#" else value[len(value) - length :]
        if fnmatch.fnmatchcase(part, pattern):
            return value[length:] if operator[0] == "#" else value[: len(value) - length]
    return value


def _replaced(value: str, pattern: str, replacement: str, *, all: bool) -> str:
    expression = fnmatch.translate(pattern).removesuffix(r"\Z")
    return re.sub(expression, lambda _: replacement, value, count=0 if all else 1)
