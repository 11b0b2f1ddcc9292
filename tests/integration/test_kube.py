"""kube play, down, generate, apply."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import IMAGE, Podling, eventually

pytestmark = pytest.mark.xdist_group("network")
SLEEP = '[sleep, "1000"]'


@pytest.fixture
def play(podling: Podling, tmp_path: Path) -> Iterator[Any]:
    """Plays a text; all of it is taken down afterwards, and its volumes too."""
    path = tmp_path / "app.yaml"

    def run(text: str, *flags: str, code: int = 0) -> str:
        path.write_text(text.replace("IMAGE", IMAGE).replace("SLEEP", SLEEP))
        if code:
            return podling.fails(code, "kube", "play", *flags, str(path))
        return podling.ok("kube", "play", *flags, str(path))

    yield run
    if path.exists():
        podling("kube", "down", "--force", str(path))
    podling("volume", "rm", "-a", "-f")
    podling("network", "rm", "-f", "podman-default-kube-network")
    podling("rmi", "-f", "localhost/built-for-kube:1")
    podling("image", "prune", "-f")
    podling("system", "prune", "-f", "--build")


def inspect(podling: Podling, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(podling.ok("inspect", name))[0]
    return document


APP = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
  - {name: prep, image: IMAGE, command: [sh, -c, "echo prepared > /d/init"], volumeMounts: [{name: d, mountPath: /d}]}
  containers:
  - name: one
    image: IMAGE
    command: SLEEP
    env: [{name: A, value: x}, {name: S, valueFrom: {secretKeyRef: {name: sec, key: a}}}, {name: C, valueFrom: {configMapKeyRef: {name: conf, key: k}}}]
    ports: [{containerPort: 80, hostPort: 18097, hostIP: 127.0.0.1}]
    resources: {limits: {memory: 64Mi, cpu: 500m}}
    volumeMounts:
    - {name: d, mountPath: /d}
    - {name: s, mountPath: /s, readOnly: true}
    - {name: c, mountPath: /c}
    - {name: e, mountPath: /e}
    - {name: m, mountPath: /m}
    - {name: h, mountPath: /h, subPath: inner}
    - {name: i, mountPath: /i}
  - {name: two, image: IMAGE, command: SLEEP, securityContext: {runAsUser: 5, capabilities: {drop: [ALL]}}}
  volumes:
  - {name: d, persistentVolumeClaim: {claimName: data}}
  - {name: s, secret: {secretName: sec, items: [{key: a, path: deep/er, mode: 256}]}}
  - {name: c, configMap: {name: conf}}
  - {name: e, emptyDir: {}}
  - {name: m, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: h, hostPath: {path: HOSTPATH, type: DirectoryOrCreate}}
  - {name: i, image: {reference: IMAGE}}
---
{apiVersion: v1, kind: Secret, metadata: {name: sec}, data: {a: Yg==}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: conf}, data: {k: value}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, labels: {of: app}, annotations: {volume.podman.io/uid: "5"}}, spec: {}}
"""


def test_an_application(podling: Podling, play: Any, tmp_path: Path) -> None:
    (tmp_path / "host" / "inner").mkdir(parents=True)
    out = play(APP.replace("HOSTPATH", str(tmp_path / "host")))
    assert [line for line in out.splitlines() if line.endswith(":")] == [
        "Secrets:",
        "Volumes:",
        "Pod:",
        "Init Container:",
        "Containers:",
    ]
    script = "cat /d/init /s/deep/er /c/k; echo; echo $A $S $C; touch /e/x /h/made; stat -c %a /s/deep/er; ls /i/bin/busybox; grep -c ' /m tmpfs' /proc/mounts"
    assert podling.ok("exec", "web-one", "sh", "-c", script).split() == [
        "prepared",
        "bvalue",
        "x",
        "b",
        "value",
        "400",
        "/i/bin/busybox",
        "1",
    ]
    assert (tmp_path / "host" / "inner" / "made").exists()
    assert podling.ok("exec", "web-two", "id", "-u") == "5"
    host = inspect(podling, "web-one")["HostConfig"]
    assert host["Memory"] == 64 << 20 and host["NanoCpus"] == 500_000_000 and host["RestartPolicy"]["Name"] == "always"
    assert "127.0.0.1:18097->80/tcp" in podling.ok("pod", "ps", "--format", "{{.Name}}") + podling.ok(
        "ps", "--format", "{{.Ports}}"
    )
    assert podling.ok("volume", "inspect", "-f", "{{.Labels}} {{.UID}}", "data") == "map[of:app] 5"
    assert "exists" in play(APP, code=125)
    first = podling.ok("pod", "inspect", "-f", "{{.Id}}", "web")
    play(APP.replace("HOSTPATH", str(tmp_path / "host")), "--replace")
    assert podling.ok("pod", "inspect", "-f", "{{.Id}}", "web") != first
    down = podling.ok("kube", "down", str(tmp_path / "app.yaml"))
    assert "Pods removed:" in down and podling.ok("pod", "ps", "-q") == "" and podling.ok("secret", "ls", "-q") == ""
    assert podling.ok("volume", "ls", "-q") == "data", "claims outlive the pod"
    podling.ok("kube", "play", "--down", "--force", str(tmp_path / "app.yaml"))
    assert podling.ok("volume", "ls", "-q") == ""


def test_pods_know_each_other(podling: Podling, play: Any) -> None:
    play(
        "{kind: Pod, metadata: {name: first}, spec: {containers: [{name: c, image: IMAGE, command: SLEEP}]}}\n---\n"
        "{kind: Deployment, metadata: {name: second}, spec: {template: {metadata: {labels: {l: m}}, spec: {containers: [{name: c, image: IMAGE, command: SLEEP}]}}}}\n"
    )
    assert podling.ok("pod", "ps", "--format", "{{.Name}}", "--sort", "name").split() == ["first", "second-pod"]
    address = inspect(podling, podling.ok("pod", "inspect", "-f", "{{.InfraContainerID}}", "first"))["NetworkSettings"][
        "Networks"
    ]
    assert list(address) == ["podman-default-kube-network"]
    one = address["podman-default-kube-network"]["IPAddress"]
    eventually(lambda: f"Address: {one}" in podling("exec", "second-pod-c", "nslookup", "first").stdout)


def test_flags_of_play(podling: Podling, play: Any, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("{kind: ConfigMap, metadata: {name: more}, data: {K: v}}\n")
    podling.ok("network", "create", "--subnet", "10.91.7.0/24", "kubenet")
    text = (
        "{kind: Pod, metadata: {name: flags}, spec: {restartPolicy: Never, terminationGracePeriodSeconds: 0, containers: [{name: c, image: IMAGE, command: SLEEP, "
        "ports: [{containerPort: 8080}], envFrom: [{configMapRef: {name: more}}]}]}}\n"
    )
    flags = [
        "--configmap", str(tmp_path / "values.yaml"), "--annotation", "note=1", "--network", "kubenet", "--ip", "10.91.7.9", "--mac-address", "92:d0:c6:0a:29:38",
        "--no-hosts", "--no-hostname", "--no-pod-prefix", "--publish", "18098:99", "--publish-all", "--quiet", "--log-driver", "k8s-file", "--log-opt", "max-size=1m",
        "--userns", "host", "--seccomp-profile-root", "/tmp", "--start=false", "--authfile", str(tmp_path / "none"), "--cert-dir", str(tmp_path),
        "--creds", "a:b", "--tls-verify=false", "--build=false", "--context-dir", str(tmp_path),
    ]  # fmt: skip
    play(text, *flags)
    document = inspect(podling, "c")
    assert (
        document["State"]["Status"] == "created"
        and document["Config"]["Annotations"]["note"] == "1"
        and "K=v" in document["Config"]["Env"]
    )
    podling.ok("pod", "start", "flags")
    infra = inspect(podling, podling.ok("pod", "inspect", "-f", "{{.InfraContainerID}}", "flags"))
    network = infra["NetworkSettings"]["Networks"]["kubenet"]
    assert (network["IPAddress"], network["MacAddress"]) == ("10.91.7.9", "92:d0:c6:0a:29:38")
    assert sorted(infra["HostConfig"]["PortBindings"]) == ["8080/tcp", "99/tcp"]
    podling.ok("pod", "rm", "-f", "-t", "0", "flags")
    podling.ok("network", "rm", "kubenet")


def test_images_with_a_folder_are_built(podling: Podling, play: Any, tmp_path: Path) -> None:
    folder = tmp_path / "built-for-kube"
    folder.mkdir()
    (folder / "Containerfile").write_text(f"FROM {IMAGE}\nLABEL built=1\n")
    text = "{kind: Pod, metadata: {name: b}, spec: {hostNetwork: true, terminationGracePeriodSeconds: 0, containers: [{name: c, image: 'localhost/built-for-kube:1', command: SLEEP}]}}\n"
    play(text)
    assert inspect(podling, "b-c")["Config"]["Image"] == "localhost/built-for-kube:1"
    assert podling.ok("image", "inspect", "-f", "{{.Labels.built}}", "localhost/built-for-kube:1") == "1"
    (folder / "Containerfile").write_text(f"FROM {IMAGE}\nLABEL built=2\n")
    play(text, "--replace", "--build")
    assert podling.ok("image", "inspect", "-f", "{{.Labels.built}}", "localhost/built-for-kube:1") == "2"


def test_a_job_that_is_waited_for(podling: Podling, play: Any) -> None:
    text = "{kind: Job, metadata: {name: j}, spec: {template: {spec: {restartPolicy: Never, hostNetwork: true, containers: [{name: c, image: IMAGE, command: [sh, -c, 'exit 3']}]}}}}\n"
    done = podling("kube", "play", "--wait", "-", input=text.replace("IMAGE", IMAGE).encode())
    assert done.returncode == 3 and "Pods removed:" in done.stdout and podling.ok("pod", "ps", "-q") == ""
    text = text.replace("'exit 3'", "'sleep 1000'").replace("Job", "DaemonSet")
    child = subprocess.Popen(
        podling.argv("kube", "play", "-w", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdin
    child.stdin.write(
        text.replace("IMAGE", IMAGE)
        .replace("spec: {restartPolicy", "spec: {terminationGracePeriodSeconds: 0, restartPolicy")
        .encode()
    )
    child.stdin.close()
    eventually(lambda: podling.ok("ps", "-q", "--filter", "name=j-pod-c") != "")
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 0 and podling.ok("pod", "ps", "-q") == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kind: Pod, metadata: {name: bad}, spec: {containers: [{name: c, image: IMAGE, volumeMounts: [{name: v, mountPath: /v}]}]}}", "there is no volume v"),
        ("{kind: Pod, metadata: {name: bad}, spec: {volumes: [{name: v, hostPath: {path: /nothing/here}}], containers: [{name: c, image: IMAGE, volumeMounts: [{name: v, mountPath: /v}]}]}}", "no such file"),
        ("{kind: Pod, metadata: {name: bad}, spec: {volumes: [{name: v, configMap: {name: none}}], containers: [{name: c, image: IMAGE, volumeMounts: [{name: v, mountPath: /v}]}]}}", "there is no configMap none"),
        ("{kind: Pod, metadata: {name: bad}, spec: {volumes: [{name: v, nfs: {path: /x}}], containers: [{name: c, image: IMAGE, volumeMounts: [{name: v, mountPath: /v}]}]}}", "not supported here"),
        ("{kind: Pod, metadata: {name: bad}, spec: {containers: [{name: c, image: 'localhost/nothing/here:1', imagePullPolicy: Never}]}}", ""),
        ("{kind: Ingress, metadata: {name: x}}", "there is no pod in it"),
        ("a: [", "not YAML"),
    ],
)  # fmt: skip
def test_broken_documents_leave_nothing(podling: Podling, play: Any, text: str, message: str) -> None:
    assert message in play(text, code=125)
    assert podling.ok("pod", "ps", "-q") == podling.ok("ps", "-aq") == podling.ok("volume", "ls", "-q") == ""


def test_files_that_are_none(podling: Podling) -> None:
    assert "No such file" in podling.fails(125, "kube", "play", "/nothing.yaml")
    assert "not found" in podling.fails(125, "kube", "generate", "nothing")
    assert "no document" in podling.fails(125, "kube", "down", "-")


# -- generate
def test_what_is_generated_can_be_played(podling: Podling, play: Any, tmp_path: Path) -> None:
    podling.ok(
        "pod",
        "create",
        "--name",
        "shop",
        "-p",
        "127.0.0.1:18099:80",
        "--add-host",
        "h:1.2.3.4",
        "--dns",
        "9.9.9.9",
        "--label",
        "l=m",
        "--restart",
        "on-failure",
    )
    podling.ok("create", "--pod", "shop", "--name", "shop-setup", "--init-ctr", "always", IMAGE, "true")
    podling.ok(
        "create", "--pod", "shop", "--name", "shop-front", "-e", "A=b c", "-v", "things:/t:ro", "-v", f"{tmp_path}:/host", "--tmpfs", "/tmpfs", "-m", "64m", "--cpus", "0.5",
        "--user", "5:6", "--cap-add", "NET_ADMIN", "--read-only", "--security-opt", "no-new-privileges", "--health-cmd", "true", "-w", "/tmp", "--stop-timeout", "0", IMAGE, "sleep", "1000",
    )  # fmt: skip
    file = tmp_path / "out.yaml"
    podling.ok("kube", "generate", "--service", "--podman-only", "-f", str(file), "shop")
    assert "exists" in podling.fails(125, "kube", "generate", "-f", str(file), "shop")
    documents = list(yaml.safe_load_all(file.read_text()))
    assert [document["kind"] for document in documents] == ["PersistentVolumeClaim", "Service", "Pod"]
    spec = documents[-1]["spec"]
    assert (
        spec["restartPolicy"] == "OnFailure"
        and spec["hostAliases"] == [{"ip": "1.2.3.4", "hostnames": ["h"]}]
        and spec["dnsConfig"]["nameservers"] == ["9.9.9.9"]
    )
    (front,) = spec["containers"]
    assert (
        front["name"] == "front"
        and {"name": "A", "value": "b c"} in front["env"]
        and front["resources"]["limits"] == {"memory": "64Mi", "cpu": "500m"}
    )
    assert front["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"add": ["NET_ADMIN"]}, "runAsUser": 5, "runAsGroup": 6}  # fmt: skip
    assert front["ports"] == [{"containerPort": 80, "hostPort": 18099, "hostIP": "127.0.0.1"}]
    before = inspect(podling, "shop-front")
    podling.ok("pod", "rm", "-f", "-t", "0", "shop")
    play(file.read_text())
    after = inspect(podling, "shop-front")
    for key in ("Memory", "NanoCpus", "ReadonlyRootfs", "CapAdd"):
        assert before["HostConfig"][key] == after["HostConfig"][key], key
    assert before["Config"]["User"] == after["Config"]["User"] and sorted(
        m["Destination"] for m in before["Mounts"]
    ) == sorted(m["Destination"] for m in after["Mounts"])


def test_kinds_of_what_is_generated(podling: Podling) -> None:
    podling.ok("create", "--name", "alone", "--network", "host", "-p", "80", IMAGE, "sleep", "5")
    podling.ok("volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "v")
    for kind, version in (("pod", "v1"), ("deployment", "apps/v1"), ("daemonset", "apps/v1"), ("job", "batch/v1")):
        document = yaml.safe_load(podling.ok("generate", "kube", "-t", kind, "alone"))
        assert document["apiVersion"] == version and document["kind"].lower() == kind
    assert (
        yaml.safe_load(podling.ok("kube", "generate", "--type", "deployment", "--replicas", "3", "alone"))["spec"][
            "replicas"
        ]
        == 3
    )
    assert "deployment" in podling.fails(125, "kube", "generate", "--replicas", "3", "alone")
    claim = yaml.safe_load(podling.ok("kube", "generate", "v"))
    assert (
        claim["kind"] == "PersistentVolumeClaim"
        and claim["metadata"]["annotations"]["volume.podman.io/type"] == "tmpfs"
    )
    podling.ok("volume", "rm", "v")


# -- apply
class _Cluster(BaseHTTPRequestHandler):
    seen: list[tuple[str, str, str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.path, body["metadata"]["name"], self.headers.get("Authorization", "")))
        answer = (
            b"{}" if body["metadata"]["name"] != "refused-pod" else json.dumps({"message": "quota exceeded"}).encode()
        )
        self.send_response(201 if answer == b"{}" else 403)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig of something that answers as an API server does."""
    _Cluster.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Cluster) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        path = tmp_path / "kubeconfig"
        authority = base64.b64encode(b"x").decode()
        path.write_text(
            yaml.safe_dump(
                {
                    "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "mine"}}],
                    "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{server.server_port}", "certificate-authority-data": authority}}],
                    "users": [{"name": "u", "user": {"token": "t0ken"}}],
                }
            )
        )  # fmt: skip
        yield path
        server.shutdown()
        thread.join()


def test_apply(podling: Podling, cluster: Path, tmp_path: Path) -> None:
    podling.ok("create", "--name", "sent", "--network", "none", IMAGE, "true")
    podling.ok("create", "--name", "refused", "--network", "none", IMAGE, "true")
    assert podling.ok("kube", "apply", "--kubeconfig", str(cluster), "--service", "sent").splitlines() == [
        "Service sent-pod",
        "Pod sent-pod",
    ]
    assert _Cluster.seen == [
        ("/api/v1/namespaces/mine/services", "sent-pod", "Bearer t0ken"),
        ("/api/v1/namespaces/mine/pods", "sent-pod", "Bearer t0ken"),
    ]
    (tmp_path / "d.yaml").write_text("{kind: Deployment, metadata: {name: d}, spec: {}}\n")
    podling.ok(
        "kube",
        "apply",
        "-k",
        str(cluster),
        "--ns",
        "other",
        "--ca-cert-file",
        "/nothing",
        "-f",
        str(tmp_path / "d.yaml"),
    )
    assert _Cluster.seen[-1][:2] == ("/apis/apps/v1/namespaces/other/deployments", "d")
    assert "403: quota exceeded" in podling.fails(125, "kube", "apply", "-k", str(cluster), "refused")
    assert "No such file" in podling.fails(125, "kube", "apply", "-k", "/nothing", "sent")
    assert os.environ.get("KUBECONFIG") or "name containers" in podling.fails(125, "kube", "apply")
