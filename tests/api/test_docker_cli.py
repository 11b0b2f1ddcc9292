"""The real Docker CLI against our socket."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.conftest import Service
from tests.integration.conftest import IMAGE, Podling, eventually

pytestmark = [
    pytest.mark.skipif(not shutil.which("docker"), reason="no docker CLI here (apt install docker-cli or docker.io)"),
    pytest.mark.xdist_group("network"),
]
Docker = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def docker(docker_env: dict[str, str]) -> Docker:
    def run(*args: str, input: str | None = None, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", *args], input=input, capture_output=True, text=True, env=docker_env, timeout=40
        )
        assert code is None or done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


def test_run_in_the_foreground(docker: Docker) -> None:
    assert docker("run", "--rm", IMAGE, "echo", "hello").stdout == "hello\n"
    done = docker("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3", code=3)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert docker("run", "--rm", "-i", IMAGE, "cat", input="typed\n").stdout == "typed\n"
    assert docker("ps", "-aq").stdout == ""


def test_a_missing_image_is_pulled_and_told(docker: Docker) -> None:
    done = docker("run", "--rm", "127.0.0.1:1/nothing", "true", code=125)
    assert "Unable to find image '127.0.0.1:1/nothing:latest' locally" in done.stderr
    assert "127.0.0.1:1" in done.stderr.splitlines()[-3]


def test_life_of_a_container(docker: Docker) -> None:
    docker(
        "run",
        "-d",
        "--name",
        "web",
        "--label",
        "a=b",
        "-e",
        "A=1",
        "--memory",
        "64m",
        IMAGE,
        "sh",
        "-c",
        "echo up; sleep 100",
    )
    shown = docker("ps", "--filter", "label=a=b", "--format", "{{.Names}} {{.State}} {{.Image}}").stdout
    assert shown == f"web running {IMAGE}:latest\n"
    assert docker("ps", "-q", "--filter", "label=a=b", "--filter", "label=no").stdout == ""
    assert docker("logs", "web").stdout == "up\n"
    done = docker("exec", "web", "sh", "-c", "echo $A; echo e >&2; exit 4", code=4)
    assert (done.stdout, done.stderr) == ("1\n", "e\n")
    assert docker("exec", "-i", "web", "cat", input="through\n").stdout == "through\n"
    assert "sleep 100" in docker("top", "web").stdout
    assert docker("top", "web", "-o", "pid,args").stdout.splitlines()[0].split() == ["PID", "COMMAND"]
    assert docker("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "web").stdout == "web 1\n"
    docker("update", "--memory", "80m", "--memory-swap", "160m", "web")
    assert docker("inspect", "-f", "{{.HostConfig.Memory}}", "web").stdout == f"{80 << 20}\n"
    docker("pause", "web")
    assert docker("inspect", "-f", "{{.State.Status}}", "web").stdout == "paused\n"
    docker("unpause", "web")
    docker("rename", "web", "web2")
    assert "/etc" in docker("diff", "web2").stdout
    assert docker("restart", "-t", "0", "web2").stdout == "web2\n"
    docker("rm", "web2", code=1)
    docker("kill", "web2")
    assert docker("wait", "web2").stdout == "137\n"
    docker("start", "web2")
    docker("stop", "-t", "0", "web2")
    docker("rm", "web2")
    assert "no such container" in docker("inspect", "--type", "container", "web2", code=1).stderr.lower()


def test_files_go_in_and_out(docker: Docker, tmp_path: Path) -> None:
    docker("create", "--name", "box", IMAGE, "sleep", "100")
    (tmp_path / "in").write_text("content")
    docker("cp", str(tmp_path / "in"), "box:/tmp/renamed")
    docker("start", "box")
    assert docker("exec", "box", "cat", "/tmp/renamed").stdout == "content"
    docker("exec", "box", "sh", "-c", "mkdir -p /d/e; echo x > /d/e/f; ln -s /etc/passwd /d/link")
    docker("cp", "box:/d", str(tmp_path / "out"))
    assert (tmp_path / "out" / "e" / "f").read_text() == "x\n"
    assert os.readlink(tmp_path / "out" / "link") == "/etc/passwd"
    docker("cp", "box:/nothing", str(tmp_path), code=1)
    docker("export", "-o", str(tmp_path / "all.tar"), "box")
    assert b"renamed" in (tmp_path / "all.tar").read_bytes()
    docker("rm", "-f", "box")


def test_mounts_ports_and_networks(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("from the host\n")
    docker("network", "create", "--subnet", "10.91.0.0/24", "--label", "x=y", "inner")
    docker("volume", "create", "--label", "x=y", "kept")
    docker(
        "run", "-d", "--name", "srv", "--network", "inner", "--network-alias", "server", "--ip", "10.91.0.9", "-p", "127.0.0.1::80",
        "-v", f"{tmp_path}:/www:ro", "--mount", "type=volume,source=kept,target=/kept", "--tmpfs", "/scratch:size=1m",
        "--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE", "--ulimit", "nofile=100:200", "--shm-size", "2m", "--restart",
        "on-failure:2", "--health-cmd", "true", "--health-interval", "30s", "--hostname", "served", "--add-host", "me:10.0.0.1",
        "--dns", "10.91.0.1", "--sysctl", "net.ipv4.ip_forward=0", "--init", "--stop-signal", "KILL", "--workdir", "/www",
        IMAGE, "httpd", "-f", "-p", "80", "-h", "/www",
    )  # fmt: skip
    host = docker("port", "srv", "80").stdout.strip()
    assert host.startswith("127.0.0.1:")
    got = subprocess.run(["curl", "-sm3", f"http://{host}/page"], capture_output=True, text=True)
    assert got.stdout == "from the host\n"
    assert (
        docker("run", "--rm", "--network", "inner", IMAGE, "wget", "-qO-", "http://server/page").stdout
        == "from the host\n"
    )
    shown = docker(
        "inspect", "-f",
        "{{.Config.Hostname}} {{.HostConfig.RestartPolicy.MaximumRetryCount}} {{(index .NetworkSettings.Networks \"inner\").IPAddress}} "
        "{{(index .HostConfig.Ulimits 0).Soft}} {{len .Mounts}} {{.State.Health.Status}}", "srv",
    ).stdout.split()  # fmt: skip
    assert shown[:3] == ["served", "2", "10.91.0.9"] and shown[4] == "2" and shown[5] in ("starting", "healthy")
    assert (
        docker("exec", "srv", "sh", "-c", "hostname; pwd; ulimit -n; grep -c me /etc/hosts").stdout
        == "served\n/www\n100\n1\n"
    )
    assert "srv" in docker("network", "inspect", "-f", "{{range .Containers}}{{.Name}}{{end}}", "inner").stdout
    docker("network", "rm", "inner", code=1)
    docker("network", "disconnect", "inner", "srv")
    docker("network", "connect", "bridge", "srv")
    docker("rm", "-f", "srv")
    docker("network", "rm", "inner")
    assert docker("volume", "ls", "-q", "--filter", "label=x=y").stdout == "kept\n"
    docker("volume", "rm", "kept")
    assert "bridge" in docker("network", "ls", "--format", "{{.Name}}").stdout.split()


def test_images(docker: Docker, tmp_path: Path) -> None:
    assert IMAGE in docker("images", "--format", "{{.Repository}}").stdout.split()
    docker("tag", IMAGE, "team/web:1")
    assert docker("inspect", "-f", "{{len .RepoTags}}", "team/web:1").stdout == "2\n"
    docker("save", "-o", str(tmp_path / "web.tar"), "team/web:1")
    assert "Untagged: docker.io/team/web:1" in docker("rmi", "team/web:1").stdout.replace(
        "Untagged: team", "Untagged: docker.io/team"
    )
    assert "Loaded image: docker.io/team/web:1" in docker("load", "-i", str(tmp_path / "web.tar")).stdout
    assert docker("history", "-q", "team/web:1").stdout
    docker("rmi", "team/web:1")
    docker("create", "--name", "c", IMAGE, "true")
    docker("commit", "-m", "why", "-c", "ENV A=b", "c", "made:2")
    assert docker("inspect", "-f", "{{.Config.Env}}", "made:2").stdout.count("A=b") == 1
    docker("rm", "c")
    docker("rmi", "made:2")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_text("x")
    subprocess.run(["tar", "-C", str(tmp_path / "root"), "-cf", str(tmp_path / "root.tar"), "."], check=True)
    docker("import", "-c", 'CMD ["/file"]', str(tmp_path / "root.tar"), "imported:1")
    assert docker("inspect", "-f", "{{.Config.Cmd}}", "imported:1").stdout == "[/file]\n"
    docker("rmi", "imported:1")


def test_a_terminal(service: Service, docker: Docker, docker_env: dict[str, str]) -> None:
    """A shell on a terminal: its size, a resize, what is typed, and leaving it with ctrl-p ctrl-q."""
    leader, follower = pty.openpty()
    subprocess.run(["stty", "rows", "33", "cols", "111"], stdin=follower, check=True)
    process = subprocess.Popen(
        ["docker", "run", "-it", "--name", "term", IMAGE, "sh"], stdin=follower, stdout=follower, stderr=follower, env=docker_env,
        start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 15
        while text not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([leader], [], [], 0.1)[0]:
                seen += os.read(leader, 4096)

    until(b"# ")
    eventually(lambda: "33 111" in docker("exec", "term", "sh", "-c", "stty size < /dev/pts/0").stdout)
    os.write(leader, b"echo $((6*7))\n")
    until(b"42")
    os.write(leader, b"\x10\x11")
    assert process.wait(10) == 0
    os.close(leader)
    assert docker("inspect", "-f", "{{.State.Running}}", "term").stdout == "true\n"
    docker("rm", "-f", "term")


def test_following_logs_ends_with_the_container(docker: Docker) -> None:
    docker("run", "-d", "--name", "talk", IMAGE, "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert docker("logs", "-f", "talk").stdout == "1\n2\n3\n"
    assert docker("logs", "--tail", "1", "-t", "talk").stdout.endswith("Z 3\n") or docker(
        "logs", "-n1", "-t", "talk"
    ).stdout.endswith(" 3\n")
    docker("rm", "talk")


def test_events_and_the_engine(docker: Docker, podling: Podling) -> None:
    docker("run", "--rm", "--name", "short", IMAGE, "true")
    time.sleep(1.1)  # the client asks for whole seconds
    done = docker("events", "--since", "1m", "--until", "0s", "--filter", "container=short", "--format", "{{.Action}}")
    assert [action for action in done.stdout.split() if action in ("create", "start", "die", "destroy")] == [
        "create",
        "start",
        "die",
        "destroy",
    ]
    assert docker("info", "-f", "{{.Driver}}").stdout.strip() in ("overlay", "vfs")
    assert docker("version", "-f", "{{.Server.APIVersion}}").stdout == "1.44\n"
    assert "Images" in docker("system", "df").stdout
    docker("container", "prune", "-f")
    docker("network", "prune", "-f")
    docker("image", "prune", "-f")
    docker("volume", "prune", "-f")
    assert "swarm" in docker("node", "ls", code=1).stderr
