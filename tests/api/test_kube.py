"""Kubernetes' documents, systemd's units and Quadlet files through the API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.conftest import Service
from tests.integration.conftest import IMAGE, Podling

pytestmark = pytest.mark.xdist_group("network")
POD = f"{{kind: Pod, metadata: {{name: api}}, spec: {{hostNetwork: true, terminationGracePeriodSeconds: 0, containers: [{{name: c, image: {IMAGE}, command: [sleep, '1000']}}]}}}}"  # fmt: skip


def send(service: Service, method: str, path: str, text: str, **parameters: Any) -> Any:
    return service(
        method,
        f"/v5.0.0/libpod{path}?{urllib.parse.urlencode(parameters)}",
        raw=text.encode(),
        headers={"Content-Type": "text/plain"},
    )


@pytest.mark.parametrize("path", ["/play/kube", "/kube/play"])
def test_play_and_down(service: Service, podling: Podling, path: str) -> None:
    secret = "\n---\n{kind: Secret, metadata: {name: apisec}, data: {a: Yg==}}\n---\n{kind: PersistentVolumeClaim, metadata: {name: apivol}}\n"
    made = send(
        service, "POST", path, POD + secret, annotations=json.dumps({"n": "1"}), noHosts="true", logDriver="k8s-file"
    )
    assert made.status == 200
    (pod,) = made.json["Pods"]
    assert (
        pod["ID"] == podling.ok("pod", "inspect", "-f", "{{.Id}}", "api")
        and len(pod["Containers"]) == 1
        and pod["ContainerErrors"] is None
    )
    assert made.json["Volumes"] == [{"Name": "apivol"}] and len(made.json["Secrets"][0]["CreateReport"]["ID"]) == 25
    assert podling.ok("inspect", "-f", "{{.Config.Annotations.n}}", "api-c") == "1"
    again = send(service, "POST", path, POD)
    assert again.status == 409 and "exists" in again.json["message"]
    down = send(service, "DELETE", path, POD + secret, force="true")
    assert down.json["RmReport"][0]["Id"] == pod["ID"] and down.json["VolumeRmReport"] == [
        {"Err": None, "Id": "apivol"}
    ]
    assert podling.ok("pod", "ps", "-q") == "" and podling.ok("secret", "ls", "-q") == ""


def test_wait(service: Service, podling: Podling) -> None:
    text = POD.replace("[sleep, '1000']", "[sh, -c, 'exit 4']").replace("spec: {", "spec: {restartPolicy: Never, ")
    answer = send(service, "POST", "/play/kube", text, wait="true")
    assert answer.json["ExitCode"] == 4 and answer.json["RmReport"] and podling.ok("pod", "ps", "-q") == ""


@pytest.mark.parametrize(
    ("text", "message"), [("", "no document"), ("a: [", "not YAML"), ("kind: Pod\n", "metadata.name is missing"), (POD.replace("hostNetwork: true", "hostNetwork: 7"), "neither true nor false")]
)  # fmt: skip
def test_bad_documents(service: Service, text: str, message: str) -> None:
    answer = send(service, "POST", "/play/kube", text)
    assert answer.status == 400 and message in answer.json["message"]
    assert send(service, "POST", "/play/kube", POD, annotations="x").status == 400


def test_generate(service: Service, podling: Podling) -> None:
    podling.ok("create", "--name", "apigen", "--network=none", IMAGE, "sleep", "100")
    for path in ("/generate/kube", "/kube/generate"):
        answer = service("GET", f"/v5.0.0/libpod{path}?names=apigen&type=deployment&replicas=2")
        document = yaml.safe_load(answer.body)
        assert answer.status == 200 and document["kind"] == "Deployment" and document["spec"]["replicas"] == 2
    assert service("GET", "/v5.0.0/libpod/generate/kube?names=nothing").status == 404
    assert service("GET", "/v5.0.0/libpod/generate/kube").status == 400
    units = service(
        "GET", "/v5.0.0/libpod/generate/apigen/systemd?useName=true&new=true&restartSec=3&after=x.service"
    ).json
    assert (
        list(units) == ["container-apigen"]
        and "RestartSec=3" in units["container-apigen"]
        and "After=x.service" in units["container-apigen"]
    )
    assert service("GET", "/v5.0.0/libpod/generate/nothing/systemd").status == 404
    assert isinstance(service("GET", "/v5.0.0/libpod/quadlets/json").json, list)


def test_apply_needs_a_cluster(service: Service, tmp_path: Path) -> None:
    assert send(service, "POST", "/kube/apply", POD).status == 400
    assert send(service, "POST", "/kube/apply", POD, kubeConfig=f"{tmp_path}/none").status == 400


def test_podman_remote(service: Service, podling: Podling, tmp_path: Path) -> None:
    if not shutil.which("podman"):
        pytest.skip("no podman here")
    (tmp_path / "pod.yaml").write_text(POD)

    def podman(*args: str) -> str:
        done = subprocess.run(["podman", "--remote", "--url", service.address, *args], capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Pod:" in podman("kube", "play", str(tmp_path / "pod.yaml"))
    assert podling.ok("pod", "ps", "--format", "{{.Name}}") == "api"
    assert "kind: Pod" in podman("generate", "kube", "api") and "pod-api.service" in podman(
        "generate", "systemd", "--name", "api"
    )
    assert "Pods removed:" in podman("kube", "down", str(tmp_path / "pod.yaml"))
