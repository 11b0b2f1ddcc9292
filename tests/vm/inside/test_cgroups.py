"""cgroup v2 with systemd: limits of root's containers, and of those of a user with a session."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.integration.conftest import IMAGE, Podling, eventually

NONE = "--network=none"
USER = "resident"


@pytest.fixture(scope="module")
def resident() -> Iterator[list[str]]:
    """How to run a command as a user who has a systemd of their own."""
    subprocess.run(["useradd", "-m", USER], check=True)
    subprocess.run(["loginctl", "enable-linger", USER], check=True)
    uid = pwd.getpwnam(USER).pw_uid
    run = f"/run/user/{uid}"
    eventually(lambda: os.path.exists(f"{run}/systemd/private"), 60)
    yield [
        "setpriv", f"--reuid={uid}", f"--regid={uid}", "--init-groups", "env", "-C", f"/home/{USER}", f"HOME=/home/{USER}",
        f"XDG_RUNTIME_DIR={run}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={run}/bus", "PYTHONPATH=/src/src", sys.executable, "-m", "podling",
    ]  # fmt: skip
    subprocess.run(["loginctl", "terminate-user", USER], check=False)


@pytest.mark.parametrize("manager", ["cgroupfs", "systemd"])
def test_limits_of_root(podling: Podling, manager: str) -> None:
    shown = podling.ok(
        "--cgroup-manager", manager, "run", "--rm", NONE, "-m", "50m", "--pids-limit", "77", "--cpus", "0.5", IMAGE, "sh", "-c",
        "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max",
    )  # fmt: skip
    assert shown.split("\n") == [str(50 << 20), "77", "50000 100000"]


def test_update_and_stats(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, "-m", "50m", IMAGE, "sleep", "100")
    podling.ok("update", "-m", "60m", "c")
    assert podling.ok("exec", "c", "cat", "/sys/fs/cgroup/memory.max") == str(60 << 20)
    assert "62.91MB" in podling.ok("stats", "--no-stream", "--format", "{{.MemUsage}}", "c")
    podling.ok("pause", "c")
    assert podling.ok("ps", "--format", "{{.State}}") == "paused"
    podling.ok("unpause", "c")


@pytest.mark.xdist_group("resident")
def test_limits_of_a_user(resident: list[str]) -> None:
    done = subprocess.run(
        [*resident, "run", "--rm", NONE, "-m", "50m", "--pids-limit", "77", IMAGE, "sh", "-c", "cd /sys/fs/cgroup; cat memory.max pids.max"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(50 << 20), "77"], done.stderr
    assert "ignored" not in done.stderr


@pytest.mark.xdist_group("resident")
def test_pause_and_stats_of_a_user(resident: list[str]) -> None:
    def run(*args: str) -> str:
        done = subprocess.run([*resident, *args], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    run("run", "-d", "--name", "c", NONE, IMAGE, "sleep", "100")
    run("pause", "c")
    assert run("ps", "--format", "{{.State}}") == "paused"
    run("unpause", "c")
    assert run("stats", "--no-stream", "--format", "{{.PIDS}}", "c") == "1"
    run("rm", "-f", "-t0", "c")


def test_split(podling: Podling) -> None:
    """As Quadlet's units run containers: their cgroup is inside the unit's."""
    ends = ("sh", "-c", "trap exit TERM; sleep 100 & wait")
    run = podling.argv("run", "--rm", "--name", "split", NONE, "-m", "50m", "--cgroups=split", IMAGE, *ends)
    subprocess.run(
        ["systemd-run", "--unit=divided", "--property=Delegate=yes", "--setenv=PYTHONPATH=/src/src", *run],
        check=True,
        capture_output=True,
    )
    eventually(lambda: podling.ok("ps", "-q", "--filter", "status=running") != "", 30)
    base = "/sys/fs/cgroup/system.slice/divided.service"
    id = podling.ok("inspect", "--format", "{{.Id}}", "split")
    with open(f"{base}/libpod-payload-{id}/memory.max") as file:
        assert int(file.read()) == 50 << 20
    with open(f"{base}/supervisor/cgroup.procs") as file:
        assert len(file.read().split()) >= 2
    subprocess.run(["systemctl", "stop", "divided"], check=True)
    eventually(lambda: podling.ok("ps", "-aq") == "", 30)


def test_confined_by_default(podling: Podling) -> None:
    """AppArmor, where the host has it."""
    with open("/sys/module/apparmor/parameters/enabled") as file:
        assert file.read(1) == "Y"
    show = (IMAGE, "cat", "/proc/self/attr/current")
    assert podling.ok("run", "--rm", NONE, *show) == "podling-default (enforce)"
    assert podling.ok("run", "--rm", NONE, "--privileged", *show) == "unconfined"
    assert podling.ok("run", "--rm", NONE, "--security-opt", "apparmor=unconfined", *show) == "unconfined"
    refused = podling("run", "--rm", NONE, "--cap-add", "SYS_ADMIN", IMAGE, "mount", "-t", "tmpfs", "none", "/tmp")
    assert refused.returncode and "denied" in refused.stderr.lower()
    assert "not loaded" in podling.fails(125, "run", "--rm", NONE, "--security-opt", "apparmor=nosuch", IMAGE, "true")


#: flags of run and update, and what files below /sys/fs/cgroup say then
LIMITS: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"--cpus": "0.25", "--memory": "64m"}, {"cpu.max": "25000 100000", "memory.max": str(64 << 20)}),
    (
        {
            "--cpu-period": "50000", "--cpu-quota": "20000", "--cpu-shares": "512", "--cpuset-cpus": "1", "--cpuset-mems": "0",
            "--memory": "64m", "--memory-reservation": "32m", "--memory-swap": "96m", "--pids-limit": "33",
        },
        {
            "cpu.max": "20000 50000", "cpu.weight": "20", "cpuset.cpus": "1", "cpuset.mems": "0", "memory.max": str(64 << 20),
            "memory.low": str(32 << 20), "memory.swap.max": str(32 << 20), "pids.max": "33",
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("limits", "files"), LIMITS, ids=["few", "all"])
def test_every_limit(podling: Podling, limits: dict[str, str], files: dict[str, str]) -> None:
    flags = [word for pair in limits.items() for word in pair]
    show = ("cat", *(f"/sys/fs/cgroup/{name}" for name in files))
    podling.ok("run", "-d", "--name", "limited", NONE, *flags, IMAGE, "sleep", "1000")
    podling.ok("run", "-d", "--name", "updated", NONE, IMAGE, "sleep", "1000")
    podling.ok("update", *flags, "updated")
    for name in ("limited", "updated"):
        assert podling.ok("exec", name, *show).splitlines() == list(files.values())


def test_throttles(podling: Podling) -> None:
    """Reads and writes of a device."""
    number = os.stat("/dev/vda").st_rdev
    flags = []
    for kind, limit in (("read-bps", "1mb"), ("write-bps", "2mb"), ("read-iops", "100"), ("write-iops", "200")):
        flags += [f"--device-{kind}", f"/dev/vda:{limit}"]
    shown = podling.ok("run", "--rm", NONE, *flags, IMAGE, "cat", "/sys/fs/cgroup/io.max")
    assert shown == f"{os.major(number)}:{os.minor(number)} rbps={1 << 20} wbps={2 << 20} riops=100 wiops=200"


def test_files_and_parents_of_the_cgroup(podling: Podling) -> None:
    shown = podling.ok(
        "run", "--rm", NONE, "--cgroup-conf", "memory.high=41943040", IMAGE, "cat", "/sys/fs/cgroup/memory.high"
    )
    assert shown == str(40 << 20)
    id = podling.ok("run", "-d", "--name", "c", NONE, "--cgroup-parent", "apart.slice", IMAGE, "sleep", "1000")
    assert os.path.isdir(f"/sys/fs/cgroup/apart.slice/podling-{id}.scope")
    assert podling.ok("run", "--rm", NONE, "--cgroups=disabled", IMAGE, "true") == ""


@pytest.mark.parametrize("manager", ["cgroupfs", "systemd"])
def test_the_oom_killer(podling: Podling, manager: str) -> None:
    def told() -> bool:
        # the shell outlives its child: systemd removes the cgroup with the last process, and conmon alone looks before
        eat = "dd if=/dev/zero of=/dev/null bs=64M count=1; code=$?; sleep 2; exit $code"
        limits = ("-m", "16m", "--memory-swap", "16m")
        flags = (f"--cgroup-manager={manager}", "run", "--replace", "--name", "c", NONE)
        assert podling(*flags, *limits, IMAGE, "sh", "-c", eat).returncode == 137
        return podling.ok("inspect", "--format", "{{.State.OOMKilled}} {{.State.ExitCode}}", "c") == "true 137"

    assert told() or (manager == "systemd" and any(told() for _ in range(4)))


@pytest.mark.xdist_group("resident")
def test_a_user_without_linger_is_warned(resident: list[str]) -> None:
    # the file alone: without linger, and without a session, systemd would end the user's manager
    lingers, hidden = f"/var/lib/systemd/linger/{USER}", f"/var/lib/systemd/{USER}"
    os.rename(lingers, hidden)
    try:
        done = subprocess.run(
            [*resident, "run", "-d", "--name", "w", NONE, IMAGE, "sleep", "100"], capture_output=True, text=True
        )
        assert done.returncode == 0 and f"loginctl enable-linger {USER}" in done.stderr
        again = subprocess.run(
            [*resident, "run", "-d", "--name", "v", NONE, IMAGE, "sleep", "100"], capture_output=True, text=True
        )
        assert "linger" not in again.stderr
        subprocess.run([*resident, "rm", "-f", "-t0", "-a"], capture_output=True, check=True)
    finally:
        os.rename(hidden, lingers)
