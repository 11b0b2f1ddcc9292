"""Pods, volumes and secrets of Kubernetes' documents; and their removal."""

from __future__ import annotations

import os

from podling.core import create, images, networking, pods, secrets, volumes
from podling.core.options import CreateOptions
from podling.core.store_options import SecretOptions
from podling.errors import NameInUse, NotFound, PodlingError
from podling.kube.documents import WORKLOADS, Document, KubeError, parse, pod_name
from podling.kube.env import Sources
from podling.kube.options import Played, PlayedPod, PlayOptions, TakenDown
from podling.kube.pods import Settings, Workload
from podling.kube.volumes import OF_POD, Source, claim, source_of, stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.core.context import Context

    #: (folder with a Containerfile, name of the image)
    Build = Callable[[str, str], None]

#: pods of documents are on a network of their own, where they know each other by name
NETWORK = "podman-default-kube-network"
#: where nobody has a name
_NO_NAMES = ("host", "none", "pasta", "slirp4netns", "ns", "container", "private")


def play(ctx: Context, options: PlayOptions, build: Build) -> Played:
    """Make what the documents say, and start the pods.

    Raises:
        KubeError: a document is wrong; nothing is made then. NameInUse: a pod or a secret is there already, without `replace`.
    """
    ctx.recover()
    documents = parse(options.text)
    settings = _settings(options)
    workloads = [Workload(document, settings) for document in documents if document.kind in WORKLOADS]
    if not workloads and not any(
        document.kind in ("PersistentVolumeClaim", "Secret", "ConfigMap") for document in documents
    ):
        kinds = ", ".join((*WORKLOADS, "PersistentVolumeClaim", "ConfigMap", "Secret"))
        raise KubeError("there is no pod in it, and nothing else that is understood", hint=f"kinds are {kinds}")
    maps = {document.name: document for document in documents if document.kind == "ConfigMap"}
    for text in options.config_maps:
        maps |= {document.name: document for document in parse(text) if document.kind == "ConfigMap"}
    kept = {document.name: document for document in documents if document.kind == "Secret"}
    if options.replace:
        down(ctx, options.text, force=False)
    else:
        _refuse_known(ctx, workloads)
    made = Played()
    for document in kept.values():
        made.secrets.append(_secret(ctx, document))
    for document in documents:
        if document.kind == "PersistentVolumeClaim":
            made.volumes.append(claim(ctx, document))
    for position, workload in enumerate(workloads):
        settings.ip = options.ips[position] if position < len(options.ips) else ""
        settings.mac = options.macs[position] if position < len(options.macs) else ""
        made.pods.append(_pod(ctx, workload, options, maps, kept, build))
    return made


def _settings(options: PlayOptions) -> Settings:
    from podling.core.parse import pairs

    made = Settings()
    made.networks, made.publish, made.publish_all = options.networks, options.publish, options.publish_all
    made.no_hosts, made.no_hostname, made.no_prefix = options.no_hosts, options.no_hostname, options.no_pod_prefix
    made.userns, made.log_driver, made.log_opts = options.userns, options.log_driver, options.log_opts
    made.annotations, made.seccomp_root = pairs(options.annotations, "--annotation"), options.seccomp_root
    return made


def _refuse_known(ctx: Context, workloads: list[Workload]) -> None:
    for workload in workloads:
        try:
            pods.find(ctx, workload.name)
        except NotFound:
            continue
        raise NameInUse(
            f"the pod {workload.name} exists: pod already exists",
            hint="--replace removes it first, `podling kube down` removes all of a file",
        )


def _secret(ctx: Context, document: Document) -> str:
    """The document itself is the secret, as YAML: the store keeps one text under a name."""
    import yaml

    data = yaml.safe_dump(document.value, sort_keys=False).encode()
    labels = [f"{key}={value}" for key, value in document.labels.items()]
    return secrets.create(ctx, document.name, data, SecretOptions(labels=labels))


def _pod(
    ctx: Context,
    workload: Workload,
    options: PlayOptions,
    maps: dict[str, Document],
    kept: dict[str, Document],
    build: Build,
) -> PlayedPod:
    _images(ctx, workload, options, build)
    wanted = workload.pod()
    if not wanted.infra_options.network:
        from podling.linux.proc import outer_uid

        if not outer_uid():
            _network(ctx)
            wanted.infra_options.network = [NETWORK]
    if wanted.infra_options.network and wanted.infra_options.network[0].partition(":")[0] not in _NO_NAMES:
        wanted.infra_options.network_alias = [workload.name]
    pod = pods.create(ctx, wanted)
    made = PlayedPod(id=pod.id, name=pod.name)
    try:
        known: dict[str, Source | None] = {}
        nodes = {node.text("name"): node for node in workload.spec.nodes("volumes")}

        def volume(name: str) -> Source | None:
            if name not in known:
                if name not in nodes:
                    raise KubeError(
                        f"{workload.spec.where}: there is no volume {name}",
                        hint=f"volumes are {', '.join(sorted(nodes)) or 'none'}",
                    )
                known[name] = source_of(ctx, nodes[name], workload.name, maps, kept)
            return known[name]

        sources = Sources(maps, kept, lambda name: stored(ctx, name))
        for node in workload.inits:
            options_of = workload.create(node, pod.id, sources, volume, init=True)
            made.init_containers.append(_create(ctx, options_of, options))
        for node in workload.containers:
            options_of = workload.create(node, pod.id, sources, volume, init=False)
            made.containers.append(_create(ctx, options_of, options))
    except BaseException:
        _undo(ctx, pod)
        raise
    if options.start:
        try:
            pods.start(ctx, pod)
        except PodlingError as error:
            made.errors.append(str(error))
    return made


def _create(ctx: Context, wanted: CreateOptions, options: PlayOptions) -> str:
    access = options.access
    wanted.authfile, wanted.creds, wanted.cert_dir, wanted.tls_verify = (
        access.authfile,
        access.creds,
        access.cert_dir,
        access.tls_verify,
    )
    return create.create(ctx, wanted).id


def _undo(ctx: Context, pod: pods.Pod) -> None:
    pods.remove(ctx, pod, force=True, timeout=0)
    _drop_volumes(ctx, pod.name)


def _network(ctx: Context) -> None:
    from podling.network.networks import NetworkSpec

    networking.create(ctx, NetworkSpec(name=NETWORK), ignore=True)


def _images(ctx: Context, workload: Workload, options: PlayOptions, build: Build) -> None:
    """Build images that have a folder of their name with a Containerfile beside the document."""
    if options.build is False or not options.context_dir:
        return
    for node in (*workload.inits, *workload.containers):
        name = node.text("image")
        folder = os.path.join(options.context_dir, _folder_of(name))
        if not any(os.path.isfile(f"{folder}/{file}") for file in ("Containerfile", "Dockerfile")):
            continue
        if options.build or images.lookup(ctx, name) is None:
            build(folder, name)


def _folder_of(image: str) -> str:
    """The last part of an image's name, without its tag."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


# -- down
def down(ctx: Context, text: str, *, force: bool) -> TakenDown:
    """Remove what `play` made of these documents; with `force` the volumes of claims too.

    Raises:
        KubeError: the text is none of Kubernetes.
    """
    report = TakenDown()
    documents = parse(text)
    for document in documents:
        if document.kind in WORKLOADS:
            try:
                pod = pods.find(ctx, pod_name(document))
            except NotFound:
                continue
            _take_down(ctx, pod, report)
    for document in documents:
        try:
            if document.kind == "Secret":
                report.secrets.append(secrets.remove(ctx, document.name))
            elif document.kind == "PersistentVolumeClaim" and force:
                report.volumes.append(volumes.remove(ctx, document.name, force=True))
        except NotFound:
            continue
        except PodlingError as error:
            report.errors.append(error)
    return report


def _take_down(ctx: Context, pod: pods.Pod, report: TakenDown) -> None:
    try:
        pods.stop(ctx, pod, -1)
        report.stopped.append(pod.id)
        pods.remove(ctx, pod, force=True, timeout=0)
        report.removed.append(pod.id)
        _drop_volumes(ctx, pod.name)
    except PodlingError as error:
        report.errors.append(error)


def _drop_volumes(ctx: Context, pod: str) -> None:
    """What was made for a pod alone: empty volumes, and those with the files of ConfigMaps and Secrets."""
    for volume in volumes.list_volumes(ctx, [f"label={OF_POD}=true"]):
        if volume.name.startswith(f"{pod}-"):
            try:
                volumes.remove(ctx, volume.name, force=False)
            except PodlingError:
                continue  # another pod's, whose name begins so


def wait(ctx: Context, made: Played) -> int:
    """Wait until the containers of all pods have ended; the highest exit code."""
    from podling.core import containers, lifecycle

    code = 0
    for pod in made.pods:
        for id in pod.containers:
            if any(c.id == id and c.status != "created" for c in containers.every(ctx, f"id='{id}'")):
                code = max(code, lifecycle.wait(ctx, id, [], 0.2))
    return code
