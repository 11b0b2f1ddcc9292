"""images, rmi, tag, untag, history, image exists, prune, tree, mount, unmount; diff."""

from __future__ import annotations

import time

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import WHOLE, Format, human_size, local_time, print_rows, table, view
from podling.engine import shapes
from podling.engine.catalogue import images as ops
from podling.engine.shapes import ago

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.images import Image

_HEADERS = {
    "ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Created": "CREATED", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT",
    "Size": "SIZE", "Digest": "DIGEST", "Names": "NAMES",
}  # fmt: skip
_SORTS = ("created", "id", "repository", "size", "tag")


def _images(app: App, args: Args) -> int:
    if args.sort not in _SORTS:
        raise UsageError(f"invalid --sort {args.sort!r}", hint=f"sort by {', '.join(_SORTS)}")
    images: list[Image] = app.engine.call(
        ops.ListImages(names=args.rest, filters=args.filter, all=args.all, history=args.history or bool(args.format))
    )
    if args.format and Format(args.format).is_json:
        print_rows(app, "json", [shapes.image(image) for image in images], {})
        return 0
    entries = [(image, repository, tag) for image in images for repository, tag in _names(image)]
    keys: dict[str, Any] = {
        "created": lambda e: -e[0].created, "id": lambda e: e[0].id, "repository": lambda e: e[1], "size": lambda e: e[0].size,
        "tag": lambda e: e[2],
    }  # fmt: skip
    entries.sort(key=keys[args.sort])
    if args.quiet:
        ids = [f"sha256:{image.id}" if args.no_trunc else image.id[:12] for image, _, _ in entries]
        if ids:
            app.out("\n".join(dict.fromkeys(ids)))
        return 0
    now = time.time_ns()
    if args.format:
        print_rows(
            app, args.format, [_fields(*entry, args, now) for entry in entries], _HEADERS, heading=not args.noheading
        )
        return 0
    rows = []
    if not args.noheading:
        shelf = ["R/O"] if any(image.shelf for image in images) else []
        past = ["HISTORY"] if args.history else []
        rows.append(
            ["REPOSITORY", "TAG", *(["DIGEST"] if args.digests else []), "IMAGE ID", "CREATED", "SIZE", *shelf, *past]
        )
    for image, repository, tag in entries:
        id = f"sha256:{image.id}" if args.no_trunc else image.id[:12]
        digest = [image.manifest_digest] if args.digests else []
        row = [repository, tag, *digest, id, ago(image.created, now), human_size(image.size)]
        if any(other.shelf for other in images):
            row.append("true" if image.shelf else "false")
        rows.append([*row, *([", ".join(image.past_names) or "<none>"] if args.history else [])])
    if rows:
        app.out(table(rows))
    return 0


def _names(image: Image) -> list[tuple[str, str]]:
    if not image.names:
        return [("<none>", "<none>")]
    return [(name.rpartition(":")[0], name.rpartition(":")[2]) for name in image.names]


def _fields(image: Image, repository: str, tag: str, args: Args, now: int) -> dict[str, Any]:
    id = f"sha256:{image.id}" if args.no_trunc else image.id[:12]
    return {
        "ID": id, "Id": image.id, "Repository": repository, "Tag": tag, "Created": ago(image.created, now),
        "CreatedSince": ago(image.created, now), "CreatedAt": local_time(image.created), "CreatedTime": local_time(image.created),
        "Size": human_size(image.size), "VirtualSize": image.size, "Digest": image.manifest_digest, "Labels": lambda: dict(image.labels),
        "Names": image.names, "RepoTags": image.names, "Dangling": not image.names, "ReadOnly": bool(image.shelf),
        "History": ", ".join(image.past_names), "Containers": image.containers, "IsManifestList": image.kind == "index",
        "ParentId": "", "RepoDigests": [f"{name.rpartition(':')[0]}@{image.manifest_digest}" for name in image.names],
        "SharedSize": "0B", "IsDangling": not image.names, "IsReadOnly": bool(image.shelf),
        "ImageSummary": lambda: view(shapes.image(image), "image row"), WHOLE: lambda: shapes.image(image),
        "Os": image.platform.split("/")[0], "Arch": (image.platform.split("/") + [""])[1],
    }  # fmt: skip


def _rmi(app: App, args: Args) -> int:
    if not args.rest and not args.all:
        raise UsageError("image name or ID must be specified")
    if args.rest and args.all:
        raise UsageError("when using the --all switch, you may not pass any images names or IDs")
    removal, report = app.engine.call(
        ops.RemoveImages(names=args.rest, force=args.force, all=args.all, ignore=args.ignore, prune=not args.no_prune)
    )
    for error in report.errors:
        if getattr(error, "status", 0) == 404:
            error.exit_code = 1
    return app.report(
        [f"Untagged: {name}" for name in removal.untagged] + [f"Deleted: {id}" for id in removal.deleted], report.errors
    )


def _tag(app: App, args: Args) -> None:
    app.engine.images.tag(*args.rest)


def _untag(app: App, args: Args) -> None:
    app.engine.images.untag(*args.rest)


def _exists(app: App, args: Args) -> int:
    return 0 if app.engine.images.exists(args.rest[0]) else 1


_HISTORY_HEADERS = {
    "ID": "ID",
    "Created": "CREATED",
    "CreatedSince": "CREATED",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}


def _history(app: App, args: Args) -> int:
    from podling.oci.times import parse_time

    steps = app.engine.images.history(args.rest[0])
    if args.format and Format(args.format).is_json:
        print_rows(app, "json", steps, {})
        return 0
    now = time.time_ns()
    rows = []
    for step in steps:
        id = (step["id"] if args.no_trunc else step["id"][:12]) or "<missing>"
        by = step["CreatedBy"]
        if not args.no_trunc and len(by) > 45:
            by = by[:42] + "..."
        created = parse_time(step["created"])
        rows.append(
            {
                "ID": id, "Created": ago(created, now) if args.human else step["created"], "CreatedSince": ago(created, now),
                "CreatedAt": step["created"], "CreatedBy": by, "Comment": step["comment"], "Tags": step["tags"],
                "Size": human_size(step["size"]) if args.human else str(step["size"]),
                WHOLE: step, "ImageHistoryLayer": lambda step=step: view(step, "history"),
            }
        )  # fmt: skip
    if args.quiet:
        app.out("\n".join(row["ID"] for row in rows))
    elif args.format:
        print_rows(app, args.format, rows, _HISTORY_HEADERS)
    else:
        columns = ("ID", "Created", "CreatedBy", "Size", "Comment")
        app.out(table([[_HISTORY_HEADERS[c] for c in columns], *([row[c] for c in columns] for row in rows)]))
    return 0


def _prune(app: App, args: Args) -> int:
    if not args.force:
        what = "all images without at least one container associated to them" if args.all else "all dangling images"
        if not app.confirm(f"WARNING! This command removes {what}."):
            return 0
    removed, _ = app.engine.call(ops.PruneImages(all=args.all, filters=args.filter, build_cache=args.build_cache))
    if removed:
        app.out("\n".join(removed))
    return 0


def _tree(app: App, args: Args) -> int:
    image, layers = app.engine.call(ops.ImageTree(name=args.rest[0], dependants=args.whatrequires))
    lines = [
        f"Image ID: {image.id[:12]}",
        f"Tags:     [{' '.join(image.names)}]",
        f"Size:     {human_size(image.size, space=False, digits=4)}",
        "Image Layers",
    ]
    for position, layer in enumerate(layers):
        later = layers[position + 1 :]
        ends = not any(other.depth == layer.depth for other in _until_shallower(later, layer.depth))
        mark = "└── " if ends else "├── "
        tops = f" Top Layer of: [{' '.join(layer.tops)}]" if layer.tops else ""
        lines.append(
            f"{'    ' * layer.depth}{mark}ID: {layer.id[:12]} Size: {human_size(layer.size, space=False, digits=4)}{tops}"
        )
    app.out("\n".join(lines))
    return 0


def _until_shallower(layers: list[Any], depth: int) -> list[Any]:
    end = next((n for n, layer in enumerate(layers) if layer.depth < depth), len(layers))
    return layers[:end]


def _mount(app: App, args: Args) -> int:
    if args.format not in ("", "json"):
        raise UsageError(f"unknown --format {args.format!r}: only json")
    if args.rest and args.all:
        raise UsageError("when using the --all switch, you may not pass any image names or IDs")
    mounted = app.engine.call(ops.MountImages(names=args.rest, all=args.all))
    if args.format == "json":
        from podling.oci import json

        rows = [
            {"id": image.id, "Names": image.names, "Repositories": image.names, "mountpoint": path}
            for image, path in mounted
        ]
        app.out(json.pretty(rows, 1))
    elif len(args.rest) == 1:
        app.out(mounted[0][1])
    elif mounted:
        lines = [[image.names[0] if image.names else image.id[:12], path] for image, path in mounted]
        app.out(table(lines))
    return 0


def _unmount(app: App, args: Args) -> int:
    if not args.rest and not args.all:
        raise UsageError("image name or ID must be specified")
    report = app.engine.call(ops.UnmountImages(names=args.rest, all=args.all, force=args.force))
    return app.report(report.done, report.errors)


def show_changes(app: App, args: Args, kind: str) -> int:
    """`diff` of containers, images, or either."""
    if args.format not in ("", "json"):
        raise UsageError(f"unknown --format {args.format!r}: only json")
    name = args.rest[0] if args.rest else ""
    if getattr(args, "latest", False):
        from podling.engine.catalogue.containers import ListContainers

        last = app.engine.call(ListContainers(last=1))
        if not last:
            raise UsageError("there is no container")
        name = last[0].id
    elif not name:
        raise UsageError("container or image name is required")
    changes = app.engine.call(ops.Diff(name=name, other=args.rest[1] if len(args.rest) > 1 else "", kind=kind))
    if args.format == "json":
        from podling.oci import json

        words = {"C": "changed", "A": "added", "D": "deleted"}
        groups: dict[str, list[str]] = {}
        for change, path in sorted(changes, key=lambda item: "CAD".index(item[0])):
            groups.setdefault(words[change], []).append(path)
        app.out(json.pretty(groups, 5))
    elif changes:
        app.out("\n".join(f"{change} {path}" for change, path in changes))
    return 0


_DIFF_FORMAT = Flag("format", "", "string", "json, instead of a line per path")
_LATEST = Flag("latest", "l", "bool", "The container that was made last")
IMAGES = Command(
    _images,
    "[options] [IMAGE...]",
    "Lists the images in local storage, or those that a name or a pattern fits.",
    Flag("all", "a", "bool", "Show all images"),
    Flag("digests", "", "bool", "Show digests"),
    Flag("filter", "f", "list", "Show only images that match KEY=VALUE"),
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("history", "", "bool", "Show the names that images had before"),
    Flag("no-trunc", "", "bool", "Show whole ids"),
    Flag("noheading", "n", "bool", "Leave the table's heading out"),
    Flag("quiet", "q", "bool", "Print the ids only"),
    Flag("sort", "", "string", "Sort by created, id, repository, size or tag", "created"),
    examples=("images", 'images --format "{{.Repository}}:{{.Tag}}"', "images --filter reference='*busybox*'"),
)
RMI = Command(
    _rmi,
    "[options] IMAGE [IMAGE...]",
    "Removes names, and images without one; an image in use only with --force, and then its containers too.",
    Flag("all", "a", "bool", "Remove all images"),
    Flag("force", "f", "bool", "Remove an image with all its names and containers"),
    Flag("ignore", "i", "bool", "It is no error when an image does not exist"),
    Flag("no-prune", "", "bool", "Keep images without a name that the image was built on"),
    examples=("rmi alpine:3", "rmi --force 8c1a", "rmi --all"),
)
TAG = Command(
    _tag, "IMAGE NAME [NAME...]", "Gives an image further names.", least=2, examples=("tag 0e3bbc2 fedora:latest",)
)
UNTAG = Command(
    _untag,
    "IMAGE [NAME...]",
    "Takes names away from an image: all, or those given.",
    least=1,
    examples=("untag fedora:latest",),
)
EXISTS = Command(_exists, "IMAGE", "Ends with 0 when the image is in local storage, else with 1.", least=1, most=1)
HISTORY = Command(
    _history,
    "[options] IMAGE",
    "Shows the steps that made an image, newest first.",
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("human", "H", "bool", "Show sizes and times for people", True),
    Flag("no-trunc", "", "bool", "Do not cut long columns"),
    Flag("quiet", "q", "bool", "Print the ids only"),
    least=1,
    most=1,
    examples=("history alpine",),
)
PRUNE = Command(
    _prune,
    "[options]",
    "Removes images without a name that no container uses, or with --all every image that no container uses.",
    Flag("all", "a", "bool", "Remove every image that no container uses"),
    Flag("build-cache", "", "bool", "Remove what builds keep for RUN --mount=type=cache too"),
    Flag("external", "", "bool", "Also images that only containers of other tools use; none of those share this store"),
    Flag("filter", "", "list", "Remove only images that match KEY=VALUE"),
    Flag("force", "f", "bool", "Do not ask"),
    most=0,
    examples=("image prune", "image prune --all --force --filter until=24h"),
)
TREE = Command(
    _tree,
    "[options] IMAGE",
    "Shows the layers of an image.",
    Flag("whatrequires", "", "bool", "Show the layers and images that are built on it"),
    least=1,
    most=1,
    examples=("image tree alpine", "image tree --whatrequires alpine"),
)
MOUNT = Command(
    _mount,
    "[options] [IMAGE...]",
    "Mounts the file systems of images, read-only, and prints where; without names, lists what is mounted.",
    Flag("all", "a", "bool", "Mount all images"),
    Flag("format", "", "string", "json, instead of a table"),
    examples=("image mount alpine", "image mount"),
)
UNMOUNT = Command(
    _unmount,
    "[options] IMAGE [IMAGE...]",
    "Unmounts the file systems of images; each mount needs its unmount.",
    Flag("all", "a", "bool", "Unmount all images"),
    Flag("force", "f", "bool", "Unmount however often it was mounted"),
    examples=("image unmount alpine", "image unmount --all"),
)
DIFF = Command(
    lambda app, args: show_changes(app, args, ""),
    "[options] {CONTAINER|IMAGE} [{CONTAINER|IMAGE}]",
    "Shows what a container changed of its image, an image's last layer of those below, or one thing against another.",
    _DIFF_FORMAT,
    _LATEST,
    most=2,
    examples=("diff web", "diff --format json alpine:3.20 alpine:3.19"),
)
CONTAINER_DIFF = Command(
    lambda app, args: show_changes(app, args, "container"),
    "[options] CONTAINER [CONTAINER]",
    "Shows what a container changed of its image, or against another container.",
    _DIFF_FORMAT,
    _LATEST,
    most=2,
    examples=("container diff web",),
)
IMAGE_DIFF = Command(
    lambda app, args: show_changes(app, args, "image"),
    "[options] IMAGE [IMAGE]",
    "Shows what an image's last layer changes, or an image against another.",
    _DIFF_FORMAT,
    least=1,
    most=2,
    examples=("image diff alpine:3.20 alpine:3.19",),
)
