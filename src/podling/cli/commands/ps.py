"""ps."""

from __future__ import annotations

import time

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import WHOLE, Format, human_size, table
from podling.engine import shapes
from podling.engine.shapes import ago, status_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.listing import ContainerSummary

_HEADERS = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "CreatedHuman": "CREATED", "RunningFor": "CREATED",
    "CreatedAt": "CREATED AT",
    "Status": "STATUS", "Ports": "PORTS", "Names": "NAMES", "Size": "SIZE", "State": "STATE", "Pid": "PID", "ExitCode": "EXIT CODE",
    "ImageID": "IMAGE ID", "Labels": "LABELS", "Mounts": "MOUNTS", "Networks": "NETWORKS",
}  # fmt: skip
_SORTS = ("command", "created", "id", "image", "names", "runningfor", "size", "status")
_COMMAND_WIDTH = 20


def _command(item: ContainerSummary, truncate: bool) -> str:
    text = " ".join(item.command)
    return text if not truncate or len(text) < _COMMAND_WIDTH else text[: _COMMAND_WIDTH - 3] + "..."


def _size(item: ContainerSummary) -> str:
    if item.size < 0:
        return ""
    return f"{human_size(item.size, space=False)} (virtual {human_size(item.root_size, space=False)})"


def _ps(app: App, args: Args) -> int:
    if args.latest and (args.all or args.last > 0):
        raise UsageError("--latest cannot be combined with --all or --last")
    if args.sort and args.sort not in _SORTS:
        raise UsageError(f"invalid --sort {args.sort!r}", hint=f"sort by {', '.join(_SORTS)}")
    if args.quiet and args.format:
        raise UsageError("quiet and format flags cannot be used together")
    if args.ns and (args.size or args.pod):
        raise UsageError("--ns cannot be combined with --size or --pod")
    if not args.watch:
        _show(app, args)
        return 0
    while True:
        app.out("\033[H\033[2J" if _is_terminal() else "")
        _show(app, args)
        time.sleep(args.watch)


def _is_terminal() -> bool:
    import os

    return os.isatty(1)


def _show(app: App, args: Args) -> None:
    last = 1 if args.latest else max(args.last, 0)
    wants_size = args.size or "Size" in args.format
    detailed = bool(args.format) and Format(args.format).is_json
    items = app.engine.containers.list(
        all=args.all, filters=args.filter, last=last, size=wants_size, details=detailed, external=args.external
    )
    _sort(items, args.sort)
    short = not args.no_trunc
    if args.quiet:
        if items:
            app.out("\n".join(item.id[:12] if short else item.id for item in items))
        return
    now = time.time_ns()
    if args.format:
        _formatted(app, args, items, now)
        return
    if args.ns:
        _show_namespaces(app, args, items)
        return
    rows = [] if args.noheading else [["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]]
    if args.pod and rows:
        rows[0] += ["POD ID", "PODNAME"]
    if args.size and rows:
        rows[0].append("SIZE")
    for item in items:
        row = [
            item.id[:12] if short else item.id, item.image, _command(item, short), ago(item.created, now), status_text(item, now),
            item.ports, item.name,
        ]  # fmt: skip
        row += [item.pod[:12] if short else item.pod, item.pod_name] if args.pod else []
        rows.append([*row, _size(item)] if args.size else row)
    if rows:
        app.out(table(rows))


_NAMESPACES = (
    ("CGROUPNS", "cgroup"),
    ("IPC", "ipc"),
    ("MNT", "mnt"),
    ("NET", "net"),
    ("PIDNS", "pid"),
    ("USERNS", "user"),
    ("UTS", "uts"),
)


def _show_namespaces(app: App, args: Args, items: list[ContainerSummary]) -> None:
    """--ns: the numbers of the namespaces that the first process is in."""
    rows = [] if args.noheading else [["CONTAINER ID", "NAMES", "PID", *(heading for heading, _ in _NAMESPACES)]]
    for item in items:
        numbers = [_namespace(item.pid, kind) for _, kind in _NAMESPACES]
        rows.append([item.id if args.no_trunc else item.id[:12], item.name, str(item.pid), *numbers])
    if rows:
        app.out(table(rows))


#: as the struct in a row names them
_NAMESPACES_OF = {
    "Cgroup": "cgroup",
    "IPC": "ipc",
    "MNT": "mnt",
    "NET": "net",
    "PIDNS": "pid",
    "User": "user",
    "UTS": "uts",
}


def _time(nanoseconds: int) -> Any:
    from podling.cli.gotime import Time

    return Time(nanoseconds).local()


def _whole(app: App, item: ContainerSummary, now: int) -> Any:
    """`.ListContainer`: the row as JSON has it."""
    from podling.cli import structs

    (found,) = app.engine.containers.list(all=True, filters=[f"id={item.id}"], size=item.size >= 0, details=True)
    namespaces = {kind: _namespace(item.pid, file) for kind, file in _NAMESPACES_OF.items()}
    document = {**shapes.container(found, now), "Namespaces": namespaces}
    own = {name: _namespace(item.pid, file) for name, file in _NAMESPACES}
    made = structs.view({**document, **own, "Created": _time(item.created)}, "container row")
    made.document = document
    return made


def _namespace(pid: int, kind: str) -> str:
    import os

    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}").partition("[")[2].rstrip("]") if pid else ""
    except OSError:
        return ""


def _sort(items: list[ContainerSummary], key: str) -> None:
    keys: dict[str, Any] = {
        "command": lambda item: item.command, "id": lambda item: item.id, "image": lambda item: item.image, "names": lambda item: item.name,
        "size": lambda item: item.size, "status": lambda item: item.status, "runningfor": lambda item: item.started,
        "created": lambda item: -item.created,
    }  # fmt: skip
    if key:
        items.sort(key=keys[key])


def _formatted(app: App, args: Args, items: list[ContainerSummary], now: int) -> None:
    from podling.cli.output import print_rows

    if Format(args.format).is_json:
        print_rows(app, "json", [shapes.container(item, now) for item in items], {})
        return
    print_rows(
        app, args.format, [_fields(app, args, item, now) for item in items], _HEADERS, heading=not args.noheading
    )


def _fields(app: App, args: Args, item: ContainerSummary, now: int) -> dict[str, Any]:
    """What a template sees. Fields that cost another query are functions, called when they are used."""
    from podling.cli.output import local_time

    short = not args.no_trunc
    id = item.id[:12] if short else item.id
    details: list[dict[str, Any]] = []

    def inspect() -> dict[str, Any]:
        if not details:
            details.append(app.engine.containers.get(item.id).inspect())
        return details[0]

    def whole() -> Any:
        return _whole(app, item, now)

    return {
        "ID": id,
        "Id": item.id,
        "Names": item.name,
        "Name": item.name,
        "Image": item.image,
        "ImageID": item.image_id[:12] if short else item.image_id,
        "Command": _command(item, short),
        "CreatedHuman": ago(item.created, now),
        "RunningFor": ago(item.created, now),
        "Created": lambda: _time(item.created),
        "CreatedAt": local_time(item.created),
        "Status": status_text(item, now),
        "State": item.status,
        "Ports": item.ports,
        "ExitCode": item.exit_code,
        "Exited": item.status == "exited",
        "ExitedAt": item.finished // 10**9,
        "StartedAt": item.started // 10**9,
        "Pid": item.pid,
        "Size": _size(item),
        "Labels": lambda: dict(item.labels),
        "Label": lambda name: item.labels.get(name, ""),
        "AutoRemove": item.auto_remove,
        "IsInfra": item.infra,
        "Pod": item.pod[:12] if short else item.pod,
        "PodName": item.pod_name,
        "Restarts": item.restarts,
        "Mounts": lambda: ",".join(mount["Destination"] for mount in inspect()["Mounts"]),
        "Networks": lambda: ",".join(inspect()["NetworkSettings"].get("Networks", ())),
        "ExposedPorts": lambda: ", ".join(inspect()["Config"].get("ExposedPorts") or ()),
        "CIDFile": lambda: inspect()["HostConfig"]["ContainerIDFile"],
        "Namespaces": lambda: {kind: _namespace(item.pid, file) for kind, file in _NAMESPACES_OF.items()},
        **{
            name: lambda file=file: _namespace(item.pid, file)
            for name, file in (*_NAMESPACES, ("Cgroup", "cgroup"), ("User", "user"))
        },
        "ListContainer": whole,
        WHOLE: lambda: whole().document,
    }


PS = Command(
    _ps,
    "[options]",
    "Lists containers: those that run, or with --all every one.",
    Flag("all", "a", "bool", "Show all containers, also those that do not run"),
    Flag("external", "", "bool", "Show the containers of builds too"),
    Flag("filter", "f", "list", "Show only containers that match KEY=VALUE"),
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("last", "n", "int", "Show the N containers created last", -1),
    Flag("latest", "l", "bool", "Show the container created last"),
    Flag("no-trunc", "", "bool", "Show whole ids and commands"),
    Flag("noheading", "", "bool", "Leave the table's heading out"),
    Flag("ns", "", "bool", "Show the numbers of the namespaces"),
    Flag("pod", "p", "bool", "Show the pod of each container"),
    Flag("quiet", "q", "bool", "Print the ids only"),
    Flag("size", "s", "bool", "Show the total file sizes"),
    Flag(
        "sort", "", "string", "Sort by command, created, id, image, names, runningfor, size or status", value="choice"
    ),
    Flag("sync", "", "bool", "Accepted: the state that is shown is always the true one", hidden=True),
    Flag("watch", "w", "int", "Show the list again every so many seconds"),
    most=0,
    examples=("ps -a", 'ps -a --format "{{.ID}}  {{.Image}}  {{.Labels}}  {{.Mounts}}"', "ps --filter label=team=web"),
)
