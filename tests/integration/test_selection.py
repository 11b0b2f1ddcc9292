"""How commands are told which containers they are about: all, the latest, those that a filter or a file of ids names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling, eventually

NONE = "--network=none"


def _states(podling: Podling) -> dict[str, str]:
    lines = podling.ok("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines()
    return dict(line.split() for line in lines)


@pytest.fixture
def three(podling: Podling, tmp_path: Path) -> Podling:
    """one, two and three run; two has the label x=y, and its id is in a file."""
    for name in ("one", "two", "three"):
        label = ["--label", "x=y"] if name == "two" else []
        podling.ok("run", "-d", "--name", name, "--stop-timeout", "0", *label, NONE, IMAGE, "sleep", "1000")
    (tmp_path / "id").write_text(podling.ok("inspect", "--format", "{{.Id}}", "two"))
    return podling


WAYS = {"all": ["one", "two", "three"], "latest": ["three"], "filter": ["two"], "cidfile": ["two"]}


def _flag(way: str, tmp_path: Path) -> list[str]:
    return {
        "all": ["--all"],
        "latest": ["--latest"],
        "filter": ["--filter", "label=x=y"],
        "cidfile": ["--cidfile", f"{tmp_path}/id"],
    }[way]


@pytest.mark.parametrize("way", list(WAYS))
def test_a_whole_life(three: Podling, tmp_path: Path, way: str) -> None:
    chosen, flag = WAYS[way], _flag(way, tmp_path)

    def those(state: str) -> list[str]:
        return sorted(name for name, found in _states(three).items() if found == state)

    if way != "filter":  # kill knows none
        three.ok("kill", "--signal", "WINCH", *flag)
    three.ok("pause", *flag)
    assert those("paused") == sorted(chosen)
    three.ok("unpause", *flag)
    assert those("paused") == []
    before = {name: three.ok("inspect", "--format", "{{.State.Pid}}", name) for name in WAYS["all"]}
    three.ok("restart", "-t", "0", *flag)
    after = {name: three.ok("inspect", "--format", "{{.State.Pid}}", name) for name in WAYS["all"]}
    assert sorted(name for name in before if before[name] != after[name]) == sorted(chosen)
    three.ok("stop", "-t", "0", *flag)
    assert those("exited") == sorted(chosen)
    if way != "cidfile":
        three.ok("start", *flag)
        assert those("exited") == []
    three.ok("rm", "-f", "-t", "0", *flag)
    assert sorted(_states(three)) == sorted(set(WAYS["all"]) - set(chosen))


def test_restart_of_those_that_run(three: Podling) -> None:
    three.ok("stop", "-t", "0", "one")
    three.ok("restart", "-t", "0", "--running")
    assert _states(three) == {"one": "exited", "two": "running", "three": "running"}


def test_ignoring_what_is_not_there(three: Podling, tmp_path: Path) -> None:
    for command in ("stop", "rm", "wait"):
        three.fails(1 if command == "rm" else 125, command, "nosuch")
        assert three(command, "--ignore", "nosuch").returncode == 0
    assert "no such file" in three.fails(125, "stop", "--cidfile", f"{tmp_path}/nosuch").lower()
    three.ok("rm", "--ignore", "--cidfile", f"{tmp_path}/nosuch")


def test_the_latest_everywhere(three: Podling, tmp_path: Path) -> None:
    assert three.ok("exec", "--latest", "hostname") == three.ok("exec", "three", "hostname")
    assert three.ok("exec", "--cidfile", f"{tmp_path}/id", "hostname") == three.ok("exec", "two", "hostname")
    three.ok("exec", "-l", "touch", "/made")
    assert three.ok("diff", "--latest").splitlines()[-1] == "A /made"
    assert three.ok("diff", "--format", "json", "three").count("/made") == 1
    assert three.ok("inspect", "--latest", "--format", "{{.Name}}") == "three"
    assert three.ok("inspect", "--type", "container", "--format", "{{.Name}}", "two") == "two"
    assert "sleep 1000" in three.ok("top", "--latest")
    assert three.ok("port", "--latest") == ""
    assert three.ok("stats", "--latest", "--no-stream", "--format", "{{.Name}}") == "three"
    assert three.ok(
        "stats", "--all", "--no-stream", "--no-reset", "--interval", "1", "--format", "{{.Name}}"
    ).split() == ["one", "two", "three"]
    assert len(three.ok("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}", "one")) == 64
    path = three.ok("mount", "--latest")
    assert Path(path, "made").exists()
    assert path in three.ok("mount", "--no-trunc")
    assert three.ok("unmount", "--latest")
    assert len(three.ok("mount", "--all").splitlines()) == 3
    three.ok("unmount", "--all", "--force")
    assert three.ok("mount") == ""
    assert three.ok("wait", "--condition", "running", "--latest") == "-1"


def test_logs_of_several(podling: Podling) -> None:
    for name in ("one", "two"):
        podling.ok("run", "--name", name, NONE, IMAGE, "echo", name)
    assert podling.ok("logs", "--latest") == "two"
    named = podling.ok("logs", "--names", "one", "two").splitlines()
    assert sorted(named) == ["one one", "two two"]
    colored = podling("logs", "--color", "--names", "one", "two").stdout
    assert "\x1b[" in colored and "one" in colored


def test_ports_of_all(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "web", "-p", "127.0.0.1:45871:80", IMAGE, "sleep", "1000")
    podling.ok("create", "--name", "none", NONE, IMAGE)
    assert "80/tcp -> 127.0.0.1:45871" in podling.ok("port", "--all")


def test_attaching_to_the_latest(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, "sh", "-c", "sleep 0.7; echo done; exit 3")
    done = podling("attach", "--latest", "--no-stdin", "--sig-proxy=false", "--detach-keys", "ctrl-x")
    assert done.returncode == 3 and done.stdout == "done\n"
    done = podling("start", "--attach", "--sig-proxy=false", "--detach-keys", "ctrl-x", "--latest")
    assert done.returncode == 3 and done.stdout == "done\n"


def test_watching_ps(podling: Podling) -> None:
    process = podling.background("ps", "--watch", "1")
    assert process.stdout
    assert b"CONTAINER ID" in process.stdout.readline() + process.stdout.readline()
    process.kill()


def test_events_until(podling: Podling) -> None:
    podling.ok("run", "--rm", NONE, IMAGE, "true")
    shown = podling.ok(
        "events", "--since", "1m", "--until", "0s", "--stream=false", "--no-trunc", "--format", "{{.ID}}"
    )
    assert any(len(line) == 64 for line in shown.splitlines())


@pytest.mark.parametrize("command", ["create", "run"])
def test_whole_settings(podling: Podling, tmp_path: Path, command: str) -> None:
    """Options whose effect `inspect` shows."""
    (tmp_path / "labels").write_text("from=file\n")
    more = [] if command == "create" else ["-d", "--sig-proxy=false"]
    podling.ok(
        command, *more, "--name", "c", NONE, "--annotation", "a=b", "--label-file", f"{tmp_path}/labels", "--memory-reservation", "32m",
        "--oom-score-adj", "5", "--shm-size", "1m", "--umask", "0077", "--tz", "UTC", "--ulimit", "nofile=100:200", "--entrypoint", "sleep",
        "--env-host", "--http-proxy=false", "--no-hosts", "--pids-limit", "50", "--read-only", "--read-only-tmpfs=false",
        "--conmon-pidfile", f"{tmp_path}/conmon", "--pidfile", f"{tmp_path}/pid", "--cidfile", f"{tmp_path}/cid", "--quiet",
        "--sysctl", "kernel.msgmax=5000", "--cap-add", "SYS_PTRACE", "--cap-drop", "KILL", "--privileged=false", "--expose", "99",
        "--init", "--init-path", "/usr/bin/catatonit", "--log-driver", "k8s-file", "--log-opt", f"path={tmp_path}/log", "--user", "5:6",
        "--uts", "private", "--pid", "private", "--ipc", "private", "--cgroupns", "private", "--timeout", "30", "--tmpfs", "/t:size=1m",
        IMAGE, "1000",
    )  # fmt: skip
    document = podling.ok("inspect", "--format", "{{json .}}", "c")
    for text in (
        '"a":"b"',
        '"from":"file"',
        '"OomScoreAdj":5',
        '"ShmSize":1048576',
        '"PidsLimit":50',
        '"ReadonlyRootfs":true',
        '"Umask":"0077"',
    ):
        assert text in document, text
    assert '"User":"5:6"' in document and '"IpcMode":"private"' in document and '"Timeout":30' in document
    assert (tmp_path / "cid").read_text().strip() == podling.ok("inspect", "--format", "{{.Id}}", "c")
    if command == "create":
        podling.ok("start", "c")
    shown = podling.ok(
        "exec",
        "c",
        "sh",
        "-c",
        "id -u; id -g; umask; ulimit -n; cat /proc/sys/kernel/msgmax; df -k /t | tail -1 | cut -c22-34",
    )
    assert shown.split() == ["5", "6", "0077", "100", "5000", "1024"]
    pids = [int((tmp_path / name).read_text()) for name in ("pid", "conmon")]
    assert pids == [
        int(podling.ok("inspect", "--format", f"{{{{.State.{key}}}}}", "c")) for key in ("Pid", "ConmonPid")
    ]
    podling.ok("rm", "-f", "-t0", "c")


def test_a_killed_client_of_wait(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, "sleep", "1000")
    waiting = podling.background("wait", "c")
    eventually(lambda: subprocess.run(["pgrep", "-f", f"{podling.root}.* wait c"], capture_output=True).returncode == 0)
    waiting.kill()
    assert _states(podling) == {"c": "running"}
