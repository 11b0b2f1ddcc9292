"""events, info, version."""

from __future__ import annotations

from podling.cli.command import Command
from podling.cli.flags import Flag
from podling.engine import shapes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.events import Event


def _events(app: App, args: Args) -> int:
    from podling.cli.output import Format

    wanted = Format(args.format) if args.format else None
    template = None
    if wanted and not wanted.is_json:
        from podling.cli.template import compile

        template = compile(wanted.text)
    for event in app.engine.system.events(since=args.since, until=args.until, filters=args.filter, follow=args.stream):
        if template:
            app.out(template.render(_fields(event)))
        elif wanted:
            from podling.oci import json

            app.out(json.dumps(shapes.event(event)))
        else:
            app.out(_line(event, short=not args.no_trunc))
    return 0


#: names of attributes as a line shows them
_SHOWN = {"podId": "pod_id"}


def _line(event: Event, *, short: bool) -> str:
    from podling.cli.output import local_time

    id = event.id[:12] if short else event.id
    if event.type == "container":
        details = ", ".join(
            [
                f"image={event.image}",
                f"name={event.name}",
                *(f"{_SHOWN.get(k, k)}={v}" for k, v in sorted(event.attributes.items()) if k != "inspectData"),
            ]
        )
        return f"{local_time(event.time)} container {event.action} {id} ({details})"
    return f"{local_time(event.time)} {event.type} {event.action} {id} {event.name}".rstrip()


def _fields(event: Event) -> dict[str, Any]:
    from podling.cli.output import local_time
    from podling.cli.template import Fields

    attributes = {key: value for key, value in event.attributes.items() if key != "inspectData"}
    code = attributes.get("containerExitCode")
    details = {
        "PodID": attributes.get("podId", ""),
        "ContainerInspectData": event.attributes.get("inspectData", ""),
        "Attributes": attributes,
    }
    return Fields(
        {
            **details, "Details": Fields(details), "HealthStatus": attributes.get("health_status", ""),
            "Error": attributes.get("error", ""),
            "Network": event.name if event.type == "network" else "",
            "Time": local_time(event.time), "TimeNano": event.time, "Type": event.type, "Status": event.action, "Action": event.action,
            "ID": event.id, "Name": event.name, "Image": event.image, "ContainerExitCode": int(code) if code else None,
            "Actor": {"ID": event.id, "Attributes": attributes},
        }
    )  # fmt: skip


def _print_document(app: App, document: dict[str, Any], format: str, shape: str) -> None:
    from podling.cli.output import Format

    wanted = Format(format)
    if wanted.is_json:
        from podling.oci import json

        app.out(json.pretty(document, 2))
        return
    from podling.cli.structs import view
    from podling.cli.template import compile

    app.out(compile(wanted.text).render(view(document, shape)))


def _info(app: App, args: Args) -> int:
    document = app.engine.system.info()
    if args.format:
        _print_document(app, document, args.format, "info")
    else:
        app.out("\n".join(_yaml(document)))
    return 0


def _yaml(value: Any, indent: str = "") -> list[str]:
    """Enough of YAML to show a document of plain values."""
    lines: list[str] = []
    for key in sorted(value):
        item = value[key]
        if isinstance(item, dict) and item:
            lines += [f"{indent}{key}:", *_yaml(item, indent + "  ")]
        elif isinstance(item, list) and item:
            lines += [f"{indent}{key}:", *(f"{indent}- {_scalar(entry)}" for entry in item)]
        elif isinstance(item, str) and "\n" in item:
            lines += [f"{indent}{key}: |-", *(f"{indent}  {line}" for line in item.splitlines())]
        else:
            lines.append(f"{indent}{key}: {_scalar(item)}")
    return lines


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and (value in ("", "true", "false", "null") or value.replace(".", "", 1).isdigit()):
        return f'"{value}"'
    return "{}" if value == {} else "[]" if value == [] else str(value)


def _version(app: App, args: Args) -> int:
    document = app.engine.system.version()
    if args.format:
        from podling.cli.output import Format

        if not Format(args.format).is_json:
            document = {"Server": document["Client"], **document}  # without a service, we are the server
        _print_document(app, document, args.format, "version")
        return 0
    client = document["Client"]
    rows = [("Client", "Podling Engine"), ("Version", client["Version"]), ("API Version", client["APIVersion"])]
    rows += [("Python Version", client["GoVersion"].removeprefix("python")), ("OS/Arch", client["OsArch"])]
    if "Server" in document:
        server = document["Server"]
        rows += [
            ("", ""),
            ("Server", "Podling Engine"),
            ("Version", server["Version"]),
            ("API Version", server["APIVersion"]),
        ]
        rows += [("Python Version", server["GoVersion"].removeprefix("python")), ("OS/Arch", server["OsArch"])]
    app.out("\n".join(f"{name + ':':<15} {value}" if name else "" for name, value in rows))
    return 0


EVENTS = Command(
    _events,
    "[options]",
    "Shows events as they happen; --since shows those of the past too.",
    Flag("filter", "f", "list", "Show only events that match KEY=VALUE"),
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("no-trunc", "", "bool", "Show whole ids", True),
    Flag("since", "", "string", "Show events after a time, such as 2026-01-02T15:04:05 or 10m"),
    Flag("stream", "", "bool", "Wait for new events; with =false end after those of the past", True),
    Flag("until", "", "string", "Show events before a time"),
    most=0,
    examples=("events", "events --since 1h --filter event=died"),
)
INFO = Command(
    _info, "[options]", "Shows information about host, store and engine.",
    Flag("debug", "D", "bool", "Accepted: everything is always shown", hidden=True),
    Flag("format", "f", "string", 'Print as JSON ("json") or with a Go template'), most=0, examples=("info", "info -f '{{.Host.Kernel}}'"),
)  # fmt: skip
VERSION = Command(
    _version, "[options]", "Shows version information.", Flag("format", "f", "string", 'Print as JSON ("json") or with a Go template'),
    most=0, examples=("version",),
)  # fmt: skip
