"""images, pull, rmi, tag, untag, history, image exists."""

from __future__ import annotations

import time

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import Format, ago, human_size, local_time, print_rows, table
from podling.engine import catalogue as ops

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
    images = app.engine.images.list(args.rest, filters=args.filter)
    if args.format and Format(args.format).is_json:
        print_rows(app, "json", [_json(image) for image in images], {})
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
        rows.append(["REPOSITORY", "TAG", *(["DIGEST"] if args.digests else []), "IMAGE ID", "CREATED", "SIZE"])
    for image, repository, tag in entries:
        id = f"sha256:{image.id}" if args.no_trunc else image.id[:12]
        digest = [image.manifest_digest] if args.digests else []
        rows.append([repository, tag, *digest, id, ago(image.created, now), human_size(image.size)])
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
        "Names": image.names, "RepoTags": image.names, "Dangling": not image.names, "ReadOnly": False,
        "Os": image.platform.split("/")[0], "Arch": (image.platform.split("/") + [""])[1],
    }  # fmt: skip


def _json(image: Image) -> dict[str, Any]:
    from podling.oci.times import format_time

    parts = [*image.platform.split("/"), ""]
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": image.names or None,
        "RepoDigests": sorted({f"{name.rpartition(':')[0]}@{image.manifest_digest}" for name in image.names}),
        "Size": image.size,
        "SharedSize": 0,
        "VirtualSize": image.size,
        "Labels": image.labels or None,
        "Containers": image.containers,
        "Arch": parts[1],
        "Digest": image.manifest_digest,
        "History": image.names,
        "IsManifestList": False,
        "Names": image.names,
        "Os": parts[0],
        "Created": image.created // 10**9,
        "CreatedAt": format_time(image.created),
    }


def _pull(app: App, args: Args) -> int:
    app.quiet = args.quiet
    for name in args.rest:
        id = app.engine.call(
            ops.PullImage(
                name=name,
                policy=args.policy,
                platform=_platform(args),
                creds=args.creds,
                authfile=args.authfile,
                tls_verify=args.tls_verify,
                cert_dir=args.cert_dir,
                retries=args.retry,
            )
        )
        app.out(id)
    return 0


def _platform(args: Args) -> str:
    if args.platform and (args.os or args.arch or args.variant):
        raise UsageError("--platform cannot be used with --os, --arch and --variant")
    if not (args.os or args.arch or args.variant):
        text: str = args.platform
        return text
    from podling.oci.image import host_platform

    host = host_platform()
    parts = [args.os or host.os, args.arch or host.architecture, args.variant]
    return "/".join(part for part in parts if part)


def _rmi(app: App, args: Args) -> int:
    if not args.rest and not args.all:
        raise UsageError("image name or ID must be specified")
    if args.rest and args.all:
        raise UsageError("when using the --all switch, you may not pass any images names or IDs")
    removal, report = app.engine.call(
        ops.RemoveImages(names=args.rest, force=args.force, all=args.all, ignore=args.ignore)
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


IMAGES = Command(
    _images,
    "[options] [IMAGE...]",
    "Lists the images in local storage, or those that a name or a pattern fits.",
    Flag("all", "a", "bool", "Show all images"),
    Flag("digests", "", "bool", "Show digests"),
    Flag("filter", "f", "list", "Show only images that match KEY=VALUE"),
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("no-trunc", "", "bool", "Show whole ids"),
    Flag("noheading", "n", "bool", "Leave the table's heading out"),
    Flag("quiet", "q", "bool", "Print the ids only"),
    Flag("sort", "", "string", "Sort by created, id, repository, size or tag", "created"),
    examples=("images", 'images --format "{{.Repository}}:{{.Tag}}"', "images --filter reference='*busybox*'"),
)
PULL = Command(
    _pull,
    "[options] IMAGE [IMAGE...]",
    "Fetches images from registries and prints their ids.",
    Flag("arch", "", "string", "Choose the image of this architecture"),
    Flag("authfile", "", "string", "Path of the authentication file", value="path"),
    Flag("cert-dir", "", "string", "Folder with certificates for the registry", value="path"),
    Flag("creds", "", "string", "USER:PASSWORD for the registry"),
    Flag("os", "", "string", "Choose the image of this operating system"),
    Flag("platform", "", "string", "Choose the image of this platform, such as linux/arm64"),
    Flag("policy", "", "string", "When to fetch: always, missing, never, newer", "always"),
    Flag("quiet", "q", "bool", "Print the id only"),
    Flag("retry", "", "int", "How often to try again after a failure", 3),
    Flag("tls-verify", "", "tristate", "Check the registry's certificate"),
    Flag("variant", "", "string", "Choose the image of this variant"),
    least=1,
    examples=("pull docker.io/library/alpine:3", "pull --platform linux/arm64 alpine"),
)
RMI = Command(
    _rmi,
    "[options] IMAGE [IMAGE...]",
    "Removes names, and images without one; an image in use only with --force, and then its containers too.",
    Flag("all", "a", "bool", "Remove all images"),
    Flag("force", "f", "bool", "Remove an image with all its names and containers"),
    Flag("ignore", "i", "bool", "It is no error when an image does not exist"),
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
