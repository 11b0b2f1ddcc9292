"""commit, diff, image mount, prune, tree, rmi: what a container changed, and what images are made of."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling

NONE = "--network=none"
SCRIPT = (
    "mkdir /new; echo one > /new/f; ln /new/f /new/g; ln -s f /new/l; rm /etc/group; rm -r /home; mkdir /home; touch /home/z; "
    "chmod 711 /root; echo x > /etc/passwd; mkfifo /new/p; touch '/new/with space'"
)
CHANGES = {
    "C /etc", "D /etc/group", "C /etc/passwd", "C /home", "A /home/z", "A /new", "A /new/f", "A /new/g", "A /new/l", "A /new/p",
    "A /new/with space", "C /root",
}  # fmt: skip


def config_of(podling: Podling, name: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(podling.ok("image", "inspect", name))[0]
    return document


def test_diff_and_commit(any_driver: Podling) -> None:
    any_driver.ok("pull", "-q", IMAGE)
    any_driver.ok("run", "--name", "c", NONE, IMAGE, "sh", "-c", SCRIPT)
    assert set(any_driver.ok("diff", "c").splitlines()) == CHANGES
    groups = json.loads(any_driver.ok("container", "diff", "--format", "json", "c"))
    assert groups["deleted"] == ["/etc/group"] and "/new/f" in groups["added"] and "/root" in groups["changed"]
    id = any_driver.ok("commit", "-q", "c", "made:1")
    assert set(any_driver.ok("image", "diff", "made:1").splitlines()) == CHANGES
    text = any_driver.ok(
        "run", "--rm", NONE, "made:1", "sh", "-c",
        "cat /new/g /new/l; ls /home; stat -c %a /root; stat -c %h /new/f; test -p /new/p && echo fifo; test -e /etc/group || echo gone",
    )  # fmt: skip
    assert text.split() == ["one", "one", "z", "711", "2", "fifo", "gone"]
    assert config_of(any_driver, "made:1")["Id"] == id
    # the layer is a tar that another tool reads
    any_driver.ok("save", "-q", "-o", f"{any_driver.root}/made.tar", "made:1")
    subprocess.run(["skopeo", "inspect", f"docker-archive:{any_driver.root}/made.tar"], check=True, capture_output=True)


def test_diff_between_two_things(podling: Podling) -> None:
    podling.ok("run", "--name", "c", NONE, IMAGE, "sh", "-c", "echo a > /a; rm /etc/group")
    podling.ok("commit", "-q", "c", "two:1")
    assert set(podling.ok("image", "diff", "two:1", IMAGE).splitlines()) >= {"A /a", "D /etc/group", "C /etc"}
    assert set(podling.ok("diff", IMAGE, "two:1").splitlines()) >= {"D /a", "A /etc/group"}
    assert podling.ok("diff", "two:1", "two:1") == ""
    assert "no such container or image" in podling.fails(125, "diff", "nothing-here")
    podling.ok("rm", "c")
    podling.ok("rmi", "two:1")


def test_commit_options(podling: Podling, tmp_path: Path) -> None:
    podling.ok(
        "create", "--name", "c", NONE, "-v", "/data", "-e", "A=1", "--label", "l=v", "-w", "/tmp", IMAGE, "sleep", "9"
    )
    podling.ok(
        "commit", "-q", "-a", "Ann", "-m", "why", "--include-volumes", "-c", 'CMD ["echo","hi"]', "-c", "EXPOSE 80", "--iidfile",
        str(tmp_path / "id"), "c", "opt:1",
    )  # fmt: skip
    document = config_of(podling, "opt:1")
    config: dict[str, object] = document["Config"]  # type: ignore[assignment]
    assert document["Author"] == "Ann" and document["Comment"] == "why"
    assert (
        config["Cmd"] == ["echo", "hi"]
        and config["Volumes"] == {"/data": {}}
        and config["ExposedPorts"] == {"80/tcp": {}}
    )
    assert config["WorkingDir"] == "/tmp" and config["Labels"] == {"l": "v"} and "A=1" in config["Env"]  # type: ignore[operator]
    assert (tmp_path / "id").read_text() == f"sha256:{document['Id']}"
    podling.ok("commit", "-q", "-f", "docker", "c", "opt:2")
    assert config_of(podling, "opt:2")["ManifestType"] == "application/vnd.docker.distribution.manifest.v2+json"
    (tmp_path / "config.json").write_text('{"User": "nobody"}')
    podling.ok("commit", "-q", "--config", str(tmp_path / "config.json"), "c", "opt:3")
    assert config_of(podling, "opt:3")["User"] == "nobody"
    assert "not JSON" in podling.fails(125, "commit", "--config", "/etc/passwd", "c", "opt:4")
    assert "not one of oci, docker" in podling.fails(125, "commit", "-f", "odd", "c", "opt:4")
    assert "no such container" in podling.fails(125, "commit", "nosuch", "opt:4")
    podling.ok("rm", "-v", "c")
    podling.ok("rmi", "opt:1", "opt:2", "opt:3")


def test_squash(podling: Podling) -> None:
    podling.ok("run", "--name", "c", NONE, IMAGE, "sh", "-c", "rm /etc/group; echo x > /added")
    podling.ok("commit", "-q", "--squash", "c", "flat:1")
    document = config_of(podling, "flat:1")
    assert len(document["RootFS"]["Layers"]) == 1 and len(document["History"]) == 1  # type: ignore[index,arg-type]
    assert set(podling.ok("image", "diff", "flat:1", IMAGE).splitlines()) == {"C /etc", "D /etc/group", "A /added"}
    podling.ok("rm", "c")
    podling.ok("rmi", "flat:1")


def test_commit_of_a_running_container(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, "-v", "vol-of-c:/data", "--tmpfs", "/scratch", IMAGE, "sh", "-c",
               "echo v > /data/f; echo t > /scratch/f; echo k > /kept; sleep 100")  # fmt: skip
    id = podling.ok("commit", "-q", "--pause", "c")
    assert podling.ok("inspect", "-f", "{{.State.Status}}", "c") == "running"
    path = Path(podling.ok("image", "mount", id))
    assert (path / "kept").exists() and not (path / "data/f").exists() and not (path / "scratch/f").exists()
    podling.ok("image", "unmount", id)
    podling.ok("rm", "-f", "-t", "0", "-v", "c")
    podling.ok("rmi", id)


# -- image mount
def test_image_mount(any_driver: Podling) -> None:
    any_driver.ok("pull", "-q", IMAGE)
    path = any_driver.ok("image", "mount", IMAGE)
    assert (Path(path) / "bin/busybox").exists()
    with pytest.raises(OSError, match="Read-only"):
        (Path(path) / "x").write_text("x")
    assert any_driver.ok("image", "mount", IMAGE) == path
    (row,) = json.loads(any_driver.ok("image", "mount", "--format", "json"))
    assert row["mountpoint"] == path and row["Repositories"] == ["localhost/busybox:latest"]
    any_driver.ok("image", "unmount", IMAGE)
    assert any(line.split()[4] == path for line in Path("/proc/self/mountinfo").read_text().splitlines())
    assert "is mounted" in any_driver.fails(2, "rmi", IMAGE)
    any_driver.ok("image", "unmount", IMAGE)
    assert not os.path.exists(path)
    assert "is not mounted" in any_driver.fails(125, "image", "unmount", IMAGE)
    any_driver.ok("image", "mount", "--all")
    any_driver.ok("rmi", "-f", IMAGE)
    assert any_driver.mounts() == []


# -- prune, rmi, tree
def test_prune(fresh: Podling, tmp_path: Path) -> None:
    fresh.ok("pull", "-q", IMAGE)
    fresh.ok("create", "--name", "c", NONE, IMAGE)
    dangling = fresh.ok("commit", "-q", "c")
    fresh.ok("commit", "-q", "-c", "LABEL keep=1", "c", "named:1")
    done = fresh("image", "prune", input=b"n\n")
    assert "WARNING! This command removes all dangling images." in done.stdout
    assert fresh.ok("images", "-q", "--filter", "dangling=true") == dangling[:12]
    assert fresh("image", "prune", input=b"y\n").stdout.splitlines()[-1].endswith(dangling)
    assert fresh.ok("image", "prune", "-f") == ""
    assert fresh.ok("image", "prune", "-a", "-f", "--filter", "label!=keep=1") == ""
    fresh.ok("image", "prune", "-a", "-f")
    assert fresh.ok("images", "--format", "{{.Repository}}") == "localhost/busybox"
    fresh.ok("rm", "c")
    fresh.ok("image", "prune", "-a", "-f", "--filter", "until=24h")
    assert fresh.ok("images", "-q") != ""
    fresh.ok("image", "prune", "-af")
    assert fresh.folders()["layers"] == []


def test_rmi_takes_dangling_parents_along(fresh: Podling) -> None:
    def chain() -> str:
        fresh.ok("pull", "-q", IMAGE)
        fresh.ok("run", "--name", "a", NONE, IMAGE, "touch", "/a")
        middle = fresh.ok("commit", "-q", "a")
        fresh.ok("run", "--name", "b", NONE, middle, "touch", "/b")
        fresh.ok("commit", "-q", "b", "top:1")
        fresh.ok("rm", "a", "b")
        return middle

    middle = chain()
    fresh.ok("rmi", "--no-prune", "top:1")
    assert fresh.ok("images", "-aq", "--filter", "dangling=true") == middle[:12]
    fresh.ok("rmi", middle)
    middle = chain()
    assert f"Deleted: {middle}" in fresh.ok("rmi", "top:1")
    assert fresh.ok("images", "-aq", "--filter", "dangling=true") == ""
    assert fresh.ok("image", "exists", IMAGE) == ""


def test_tree(podling: Podling) -> None:
    podling.ok("run", "--name", "c", NONE, IMAGE, "touch", "/x")
    podling.ok("commit", "-q", "c", "tree:1")
    lines = podling.ok("image", "tree", "tree:1").splitlines()
    assert lines[1] == "Tags:     [localhost/tree:1]" and lines[3] == "Image Layers"
    assert lines[4].startswith("├── ID: ") and "localhost/busybox:latest]" in lines[4]
    assert lines[5].startswith("└── ID: ") and lines[5].endswith("Top Layer of: [localhost/tree:1]")
    built = podling.ok("image", "tree", "--whatrequires", IMAGE).splitlines()
    assert built[4].startswith("└── ID: ") and built[5].startswith("    └── ID: ")
    podling.ok("rm", "c")
    podling.ok("rmi", "tree:1")


def test_filters(podling: Podling) -> None:
    podling.ok("create", "--name", "c", NONE, IMAGE)
    podling.ok("commit", "-q", "-c", "LABEL color=red", "c", "red:1")
    podling.ok("rm", "c")

    def names(*filters: str) -> str:
        return podling.ok("images", "--format", "{{.Repository}}", *(f"--filter={text}" for text in filters))

    assert names("label=color=red") == "localhost/red"
    assert "localhost/red" not in names("label!=color=red")
    assert names("reference!=localhost/red:1", "reference=localhost/*") == "localhost/busybox"
    assert names("after=localhost/busybox") == "localhost/red"
    assert names("readonly=true") == "" and names("manifest=true") == ""
    podling.ok("rmi", "red:1")
