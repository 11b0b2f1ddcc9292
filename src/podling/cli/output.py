"""Tables, --format, and the way sizes and times are shown."""

from __future__ import annotations

from podling.cli.flags import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from podling.cli.app import App
    from podling.cli.template import Fields


def table(rows: Iterable[Sequence[str]], *, gap: int = 2) -> str:
    """Columns padded to their widest cell, `gap` spaces apart."""
    rows = [list(row) for row in rows]
    if not rows:
        return ""
    widths = [0] * max(len(row) for row in rows)
    for row in rows:
        for position, cell in enumerate(row):
            widths[position] = max(widths[position], len(cell))
    space = " " * gap
    lines = []
    for row in rows:
        last = len(row) - 1
        cells = [cell if position == last else cell.ljust(widths[position]) for position, cell in enumerate(row)]
        lines.append(space.join(cells).rstrip() if not row[last] else space.join(cells))
    return "\n".join(lines)


#: the key under which a row has what `{{json .}}` prints: a document, or a function that makes it
WHOLE = "."


class Format:
    """What --format asks for: `json`, a template per row, or `table TEMPLATE` with a header."""

    def __init__(self, text: str) -> None:
        text = text.strip()
        self.is_json = text == "json" or text.replace(" ", "") == "{{json}}"
        self.has_header = text.startswith("table")
        if self.has_header:
            text = text[5:].lstrip()
        self.text = text.replace("\\t", "\t").replace("\\n", "\n")

    def rows(
        self, items: Iterable[dict[str, Any]], headers: dict[str, str], *, heading: bool = True, shape: str = ""
    ) -> str:
        """Render each item, as the struct of structs.py that `shape` names; tabs make columns. Ranges over everything are written with the
        template `{{range .}}`."""
        from podling.cli.template import Headers, compile

        rows = [self._row(item, shape) for item in items]
        if self.text.replace("-", "").replace(" ", "").startswith(("{{range.}}", "{{range$")):
            return compile(self.text).render(rows).rstrip("\n")
        template = compile(self.text)
        lines = []
        if self.has_header and heading:
            lines.append(template.render(Headers(headers)))
        lines += [template.render(row) for row in rows]
        if any("\t" in line for line in lines):
            return table([line.split("\t") for line in lines])
        return "\n".join(lines)

    def _row(self, item: dict[str, Any], shape: str) -> Fields:
        from podling.cli.template import Fields

        whole = item.pop(WHOLE, None)
        row = view(item, shape) if shape else Fields(item)
        if whole is not None:
            row.document = whole
        return row


def print_rows(
    app: App,
    format: str,
    items: list[dict[str, Any]],
    headers: dict[str, str],
    *,
    heading: bool = True,
    shape: str = "",
) -> None:
    """Print items as --format says; templates see them as the structs of structs.py that `shape` names."""
    wanted = Format(format)
    if wanted.is_json:
        from podling.oci import json

        app.out(json.pretty(items, 4))
        return
    text = wanted.rows(items, headers, heading=heading, shape=shape)
    if text:
        app.out(text)


def view(document: dict[str, Any], shape: str) -> Fields:
    """A document for a template: the struct of structs.py that `shape` names."""
    from podling.cli import structs

    return structs.view(document, shape)


def human_size(size: float, *, space: bool = True, digits: int = 3) -> str:
    """Three significant digits, powers of 1000: `4.33 MB`."""
    units = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
    position = 0
    while size >= 1000 and position < len(units) - 1:
        size /= 1000
        position += 1
    number = f"{size:.{digits}g}"
    if "e" in number:
        number = str(round(size))
    return f"{number}{' ' if space else ''}{units[position]}"


def local_time(nanoseconds: int) -> str:
    """As Go prints a time: `2026-01-02 15:04:05.123456789 +0000 UTC`."""
    import time

    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    moment = time.localtime(seconds)
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return time.strftime("%Y-%m-%d %H:%M:%S", moment) + digits + time.strftime(" %z %Z", moment)


def write_image_id(path: str, id: str) -> None:
    """--iidfile of build and commit; nothing without a path.

    Raises:
        UsageError: the file cannot be written.
    """
    if not path:
        return
    try:
        with open(path, "w") as file:
            file.write(f"sha256:{id}")
    except OSError as error:
        raise UsageError(f"--iidfile {path}: {error.strerror}") from None
