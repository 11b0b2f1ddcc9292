"""User namespaces of root's containers: maps, owners of files, networks that belong to the namespace."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from tests.integration.conftest import IMAGE, Podling

MAPPED = "--uidmap=0:200000:5000"


def _map(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def test_root_inside_is_nobody_outside(podling: Podling) -> None:
    assert _map(podling.ok("run", "--rm", "--network=none", MAPPED, IMAGE, "cat", "/proc/self/uid_map")) == [
        0,
        200000,
        5000,
    ]
    podling.ok("run", "-d", "--name", "c", "--network=none", MAPPED, IMAGE, "sleep", "100")
    pid = podling.ok("inspect", "-f", "{{.State.Pid}}", "c")
    assert os.stat(f"/proc/{pid}").st_uid == 200000


def test_files_of_the_image_belong_to_root_inside(any_driver: Podling) -> None:
    any_driver.ok("pull", "-q", IMAGE)
    script = "stat -c %u:%g / /bin/busybox /etc/hosts /dev/shm; touch /made; stat -c %u /made"
    assert any_driver.ok("run", "--rm", "--network=none", MAPPED, IMAGE, "sh", "-c", script).split() == ["0:0"] * 4 + [
        "0"
    ]


def test_the_network_belongs_to_the_namespace(podling: Podling) -> None:
    script = "ip addr show eth0 | grep -c 'inet '; ip link set eth0 down && echo changed; ls -d /sys/class/net/eth0"
    done = podling.ok("run", "--rm", MAPPED, "--cap-add=NET_ADMIN", IMAGE, "sh", "-c", script)
    assert done.split() == ["1", "changed", "/sys/class/net/eth0"]


def test_volumes(podling: Podling, tmp_path: Path) -> None:
    assert (
        podling.ok("run", "--rm", "--network=none", MAPPED, "-v", "mapped:/v", IMAGE, "stat", "-c", "%u", "/v") == "0"
    )
    podling.ok("volume", "rm", "mapped")
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("x")
    folder = ("-v", f"{tmp_path}:/b")
    assert podling.ok("run", "--rm", "--network=none", MAPPED, *folder, IMAGE, "stat", "-c", "%u", "/b/file") == "65534"
    idmap = ("-v", f"{tmp_path}:/b:idmap")
    assert podling.ok("run", "--rm", "--network=none", MAPPED, *idmap, IMAGE, "stat", "-c", "%u", "/b/file") == "0"
    assert os.stat(tmp_path / "file").st_uid == 0
    given = ("-v", f"{tmp_path}:/b:U")
    assert podling.ok("run", "--rm", "--network=none", MAPPED, *given, IMAGE, "stat", "-c", "%u", "/b/file") == "0"
    assert os.stat(tmp_path / "file").st_uid == 200000


def test_what_comes_out_has_the_ids_inside(podling: Podling, tmp_path: Path) -> None:
    podling.ok("run", "--name", "c", "--network=none", MAPPED, IMAGE, "sh", "-c", "echo x >/new; chown 5:6 /new")
    assert podling.ok("diff", "c").splitlines()[-1] == "A /new"
    podling.ok("export", "-o", str(tmp_path / "c.tar"), "c")
    with tarfile.open(tmp_path / "c.tar") as tar:
        assert (tar.getmember("new").uid, tar.getmember("new").gid) == (5, 6)
    podling.ok("commit", "-q", "c", "localhost/mapped")
    assert podling.ok("run", "--rm", "--network=none", "localhost/mapped", "stat", "-c", "%u:%g", "/new") == "5:6"
    (tmp_path / "in").write_text("y")
    podling.ok("cp", str(tmp_path / "in"), "c:/in")
    podling.ok("start", "c")
    podling.ok("rmi", "localhost/mapped")


def test_auto_takes_what_nobody_has(podling: Podling) -> None:
    for name in ("one", "two"):
        podling.ok("run", "-d", "--name", name, "--network=none", "--userns=auto:size=300", IMAGE, "sleep", "100")
    one, two = (_map(podling.ok("exec", name, "cat", "/proc/self/uid_map")) for name in ("one", "two"))
    assert one[2] == two[2] == 300
    assert one[1] + 300 <= two[1]


def test_joining_the_namespace_of_another(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "first", "--network=none", MAPPED, IMAGE, "sleep", "100")
    same = ("--network=none", "--userns=container:first")
    assert podling.ok("run", "--rm", *same, IMAGE, "cat", "/proc/self/uid_map").split() == ["0", "200000", "5000"]
    podling.ok("create", "--name", "third", *same, IMAGE)
    assert "dependent" in podling.fails(125, "rm", "-f", "-t0", "first")
    podling.ok("rm", "-f", "-t0", "--depend", "first")


def test_nothing_of_it_is_left(podling: Podling) -> None:
    staged = "/run/podling-mapped"  # shared by every store of this user: others may have theirs in it
    ran = podling.ok("create", "--network=none", MAPPED, "-v", "/etc:/e:ro", IMAGE, "true")
    podling.ok("start", "-a", ran)
    assert ran[:32] not in os.listdir(staged)
    failed = podling.ok("create", "--network=none", MAPPED, IMAGE, "/nosuch")
    podling.fails(127, "start", failed)
    assert failed[:32] not in os.listdir(staged)
    running = podling.ok("run", "-d", "--network=none", MAPPED, IMAGE, "sleep", "100")
    assert running[:32] in os.listdir(staged)
    podling.ok("rm", "-f", "-t0", running)
    assert running[:32] not in os.listdir(staged)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--userns=keep-id"], "users other than root"),
        (["--userns=nosuch"], "unknown mode"),
        (["--uidmap=0:1"], ""),
        (["--uidmap=zero"], "CONTAINER_ID:HOST_ID"),
        (["--uidmap=0:1:10", "--uidmap=5:100:10"], "mapped twice"),
        (["--uidmap=0:1:10", "--uidmap=20:5:10"], "mapped twice"),
        (["--userns=auto", "--uidmap=0:1:10"], "conflict"),
        (["--userns=auto:size=x"], "invalid option"),
        (["--subuidname=nosuchuser"], "no entry in /etc/subuid"),
        (["--hostuser=nosuchuser"], "no such user"),
        (["--uidmap=0:200000:5000", "--group-add=keep-groups"], "keep-groups"),
    ],
)
def test_what_makes_no_sense(podling: Podling, flags: list[str], said: str) -> None:
    done = podling("create", "--network=none", *flags, IMAGE)
    if not said:
        assert done.returncode == 0
        return
    assert done.returncode == 125 and said in done.stderr
    assert podling.ok("ps", "-aq") == ""


def test_users_of_the_host(podling: Podling) -> None:
    text = podling.ok("run", "--rm", "--network=none", "--hostuser=nobody", IMAGE, "tail", "-1", "/etc/passwd")
    assert text.startswith("nobody:*:65534:")
    assert podling.ok("run", "--rm", "--network=none", "--group-add=keep-groups", IMAGE, "id", "-u") == "0"
