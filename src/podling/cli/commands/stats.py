"""stats, and what `pod stats` shows."""

from __future__ import annotations

import os
import time

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import WHOLE, Format, human_size, table, view
from podling.engine import shapes
from podling.engine.catalogue import containers as ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.stats import Sample

_HEADERS = {
    "ID": "ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %", "NetIO": "NET IO",
    "BlockIO": "BLOCK IO", "PIDS": "PIDS", "UpTime": "CPU TIME", "AVGCPU": "AVG CPU %", "CPU": "CPU %",
    "MemUsageBytes": "MEM USAGE / LIMIT",
}  # fmt: skip


def _show(app: App, args: Args) -> int:
    if sum((bool(args.rest), args.all, args.latest)) > 1:
        raise UsageError("--all, --latest and containers cannot be used together")
    if args.interval < 1:
        raise UsageError("--interval: at least a second")
    samples = app.engine.call(
        ops.ContainerStats(
            names=args.rest,
            all=args.all,
            latest=args.latest,
            interval=float(args.interval),
            system="System" in args.format,
        )
    )
    clear = not args.no_stream and not args.no_reset and not args.format and os.isatty(1)
    for batch in samples:
        text = _text(batch, args)
        app.out(f"\x1b[2J\x1b[H{text}" if clear else text)
        if args.no_stream:
            break
    return 0


def _text(batch: list[Sample], args: Args) -> str:
    if not args.format:
        lines = [[text(sample) for _, text in _TABLE] for sample in batch]
        if args.no_trunc:
            for line, sample in zip(lines, batch, strict=True):
                line[0] = sample.id
        return table([[_HEADERS[name] for name, _ in _TABLE], *lines])
    rows = [_fields(sample, whole=args.no_trunc) for sample in batch]
    if args.format and Format(args.format).is_json:
        from podling.oci import json

        return json.pretty([_json(row) for row in rows], 1)
    return Format(args.format).rows(rows, _HEADERS)


_POD_COLUMNS = ("Pod", "CID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDS")


def show_pods(batch: list[Sample], owner: dict[str, str], format: str) -> str:
    """`pod stats`: samples with the pods that they belong to (container's id to pod's id)."""
    rows: list[dict[str, Any]] = [
        {**_fields(sample), "Pod": owner[sample.id][:12], "CID": sample.id[:12], "Mem": f"{sample.memory_percent:.2f}%"}
        for sample in batch
    ]
    headers = {**_HEADERS, "Pod": "POD", "CID": "CID"}
    if format and Format(format).is_json:
        from podling.oci import json

        return json.pretty([{key: row[key] for key in _POD_COLUMNS} for row in rows], 4)
    if format:
        return Format(format).rows(rows, headers)
    heading = [headers[column] for column in _POD_COLUMNS]
    return table([heading, *([str(row[column]) for column in _POD_COLUMNS] for row in rows)])


def _seconds(nanoseconds: int) -> str:
    """As Go prints a duration, in short."""
    if nanoseconds < 10**9:
        return f"{nanoseconds / 10**6:.6f}".rstrip("0").rstrip(".") + "ms"
    minutes, seconds = divmod(nanoseconds / 10**9, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text


def _size(number: int) -> str:
    return human_size(number, space=False, digits=4)


#: the table's columns; a table of many containers makes no field that it does not show
_TABLE: tuple[tuple[str, Callable[[Sample], str]], ...] = (
    ("ID", lambda s: s.id[:12]),
    ("Name", lambda s: s.name),
    ("CPUPerc", lambda s: f"{s.cpu_percent:.2f}%"),
    ("MemUsage", lambda s: f"{_size(s.memory)} / {_size(s.memory_limit)}"),
    ("MemPerc", lambda s: f"{s.memory_percent:.2f}%"),
    ("NetIO", lambda s: f"{_size(s.received)} / {_size(s.sent)}"),
    ("BlockIO", lambda s: f"{_size(s.block_read)} / {_size(s.block_written)}"),
    ("PIDS", lambda s: str(s.processes)),
    ("UpTime", lambda s: _seconds(s.cpu)),
    ("AVGCPU", lambda s: f"{s.average_percent:.2f}%"),
)


def _fields(sample: Sample, *, whole: bool = False) -> dict[str, Any]:
    return {
        **{name: text(sample) for name, text in _TABLE},
        "ID": sample.id if whole else sample.id[:12], "ContainerID": sample.id, "CPU": sample.cpu_percent,
        "AvgCPU": sample.average_percent, "MemUsageBytes": f"{sample.memory}B / {sample.memory_limit}B",
        "MemLimit": sample.memory_limit, "BlockInput": sample.block_read, "BlockOutput": sample.block_written,
        "PIDs": sample.processes, "Up": _seconds(sample.cpu), "Duration": sample.uptime, "CPUNano": sample.cpu,
        "CPUSystemNano": sample.cpu_system, "SystemNano": time.time_ns(), "PerCPU": [], "Network": lambda: shapes.sample(sample)["Network"],
        "ContainerStats": lambda: view(shapes.sample(sample), "stats row"), WHOLE: lambda: shapes.sample(sample),
    }  # fmt: skip


def _json(row: dict[str, Any]) -> dict[str, Any]:
    names = {
        "id": "ID", "name": "Name", "cpu_time": "UpTime", "cpu_percent": "CPUPerc", "avg_cpu": "AVGCPU", "mem_usage": "MemUsage",
        "mem_percent": "MemPerc", "net_io": "NetIO", "block_io": "BlockIO", "pids": "PIDS",
    }  # fmt: skip
    return {name: row[field] for name, field in names.items()}


STATS = Command(
    _show,
    "[options] [CONTAINER...]",
    "Shows again and again what containers use of the host.",
    Flag("all", "a", "bool", "Show containers that do not run too"),
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("interval", "i", "int", "Seconds between two looks", 5),
    Flag("latest", "l", "bool", "The container created last"),
    Flag("no-reset", "", "bool", "Do not clear the screen between two looks"),
    Flag("no-stream", "", "bool", "Look once"),
    Flag("no-trunc", "", "bool", "Show whole ids"),
    examples=("stats", "stats --no-stream web db"),
)
