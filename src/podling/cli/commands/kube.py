"""kube play, down, generate, apply; play kube, generate kube."""

from __future__ import annotations

import os
import signal

from podling.cli.command import Command
from podling.cli.commands.registries import access
from podling.cli.flags import Flag, UsageError
from podling.config import containers
from podling.engine.catalogue import containers as container_ops
from podling.engine.catalogue import kube as ops
from podling.engine.features import PlayOptions, RegistryAccess, download

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.engine.features import Played, TakenDown

_FIELDS = {
    "networks": "network", "ips": "ip", "macs": "mac_address", "publish": "publish", "publish_all": "publish_all",
    "annotations": "annotation",
    "userns": "userns", "log_driver": "log_driver", "log_opts": "log_opt", "no_hosts": "no_hosts", "no_hostname": "no_hostname",
    "no_pod_prefix": "no_pod_prefix", "seccomp_root": "seccomp_profile_root", "replace": "replace", "start": "start",
}  # fmt: skip


def _read(name: str) -> str:
    """A document: a file, a URL, or - for standard input."""
    try:
        if name == "-":
            with os.fdopen(os.dup(0), encoding="utf-8", errors="surrogateescape") as stdin:
                return stdin.read()
        if name.startswith(("http://", "https://")):
            return b"".join(download(name)).decode("utf-8", "surrogateescape")
        with open(name, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None


def _documents(names: list[str]) -> str:
    return "\n---\n".join(_read(name) for name in names)


def _play(app: App, args: Args) -> int:
    if args.down:
        return _down(app, args)
    app.quiet = args.quiet
    options = PlayOptions(text=_documents(args.rest), **{field: getattr(args, name) for field, name in _FIELDS.items()})
    options.config_maps = [_read(path) for path in args.configmap]
    options.access = RegistryAccess(**access(args))
    options.build = args.build
    options.context_dir = os.path.abspath(args.context_dir) if args.context_dir else _beside(args.rest)
    if args.wait and not args.start:
        raise UsageError("--wait needs containers that are started: it makes no sense with --start=false")
    made: Played = app.engine.call(ops.PlayKube(options=options))
    _show(app, made)
    failed = any(pod.errors for pod in made.pods)
    if not args.wait:
        return 125 if failed else 0
    return _until_the_end(app, options.text, made, force=args.force)


def _beside(names: list[str]) -> str:
    """The folder of the first file: images may have their folders there."""
    first = next((name for name in names if name != "-" and "://" not in name), "")
    return os.path.dirname(os.path.abspath(first)) if first else os.getcwd()


def _show(app: App, made: Played) -> None:
    lines: list[str] = []
    if made.secrets:
        lines += ["Secrets:", *made.secrets, ""]
    if made.volumes:
        lines += ["Volumes:", *made.volumes, ""]
    for pod in made.pods:
        lines += ["Pod:", pod.id]
        if pod.init_containers:
            lines += ["Init Container:" if len(pod.init_containers) == 1 else "Init Containers:", *pod.init_containers]
        lines += ["Container:" if len(pod.containers) == 1 else "Containers:", *pod.containers, ""]
    if lines:
        app.out("\n".join(lines))
    for pod in made.pods:
        for error in pod.errors:
            app.warn(f"pod {pod.name}: {error}")


def _until_the_end(app: App, text: str, made: Played, *, force: bool) -> int:
    """--wait: until all containers have ended, or a signal; then all is taken down."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    code = 0
    try:
        for pod in made.pods:
            for id in pod.containers:
                code = max(code, app.engine.call(container_ops.WaitContainer(name=id)))
    except KeyboardInterrupt:
        pass
    _report_down(app, app.engine.call(ops.DownKube(text=text, force=force)))
    return code


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _down(app: App, args: Args) -> int:
    return _report_down(app, app.engine.call(ops.DownKube(text=_documents(args.rest), force=args.force)))


def _report_down(app: App, report: TakenDown) -> int:
    parts = (
        ("Pods stopped:", report.stopped), ("Pods removed:", report.removed), ("Secrets removed:", report.secrets),
        ("Volumes removed:", report.volumes),
    )  # fmt: skip
    return app.report([line for title, ids in parts for line in (title, *ids)], report.errors)


def _generate(app: App, args: Args) -> int:
    kind = args.type if "type" in args.given else containers.load().text("engine", "kube_generate_type", args.type)
    text: str = app.engine.call(
        ops.GenerateKube(
            names=args.rest, kind=kind, service=args.service, replicas=args.replicas, podman_only=args.podman_only
        )
    )
    if not args.filename:
        app.out(text.rstrip("\n"))
        return 0
    try:
        with open(args.filename, "x") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(
            f"cannot write to {args.filename!r}: it exists", hint="name another file, or remove it"
        ) from None
    except OSError as error:
        raise UsageError(f"{args.filename}: {error.strerror}") from None
    return 0


def _apply(app: App, args: Args) -> int:
    if bool(args.file) == bool(args.rest):
        raise UsageError("name containers, pods or volumes, or --file with documents")
    text = _read(args.file) if args.file else app.engine.call(ops.GenerateKube(names=args.rest, service=args.service))
    config = args.kubeconfig or os.environ.get("KUBECONFIG", "") or "~/.kube/config"
    done = app.engine.call(ops.ApplyKube(text=text, kubeconfig=config, namespace=args.ns, ca=args.ca_cert_file))
    app.out("\n".join(done))
    return 0


_FORCE = Flag("force", "", "bool", "Remove the volumes of claims too")
PLAY = Command(
    _play, "[options] KUBEFILE [KUBEFILE...]|-",
    "Makes pods, volumes and secrets of documents: Pods, Deployments, DaemonSets, Jobs, PersistentVolumeClaims, ConfigMaps, Secrets.",
    Flag("annotation", "", "list", "Add an annotation to the pods (KEY=VALUE)"),
    Flag("authfile", "", "string", "File with credentials for registries", value="path"),
    Flag("build", "", "tristate", "Build images that have a folder of their name with a Containerfile; =false never"),
    Flag("cert-dir", "", "string", "Folder with certificates for the registry", value="path"),
    Flag("configmap", "", "list", "Read ConfigMaps from this file too", value="file"),
    Flag("context-dir", "", "string", "Where those folders are (beside the first file)", value="path"),
    Flag("creds", "", "string", "USER:PASSWORD for the registry"),
    Flag("down", "", "bool", "The same as `kube down`", hidden=True),
    _FORCE,
    Flag("ip", "", "slice", "Address of each pod in turn"),
    Flag("log-driver", "", "string", "Log driver of the containers"),
    Flag("log-opt", "", "list", "Option of the log driver"),
    Flag("mac-address", "", "slice", "MAC address of each pod in turn"),
    Flag("network", "", "list", "Network of the pods, as of `pod create`"),
    Flag("no-hostname", "", "bool", "Do not make /etc/hostname"),
    Flag("no-hosts", "", "bool", "Do not make /etc/hosts"),
    Flag("no-pod-prefix", "", "bool", "Leave the pod's name out of those of its containers"),
    Flag("no-trunc", "", "bool", "Accepted: annotations are never cut", hidden=True),
    Flag("publish", "", "slice", "Publish a port of the pods, as of `pod create`"),
    Flag("publish-all", "", "bool", "Publish all ports that the documents list"),
    Flag("quiet", "q", "bool", "Do not show how images are fetched"),
    Flag("replace", "", "bool", "Remove what an earlier run made of the same documents first"),
    Flag("seccomp-profile-root", "", "string", "Folder of seccomp profiles of type Localhost", "/var/lib/kubelet/seccomp", value="path"),
    Flag("service-container", "", "bool", "Accepted: a pod's end is seen without one", hidden=True),
    Flag("signature-policy", "", "string", "Path of another signature policy", value="path", hidden=True),
    Flag("start", "", "bool", "Start the pods", True),
    Flag("tls-verify", "", "tristate", "Check the registry's certificate"),
    Flag("userns", "", "string", "User namespace of the pods"),
    Flag("wait", "w", "bool", "Wait until all containers have ended, or for Ctrl-C, and take all down"),
    least=1, examples=("kube play app.yaml", "kube play --replace --configmap values.yaml app.yaml", "kube play - < app.yaml"),
)  # fmt: skip
DOWN = Command(
    _down, "[options] KUBEFILE [KUBEFILE...]|-", "Removes the pods and secrets that `kube play` made of documents.", _FORCE,
    least=1, examples=("kube down app.yaml",),
)  # fmt: skip
GENERATE = Command(
    _generate, "[options] {CONTAINER|POD|VOLUME} [...]", "Prints documents for Kubernetes of what is here; containers become one pod.",
    Flag("filename", "f", "string", "Write them to a new file", value="file"),
    Flag("no-trunc", "", "bool", "Accepted: annotations are never cut", hidden=True),
    Flag("podman-only", "", "bool", "Add annotations that only this engine reads"),
    Flag("replicas", "r", "int", "How many, of a Deployment", 1),
    Flag("service", "s", "bool", "Add a Service for the ports"),
    Flag("type", "t", "string", "What is made: pod, deployment, daemonset, job", "pod"),
    least=1, examples=("kube generate web", "kube generate -s -f app.yaml shop"),
)  # fmt: skip
APPLY = Command(
    _apply, "[options] [CONTAINER|POD|VOLUME]...", "Makes what is here, or documents of a file, in a cluster.",
    Flag("ca-cert-file", "", "string", "The authority that the cluster's certificate is checked against", value="file"),
    Flag("file", "f", "string", "Take the documents from this file", value="file"),
    Flag("kubeconfig", "k", "string", "The cluster and who we are there ($KUBECONFIG, ~/.kube/config)", value="file"),
    Flag("ns", "", "string", "Namespace in the cluster", value="name"),
    Flag("service", "s", "bool", "Add a Service for the ports"),
    examples=("kube apply --kubeconfig config web", "kube apply -f app.yaml"),
)  # fmt: skip
