"""Short names, mirrors, login, search, tags: what happens before an image is fetched."""

from __future__ import annotations

import json
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Podling
from .registry import Image, Registry, layer, misbehaving, send

INSECURE = "--tls-verify=false"


def small(text: bytes) -> Image:
    return Image([layer({"etc": None, "etc/greeting": text})])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = Registry(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = Registry(tmp_path_factory.mktemp("other"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = Registry(tmp_path_factory.mktemp("secure"), tls=True, user="ann", password="s3cret")
    yield server
    server.stop()


@pytest.fixture
def conf(fresh: Podling, tmp_path: Path) -> Path:
    path = tmp_path / "registries.conf"
    fresh.env["CONTAINERS_REGISTRIES_CONF"] = str(path)
    return path


def rule(prefix: str, location: str, *mirrors: str, insecure: bool = True) -> str:
    text = f'[[registry]]\nprefix = "{prefix}"\nlocation = "{location}"\ninsecure = {str(insecure).lower()}\n'
    return text + "".join(f'[[registry.mirror]]\nlocation = "{mirror}"\ninsecure = true\n' for mirror in mirrors)


def test_a_mirror_serves(fresh: Podling, registry: Registry, other: Registry, conf: Path) -> None:
    image = small(b"mirrored")
    registry.push("m/app", "1", image)
    conf.write_text(rule("example.com/team", "127.0.0.1:1/gone", f"{other.host}/none", f"{registry.host}/m"))
    assert fresh.ok("pull", "-q", "--retry=0", "example.com/team/app:1") == image.id
    assert fresh.ok("images", "--format", "{{.Repository}}:{{.Tag}}") == "example.com/team/app:1"


def test_the_place_itself_when_no_mirror_can(fresh: Podling, registry: Registry, other: Registry, conf: Path) -> None:
    image = small(b"original")
    registry.push("real/app", "1", image)
    conf.write_text(rule("example.com/team", f"{registry.host}/real", f"{other.host}/none"))
    done = fresh("pull", "example.com/team/app:1")
    assert done.stdout.strip() == image.id
    assert f"The mirror {other.host}/none/app cannot serve it" in done.stderr


def test_push_goes_to_the_location(fresh: Podling, registry: Registry, conf: Path) -> None:
    conf.write_text(rule("example.com/team", f"{registry.host}/pushed"))
    fresh.ok("pull", "-q", "localhost/busybox")
    fresh.ok("push", "-q", "localhost/busybox", "example.com/team/bb:1")
    assert fresh.ok("search", INSECURE, "--list-tags", f"{registry.host}/pushed/bb", "--format", "{{.Tag}}") == "1"


def test_short_name_modes(fresh: Podling, registry: Registry, other: Registry, conf: Path) -> None:
    image = small(b"short")
    registry.push("shorty", "latest", image)
    search = f'unqualified-search-registries = ["{other.host}", "{registry.host}"]\n'
    servers = rule(registry.host, registry.host) + rule(other.host, other.host)
    conf.write_text(search + 'short-name-mode = "enforcing"\n' + servers)
    assert "cannot prompt without a TTY" in fresh.fails(125, "pull", "-q", "shorty")
    conf.write_text(search + 'short-name-mode = "permissive"\n' + servers)
    assert fresh.ok("pull", "-q", "shorty") == image.id
    fresh.ok("rmi", image.id)
    conf.write_text(search + f'[aliases]\n"shorty" = "{registry.host}/shorty"\n' + servers)
    assert fresh.ok("pull", "-q", "shorty") == image.id
    assert "was found nowhere" in fresh.fails(125, "pull", "-q", "nothing-of-that-name")


def test_a_person_is_asked(fresh: Podling, registry: Registry, other: Registry, conf: Path) -> None:
    image = small(b"asked")
    registry.push("asked", "latest", image)
    conf.write_text(
        f'unqualified-search-registries = ["{other.host}", "{registry.host}"]\nshort-name-mode = "enforcing"\n'
        + rule(registry.host, registry.host) + rule(other.host, other.host)
    )  # fmt: skip
    pid, fd = pty.fork()
    if not pid:
        os.execve(fresh.argv("x")[0], fresh.argv("pull", "asked"), fresh.env)
    os.write(fd, b"2\n")
    text = b""
    while True:
        try:
            piece = os.read(fd, 4096)
        except OSError:
            break
        if not piece:
            break
        text += piece
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, text
    assert b"Where to take the short name asked from?" in text
    assert image.id.encode() in text
    assert fresh.ok("image", "exists", f"{registry.host}/asked") == ""
    Path("/var/cache/containers/short-name-aliases.conf").unlink(missing_ok=True)


def test_all_tags(fresh: Podling, registry: Registry) -> None:
    first, second = small(b"1"), small(b"2")
    registry.push("tags", "one", first)
    registry.push("tags", "two", second)
    registry.push("tags", "three", second)
    assert set(fresh.ok("pull", "-q", "-a", INSECURE, f"{registry.host}/tags").split()) == {first.id, second.id}
    assert len(fresh.ok("images", "-n").splitlines()) == 3
    assert "without a tag" in fresh.fails(125, "pull", "-a", INSECURE, f"{registry.host}/tags:one")


def test_several_names_of_which_one_fails(fresh: Podling, registry: Registry) -> None:
    image = small(b"several")
    name = registry.push("several", "1", image)
    done = fresh("pull", "-q", INSECURE, f"{registry.host}/none:1", name)
    assert done.returncode == 125 and done.stdout.strip() == image.id and "none:1" in done.stderr


def test_policies(fresh: Podling, registry: Registry) -> None:
    old, new = small(b"old"), small(b"new")
    name = registry.push("moving", "1", old)
    assert "forbids to fetch" in fresh.fails(125, "pull", "--policy=never", name)
    fresh.ok("pull", "-q", INSECURE, name)
    registry.push("moving", "1", new)
    assert fresh.ok("pull", "-q", INSECURE, "--policy=missing", name) == old.id
    assert fresh.ok("pull", "-q", INSECURE, "--policy=newer", name) == new.id
    assert fresh.ok("images", "-a", "--format", "{{.ID}} {{.Repository}}", "--no-trunc").count("<none>") == 1
    assert "not one of" in fresh.fails(125, "pull", "--policy=odd", name)


def test_names_of_before(fresh: Podling) -> None:
    fresh.ok("pull", "-q", "localhost/busybox")
    fresh.ok("tag", "localhost/busybox", "once:1")
    fresh.ok("untag", "localhost/busybox", "once:1")
    assert "localhost/once:1" in fresh.ok("images", "--history")
    assert "localhost/once:1" in json.loads(fresh.ok("images", "--format", "json"))[0]["History"]


# -- login, search
def test_login(fresh: Podling, secure: Registry, tmp_path: Path) -> None:
    auth, flags = str(tmp_path / "auth.json"), ["--cert-dir", str(secure.folder)]
    image = small(b"secret")
    name = secure.push("app", "1", image)
    wrong = fresh("login", *flags, "--authfile", auth, "-u", "ann", "--password-stdin", secure.host, input=b"wrong\n")
    assert wrong.returncode == 125 and "invalid username/password" in wrong.stderr
    assert not os.path.exists(auth)
    assert (
        fresh.ok("login", *flags, "--authfile", auth, "-u", "ann", "--password-stdin", secure.host, input=b"s3cret\n")
        == "Login Succeeded!"
    )
    assert fresh.ok("login", "--authfile", auth, "--get-login", secure.host) == "ann"
    assert fresh.ok("pull", "-q", *flags, "--authfile", auth, name) == image.id
    assert fresh.ok("logout", "--authfile", auth, secure.host) == f"Removed login credentials for {secure.host}"
    assert "not logged into" in fresh.fails(125, "logout", "--authfile", auth, secure.host)
    assert "not logged into" in fresh.fails(125, "login", "--authfile", auth, "--get-login", secure.host)
    assert "access denied" in fresh.fails(125, "pull", "-q", *flags, "--authfile", auth, name)
    compat = str(tmp_path / "config.json")
    fresh.ok(
        "login", *flags, "--compat-auth-file", compat, "-u", "ann", "--password-stdin", secure.host, input=b"s3cret"
    )
    assert secure.host in json.loads(Path(compat).read_text())["auths"]
    assert "no terminal" in fresh.fails(125, "login", *flags, secure.host)
    assert "without a scheme" in fresh.fails(125, "login", "-u", "a", "-p", "b", f"https://{secure.host}")


def test_push_and_search_with_credentials(fresh: Podling, secure: Registry) -> None:
    fresh.ok("pull", "-q", "localhost/busybox")
    flags = ["--cert-dir", str(secure.folder), "--creds", "ann:s3cret"]
    name = f"{secure.host}/team/pushed:1"
    fresh.ok("push", "-q", *flags, "localhost/busybox", name)
    assert "access denied" in fresh.fails(125, "push", "-q", *flags[:2], "localhost/busybox", name)
    rows = fresh.ok("search", *flags, f"{secure.host}/push").splitlines()
    assert rows[0].split() == ["NAME", "DESCRIPTION"] and rows[1].strip() == f"{secure.host}/team/pushed"
    assert fresh.ok("search", *flags, "--list-tags", "--format", "json", f"{secure.host}/team/pushed") == json.dumps(
        [{"Name": f"{secure.host}/team/pushed", "Tags": ["1"]}], indent=4
    )


def test_search_results(fresh: Podling) -> None:
    results = [
        {
            "name": "alpine",
            "description": "A tiny image, with a long description that goes on and on",
            "star_count": 9,
            "is_official": True,
        },
        {"name": "team/alpine", "description": "", "star_count": 0},
    ]
    with misbehaving(small(b"x")) as server:
        server.rules["/v1/search"] = lambda handler: send(handler, 200, json.dumps({"results": results}).encode())
        fresh.env["CONTAINERS_REGISTRIES_CONF"] = "/dev/null"
        text = fresh.ok("search", INSECURE, "--compatible", f"{server.host}/alp")
        assert text.splitlines()[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL", "AUTOMATED"]
        assert "A tiny image, with a long description that g..." in text and "[OK]" in text
        assert len(fresh.ok("search", INSECURE, "--filter", "stars=1", f"{server.host}/alp").splitlines()) == 2
        assert len(fresh.ok("search", INSECURE, "-f", "is-official=true", f"{server.host}/alp").splitlines()) == 2
        assert (
            fresh.ok("search", INSECURE, "--limit", "1", "--format", "{{.Name}}", f"{server.host}/alp")
            == f"{server.host}/alpine"
        )
        assert "unknown key" in fresh.fails(125, "search", INSECURE, "-f", "odd=1", f"{server.host}/alp")
        assert "cannot be empty" in fresh.fails(125, "search", INSECURE, f"{server.host}/")
