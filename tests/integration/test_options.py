"""Options of create and run with an effect of their own: descriptors, systemd, hooks, CDI devices, mounts, init, runlabel."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.conftest import IMAGE, Podling, eventually

RUN = ("run", "--rm", "--network=none")


def _with_fds(podling: Podling, script: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run podling from a shell that opens descriptors as `script` says."""
    line = f'"$@" {script}'
    return subprocess.run(
        ["bash", "-c", line, "sh", *podling.argv(*args)], capture_output=True, text=True, env=podling.env
    )


# -- descriptors
def test_preserved_descriptors(podling: Podling) -> None:
    done = _with_fds(
        podling, "3< <(echo three) 4< <(echo four)", *RUN, "--preserve-fds=2", IMAGE, "sh", "-c", "cat <&3; cat <&4"
    )
    assert done.stdout == "three\nfour\n", done.stderr
    done = _with_fds(
        podling, "6< <(echo six)", *RUN, "--preserve-fd=6", IMAGE, "sh", "-c", "cat <&6; readlink /proc/self/fd/*"
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "six"
    assert not [line for line in lines if podling.root in line], "nothing of the engine's own may be there"
    podling.ok("run", "-d", "--name", "c", "--network=none", IMAGE, "sleep", "100")
    assert (
        _with_fds(podling, "5< <(echo five)", "exec", "--preserve-fd=5", "c", "sh", "-c", "cat <&5").stdout == "five\n"
    )
    assert "not available" in podling.fails(125, *RUN, "--preserve-fds=2", IMAGE, "true")
    assert "--preserve-fd" in podling.fails(125, *RUN, "--preserve-fd=x", IMAGE, "true")


def test_sockets_of_systemd_are_passed_on(podling: Podling) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{podling.root}/activated")
        sock.listen()
        command = " ".join(
            f"'{word}'"
            for word in podling.argv(*RUN, IMAGE, "sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; readlink /proc/self/fd/3")
        )
        script = f"export LISTEN_FDS=1 LISTEN_PID=$$; exec {command} 3<&{sock.fileno()}"
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, env=podling.env, pass_fds=[sock.fileno()]
        )
    os.unlink(f"{podling.root}/activated")
    first, second = done.stdout.splitlines()
    assert first == "1 1" and second.startswith("socket:")


# -- systemd
def test_systemd_mode(podling: Podling) -> None:
    text = podling.ok(
        *RUN,
        "--systemd=always",
        "--shm-size-systemd=5m",
        IMAGE,
        "sh",
        "-c",
        "cat /proc/mounts; echo uuid=$container_uuid",
    )
    for target in ("/run", "/run/lock", "/tmp", "/var/log/journal"):
        line = next(line for line in text.splitlines() if f" {target} tmpfs " in line)
        assert "size=5120k" in line
    assert len(text.rpartition("uuid=")[2]) == 32
    assert " /var/log/journal " not in podling.ok(*RUN, IMAGE, "cat", "/proc/mounts")
    podling.ok("create", "--name", "s", "--network=none", IMAGE, "/sbin/init")
    document = json.loads(podling.ok("inspect", "s"))[0]
    assert document["Config"]["StopSignal"] == "SIGRTMIN+3" and document["Config"]["SystemdMode"] is True
    podling.ok("create", "--name", "n", "--network=none", "--systemd=false", IMAGE, "/sbin/init")
    assert json.loads(podling.ok("inspect", "n"))[0]["Config"]["SystemdMode"] is False
    assert "--systemd" in podling.fails(125, "create", "--systemd=maybe", IMAGE)


@pytest.mark.parametrize("mode", ["conmon", "container", "healthy", "ignore"])
def test_notifications(podling: Podling, tmp_path: Path, mode: str) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.settimeout(10)
        health = ["--health-cmd=test -e /ready", "--health-interval=1s"] if mode == "healthy" else []
        flags = ["-d", "--name", "c", "--network=none", f"--sdnotify={mode}", *health]
        done = podling("run", *flags, IMAGE, "sh", "-c", "touch /ready; sleep 100", env={"NOTIFY_SOCKET": path})
        assert done.returncode == 0, done.stderr
        if mode == "ignore":
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(4096)
            return
        text = sock.recv(4096).decode()
    document = json.loads(podling.ok("inspect", "c"))[0]
    assert document["Config"]["sdNotifySocket"] == path
    conmon = document["State"]["ConmonPid"]
    assert f"MAINPID={conmon}" in text
    assert ("READY=1" in text) == (mode != "container")


def test_notification_options_are_checked(podling: Podling) -> None:
    assert "--sdnotify" in podling.fails(125, "create", "--sdnotify=x", IMAGE)
    assert "healthcheck" in podling.fails(125, "create", "--sdnotify=healthy", IMAGE)


# -- hooks
def _hook(folder: Path, script: str, **document: object) -> None:
    program = folder / "hook.sh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    hook = {
        "version": "1.0.0",
        "hook": {"path": str(program)},
        "when": {"always": True},
        "stages": ["createRuntime"],
        **document,
    }
    (folder / "hook.json").write_text(json.dumps(hook))


def test_hooks_run_where_their_conditions_hold(podling: Podling, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _hook(tmp_path, f"cat >{out}")
    podling.ok("--hooks-dir", str(tmp_path), *RUN, IMAGE, "true")
    assert json.loads(out.read_text())["status"] in ("creating", "created")
    out.unlink()
    _hook(tmp_path, f"cat >{out}", when={"commands": ["^sh$"]})
    podling.ok("--hooks-dir", str(tmp_path), *RUN, IMAGE, "true")
    assert not out.exists()
    _hook(tmp_path, f"cat >{out}", when={"annotations": {"^want$": "^hook$"}}, stages=["poststop"])
    podling.ok("--hooks-dir", str(tmp_path), *RUN, "--annotation", "want=hook", IMAGE, "true")
    assert out.exists()


def test_a_precreate_hook_changes_the_specification(podling: Podling, tmp_path: Path) -> None:
    _hook(tmp_path, 'sed \'s/"HOOKED=no"/"HOOKED=yes"/\'', stages=["precreate"])
    assert podling.ok("--hooks-dir", str(tmp_path), *RUN, "-e", "HOOKED=no", IMAGE, "sh", "-c", "echo $HOOKED") == "yes"
    _hook(tmp_path, "exit 3", stages=["precreate"])
    assert "exit code 3" in podling.fails(126, "--hooks-dir", str(tmp_path), *RUN, IMAGE, "true")
    _hook(tmp_path, "sleep 100", stages=["precreate"], hook={"path": str(tmp_path / "hook.sh"), "timeout": 1})
    start = time.monotonic()
    assert "within 1 s" in podling.fails(126, "--hooks-dir", str(tmp_path), *RUN, IMAGE, "true")
    assert time.monotonic() - start < 20


def test_a_hook_that_fails_or_is_broken(podling: Podling, tmp_path: Path) -> None:
    _hook(tmp_path, "exit 1")
    podling.fails(126, "--hooks-dir", str(tmp_path), *RUN, IMAGE, "true")
    (tmp_path / "hook.json").write_text("{")
    assert "hook.json" in podling.fails(125, "--hooks-dir", str(tmp_path), *RUN, IMAGE, "true")
    _hook(tmp_path, "true", stages=["sometimes"])
    assert "sometimes" in podling.fails(125, "--hooks-dir", str(tmp_path), *RUN, IMAGE, "true")
    assert podling.ok("ps", "-aq") == ""


# -- CDI
def _cdi(folder: Path) -> None:
    device = {
        "name": "one",
        "containerEdits": {
            "env": ["CDI=yes"],
            "deviceNodes": [{"path": "/dev/cdi", "hostPath": "/dev/null"}],
            "mounts": [{"hostPath": "/etc/hostname", "containerPath": "/cdihost", "options": ["ro", "bind"]}],
        },
    }
    (folder / "vendor.json").write_text(
        json.dumps({"cdiVersion": "0.6.0", "kind": "vendor.com/dev", "devices": [device]})
    )
    gpu = "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: all\n  containerEdits:\n    env: [GPU=all]\n"
    (folder / "gpu.yaml").write_text(gpu)


def test_cdi_devices(podling: Podling, tmp_path: Path) -> None:
    _cdi(tmp_path)
    cdi = ("--cdi-spec-dir", str(tmp_path))
    text = podling.ok(
        *cdi,
        *RUN,
        "--device=vendor.com/dev=one",
        IMAGE,
        "sh",
        "-c",
        "echo $CDI; cat /cdihost; echo x >/dev/cdi && echo ok",
    )
    assert text.split() == ["yes", Path("/etc/hostname").read_text().strip(), "ok"]
    assert podling.ok(*cdi, *RUN, "--gpus=all", IMAGE, "sh", "-c", "echo $GPU") == "all"
    assert "vendor.com/dev=one" in podling.fails(125, *cdi, *RUN, "--device=vendor.com/dev=two", IMAGE, "true")
    assert "VENDOR/CLASS=NAME" in podling.fails(125, *cdi, *RUN, "--device=vendor=two", IMAGE, "true")
    (tmp_path / "broken.json").write_text("{")
    assert "broken.json" in podling.fails(125, *cdi, *RUN, "--device=vendor.com/dev=one", IMAGE, "true")


# -- mounts
def test_more_mounts(podling: Podling, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_text("below\n")
    podling.ok("volume", "create", "vol")
    podling.ok(*RUN, "-v", "vol:/v", IMAGE, "sh", "-c", "mkdir /v/deep; echo inner >/v/deep/file; ln -s /etc /v/out")
    assert podling.ok(*RUN, "--mount=type=volume,src=vol,dst=/m,subpath=deep", IMAGE, "cat", "/m/file") == "inner"
    assert (
        podling.ok(*RUN, "--mount=type=volume,src=vol,dst=/m,volume-subpath=deep", IMAGE, "cat", "/m/file") == "inner"
    )
    assert podling.fails(125, *RUN, "--mount=type=volume,src=vol,dst=/m,subpath=out/shadow", IMAGE, "true")
    podling.ok("volume", "rm", "vol")
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    overlay = f"{tmp_path}/sub:/m:O,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    podling.ok(*RUN, "-v", overlay, IMAGE, "sh", "-c", "echo new >/m/new")
    assert (tmp_path / "upper" / "new").read_text() == "new\n" and not (tmp_path / "sub" / "new").exists()


def test_artifact_mounts(podling: Podling, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("weights\n")
    (tmp_path / "card").write_text("text\n")
    podling.ok("artifact", "add", "localhost/one:1", str(tmp_path / "model"))
    podling.ok("artifact", "add", "localhost/two:1", str(tmp_path / "model"), str(tmp_path / "card"))
    assert podling.ok(*RUN, "--mount=type=artifact,src=localhost/one:1,dst=/m", IMAGE, "cat", "/m") == "weights"
    assert podling.ok(*RUN, "--mount=type=artifact,src=localhost/two:1,dst=/m", IMAGE, "ls", "/m").split() == [
        "card",
        "model",
    ]
    assert podling.ok(*RUN, "--mount=type=artifact,src=localhost/two:1,dst=/m,title=card", IMAGE, "cat", "/m") == "text"
    assert podling(*RUN, "--mount=type=artifact,src=localhost/one:1,dst=/m", IMAGE, "sh", "-c", "echo x >/m").returncode
    missing = podling.fails(125, *RUN, "--mount=type=artifact,src=localhost/none:1,dst=/m", IMAGE, "true")
    assert "localhost/none:1: artifact does not exist" in missing
    podling.ok("artifact", "rm", "localhost/one:1", "localhost/two:1")


def test_chroot_folders_get_the_managed_files(podling: Podling) -> None:
    text = podling.ok(
        *RUN, "--chrootdirs=/srv/root", IMAGE, "sh", "-c", "cat /srv/root/etc/hostname; cat /etc/hostname"
    )
    first, second = text.split()
    assert first == second


# -- init, and what waits
def test_init_makes_ready_and_start_begins(podling: Podling) -> None:
    podling.ok("create", "--name", "c", "--network=none", IMAGE, "sh", "-c", "echo begun")
    assert podling.ok("container", "init", "c") == "c"
    assert podling.ok("ps", "-a", "--format", "{{.State}}") == "initialized"
    assert json.loads(podling.ok("inspect", "c"))[0]["State"]["Pid"] > 0
    assert "already been created" in podling.fails(125, "container", "init", "c")
    assert podling.ok("start", "-a", "c") == "begun"
    podling.ok("container", "init", "c")
    podling.ok("stop", "c")
    assert podling.ok("ps", "-a", "--format", "{{.State}}") == "exited"
    podling.ok("container", "init", "c")
    assert "running" in podling.fails(2, "rm", "c")
    podling.ok("rm", "-f", "c")


def test_an_initialised_container_survives_nothing(podling: Podling) -> None:
    podling.ok("create", "--name", "c", "--network=none", IMAGE, "sleep", "100")
    podling.ok("container", "init", "c")
    pid = json.loads(podling.ok("inspect", "c"))[0]["State"]["Pid"]
    assert pid > 1
    os.kill(pid, 9)
    eventually(lambda: podling.ok("ps", "-a", "--format", "{{.State}}") == "exited")


def test_wait_for_the_first(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "long", "--network=none", IMAGE, "sleep", "100")
    podling.ok("run", "-d", "--name", "short", "--network=none", IMAGE, "sh", "-c", "sleep 0.3; exit 7")
    assert podling.ok("wait", "--exit-first-match", "long", "short") == "7"


def test_cleanup_removes_what_is_asked_for(podling: Podling) -> None:
    podling.ok("run", "--name", "c", "--network=none", IMAGE, "true")
    podling.ok("container", "cleanup", "--rm", "c")
    assert podling.ok("ps", "-aq") == ""
    assert "no such exec session" in podling.fails(
        125, "container", "cleanup", "--exec=abc", podling.ok("create", IMAGE)
    )


# -- runlabel
def test_runlabel(podling: Podling) -> None:
    podling.ok("create", "--name", "base", IMAGE)
    change = 'LABEL RUN="podman run --rm --network=none -e WHO=$NAME IMAGE echo from-label"'
    podling.ok("commit", "-q", "--change", change, "base", "localhost/labelled")
    shown = podling.ok("container", "runlabel", "--display", "RUN", "localhost/labelled")
    assert shown == "command: podman run --rm --network=none -e WHO=labelled localhost/labelled echo from-label"
    assert "cannot find the value of label" in podling.fails(125, "container", "runlabel", "NONE", "localhost/labelled")
    podling.ok("rm", "base")
    podling.ok("rmi", "localhost/labelled")


def test_seccomp_profile_of_an_image(podling: Podling) -> None:
    profile = json.dumps(
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}
    )
    label = ("--label", f"io.containers.seccomp.profile={profile}")
    assert podling(*RUN, *label, "--seccomp-policy=image", IMAGE, "mkdir", "/made").returncode == 1
    assert podling(*RUN, *label, IMAGE, "mkdir", "/made").returncode == 0
    assert "--seccomp-policy" in podling.fails(125, *RUN, "--seccomp-policy=x", IMAGE, "true")


def test_a_runtime_with_a_kernel_of_its_own(podling: Podling) -> None:
    """runsc, gVisor's: everything of a life but what needs processes of this kernel."""
    if not shutil.which("runsc"):
        pytest.skip("runsc is not installed")
    runsc = ("--runtime=runsc", "--runtime-flag=platform=ptrace")
    none = "--network=none"
    assert "gVisor" in podling.ok(*runsc, "run", "--rm", none, IMAGE, "dmesg")
    assert podling("run", *runsc, "--rm", none, IMAGE, "sh", "-c", "exit 7").returncode == 7
    podling.ok(*runsc, "run", "-d", "--name", "g", none, "-v", "data:/d", IMAGE, "sleep", "100")
    assert podling.ok(*runsc, "exec", "g", "sh", "-c", "echo in >/d/x; cat /d/x") == "in"
    assert "gVisor" in podling.ok(*runsc, "exec", "g", "dmesg")
    assert podling.ok("inspect", "--format", "{{.OCIRuntime}}", "g") == "runsc"
    podling.ok(*runsc, "stop", "-t", "1", "g")
    podling.ok(*runsc, "start", "g")
    podling.ok(*runsc, "rm", "-f", "-t", "0", "g")
    podling.ok("volume", "rm", "data")


def test_a_runtime_that_is_not_there(podling: Podling) -> None:
    assert "nosuch" in podling.fails(125, "--runtime=nosuch", "run", "--rm", "--network=none", IMAGE, "true")
    assert podling.ok("ps", "-aq") == ""
