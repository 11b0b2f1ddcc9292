"""`generate spec`: what comes out makes the same container, or pod, again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Service
from tests.integration.conftest import IMAGE, Podling

_FLAGS = (
    "--label a=b --annotation n=m -e X=1 -v specvol:/data:ro -v /etc:/etc2 --tmpfs /t:size=1m -m 64m --memory-reservation 32m "
    "--pids-limit 33 --cap-add NET_RAW --cap-drop CHOWN --user 5:6 --group-add 7 -w /tmp --hostname specced --restart on-failure:3 "
    "--ulimit nofile=10:20 --dns 1.1.1.1 --dns-search x.y --dns-option ndots:2 --add-host a:1.2.3.4 --device /dev/null:/dev/n --read-only "
    "--stop-timeout 0 --stop-signal INT --health-cmd true --health-interval 5s --health-retries 4 --health-on-failure kill --shm-size 1m "
    "--oom-score-adj 7 --sysctl net.ipv4.ip_forward=1 --security-opt no-new-privileges --security-opt mask=/proc/x --security-opt seccomp=unconfined "
    "--umask 0077 --tz UTC --init -t -i --log-driver none --timeout 9 --pid host --cgroupns host --ipc private --cpu-shares 512 "
    "--cpuset-cpus 0 --device-read-bps /dev/null:1024 --device-cgroup-rule 'c 1:* r' --expose 99 --secret specsecret,target=s,mode=0400"
)
_NETWORKS = (
    "--network=none",
    "--network=pt-spec:ip=10.217.0.9,alias=al,mac=02:00:00:00:00:09 -p 127.0.0.1:21999:80/udp",
    "--network=host",
)


def _made(podling: Podling, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(podling.ok("inspect", name))[0]
    config, host = found["Config"], found["HostConfig"]
    config.pop("CreateCommand", None)
    host["LogConfig"].pop("Path")
    host["Binds"].sort()  # a document has binds and volumes apart
    found["Mounts"].sort(key=lambda mount: mount["Destination"])
    endpoints = {
        name: values.get("Aliases") for name, values in (found["NetworkSettings"].get("Networks") or {}).items()
    }
    return {"config": config, "host": host, "mounts": found["Mounts"], "networks": sorted(endpoints)}


@pytest.mark.parametrize("network", _NETWORKS)
def test_a_container_again(service: Service, podling: Podling, network: str, tmp_path: Path) -> None:
    podling.ok("network", "create", "--ignore", "--subnet", "10.217.0.0/24", "pt-spec")
    podling.ok("secret", "create", "specsecret", "-", input=b"x")
    flags = [word.strip("'") for word in _FLAGS.replace("'c 1:* r'", "c_1:*_r").split()]
    flags = [word.replace("c_1:*_r", "c 1:* r") for word in flags]
    try:
        podling.ok("create", "--name", "first", *flags, *network.split(), IMAGE, "sleep", "1")
        assert podling.ok("generate", "spec", "-c", "-f", str(tmp_path / "spec.json"), "first") == str(
            tmp_path / "spec.json"
        )
        document = json.loads((tmp_path / "spec.json").read_text())
        assert document["name"] == "first-clone"
        assert json.loads(podling.ok("generate", "spec", "--name=false", "first"))["name"] == "first"
        before = _made(podling, "first")
        podling.ok("rm", "first")  # its address is free again
        answer = service("POST", "/libpod/containers/create", document)
        assert answer.status == 201, answer.body
        assert _made(podling, "first-clone") == before
    finally:
        podling("rm", "-f", "first", "first-clone")
        podling("secret", "rm", "specsecret")
        podling("volume", "rm", "specvol")
        podling("network", "rm", "pt-spec")


def test_a_pod_again(service: Service, podling: Podling) -> None:
    podling.ok(
        "pod",
        "create",
        "--name",
        "specpod",
        "--label",
        "p=q",
        "--share",
        "net,uts",
        "--hostname",
        "ph",
        "-p",
        "127.0.0.1:21998:80",
        "--exit-policy",
        "stop",
    )
    document = json.loads(podling.ok("generate", "spec", "specpod"))
    assert document["name"] == "specpod-clone"
    podling.ok("pod", "rm", "-f", "specpod")
    answer = service("POST", "/libpod/pods/create", document)
    assert answer.status == 201, answer.body
    found = json.loads(podling.ok("pod", "inspect", "specpod-clone"))
    found = found[0] if isinstance(found, list) else found
    assert (found["Labels"], found["ExitPolicy"], found["Hostname"]) == ({"p": "q"}, "stop", "ph")
    assert sorted(found["SharedNamespaces"]) == ["net", "uts"]
    assert found["InfraConfig"]["PortBindings"]["80/tcp"][0]["HostPort"] == "21998"
    assert "could not find" in podling.fails(125, "generate", "spec", "neither")


def test_locks_and_leftovers(podling: Podling) -> None:
    assert "No lock conflicts" in podling.ok("system", "locks")
    assert podling.ok("system", "renumber") == ""
    left = Path(podling.root, "root/overlay/99999")
    (left / "diff").mkdir(parents=True)
    podling.ok("create", "--name", "kept", "--network=none", IMAGE)
    said = podling.ok("system", "prune", "--external", "-f")
    assert "overlay/99999" in said and not left.exists()
    cache = Path(podling.root, "root/build-cache/x")
    cache.mkdir(parents=True)
    assert podling.ok("ps", "-a", "--format", "{{.Names}}") == "kept"
    podling.ok("system", "prune", "--build", "-f")
    assert not cache.exists()


def test_standard_streams_joined_to_the_service(service: Service, podling: Podling) -> None:
    """`docker -H ssh://` runs this on the other side. Where no service runs there is one for the connection."""
    process = subprocess.Popen(
        podling.argv("system", "dial-stdio"), env=podling.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    with process:
        process.stdin.write("GET /libpod/images/json HTTP/1.0\r\n\r\n")
        process.stdin.flush()
        answer = process.stdout.read()
        process.stdin.close()
    assert answer.startswith("HTTP/1.0 200") and IMAGE in answer
