"""The commands on pods."""

from __future__ import annotations

import os
import time

from podling.cli.command import Command
from podling.cli.commands.run import CREATE_FLAGS
from podling.cli.flags import Flag, UsageError
from podling.cli.output import WHOLE, Format, table, view
from podling.engine import shapes
from podling.engine.catalogue import containers as container_ops
from podling.engine.catalogue import pods as ops
from podling.engine.shapes import ago
from podling.engine.types import CreateOptions, PodOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.pod_details import PodSummary
    from podling.engine.catalogue.base import Report

_ALL = Flag("all", "a", "bool", "Every pod")
_LATEST = Flag("latest", "l", "bool", "The pod created last")
_IGNORE = Flag("ignore", "i", "bool", "It is no error when a pod does not exist")
_ID_FILE = Flag("pod-id-file", "", "list", "Read a pod's id from a file", value="file")

#: options of `run` that are the infra container's here
_CLONED = (
    "blkio-weight blkio-weight-device cpu-shares cpus cpuset-cpus cpuset-mems device device-read-bps device-write-bps gidmap gpus "
    "memory memory-swap pid security-opt shm-size shm-size-systemd subgidname subuidname sysctl uidmap userns uts volume volumes-from"
).split()
_INFRA = [
    *_CLONED,
    *(
        "add-host dns dns-option dns-search hosts-file ip ip6 mac-address network network-alias no-hostname no-hosts publish"
    ).split(),
]


def _infra_flags(names: list[str]) -> tuple[Flag, ...]:
    """Those flags of `run`, in the order of its help."""
    return tuple(flag for flag in CREATE_FLAGS if flag.name in names)


def _infra_options(args: Args, flags: tuple[Flag, ...]) -> CreateOptions:
    values = {flag.field: args.__dict__[flag.field] for flag in flags}
    if "shm_size" not in args.given:
        values["shm_size"] = ""
    return CreateOptions(image="", hostname=args.hostname, conmon_pidfile=args.infra_conmon_pidfile, **values)


def _create(app: App, args: Args) -> int:
    name = args.name
    if args.rest:
        if name:
            raise UsageError("the name is given twice: by --name and as an argument")
        name = args.rest[0]
    options = PodOptions(
        infra_options=_infra_options(args, _infra_flags(_INFRA)), name=name, labels=args.label, label_files=args.label_file,
        infra=args.infra, infra_image=args.infra_image, infra_command=args.infra_command, infra_name=args.infra_name,
        share=args.share, share_parent=args.share_parent, exit_policy=args.exit_policy, restart=args.restart,
        cgroup_parent=args.cgroup_parent, id_file=args.pod_id_file, replace=args.replace, create_command=["podling", *app.argv],
    )  # fmt: skip
    app.out(app.engine.call(ops.CreatePod(options=options)))
    return 0


def _clone(app: App, args: Args) -> int:
    flags = _infra_flags(_CLONED)
    options = PodOptions(
        infra_options=_infra_options(args, flags), name=args.name or (args.rest[1] if len(args.rest) > 1 else ""), labels=args.label,
        label_files=args.label_file, infra_command=args.infra_command, infra_name=args.infra_name, restart=args.restart,
        cgroup_parent=args.cgroup_parent, create_command=["podling", *app.argv],
    )  # fmt: skip
    given = [flag.field for flag in flags if flag.field in args.given]
    given += ["hostname"] if args.hostname else []
    given += ["conmon_pidfile"] if args.infra_conmon_pidfile else []
    app.out(
        app.engine.call(
            ops.ClonePod(name=args.rest[0], options=options, given=given, start=args.start, destroy=args.destroy)
        )
    )
    return 0


def _selection(args: Args) -> dict[str, Any]:
    values = args.__dict__
    ways = {
        "names": args.rest, "all": values.get("all", False), "latest": values.get("latest", False),
        "id_files": values.get("pod_id_file", []),
    }  # fmt: skip
    if not any(ways.values()):
        raise UsageError("you must provide at least one pod name or id")
    if (ways["all"] or ways["latest"]) and ways["names"]:
        raise UsageError("--all and --latest take no further arguments")
    return {**ways, "ignore": values.get("ignore", False)}


def _finish(app: App, report: Report) -> int:
    return app.report(report.done, report.errors)


def _seconds(args: Args) -> int:
    return -1 if "time" not in args.given else args.time if args.time >= 0 else 10**9


def _start(app: App, args: Args) -> int:
    return _finish(app, app.engine.call(ops.StartPods(**_selection(args))))


def _stop(app: App, args: Args) -> int:
    return _finish(app, app.engine.call(ops.StopPods(**_selection(args), timeout=_seconds(args))))


def _restart(app: App, args: Args) -> int:
    return _finish(app, app.engine.call(ops.RestartPods(**_selection(args))))


def _kill(app: App, args: Args) -> int:
    return _finish(app, app.engine.call(ops.KillPods(**_selection(args), signal=args.signal)))


def _pause(app: App, args: Args) -> int:
    return _finish(app, app.engine.call(ops.PausePods(**_selection(args))))


def _unpause(app: App, args: Args) -> int:
    return _finish(app, app.engine.call(ops.UnpausePods(**_selection(args))))


def _rm(app: App, args: Args) -> int:
    force = args.force or "time" in args.given
    selection = _selection(args)
    selection["ignore"] = selection["ignore"] or force
    report = app.engine.call(ops.RemovePods(**selection, force=force, timeout=_seconds(args)))
    for error in report.errors:
        if getattr(error, "status", 0) == 404:
            error.exit_code = 1
    return _finish(app, report)


def _prune(app: App, args: Args) -> int:
    if not args.force and not app.confirm("WARNING! This will remove all stopped/exited pods."):
        return 0
    return _finish(app, app.engine.call(ops.PrunePods()))


def _exists(app: App, args: Args) -> int:
    return 0 if app.engine.call(ops.PodExists(name=args.rest[0])) else 1


def _inspect(app: App, args: Args) -> int:
    if bool(args.rest) == args.latest:
        raise UsageError("inspect requires pods, or --latest")
    from podling.oci import json

    names = args.rest or [""]
    documents = [app.engine.call(ops.InspectPod(name=name, latest=args.latest)) for name in names]
    if not args.format or Format(args.format).is_json:
        app.out(json.pretty(documents, 5))
        return 0
    from podling.cli.template import compile

    template = compile(Format(args.format).text)
    for document in documents:
        app.out(template.render(view(document, "pod")))
    return 0


# -- ps
_HEADERS = {
    "Id": "POD ID", "ID": "POD ID", "Name": "NAME", "Status": "STATUS", "Created": "CREATED", "InfraID": "INFRA ID", "InfraId": "INFRA ID",
    "NumberOfContainers": "# OF CONTAINERS", "Cgroup": "CGROUP", "Networks": "NETWORKS", "Labels": "LABELS", "Restarts": "RESTARTS",
    "ContainerIds": "IDS", "ContainerNames": "NAMES", "ContainerStatuses": "STATUS", "Namespace": "NAMESPACES",
}  # fmt: skip


def _fields(pod: PodSummary, args: Args, now: int) -> dict[str, Any]:
    def short(id: str) -> str:
        return id if args.no_trunc else id[:12]

    return {
        "Id": short(pod.id), "ID": short(pod.id), "Name": pod.name, "Status": pod.status, "Created": ago(pod.created, now),
        "InfraID": short(pod.infra), "InfraId": short(pod.infra), "NumberOfContainers": len(pod.containers), "Cgroup": pod.cgroup,
        "Networks": ",".join(pod.networks), "Labels": pod.labels, "Restarts": sum(c.restarts for c in pod.containers),
        "ContainerIds": ",".join(short(c.id) for c in pod.containers), "ContainerNames": ",".join(c.name for c in pod.containers),
        "ContainerStatuses": ",".join(c.status for c in pod.containers), "Namespace": ",".join(pod.share),
        "Containers": lambda: view(shapes.pod(pod), "pod row")["Containers"],
        "ListPodsReport": lambda: view(shapes.pod(pod), "pod row"), WHOLE: lambda: shapes.pod(pod),
    }  # fmt: skip


_SORTS: dict[str, Any] = {
    "created": lambda pod: -pod.created, "id": lambda pod: pod.id, "name": lambda pod: pod.name, "status": lambda pod: pod.status,
    "number": lambda pod: len(pod.containers),
}  # fmt: skip


def _ps(app: App, args: Args) -> int:
    if args.sort not in _SORTS:
        raise UsageError(f"invalid --sort {args.sort!r}", hint=f"sort by {', '.join(sorted(_SORTS))}")
    if args.quiet and args.format:
        raise UsageError("quiet and format flags cannot be used together")
    found: list[PodSummary] = app.engine.call(ops.ListPods(filters=args.filter))
    if args.latest:
        found = found[:1]
    found.sort(key=_SORTS[args.sort])
    if args.quiet:
        if found:
            app.out("\n".join(pod.id if args.no_trunc else pod.id[:12] for pod in found))
        return 0
    if args.format and Format(args.format).is_json:
        from podling.oci import json

        app.out(json.pretty([shapes.pod(pod) for pod in found], 4))
        return 0
    now = time.time_ns()
    rows = [_fields(pod, args, now) for pod in found]
    if args.format:
        text = Format(args.format).rows(rows, _HEADERS, heading=not args.noheading)
        if text:
            app.out(text)
        return 0
    columns = ["Id", "Name", "Status", "Created", "InfraID"]
    details = [
        name for name, wanted in (
            ("ContainerIds", args.ctr_ids), ("ContainerNames", args.ctr_names), ("ContainerStatuses", args.ctr_status),
        ) if wanted
    ]  # fmt: skip
    columns += details or ["NumberOfContainers"]
    columns += ["Cgroup", "Namespace"] if args.ns else []
    lines = [] if args.noheading else [[_HEADERS[column] for column in columns]]
    lines += [[str(row[column]) for column in columns] for row in rows]
    if lines:
        app.out(table(lines))
    return 0


# -- of their containers
def _members(app: App, args: Args) -> list[str]:
    document = app.engine.call(ops.InspectPod(name=args.rest[0] if args.rest else "", latest=args.latest))
    return [entry["Id"] for entry in document["Containers"] if entry["Id"] != document["InfraContainerID"]]


def _logs(app: App, args: Args) -> int:
    if bool(args.rest) == args.latest:
        raise UsageError("logs requires one pod, or --latest")
    from podling.cli.commands.logs import show

    chosen = _members(app, args)
    if args.container:
        own = app.engine.containers.get(args.container).id
        if own not in chosen:
            raise UsageError(f"container {args.container} is not in the pod")
        chosen = [own]
    if not chosen:
        return 0
    args.rest = chosen
    args.__dict__["latest"] = False
    return show(app, args)


def _stats(app: App, args: Args) -> int:
    from podling.cli.commands.stats import show_pods

    pods: list[PodSummary] = app.engine.call(ops.ListPods())
    chosen = pods[:1] if args.latest else pods
    if args.rest:
        names = [app.engine.call(ops.InspectPod(name=name))["Id"] for name in args.rest]
        chosen = [pod for pod in pods if pod.id in names]
    elif not args.latest:
        chosen = [pod for pod in pods if pod.status in ("Running", "Degraded") or args.all]
    owner = {member.id: pod.id for pod in chosen for member in pod.containers if member.status == "running"}
    if not owner:
        return 0
    samples = app.engine.call(container_ops.ContainerStats(names=list(owner)))
    clear = not args.no_stream and not args.no_reset and not args.format and os.isatty(1)
    for batch in samples:
        text = show_pods(batch, owner, args.format)
        app.out(f"\x1b[2J\x1b[H{text}" if clear else text)
        if args.no_stream:
            break
    return 0


def _top(app: App, args: Args) -> int:
    if args.list_descriptors:
        app.out("\n".join(app.engine.system.top_descriptors()))
        return 0
    if not args.rest and not args.latest:
        raise UsageError("top requires one pod, or --latest")
    words = list(args.rest)
    name = "" if args.latest else words.pop(0)
    rows = app.engine.call(ops.PodTop(name=name, latest=args.latest, descriptors=words))
    if rows:
        app.out(table(rows))
    return 0


_HOSTNAME = Flag("hostname", "h", "string", "Host name of the pod")
_POD_FLAGS = (
    Flag("cgroup-parent", "", "string", "Cgroup above the pod's"),
    Flag("infra-command", "", "string", "What the infra container runs"),
    Flag("infra-conmon-pidfile", "", "string", "Write the pid of the infra container's conmon to a file", value="file"),
    Flag("infra-name", "", "string", "Name of the infra container"),
    Flag("label", "l", "list", "Add a label (KEY=VALUE)"),
    Flag("label-file", "", "list", "Read labels from a file", value="file"),
    Flag("name", "n", "string", "Name of the pod"),
    Flag("restart", "", "string", "Restart policy of the pod's containers"),
)
CREATE = Command(
    _create, "[options] [NAME]", "Makes a pod: containers in it share namespaces. Prints its id.",
    *_infra_flags(_INFRA), *_POD_FLAGS, _HOSTNAME,
    Flag("exit-policy", "", "string", "What happens when the last container has ended: continue, stop", "continue"),
    Flag("infra", "", "bool", "Make an infra container, which holds the namespaces", True),
    Flag("infra-image", "", "string", "Image of the infra container, instead of a program that only sleeps"),
    Flag("pod-id-file", "", "string", "Write the pod's id to a file", value="file"),
    Flag("replace", "", "bool", "Remove a pod that has the same name"),
    Flag("share", "", "string", "Namespaces to share: ipc, net, uts, pid, cgroup, user, or none; + adds", "ipc,net,uts"),
    Flag("share-parent", "", "bool", "Put the containers into one cgroup", True),
    most=1, examples=("pod create --name web -p 8080:80", "pod create --share ipc,net"),
)  # fmt: skip
CLONE = Command(
    _clone, "[options] POD [NAME]", "Makes a pod like another one, with containers like its own. Prints its id.",
    *_infra_flags(_CLONED), *_POD_FLAGS, _HOSTNAME,
    Flag("destroy", "", "bool", "Remove the original"), Flag("start", "", "bool", "Start the new pod"),
    least=1, most=2, examples=("pod clone web web2",),
)  # fmt: skip
START = Command(
    _start,
    "[options] POD [POD...]",
    "Starts all containers of pods.",
    _ALL,
    _LATEST,
    _ID_FILE,
    examples=("pod start web",),
)
STOP = Command(
    _stop, "[options] POD [POD...]", "Stops all containers of pods.", _ALL, _IGNORE, _LATEST, _ID_FILE,
    Flag("time", "t", "int", "Seconds to wait before a container is killed", 10), examples=("pod stop web",),
)  # fmt: skip
RESTART = Command(
    _restart,
    "[options] POD [POD...]",
    "Stops and starts all containers of pods.",
    _ALL,
    _LATEST,
    examples=("pod restart web",),
)
KILL = Command(
    _kill, "[options] POD [POD...]", "Sends a signal to the first process of all containers of pods.", _ALL, _LATEST,
    Flag("signal", "s", "string", "The signal, by name or number", "KILL"), examples=("pod kill --signal TERM web",),
)  # fmt: skip
PAUSE = Command(
    _pause, "[options] POD [POD...]", "Freezes all processes of pods.", _ALL, _LATEST, examples=("pod pause web",)
)
UNPAUSE = Command(
    _unpause, "[options] POD [POD...]", "Lets paused pods go on.", _ALL, _LATEST, examples=("pod unpause web",)
)
RM = Command(
    _rm, "[options] POD [POD...]", "Removes pods; those with containers only with --force.", _ALL,
    Flag("force", "f", "bool", "Stop and remove the containers too; a missing pod is no error"), _IGNORE, _LATEST, _ID_FILE,
    Flag("time", "t", "int", "Seconds to wait before a container is killed", 10), examples=("pod rm web", "pod rm -f -a"),
)  # fmt: skip
PRUNE = Command(
    _prune, "[options]", "Removes all pods of which nothing runs.", Flag("force", "f", "bool", "Do not ask"), most=0
)
EXISTS = Command(_exists, "POD", "Ends with 0 when the pod exists, else with 1.", least=1, most=1)
INSPECT = Command(
    _inspect, "[options] POD [POD...]", "Shows everything about pods.",
    Flag("format", "f", "string", 'Print as JSON ("json") or with a Go template', "json"), _LATEST, examples=("pod inspect web",),
)  # fmt: skip
PS = Command(
    _ps, "[options]", "Lists pods.",
    Flag("ctr-ids", "", "bool", "Show the ids of the containers"), Flag("ctr-names", "", "bool", "Show the names of the containers"),
    Flag("ctr-status", "", "bool", "Show the states of the containers"),
    Flag("filter", "f", "list", "Show only pods that match KEY=VALUE"),
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'), _LATEST,
    Flag("no-trunc", "", "bool", "Show whole ids"), Flag("noheading", "n", "bool", "Leave the table's heading out"),
    Flag("ns", "", "bool", "Show which namespaces are shared"), Flag("quiet", "q", "bool", "Print the ids only"),
    Flag("sort", "", "string", "Sort by created, id, name, number or status", "created"), most=0, examples=("pod ps",),
)  # fmt: skip
LOGS = Command(
    _logs, "[options] POD", "Shows what the containers of a pod have written.",
    Flag("color", "", "bool", "Colour the names of the containers"), Flag("container", "c", "string", "Only this container"),
    Flag("details", "", "bool", "Accepted for Docker's sake", hidden=True), Flag("follow", "f", "bool", "Go on as the logs grow"), _LATEST,
    Flag("names", "n", "bool", "Put the container's name before each line"),
    Flag("since", "", "string", "Only lines after a time, such as 2026-01-02T15:04:05 or 10m"),
    Flag("tail", "", "int", "Only so many lines from the end; -1 is all", -1),
    Flag("timestamps", "t", "bool", "Put the time before each line"),
    Flag("until", "", "string", "Only lines before a time"), most=1, examples=("pod logs -f web",),
)  # fmt: skip
STATS = Command(
    _stats, "[options] [POD...]", "Shows what the containers of pods use of the host.", Flag("all", "a", "bool", "Every pod"),
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'), _LATEST,
    Flag("no-reset", "", "bool", "Do not clear the screen between"), Flag("no-stream", "", "bool", "Show it once"),
    examples=("pod stats web",),
)  # fmt: skip
TOP = Command(
    _top, "[options] POD [FORMAT...]", "Shows the processes of a pod.", _LATEST,
    Flag("list-descriptors", "", "bool", "List the columns that can be asked for", hidden=True), stop_at_argument=True,
    examples=("pod top web", "pod top web pid comm"),
)  # fmt: skip
