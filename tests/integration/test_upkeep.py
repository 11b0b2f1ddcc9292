"""Restart policies, health checks, stats, update, clone, prune, mount, requires."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import IMAGE, Podling, eventually, processes

NONE = "--network=none"


def state(podling: Podling, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(podling.ok("inspect", name))[0]
    return found


# -- restart
def test_on_failure_counts(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "r", NONE, "--restart", "on-failure:2", IMAGE, "sh", "-c", "echo again; exit 3")
    eventually(lambda: podling.ok("logs", "r").count("again") == 3)
    eventually(lambda: state(podling, "r")["State"]["Status"] == "exited")
    time.sleep(0.5)
    found = state(podling, "r")
    assert found["RestartCount"] == 2 and found["State"]["ExitCode"] == 3
    assert found["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    podling.ok("run", "--name", "fine", NONE, "--restart", "on-failure", IMAGE, "true")
    assert state(podling, "fine")["RestartCount"] == 0
    podling.ok("rm", "r", "fine")


def test_always_survives_kills_and_ends_with_stop(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "r", NONE, "--restart", "always", IMAGE, "sleep", "1000")
    first = state(podling, "r")["State"]["Pid"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: state(podling, "r")["State"]["Running"] and state(podling, "r")["State"]["Pid"] != first)
    assert state(podling, "r")["RestartCount"] == 1
    podling.ok("stop", "-t", "0", "r")
    time.sleep(0.7)
    assert state(podling, "r")["State"]["Status"] == "exited"
    podling.ok("start", "r")
    podling.ok("kill", "r")
    eventually(lambda: state(podling, "r")["State"]["Status"] == "exited")
    time.sleep(0.7)
    assert state(podling, "r")["State"]["Status"] == "exited"
    podling.ok("rm", "r")


def test_removal_between_two_restarts(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "r", NONE, "--restart", "always", IMAGE, "false")
    eventually(lambda: state(podling, "r")["RestartCount"] >= 3)
    podling.ok("rm", "-f", "-t", "0", "r")
    time.sleep(1)
    assert podling.ok("ps", "-aq") == "" and podling.conmons() == []


def test_foreground_and_policy(podling: Podling, tmp_path: Path) -> None:
    done = podling(
        "run",
        "--name",
        "r",
        NONE,
        "--restart",
        "on-failure:1",
        "-v",
        f"{tmp_path}:/t",
        IMAGE,
        "sh",
        "-c",
        "echo x >> /t/n; exit 4",
    )
    assert done.returncode == 4
    eventually(lambda: (tmp_path / "n").read_text() == "x\nx\n")
    eventually(lambda: state(podling, "r")["State"]["Status"] == "exited")
    podling.ok("rm", "r")
    assert "conflict" in podling.fails(125, "run", "--rm", "--restart", "always", NONE, IMAGE, "true")
    assert "not one of no, on-failure" in podling.fails(125, "create", "--restart", "odd", IMAGE)


def test_start_boot_brings_back_what_ran(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "back", NONE, "--restart", "always", IMAGE, "sleep", "1000")
    podling.ok("run", "-d", "--name", "stopped", NONE, "--restart", "unless-stopped", IMAGE, "sleep", "1000")
    podling.ok("run", "-d", "--name", "plain", NONE, IMAGE, "sleep", "1000")
    podling.ok("stop", "-t", "0", "stopped")
    # the host goes down: nobody cleans up, and the runtime state is void
    for pid in podling.conmons():
        os.kill(pid, signal.SIGKILL)
    for name in ("back", "plain"):
        os.kill(state(podling, name)["State"]["Pid"] or 1 << 22, signal.SIGKILL)
    marker = Path(podling.root, "run/boot")
    marker.write_text("another boot")
    assert podling.ok("start", "--boot") == state(podling, "back")["Id"]
    assert state(podling, "stopped")["State"]["Status"] == "exited"
    assert state(podling, "plain")["State"]["Status"] == "exited"
    podling.ok("rm", "-f", "-t", "0", "-a")


# -- health
def test_health(podling: Podling) -> None:
    podling.ok(
        "run", "-d", "--name", "h", NONE, "--health-cmd", "test -f /ok || { echo missing; false; }", "--health-interval", "300ms",
        "--health-retries", "2", IMAGE, "sleep", "1000",
    )  # fmt: skip
    assert state(podling, "h")["State"]["Health"]["Status"] == "starting"
    eventually(lambda: state(podling, "h")["State"]["Health"]["Status"] == "unhealthy")
    last = state(podling, "h")["State"]["Health"]["Log"][-1]
    assert last["ExitCode"] == 1 and last["Output"] == "missing\n"
    assert podling("healthcheck", "run", "h").returncode == 1
    podling.ok("exec", "h", "touch", "/ok")
    eventually(lambda: state(podling, "h")["State"]["Health"]["Status"] == "healthy")
    assert "(healthy)" in podling.ok("ps", "--format", "{{.Status}}")
    assert (
        podling.ok("ps", "-q", "--filter", "health=healthy") != ""
        and podling.ok("ps", "-q", "--filter", "health=unhealthy") == ""
    )
    assert len(state(podling, "h")["State"]["Health"]["Log"]) <= 5
    events = podling.ok(
        "events", "--stream=false", "--since", "5m", "--filter", "container=h", "--format", "{{.Status}}"
    )
    assert events.count("health_status") == 2  # changes alone
    podling.ok("pause", "h")
    assert "not running" in podling.fails(125, "healthcheck", "run", "h")
    podling.ok("unpause", "h")
    podling.ok("rm", "-f", "-t", "0", "h")
    eventually(lambda: [line for _, line in processes() if podling.root in line and "healthcheck" in line] == [])


def test_health_timeout_and_actions(podling: Podling) -> None:
    podling.ok(
        "run", "-d", "--name", "h", NONE, "--health-cmd", "sleep 60", "--health-timeout", "1s", "--health-interval", "disable",
        "--health-retries", "1", "--health-on-failure", "kill", IMAGE, "sleep", "1000",
    )  # fmt: skip
    begin = time.monotonic()
    assert podling("healthcheck", "run", "h").returncode == 1
    assert time.monotonic() - begin < 10
    eventually(lambda: state(podling, "h")["State"]["Status"] == "exited")
    assert "exceeded timeout" in json.loads(podling.ok("inspect", "h"))[0]["State"]["Health"]["Log"][-1]["Output"]
    podling.ok("rm", "h")


def test_health_of_the_image_and_none(podling: Podling) -> None:
    podling.ok(
        "create",
        "--name",
        "c",
        NONE,
        "--health-cmd",
        '["CMD", "true"]',
        "--health-start-period",
        "10s",
        IMAGE,
        "sleep",
        "9",
    )
    config = state(podling, "c")["Config"]["Healthcheck"]
    assert config["Test"] == ["CMD", "true"] and config["StartPeriod"] == 10**10
    assert "has no defined healthcheck" in podling.fails(
        125, "healthcheck", "run", podling.ok("create", NONE, IMAGE, "true")
    )
    assert "exclude each other" in podling.fails(125, "create", "--no-healthcheck", "--health-cmd", "x", IMAGE)
    assert "no health check to set up" in podling.fails(125, "create", "--health-retries", "3", IMAGE)
    assert "not one of none" in podling.fails(125, "create", "--health-cmd", "x", "--health-on-failure", "odd", IMAGE)
    podling.ok("rm", "-a")


def test_startup_check(podling: Podling) -> None:
    podling.ok(
        "run", "-d", "--name", "h", NONE, "--health-cmd", "true", "--health-interval", "300ms", "--health-startup-cmd", "test -f /up",
        "--health-startup-interval", "200ms", IMAGE, "sleep", "1000",
    )  # fmt: skip
    time.sleep(0.8)
    assert state(podling, "h")["State"]["Health"]["Status"] == "starting"
    podling.ok("exec", "h", "touch", "/up")
    eventually(lambda: state(podling, "h")["State"]["Health"]["Status"] == "healthy")
    podling.ok("rm", "-f", "-t", "0", "h")


# -- dependencies
def test_requires(podling: Podling) -> None:
    podling.ok(
        "create",
        "--name",
        "db",
        NONE,
        "--health-cmd",
        "test -f /ready",
        "--health-interval",
        "200ms",
        IMAGE,
        "sh",
        "-c",
        "sleep 1; touch /ready; sleep 100",
    )
    podling.ok("create", "--name", "setup", NONE, IMAGE, "true")
    podling.ok("create", "--name", "app", NONE, "--requires", "db:healthy,setup:completed", IMAGE, "sleep", "100")
    podling.ok("start", "app")
    assert state(podling, "db")["State"]["Health"]["Status"] == "healthy"
    assert state(podling, "setup")["State"]["Status"] == "exited"
    assert len(state(podling, "app")["Dependencies"]) == 2
    assert "has dependent containers" in podling.fails(125, "rm", "-f", "-t", "0", "db")
    assert len(podling.ok("rm", "-f", "-t", "0", "--depend", "db").splitlines()) == 1
    assert podling.ok("ps", "-a", "--format", "{{.Names}}") == "setup"
    assert "no such container" in podling.fails(125, "create", "--requires", "nosuch", IMAGE)


# -- stats, update
def test_stats(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "s", NONE, "-m", "64m", IMAGE, "sh", "-c", "while :; do :; done")
    time.sleep(0.5)
    (row,) = json.loads(podling.ok("stats", "--no-stream", "--format", "json", "s"))
    assert set(row) == {
        "id", "name", "cpu_time", "cpu_percent", "avg_cpu", "mem_usage", "mem_percent", "net_io", "block_io", "pids",
    }  # fmt: skip
    assert float(row["cpu_percent"].rstrip("%")) > 20 and row["mem_usage"].endswith("/ 67.11MB") and row["pids"] == "1"
    text = podling.ok("stats", "--no-stream")
    assert text.splitlines()[0].startswith("ID            NAME")
    watching = podling.background("stats", "-i", "1", "--format", "{{.Name}}")
    time.sleep(1.8)
    watching.send_signal(signal.SIGINT)
    out, _ = watching.communicate(timeout=10)
    assert out.split() == [b"s", b"s"] and watching.returncode == 130
    podling.ok("stop", "-t", "0", "s")
    assert podling.ok("stats", "--no-stream", "-a", "--format", "{{.Name}} {{.PIDS}}") == "s 0"
    podling.ok("rm", "s")


def test_update(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "u", NONE, "-m", "64m", IMAGE, "sleep", "1000")
    pid = state(podling, "u")["State"]["Pid"]
    podling.ok(
        "update", "-m", "128m", "--cpus", "0.5", "--pids-limit", "50", "--restart", "on-failure:3", "-e", "NEW=1", "u"
    )
    found = state(podling, "u")
    assert found["HostConfig"]["Memory"] == 128 << 20 and found["HostConfig"]["PidsLimit"] == 50
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "on-failure"
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    if "memory" in groups:
        assert Path(f"/sys/fs/cgroup/memory{groups['memory']}/memory.limit_in_bytes").read_text().strip() == str(
            128 << 20
        )
        assert Path(f"/sys/fs/cgroup/pids{groups['pids']}/pids.max").read_text().strip() == "50"
    podling.ok("restart", "-t", "0", "u")
    assert podling.ok("exec", "u", "sh", "-c", "echo $NEW") == "1"
    assert "nothing to update" in podling.fails(125, "update", "u")
    assert "must be larger than --memory" in podling.fails(125, "update", "-m", "1g", "--memory-swap", "512m", "u")
    podling.ok("rm", "-f", "-t", "0", "u")


# -- clone, prune, mount
def test_clone(podling: Podling) -> None:
    podling.ok(
        "create", "--name", "one", NONE, "-e", "A=1", "--hostname", "h1", "-m", "64m", IMAGE, "sh", "-c", "echo $A"
    )
    id = podling.ok("container", "clone", "-m", "32m", "one")
    found = state(podling, id)
    assert (
        found["Name"] == "one-clone"
        and found["HostConfig"]["Memory"] == 32 << 20
        and found["Config"]["Hostname"] == "h1"
    )
    assert podling.ok("start", "--attach", id) == "1"
    podling.ok("container", "clone", "--destroy", "--run", "one", "two")
    assert podling.ok("logs", "two") == "1"
    assert podling("container", "exists", "one").returncode == 1
    assert "already in use" in podling.fails(125, "container", "clone", "two", "one-clone")
    podling.ok("rm", "-a")


def test_container_prune(podling: Podling) -> None:
    podling.ok("run", "--name", "done", NONE, IMAGE, "true")
    podling.ok("create", "--name", "kept", "--label", "keep=1", NONE, IMAGE, "true")
    podling.ok("run", "-d", "--name", "up", NONE, IMAGE, "sleep", "1000")
    assert podling("container", "prune", input=b"n\n").returncode == 0
    assert len(podling.ok("container", "prune", "-f", "--filter", "label!=keep=1").splitlines()) == 1
    assert set(podling.ok("ps", "-a", "--format", "{{.Names}}").split()) == {"kept", "up"}
    assert "label and until" in podling.fails(125, "container", "prune", "-f", "--filter", "name=x")
    podling.ok("rm", "-f", "-t", "0", "-a")


def test_mount(any_driver: Podling) -> None:
    any_driver.ok("pull", "-q", IMAGE)
    any_driver.ok("create", "--name", "m", NONE, IMAGE, "cat", "/put")
    path = Path(any_driver.ok("mount", "m"))
    (path / "put").write_text("from the host\n")
    assert json.loads(any_driver.ok("mount", "--format", "json"))[0]["mountpoint"] == str(path)
    assert any_driver.ok("start", "--attach", "m") == "from the host"
    assert (path / "put").exists()  # still mounted
    any_driver.ok("umount", "m")
    assert "not mounted" in any_driver.fails(125, "umount", "m")
    any_driver.ok("rm", "m")
    assert any_driver.mounts() == []


# -- options
def test_environment_options(podling: Podling) -> None:
    def env(*args: str) -> list[str]:
        return podling.ok("run", "--rm", NONE, *args, IMAGE, "/bin/busybox", "env").split("\n")

    assert any(line.startswith("A=/usr/local/sbin:") for line in env("--env-merge", "A=${PATH}"))
    assert not any(line.startswith("container=") for line in env("--unsetenv", "container"))
    assert not any(line.startswith("PATH=") for line in env("--unsetenv-all", "--env", "X=1"))


def test_volumes_from_and_mounts(podling: Podling, tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("A")
    (tmp_path / "b.conf").write_text("B")
    podling.ok("create", "--name", "src", NONE, "-v", "shared:/data", "-v", f"{tmp_path}:/host:ro", IMAGE, "true")
    run = ("run", "--rm", NONE)
    assert podling.ok(*run, "--volumes-from", "src", IMAGE, "cat", "/host/a.conf") == "A"
    podling.ok(*run, "--volumes-from", "src", IMAGE, "touch", "/data/x")
    assert podling(*run, "--volumes-from", "src:ro", IMAGE, "touch", "/data/y").returncode == 1
    assert (
        podling.ok(*run, "--mount", f"type=glob,source={tmp_path}/*.conf,target=/c", IMAGE, "sh", "-c", "cat /c/*")
        == "AB"
    )
    assert (
        podling.ok(*run, "--mount", f"type=image,source={IMAGE},target=/img", IMAGE, "ls", "/img/bin/busybox")
        == "/img/bin/busybox"
    )
    assert podling(*run, "--mount", f"type=image,source={IMAGE},target=/img", IMAGE, "touch", "/img/x").returncode == 1
    assert (
        podling.ok(
            *run, "--mount", f"type=image,source={IMAGE},target=/img,rw", IMAGE, "sh", "-c", "touch /img/x; ls /img/x"
        )
        == "/img/x"
    )
    assert "ramfs" in podling.ok(*run, "--mount", "type=ramfs,target=/r", IMAGE, "grep", " /r ", "/proc/mounts")
    assert "devpts" in podling.ok(*run, "--mount", "type=devpts,target=/p", IMAGE, "grep", " /p ", "/proc/mounts")
    assert podling.ok(*run, "-v", f"{tmp_path}:/o:O", IMAGE, "sh", "-c", "echo x > /o/new; cat /o/a.conf") == "A"
    assert not (tmp_path / "new").exists()
    podling.ok(*run, "-v", f"{tmp_path}:/u:U", "--user", "77:88", IMAGE, "true")
    assert (tmp_path / "a.conf").stat().st_uid == 77
    assert "nothing on the host fits" in podling.fails(
        125, *run, "--mount", "type=glob,source=/nothing/*,target=/c", IMAGE, "true"
    )
    podling.ok("rm", "src")


def test_hosts_passwd_personality(podling: Podling, tmp_path: Path) -> None:
    run = ("run", "--rm", NONE)
    (tmp_path / "hosts").write_text("10.9.8.7 special\n")
    assert "special" in podling.ok(*run, "--hosts-file", str(tmp_path / "hosts"), IMAGE, "cat", "/etc/hosts")
    assert podling(*run, "--hosts-file", "image", IMAGE, "grep", "host.containers", "/etc/hosts").returncode != 0
    assert podling(*run, "--no-hostname", IMAGE, "test", "-s", "/etc/hostname").returncode == 1
    assert "4321:*:4321:0:" in podling.ok(*run, "--user", "4321", IMAGE, "cat", "/etc/passwd")
    assert "4321" not in podling.ok(*run, "--passwd=false", "--user", "4321", IMAGE, "cat", "/etc/passwd")
    assert (
        podling.ok(
            *run,
            "--passwd-entry",
            "me:x:$UID:$GID::/:/bin/sh",
            "--group-entry",
            "mine:x:99:",
            IMAGE,
            "sh",
            "-c",
            "tail -1 /etc/passwd; tail -1 /etc/group",
        )
        == "me:x:0:0::/:/bin/sh\nmine:x:99:"
    )
    assert podling.ok(*run, "--personality", "LINUX32", IMAGE, "uname", "-m") in ("i686", "armv7l")
    assert "not one of LINUX" in podling.fails(125, *run, "--personality", "odd", IMAGE, "true")


def test_throttles(podling: Podling) -> None:
    assert "no such device" in podling.fails(125, "create", "--device-read-bps", "/dev/nothing:1mb", IMAGE)
    assert "not DEVICE:NUMBER" in podling.fails(125, "create", "--device-write-iops", "1mb", IMAGE)
    assert "between 10 and 1000" in podling.fails(125, "create", "--blkio-weight-device", "/dev/null:5", IMAGE)


def test_rmi_with_run(podling: Podling) -> None:
    podling.ok("create", "--name", "c", NONE, IMAGE, "true")
    podling.ok("commit", "-q", "-c", "LABEL x=1", "c", "goes:1")
    podling.ok("rm", "c")
    podling.ok("run", "--rmi", NONE, "goes:1", "true")
    assert podling("image", "exists", "goes:1").returncode == 1
    assert podling.ok("image", "exists", IMAGE) == ""


def test_out_of_memory_is_told(podling: Podling) -> None:
    podling.ok(
        "create",
        "--name",
        "hog",
        NONE,
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        IMAGE,
        "sh",
        "-c",
        "x=a; while :; do x=$x$x; done",
    )
    done = podling("start", "--attach", "hog")
    found = state(podling, "hog")["State"]
    assert done.returncode == 137 and found["OOMKilled"] is True
    podling.ok("run", "--name", "fine", NONE, IMAGE, "true")
    assert state(podling, "fine")["State"]["OOMKilled"] is False
    podling.ok("rm", "hog", "fine")


@pytest.mark.parametrize("policy", ["always:3", "on-failure:x", "sometimes"])
def test_bad_restart_policies(podling: Podling, policy: str) -> None:
    podling.fails(125, "create", "--restart", policy, IMAGE)
