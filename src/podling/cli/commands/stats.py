"""stats, and what `pod stats` shows."""

from __future__ import annotations

import os
import time

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import Format, human_size, table
from podling.engine.catalogue import containers as ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.stats import Sample

_HEADERS = {
    "ID": "ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %", "NetIO": "NET IO",
    "BlockIO": "BLOCK IO", "PIDS": "PIDS", "UpTime": "CPU TIME", "AVGCPU": "AVG CPU %", "CPU": "CPU %",
    "MemUsageBytes": "MEM USAGE / LIMIT",
}  # fmt: skip
_COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDS", "UpTime", "AVGCPU")


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
    rows = [_fields(sample, whole=args.no_trunc) for sample in batch]
    if args.format and Format(args.format).is_json:
        from podling.oci import json

        return json.pretty([_json(row) for row in rows], 1)
    if args.format:
        return Format(args.format).rows(rows, _HEADERS)
    heading = [_HEADERS[column] for column in _COLUMNS]
    return table([heading, *([str(row[column]) for column in _COLUMNS] for row in rows)])


_POD_COLUMNS = ("Pod", "CID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDS")


def show_pods(batch: list[Sample], owner: dict[str, str], format: str) -> str:
    """`pod stats`: samples with the pods that they belong to (container's id to pod's id)."""
    rows = [{**_fields(sample), "Pod": owner[sample.id][:12], "CID": sample.id[:12]} for sample in batch]
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


def _fields(sample: Sample, *, whole: bool = False) -> dict[str, Any]:
    def size(number: int) -> str:
        return human_size(number, space=False, digits=4)

    return {
        "ID": sample.id if whole else sample.id[:12], "ContainerID": sample.id, "Name": sample.name,
        "CPUPerc": f"{sample.cpu_percent:.2f}%", "CPU": sample.cpu_percent, "AVGCPU": f"{sample.average_percent:.2f}%",
        "AvgCPU": sample.average_percent, "MemUsage": f"{size(sample.memory)} / {size(sample.memory_limit)}",
        "MemUsageBytes": f"{sample.memory}B / {sample.memory_limit}B", "MemLimit": sample.memory_limit,
        "MemPerc": f"{sample.memory_percent:.2f}%", "NetIO": f"{size(sample.received)} / {size(sample.sent)}",
        "BlockIO": f"{size(sample.block_read)} / {size(sample.block_written)}", "BlockInput": sample.block_read,
        "BlockOutput": sample.block_written, "PIDS": str(sample.processes), "PIDs": sample.processes, "UpTime": _seconds(sample.cpu),
        "Up": _seconds(sample.cpu), "Duration": sample.uptime, "CPUNano": sample.cpu, "CPUSystemNano": sample.cpu_system,
        "SystemNano": time.time_ns(), "PerCPU": [],
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
