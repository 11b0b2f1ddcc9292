"""Flags that seldom meet, each by its effect: what inspect says, what the runtime is told, what the container sees."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from .conftest import IMAGE, Podling, eventually

NONE = "--network=none"
_DISK = next((f"/dev/{name}" for name in sorted(os.listdir("/sys/block")) if os.path.exists(f"/dev/{name}")), "")


def host(podling: Podling, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(podling.ok("inspect", name))[0]["HostConfig"]
    return found


def spec_of(podling: Podling, name: str) -> dict[str, Any]:
    """What the runtime is told."""
    path = json.loads(podling.ok("inspect", name))[0]["OCIConfigPath"]
    document: dict[str, Any] = json.loads(Path(path).read_text())
    return document


# -- limits: at create, by update, for a clone
LIMITS = [
    ("--blkio-weight=300", "BlkioWeight", 300),
    ("--cpu-period=50000", "CpuPeriod", 50000),
    ("--cpu-quota=20000", "CpuQuota", 20000),
    ("--cpu-shares=300", "CpuShares", 300),
    ("--cpuset-cpus=0", "CpusetCpus", "0"),
    ("--cpuset-mems=0", "CpusetMems", "0"),
    ("--memory-reservation=32m", "MemoryReservation", 32 << 20),
    ("--memory-swappiness=10", "MemorySwappiness", 10),
    ("--cpu-rt-period=900000", "CpuRealtimePeriod", 900000),
    ("--cpu-rt-runtime=1000", "CpuRealtimeRuntime", 1000),
]
if _DISK:
    LIMITS += [
        (f"--blkio-weight-device={_DISK}:200", "BlkioWeightDevice", [{"Path": _DISK, "Weight": 200}]),
        (f"--device-read-bps={_DISK}:1mb", "BlkioDeviceReadBps", [{"Path": _DISK, "Rate": 1 << 20}]),
        (f"--device-write-bps={_DISK}:2mb", "BlkioDeviceWriteBps", [{"Path": _DISK, "Rate": 2 << 20}]),
        (f"--device-read-iops={_DISK}:100", "BlkioDeviceReadIOps", [{"Path": _DISK, "Rate": 100}]),
        (f"--device-write-iops={_DISK}:200", "BlkioDeviceWriteIOps", [{"Path": _DISK, "Rate": 200}]),
    ]


@pytest.mark.parametrize(("flag", "key", "value"), LIMITS, ids=[flag.partition("=")[0][2:] for flag, _, _ in LIMITS])
def test_limits(podling: Podling, flag: str, key: str, value: object) -> None:
    podling.ok("create", "--name", "made", NONE, flag, IMAGE, "true")
    assert host(podling, "made")[key] == value
    podling.ok("create", "--name", "plain", NONE, IMAGE, "true")
    assert host(podling, "plain")[key] != value
    podling.ok("update", flag, "plain")
    assert host(podling, "plain")[key] == value
    if "iops" in flag:  # clone has no such flag, here as there
        return
    podling.ok("create", "--name", "source", NONE, IMAGE, "true")
    podling.ok("container", "clone", flag, "--name", "copy", "source")
    assert host(podling, "copy")[key] == value
    assert host(podling, "source")[key] != value


def test_limits_reach_the_runtime(podling: Podling) -> None:
    podling.ok(
        "create", "--name", "c", NONE, "--cpu-period=50000", "--cpu-quota=20000", "--cpuset-cpus=0", "--cpuset-mems=0",
        "--memory=64m", "--memory-swap=96m", "--memory-reservation=32m", "--memory-swappiness=10", "--cpu-shares=300", "--pids-limit=50",
        "--oom-kill-disable", IMAGE, "sleep", "100",
    )  # fmt: skip
    podling("container", "init", "c")  # this kernel may not know all of them: what it is told counts
    done = podling("start", "c")
    resources = spec_of(podling, "c")["linux"]["resources"] if not done.returncode else None
    if resources is None:
        pytest.skip(f"the runtime refuses one of them here: {done.stderr}")
    assert resources["cpu"] == {
        "shares": 300, "quota": 20000, "period": 50000, "cpus": "0", "mems": "0",
    }  # fmt: skip
    memory = resources["memory"]
    assert (memory["limit"], memory["swap"], memory["reservation"], memory["swappiness"]) == (
        64 << 20,
        96 << 20,
        32 << 20,
        10,
    )
    assert resources["pids"]["limit"] == 50


def test_clone_of_cpus_and_memory(podling: Podling) -> None:
    podling.ok("create", "--name", "one", NONE, "--memory", "64m", IMAGE, "true")
    podling.ok("container", "clone", "--cpus=0.5", "--memory-swap=100m", "one", "two")
    assert host(podling, "two")["NanoCpus"] == 500_000_000 and host(podling, "two")["MemorySwap"] == 100 << 20
    podling.ok("run", "-d", "--name", "runs", "--stop-timeout=0", NONE, IMAGE, "sleep", "100")
    assert "--force stops it" in podling.fails(125, "container", "clone", "--destroy", "runs", "three")
    podling.ok("container", "clone", "--destroy", "--force", "runs", "three")
    assert set(podling.ok("ps", "-a", "--format", "{{.Names}}").split()) == {"one", "two", "three"}


# -- health checks
def test_update_health(podling: Podling) -> None:
    podling.ok("create", "--name", "c", NONE, "--health-cmd", "true", IMAGE, "sleep", "100")
    podling.ok(
        "update", "--health-cmd", "false", "--health-interval", "7s", "--health-timeout", "3s", "--health-retries", "5", "--health-start-period",
        "2s", "--health-on-failure", "kill", "--health-log-destination", "local", "--health-max-log-count", "3", "--health-max-log-size", "100",
        "--health-startup-cmd", "true", "--health-startup-interval", "4s", "--health-startup-timeout", "6s", "--health-startup-retries", "2",
        "--health-startup-success", "1", "c",
    )  # fmt: skip
    config = json.loads(podling.ok("inspect", "c"))[0]["Config"]
    check = config["Healthcheck"]
    second = 10**9
    assert check["Test"] == ["CMD-SHELL", "false"]
    assert (check["Interval"], check["Timeout"], check["Retries"], check["StartPeriod"]) == (
        7 * second,
        3 * second,
        5,
        2 * second,
    )
    assert config["HealthcheckOnFailureAction"] == "kill"
    assert (
        config["HealthcheckMaxLogCount"] == 3
        and config["HealthcheckMaxLogSize"] == 100
        and config["HealthLogDestination"] == "local"
    )
    startup = config["StartupHealthCheck"]
    assert (
        startup["Test"] == ["CMD-SHELL", "true"]
        and startup["Interval"] == 4 * second
        and startup["Timeout"] == 6 * second
    )
    assert startup["Retries"] == 2 and startup["Successes"] == 1
    podling.ok("update", "--no-healthcheck", "c")
    assert "Healthcheck" not in json.loads(podling.ok("inspect", "c"))[0]["Config"]


def test_update_environment(podling: Podling) -> None:
    podling.ok("create", "--name", "c", NONE, "-e", "A=1", "-e", "B=2", IMAGE, "sh", "-c", "echo $A-$B-$C")
    podling.ok("update", "--unsetenv", "B", "-e", "C=3", "--latest")
    assert podling.ok("start", "-a", "c") == "1--3"
    assert podling.ok("start", "-a", "-i", "c") == "1--3"


# -- create
def test_addresses(podling: Podling) -> None:
    podling.ok(
        "network",
        "create",
        "--subnet",
        "10.93.0.0/24",
        "--subnet",
        "fd93::/64",
        "--interface-name",
        "pt93",
        "--dns",
        "10.93.0.53",
        "n93",
    )
    try:
        shown = json.loads(podling.ok("network", "inspect", "n93"))[0]
        assert shown["network_interface"] == "pt93" and shown["network_dns_servers"] == ["10.93.0.53"]
        podling.ok("network", "update", "--dns-drop", "10.93.0.53", "n93")
        assert not json.loads(podling.ok("network", "inspect", "n93"))[0].get("network_dns_servers")
        podling.ok(
            "run", "-d", "--name", "c", "--net", "n93", "--ip", "10.93.0.7", "--ip6", "fd93::7", "--mac-address", "02:00:00:00:00:93", IMAGE,
            "sleep", "100",
        )  # fmt: skip
        text = podling.ok("exec", "c", "ip", "addr", "show", "eth0")
        assert "10.93.0.7/24" in text and "fd93::7/64" in text and "02:00:00:00:00:93" in text
        assert os.path.exists("/sys/class/net/pt93")
        podling.ok("create", "--name", "d", IMAGE, "sleep", "100")
        podling.ok(
            "network",
            "connect",
            "--ip",
            "10.93.0.8",
            "--ip6",
            "fd93::8",
            "--mac-address",
            "02:00:00:00:00:94",
            "n93",
            "d",
        )
        podling.ok("start", "d")
        assert "fd93::8/64" in podling.ok("exec", "d", "ip", "addr")
        podling.ok("network", "disconnect", "--force", "n93", "d")
        assert "fd93::8/64" not in podling.ok("exec", "d", "ip", "addr")
        assert "n93" in podling.ok("network", "ls", "--no-trunc", "--noheading")
        podling.ok("rm", "-f", "-t", "0", "c", "d")
    finally:
        podling.ok("network", "rm", "-f", "-t", "0", "n93")


def test_devices_and_groups(podling: Podling) -> None:
    podling.ok(
        "create", "--name", "c", NONE, "--device-cgroup-rule", "c 1:3 rwm", "--cgroup-parent", "/pt-parent", "--cgroups", "enabled", "--attach",
        "stdout", "--platform", "linux/amd64", IMAGE, "sleep", "100",
    )  # fmt: skip
    podling.ok("container", "init", "--latest")
    rules = spec_of(podling, "c")["linux"]["resources"]["devices"]
    assert {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"} in rules
    assert "pt-parent" in spec_of(podling, "c")["linux"]["cgroupsPath"]
    document = json.loads(podling.ok("container", "inspect", "--latest", "--size"))[0]
    assert document["HostConfig"]["CgroupParent"] == "/pt-parent" and document["SizeRootFs"] > 0
    assert document["Config"]["AttachStdout"] and not document["Config"]["AttachStdin"]
    podling.ok("create", "--name", "d", NONE, IMAGE, "true")
    podling.ok("container", "init", "--all")
    assert podling.ok("ps", "-a", "--filter", "status=initialized", "--format", "{{.Names}}").split() == ["d", "c"]


def test_image_volumes(podling: Podling, tmp_path: Path) -> None:
    podling.ok("create", "--name", "base", NONE, IMAGE, "true")
    podling.ok("commit", "-q", "-c", "VOLUME /data", "base", "localhost/vol:1")
    try:
        for mode, kind in (("tmpfs", "tmpfs"), ("ignore", ""), ("anonymous", "volume")):
            name = f"c-{mode}"
            podling.ok(
                "create",
                "--name",
                name,
                NONE,
                "--image-volume",
                mode,
                "localhost/vol:1",
                "grep",
                " /data ",
                "/proc/mounts",
            )
            mounts = json.loads(podling.ok("inspect", name))[0]["Mounts"]
            assert [mount["Type"] for mount in mounts if mount["Destination"] == "/data"] == (
                [kind] if kind == "volume" else []
            )
            done = podling("start", "-a", name)
            assert ("tmpfs" in done.stdout) == (kind == "tmpfs") and bool(done.stdout) == bool(kind)
            podling.ok("rm", "-v", name)
    finally:
        podling.ok("rm", "-a")
        podling.ok("rmi", "localhost/vol:1")


# -- lists and documents
def test_columns(podling: Podling, tmp_path: Path) -> None:
    assert podling.ok("images", "--digests").splitlines()[0].split()[:3] == ["REPOSITORY", "TAG", "DIGEST"]
    history = (
        podling.ok("history", "--no-trunc", "--human=false", "--format", "{{.ID}} {{.Size}}", IMAGE)
        .splitlines()[0]
        .split()
    )
    assert len(history[0]) >= 64 and int(history[1]) > 1_000_000
    assert len(podling.ok("history", "-q", IMAGE).splitlines()[0]) == 12
    assert podling.ok("image", "inspect", "--format", "{{.Os}}", IMAGE) == "linux"
    assert json.loads(podling.ok("image", "diff", "--format", "json", IMAGE))
    podling.ok("create", "--name", "c", NONE, IMAGE, "true")
    assert podling.ok("ps", "-a", "--external", "--format", "{{.Names}}") == "c"
    assert podling("container", "exists", "--external", "c").returncode == 0
    assert podling.ok("container", "diff", "--latest") == ""
    podling.ok("volume", "create", "v")
    assert ["local", "v"] in [line.split() for line in podling.ok("volume", "ls", "--noheading").splitlines()]
    assert "v" in podling.ok("volume", "inspect", "--all", "--format", "{{.Name}}").split()
    podling.ok("volume", "rm", "--time", "0", "v")
    (tmp_path / "s").write_text("x")
    podling.ok("secret", "create", "sec", str(tmp_path / "s"))
    assert podling.ok("secret", "inspect", "--format", "{{.Spec.Name}}", "sec") == "sec"
    assert podling.ok("secret", "ls", "--filter", "name=sec", "--format", "{{.Name}}") == "sec"
    assert podling.ok("secret", "ls", "--quiet")
    podling.ok("secret", "rm", "sec")
    assert podling("secret", "rm", "--ignore", "sec").returncode == 0
    podling.ok("container", "cleanup", "--all")
    podling.ok("container", "cleanup", "--latest")
    podling.ok("wait", "--interval", "10ms", "--condition", "created", "c")
    assert podling("network", "prune", "-f", "--filter", "label=nothing").returncode == 0
    assert podling("system", "prune", "-f", "--filter", "label=nothing").returncode == 0
    podling.ok("save", "--multi-image-archive", "-o", str(tmp_path / "two.tar"), IMAGE)
    assert (tmp_path / "two.tar").stat().st_size > 1000
    (tmp_path / "fs").mkdir()
    os.system(f"tar -C {tmp_path}/fs -cf {tmp_path}/fs.tar .")
    podling.ok(
        "import", "--os", "linux", "--arch", "arm64", "--variant", "v8", f"{tmp_path}/fs.tar", "localhost/foreign:1"
    )
    assert podling.ok("image", "inspect", "--format", "{{.Architecture}}", "localhost/foreign:1") == "arm64"
    podling.ok("rmi", "localhost/foreign:1")


# -- pods
def test_pod_selections(podling: Podling, tmp_path: Path) -> None:
    for name in ("one", "two"):
        podling.ok("pod", "create", "--name", name, "--pod-id-file", str(tmp_path / name), "--network=none")
        podling.ok("create", "--pod", name, "--name", f"{name}-c", IMAGE, "sh", "-c", "echo line; sleep 100")
    assert podling.ok("pod", "inspect", "--latest", "--format", "{{.Name}}") == "two"
    podling.ok("pod", "start", "--all")
    assert (
        podling.ok("pod", "ps", "--sort", "name", "--noheading", "--format", "{{.Name}} {{.Status}}")
        == "one Running\ntwo Running"
    )
    assert "POD ID" in podling.ok("pod", "ps", "--ctr-ids") and "NAMESPACE" in podling.ok("pod", "ps", "--ns").upper()
    assert len(podling.ok("pod", "ps", "--latest", "-q").split()) == 1
    assert "sleep" in podling.ok("pod", "top", "--latest")
    assert len(json.loads(podling.ok("pod", "stats", "--all", "--no-stream", "--format", "json"))) == 4
    assert podling.ok("pod", "stats", "--latest", "--no-stream", "--no-reset", "--format", "{{.Name}}").split()
    eventually(lambda: "line" in podling.ok("pod", "logs", "two"))
    text = podling.ok(
        "pod", "logs", "--latest", "--tail", "1", "--timestamps", "--since", "1h", "--until", "0s", "--color"
    )
    assert "line" in text
    podling.ok("pod", "pause", "--latest")
    podling.ok("pod", "unpause", "--latest")
    podling.ok("pod", "pause", "--all")
    podling.ok("pod", "unpause", "--all")
    podling.ok("pod", "restart", "--latest")
    podling.ok("pod", "stop", "-t", "0", "--latest")
    assert podling.ok("pod", "inspect", "--format", "{{.State}}", "two") == "Exited"
    podling.ok("pod", "start", "--pod-id-file", str(tmp_path / "two"))
    podling.ok("pod", "stop", "-t", "0", "--pod-id-file", str(tmp_path / "two"))
    podling.ok("pod", "stop", "-t", "0", "--ignore", "nothing")
    podling.ok("pod", "start", "--latest")
    podling.ok("pod", "kill", "--signal", "KILL", "--latest")
    podling.ok("pod", "restart", "--all")
    podling.ok("pod", "kill", "--all")
    podling.ok("pod", "stop", "-t", "0", "--all")
    podling.ok("pod", "rm", "-f", "--pod-id-file", str(tmp_path / "one"))
    podling.ok("pod", "rm", "-f", "--latest")
    assert podling.ok("pod", "ps", "-q") == ""


def test_what_a_pod_hands_down(podling: Podling, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("from=file\n")
    (tmp_path / "hosts").write_text("10.1.1.1 base\n")
    podling.ok(
        "pod", "create", "--name", "p", "--label-file", str(tmp_path / "labels"), "--add-host", "me:10.2.2.2", "--hosts-file", str(tmp_path / "hosts"),
        "--dns", "10.3.3.3", "--dns-search", "in.example", "--dns-option", "ndots:3", "--shm-size", "3m", "--sysctl", "net.ipv4.ip_default_ttl=77",
        "--infra-name", "holder", "--infra-conmon-pidfile", str(tmp_path / "pid"), "--cpu-shares", "300", "--cpus", "0.5", "--cpuset-cpus", "0",
        "--cpuset-mems", "0", "--memory", "128m", "--memory-swap", "200m", "--share-parent", "--hostname", "ph",
        "--mac-address", "02:00:00:00:00:95", "--ip", "10.87.99.9", "--network-alias", "al", "--pid", "host", "--security-opt", "no-new-privileges",
    )  # fmt: skip
    podling.ok("run", "-d", "--pod", "p", "--name", "c", IMAGE, "sleep", "100")
    document = json.loads(podling.ok("pod", "inspect", "p"))
    document = document[0] if isinstance(document, list) else document
    assert (
        document["Labels"]["from"] == "file" and document["cpu_shares"] == 300 and document["memory_limit"] == 128 << 20
    )
    hosts = podling.ok("exec", "c", "cat", "/etc/hosts")
    assert "10.2.2.2\tme" in hosts and "10.1.1.1" in hosts
    resolv = podling.ok("exec", "c", "cat", "/etc/resolv.conf")
    assert "nameserver 10.3.3.3" in resolv and "search in.example" in resolv and "ndots:3" in resolv
    assert podling.ok("exec", "c", "cat", "/proc/sys/net/ipv4/ip_default_ttl") == "77"
    assert "3072" in podling.ok("exec", "c", "df", "-k", "/dev/shm") and podling.ok("exec", "c", "hostname") == "ph"
    text = podling.ok("exec", "c", "ip", "addr")
    assert "10.87.99.9/16" in text and "02:00:00:00:00:95" in text
    assert (
        podling.ok("inspect", "--format", "{{.HostConfig.PidMode}}", "holder") == "host"
        and (tmp_path / "pid").read_text().strip().isdigit()
    )
    podling.ok("pod", "rm", "-f", "-t", "0", "p")
    podling.ok(
        "pod",
        "create",
        "--name",
        "bare",
        "--no-hosts",
        "--no-hostname",
        "--uts",
        "host",
        "--network=none",
        "--exit-policy",
        "stop",
    )
    podling.ok("run", "--rm", "--pod", "bare", IMAGE, "true")


def test_pod_clones(podling: Podling, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("from=file\n")
    podling.ok("pod", "create", "--name", "p", "--network=none")
    podling.ok("create", "--pod", "p", "--name", "member", IMAGE, "sleep", "100")
    podling.ok(
        "pod", "clone", "--name", "q", "--cpu-shares", "400", "--cpus", "0.5", "--cpuset-cpus", "0", "--cpuset-mems", "0", "--memory", "128m",
        "--memory-swap", "200m", "--hostname", "qh", "--label", "c=d", "--label-file", str(tmp_path / "labels"), "--shm-size",
        "3m", "--sysctl", "net.ipv4.ip_default_ttl=77", "--infra-name", "holder", "--restart", "on-failure:2", "--volume", f"{tmp_path}:/shared",
        "--security-opt", "no-new-privileges", "--device", "/dev/zero:/dev/mine", "--pid", "host", "--start", "p",
    )  # fmt: skip
    document = json.loads(podling.ok("pod", "inspect", "q"))
    document = document[0] if isinstance(document, list) else document
    assert (
        document["Labels"] == {"from": "file", "c": "d"}
        and document["cpu_shares"] == 400
        and document["State"] == "Running"
    )
    member = next(c["Name"] for c in document["Containers"] if "infra" not in c["Name"] and c["Name"] != "holder")
    assert podling.ok("exec", member, "hostname") == "qh"
    assert podling.ok("exec", member, "cat", "/proc/sys/net/ipv4/ip_default_ttl") == "77"
    assert podling("exec", member, "ls", "/shared/labels").returncode == 0
    assert podling("exec", member, "ls", "/dev/mine").returncode == 0


def test_lists_may_be_written_with_commas(podling: Podling) -> None:
    """As pflag's string slices."""
    script = "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/net/ipv4/tcp_retries1; ulimit -n; ulimit -c; grep -c web /etc/hosts"
    out = podling.ok(
        "run", "--rm", "--sysctl", "net.ipv4.ip_default_ttl=77,net.ipv4.tcp_retries1=4", "--ulimit", "nofile=99:99,core=0",
        "--add-host", "web1:10.0.0.1,web2:10.0.0.2", IMAGE, "sh", "-c", script,
    )  # fmt: skip
    assert out.split() == ["77", "4", "99", "0", "2"]


def test_when_an_image_is_fetched_is_a_word_of_its_own(podling: Podling) -> None:
    assert podling.ok("run", "--rm", "--network=none", "--pull", "never", IMAGE, "echo", "hi") == "hi"
    assert "flag needs an argument" in podling.fails(125, "run", "--pull")
