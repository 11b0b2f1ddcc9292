"""Manifest lists and artifacts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Podling
from .registry import Image, Registry, digest, index, layer

INSECURE = "--tls-verify=false"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = Registry(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


def image(text: bytes, arch: str = "amd64") -> Image:
    return Image([layer({"etc": None, "etc/greeting": text})], arch=arch)


def raw(name: str) -> dict[str, Any]:
    done = subprocess.run(["skopeo", "inspect", "--raw", INSECURE, f"docker://{name}"], capture_output=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def entries(podling: Podling, name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(podling.ok("manifest", "inspect", name))["manifests"]
    return found


def test_a_list_of_local_and_remote_images(fresh: Podling, registry: Registry) -> None:
    local, remote = image(b"local"), image(b"remote", "arm64")
    fresh.ok("pull", "-q", INSECURE, registry.push("one", "1", local))
    far = registry.push("two", "1", remote)
    id = fresh.ok("manifest", "create", "all:1", f"{registry.host}/one:1")
    assert len(id) == 64
    assert (
        fresh.ok("manifest", "add", INSECURE, "--annotation", "a=b", "--variant", "v8", "all:1", f"docker://{far}")
        == id
    )
    found = entries(fresh, "all:1")
    assert [entry["digest"] for entry in found] == [digest(local.manifest), digest(remote.manifest)]
    assert found[0]["platform"] == {"architecture": "amd64", "os": "linux"}
    assert found[1]["platform"] == {"architecture": "arm64", "os": "linux", "variant": "v8"}
    assert found[1]["annotations"] == {"a": "b"}
    pushed = fresh.ok("manifest", "push", "-q", INSECURE, "all:1", f"{registry.host}/all:1")
    assert pushed == ""
    assert [entry["digest"] for entry in raw(f"{registry.host}/all:1")["manifests"]] == [
        entry["digest"] for entry in found
    ]
    # podman and skopeo can take each image from it
    for arch, wanted in (("amd64", local), ("arm64", remote)):
        done = subprocess.run(
            ["skopeo", "inspect", "--override-arch", arch, "--config", "--raw", INSECURE, f"docker://{registry.host}/all:1"],
            capture_output=True, check=True,
        )  # fmt: skip
        assert digest(done.stdout) == f"sha256:{wanted.id}"
    assert fresh.ok("pull", "-q", INSECURE, "--arch", "arm64", f"{registry.host}/all:1") == remote.id
    assert fresh("manifest", "exists", "all:1").returncode == 0
    assert fresh("manifest", "exists", f"{registry.host}/one:1").returncode == 1
    assert fresh.ok("manifest", "rm", "all:1").splitlines() == ["Untagged: localhost/all:1", f"Deleted: {id}"]
    assert fresh.ok("image", "exists", f"{registry.host}/one:1") == ""


def test_run_takes_the_right_image_of_a_list(podling: Podling) -> None:
    podling.ok("manifest", "create", "runs:1", "localhost/busybox")
    assert podling.ok("run", "--rm", "--network=none", "runs:1", "echo", "hello") == "hello"
    listed = json.loads(podling.ok("images", "--format", "json", "runs"))
    assert listed[0]["IsManifestList"] is True
    podling.ok("rmi", "runs:1")
    assert podling.ok("image", "exists", "localhost/busybox") == ""


def test_indexes_as_members(fresh: Podling, registry: Registry) -> None:
    amd, arm = image(b"amd"), image(b"arm", "arm64")
    both = index({"linux/amd64": amd, "linux/arm64": arm})
    registry.push("multi", "arm", arm)
    registry._call("PUT", f"/v2/multi/manifests/{digest(arm.manifest)}", arm.manifest, arm.media_type)
    name = registry.push("multi", "1", amd, listed=both)
    fresh.ok("manifest", "create", "m:1")
    fresh.ok("manifest", "add", INSECURE, "m:1", name)
    assert len(entries(fresh, "m:1")) == 1
    fresh.ok("manifest", "add", INSECURE, "--arch", "arm64", "m:1", name)
    assert {entry["digest"] for entry in entries(fresh, "m:1")} == {digest(amd.manifest), digest(arm.manifest)}
    fresh.ok("manifest", "create", "--all", INSECURE, "m:2", name)
    assert len(entries(fresh, "m:2")) == 2
    assert "no image for linux/s390x" in fresh.fails(125, "manifest", "add", INSECURE, "--arch", "s390x", "m:1", name)


def test_annotate_and_remove(podling: Podling) -> None:
    podling.ok("manifest", "create", "--annotation", "top=1", "ann:1", "localhost/busybox")
    (entry,) = entries(podling, "ann:1")
    wanted = str(entry["digest"])
    podling.ok("manifest", "annotate", "--arch", "arm", "--os-features", "x,y", "--annotation", "k=v", "ann:1", wanted)
    (entry,) = entries(podling, "ann:1")
    assert entry["platform"] == {"architecture": "arm", "os": "linux", "os.features": ["x", "y"]}
    podling.ok("manifest", "annotate", "--index", "--annotation", "more=2", "ann:1")
    assert json.loads(podling.ok("manifest", "inspect", "ann:1"))["annotations"] == {"top": "1", "more": "2"}
    assert podling.ok("manifest", "remove", "ann:1", wanted).endswith(wanted)
    assert entries(podling, "ann:1") == []
    assert "there is no" in podling.fails(125, "manifest", "remove", "ann:1", wanted)
    podling.ok("manifest", "rm", "ann:1")


def test_amend_and_names_in_use(podling: Podling) -> None:
    id = podling.ok("manifest", "create", "amend:1")
    assert "already in use" in podling.fails(125, "manifest", "create", "amend:1")
    assert podling.ok("manifest", "create", "--amend", "amend:1", "localhost/busybox") == id
    assert "already in use" in podling.fails(125, "manifest", "create", "--amend", "localhost/busybox")
    assert "is an image, not a manifest list" in podling.fails(
        125, "manifest", "add", "localhost/busybox", "localhost/busybox"
    )
    assert "image not known" in podling.fails(125, "manifest", "rm", "nosuch:1")
    assert podling.ok("manifest", "rm", "--ignore", "nosuch:1") == ""
    podling.ok("manifest", "rm", "amend:1")
    podling.fails(125, "manifest", "create", "broken:1", "127.0.0.1:1/nothing:1")
    assert podling("manifest", "exists", "broken:1").returncode == 1


def test_add_compression_and_rm(podling: Podling, registry: Registry) -> None:
    podling.ok("manifest", "create", "comp:1", "localhost/busybox")
    podling.ok(
        "manifest", "push", "-q", INSECURE, "--rm", "--add-compression", "zstd", "comp:1", f"{registry.host}/comp:1"
    )
    manifests = raw(f"{registry.host}/comp:1")["manifests"]
    assert len(manifests) == 2
    assert manifests[1]["annotations"] == {"io.github.containers.compression.zstd": "true"}
    assert podling("manifest", "exists", "comp:1").returncode == 1


def test_a_list_in_a_layout(podling: Podling, tmp_path: Path) -> None:
    podling.ok("manifest", "create", "lay:1", "localhost/busybox")
    podling.ok("manifest", "push", "-q", "lay:1", f"oci:{tmp_path}/o:1")
    podling.ok("manifest", "push", "-q", "lay:1", f"dir:{tmp_path}/d")
    assert "cannot hold a manifest list" in podling.fails(
        125, "manifest", "push", "lay:1", f"docker-archive:{tmp_path}/x.tar"
    )
    wanted = podling.ok("images", "-q", "--no-trunc", "localhost/busybox").removeprefix("sha256:")
    for place in (f"oci:{tmp_path}/o:1", f"dir:{tmp_path}/d"):
        assert podling.ok("pull", "-q", place) == wanted
        subprocess.run(["skopeo", "inspect", place], check=True, capture_output=True)
    podling.ok("manifest", "rm", "lay:1")
    podling.ok("untag", wanted)
    podling.ok("tag", wanted, "localhost/busybox")


# -- artifacts
def test_an_artifact_goes_out_and_comes_back(fresh: Podling, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello\n")
    (tmp_path / "b.bin").write_bytes(os.urandom(300_000))
    name = f"{registry.host}/art:1"
    made = fresh.ok(
        "artifact",
        "add",
        "--type",
        "application/x.model",
        "--annotation",
        "k=v",
        name,
        str(tmp_path / "a.txt"),
        str(tmp_path / "b.bin"),
    )
    assert (
        fresh.ok("artifact", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}") == f"{name} {made}"
    )
    fresh.ok("artifact", "push", "-q", INSECURE, name)
    document = raw(name)
    assert document["artifactType"] == "application/x.model"
    assert [item["annotations"]["org.opencontainers.image.title"] for item in document["layers"]] == ["a.txt", "b.bin"]
    assert fresh.ok("artifact", "rm", made[:12]) == made
    assert os.listdir(f"{fresh.root}/root/artifacts/sha256") == []
    assert fresh.ok("artifact", "pull", "-q", INSECURE, name) == made
    (tmp_path / "out").mkdir()
    fresh.ok("artifact", "extract", name, str(tmp_path / "out"))
    assert (tmp_path / "out/b.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    fresh.ok("artifact", "extract", "--title", "a.txt", name, str(tmp_path / "single"))
    assert (tmp_path / "single").read_text() == "hello\n"
    assert "an artifact of type application/x.model" in fresh.fails(125, "pull", INSECURE, name)


def test_append_and_replace(podling: Podling, tmp_path: Path) -> None:
    for n in "123":
        (tmp_path / n).write_text(n)
    podling.ok("artifact", "add", "art:1", str(tmp_path / "1"))
    assert "already exists" in podling.fails(125, "artifact", "add", "art:1", str(tmp_path / "2"))
    podling.ok("artifact", "add", "--append", "--file-type", "text/x", "art:1", str(tmp_path / "2"))
    assert "has a file of that name" in podling.fails(125, "artifact", "add", "--append", "art:1", str(tmp_path / "2"))
    layers = json.loads(podling.ok("artifact", "inspect", "art:1"))["Manifest"]["layers"]
    assert [item["mediaType"] for item in layers] == ["text/plain; charset=utf-8", "text/x"]
    podling.ok("artifact", "add", "--replace", "art:1", str(tmp_path / "3"))
    assert len(json.loads(podling.ok("artifact", "inspect", "art:1"))["Manifest"]["layers"]) == 1
    assert "no such file" in podling.fails(125, "artifact", "add", "art:2", "/nonexistent").lower()
    podling.ok("artifact", "rm", "--all")
    assert podling.ok("artifact", "ls", "-n") == ""
    assert "does not exist" in podling.fails(125, "artifact", "rm", "art:1")
    assert podling.ok("artifact", "rm", "--ignore", "art:1") == ""


def test_a_hostile_title(fresh: Podling, registry: Registry, tmp_path: Path) -> None:
    data = b"evil"
    empty = b"{}"
    manifest = json.dumps(
        {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": "x/y",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(empty), "size": 2},
            "layers": [
                {"mediaType": "a/b", "digest": digest(data), "size": 4, "annotations": {"org.opencontainers.image.title": "../escaped"}}
            ],
        }
    ).encode()  # fmt: skip
    evil = image(b"x")
    evil.blobs, evil.manifest = {digest(data): data, digest(empty): empty}, manifest
    name = registry.push("evil", "1", evil)
    fresh.ok("artifact", "pull", "-q", INSECURE, name)
    (tmp_path / "out").mkdir()
    assert "hostile artifact" in fresh.fails(125, "artifact", "extract", name, str(tmp_path / "out"))
    assert sorted(os.listdir(tmp_path)) == ["out"]


def test_an_artifact_in_a_list(podling: Podling, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "sbom.json").write_text("{}")
    podling.ok("manifest", "create", "with:1", "localhost/busybox")
    podling.ok(
        "manifest", "add", "--artifact", "--artifact-type", "application/sbom", "with:1", str(tmp_path / "sbom.json")
    )
    podling.ok("manifest", "push", "-q", INSECURE, "with:1", f"{registry.host}/with:1")
    manifests = raw(f"{registry.host}/with:1")["manifests"]
    assert manifests[1]["artifactType"] == "application/sbom"
    member = raw(f"{registry.host}/with@{manifests[1]['digest']}")
    assert member["layers"][0]["size"] == 2
    podling.ok("manifest", "rm", "with:1")
