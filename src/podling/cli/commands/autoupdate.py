"""auto-update."""

from __future__ import annotations

from podling.cli.command import Command
from podling.cli.commands.registries import AUTHFILE, TLS_VERIFY, access
from podling.cli.flags import Flag
from podling.cli.output import Format, table
from podling.engine.catalogue import system as ops
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args

_HEADERS = {
    "Unit": "UNIT", "Container": "CONTAINER", "ContainerName": "CONTAINER NAME", "ContainerID": "CONTAINER ID", "Image": "IMAGE",
    "Policy": "POLICY", "Updated": "UPDATED",
}  # fmt: skip
_COLUMNS = ("Unit", "Container", "Image", "Policy", "Updated")


def _auto_update(app: App, args: Args) -> int:
    updates, errors = app.engine.call(ops.AutoUpdate(dry_run=args.dry_run, rollback=args.rollback, **access(args)))
    rows = [
        {
            "Unit": update.unit, "Container": f"{update.container_id[:12]} ({update.container_name})",
            "ContainerName": update.container_name, "ContainerID": update.container_id, "Image": update.image, "Policy": update.policy,
            "Updated": update.updated,
        }
        for update in updates
    ]  # fmt: skip
    if args.format and Format(args.format).is_json:
        app.out(json.pretty(rows, 4))
    elif args.format:
        app.out(Format(args.format).rows(rows, _HEADERS))
    elif rows:
        app.out(table([[_HEADERS[name] for name in _COLUMNS], *([row[name] for name in _COLUMNS] for row in rows)]))
    return app.report([], errors)


AUTO_UPDATE = Command(
    _auto_update,
    "[options]",
    "Looks for newer images of containers with the label io.containers.autoupdate (registry, or local), pulls them, and has systemd "
    "restart the units that run the containers. A unit that does not start gets the image back that it had.",
    AUTHFILE,
    Flag("dry-run", "", "bool", "Only look: what would be updated is pending"),
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("rollback", "", "bool", "Go back to the image before when a unit does not start", True),
    TLS_VERIFY,
    most=0,
    examples=("auto-update --dry-run",),
)
