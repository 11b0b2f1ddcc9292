"""create, start, stop, kill, restart, pause, wait, rm, rename, ps, logs, top, port, inspect, events."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling, eventually

NONE = "--network=none"
SLEEP = ("sleep", "1000")


def test_create_start_stop_start(podling: Podling) -> None:
    id = podling.ok("create", "--name", "c", NONE, IMAGE, *SLEEP)
    assert podling.ok("ps", "-a", "--format", "{{.ID}} {{.State}}", "--no-trunc") == f"{id} created"
    assert podling.ok("start", "c") == "c"
    assert podling.ok("inspect", "-f", "{{.State.Running}} {{.State.ExitCode}}", "c") == "true 0"
    started = time.monotonic()
    assert podling.ok("stop", "-t", "0", "c") == "c"
    assert time.monotonic() - started < 5
    assert podling.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", id[:10]) == "exited 137"
    assert podling.mounts() == []
    eventually(lambda: podling.conmons() == [])
    podling.ok("start", "c")
    assert podling.ok("ps", "-q") == id[:12]
    assert podling.ok("rm", "-f", "-t", "0", "c") == "c"


def test_files_stay_over_a_restart(podling: Podling) -> None:
    podling.ok("run", "--name", "keeper", NONE, IMAGE, "sh", "-c", "test -e /kept && echo again; touch /kept")
    assert podling.ok("start", "-a", "keeper") == "again"
    assert podling.ok("logs", "keeper") == "again"


def test_start_of_a_running_container_does_nothing(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, *SLEEP)
    pid = podling.ok("inspect", "-f", "{{.State.Pid}}", "c")
    podling.ok("start", "c")
    assert podling.ok("inspect", "-f", "{{.State.Pid}}", "c") == pid


def test_restart(podling: Podling) -> None:
    podling.ok("run", "-d", "--rm", "--name", "c", NONE, IMAGE, *SLEEP)
    pid = podling.ok("inspect", "-f", "{{.State.Pid}}", "c")
    podling.ok("restart", "-t", "0", "c")
    assert podling.ok("inspect", "-f", "{{.State.Pid}} {{.HostConfig.AutoRemove}}", "c") not in (
        f"{pid} true",
        f"{pid} false",
    )
    assert podling.ok("inspect", "-f", "{{.HostConfig.AutoRemove}}", "c") == "true"


def test_stop_signal_and_timeout(podling: Podling) -> None:
    script = "trap 'exit 5' USR1; while :; do sleep 0.05; done"
    podling.ok("run", "-d", "--name", "c", "--stop-signal", "USR1", NONE, IMAGE, "sh", "-c", script)
    eventually(lambda: "trap" in podling.ok("top", "c", "args"))
    podling.ok("stop", "c")
    assert podling.ok("wait", "c") == "5"
    podling.ok("run", "-d", "--name", "stubborn", "--stop-timeout", "1", NONE, IMAGE, *SLEEP)
    done = podling("stop", "stubborn")
    assert done.returncode == 0 and "resorting to SIGKILL" in done.stderr
    podling.fails(125, "create", "--stop-signal", "NOSUCH", NONE, IMAGE)


def test_stop_of_a_stopped_container(podling: Podling) -> None:
    podling.ok("create", "--name", "c", NONE, IMAGE)
    assert podling.ok("stop", "c") == "c"


def test_kill(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, *SLEEP)
    assert podling.ok("kill", "-s", "KILL", "c") == "c"
    assert podling.ok("wait", "c") == "137"
    assert "can only kill running containers" in podling.fails(125, "kill", "c")
    assert "invalid signal" in podling.fails(125, "kill", "-s", "NOSUCH", "c")


def test_pause(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, "sh", "-c", "while :; do date +%N; sleep 0.02; done")
    podling.ok("pause", "c")
    assert podling.ok("ps", "--format", "{{.Status}}") == "Paused"
    before = podling.ok("logs", "c")
    time.sleep(0.3)
    assert podling.ok("logs", "c") == before
    assert "is not running" in podling.fails(125, "pause", "c")
    podling.ok("unpause", "c")
    eventually(lambda: podling.ok("logs", "c") != before)
    podling.ok("pause", "c")
    podling.ok("rm", "-f", "-t", "0", "c")


def test_wait(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "a", NONE, IMAGE, "sh", "-c", "sleep 0.3; exit 3")
    podling.ok("run", "-d", "--name", "b", NONE, IMAGE, *SLEEP)
    assert podling.ok("wait", "a") == "3"
    assert podling.ok("wait", "--condition=running", "b") == "-1"
    assert podling.ok("wait", "--ignore", "nosuch") == "-1"
    podling.fails(125, "wait", "nosuch")
    id = podling.ok("run", "-d", "--rm", NONE, IMAGE, "sh", "-c", "exit 4")
    assert podling.ok("wait", id) == "4"


def test_rm_of_a_running_container(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, *SLEEP)
    assert "without force" in podling.fails(2, "rm", "c")
    assert podling.ok("ps", "-q")
    assert podling.ok("rm", "-f", "-t", "0", "c") == "c"
    assert podling.folders()["bundles"] == [] and podling.mounts() == []
    eventually(lambda: podling.conmons() == [])  # it ends by itself, a moment after its container


def test_rm_of_missing_containers(podling: Podling) -> None:
    assert "no such container" in podling.fails(1, "rm", "nosuch")
    assert podling.ok("rm", "--ignore", "nosuch") == ""
    assert podling.ok("rm", "-f", "nosuch") == ""
    podling.ok("create", "--name", "there", NONE, IMAGE)
    done = podling("rm", "there", "nosuch")
    assert (done.returncode, done.stdout) == (1, "there\n")


def test_rm_all(podling: Podling) -> None:
    ids = {podling.ok("create", NONE, IMAGE) for _ in range(3)}
    podling.ok("run", "-d", NONE, IMAGE, *SLEEP)
    done = podling("rm", "-a")
    assert done.returncode == 2 and ids <= set(done.stdout.split())
    podling.ok("rm", "-af", "-t", "0")
    assert podling.ok("ps", "-aq") == ""


def test_names_and_prefixes(podling: Podling) -> None:
    ids = [podling.ok("create", "--name", f"n{number}", NONE, IMAGE) for number in range(20)]
    for id in ids[:3]:
        assert podling.ok("inspect", "-f", "{{.Id}}", id[:16]) == id
    first: dict[str, list[str]] = {}
    for id in ids:
        first.setdefault(id[0], []).append(id)
    ambiguous = next(key for key, group in first.items() if len(group) > 1)
    assert "fits several containers" in podling.fails(125, "start", ambiguous)
    podling.fails(125, "start", "nosuch")


def test_rename(podling: Podling) -> None:
    podling.ok("create", "--name", "old", NONE, IMAGE)
    podling.ok("create", "--name", "taken", NONE, IMAGE)
    assert "already in use" in podling.fails(125, "rename", "old", "taken")
    podling.ok("rename", "old", "new")
    assert set(podling.ok("ps", "-a", "--format", "{{.Names}}").split()) == {"new", "taken"}
    assert podling.ok("inspect", "-f", "{{.Name}}", "new") == "new"
    podling.fails(125, "rename", "new", "not a name")


def test_ps_filters(podling: Podling) -> None:
    podling.ok("create", "--name", "web", "--label", "tier=front", NONE, IMAGE)
    podling.ok("create", "--name", "db", "--label", "tier=back", "-v", "data:/data", NONE, IMAGE)
    podling("run", "--name", "done", NONE, IMAGE, "sh", "-c", "exit 3")
    podling.ok("run", "-d", "--name", "up", NONE, IMAGE, *SLEEP)

    def names(*filters: str) -> set[str]:
        flags = [part for text in filters for part in ("--filter", text)]
        return set(podling.ok("ps", "-a", "--format", "{{.Names}}", *flags).split())

    assert names("label=tier") == {"web", "db"}
    assert names("label=tier=front") == {"web"}
    assert names("label!=tier=front") == {"db", "done", "up"}
    assert names("status=created") == {"web", "db"}
    assert names("status=created", "status=running") == {"web", "db", "up"}
    assert names("exited=3") == {"done"}
    assert names("name=^d") == {"db", "done"}
    assert names("volume=data") == {"db"}
    assert names("before=done") == {"web", "db"}
    assert names("since=db") == {"done", "up"}
    assert names(f"ancestor={IMAGE}", "name=web") == {"web"}
    assert names("until=1h") == set()
    assert "unknown key" in podling.fails(125, "ps", "--filter", "colour=red")
    assert podling.ok("ps", "-n", "1", "--format", "{{.Names}}") == "up"
    assert podling.ok("ps", "--latest", "--format", "{{.Names}}") == "up"
    assert podling.ok("ps", "-a", "--sort", "names", "--format", "{{.Names}}").split() == ["db", "done", "up", "web"]


def test_ps_table(podling: Podling) -> None:
    id = podling.ok("run", "-d", "--name", "up", NONE, IMAGE, "sleep", "1000")
    head, row = podling.ok("ps").splitlines()
    assert head.split("  ")[0] == "CONTAINER ID"
    assert row.startswith(f"{id[:12]}  localhost/busybox:latest  sleep 1000  ")
    assert " Up " in row and row.endswith("up")
    document = json.loads(podling.ok("ps", "--format", "json"))[0]
    assert document["Id"] == id and document["Command"] == ["sleep", "1000"] and document["Names"] == ["up"]
    assert (
        podling.ok("ps", "--noheading", "--format", "table {{.Names}}\\t{{.Image}}") == "up  localhost/busybox:latest"
    )
    assert "SIZE" in podling.ok("ps", "--size").splitlines()[0]


def test_logs(podling: Podling) -> None:
    script = "for i in 1 2 3 4 5; do echo line $i; done; echo bad >&2; printf 'no newline'"
    podling.ok("run", "--name", "c", NONE, IMAGE, "sh", "-c", script)
    done = podling("logs", "c")
    assert done.stdout == "line 1\nline 2\nline 3\nline 4\nline 5\nno newline" and done.stderr == "bad\n"
    assert podling("logs", "--tail", "2", "c").stdout.startswith("line 5\n")
    assert podling("logs", "--tail", "0", "c").stdout == ""
    stamped = podling("logs", "-t", "c").stdout.splitlines()[0]
    assert (stamped[:2] == "20" and stamped.endswith("Z line 1")) or "+" in stamped
    assert podling("logs", "--since", "1h", "c").stdout.startswith("line 1")
    assert podling("logs", "--until", "1h", "c").stdout == ""
    assert podling("logs", "-n", "c").stdout.startswith("c line 1\n")
    podling.fails(125, "logs", "--since", "yesterday-ish", "c")
    podling.fails(125, "logs", "nosuch")


@pytest.fixture
def journal() -> Iterator[None]:
    """The host's journald, or one of our own for this test where no systemd runs."""
    if (
        Path("/run/systemd/journal/socket").exists()
        and not subprocess.run(["pgrep", "-x", "systemd-journal"]).returncode
    ):
        yield
        return
    process = subprocess.Popen(["/lib/systemd/systemd-journald"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually(lambda: Path("/run/systemd/journal/socket").exists())
    time.sleep(0.3)
    yield
    process.terminate()
    process.wait(10)


@pytest.mark.xdist_group("journal")
def test_logs_of_the_journal(podling: Podling, journal: None) -> None:
    podling.ok(
        "run", "--name", "c", "--log-driver=journald", NONE, IMAGE, "sh", "-c", "echo one; echo two; echo bad >&2"
    )
    eventually(lambda: "bad" in podling("logs", "c").stderr)
    done = podling("logs", "c")
    assert (done.stdout, done.stderr) == ("one\ntwo\n", "bad\n")
    assert podling("logs", "--tail", "1", "-t", "c").stderr.endswith("Z bad\n")


def test_logs_follow(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert podling.ok("logs", "-f", "c") == "1\n2\n3"


def test_top(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", "-u", "nobody", NONE, IMAGE, *SLEEP)
    head, row = podling.ok("top", "c").splitlines()
    assert head.split() == ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]
    assert row.split()[:3] == ["nobody", "1", "0"] and row.endswith("sleep 1000")
    assert podling.ok("top", "c", "pid", "seccomp").split() == ["PID", "SECCOMP", "1", "filter"]
    podling.fails(125, "top", "c", "nosuch")
    assert "hpid" in podling.ok("top", "--list-descriptors")


def test_inspect(podling: Podling) -> None:
    id = podling.ok("run", "-d", "--name", "c", "-e", "A=1", "-w", "/tmp", NONE, IMAGE, *SLEEP)
    document = json.loads(podling.ok("inspect", "c"))[0]
    assert document["Id"] == id and document["State"]["Status"] == "running" and "A=1" in document["Config"]["Env"]
    assert document["Config"]["WorkingDir"] == "/tmp" and document["HostConfig"]["NetworkMode"] == "none"
    assert Path(document["GraphDriver"]["Data"]["MergedDir"], "bin/busybox").exists()
    assert podling.ok("inspect", "--format", "{{range .Config.Cmd}}<{{.}}>{{end}}", "c") == "<sleep><1000>"
    assert podling.ok("container", "inspect", "--format", "{{.Config.Labels.none}}", "c") == "<no value>"
    assert "can't evaluate field" in podling.fails(125, "inspect", "-f", "{{.NoSuch}}", "c")
    assert json.loads(podling.ok("inspect", "--size", "c"))[0]["SizeRw"] >= 0
    done = podling("inspect", "c", "nosuch")
    assert done.returncode == 125 and json.loads(done.stdout)[0]["Id"] == id and "no such object" in done.stderr


def test_every_field_of_inspect_is_there(podling: Podling) -> None:
    table = Path(__file__).parents[3] / "shared" / "reference" / "inspect-fields.tsv"
    if not table.exists():
        pytest.skip("the reference tables are not beside this checkout")
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, *SLEEP)
    document = json.loads(podling.ok("inspect", "c"))[0]
    missing = []
    for line in table.read_text().splitlines():
        object_, surface, path, _, _, omitted, *_ = line.split("\t")
        if (object_, surface, omitted) != ("container inspect", "cli", "no") or path.count("[]") > 1 or "{}" in path:
            continue
        value = document
        for name in path.removeprefix("[].").split("."):
            if name not in value:
                missing.append(path)
                break
            value = value[name]
            if not isinstance(value, dict):
                break
    assert [path for path in missing if ".Health" not in path and ".IDMappings" not in path] == []


def test_events(podling: Podling) -> None:
    since = str(time.time())
    podling.ok("run", "--rm", "--name", "seen", NONE, IMAGE, "true")
    text = podling.ok(
        "events", "--since", since, "--stream=false", "--filter", "container=seen", "--format", "{{.Status}}"
    )
    assert text.split() == ["create", "init", "start", "died", "remove"]
    line = podling.ok("events", "--since", since, "--stream=false", "--filter", "event=died", "--format", "json")
    assert json.loads(line)["ContainerExitCode"] == 0
    assert podling.ok("events", "--since", since, "--stream=false", "--filter", "type=volume") == ""


def test_events_stream(podling: Podling) -> None:
    process = podling.background("events", "--format", "{{.Name}} {{.Status}}")
    time.sleep(0.5)
    podling.ok("create", "--name", "streamed", NONE, IMAGE)
    assert process.stdout and process.stdout.readline() == b"streamed create\n"


def test_ten_parallel_starts(podling: Podling) -> None:
    running = [podling.background("run", "-d", "--name", f"p{number}", NONE, IMAGE, *SLEEP) for number in range(10)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and len(out.strip()) == 64, err
    assert len(podling.ok("ps", "-q").split()) == 10


def test_two_removals_at_once(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, *SLEEP)
    running = [podling.background("rm", "-f", "-t", "0", "c") for _ in range(4)]
    for process in running:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert podling.ok("ps", "-aq") == ""
