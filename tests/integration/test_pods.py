"""Pods: making them, what their containers share, their ups and downs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import IMAGE, Podling, eventually


def _inspect(podling: Podling, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(podling.ok("pod", "inspect", name))[0]
    return document


def _state(podling: Podling, name: str) -> str:
    return str(_inspect(podling, name)["State"])


def _namespace(podling: Podling, name: str, kind: str) -> str:
    return podling.ok("exec", name, "readlink", f"/proc/self/ns/{kind}")


@pytest.fixture
def pod(podling: Podling) -> str:
    """A pod with two containers that sleep, not started."""
    podling.ok("pod", "create", "--name", "pod", "--network=none")
    for name in ("one", "two"):
        podling.ok("create", "--pod", "pod", "--name", name, "--stop-timeout=0", IMAGE, "sleep", "100")
    return "pod"


# -- making
def test_create_prints_the_id_and_makes_no_image(podling: Podling, tmp_path: Path) -> None:
    before = podling.ok("images", "-aq")
    file = tmp_path / "id"
    id = podling.ok("pod", "create", "--pod-id-file", str(file), "--label", "a=b", "named")
    assert len(id) == 64 and file.read_text() == id
    assert podling.ok("images", "-aq") == before
    document = _inspect(podling, "named")
    assert document["Id"] == id and document["State"] == "Created" and document["Labels"] == {"a": "b"}
    assert document["SharedNamespaces"] == ["ipc", "net", "uts"] and document["NumContainers"] == 1
    assert podling.ok("pod", "exists", id[:10]) == "" and podling("pod", "exists", "other").returncode == 1
    assert "no such pod" in podling.fails(125, "pod", "inspect", "other")
    assert "exists" in podling.fails(125, "pod", "create", "--pod-id-file", str(file)).lower()


def test_names_are_taken_once(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "taken")
    assert "in use" in podling.fails(125, "pod", "create", "--name", "taken")
    assert "in use" in podling.fails(125, "create", "--name", "taken", IMAGE)
    podling.ok("create", "--name", "mine", IMAGE)
    assert "in use" in podling.fails(125, "pod", "create", "--name", "mine")
    old = _inspect(podling, "taken")["Id"]
    assert podling.ok("pod", "create", "--replace", "--name", "taken") != old
    assert podling.ok("pod", "ps", "--format", "{{.Name}}") == "taken"
    assert "--replace" in podling.fails(125, "pod", "create", "--replace")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--share=everything"], "--share"),
        (["--exit-policy=never"], "--exit-policy"),
        (["--infra=false", "-p", "80:80"], "--publish"),
        (["--name", "/slash"], "invalid name"),
        (["--network=nosuch"], "nosuch"),
        (["--infra-image=localhost/nosuch"], "nosuch"),
    ],
)
def test_what_makes_no_sense_leaves_nothing(podling: Podling, flags: list[str], said: str) -> None:
    assert said in podling.fails(125, "pod", "create", *flags)
    assert podling.ok("pod", "ps", "-q") == "" and podling.ok("ps", "-aq") == ""


# -- what is shared
def test_containers_share_network_ipc_and_names(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "pod", "--hostname", "podhost")
    podling.ok(
        "run", "-d", "--pod", "pod", "--name", "server", IMAGE, "sh", "-c", "echo hello >/index.html; httpd -f -h /"
    )
    fetched = podling.ok(
        "run", "--rm", "--pod", "pod", IMAGE, "sh", "-c", "hostname; wget -q -O- http://127.0.0.1/; cat /etc/hosts"
    )
    assert fetched.splitlines()[:2] == ["podhost", "hello"]
    assert "\tpodhost" in fetched
    podling.ok("run", "-d", "--pod", "pod", "--name", "other", IMAGE, "sleep", "100")
    for kind in ("net", "ipc", "uts"):
        assert _namespace(podling, "server", kind) == _namespace(podling, "other", kind)
    for kind in ("pid", "mnt"):
        assert _namespace(podling, "server", kind) != _namespace(podling, "other", kind)


def test_members_know_each_other_by_name(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "p")
    podling.ok("run", "-d", "--pod", "p", "--name", "web", IMAGE, "sleep", "1000")
    assert "127.0.0.1\tweb" in podling.ok("run", "--rm", "--pod", "p", "--name", "asks", IMAGE, "cat", "/etc/hosts")
    hosts = podling.ok("exec", "web", "cat", "/etc/hosts")
    assert "127.0.0.1\tweb" in hosts and "asks" not in hosts
    podling.ok("restart", "-t0", "web")
    assert podling.ok("exec", "web", "cat", "/etc/hosts").count("127.0.0.1\tweb") == 1


def test_share_chooses(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "pod", "--share=pid,ipc", "--network=none")
    for name in ("one", "two"):
        podling.ok("run", "-d", "--pod", "pod", "--network=none", "--name", name, IMAGE, "sleep", "100")
    assert _namespace(podling, "one", "pid") == _namespace(podling, "two", "pid")
    assert _namespace(podling, "one", "net") != _namespace(podling, "two", "net")
    podling.ok("pod", "create", "--name", "apart", "--share=none")
    podling.ok("create", "--pod", "apart", "--network=none", IMAGE)
    assert _inspect(podling, "apart")["SharedNamespaces"] == []


@pytest.mark.xdist_group("network")  # another test there flushes the firewall
def test_ports_are_the_pods(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "pod", "-p", "127.0.0.1:8931:80")
    podling.ok(
        "run", "-d", "--pod", "pod", "--name", "web", IMAGE, "sh", "-c", "echo hello >/index.html; httpd -f -h /"
    )
    eventually(
        lambda: (
            subprocess.run(["curl", "-sf", "-m", "2", "http://127.0.0.1:8931/"], capture_output=True).stdout
            == b"hello\n"
        )
    )
    assert set(podling.ok("ps", "--format", "{{.Ports}}").split("\n")) == {"127.0.0.1:8931->80/tcp"}
    for flag in ("-p=1:1", "--network=none", "--dns=1.1.1.1", "--ip=10.0.0.1"):
        assert "shared with a pod" in podling.fails(125, "create", "--pod", "pod", flag, IMAGE)


def test_volumes_and_limits_are_the_pods(podling: Podling, tmp_path: Path) -> None:
    podling.ok("pod", "create", "--name", "pod", "--network=none", "-v", f"{tmp_path}:/shared", "-m", "64m")
    podling.ok("run", "--rm", "--pod", "pod", IMAGE, "touch", "/shared/made")
    assert (tmp_path / "made").exists()
    if os.path.isdir("/sys/fs/cgroup/memory"):
        path = _inspect(podling, "pod")["CgroupPath"]
        assert Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read_text().strip() == str(64 << 20)
        podling.ok("pod", "rm", "-f", "pod")
        assert not os.path.exists(f"/sys/fs/cgroup/memory{path}")


def test_a_pod_for_one_container(podling: Podling) -> None:
    podling.ok("run", "-d", "--pod", "new:fresh", "-p", "8932:80", "--name", "first", IMAGE, "sleep", "100")
    assert _inspect(podling, "fresh")["NumContainers"] == 2
    assert "8932" in podling.ok("port", _inspect(podling, "fresh")["InfraContainerID"])
    podling.ok("create", "--pod-id-file", "/dev/stdin", IMAGE, input=_inspect(podling, "fresh")["Id"].encode())
    assert _inspect(podling, "fresh")["NumContainers"] == 3


def test_user_namespaces_are_shared(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "pod", "--userns=auto:size=400")
    podling.ok("run", "-d", "--pod", "pod", "--name", "c", IMAGE, "sleep", "100")
    assert podling.ok("exec", "c", "cat", "/proc/self/uid_map").split()[2] == "400"
    assert podling.ok("run", "--rm", "--pod", "pod", IMAGE, "stat", "-c", "%u", "/") == "0"


# -- ups and downs
def test_start_stop_restart(podling: Podling, pod: str) -> None:
    assert _state(podling, pod) == "Created"
    assert podling.ok("pod", "start", pod) == _inspect(podling, pod)["Id"]
    assert _state(podling, pod) == "Running"
    podling.ok("stop", "one")
    assert _state(podling, pod) == "Degraded"
    podling.ok("pod", "stop", pod)
    assert _state(podling, pod) == "Exited"
    podling.ok("pod", "restart", pod)
    assert _state(podling, pod) == "Running"
    podling.ok("pod", "pause", pod)
    assert _state(podling, pod) == "Paused"
    podling.ok("pod", "unpause", pod)
    podling.ok("pod", "kill", pod)
    eventually(lambda: _state(podling, pod) == "Exited")


def test_starting_a_member_starts_the_infra_container(podling: Podling, pod: str) -> None:
    podling.ok("start", "one")
    states = {entry["Name"]: entry["State"] for entry in _inspect(podling, pod)["Containers"]}
    assert states.pop("one") == "running" and states.pop("two") == "created"
    assert list(states.values()) == ["running"]


def test_several_stop_at_once(podling: Podling) -> None:
    """Each ends only when all have got their signals: one after the other would end in SIGKILL."""
    podling.ok("pod", "create", "--name", "pod", "--network=none")
    wait = "touch /v/$0; until [ $(ls /v | wc -l) = 8 ]; do sleep 0.1; done; exit 0"
    for name in "abcd":
        script = f"trap '{wait.replace('$0', 'got-' + name)}' TERM; touch /v/{name}; while :; do sleep 0.1; done"
        podling.ok("run", "-d", "--pod", "pod", "--name", name, "-v", "meet:/v", IMAGE, "sh", "-c", script)
    volume = Path(podling.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "meet"))
    eventually(lambda: len(list(volume.iterdir())) == 4)
    podling.ok("pod", "stop", "-t", "60", "pod")
    assert [podling.ok("inspect", "-f", "{{.State.ExitCode}}", name) for name in "abcd"] == ["0"] * 4


def test_the_exit_policy(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "stops", "--network=none", "--exit-policy=stop")
    podling.ok("run", "-d", "--pod", "stops", IMAGE, "true")
    eventually(lambda: _state(podling, "stops") == "Exited")
    podling.ok("pod", "create", "--name", "goes-on", "--network=none")
    podling.ok("run", "--pod", "goes-on", IMAGE, "true")
    assert _state(podling, "goes-on") == "Degraded"


def test_the_restart_policy_is_the_containers(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "pod", "--network=none", "--restart=on-failure:2")
    podling.ok("run", "-d", "--pod", "pod", "--name", "c", IMAGE, "false")
    eventually(lambda: podling.ok("inspect", "-f", "{{.RestartCount}}", "c") == "2")


# -- removing
def test_removal(podling: Podling, pod: str) -> None:
    infra = _inspect(podling, pod)["InfraContainerID"]
    assert "infra container" in podling.fails(125, "rm", "-f", infra)
    assert "contains containers" in podling.fails(125, "pod", "rm", pod)
    podling.ok("pod", "start", pod)
    assert "running containers" in podling.fails(125, "pod", "rm", pod)
    podling.ok("pod", "rm", "-f", pod)
    assert podling.ok("ps", "-aq") == "" and podling.ok("pod", "ps", "-q") == ""
    assert "no such pod" in podling.fails(1, "pod", "rm", pod)
    assert podling.ok("pod", "rm", "--ignore", pod) == "" and podling.ok("pod", "rm", "--force", pod) == ""


def test_rm_all_leaves_infra_containers_to_their_pod(podling: Podling, pod: str) -> None:
    podling.ok("rm", "-f", "-t", "0", "-a")
    assert [entry["Id"] for entry in _inspect(podling, pod)["Containers"]] == [
        _inspect(podling, pod)["InfraContainerID"]
    ]


def test_prune_takes_what_does_not_run(podling: Podling, pod: str) -> None:
    podling.ok("pod", "create", "--name", "runs", "--network=none")
    podling.ok("pod", "start", "runs")
    assert podling.ok("pod", "prune", "-f") and podling.ok("pod", "ps", "--format", "{{.Name}}") == "runs"


def test_a_killed_creation_leaves_no_half_pod(podling: Podling) -> None:
    for _ in range(12):
        process = podling.background("pod", "create", "--network=none")
        time.sleep(0.02 + 0.01 * _)
        process.send_signal(signal.SIGKILL)
        process.wait()
    for row in json.loads(podling.ok("pod", "ps", "--format", "json")):
        assert row["InfraId"] and len(row["Containers"]) == 1


# -- looking
def test_ps(podling: Podling, pod: str) -> None:
    podling.ok("pod", "start", pod)
    id = _inspect(podling, pod)["Id"]
    lines = podling.ok("pod", "ps").splitlines()
    assert lines[0].split() == ["POD", "ID", "NAME", "STATUS", "CREATED", "INFRA", "ID", "#", "OF", "CONTAINERS"]
    assert lines[1].split()[:3] == [id[:12], pod, "Running"]
    assert "one,two" in podling.ok("pod", "ps", "--ctr-names") and "running,running" in podling.ok(
        "pod", "ps", "--ctr-status"
    )
    assert podling.ok("pod", "ps", "--format", "{{.Name}} {{.NumberOfContainers}}") == "pod 3"
    assert podling.ok("pod", "ps", "-q", "--no-trunc") == id
    for text, found in (
        ("name=po", True), ("status=running", True), ("status=exited", False), ("ctr-names=two", True), ("ctr-number=3", True),
        ("ctr-status=paused", False), ("id=" + id[:5], True), ("label=none", False), ("network=none", True), ("until=1h", False),
    ):  # fmt: skip
        assert bool(podling.ok("pod", "ps", "-q", "--filter", text)) == found, text
    assert "status" in podling.fails(125, "pod", "ps", "--filter", "status=odd")
    rows = podling.ok("ps", "--pod", "--filter", f"pod={pod}").splitlines()
    assert rows[0].endswith("PODNAME") and len(rows) == 4 and all(row.rstrip().endswith(pod) for row in rows[1:])
    assert podling.ok("ps", "--filter", "pod=nosuch", "-q") == ""
    heading = podling.ok("ps", "--ns").splitlines()[0].split()
    assert heading == ["CONTAINER", "ID", "NAMES", "PID", "CGROUPNS", "IPC", "MNT", "NET", "PIDNS", "USERNS", "UTS"]


def test_logs_top_and_stats(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "pod", "--network=none")
    for name in ("one", "two"):
        podling.ok("run", "-d", "--pod", "pod", "--name", name, IMAGE, "sh", "-c", f"echo from-{name}; sleep 100")
    eventually(lambda: len(podling.ok("pod", "logs", "pod").splitlines()) == 2)
    assert podling.ok("pod", "logs", "-n", "pod").splitlines() == ["one from-one", "two from-two"]
    assert podling.ok("pod", "logs", "-c", "two", "pod") == "from-two"
    assert "sleep 100" in podling.ok("pod", "top", "pod") and podling.ok("pod", "top", "pod", "pid").split()[0] == "PID"
    lines = podling.ok("pod", "stats", "--no-stream", "pod").splitlines()
    assert lines[0].split()[:3] == ["POD", "CID", "NAME"] and len(lines) == 4


def test_clone(podling: Podling, pod: str) -> None:
    podling.ok("pod", "clone", "--start", pod, "copy")
    document = _inspect(podling, "copy")
    assert document["State"] == "Running" and document["NumContainers"] == 3
    assert {entry["Name"] for entry in document["Containers"]} >= {"one-clone", "two-clone"}
    assert _namespace(podling, "one-clone", "net") == _namespace(podling, "two-clone", "net")
    podling.ok("container", "clone", "--pod", "copy", "one", "third")
    assert _inspect(podling, "copy")["NumContainers"] == 4
    podling.ok("pod", "clone", "--destroy", "copy", "last")
    assert podling("pod", "exists", "copy").returncode == 1


def test_events_tell_of_pods(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "told", "--network=none")
    podling.ok("pod", "rm", "told")
    text = podling.ok(
        "events", "--stream=false", "--since", "1m", "--filter", "type=pod", "--format", "{{.Status}} {{.Name}}"
    )
    assert [line for line in text.splitlines() if line.endswith("told")] == ["create told", "remove told"]


@pytest.mark.xdist_group("network")
def test_networks_and_prune_take_pods_along(podling: Podling) -> None:
    podling.ok("network", "create", "pt-pods")
    podling.ok("pod", "create", "--name", "on", "--network", "pt-pods")
    podling.ok("run", "-d", "--pod", "on", IMAGE, "sleep", "100")
    assert "being used" in podling.fails(2, "network", "rm", "pt-pods")
    podling.ok("network", "rm", "-f", "-t", "0", "pt-pods")
    assert podling.ok("pod", "ps", "-q") == "" and podling.ok("ps", "-aq") == ""
    podling.ok("pod", "create", "--name", "idle")
    assert "Deleted Pods" in podling.ok("system", "prune", "-f")
    assert podling.ok("pod", "ps", "-q") == ""


# -- init containers
def test_init_containers_run_first_and_to_their_ends(podling: Podling, pod: str) -> None:
    note = ("-v", "notes:/v", IMAGE, "sh", "-c")
    podling.ok("create", "--pod", pod, "--name", "each", "--init-ctr=always", *note, "sleep 0.3; echo each >> /v/log")
    podling.ok("create", "--pod", pod, "--name", "first", "--init-ctr=once", *note, "echo first >> /v/log")
    podling.ok("create", "--pod", pod, "--name", "main", *note, "echo main >> /v/log; exec sleep 100")
    log = Path(podling.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "notes")) / "log"
    podling.ok("pod", "start", pod)
    eventually(lambda: log.read_text().split() == ["each", "first", "main"])
    assert _state(podling, pod) == "Running", "an init container's end says nothing of the pod"
    names = podling.ok("ps", "-a", "--filter", f"pod={pod}", "--format", "{{.Names}}").split()
    assert "each" in names and "first" not in names, "one that is for once goes with its end"
    assert "running" in podling.fails(125, "create", "--pod", pod, "--init-ctr=always", IMAGE)
    podling.ok("pod", "start", pod)
    assert log.read_text().split() == ["each", "first", "main"], "nothing of a pod that runs is prepared again"
    podling.ok("pod", "stop", "-t", "0", pod)
    podling.ok("pod", "start", pod)
    eventually(lambda: log.read_text().split() == ["each", "first", "main", "each", "main"])


def test_a_failing_init_container_keeps_the_pod_from_starting(podling: Podling, pod: str) -> None:
    podling.ok("create", "--pod", pod, "--name", "bad", "--init-ctr=always", IMAGE, "sh", "-c", "exit 3")
    assert "init container bad exited with code 3" in podling.fails(125, "pod", "start", pod)
    assert podling.ok("inspect", "-f", "{{.State.Status}}", "one", "two").split() == ["created", "created"]


def test_init_containers_that_make_no_sense(podling: Podling, pod: str) -> None:
    assert "needs --pod" in podling.fails(125, "create", "--init-ctr=once", IMAGE)
    assert "always or once" in podling.fails(125, "create", "--pod", pod, "--init-ctr=never", IMAGE)
    assert "--restart" in podling.fails(125, "create", "--pod", pod, "--init-ctr=once", "--restart=always", IMAGE)


def test_init_containers_do_not_end_a_pod_that_stops_with_its_last(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "pod", "--network=none", "--exit-policy=stop")
    podling.ok("create", "--pod", "pod", "--init-ctr=always", IMAGE, "true")
    podling.ok("create", "--pod", "pod", "--name", "main", IMAGE, "sleep", "100")
    podling.ok("pod", "start", "pod")
    assert _state(podling, "pod") == "Running"
