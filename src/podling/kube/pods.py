"""A pod's document as the options that make a pod and its containers."""

from __future__ import annotations

from podling.core.options import CreateOptions, PodOptions
from podling.kube.documents import Document, KubeError, Node, cpus, pod_name, pod_spec, size
from podling.kube.env import Sources, environment, expand
from podling.kube.volumes import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NOTE = "io.podman.annotations."
_RESTARTS = {"": "always", "Always": "always", "OnFailure": "on-failure", "Never": "no"}


class Settings:
    """What the command line says of all pods."""

    def __init__(self) -> None:
        self.networks: list[str] = []
        self.publish: list[str] = []
        self.publish_all = self.no_hosts = self.no_hostname = self.no_prefix = False
        self.userns = self.log_driver = self.ip = self.mac = ""
        self.log_opts: list[str] = []
        self.annotations: dict[str, str] = {}
        self.seccomp_root = "/var/lib/kubelet/seccomp"


class Workload:
    """A document that makes a pod."""

    def __init__(self, document: Document, settings: Settings) -> None:
        self.document, self.settings = document, settings
        self.name = pod_name(document)
        self.spec, self.labels, notes = pod_spec(document)
        self.annotations = {**notes, **settings.annotations}
        self.containers = self.spec.nodes("containers")
        if not self.containers:
            raise self.spec.error("containers", "there is none")
        self.inits = self.spec.nodes("initContainers")
        names = [node.text("name") for node in (*self.containers, *self.inits)]
        for node, name in zip((*self.containers, *self.inits), names, strict=True):
            if not name or not node.text("image"):
                raise node.error("name" if not name else "image", "it is missing")
            if names.count(name) > 1:
                raise node.error("name", f"{name!r} is there twice")

    def note(self, name: str, container: str = "") -> str:
        """An annotation of ours, for a container or for all."""
        return self.annotations.get(f"{_NOTE}{name}/{container}", self.annotations.get(f"{_NOTE}{name}", ""))

    # -- the pod
    def pod(self) -> PodOptions:
        spec, settings = self.spec, self.settings
        infra = CreateOptions(image="")
        if spec.flag("hostNetwork"):
            infra.network = ["host"]
        elif settings.networks:
            infra.network = list(settings.networks)
        infra.hostname = spec.text("hostname") or self.name
        infra.ip, infra.mac_address = settings.ip, settings.mac
        infra.no_hosts, infra.no_hostname = settings.no_hosts, settings.no_hostname
        infra.publish = self._ports() + settings.publish
        infra.add_host = [
            f"{name}:{node.text('ip')}" for node in spec.nodes("hostAliases") for name in node.texts("hostnames")
        ]
        dns = spec.node("dnsConfig")
        infra.dns, infra.dns_search = dns.texts("nameservers"), dns.texts("searches")
        infra.dns_option = [
            node.text("name") + (f":{node.text('value')}" if node.has("value") else "") for node in dns.nodes("options")
        ]
        infra.sysctl = [
            f"{node.text('name')}={node.text('value')}" for node in spec.node("securityContext").nodes("sysctls")
        ]
        infra.userns = (
            settings.userns
            or self.note("userns")
            or ("auto" if spec.has("hostUsers") and not spec.flag("hostUsers") else "")
        )
        if spec.flag("hostPID"):
            infra.pid = "host"
        if spec.flag("hostIPC"):
            infra.ipc = "host"
        policy = spec.text("restartPolicy")
        if policy not in _RESTARTS:
            raise spec.error("restartPolicy", f"{policy!r} is none of Always, OnFailure, Never")
        share = "ipc,net,uts" + (",pid" if spec.flag("shareProcessNamespace") else "")
        return PodOptions(
            infra_options=infra, name=self.name, labels=[f"{key}={value}" for key, value in self.labels.items()], share=share,
            restart=_RESTARTS[policy], infra_name=self.note("infra.name"), exit_policy="stop",
        )  # fmt: skip

    def _ports(self) -> list[str]:
        found = []
        for container in self.containers:
            for node in container.nodes("ports"):
                inner, outer = node.number("containerPort"), node.number("hostPort")
                if not outer and not (self.settings.publish_all or self.note("publish-all") in ("true", "TRUE")):
                    continue
                if not 0 < inner < 65536:
                    raise node.error("containerPort", f"{inner} is no port")
                address = f"{node.text('hostIP')}:" if node.text("hostIP") else ""
                found.append(f"{address}{outer or inner}:{inner}/{(node.text('protocol') or 'tcp').lower()}")
        return found

    # -- its containers
    def create(
        self, node: Node, pod: str, sources: Sources, volumes: Callable[[str], Source | None], *, init: bool
    ) -> CreateOptions:
        """The options of one container; `volumes` gives what a name of `spec.volumes` is."""
        name = node.text("name")
        made = CreateOptions(image=node.text("image"), pod=pod)
        made.name = name if self.settings.no_prefix else f"{self.name}-{name}"
        made.pull = self._pull(node)
        fields = {
            "metadata.name": self.name, "metadata.namespace": "default", "metadata.uid": pod, "spec.nodeName": _hostname(),
            "status.hostIP": "", "status.podIP": "",
        }  # fmt: skip
        fields |= {f"metadata.labels['{key}']": value for key, value in self.labels.items()}
        fields |= {f"metadata.annotations['{key}']": value for key, value in self.annotations.items()}
        variables = environment(node, sources, fields)
        made.env = [f"{key}={value}" for key, value in variables.items()]
        command = [expand(word, variables) for word in node.texts("command")]
        made.command = [expand(word, variables) for word in node.texts("args")]
        if command:
            made.entrypoint = _json(command)
        made.workdir = node.text("workingDir")
        made.label = [f"{key}={value}" for key, value in self.labels.items()]
        made.annotation = [f"{key}={value}" for key, value in self.annotations.items() if not key.startswith(_NOTE)]
        made.tty, made.interactive = node.flag("tty"), node.flag("stdin")
        made.log_driver, made.log_opt = self.settings.log_driver, list(self.settings.log_opts)
        if self.spec.has("terminationGracePeriodSeconds"):
            made.stop_timeout = self.spec.number("terminationGracePeriodSeconds")
        made.stop_signal = node.node("lifecycle").text("stopSignal")
        if init:
            made.init_ctr = self.annotations.get(f"{_NOTE}init.container.type") or "once"
        self._limits(made, node)
        self._security(made, node)
        self._mounts(made, node, volumes)
        self._notes(made, name)
        if not init:
            _probes(made, node)
        return made

    def _pull(self, node: Node) -> str:
        policy, image = node.text("imagePullPolicy"), node.text("image")
        known = {"Always": "always", "IfNotPresent": "missing", "Never": "never", "Newer": "newer"}
        if policy:
            if policy not in known:
                raise node.error("imagePullPolicy", f"{policy!r} is none of {', '.join(known)}")
            return known[policy]
        last = image.rpartition("/")[2]
        return "newer" if (":" not in last and "@" not in last) or last.endswith(":latest") else "missing"

    def _limits(self, made: CreateOptions, node: Node) -> None:
        resources = node.node("resources")
        limits, requests = resources.node("limits"), resources.node("requests")
        for key in limits.value:
            if key == "cpu":
                made.cpus = cpus(limits.text(key), limits.path(key))
            elif key == "memory":
                made.memory = str(size(limits.text(key), limits.path(key)))
            elif key.startswith(("podman.io/device=", "io.podman/device=")):
                made.device.append(key.partition("=")[2])
            elif "=" in key and "/" in key:  # CDI: VENDOR/CLASS=NAME
                made.device.append(key)
        if requests.has("memory"):
            made.memory_reservation = str(size(requests.text("memory"), requests.path("memory")))
        if requests.has("cpu"):
            made.cpu_shares = max(2, int(cpus(requests.text("cpu"), requests.path("cpu")) * 1024))

    def _security(self, made: CreateOptions, node: Node) -> None:
        whole, own = self.spec.node("securityContext"), node.node("securityContext")
        user, group = _either(own, whole, "runAsUser"), _either(own, whole, "runAsGroup")
        if user or group:
            made.user = f"{user or '0'}:{group}" if group else user
        made.group_add = [str(item) for item in whole.texts("supplementalGroups")]
        made.privileged, made.read_only = own.flag("privileged"), own.flag("readOnlyRootFilesystem")
        if made.read_only:
            made.read_only_tmpfs = False
        if not own.flag("allowPrivilegeEscalation", default=True):
            made.security_opt.append("no-new-privileges")
        if own.text("procMount") == "Unmasked":
            made.security_opt.append("unmask=ALL")
        made.cap_add, made.cap_drop = own.node("capabilities").texts("add"), own.node("capabilities").texts("drop")
        labels = {**whole.node("seLinuxOptions").value, **own.node("seLinuxOptions").value}
        made.security_opt += [
            f"label={key}:{labels[key]}" for key in ("user", "role", "type", "level") if labels.get(key)
        ]
        profile = own.node("seccompProfile") or whole.node("seccompProfile")
        kind = profile.text("type")
        if kind == "Unconfined":
            made.security_opt.append("seccomp=unconfined")
        elif kind == "Localhost":
            made.security_opt.append(f"seccomp={self.settings.seccomp_root}/{profile.text('localhostProfile')}")

    def _mounts(self, made: CreateOptions, node: Node, volumes: Callable[[str], Source | None]) -> None:
        for mount in node.nodes("volumeMounts"):
            name, target = mount.text("name"), mount.text("mountPath")
            if not target.startswith("/"):
                raise mount.error("mountPath", f"{target!r} is not absolute")
            source = volumes(name)
            if source is None:
                continue
            options = ["ro"] if mount.flag("readOnly") or source.read_only else []
            propagation = {"": "", "None": "private", "HostToContainer": "rslave", "Bidirectional": "rshared"}
            kind = mount.text("mountPropagation")
            if kind not in propagation:
                raise mount.error("mountPropagation", f"{kind!r} is none of None, HostToContainer, Bidirectional")
            _mount(made, source, target, mount.text("subPath"), options, propagation[kind])
        for entry in node.nodes("volumeDevices"):
            source = volumes(entry.text("name"))
            if source is not None:
                made.device.append(f"{source.name}:{entry.text('devicePath')}")

    def _notes(self, made: CreateOptions, name: str) -> None:
        """Annotations that say what Kubernetes has no field for."""
        if self.note("init", name) in ("TRUE", "true"):
            made.init = True
        if self.note("autoremove", name) in ("TRUE", "true"):
            made.rm, made.restart = True, "no"
        if self.note("pids-limit", name):
            made.pids_limit = int(self.note("pids-limit", name))
        made.cpuset_cpus, made.cpuset_mems = self.note("cpuset", name), self.note("memory-nodes", name)
        made.volumes_from = [item for item in self.note("volumes-from", name).split(";") if item]
        made.ulimit = [item for item in self.note("ulimit", name).split(",") if item]
        made.cidfile = self.note("cid-file", name)
        if self.note("seccomp", name):
            made.security_opt.append(f"seccomp={self.note('seccomp', name)}")
        if self.note("apparmor", name):
            made.security_opt.append(f"apparmor={self.note('apparmor', name)}")
        if self.note("label", name):
            made.security_opt.append(f"label={self.note('label', name)}")
        for key in ("io.containers.autoupdate", "io.containers.sdnotify"):
            value = self.annotations.get(f"{key}/{name}", self.annotations.get(key, ""))
            if value and key.endswith("autoupdate"):
                made.label.append(f"{key}={value}")
            elif value:
                made.sdnotify = value


def _either(own: Node, whole: Node, name: str) -> str:
    return own.text(name) if own.has(name) else whole.text(name)


def _mount(made: CreateOptions, source: Source, target: str, inner: str, options: list[str], propagation: str) -> None:
    if source.kind == "tmpfs":
        made.tmpfs.append(f"{target}:{source.options}" if source.options else target)
        return
    if source.kind == "device":
        made.device.append(f"{source.name}:{target}")
        return
    if source.kind == "image":
        made.mount.append(f"type=image,source={source.name},target={target}" + (f",subpath={inner}" if inner else ""))
        return
    if source.kind == "bind":
        parts = ["type=bind", f"source={_inside(source.name, inner)}", f"target={target}", *options]
    else:
        parts = ["type=volume", f"source={source.name}", f"target={target}", *options]
        parts += [f"subpath={inner}"] if inner else []
    if propagation and source.kind == "bind":
        parts.append(f"bind-propagation={propagation}")
    made.mount.append(",".join(parts))


def _inside(folder: str, path: str) -> str:
    """A path in a folder of the host, links followed inside it."""
    if not path:
        return folder
    from podling.storage.changes import View

    return f"{folder.rstrip('/')}{View([folder]).resolve(path)}"


def _json(words: list[str]) -> str:
    from podling.oci import json

    return json.dumps(words)


def _hostname() -> str:
    import os

    return os.uname().nodename


def _probes(made: CreateOptions, node: Node) -> None:
    """livenessProbe as a health check that restarts, startupProbe as the one before it."""
    live, start = node.node("livenessProbe"), node.node("startupProbe")
    if live:
        made.health_cmd = probe(live, node)
        made.health_interval = f"{live.number('periodSeconds', 10)}s"
        made.health_timeout = f"{live.number('timeoutSeconds', 1)}s"
        made.health_retries = live.number("failureThreshold", 3)
        if live.number("initialDelaySeconds"):
            made.health_start_period = f"{live.number('initialDelaySeconds')}s"
        made.health_on_failure = "restart"
    if start and live:
        made.health_startup_cmd = probe(start, node)
        made.health_startup_interval = f"{start.number('periodSeconds', 10)}s"
        made.health_startup_timeout = f"{start.number('timeoutSeconds', 1)}s"
        made.health_startup_retries = start.number("failureThreshold", 3)
        made.health_startup_success = start.number("successThreshold", 1)


def probe(node: Node, container: Node) -> str:
    """A probe's command: its own, or one that asks a port of the pod."""
    if node.has("exec"):
        return _json(["CMD", *node.node("exec").texts("command")])
    if node.has("httpGet"):
        inner = node.node("httpGet")
        scheme, host = (inner.text("scheme") or "http").lower(), inner.text("host") or "localhost"
        path = inner.text("path") or "/"
        url = f"{scheme}://{host}:{_port(inner, container)}{path}"
        return _json(["CMD-SHELL", f"curl -f {_quoted(url)} || wget -q -O /dev/null {_quoted(url)} || exit 1"])
    if node.has("tcpSocket"):
        inner = node.node("tcpSocket")
        return _json(
            [
                "CMD-SHELL",
                f"nc -z -w 1 {_quoted(inner.text('host') or 'localhost')} {_port(inner, container)} || exit 1",
            ]
        )
    raise KubeError(f"{node.where}: none of exec, httpGet, tcpSocket")


def _port(node: Node, container: Node) -> int:
    """A port by its number, or by its name among the container's."""
    value = node.value.get("port")
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    for entry in container.nodes("ports"):
        if entry.text("name") == value:
            return entry.number("containerPort")
    raise node.error("port", f"{value!r} is no port of the container")


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
