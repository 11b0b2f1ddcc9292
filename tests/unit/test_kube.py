"""Kubernetes' documents: what they say, and errors that name the field."""

from __future__ import annotations

import pytest

from podling.kube.documents import Document, KubeError, content_of, cpus, parse, pod_name, pod_spec, size
from podling.kube.env import Sources, environment, expand
from podling.kube.pods import Settings, Workload, probe

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}, annotations: {io.podman.annotations.init/one: "true", io.podman.annotations.ulimit: "nofile=5:5,core=0"}}
spec:
  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 7
  hostAliases: [{ip: 10.0.0.1, hostnames: [a, b]}]
  dnsConfig: {nameservers: [1.1.1.1], searches: [x.org], options: [{name: ndots, value: "2"}, {name: debug}]}
  securityContext: {runAsUser: 5, runAsGroup: 6, supplementalGroups: [7], sysctls: [{name: net.a, value: "1"}], seLinuxOptions: {level: s0}}
  shareProcessNamespace: true
  containers:
  - name: one
    image: img:1
    command: [run, $(A)]
    args: [$(B), $$(A), $(NO)]
    env: [{name: A, value: "1"}, {name: B, value: $(A)2}]
    ports: [{containerPort: 80, hostPort: 8080, hostIP: 127.0.0.1}, {containerPort: 53, protocol: UDP}, {name: http, containerPort: 90}]
    resources: {limits: {cpu: 250m, memory: 64Mi, io.podman/device=/dev/x: 1, vendor.com/gpu=all: 1}, requests: {cpu: "1", memory: 32Mi}}
    securityContext: {runAsUser: 9, privileged: false, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {add: [NET_ADMIN], drop: [ALL]}, seccompProfile: {type: Unconfined}}
    livenessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 3, initialDelaySeconds: 2}
    startupProbe: {tcpSocket: {port: 90}, failureThreshold: 30}
  - {name: two, image: img, imagePullPolicy: Never}
"""


def workload(text: str = POD, settings: Settings | None = None) -> Workload:
    (document,) = parse(text)
    return Workload(document, settings or Settings())


def test_a_pod() -> None:
    settings = Settings()
    settings.publish = ["9:9"]
    made = workload(settings=settings).pod()
    infra = made.infra_options
    assert (made.name, made.labels, made.restart, made.share) == ("web", ["app=web"], "on-failure", "ipc,net,uts,pid")
    assert (
        infra.publish == ["127.0.0.1:8080:80/tcp", "9:9"]
        and infra.add_host == ["a:10.0.0.1", "b:10.0.0.1"]
        and infra.hostname == "web"
    )
    assert (infra.dns, infra.dns_search, infra.dns_option, infra.sysctl) == (
        ["1.1.1.1"],
        ["x.org"],
        ["ndots:2", "debug"],
        ["net.a=1"],
    )
    settings.publish_all = True
    assert workload(settings=settings).pod().infra_options.publish[1] == "53:53/udp"


def test_a_container() -> None:
    subject = workload()
    sources = Sources({}, {}, lambda name: None)
    made = subject.create(subject.containers[0], "pod", sources, lambda name: None, init=False)
    assert (made.name, made.entrypoint, made.command) == ("web-one", '["run","1"]', ["12", "$(A)", "$(NO)"])
    assert (made.cpus, made.memory, made.memory_reservation, made.cpu_shares) == (
        0.25,
        str(64 << 20),
        str(32 << 20),
        1024,
    )
    assert made.device == ["/dev/x", "vendor.com/gpu=all"] and made.user == "9:6" and made.group_add == ["7"]
    assert made.read_only and not made.read_only_tmpfs and made.cap_add == ["NET_ADMIN"] and made.cap_drop == ["ALL"]
    assert made.security_opt == ["no-new-privileges", "label=level:s0", "seccomp=unconfined"]
    assert (made.health_interval, made.health_start_period, made.health_on_failure) == ("3s", "2s", "restart")
    assert "http://localhost:90/health" in made.health_cmd and "nc -z -w 1 localhost 90" in made.health_startup_cmd
    assert made.init and made.ulimit == ["nofile=5:5", "core=0"] and made.stop_timeout == 7 and made.pull == "missing"
    other = subject.create(subject.containers[1], "pod", sources, lambda name: None, init=True)
    assert other.pull == "never" and other.init_ctr == "once" and not other.health_cmd and not other.init


@pytest.mark.parametrize(
    ("policy", "image", "expected"), [("", "a", "newer"), ("", "a:latest", "newer"), ("", "h:5/a", "newer"), ("", "a:1", "missing"), ("", "a@sha256:x", "missing"), ("Always", "a:1", "always")]
)  # fmt: skip
def test_when_images_are_pulled(policy: str, image: str, expected: str) -> None:
    subject = workload(
        f"kind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: '{image}', imagePullPolicy: '{policy}'}}]}}\n"
    )
    assert subject._pull(subject.containers[0]) == expected


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet", "Job"])
def test_workloads_have_a_template(kind: str) -> None:
    (document,) = parse(
        f"kind: {kind}\nmetadata: {{name: d}}\nspec: {{template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: c, image: i}}]}}}}}}\n"
    )
    spec, labels, _ = pod_spec(document)
    assert pod_name(document) == "d-pod" and labels == {"a": "b"} and spec.nodes("containers")[0].text("name") == "c"


def test_lists_and_other_kinds() -> None:
    found = parse(
        "kind: List\nitems: [{kind: Pod, metadata: {name: a}}, {kind: ConfigMap, metadata: {name: b}}]\n---\nkind: Ingress\nmetadata: {name: c}\n---\n"
    )
    assert [(document.kind, document.name) for document in found] == [("Pod", "a"), ("ConfigMap", "b")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no document"), ("a: [", "not YAML"), ("- 1", "document 1: not a map"), ("a: 1", "document 1: it has no kind"), ("kind: Pod", "metadata.name is missing"),
        ("kind: Pod\nmetadata: {name: p}\nspec: {}", "Pod p: spec.containers: there is none"),
        ("kind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: i}]}", "Pod p: spec.containers[0].name: it is missing"),
        ("kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: i}, {name: a, image: i}]}", "is there twice"),
        ("kind: Pod\nmetadata: {name: p}\nspec: {containers: 7}", "Pod p: spec.containers: not a list"),
        ("kind: Pod\nmetadata: {name: p, labels: []}", "not a map"),
    ],
)  # fmt: skip
def test_errors_name_the_field(text: str, message: str) -> None:
    with pytest.raises(KubeError) as caught:
        for document in parse(text):
            Workload(document, Settings())
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("restartPolicy: OnFailure", "restartPolicy: Odd"), "spec.restartPolicy"), (("cpu: 250m", "cpu: x"), "limits.cpu: 'x' is no number of processors"),
        (("memory: 64Mi", "memory: 64Xi"), "limits.memory"), (("port: http}", "port: nothing}"), "is no port of the container"), (("containerPort: 80,", "containerPort: 70000,"), "is no port"),
        (("image: img, imagePullPolicy: Never", "image: img, imagePullPolicy: Odd"), "imagePullPolicy"), (("privileged: false", "privileged: 3"), "neither true nor false"),
    ],
)  # fmt: skip
def test_values_that_make_no_sense(change: tuple[str, str], message: str) -> None:
    assert change[0] in POD
    subject = workload(POD.replace(*change))
    with pytest.raises(KubeError) as caught:
        subject.pod()
        for node in subject.containers:
            subject.create(node, "pod", Sources({}, {}, lambda name: None), lambda name: None, init=False)
    assert message in str(caught.value)


# -- the environment
def _map(text: str) -> Document:
    return parse(text)[0]


def test_the_environment() -> None:
    maps = {"m": _map("kind: ConfigMap\nmetadata: {name: m}\ndata: {a: '1', b: two}\nbinaryData: {c: eA==}\n")}
    secrets = {"s": _map("kind: Secret\nmetadata: {name: s}\ndata: {d: eQ==}\nstringData: {e: plain}\n")}
    assert content_of(secrets["s"]) == {"d": b"y", "e": b"plain"}
    text = """
kind: Pod
metadata: {name: p}
spec:
  containers:
  - name: c
    image: i
    envFrom: [{configMapRef: {name: m}, prefix: P_}, {secretRef: {name: s}}, {configMapRef: {name: nothing, optional: true}}]
    env:
    - {name: X, value: "$(P_a)-$(e)"}
    - {name: K, valueFrom: {configMapKeyRef: {name: m, key: b}}}
    - {name: L, valueFrom: {secretKeyRef: {name: stored, key: z}}}
    - {name: M, valueFrom: {secretKeyRef: {name: s, key: nothing, optional: true}}}
    - {name: F, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: R, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    - {name: C, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
    - {name: T, value: true}
    resources: {limits: {memory: 64Mi, cpu: 500m}}
"""
    node = workload(text).containers[0]
    sources = Sources(maps, secrets, lambda name: {"z": b"kept"} if name == "stored" else None)
    found = environment(node, sources, {"metadata.name": "p"})
    assert found == {
        "P_a": "1",
        "P_b": "two",
        "P_c": "x",
        "d": "y",
        "e": "plain",
        "X": "1-plain",
        "K": "two",
        "L": "kept",
        "F": "p",
        "R": "64",
        "C": "1",
        "T": "true",
    }
    for wrong in (
        "configMapKeyRef: {name: m, key: q}",
        "configMapKeyRef: {name: q, key: b}",
        "fieldRef: {fieldPath: odd}",
        "resourceFieldRef: {resource: odd}",
    ):
        bad = workload(
            f"kind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: i, env: [{{name: A, valueFrom: {{{wrong}}}}}]}}]}}\n"
        )
        with pytest.raises(KubeError):
            environment(bad.containers[0], sources, {})


def test_quantities_and_references() -> None:
    assert (cpus("500m", ""), cpus("2", ""), size("1Gi", ""), size("1.5k", ""), size("12", "")) == (
        0.5,
        2.0,
        1 << 30,
        1500,
        12,
    )
    assert expand("$(a) $$(a) $(b) $a", {"a": "1"}) == "1 $(a) $(b) $a"


def test_probes_need_a_way() -> None:
    node = workload(POD.replace("httpGet: {path: /health, port: http}", "grpc: {port: 1}")).containers[0]
    with pytest.raises(KubeError, match="none of exec, httpGet, tcpSocket"):
        probe(node.node("livenessProbe"), node)
