"""The labels of processes and files, with a real policy. It is permissive: what is refused is the policy's matter, who is who is ours."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import IMAGE, Podling, podling, session_store

__all__ = ["podling", "session_store"]
pytestmark = pytest.mark.xdist_group("policy")
NONE = "--network=none"
SHOW = (IMAGE, "cat", "/proc/self/attr/current")


def _label(path: str) -> str:
    return os.getxattr(path, "security.selinux").rstrip(b"\0").decode()


def _level(label: str) -> str:
    return label.rstrip("\0").split(":", 3)[3]


_POLICY = """
(type container_t)
(roletype system_r container_t)
(typeattributeset domain (container_t))
(type container_file_t)
(roletype object_r container_file_t)
(typeattributeset file_type (container_file_t))
"""


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What Debian's policy lacks of containers."""
    path = tmp_path_factory.mktemp("policy") / "container.cil"
    path.write_text(_POLICY)
    subprocess.run(["semodule", "-i", str(path)], check=True, capture_output=True)


def test_a_policy_without_containers(podling: Podling) -> None:
    """As Debian's is: its lxc_contexts name types that nobody defined."""
    assert podling.ok("run", "--rm", NONE, IMAGE, "echo", "runs") == "runs"
    assert "does not know" in podling.fails(
        125, "run", "--rm", NONE, "--security-opt", "label=level:s0:c1,c2", IMAGE, "true"
    )


def test_every_container_has_categories_of_its_own(podling: Podling, policy: None) -> None:
    assert json.loads(podling.ok("info", "--format", "json"))["host"]["security"]["selinuxEnabled"]
    for name in ("one", "two"):
        podling.ok("run", "-d", "--name", name, NONE, IMAGE, "sleep", "1000")
    one, two = (
        podling.ok("inspect", "--format", "{{.ProcessLabel}} {{.MountLabel}}", name).split() for name in ("one", "two")
    )
    assert one[0].split(":")[2].startswith("container") and _level(one[0]) == _level(one[1]) != _level(two[0])
    assert podling.ok("exec", "one", "cat", "/proc/self/attr/current").rstrip("\0") == one[0]
    pid = podling.ok("inspect", "--format", "{{.State.Pid}}", "one")
    assert Path(f"/proc/{pid}/attr/current").read_text().rstrip("\0") == one[0]
    for path in ("bin/busybox", "etc/hosts", "dev/shm", "etc/resolv.conf", "run/.containerenv"):
        if os.path.exists(f"/proc/{pid}/root/{path}"):
            assert _label(f"/proc/{pid}/root/{path}") == one[1], path


def test_options(podling: Podling, policy: None) -> None:
    shown = podling.ok("run", "--rm", NONE, "--security-opt", "label=level:s0:c5,c9", *SHOW)
    assert _level(shown) == "s0:c5,c9"
    own = Path("/proc/self/attr/current").read_text().rstrip("\0").split(":")[2]
    for flags in (["--security-opt", "label=disable"], ["--privileged"], ["--pid=host"]):
        assert "container_t" not in podling.ok("run", "--rm", NONE, *flags, *SHOW), (flags, own)
    typed = podling.ok(
        "create", NONE, "--security-opt", "label=type:initrc_t", "--security-opt", "label=filetype:usr_t", IMAGE
    )
    labels = podling.ok("inspect", "--format", "{{.ProcessLabel}} {{.MountLabel}}", typed)
    assert ":initrc_t:" in labels and ":usr_t:" in labels
    assert "label=what" in podling.fails(125, "create", NONE, "--security-opt", "label=what", IMAGE)


def test_shared_namespaces_share_the_label(podling: Podling, policy: None) -> None:
    podling.ok("run", "-d", "--name", "first", NONE, IMAGE, "sleep", "1000")
    wanted = podling.ok("exec", "first", "cat", "/proc/self/attr/current")
    assert podling.ok("run", "--rm", NONE, "--ipc=container:first", *SHOW) == wanted
    podling.ok("pod", "create", "--name", "p", NONE)
    seen = {podling.ok("run", "--rm", "--pod", "p", *SHOW) for _ in range(2)}
    assert len(seen) == 1 and seen != {wanted}


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_volumes_and_mounts(podling: Podling, policy: None, tmp_path: Path, driver: str) -> None:
    for name in ("private", "shared", "left"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep/file").write_text("x")
    (tmp_path / "private/link").symlink_to("/etc/passwd")
    before = _label(str(tmp_path / "left/deep/file")), _label("/etc/passwd")
    mounts = [f"-v{tmp_path}/private:/p:Z", f"-v{tmp_path}/shared:/s:z", f"-v{tmp_path}/left:/l", "-vnamed:/n"]
    engine = podling
    if driver == "vfs":
        engine = Podling(str(tmp_path / "vfs"), "vfs")
        engine.ok("pull", "-q", IMAGE)
    engine.ok("run", "-d", "--name", "c", NONE, *mounts, IMAGE, "sleep", "1000")
    label = engine.ok("inspect", "--format", "{{.MountLabel}}", "c")
    assert _label(str(tmp_path / "private/deep/file")) == _label(str(tmp_path / "private")) == label
    shared = _label(str(tmp_path / "shared/deep/file"))
    assert _level(shared) == "s0" and shared.split(":")[2] == label.split(":")[2]
    assert (_label(str(tmp_path / "left/deep/file")), _label("/etc/passwd")) == before
    assert _label(engine.ok("volume", "inspect", "--format", "{{.Mountpoint}}", "named")) == shared
    pid = engine.ok("inspect", "--format", "{{.State.Pid}}", "c")
    assert _label(f"/proc/{pid}/root/bin/busybox") == label
    refused = engine.fails(125, "run", "--rm", NONE, "-v", "/etc:/e:z", IMAGE, "true")
    assert "relabeling" in refused and _label("/etc/passwd") == before[1]
    engine.ok("rm", "-f", "-t0", "-v", "c")
    engine.ok("volume", "rm", "named")
    if driver == "vfs":
        subprocess.run(["rm", "-rf", engine.root], check=True)
