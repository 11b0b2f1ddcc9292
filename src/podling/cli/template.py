"""Go templates (text/template), the part of them that users of --format write.

Actions: pipelines, if, range, with, else, variables, comments, trim markers, break and continue. Functions: those of Go (and, or,
not, len, index, slice, print, printf, println, eq, ne, lt, le, gt, ge, html, js, urlquery) and of containers/common (json, split,
join, title, lower, upper, pad, truncate). Values print as Go's %v does.
"""

from __future__ import annotations

import re

from podling.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Node = tuple[Any, ...]


class TemplateError(InvalidInput):
    reference = "template"


class Fields(dict):  # type: ignore[type-arg]
    """A dict whose keys are the fields of a struct: asking for another one is an error, as it is in Go. `embedded` names the
    structs in it whose fields are its own: `.ListContainer.Names` is `.Names`; `aliases` are further names of fields; `document` is
    what JSON has of it, where that is something else."""

    embedded: tuple[str, ...] = ()
    aliases: dict[str, str] = {}
    document: dict[str, Any] | Callable[[], dict[str, Any]] | None = None


class Value:
    """A value with methods."""

    def field(self, name: str) -> Any:
        """A method without parameters has been called, one with parameters is a function.

        Raises:
            TemplateError: there is no such method.
        """
        raise NotImplementedError

    def plain(self) -> Any:
        """What JSON has of it."""
        raise NotImplementedError


class Title(str):
    """A column's title: whatever is done with a value, its title stays one."""

    titles: Headers

    def field(self, name: str) -> Title:
        """The title of a field of it where that has one: `.ListContainer.Names`; else of `.Created.Format` that of `.Created`."""
        return self if name not in self.titles and self in self.titles.values() else self.titles.title(name)


class Headers(dict):  # type: ignore[type-arg]
    """Column titles by field; a field without a title of its own is its name in capitals."""

    def title(self, name: str) -> Title:
        title = Title(self[name] if name in self else name.upper())
        title.titles = self
        return title


_MISSING = object()
_ACTION = re.compile(
    r"\{\{(-\s)?\s*(/\*.*?\*/|(?:\"(?:[^\"\\]|\\.)*\"|`[^`]*`|'(?:[^'\\]|\\.)*'|[^\"`'])*?)\s*(\s-)?\}\}", re.S
)
_TOKEN = re.compile(
    r"\s*(?:(?P<string>\"(?:[^\"\\]|\\.)*\"|`[^`]*`)|(?P<char>'(?:[^'\\]|\\.)+')|(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?))"
    r"|(?P<field>(?:\.[A-Za-z_]\w*)+)|(?P<variable>\$\w*(?:\.[A-Za-z_]\w*)*)|(?P<name>[A-Za-z_]\w*)|(?P<op>:=|[|()=,.]))"
)


def compile(text: str) -> Template:
    """Parse a template.

    Raises:
        TemplateError: with what is wrong and where.
    """
    return Template(text)


class Template:
    def __init__(self, text: str) -> None:
        self._pieces = _split(text)
        self._position = 0
        self._nodes, end = self._block()
        if end:
            raise TemplateError(f"template: unexpected {{{{{end}}}}}")

    def render(self, data: Any) -> str:
        out: list[str] = []
        _Run(data).block(self._nodes, data, out)
        return "".join(out)

    def _block(self) -> tuple[list[Node], str]:
        """Nodes up to an `else` or `end` that belongs to whoever called."""
        nodes: list[Node] = []
        while self._position < len(self._pieces):
            kind, text = self._pieces[self._position]
            self._position += 1
            if kind == "text":
                nodes.append(("text", text))
                continue
            word = text.split(None, 1)[0] if text.split() else ""
            if word in ("end", "else"):
                return nodes, text
            if word in ("if", "range", "with"):
                nodes.append(self._control(word, text[len(word) :]))
            elif word in ("break", "continue"):
                nodes.append((word,))
            else:
                nodes.append(("print", _Parser(text).statement()))
        return nodes, ""

    def _control(self, word: str, text: str) -> Node:
        if word == "range":
            names, pipeline = _Parser(text).range_head()
        else:
            names, pipeline = [], _Parser(text).statement()
        body, end = self._block()
        other: list[Node] = []
        rest = end.split(None, 1)[1] if end.startswith("else") and len(end.split(None, 1)) > 1 else ""
        if rest:
            inner = rest.split(None, 1)
            if inner[0] not in ("if", "with") or len(inner) < 2:
                raise TemplateError(f"template: unexpected {{{{{end}}}}}")
            return (word, names, pipeline, body, [self._control(inner[0], inner[1])])
        if end.startswith("else"):
            other, end = self._block()
        if end != "end":
            raise TemplateError(f"template: {{{{{word}}}}} has no {{{{end}}}}")
        return (word, names, pipeline, body, other)


def _split(text: str) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    position, trim = 0, False
    for match in _ACTION.finditer(text):
        between = text[position : match.start()]
        if trim:
            between = between.lstrip()
        if match[1]:
            between = between.rstrip()
        if "{{" in between:
            raise TemplateError("template: unclosed action")
        if between:
            pieces.append(("text", between))
        if not match[2].startswith("/*"):
            if not match[2].strip():
                raise TemplateError("template: missing value for command")
            pieces.append(("action", match[2].strip()))
        position, trim = match.end(), bool(match[3])
    rest = text[position:].lstrip() if trim else text[position:]
    if "{{" in rest:
        raise TemplateError("template: unclosed action")
    return [*pieces, ("text", rest)] if rest else pieces


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "'": "'"}


def _unquote(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]

    def replace(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "xuU":
            return chr(int(code[1:], 16))
        return _ESCAPES.get(code, "\\" + code)

    return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", replace, text[1:-1])


class _Parser:
    """One action's text to a pipeline: ("pipe", [command, …]); a command is a list of operands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, bool]] = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                raise TemplateError(f"template: unexpected {text[position:].strip()[:1]!r} in {{{{{text}}}}}")
            kind = match.lastgroup or ""
            spaced = match.start(kind) > position or position == 0
            self._tokens.append((kind, match[kind], spaced))
            position = match.end()
        self._position = 0

    def _peek(self, offset: int = 0) -> tuple[str, str, bool]:
        index = self._position + offset
        return self._tokens[index] if index < len(self._tokens) else ("", "", True)

    def _next(self) -> tuple[str, str, bool]:
        token = self._peek()
        self._position += 1
        return token

    def statement(self) -> Node:
        if self._peek()[0] == "variable" and self._peek(1)[1] in (":=", "="):
            name = self._next()[1]
            self._next()
            return ("assign", name, self._whole())
        return self._whole()

    def range_head(self) -> tuple[list[str], Node]:
        """`$i, $v := pipeline`, `$v := pipeline`, or a pipeline."""
        names: list[str] = []
        if self._peek()[0] == "variable" and self._peek(1)[1] in (":=", ","):
            names.append(self._next()[1])
            if self._next()[1] == ",":
                names.append(self._next()[1])
                if self._next()[1] != ":=":
                    raise self._error()
        return names, self._whole()

    def _whole(self) -> Node:
        pipeline = self._pipeline()
        if self._position < len(self._tokens):
            raise self._error()
        return pipeline

    def _error(self) -> TemplateError:
        return TemplateError(f"template: unexpected {self._peek()[1]!r} in {{{{{self._text.strip()}}}}}")

    def _pipeline(self) -> Node:
        commands = [self._command()]
        while self._peek()[1] == "|":
            self._next()
            commands.append(self._command())
        return ("pipe", commands)

    def _command(self) -> list[Node]:
        operands: list[Node] = []
        while self._peek()[0] and self._peek()[1] not in ("|", ")"):
            operands.append(self._operand())
        if not operands:
            raise TemplateError(f"template: missing value for command in {{{{{self._text.strip()}}}}}")
        return operands

    def _operand(self) -> Node:
        kind, text, _ = self._next()
        node: Node
        if kind == "string":
            node = ("value", _unquote(text))
        elif kind == "char":
            node = ("value", ord(_unquote(text)[0]))
        elif kind == "number":
            try:
                is_float = any(c in text for c in ".eE") and not text.lower().startswith("0x")
                node = ("value", float(text) if is_float else int(text, 0))
            except ValueError:
                raise TemplateError(
                    f"template: bad number syntax: {text!r}", hint="text is written in quotes"
                ) from None
        elif kind == "field":
            node = ("field", ("dot",), text[1:].split("."))
        elif kind == "variable":
            name, *path = text.split(".")
            node = ("field", ("variable", name), path) if path else ("variable", name)
        elif kind == "name":
            constants = {"true": True, "false": False, "nil": None}
            node = ("value", constants[text]) if text in constants else ("function", text)
        elif text == "(":
            node = self._pipeline()
            if self._next()[1] != ")":
                raise self._error()
        elif text == ".":
            node = ("dot",)
        else:
            self._position -= 1
            raise self._error()
        while self._peek()[0] == "field" and not self._peek()[2]:
            node = ("field", node, self._next()[1][1:].split("."))
        return node


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Run:
    """One rendering, with its variables."""

    def __init__(self, root: Any) -> None:
        self._scopes: list[dict[str, Any]] = [{"$": root}]

    def block(self, nodes: list[Node], dot: Any, out: list[str]) -> None:
        self._scopes.append({})
        try:
            for node in nodes:
                self._node(node, dot, out)
        finally:
            self._scopes.pop()

    def _node(self, node: Node, dot: Any, out: list[str]) -> None:
        kind = node[0]
        if kind == "text":
            out.append(node[1])
        elif kind == "print":
            value = self._value(node[1], dot)
            if node[1][0] != "assign":
                out.append(show(value))
        elif kind == "break":
            raise _Break
        elif kind == "continue":
            raise _Continue
        elif kind == "range":
            self._range(node, dot, out)
        else:
            self._scopes.append({})
            value = self._value(node[2], dot)
            if truth(value):
                self.block(node[3], value if kind == "with" else dot, out)
            else:
                self.block(node[4], dot, out)
            self._scopes.pop()

    def _range(self, node: Node, dot: Any, out: list[str]) -> None:
        _, names, pipeline, body, other = node
        value = self._value(pipeline, dot)
        if isinstance(value, dict):
            items = [(key, value[key]) for key in sorted(value)]
        elif isinstance(value, list | tuple):
            items = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            items = [(number, number) for number in range(value)]
        elif value is None or value is _MISSING:
            items = []
        else:
            raise TemplateError(f"template: range can't iterate over {show(value)}")
        if not items:
            self.block(other, dot, out)
        for key, item in items:
            self._scopes.append(dict(zip(names, (key, item) if len(names) == 2 else (item,), strict=False)))
            try:
                self.block(body, item, out)
            except _Break:
                break
            except _Continue:
                continue
            finally:
                self._scopes.pop()

    # -- values
    def _value(self, node: Node, dot: Any) -> Any:
        if node[0] == "assign":
            value = self._value(node[2], dot)
            for scope in reversed(self._scopes):
                if node[1] in scope:
                    scope[node[1]] = value
                    return value
            self._scopes[-1][node[1]] = value
            return value
        result: Any = _MISSING
        for position, command in enumerate(node[1]):
            result = self._command(command, dot, [result] if position else [])
        return result

    def _command(self, command: list[Node], dot: Any, piped: list[Any]) -> Any:
        head, arguments = command[0], command[1:]
        if head[0] == "function":
            function = FUNCTIONS.get(head[1])
            if head[1] in ("and", "or"):
                return self._short_circuit(head[1], arguments, dot, piped)
            if function is None:
                raise TemplateError(f"template: function {head[1]!r} not defined")
            values = [self._operand(argument, dot) for argument in arguments] + piped
            try:
                return function(*values)
            except TemplateError:
                raise
            except (TypeError, ValueError, IndexError, KeyError) as error:
                raise TemplateError(f"template: {head[1]}: {error}") from None
        value = self._operand(head, dot, [self._operand(argument, dot) for argument in arguments] + piped)
        return value

    def _short_circuit(self, name: str, arguments: list[Node], dot: Any, piped: list[Any]) -> Any:
        value: Any = None
        for argument in arguments:
            value = self._operand(argument, dot)
            if truth(value) == (name == "or"):
                return value
        return piped[0] if piped else value

    def _operand(self, node: Node, dot: Any, call_with: list[Any] | None = None) -> Any:
        kind = node[0]
        if kind == "value":
            value = node[1]
        elif kind == "dot":
            value = dot
        elif kind == "variable":
            value = self._variable(node[1])
        elif kind == "pipe":
            value = self._value(node, dot)
        elif kind == "function":
            return self._command([node], dot, [])
        else:
            value = self._operand(node[1], dot)
            for name in node[2]:
                value = _field(value() if callable(value) else value, name)
        if callable(value):
            return value(*(call_with or ()))
        if call_with and not isinstance(value, Title):
            raise TemplateError("template: arguments for a value that takes none")
        return value

    def _variable(self, name: str) -> Any:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        raise TemplateError(f"template: undefined variable {name!r}")


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Headers):
        return value.title(name)
    if isinstance(value, Title):
        return value.field(name)
    if isinstance(value, Value):
        return value.field(name)
    if isinstance(value, Fields):
        if name in value.embedded:
            return value
        name = value.aliases.get(name, name)
        if name not in value:
            raise TemplateError(f"template: can't evaluate field {name}", hint=_suggest(name, list(value)))
        return value[name]
    if isinstance(value, dict):
        return value.get(name, _MISSING)
    if value is None:
        raise TemplateError(f"template: nil pointer evaluating {name}")
    if value is _MISSING:
        return _MISSING
    raise TemplateError(f"template: can't evaluate field {name} in {show(value)}")


def _suggest(name: str, known: list[str]) -> str:
    import difflib

    folded = {field.lower(): field for field in known}
    found = difflib.get_close_matches(name.lower(), list(folded), 1, 0.6)
    return f"did you mean .{folded[found[0]]}?" if found else f"the fields are {', '.join(sorted(known))}"


# -- Go's view of values
def truth(value: Any) -> bool:
    return value is not _MISSING and bool(value)


def show(value: Any) -> str:
    """As %v prints it."""
    if value is _MISSING:
        return "<no value>"
    if value is None:
        return "<nil>"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value == int(value) and abs(value) < 1e21 else repr(value)
    if isinstance(value, dict):
        inner = " ".join(f"{key}:{show(value[key])}" for key in sorted(value))
        return (
            f"{{{' '.join(show(item) for item in value.values() if not callable(item))}}}"
            if isinstance(value, Fields)
            else f"map[{inner}]"
        )
    if isinstance(value, list | tuple):
        return f"[{' '.join(show(item) for item in value)}]"
    return str(value)


def to_json(value: Any) -> str:
    import json

    def plain(item: Any) -> Any:
        if isinstance(item, Value):
            return item.plain()
        if isinstance(item, Fields) and item.document is not None:
            return plain(item.document() if callable(item.document) else item.document)
        if isinstance(item, dict):
            return {key: plain(inner) for key, inner in item.items() if not callable(inner)}
        if isinstance(item, list | tuple):
            return [plain(inner) for inner in item]
        return None if item is _MISSING else item

    return json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False)


def _compare(left: Any, right: Any) -> int:
    if isinstance(left, str) != isinstance(right, str):
        raise TemplateError("template: incompatible types for comparison")
    return int(left > right) - int(left < right)


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateError("template: eq: missing argument for comparison")
    for other in others:
        kinds = {type(value) for value in (first, other)}
        if len(kinds) > 1 and str in kinds and None not in (first, other):
            raise TemplateError("template: eq: incompatible types for comparison")
    return any(first == other for other in others)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, _MISSING if not isinstance(value, Fields) else None)
        elif isinstance(value, list | tuple | str):
            if not isinstance(key, int) or not 0 <= key < len(value):
                raise TemplateError(f"template: index: index out of range: {show(key)}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise TemplateError(f"template: index: can't index {show(value)}")
    return value


_VERB = re.compile(r"%([-+# 0]*)(\d+|\*)?(?:\.(\d+))?([vTtbcdoOqxXUeEfFgGsp%])")


def _printf(form: str, *values: Any) -> str:
    left = list(values)

    def replace(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if width == "*":
            width = str(left.pop(0)) if left else ""
        if not left:
            return f"%!{verb}(MISSING)"
        value = left.pop(0)
        spec = f"%{flags}{width or ''}{'.' + precision if precision else ''}"
        if verb == "q":
            return (spec + "s") % to_json(show(value))
        if verb in "vs":
            return f"{spec.replace('%0', '%')}s" % show(value)
        if verb == "T":
            return {str: "string", bool: "bool", int: "int", float: "float64", list: "[]interface {}"}.get(
                type(value), "map[string]interface {}"
            )
        if verb == "t":
            return f"{spec}s" % show(bool(value))
        if verb == "b":
            return format(int(value), "b")
        if verb == "c":
            return chr(int(value))
        if verb in "xX" and isinstance(value, str):
            return value.encode().hex() if verb == "x" else value.encode().hex().upper()
        if verb in "doOxXU" and isinstance(value, int):
            return (spec + {"O": "o", "U": "X"}.get(verb, verb)) % value
        if verb in "eEfFgG" and isinstance(value, int | float):
            return (spec + verb) % value
        return f"%!{verb}({type(value).__name__}={show(value)})"

    text = _VERB.sub(replace, form)
    return text + (f"%!(EXTRA {', '.join(show(value) for value in left)})" if left else "")


def _join(*arguments: Any) -> str:
    """`join LIST SEPARATOR`; in a pipe the list comes last: `.List | join ","`."""
    first, second = arguments
    items, separator = (first, second) if isinstance(first, list | tuple) else (second, first)
    return str(separator).join(show(item) for item in items or ())


def _escape_html(*values: Any) -> str:
    text = "".join(show(value) for value in values)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(character, entity)
    return text


def _url_query(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus("".join(show(value) for value in values))


def _print(*values: Any) -> str:
    """Go's Sprint: a space between operands when neither is a string."""
    text = ""
    for position, value in enumerate(values):
        if position and not isinstance(value, str) and not isinstance(values[position - 1], str):
            text += " "
        text += show(value)
    return text


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: values,
    "or": lambda *values: values,
    "not": lambda value: not truth(value),
    "len": lambda value: len(value) if value is not None else 0,
    "index": _index,
    "slice": lambda value, *ends: value[slice(*(ends if len(ends) > 1 else (*ends, None)))],
    "print": _print,
    "println": lambda *values: " ".join(show(value) for value in values) + "\n",
    "printf": _printf,
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": lambda left, right: _compare(left, right) < 0,
    "le": lambda left, right: _compare(left, right) <= 0,
    "gt": lambda left, right: _compare(left, right) > 0,
    "ge": lambda left, right: _compare(left, right) >= 0,
    "html": _escape_html,
    "js": lambda *values: to_json("".join(show(value) for value in values))[1:-1],
    "urlquery": _url_query,
    "json": to_json,
    "join": _join,
    "split": lambda text, separator: text.split(separator),
    "lower": lambda text: show(text).lower(),
    "upper": lambda text: show(text).upper(),
    "title": lambda text: re.sub(r"(^|\s)(\S)", lambda match: match[1] + match[2].upper(), show(text)),
    "pad": lambda text, before, after: " " * before + show(text) + " " * after if text else "",
    "truncate": lambda text, length: show(text)[:length],
}
