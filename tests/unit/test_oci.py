"""References, images, times, records, JSON."""

from __future__ import annotations

import json as standard
from typing import Any, ClassVar

import pytest

from podling.errors import BadArchive, InvalidInput
from podling.oci import image, json, times
from podling.oci.record import Record
from podling.oci.reference import parse

SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("alpine", ("", "alpine", "", "")),
        ("alpine:3.19", ("", "alpine", "3.19", "")),
        ("docker.io/alpine", ("docker.io", "library/alpine", "", "")),
        ("localhost/a/b:c", ("localhost", "a/b", "c", "")),
        ("localhost:5000/a", ("localhost:5000", "a", "", "")),
        (f"quay.io/a/b@{SHA}", ("quay.io", "a/b", "", SHA)),
        (f"quay.io/a/b:1@{SHA}", ("quay.io", "a/b", "1", SHA)),
        ("docker://quay.io/x", ("quay.io", "x", "", "")),
        ("user/app__x-y.z", ("", "user/app__x-y.z", "", "")),
    ],
)
def test_references(text: str, parts: tuple[str, ...]) -> None:
    found = parse(text)
    assert (found.registry, found.repository, found.tag, found.digest) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "a:",
        "a:b:c",
        "a//b",
        "/a",
        "a/",
        "-a",
        "a@sha256:12",
        "a b",
        "a:" + "t" * 129,
        "localhost/",
        "a@" + SHA + "x",
    ],
)
def test_bad_references(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)


def test_normalisation() -> None:
    assert str(parse("alpine").at("docker.io").tagged()) == "docker.io/library/alpine:latest"
    assert str(parse("me/app:1").at("quay.io")) == "quay.io/me/app:1"
    assert str(parse("app").at("example.com/team")) == "example.com/team/app"


def test_chain_ids() -> None:
    """The example of image-spec's config.md: ChainID(A|B) = Digest(ChainID(A) + " " + DiffID(B))."""
    first, second = image.chain_ids([SHA, "sha256:" + "b" * 64])
    assert first == SHA and second == image.digest_of(f"{SHA} sha256:{'b' * 64}".encode())


def test_choosing_a_platform() -> None:
    def entry(arch: str, variant: str = "", os: str = "linux") -> dict[str, Any]:
        return {
            "mediaType": image.OCI_MANIFEST,
            "digest": image.digest_of(f"{arch}{variant}{os}".encode()),
            "size": 1,
            "platform": {"os": os, "architecture": arch, "variant": variant},
        }

    document = standard.dumps(
        {"manifests": [entry("arm", "v6"), entry("arm", "v7"), entry("amd64"), entry("unknown", "", "unknown")]}
    ).encode()

    def chosen(text: str) -> str:
        return image.choose(document, image.parse_platform(text), "x").digest

    assert chosen("linux/arm/v7") == image.digest_of(b"armv7linux")
    assert chosen("linux/arm/v6") == image.digest_of(b"armv6linux")
    assert chosen("x86_64") == image.digest_of(b"amd64linux")
    with pytest.raises(InvalidInput, match=r"linux/arm/v6, linux/arm/v7, linux/amd64$"):
        chosen("linux/s390x")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"rootfs": {}}', b'{"rootfs": {"diff_ids": ["nope"]}}'])
def test_bad_configurations(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        image.parse_config(data)


def test_bad_manifests() -> None:
    with pytest.raises(BadArchive, match="schema 1"):
        image.parse_manifest(b'{"schemaVersion": 1}', "")
    with pytest.raises(BadArchive, match="unknown media type"):
        image.parse_manifest(b"{}", "text/html")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("2026-01-02T03:04:05Z", 1767323045),
        ("2026-01-02T03:04:05+01:00", 1767319445),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
        ("soon", 0),
    ],
)
def test_times(text: str, seconds: int) -> None:
    assert times.parse_time(text) == seconds * 10**9


def test_times_round_trip() -> None:
    assert times.format_time(times.parse_time("2026-01-02T03:04:05.000000006Z")) == "2026-01-02T03:04:05.000000006Z"
    assert times.format_time(0) == "0001-01-01T00:00:00Z"


class Inner(Record):
    value: int = 0


class Outer(Record):
    nested: ClassVar[dict[str, type[Record]]] = {"inner": Inner, "several": Inner}

    name: str
    words: list[str] = []
    inner: Inner | None = None
    several: list[Inner] = []


def test_records() -> None:
    first, second = Outer(name="a"), Outer(name="a")
    first.words.append("x")
    assert second.words == [] and first != second
    full = Outer(name="b", inner=Inner(value=3), several=[Inner(), Inner(value=1)])
    assert full.to_json() == {"name": "b", "inner": {"value": 3}, "several": [{}, {"value": 1}]}
    assert Outer.from_json({**full.to_json(), "from_the_future": 1}) == full
    with pytest.raises(TypeError):
        Outer()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Outer(name="a", nmae="b")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "value", [None, True, 1, -2.5, "", 'quote " back \\ nl \n \u2028 é', [], [1, [2]], {}, {"a": {"b": [None]}}]
)
def test_json(value: Any) -> None:
    text = json.dumps(value)
    assert standard.loads(text) == value and json.loads(text) == value and json.loads(f" {text}\n".encode()) == value
    for indent in (1, 4):
        assert json.pretty(value, indent) == standard.dumps(value, indent=indent, ensure_ascii=False)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nul", "{} x", '{"a" 1}', "\x00"])
def test_bad_json(text: str) -> None:
    with pytest.raises(ValueError):
        json.loads(text)
