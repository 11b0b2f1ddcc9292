"""system df, system prune."""

from __future__ import annotations

import time

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import Format, human_size, print_rows, table
from podling.engine.catalogue import system as ops
from podling.engine.shapes import ago

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.usage import Pruned, Usage

_HEADERS = {"Type": "TYPE", "Total": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}


def _size(number: int) -> str:
    return human_size(number, space=False, digits=4)


def _row(kind: str, total: int, active: int, size: int, reclaimable: int) -> dict[str, Any]:
    percent = round(100 * reclaimable / size) if size else 0
    return {
        "Type": kind, "Total": total, "Active": active, "Size": _size(size), "RawSize": size, "RawReclaimable": reclaimable,
        "Reclaimable": f"{_size(reclaimable)} ({percent}%)", "TotalCount": total,
    }  # fmt: skip


def _df(app: App, args: Args) -> int:
    usage: Usage = app.engine.call(ops.DiskUsage())
    if args.verbose:
        if args.format:
            raise UsageError("--format and --verbose exclude each other")
        app.out(_verbose(usage))
        return 0
    free = sum(image.unique for image in usage.images if not image.containers)
    alive = ("running", "paused", "stopping")
    rows = [
        _row("Images", len(usage.images), sum(1 for image in usage.images if image.containers), usage.layers, free),
        _row(
            "Containers", len(usage.containers), sum(1 for item in usage.containers if item.status in alive),
            sum(item.size for item in usage.containers), sum(item.size for item in usage.containers if item.status not in alive),
        ),
        _row(
            "Local Volumes", len(usage.volumes), sum(1 for volume in usage.volumes if volume.links),
            sum(volume.size for volume in usage.volumes), sum(volume.size for volume in usage.volumes if not volume.links),
        ),
    ]  # fmt: skip
    if args.format:
        print_rows(app, args.format, [_json(row) for row in rows] if Format(args.format).is_json else rows, _HEADERS)
        return 0
    app.out(table([list(_HEADERS.values()), *([str(row[column]) for column in _HEADERS] for row in rows)]))
    return 0


def _json(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: row[key]
        for key in ("Type", "Total", "Active", "RawSize", "RawReclaimable", "TotalCount", "Size", "Reclaimable")
    }


def _verbose(usage: Usage) -> str:
    now = time.time_ns()
    pictures = [["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"]]
    for image in usage.images:
        for name in image.names or ["<none>:<none>"]:
            repository, _, tag = name.rpartition(":")
            sizes = [_size(image.size), _size(image.shared), _size(image.unique), str(image.containers)]
            pictures.append([repository, tag, image.id[:12], ago(image.created, now), *sizes])
    boxes = [["CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"]]
    for box in usage.containers:
        command = " ".join(box.command)
        boxes.append(
            [
                box.id[:12], box.image, command if len(command) <= 20 else command[:17] + "...", str(box.volumes), _size(box.size),
                ago(box.created, now), box.status, box.name,
            ]
        )  # fmt: skip
    kept = [["VOLUME NAME", "LINKS", "SIZE"], *([v.name, str(v.links), _size(v.size)] for v in usage.volumes)]
    return "\n".join(
        f"{title} space usage:\n\n{table(rows)}\n"
        for title, rows in (("Images", pictures), ("Containers", boxes), ("Local Volumes", kept))
    )


def _prune(app: App, args: Args) -> int:
    if not args.force:
        what = ["\t- all pods of which nothing runs"] if not args.filter else []
        what += ["\t- all stopped containers", "\t- all networks not used by at least one container"]
        what += ["\t- all volumes not used by at least one container"] if args.volumes else []
        what += [
            "\t- all images without at least one container associated with them"
            if args.all
            else "\t- all dangling images"
        ]
        if not app.confirm("\n".join(["WARNING! This command removes:", *what, ""])):
            return 0
    wanted = ops.PruneSystem(
        all=args.all, volumes=args.volumes, build=args.build, external=args.external, filters=args.filter
    )
    done: Pruned = app.engine.call(wanted)
    for title, names in (
        ("Pods", done.pods),
        ("Containers", done.containers), ("Networks", done.networks), ("Images", done.images), ("Volumes", done.volumes),
    ):  # fmt: skip
        if names:
            app.out("\n".join([f"Deleted {title}", *names]))
    app.out(f"Total reclaimed space: {_size(done.freed)}")
    return 0


DF = Command(
    _df,
    "[options]",
    "Shows how much space images, containers and volumes take, and how much of it could be given back.",
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("verbose", "v", "bool", "Show each image, container and volume"),
    most=0,
    examples=("system df", "system df -v"),
)
PRUNE = Command(
    _prune,
    "[options]",
    "Removes containers that do not run, and networks and images that nobody uses.",
    Flag("all", "a", "bool", "Remove every image that no container uses, not only those without a name"),
    Flag("build", "", "bool", "Remove what builds keep for later ones too"),
    Flag("external", "", "bool", "Remove folders in the store that nothing refers to, and nothing else"),
    Flag("filter", "", "list", "Remove only what matches KEY=VALUE: label, until"),
    Flag("force", "f", "bool", "Do not ask"),
    Flag("volumes", "", "bool", "Remove volumes that no container has too"),
    most=0,
    examples=("system prune", "system prune --all --volumes --force"),
)
