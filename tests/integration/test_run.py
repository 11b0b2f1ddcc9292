"""run: streams, exit codes, options and their effect inside the container."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling, eventually

NONE = "--network=none"


def inside(podling: Podling, *args: str) -> str:
    """Run `args` (options, then image and command are ours) and give what it printed."""
    *options, script = args
    return podling.ok("run", "--rm", NONE, *options, IMAGE, "sh", "-c", script)


def test_output_and_exit_code(podling: Podling) -> None:
    done = podling("run", "--rm", NONE, IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_standard_input(podling: Podling) -> None:
    data = os.urandom(300_000)
    done = subprocess.run(
        podling.argv("run", "--rm", "-i", NONE, IMAGE, "cat"), input=data, capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stdout == data


def test_input_only_with_interactive(podling: Podling) -> None:
    assert podling.ok("run", "--rm", NONE, IMAGE, "cat", input=b"not for you") == ""


def test_large_output_is_complete(podling: Podling) -> None:
    text = podling.ok("run", "--rm", NONE, IMAGE, "seq", "1", "200000")
    assert text.splitlines() == [str(number) for number in range(1, 200_001)]


def test_closed_pipe_ends_quietly(podling: Podling) -> None:
    command = " ".join(podling.argv("run", "--rm", NONE, IMAGE, "seq", "1", "100000")) + " | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60)
    assert done.stdout == b"1\n"
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "code"), [(["nosuchcommand"], 127), (["/nosuch/path"], 127), (["/etc/passwd"], 126), (["/etc"], 126)]
)
def test_commands_that_cannot_run(podling: Podling, command: list[str], code: int) -> None:
    podling.fails(code, "run", "--rm", NONE, IMAGE, *command)
    assert podling.ok("ps", "-aq") == ""


def test_failed_start_is_kept_without_rm(podling: Podling) -> None:
    podling.fails(127, "run", "--name", "broken", NONE, IMAGE, "nosuchcommand")
    assert podling.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}") == "broken Created"
    assert podling.ok("inspect", "-f", "{{.State.ExitCode}}", "broken") == "127"
    assert podling.mounts() == []


def test_environment(podling: Podling, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nFROM_FILE=1\nOVER=file\n")
    text = inside(podling, "-e", "A=b c", "-eOVER=flag", "--env-file", str(tmp_path / "env"), "--env", "HOME=/x", "env")
    lines = text.splitlines()
    assert {"A=b c", "FROM_FILE=1", "OVER=flag", "HOME=/x", "container=podling"} <= set(lines)
    assert any(line.startswith("HOSTNAME=") for line in lines)


def test_environment_passed_through(podling: Podling) -> None:
    done = podling(
        "run",
        "--rm",
        NONE,
        "-e",
        "PASS_ME",
        "-e",
        "WILD*",
        IMAGE,
        "env",
        env={"PASS_ME": "yes", "WILD_1": "one", "OTHER": "no"},
    )
    assert "PASS_ME=yes" in done.stdout and "WILD_1=one" in done.stdout and "OTHER" not in done.stdout


def test_hostname_workdir_user(podling: Podling) -> None:
    text = inside(
        podling, "--hostname", "box", "-w", "/tmp", "-u", "nobody:0", "hostname; pwd; id -u; id -g; cat /etc/hostname"
    )
    assert text.split() == ["box", "/tmp", "65534", "0", "box"]


def test_missing_workdir_and_user(podling: Podling) -> None:
    assert "does not exist" in podling.fails(125, "run", "--rm", NONE, "-w", "/nowhere", IMAGE, "pwd")
    assert "unable to find user nosuch" in podling.fails(125, "run", "--rm", NONE, "-u", "nosuch", IMAGE, "id")


def test_entrypoint(podling: Podling) -> None:
    assert podling.ok("run", "--rm", NONE, "--entrypoint", "echo", IMAGE, "a", "b") == "a b"
    assert podling.ok("run", "--rm", NONE, "--entrypoint", '["echo", "x y"]', IMAGE, "z") == "x y z"


def test_default_capabilities(podling: Podling) -> None:
    text = inside(podling, "grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status")
    assert "00000000800405fb" in text
    assert re.search(r"Seccomp:\s+2", text)
    assert re.search(r"NoNewPrivs:\s+0", text)


def test_capabilities_added_and_dropped(podling: Podling) -> None:
    assert (
        inside(podling, "--cap-drop=all", "--cap-add=net_raw,CHOWN", "grep CapEff /proc/self/status").split()[1]
        == "0000000000002001"
    )
    assert inside(podling, "-u", "nobody", "grep CapEff /proc/self/status").split()[1] == "0" * 16
    assert "both added and dropped" in podling.fails(
        125, "run", "--rm", NONE, "--cap-add=CHOWN", "--cap-drop=chown", IMAGE, "true"
    )
    assert "unknown capability" in podling.fails(125, "run", "--rm", NONE, "--cap-add=NOSUCH", IMAGE, "true")


def test_no_new_privileges(podling: Podling) -> None:
    assert re.search(
        r"NoNewPrivs:\s+1", inside(podling, "--security-opt", "no-new-privileges", "cat /proc/self/status")
    )


def test_labels_are_refused_where_they_would_be_set(podling: Podling) -> None:
    assert inside(podling, "--security-opt", "label=disable", "echo fine") == "fine"
    chosen = podling("create", "--security-opt", "label=type:x", NONE, IMAGE)
    if os.path.exists("/sys/fs/selinux/enforce"):
        assert chosen.returncode == 125 and "SELinux labels" in chosen.stderr
    else:
        assert chosen.returncode == 0


def test_seccomp_profiles(podling: Podling, tmp_path: Path) -> None:
    assert re.search(r"Seccomp:\s+0", inside(podling, "--security-opt", "seccomp=unconfined", "cat /proc/self/status"))
    profile = tmp_path / "profile.json"
    profile.write_text(
        json.dumps(
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
            }
        )
    )
    done = podling("run", "--rm", NONE, "--security-opt", f"seccomp={profile}", IMAGE, "mkdir", "/tmp/x")
    assert done.returncode == 1 and "not permitted" in done.stderr
    assert "no such profile" in podling.fails(
        125, "run", "--rm", NONE, "--security-opt", "seccomp=/nowhere", IMAGE, "true"
    )


def test_default_profile_refuses_what_podmans_does(podling: Podling) -> None:
    done = podling("run", "--rm", NONE, IMAGE, "unshare", "-m", "true")
    assert done.returncode == 1
    assert "denied" in done.stderr or "not permitted" in done.stderr


def test_masked_and_read_only_paths(podling: Podling) -> None:
    script = "cat /proc/kcore 2>/dev/null | head -c 1 | wc -c; (echo x > /proc/sys/kernel/domainname) 2>&1 | grep -c Read-only; touch /sys/x 2>&1 | grep -c Read-only"
    assert inside(podling, script).split() == ["0", "1", "1"]


def test_privileged(podling: Podling) -> None:
    text = inside(
        podling,
        "--privileged",
        "grep CapEff /proc/self/status; ls /dev | grep -c kmsg; mount -t tmpfs x /mnt 2>&1 || mkdir /mnt && mount -t tmpfs x /mnt && echo mounted",
    )
    words = text.split()
    assert int(words[1], 16) > 0x1FFFFFFFFF
    assert words[2] == "1" and words[-1] == "mounted"


def test_read_only(podling: Podling) -> None:
    assert inside(podling, "--read-only", "touch /x 2>&1 | grep -c Read-only; touch /tmp/ok && echo yes").split() == [
        "1",
        "yes",
    ]
    assert inside(podling, "--read-only", "--read-only-tmpfs=false", "touch /tmp/x 2>&1 | grep -c Read-only") == "1"


def test_tmpfs(podling: Podling) -> None:
    text = inside(
        podling, "--tmpfs", "/scratch:size=4m,mode=1770", "grep ' /scratch ' /proc/mounts; stat -c %a /scratch"
    )
    assert "size=4096k" in text and "noexec" in text and text.endswith("1770")


def test_bind_mounts(podling: Podling, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host")
    assert inside(podling, "-v", f"{tmp_path}:/data", "cat /data/file; echo new > /data/new") == "from the host"
    assert (tmp_path / "new").read_text() == "new\n"
    assert inside(podling, "-v", f"{tmp_path}:/data:ro", "touch /data/x 2>&1 | grep -c Read-only") == "1"
    assert inside(podling, "--mount", f"type=bind,src={tmp_path},dst=/m,ro", "ls /m").split() == ["file", "new"]
    assert "no such file or directory" in podling.fails(125, "run", "--rm", NONE, "-v", "/no/such:/x", IMAGE, "true")
    assert "must be absolute" in podling.fails(125, "run", "--rm", NONE, "-v", f"{tmp_path}:relative", IMAGE, "true")


def test_named_volume_is_filled_and_stays(podling: Podling) -> None:
    assert "busybox" in inside(podling, "-v", "tools:/bin", "ls /bin; echo kept > /bin/kept").split()
    assert inside(podling, "-v", "tools:/data", "cat /data/kept") == "kept"


def test_anonymous_volume_goes_with_rm(podling: Podling) -> None:
    volumes = Path(podling.root, "root", "volumes")
    before = set(volumes.glob("*"))
    inside(podling, "-v", "/anonymous", "echo x > /anonymous/x")
    assert set(volumes.glob("*")) == before


def test_limits(podling: Podling) -> None:
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us"
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; cut -d' ' -f1 /sys/fs/cgroup/cpu.max"
    assert inside(podling, "-m", "64m", "--pids-limit", "50", "--cpus", "0.5", script).split() == [
        str(64 << 20),
        "50",
        "50000",
    ]


def test_bad_limits(podling: Podling) -> None:
    for flags in (
        ["-m", "lots"],
        ["-m", "1k"],
        ["--cpus", "x"],
        ["--pids-limit", "many"],
        ["--ulimit", "nofile=2:1"],
        ["--cpus=1", "--cpu-quota=5"],
    ):
        podling.fails(125, "run", "--rm", NONE, *flags, IMAGE, "true")
    assert podling.ok("ps", "-aq") == ""


def test_ulimit_is_clamped_to_what_the_host_allows(podling: Podling) -> None:
    assert inside(podling, "--ulimit", "nofile=100:200", "ulimit -Sn; ulimit -Hn").split() == ["100", "200"]
    assert int(inside(podling, "ulimit -Hn")) > 1000


def test_init_reaps(podling: Podling) -> None:
    assert "podman-init" in inside(podling, "--init", "cat /proc/1/cmdline")


def test_labels_and_cidfile(podling: Podling, tmp_path: Path) -> None:
    cidfile = tmp_path / "cid"
    id = podling.ok("create", "--cidfile", str(cidfile), "--label", "a=1", "-l", "b", NONE, IMAGE, "true")
    assert cidfile.read_text() == id
    assert json.loads(podling.ok("inspect", "-f", "{{json .Config.Labels}}", id)) == {"a": "1", "b": ""}
    assert "container id file exists" in podling.fails(125, "create", "--cidfile", str(cidfile), NONE, IMAGE, "true")


def test_name_in_use_and_replace(podling: Podling) -> None:
    first = podling.ok("create", "--name", "one", NONE, IMAGE, "true")
    error = podling.fails(125, "create", "--name", "one", NONE, IMAGE, "true")
    assert "already in use" in error and first in error and "--replace" in error
    second = podling.ok("create", "--name", "one", "--replace", NONE, IMAGE, "true")
    assert podling.ok("ps", "-aq", "--no-trunc") == second


def test_name_of_a_removed_container_is_free_again(podling: Podling) -> None:
    for _ in range(2):
        podling.ok("run", "--rm", "--name", "again", NONE, IMAGE, "true")


def test_host_namespaces(podling: Podling) -> None:
    def space(kind: str) -> str:
        return os.readlink(f"/proc/self/ns/{kind}")

    text = podling.ok(
        "run",
        "--rm",
        "--network=host",
        "--pid=host",
        "--ipc=host",
        "--uts=host",
        IMAGE,
        "sh",
        "-c",
        "for n in net pid ipc uts mnt; do readlink /proc/self/ns/$n; done",
    )
    assert text.split()[:4] == [space("net"), space("pid"), space("ipc"), space("uts")]
    assert text.split()[4] != space("mnt")


def test_shared_namespaces(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "first", NONE, IMAGE, "sleep", "100")
    pid = podling.ok("inspect", "-f", "{{.State.Pid}}", "first")
    text = podling.ok(
        "run",
        "--rm",
        "--network=container:first",
        "--pid=container:first",
        "--ipc=container:first",
        IMAGE,
        "sh",
        "-c",
        "readlink /proc/self/ns/net; readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc",
    )
    assert text.split() == [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("net", "pid", "ipc")]


def test_rootfs(podling: Podling, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    subprocess.run(["cp", "/bin/busybox", tmp_path / "bin" / "busybox"], check=True)
    assert podling.ok("run", "--rm", NONE, "--rootfs", str(tmp_path), "/bin/busybox", "echo", "hello") == "hello"


def test_detached_and_signal(podling: Podling) -> None:
    id = podling.ok(
        "run",
        "-d",
        "--name",
        "bg",
        NONE,
        IMAGE,
        "sh",
        "-c",
        "trap 'echo got term; exit 3' TERM; while :; do sleep 0.1; done",
    )
    assert podling.ok("ps", "-q", "--no-trunc") == id
    assert podling.ok("stop", "bg") == "bg"
    assert podling.ok("wait", "bg") == "3"
    assert podling.ok("logs", "bg") == "got term"


def test_signals_are_passed_on(podling: Podling) -> None:
    process = podling.background(
        "run",
        "--rm",
        "--name",
        "sig",
        NONE,
        IMAGE,
        "sh",
        "-c",
        "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done",
    )
    assert process.stdout and process.stdout.readline() == b"ready\n"
    process.send_signal(10)
    assert process.wait(20) == 9


def test_killed_by_signal(podling: Podling) -> None:
    process = podling.background("run", "--rm", "--name", "victim", NONE, IMAGE, "sh", "-c", "echo ready; sleep 100")
    assert process.stdout and process.stdout.readline() == b"ready\n"
    podling.ok("kill", "victim")
    assert process.wait(20) == 137


def test_timeout_and_pidfile(podling: Podling, tmp_path: Path) -> None:
    start = time.monotonic()
    podling("run", "--rm", NONE, "--timeout", "1", "--pidfile", str(tmp_path / "pid"), IMAGE, "sleep", "30")
    assert time.monotonic() - start < 15
    assert int((tmp_path / "pid").read_text()) > 0


def test_log_drivers(podling: Podling, tmp_path: Path) -> None:
    assert podling.ok("run", "--rm", "--log-driver=passthrough", NONE, IMAGE, "echo", "direct") == "direct"
    podling.ok("run", "--name", "quiet", "--log-driver=none", NONE, IMAGE, "echo", "x")
    assert "keeps nothing to read" in podling.fails(125, "logs", "quiet")
    podling.ok("run", "--name", "path", "--log-opt", f"path={tmp_path}/log", NONE, IMAGE, "echo", "there")
    assert (tmp_path / "log").read_text().endswith("stdout F there\n")
    assert "invalid log driver" in podling.fails(125, "run", "--log-driver=nosuch", NONE, IMAGE, "true")


def test_other_runtimes(podling: Podling) -> None:
    if not Path("/usr/sbin/runc").exists() and not Path("/usr/bin/runc").exists():
        pytest.skip("runc is not installed")
    assert podling.ok("--runtime", "runc", "run", "--rm", NONE, IMAGE, "echo", "by runc") == "by runc"
    assert podling("--runtime", "runc", "run", "--rm", NONE, IMAGE, "nosuch").returncode == 127
    assert "no such program" in podling.fails(125, "--runtime", "/nowhere/run", "run", "--rm", NONE, IMAGE, "true")
    assert "apt install nosuchruntime" in podling.fails(
        125, "--runtime", "nosuchruntime", "run", "--rm", NONE, IMAGE, "true"
    )


def test_two_at_once(podling: Podling) -> None:
    running = [
        podling.background("run", "--rm", NONE, IMAGE, "sh", "-c", f"echo {number}; exit {number}")
        for number in range(8)
    ]
    for number, process in enumerate(running):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (number, f"{number}\n".encode()), err


def test_nothing_left_after_detached_rm(podling: Podling) -> None:
    podling.ok("run", "-d", "--rm", NONE, IMAGE, "true")
    eventually(lambda: podling.ok("ps", "-aq") == "" and podling.mounts() == [])


def test_a_start_imports_no_more_than_it_needs(podling: Podling) -> None:
    """Each of these modules costs a millisecond or more at every start of a container."""
    costly = {
        "re",
        "socket",
        "enum",
        "selectors",
        "signal",
        "typing",
        "subprocess",
        "contextlib",
        "dataclasses",
        "json",
        "tempfile",
    }
    own = podling("--version", env={"PYTHONPROFILEIMPORTTIME": "1"}).stderr
    baseline = {line.rpartition("|")[2].strip() for line in own.splitlines()}
    podling.ok("run", "--rm", NONE, IMAGE, "true")  # the first one of a store compiles the seccomp filter
    for network in ("none", "bridge"):
        done = podling("run", "--rm", f"--network={network}", IMAGE, "true", env={"PYTHONPROFILEIMPORTTIME": "1"})
        assert done.returncode == 0
        loaded = {
            line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")
        }
        assert "podling.core.launch" in loaded
        assert costly & (loaded - baseline) == set()
