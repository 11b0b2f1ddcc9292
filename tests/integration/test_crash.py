"""Kill the command, conmon and the container at many moments: the next command sees the truth, and nothing is left."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling, eventually

NONE = "--network=none"


def settled(podling: Podling) -> None:
    """After any kill: removal works, and no mount, process, bundle, layer or intent is left."""
    podling.ok("ps", "-a")
    podling.ok("rm", "-f", "-t", "0", "-a")
    eventually(lambda: podling.conmons() == [])
    podling.ok("rm", "-f", "-t", "0", "-a")
    assert podling.ok("ps", "-aq") == ""
    assert podling.mounts() == []
    eventually(lambda: podling.folders()["bundles"] == [])
    assert podling.folders()["logs"] == []
    assert len(podling.folders()["layers"]) == 1
    with sqlite3.connect(f"{podling.root}/root/podling.db") as db:
        assert db.execute("SELECT count(*) FROM intents").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM layers").fetchone() == (1,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()


@pytest.mark.parametrize("seed", range(3))
def test_kill_run_at_any_moment(podling: Podling, seed: int) -> None:
    """Each round kills `run` a little later; together they cover it from its first instruction to its last."""
    generator = random.Random(seed)
    for _ in range(14):
        process = podling.background("run", "--rm", NONE, IMAGE, "sh", "-c", "sleep 0.02")
        time.sleep(generator.uniform(0.01, 0.25))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert podling.ok("run", "--rm", NONE, IMAGE, "echo", "works") == "works"
    settled(podling)


def test_kill_rm_at_any_moment(podling: Podling) -> None:
    generator = random.Random(1)
    for number in range(14):
        podling.ok("run", "-d", "--name", f"c{number}", NONE, IMAGE, "sleep", "1000")
        process = podling.background("rm", "-f", "-t", "0", f"c{number}")
        time.sleep(generator.uniform(0.01, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        podling.ok("rm", "-f", "-t", "0", f"c{number}")
    settled(podling)


def test_kill_stop_and_start_at_any_moment(podling: Podling) -> None:
    generator = random.Random(2)
    podling.ok("create", "--name", "c", NONE, IMAGE, "sleep", "1000")
    for number in range(20):
        process = podling.background(*(("start", "c") if number % 2 == 0 else ("stop", "-t", "0", "c")))
        time.sleep(generator.uniform(0.01, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
    podling.ok("start", "c")
    assert podling.ok("exec", "c", "echo", "alive") == "alive"
    settled(podling)


def test_foreground_killed_while_the_container_runs(podling: Podling) -> None:
    process = podling.background("run", "--rm", "--name", "c", NONE, IMAGE, "sh", "-c", "echo ready; sleep 1")
    assert process.stdout and process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert podling.ok("ps", "--format", "{{.Names}}") == "c"
    eventually(lambda: podling.ok("ps", "-aq") == "")  # conmon's exit command saw that nobody waits
    assert podling.mounts() == []


def test_container_killed(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, "sleep", "1000")
    os.kill(int(podling.ok("inspect", "-f", "{{.State.Pid}}", "c")), signal.SIGKILL)
    eventually(lambda: podling.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "c") == "exited 137")
    eventually(lambda: podling.mounts() == [])
    settled(podling)


def test_conmon_killed(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, "sleep", "1000")
    os.kill(int(podling.ok("inspect", "-f", "{{.State.ConmonPid}}", "c")), signal.SIGKILL)
    assert podling.ok("ps", "--format", "{{.Names}} {{.State}}") == "c running"
    assert podling.ok("exec", "c", "echo", "alive") == "alive"
    podling.ok("stop", "-t", "0", "c")
    assert podling.ok("ps", "-a", "--format", "{{.State}}") == "exited"
    settled(podling)


def test_conmon_and_container_killed(podling: Podling) -> None:
    podling.ok("run", "-d", "--rm", "--name", "gone", NONE, IMAGE, "sleep", "1000")
    podling.ok("run", "-d", "--name", "kept", NONE, IMAGE, "sleep", "1000")
    for name in ("gone", "kept"):
        pids = podling.ok("inspect", "-f", "{{.State.ConmonPid}} {{.State.Pid}}", name).split()
        for pid in pids:
            os.kill(int(pid), signal.SIGKILL)
    eventually(lambda: podling.ok("ps", "-q") == "")
    eventually(lambda: podling.ok("ps", "-a", "--format", "{{.Names}} {{.State}}") == "kept exited")
    assert podling.mounts() == []
    podling.ok("start", "kept")
    settled(podling)


def test_everything_killed_at_once(podling: Podling) -> None:
    running = [podling.background("run", "--rm", NONE, IMAGE, "sleep", "1000") for _ in range(5)]
    eventually(lambda: len(podling.ok("ps", "-q").split()) == 5)
    pids = [int(pid) for pid in podling.ok("ps", "--format", "{{.Pid}}").split()]
    for pid in (*podling.conmons(), *pids, *(process.pid for process in running)):
        os.kill(pid, signal.SIGKILL)
    for process in running:
        process.wait()
    settled(podling)


def test_reboot(podling: Podling) -> None:
    """A reboot as the engine sees it: the boot id in `runroot` is another, no process and no mount is left."""
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, "sleep", "1000")
    podling.ok("run", "-d", "--rm", "--name", "temporary", NONE, IMAGE, "sleep", "1000")
    for name in ("c", "temporary"):
        for pid in podling.ok("inspect", "-f", "{{.State.ConmonPid}} {{.State.Pid}}", name).split():
            os.kill(int(pid), signal.SIGKILL)
    Path(podling.root, "run", "boot").write_text("another boot")
    assert podling.ok("ps", "-q") == ""
    assert "c exited" in podling.ok("ps", "-a", "--format", "{{.Names}} {{.State}}")
    podling.ok("start", "c")
    assert podling.ok("exec", "c", "echo", "again") == "again"
    settled(podling)


def test_mounts_vanished(podling: Podling) -> None:
    """Somebody unmounted the root file system of a stopped store by hand."""
    import subprocess

    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, "sleep", "1000")
    for target in podling.mounts():
        subprocess.run(["umount", "-l", target], check=True)
    podling.ok("stop", "-t", "0", "c")
    podling.ok("start", "c")
    assert podling.ok("exec", "c", "ls", "/bin/busybox") == "/bin/busybox"
    settled(podling)


def test_newer_and_damaged_database(fresh: Podling) -> None:
    fresh.ok("ps")
    path = Path(fresh.root, "root", "podling.db")
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=999")
    db.close()
    assert "schema version 999" in fresh.fails(125, "ps")
    for name in path.parent.glob("podling.db*"):
        name.unlink()
    path.write_bytes(b"this is not a database" * 100)
    assert "is damaged" in fresh.fails(125, "ps")


def test_exit_codes_are_never_guessed_while_somebody_cleans_up(podling: Podling) -> None:
    """`wait`, `ps` and `inspect` race with the clean-up that conmon starts; the code they see is the real one."""
    for _ in range(12):
        id = podling.ok("run", "-d", "--rm", NONE, IMAGE, "sh", "-c", "exit 4")
        assert podling.ok("wait", id) == "4"
    eventually(lambda: podling.ok("ps", "-aq") == "")
    eventually(lambda: list(Path(podling.root, "run", "tmp", "exits").iterdir()) == [])
