"""Documents for Kubernetes of pods, containers and volumes that are here."""

from __future__ import annotations

from podling.core import containers, images, pods, volumes
from podling.core.containers import Container
from podling.errors import InvalidInput, NotFound
from podling.kube.documents import KubeError
from podling.oci.times import format_time
from podling.state.database import now
from podling.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.runtime.config import ContainerConfig, Mount

KINDS = ("pod", "deployment", "daemonset", "job")
_HEAD = f"""# Save this output to a file, and `kubectl create -f FILE` makes it in a cluster,
# or `podling kube play FILE` here.
#
# Created with podling-{VERSION}
"""
_NOTE = "io.podman.annotations."


def generate(ctx: Context, names: list[str], *, kind: str, service: bool, replicas: int, podman_only: bool) -> str:
    """YAML of what the names mean: a pod, containers (which become one pod), volumes.

    Raises:
        NotFound; InvalidInput: options that contradict each other.
    """
    if kind not in KINDS:
        raise InvalidInput(f"--type {kind!r}: not one of {', '.join(KINDS)}")
    if replicas > 1 and kind != "deployment":
        raise InvalidInput("--replicas needs --type deployment: only Deployments have more than one")
    chosen: list[Container] = []
    found_pods: list[pods.Pod] = []
    documents: list[dict[str, Any]] = []
    for name in names:
        subject = _subject(ctx, name)
        if isinstance(subject, pods.Pod):
            found_pods.append(subject)
        elif isinstance(subject, Container):
            if subject.pod:
                raise KubeError(
                    f"container {subject.name} is in a pod: generate the pod",
                    hint=f"podling kube generate {subject.config.pod[:12]}",
                )
            chosen.append(subject)
        else:
            documents.append(_claim(subject))
    made = [_of_pod(ctx, pod, podman_only=podman_only) for pod in found_pods]
    if chosen:
        made.append(_of_containers(ctx, chosen, podman_only=podman_only))
    for pod in made:
        for claim in pod.claims:
            if claim["metadata"]["name"] not in [document["metadata"]["name"] for document in documents]:
                documents.append(claim)
        if service:
            documents.append(pod.service())
        documents.append(pod.document(kind, replicas))
    return _HEAD + "---\n".join(_yaml(document) for document in documents)


def _subject(ctx: Context, name: str) -> Container | pods.Pod | volumes.Volume:
    for find in (containers.find, pods.find, volumes.find):
        try:
            found: Container | pods.Pod | volumes.Volume = find(ctx, name)
            return found
        except NotFound:
            continue
    raise NotFound(
        f'name or ID "{name}" not found: no such container, pod or volume',
        hint="`podling ps -a`, `podling pod ps` and `podling volume ls` list them",
    )


def _yaml(document: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(document, sort_keys=True, default_flow_style=False, width=10_000))


class _Pod:
    """A pod in the making."""

    def __init__(self, name: str, labels: dict[str, str]) -> None:
        self.name = name
        self.labels = {**labels, "app": labels.get("app", name)}
        self.spec: dict[str, Any] = {}
        self.claims: list[dict[str, Any]] = []
        self.annotations: dict[str, str] = {}
        self.ports: list[dict[str, Any]] = []

    def document(self, kind: str, replicas: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "creationTimestamp": format_time(now() // 10**9 * 10**9),
            "labels": self.labels,
            "name": self.name,
        }
        if self.annotations:
            metadata["annotations"] = self.annotations
        if kind == "pod":
            return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": self.spec}
        outer = {
            "name": f"{self.name}-{kind}",
            "labels": self.labels,
            "creationTimestamp": metadata["creationTimestamp"],
        }
        template = {"metadata": metadata, "spec": self.spec}
        selector = {"matchLabels": {"app": self.labels["app"]}}
        if kind == "job":
            spec: dict[str, Any] = {"template": template, "parallelism": 1, "completions": 1}
            self.spec["restartPolicy"] = self.spec.get("restartPolicy", "Never").replace("Always", "Never")
            return {"apiVersion": "batch/v1", "kind": "Job", "metadata": outer, "spec": spec}
        spec = {"selector": selector, "template": template}
        self.spec.pop("restartPolicy", None)
        if kind == "deployment":
            spec["replicas"] = replicas
            return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": outer, "spec": spec}
        return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": outer, "spec": spec}

    def service(self) -> dict[str, Any]:
        ports = [
            {
                "name": str(port["containerPort"]), "port": port["containerPort"], "targetPort": port["containerPort"],
                **({"nodePort": 30000 + port.get("hostPort", 0) % 2768} if port.get("hostPort") else {}),
                **({"protocol": port["protocol"]} if port.get("protocol") else {}),
            }
            for port in self.ports
        ]  # fmt: skip
        metadata = {
            "name": self.name,
            "labels": {"app": self.labels["app"]},
            "creationTimestamp": format_time(now() // 10**9 * 10**9),
        }
        spec = {"type": "NodePort", "selector": {"app": self.labels["app"]}, "ports": ports}
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _of_pod(ctx: Context, pod: pods.Pod, *, podman_only: bool) -> _Pod:
    made = _Pod(pod.name, pod.labels)
    members = pods.members(ctx, pod)
    infra = next((container for container in members if container.infra), None)
    others = [container for container in members if not container.infra]
    if not others:
        raise KubeError(f"pod {pod.name} only has an infra container")
    if infra is not None:
        _network(made, infra.config)
        if infra.config.hostname and infra.config.hostname != pod.name:
            made.spec["hostname"] = infra.config.hostname
        if "pid" in pod.share:
            made.spec["shareProcessNamespace"] = True
        if infra.config.userns:
            made.spec["hostUsers"] = False
            made.annotations[f"{_NOTE}userns"] = infra.config.userns.mode
        if podman_only:
            made.annotations[f"{_NOTE}infra.name"] = infra.name
    _members(ctx, made, others, {container.name: container.name.removeprefix(f"{pod.name}-") for container in others})
    ports = _ports(infra.config) if infra is not None else []
    if ports:
        made.ports = ports
        made.spec["containers"][0]["ports"] = ports
    policy = pod.restart or (others[0].config.restart if others else "")
    made.spec["restartPolicy"] = _policy(policy)
    return made


def _of_containers(ctx: Context, chosen: list[Container], *, podman_only: bool) -> _Pod:
    made = _Pod(f"{chosen[0].name}-pod", {})
    first = chosen[0].config
    _network(made, first)
    if podman_only and first.annotations:
        made.annotations.update({str(key): str(value) for key, value in first.annotations.items()})
    _members(ctx, made, chosen, {container.name: container.name for container in chosen})
    for container, document in zip(chosen, made.spec["containers"], strict=True):
        ports = _ports(container.config)
        if ports:
            document["ports"] = ports
            made.ports += ports
    if first.restart:
        made.spec["restartPolicy"] = _policy(first.restart)
    if first.hostname and not first.id.startswith(first.hostname):
        made.spec["hostname"] = first.hostname
    return made


def _policy(text: str) -> str:
    return {"": "Never", "no": "Never", "always": "Always", "unless-stopped": "Always"}.get(
        text.partition(":")[0], "OnFailure"
    )


def _network(made: _Pod, config: ContainerConfig) -> None:
    if config.network == "host":
        made.spec["hostNetwork"] = True
    if config.add_hosts:
        aliases = []
        for item in config.add_hosts:
            name, _, address = item.partition(":")
            aliases.append({"ip": address, "hostnames": [name]})
        made.spec["hostAliases"] = aliases
    dns: dict[str, Any] = {}
    if config.dns:
        dns["nameservers"] = list(config.dns)
    if config.dns_search:
        dns["searches"] = list(config.dns_search)
    if config.dns_option:
        options = [item.partition(":") for item in config.dns_option]
        dns["options"] = [{"name": name, **({"value": value} if value else {})} for name, _, value in options]
    if dns:
        made.spec["dnsConfig"] = dns


def _ports(config: ContainerConfig) -> list[dict[str, Any]]:
    found = []
    for port in config.ports:
        for offset in range(port.span):
            entry: dict[str, Any] = {"containerPort": port.container_port + offset, "hostPort": port.host_port + offset}
            if port.host_ip:
                entry["hostIP"] = port.host_ip
            if port.protocol != "tcp":
                entry["protocol"] = port.protocol.upper()
            found.append(entry)
    return found


def _members(ctx: Context, made: _Pod, chosen: list[Container], names: dict[str, str]) -> None:
    listed: dict[str, dict[str, Any]] = {}
    for container in chosen:
        document = _container(ctx, made, container, names[container.name], listed)
        made.spec.setdefault("initContainers" if container.init_type else "containers", []).append(document)
    if "containers" not in made.spec:
        raise KubeError(f"pod {made.name} has init containers alone")
    if listed:
        made.spec["volumes"] = list(listed.values())
    stop = {container.config.stop_timeout for container in chosen}
    if len(stop) == 1 and stop != {10}:
        made.spec["terminationGracePeriodSeconds"] = stop.pop()


def _container(
    ctx: Context, made: _Pod, container: Container, name: str, listed: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    config = container.config
    image = images.config_of(ctx, container.image_id).get("config") or {} if container.image_id else {}
    document: dict[str, Any] = {"name": name.replace("_", "").lower(), "image": container.image}
    if config.entrypoint and config.entrypoint != (image.get("Entrypoint") or []):
        document["command"] = list(config.entrypoint)
    if config.command and config.command != (image.get("Cmd") or []):
        document["args"] = list(config.command)
    known = set(image.get("Env") or ())
    env = [
        {"name": key, "value": value} for key, value in config.env.items()
        if f"{key}={value}" not in known and key not in ("container", "HOSTNAME", "HOME", "TERM", "PATH")
    ]  # fmt: skip
    if env:
        document["env"] = env
    if config.workdir not in ("", "/") and config.workdir != image.get("WorkingDir"):
        document["workingDir"] = config.workdir
    if config.tty:
        document["tty"] = True
    if config.stdin:
        document["stdin"] = True
    security = _security(config)
    if security:
        document["securityContext"] = security
    resources = _resources(config)
    if resources:
        document["resources"] = resources
    mounts = [entry for mount in config.mounts for entry in _mount(ctx, made, mount, name, listed)]
    if mounts:
        document["volumeMounts"] = mounts
    if config.health and config.health.test[:1] in (["CMD"], ["CMD-SHELL"]):
        document["livenessProbe"] = _probe(config)
    if container.init_type == "always":
        made.annotations[f"{_NOTE}init.container.type"] = "always"
    return document


def _security(config: ContainerConfig) -> dict[str, Any]:
    security = config.security
    found: dict[str, Any] = {}
    if security.privileged:
        found["privileged"] = True
    if security.no_new_privileges:
        found["allowPrivilegeEscalation"] = False
    if config.read_only:
        found["readOnlyRootFilesystem"] = True
    capabilities: dict[str, Any] = {}
    if security.cap_add:
        capabilities["add"] = [name.removeprefix("CAP_") for name in security.cap_add]
    if security.cap_drop:
        capabilities["drop"] = [name.removeprefix("CAP_") for name in security.cap_drop]
    if capabilities:
        found["capabilities"] = capabilities
    user, _, group = config.user.partition(":")
    if user.isdigit():
        found["runAsUser"] = int(user)
    if group.isdigit():
        found["runAsGroup"] = int(group)
    labels = dict(item.partition(":")[::2] for item in security.label_options if ":" in item)
    if labels:
        found["seLinuxOptions"] = labels
    if "ALL" in security.unmask:
        found["procMount"] = "Unmasked"
    return found


def _resources(config: ContainerConfig) -> dict[str, Any]:
    limits = config.resources
    found: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    if limits.memory:
        kept["memory"] = _bytes(limits.memory)
    if limits.cpu_quota > 0:
        kept["cpu"] = f"{limits.cpu_quota * 1000 // (limits.cpu_period or 100_000)}m"
    if kept:
        found["limits"] = kept
    if limits.memory_reservation:
        found["requests"] = {"memory": _bytes(limits.memory_reservation)}
    return found


def _bytes(number: int) -> str:
    for unit, factor in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if number % factor == 0:
            return f"{number // factor}{unit}"
    return str(number)


def _mount(
    ctx: Context, made: _Pod, mount: Mount, container: str, listed: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """A mount, and the volume of the pod behind it."""
    if mount.kind == "volume":
        name = f"{mount.name}-pvc"
        listed.setdefault(name, {"name": name, "persistentVolumeClaim": {"claimName": mount.name}})
        if all(claim["metadata"]["name"] != mount.name for claim in made.claims):
            made.claims.append(_claim(volumes.find(ctx, mount.name)))
    elif mount.kind == "bind":
        import os

        kind = "Directory" if os.path.isdir(mount.source) else "File"
        name = (
            f"{mount.source.strip('/').replace('/', '-').replace('.', '-').replace('_', '-').lower() or 'root'}-host"[
                -63:
            ].lstrip("-")
        )
        count = len(listed)
        name = (
            name if listed.get(name, {}).get("hostPath", {}).get("path") in (None, mount.source) else f"{name}-{count}"
        )
        listed.setdefault(name, {"name": name, "hostPath": {"path": mount.source, "type": kind}})
    elif mount.kind == "tmpfs":
        name = f"{mount.target.strip('/').replace('/', '-') or 'root'}-tmp"
        listed.setdefault(name, {"name": name, "emptyDir": {"medium": "Memory"}})
    elif mount.kind == "image":
        name = f"{container}-image-{len(listed)}"
        listed[name] = {"name": name, "image": {"reference": mount.source or mount.name}}
    else:
        return []
    entry: dict[str, Any] = {"mountPath": mount.target, "name": name}
    if "ro" in mount.options:
        entry["readOnly"] = True
    return [entry]


def _claim(volume: volumes.Volume) -> dict[str, Any]:
    notes = {}
    for key, option in (("device", "device"), ("type", "type"), ("mount-options", "o"), ("image", "image")):
        if volume.options.get(option):
            notes[f"volume.podman.io/{key}"] = volume.options[option]
    if volume.driver != "local":
        notes["volume.podman.io/driver"] = volume.driver
    for key in ("uid", "gid"):
        if getattr(volume, key):
            notes[f"volume.podman.io/{key}"] = str(getattr(volume, key))
    metadata: dict[str, Any] = {"name": volume.name, "creationTimestamp": format_time(volume.created // 10**9 * 10**9)}
    if notes:
        metadata["annotations"] = notes
    if volume.labels:
        metadata["labels"] = volume.labels
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def _probe(config: ContainerConfig) -> dict[str, Any]:
    health = config.health
    assert health is not None
    command = health.test[1:] if health.test[0] == "CMD" else ["/bin/sh", "-c", *health.test[1:]]
    found: dict[str, Any] = {"exec": {"command": command}}
    for key, value in (
        ("periodSeconds", health.interval),
        ("timeoutSeconds", health.timeout),
        ("initialDelaySeconds", health.start_period),
    ):
        if value >= 10**9:
            found[key] = value // 10**9
    if health.retries > 0:
        found["failureThreshold"] = health.retries
    return found
