"""image scp: an image from one host or user to another, as an archive through a pipe; over ssh, or sudo on this host."""

from __future__ import annotations

import subprocess

from podling.core import images
from podling.core.archives import load, save
from podling.errors import InvalidInput, PodlingError
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context

#: the engine on the other side: ours, or one that reads and writes the same archives
_ENGINES = "podling podman docker"


class Side(Record):
    """One end: `user` on this host, `host` over ssh (with `port`), or neither for our own store."""

    user: str = ""
    host: str = ""
    port: str = ""
    image: str = ""

    @property
    def is_here(self) -> bool:
        return not self.user and not self.host

    def argv(self, command: str) -> list[str]:
        """How to run a shell command there."""
        if self.host:
            return ["ssh", "-o", "BatchMode=yes", *(["-p", self.port] if self.port else []), "--", self.host, command]
        return ["sudo", "-n", "-H", "-u", self.user, "--", "sh", "-c", f"cd; {command}"]


def parse_side(text: str) -> Side:
    """`[HOST]::[IMAGE]`, `USER@localhost::[IMAGE]` or `IMAGE`."""
    place, colons, image = text.partition("::")
    if not colons:
        return Side(image=text)
    if place.startswith("ssh://"):
        rest, _, port = place.removeprefix("ssh://").rstrip("/").partition(":")
        return Side(host=rest, port=port, image=image)
    user, at, host = place.rpartition("@")
    if host == "localhost" and at:
        return Side(user=user, image=image)
    if place.startswith("-"):
        raise InvalidInput(f"{place!r} is no host")
    return Side(host=place, image=image)


def copy(ctx: Context, source_text: str, target_text: str) -> str:
    """Copy an image; the name that it has at the other end.

    Raises:
        InvalidInput: both ends are here, or no image is named. PodlingError: the other side failed.
    """
    source, target = parse_side(source_text), parse_side(target_text) if target_text else Side()
    if not source.image:
        raise InvalidInput("no image is named", hint="podling image scp IMAGE HOST::  or  HOST::IMAGE")
    if target.image and target_text and "::" not in target_text:
        raise InvalidInput(
            f"{target_text}: a destination ends with ::", hint=f"podling image scp {source_text} {target_text}::"
        )
    if source.is_here and target.is_here:
        raise InvalidInput("both ends are this store", hint="podling tag gives an image a further name")
    if source.is_here:
        images.find(ctx, source.image)
        return _send(ctx, source, target)
    if target.is_here:
        return _receive(ctx, source)
    return _relay(source, target)


def _script(verb: str, image: str = "") -> str:
    """The first engine that is there, and works for that user, runs the verb."""
    import shlex

    arguments = f"{verb} {shlex.quote(image)}" if image else verb
    return (
        f"for e in {_ENGINES}; do if command -v $e >/dev/null 2>&1 && $e images -q >/dev/null 2>&1; then exec $e {arguments}; fi; "
        'done; echo "no engine there that works" >&2; exit 127'
    )


def _send(ctx: Context, source: Side, target: Side) -> str:
    pipe = subprocess.PIPE
    process = subprocess.Popen(target.argv(_script("load")), stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin
    try:
        save(ctx, [source.image], fd=process.stdin.fileno())
        process.stdin.close()
        process.stdin = None
    except BrokenPipeError:
        process.stdin = None
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return _loaded(process)


def _receive(ctx: Context, source: Side) -> str:
    process = subprocess.Popen(
        source.argv(_script("save", source.image)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    try:
        names = load(ctx, fd=process.stdout.fileno())
    except PodlingError:
        process.kill()
        _, err = process.communicate()
        if err.strip():
            raise PodlingError(f"the other side failed: {_reason(err)}") from None
        raise
    process.communicate()
    return names[0]


def _relay(source: Side, target: Side) -> str:
    first = subprocess.Popen(source.argv(_script("save", source.image)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    second = subprocess.Popen(
        target.argv(_script("load")), stdin=first.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert first.stdout
    first.stdout.close()
    first.stdout = None
    name = _loaded(second)
    _, err = first.communicate()
    if first.returncode:
        raise PodlingError(f"the source failed: {_reason(err)}")
    return name


def _reason(err: bytes) -> str:
    """The error in what a program wrote to stderr, or its last line."""
    lines = err.decode("utf-8", "replace").strip().splitlines() or [""]
    return next((line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")), lines[-1])


def _loaded(process: subprocess.Popen[bytes]) -> str:
    out, err = process.communicate()
    if process.returncode:
        hint = "it needs podling, podman or docker in its PATH"
        raise PodlingError(f"the other side failed: {_reason(err) or f'exit code {process.returncode}'}", hint=hint)
    text = out.decode("utf-8", "replace").strip().splitlines()
    return text[-1].partition(":")[2].strip() if text else ""
