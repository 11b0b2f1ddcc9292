"""generate systemd, quadlet list, quadlet print."""

from __future__ import annotations

import os

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import print_rows, table
from podling.engine.catalogue import units as ops
from podling.engine.features import UnitOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.engine.features import Quadlet

_FIELDS = (
    "new", "container_prefix", "pod_prefix", "separator", "restart_policy", "restart_sec", "start_timeout", "stop_timeout", "template",
    "wants", "after", "requires", "env",
)  # fmt: skip


def _systemd(app: App, args: Args) -> int:
    if args.format not in ("", "json"):
        raise UsageError(f"--format {args.format!r}: only json is known")
    options = UnitOptions(**args.only(*_FIELDS), use_name=args.name, header=not args.no_header)
    units: dict[str, str] = app.engine.call(ops.GenerateUnits(name=args.rest[0], options=options))
    if not args.files:
        if args.format == "json":
            from podling.oci import json

            app.out(json.pretty(units, 1))
        else:
            app.out("\n".join(text for text in units.values()).rstrip("\n"))
        return 0
    written = {}
    for name, text in units.items():
        path = os.path.abspath(f"{name}.service")
        try:
            with open(path, "w") as file:
                file.write(text)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        written[name] = path
    if args.format == "json":
        from podling.oci import json

        app.out(json.pretty(written, 1))
    else:
        app.out("\n".join(written.values()))
    return 0


_HEADERS = {"Name": "NAME", "UnitName": "UNIT NAME", "Path": "PATH ON DISK", "Status": "STATUS", "App": "APPLICATION"}


def _list(app: App, args: Args) -> int:
    found: list[Quadlet] = app.engine.call(ops.ListQuadlets(filters=args.filter))
    rows = [{"Name": q.name, "UnitName": q.unit, "Path": q.path, "Status": q.status, "App": q.app} for q in found]
    if args.format:
        print_rows(app, args.format, rows, _HEADERS)
        return 0
    app.out(table([list(_HEADERS.values()), *(list(row.values()) for row in rows)]))
    return 0


def _print(app: App, args: Args) -> int:
    app.out(app.engine.call(ops.PrintQuadlet(name=args.rest[0])).rstrip("\n"))
    return 0


SYSTEMD = Command(
    _systemd, "[options] {CONTAINER|POD}", "Prints systemd units that start and stop a container, or a pod with its containers.",
    Flag("after", "", "list", "Units that must be up before (After=)"),
    Flag("container-prefix", "", "string", "Beginning of the names of containers' units", "container"),
    Flag("env", "e", "list", "A variable of the units (NAME=VALUE)"),
    Flag("files", "f", "bool", "Write NAME.service files into the current folder"),
    Flag("format", "", "string", "Print as JSON (json)"),
    Flag("name", "n", "bool", "Use names instead of ids"),
    Flag("new", "", "bool", "Make the container or pod anew with each start"),
    Flag("no-header", "", "bool", "Leave out when and by what they were made"),
    Flag("pod-prefix", "", "string", "Beginning of the names of pods' units", "pod"),
    Flag("requires", "", "list", "Units that this one cannot do without (Requires=)"),
    Flag("restart-policy", "", "string", "When systemd starts it again (Restart=)", "on-failure"),
    Flag("restart-sec", "", "int", "Seconds before that (RestartSec=)"),
    Flag("separator", "", "string", "What stands between prefix and name", "-"),
    Flag("start-timeout", "", "int", "Seconds that a start may take"),
    Flag("stop-timeout", "", "int", "Seconds from the stop signal to SIGKILL", 10),
    Flag("template", "", "bool", "Make a template (NAME@.service), with --new"),
    Flag("time", "t", "int", "The same as --stop-timeout", 10, field="stop_timeout", hidden=True),
    Flag("wants", "", "list", "Units that should be up too (Wants=)"),
    least=1, most=1, examples=("generate systemd --new --name web", "generate systemd --files --name shop"),
)  # fmt: skip
LIST = Command(
    _list, "[options]", "Lists the Quadlet files where systemd's generator looks for them.",
    Flag("filter", "f", "list", "Only files that match name=PATTERN"),
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    most=0, examples=("quadlet list", "quadlet list --filter name=web*"),
)  # fmt: skip
PRINT = Command(_print, "QUADLET", "Prints a Quadlet file.", least=1, most=1, examples=("quadlet print web.container",))
