"""registries.conf, auth files, policy.json: what they mean."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from podling.config import credentials, policy, registries
from podling.errors import InvalidInput
from podling.oci.reference import parse


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "registries.conf"
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(path))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF_DIR", str(tmp_path / "d"))
    (tmp_path / "d").mkdir()
    return path


def places(config: registries.Registries, name: str) -> list[str]:
    return [str(endpoint.reference) for endpoint in config.endpoints(parse(name).tagged())]


def test_mirrors_and_location(conf: Path) -> None:
    conf.write_text(
        """
        [[registry]]
        prefix = "example.com/team"
        location = "inner.example.net/other"
        [[registry.mirror]]
        location = "mirror1.example.net/m"
        insecure = true
        [[registry.mirror]]
        location = "mirror2.example.net"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "mirror3.example.net"
        pull-from-mirror = "tag-only"
        """
    )
    config = registries.load()
    assert places(config, "example.com/team/app:1") == [
        "mirror1.example.net/m/app:1", "mirror3.example.net/app:1", "inner.example.net/other/app:1",
    ]  # fmt: skip
    digest = "sha256:" + "a" * 64
    assert places(config, f"example.com/team/app@{digest}") == [
        f"mirror1.example.net/m/app@{digest}", f"mirror2.example.net/app@{digest}", f"inner.example.net/other/app@{digest}",
    ]  # fmt: skip
    assert places(config, "example.com/teams/app:1") == ["example.com/teams/app:1"]
    assert [endpoint.insecure for endpoint in config.endpoints(parse("example.com/team/app:1"))] == [True, False, False]
    assert len(config.endpoints(parse("example.com/team/app:1"), push=True)) == 1


def test_the_longest_prefix_counts_and_later_files_win(conf: Path) -> None:
    conf.write_text(
        '[[registry]]\nlocation = "example.com"\ninsecure = true\n'
        '[[registry]]\nprefix = "example.com/closed"\nlocation = "example.com/closed"\nblocked = true\n'
    )
    (conf.parent / "d/50.conf").write_text('[[registry]]\nlocation = "example.com"\n')
    config = registries.load()
    assert not config.endpoints(parse("example.com/open:1"))[0].insecure
    with pytest.raises(InvalidInput, match="blocked"):
        config.endpoints(parse("example.com/closed/x:1"))


def test_wildcards(conf: Path) -> None:
    conf.write_text(
        '[[registry]]\nprefix = "*.example.com"\ninsecure = true\n[[registry]]\nprefix = "*.io/x"\nlocation="here.net/y"\n'
    )
    config = registries.load()
    assert config.endpoints(parse("a.b.example.com/x:1"))[0].insecure
    assert not config.endpoints(parse("example.com/x:1"))[0].insecure
    assert places(config, "quay.io/x/app:1") == ["here.net/y/app:1"]
    assert places(config, "quay.io/xx/app:1") == ["quay.io/xx/app:1"]


def test_short_names(conf: Path) -> None:
    conf.write_text(
        'unqualified-search-registries = ["one.io", "docker.io"]\nshort-name-mode = "enforcing"\n[aliases]\n"app" = "two.io/real/app"\n'
    )
    config = registries.load()
    assert [str(name) for name in config.candidates(parse("app:3"))] == ["two.io/real/app:3"]
    assert [str(name) for name in config.candidates(parse("x"))] == ["one.io/x:latest", "docker.io/library/x:latest"]
    config.mode = "disabled"
    assert len(config.candidates(parse("app"))) == 2


def test_version_1(conf: Path) -> None:
    conf.write_text('[registries.search]\nregistries = ["one.io"]\n[registries.insecure]\nregistries = ["two.io"]\n')
    config = registries.load()
    assert config.search == ["one.io"] and config.is_insecure("two.io")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[registry]]\ninsecure = true\n", "neither prefix nor location"),
        ('[[registry]]\nprefix = "x.io"\n', "has no location"),
        ('[[registry]]\nprefix = "x.*.io"\nlocation = "y.io"\n', "a star stands only at the start"),
        ('short-name-mode = "odd"\n', "short-name-mode"),
        (
            '[[registry]]\nlocation = "x.io"\n[[registry.mirror]]\nlocation = "y.io"\npull-from-mirror = "odd"\n',
            "pull-from-mirror",
        ),
        ("unqualified-search-registries = [\n", "registries.conf"),
        ('unqualified-search-registries = []\n[registries.search]\nregistries = ["a"]\n', "mixes version 1"),
    ],
)
def test_bad_registries(conf: Path, text: str, words: str) -> None:
    conf.write_text(text)
    with pytest.raises(InvalidInput, match=words):
        registries.load()


# -- credentials
def entry(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def test_the_narrowest_key_counts(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text(
        json.dumps(
            {"auths": {"x.io": entry("a:1"), "x.io/team": entry("b:2"), "https://index.docker.io/v1/": entry("c:3")}}
        )
    )
    assert credentials.find("x.io", "team/app", str(path)) == ("b", "2")
    assert credentials.find("x.io", "other", str(path)) == ("a", "1")
    assert credentials.find("docker.io", "library/x", str(path)) == ("c", "3")
    assert credentials.find("y.io", "x", str(path)) is None


def test_store_and_remove(tmp_path: Path) -> None:
    path = str(tmp_path / "sub/auth.json")
    assert credentials.store("x.io", ("ann", "p:w"), path) == path
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert credentials.find("x.io", "", path) == ("ann", "p:w")
    assert credentials.remove("x.io", path)
    assert not credentials.remove("x.io", path)
    compat = str(tmp_path / "config.json")
    Path(compat).write_text('{"psFormat": "x"}')
    credentials.store("docker.io", ("bob", "s"), compat=compat)
    document = json.loads(Path(compat).read_text())
    assert list(document["auths"]) == ["https://index.docker.io/v1/"] and document["psFormat"] == "x"


def test_credential_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-fake"
    helper.write_text(
        f"""#!/bin/sh
        case "$1" in
          get) read host; [ -f {tmp_path}/kept ] || {{ echo "credentials not found"; exit 1; }}
               printf '{{"ServerURL":"%s","Username":"ann","Secret":"pw"}}' "$host";;
          store) cat > {tmp_path}/kept;;
          erase) rm {tmp_path}/kept;;
        esac
        """
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path = tmp_path / "auth.json"
    path.write_text('{"credHelpers": {"x.io": "fake", "y.io": "missing"}}')
    assert credentials.find("x.io", "app", str(path)) is None
    assert credentials.store("x.io", ("ann", "pw"), str(path)) == "docker-credential-fake"
    assert "pw" not in path.read_text()
    assert credentials.find("x.io", "app", str(path)) == ("ann", "pw")
    assert credentials.remove("x.io", str(path))
    assert credentials.find("x.io", "app", str(path), ["fake"]) is None
    with pytest.raises(Exception, match="docker-credential-missing is not installed"):
        credentials.find("y.io", "app", str(path))


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"x.io": {"auth": "%%"}}}'])
def test_bad_auth_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"auth\.json"):
        credentials.find("x.io", "app", str(path))


# -- policy.json
def requirements(tmp_path: Path, document: object, name: str) -> list[str]:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(document))
    found = policy.load(str(path))
    assert found
    reference = parse(name)
    scopes = policy.docker_scopes(reference.registry, reference.repository, reference.tag, reference.digest)
    return [item.type for item in found.requirements("docker", scopes)]


def test_the_narrowest_scope_counts(tmp_path: Path) -> None:
    anything, reject = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]
    document = {
        "default": reject,
        "transports": {
            "docker": {"x.io": anything, "x.io/team": reject, "x.io/team/app:1": anything, "*.example.com": anything}
        },
    }
    assert requirements(tmp_path, document, "x.io/team/app:1") == ["insecureAcceptAnything"]
    assert requirements(tmp_path, document, "x.io/team/app:2") == ["reject"]
    assert requirements(tmp_path, document, "x.io/other:1") == ["insecureAcceptAnything"]
    assert requirements(tmp_path, document, "a.b.example.com/x:1") == ["insecureAcceptAnything"]
    assert requirements(tmp_path, document, "example.com/x:1") == ["reject"]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"default": []},
        {"default": [{"type": "odd"}]},
        {"default": [{"type": "signedBy"}]},
        {"default": [{"type": "signedBy", "keyPath": "/x", "signedIdentity": {"type": "odd"}}]},
        {"default": [{"type": "reject"}], "extra": 1},
    ],
)
def test_bad_policies(tmp_path: Path, document: object) -> None:
    with pytest.raises(InvalidInput, match=r"policy\.json"):
        requirements(tmp_path, document, "x.io/a:1")
