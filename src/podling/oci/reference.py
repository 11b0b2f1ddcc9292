"""Names of images: `[registry/]repository[:tag][@digest]`, and digests.

Grammar: distribution/reference (the Docker reference grammar); normalisation as Podman's: `docker.io/library/`.
"""

from __future__ import annotations

from podling.errors import InvalidInput
from podling.oci.record import Record

_HEX = frozenset("0123456789abcdef")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_TAG = _WORD | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-")
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


def is_hex(text: str) -> bool:
    return bool(text) and _HEX.issuperset(text)


def check_digest(text: str) -> str:
    """`algorithm:hex` as image-spec's descriptor.md has it; InvalidInput otherwise."""
    algorithm, _, value = text.partition(":")
    if _LENGTHS.get(algorithm) != len(value) or not is_hex(value):
        raise InvalidInput(f"{text!r} is not a digest", hint="a digest looks like sha256: and 64 hexadecimal digits")
    return text


class Reference(Record):
    """A normalised or a short name. `registry` is "" for a short name; `tag` and `digest` are "" when absent."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """registry/repository."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def wire(self) -> str:
        """What a registry is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag

    def at(self, registry: str) -> Reference:
        """This short name at `registry`, with Docker Hub's `library/` for one-part names."""
        repository = self.repository
        if registry == "docker.io" and "/" not in repository:
            repository = "library/" + repository
        full = f"{registry}/{repository}"
        host, _, path = full.partition("/")
        return Reference(registry=host, repository=path, tag=self.tag, digest=self.digest)

    def tagged(self) -> Reference:
        """With `:latest` where neither tag nor digest is given."""
        if self.tag or self.digest:
            return self
        return Reference(registry=self.registry, repository=self.repository, tag="latest")


def _bad(text: str, why: str) -> InvalidInput:
    hint = "an image name looks like registry.example.com/team/app:tag"
    return InvalidInput(f"{text!r} is not an image name: {why}", hint=hint, cause="invalid reference format")


def parse(text: str) -> Reference:
    """Parse `text`; a first part with a dot, a colon or the name localhost is the registry."""
    text = text.removeprefix("docker://")
    rest, at, digest = text.partition("@")
    if at:
        check_digest(digest)
    head, slash, tail = rest.partition("/")
    registry = ""
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, rest = head, tail
    rest, colon, tag = rest.partition(":")
    if colon and (not tag or len(tag) > 128 or not _TAG.issuperset(tag) or tag[0] in ".-"):
        raise _bad(text, f"invalid tag {tag!r}")
    if not rest or len(rest) > 255:
        raise _bad(text, "empty or too long")
    if rest != rest.lower():
        raise _bad(text, "repository names are lower case")
    for part in rest.split("/"):
        inner = part.replace(".", "").replace("_", "").replace("-", "")
        if not _WORD.issuperset(inner) or not part or part[0] not in _WORD or part[-1] not in _WORD:
            raise _bad(text, f"invalid part {part!r}")
    if registry == "docker.io" and "/" not in rest:
        rest = "library/" + rest
    return Reference(registry=registry, repository=rest, tag=tag, digest=digest)
