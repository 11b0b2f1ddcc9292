"""The options of every command that talks to a registry: who we are, whom we trust, how often we try, which platform we want."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling
from .registry import Registry

NONE = "--network=none"


class Place:
    """A registry with TLS and a password, and the files that lead in."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry(folder, tls=True, user="me", password="pw")
        self.host = self.registry.host
        self.certs = folder / "certs"
        self.certs.mkdir()
        (self.certs / "ca.crt").write_bytes(self.registry.ca.read_bytes())
        self.auth = folder / "auth.json"
        self.trust = ("--cert-dir", str(self.certs))
        self.creds = ("--creds", "me:pw", *self.trust)
        self.file = ("--authfile", str(self.auth), *self.trust)
        self.patience = ("--retry", "1", "--retry-delay", "10ms")


@pytest.fixture
def place(tmp_path: Path, podling: Podling) -> Iterator[Place]:
    made = Place(tmp_path)
    podling.ok(
        "login",
        *made.trust,
        "--authfile",
        str(made.auth),
        "-u",
        "me",
        "--password-stdin",
        "--verbose",
        made.host,
        input=b"pw",
    )
    podling.ok("push", *made.creds, *made.patience, IMAGE, f"{made.host}/team/box:1")
    yield made
    made.registry.stop()


def test_login_and_logout(podling: Podling, place: Place, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pw")
    podling.ok("secret", "create", "regpw", str(tmp_path / "secret"))
    compat = tmp_path / "config.json"
    podling.ok(
        "login",
        *place.trust,
        "--tls-verify",
        "--secret",
        "regpw",
        "-u",
        "me",
        "--compat-auth-file",
        str(compat),
        place.host,
    )
    assert place.host in json.loads(compat.read_text())["auths"]
    podling.ok("logout", "--compat-auth-file", str(compat), place.host)
    assert place.host not in json.loads(compat.read_text()).get("auths", {})
    podling.ok("logout", "--authfile", str(place.auth), "--all")
    assert not json.loads(place.auth.read_text()).get("auths")
    podling.ok("secret", "rm", "regpw")


@pytest.mark.parametrize("way", ["file", "creds"])
def test_run_and_create(podling: Podling, place: Place, way: str) -> None:
    access = getattr(place, way)
    name = f"{place.host}/team/box:1"
    assert (
        podling.ok(
            "run",
            "--rm",
            NONE,
            "--pull=always",
            "-q",
            *access,
            *place.patience,
            "--os",
            "linux",
            "--arch",
            "amd64",
            name,
            "echo",
            "hi",
        )
        == "hi"
    )
    podling.ok("rmi", name)
    podling.ok("create", NONE, "-q", *access, "--tls-verify", "--platform", "linux/amd64", name, "true")
    podling.ok("rm", "-a")
    podling.ok("rmi", name)
    podling.ok("pull", "-q", *access, *place.patience, "--os", "linux", "--arch", "amd64", name)
    podling.ok("rmi", name)
    assert "access denied" in podling.fails(125, "pull", "-q", *place.trust, name)
    assert "certificate" in podling.fails(125, "pull", "-q", "--creds", "me:pw", "--retry", "0", name).lower()


def test_encrypted(podling: Podling, place: Place, tmp_path: Path) -> None:
    subprocess.run(["openssl", "genrsa", "-out", str(tmp_path / "key.pem"), "2048"], check=True, capture_output=True)
    subprocess.run(
        ["openssl", "rsa", "-in", str(tmp_path / "key.pem"), "-pubout", "-out", str(tmp_path / "pub.pem")],
        check=True,
        capture_output=True,
    )
    name = f"{place.host}/team/hidden:1"
    podling.ok("push", *place.file, "--encryption-key", f"jwe:{tmp_path}/pub.pem", IMAGE, name)
    podling.ok("run", "--rm", NONE, "-q", *place.creds, "--decryption-key", str(tmp_path / "key.pem"), name, "true")
    podling.ok("rmi", name)


@pytest.mark.parametrize("way", ["file", "creds"])
def test_artifacts(podling: Podling, place: Place, tmp_path: Path, way: str) -> None:
    access = getattr(place, way)
    (tmp_path / "weights").write_text("0.5")
    name = f"{place.host}/team/model:1"
    podling.ok("artifact", "add", name, str(tmp_path / "weights"))
    podling.ok("artifact", "push", "-q", *access, *place.patience, "--digestfile", str(tmp_path / "digest"), name)
    digest = (tmp_path / "digest").read_text()
    assert podling.ok("artifact", "inspect", "--format", "{{.Digest}}", name) == digest
    podling.ok("artifact", "rm", name)
    assert podling.ok("artifact", "pull", "-q", *access, *place.patience, name) == digest.partition(":")[2]
    layer = json.loads(podling.ok("artifact", "inspect", name))["Manifest"]["layers"][0]["digest"]
    podling.ok("artifact", "extract", "--digest", layer, name, str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "0.5"
    podling.ok("artifact", "rm", name)


@pytest.mark.parametrize("way", ["file", "creds"])
def test_manifest_lists(podling: Podling, place: Place, tmp_path: Path, way: str) -> None:
    access = getattr(place, way)
    name = f"{place.host}/team/list:1"
    podling.ok("manifest", "create", "localhost/list:1")
    podling.ok(
        "manifest", "add", *access, "--all", "--os", "linux", "--os-version", "6", "--features", "f1", "localhost/list:1",
        f"docker://{place.host}/team/box:1",
    )  # fmt: skip
    entry = json.loads(podling.ok("manifest", "inspect", "localhost/list:1"))["manifests"][0]
    assert entry["platform"]["os.version"] == "6" and entry["platform"]["os"] == "linux"
    podling.ok(
        "manifest",
        "annotate",
        "--os",
        "freebsd",
        "--os-version",
        "14",
        "--variant",
        "v9",
        "--features",
        "f2",
        "localhost/list:1",
        entry["digest"],
    )
    entry = json.loads(podling.ok("manifest", "inspect", "localhost/list:1"))["manifests"][0]
    assert (entry["platform"]["os"], entry["platform"]["os.version"], entry["platform"]["variant"]) == (
        "freebsd",
        "14",
        "v9",
    )
    podling.ok(
        "manifest", "push", "-q", *access, *place.patience, "--all", "--format", "oci", "--compression-format", "zstd", "--compression-level", "3",
        "--force-compression", "--remove-signatures", "--digestfile", str(tmp_path / "digest"), "localhost/list:1", f"docker://{name}",
    )  # fmt: skip
    assert (tmp_path / "digest").read_text().startswith("sha256:")
    podling.ok("manifest", "rm", "localhost/list:1")
    if way == "file":
        found = json.loads(
            podling.ok("manifest", "inspect", "--authfile", str(place.auth), "--tls-verify=false", f"docker://{name}")
        )
        assert len(found["manifests"]) == 1


def test_search(podling: Podling, place: Place) -> None:
    assert "team/box" in podling.ok(
        "search", "--no-trunc", "--authfile", str(place.auth), "--cert-dir", str(place.certs), f"{place.host}/box"
    )


def test_runlabel(podling: Podling, place: Place) -> None:
    podling.ok("create", "--name", "base", NONE, IMAGE, "true")
    podling.ok(
        "commit",
        "-q",
        "-c",
        'LABEL say="podling run --rm --network=none --name NAME IMAGE echo said"',
        "base",
        "localhost/labelled:1",
    )
    name = f"{place.host}/team/labelled:1"
    podling.ok("push", "-q", *place.creds, "localhost/labelled:1", name)
    podling.ok("rmi", "localhost/labelled:1")
    shown = podling.ok(
        "container", "runlabel", "--display", *place.creds, "--tls-verify", "--name", "mine", "--quiet", "say", name
    )
    assert "--name mine" in shown and name in shown
    podling.ok("rmi", name)
    shown = podling.ok("container", "runlabel", "--display", *place.file, "--replace", "say", name)
    assert "echo said" in shown
    podling.ok("rm", "-a")
    podling.ok("rmi", name)
