"""push: a stored image to a registry, or to a file or folder named by its transport."""

from __future__ import annotations

import os

from podling.core import images
from podling.core.access import push_client
from podling.core.copy import WriteOptions, write_image
from podling.core.options import RegistryAccess
from podling.errors import InvalidInput
from podling.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from podling.core.context import Context
    from podling.core.images import Image
    from podling.core.signing import Signers
    from podling.registry.transports import Place
    from podling.registry.writers import Destination, Written


def push(
    ctx: Context,
    name: str,
    target: str,
    access: RegistryAccess,
    options: WriteOptions,
    signers: Signers,
    *,
    compress: bool = False,
    remove_signatures: bool = False,
) -> str:
    """Push an image to `target`, or to its own name where that is ""; the digest of the manifest that was written.

    Raises:
        NoSuchImage, InvalidInput, AccessDenied, RegistryError.
    """
    from podling.registry.transports import split

    if not (target and split(target)):
        options.fill()
    options.check()
    image = images.find(ctx, name)
    if image.kind == "index":
        from podling.core.manifests import push_list

        return push_list(ctx, name, target, access, options, signers, all=True)
    place = split(target) if target else None
    if place:
        if compress and place.transport == "dir" and not options.compression:
            options.compression = "gzip"
        written = _to_file(ctx, image, place, options, signers, keep_signatures=not remove_signatures)
    else:
        written = _to_registry(ctx, image, target or name, access, options, signers)
    with ctx.db.write() as tx:
        tx.event("image", "push", image.id, target or name)
    return written.digest


def _to_registry(
    ctx: Context, image: Image, target: str, access: RegistryAccess, options: WriteOptions, signers: Signers
) -> Written:
    from podling.registry.writers import RegistryDestination

    reference = parse(target)
    if not reference.registry and target in (image.id, image.id[:12]):
        raise InvalidInput(f"{target} is an id, not a name to push to", hint="podling push ID REGISTRY/NAME:TAG")
    if not reference.registry:  # the local image's own name says where it belongs
        full = next((known for known in image.names if known in images.candidates(reference)), "")
        reference = parse(full) if full else reference
    if reference.registry == "localhost":
        raise InvalidInput(
            f"{reference}: localhost/ means images made here, it is no registry",
            hint=f"say where to: podling push {target} registry.example.com/{reference.repository}",
        )
    reference = reference.tagged()
    client, remote = push_client(reference, access)
    try:
        destination = RegistryDestination(client, remote)
        written = write_image(ctx, image, destination, options, [])
        signers.sign(ctx, written, reference, client=client, remote=remote)
        return written
    finally:
        client.close()


def _to_file(
    ctx: Context, image: Image, place: Place, options: WriteOptions, signers: Signers, *, keep_signatures: bool
) -> Written:
    with FileDestination(ctx, place) as destination:
        written = write_image(ctx, image, destination, options, archive_names(place))
        number = 0
        if keep_signatures and place.transport == "dir":
            for (body,) in ctx.db.rows(_SIGNATURES, image.id, written.digest):
                number += 1
                destination.signature(written.digest, bytes(body), number)
        name = parse(image.names[0]) if image.names else None
        signers.sign(ctx, written, name, destination=destination, number=number + 1)
        return written


#: simple signatures; sigstore's are kept as JSON, and have no place in a folder
_SIGNATURES = "SELECT body FROM signatures WHERE image_id=? AND digest=? AND substr(body, 1, 1) <> x'7b'"


def archive_names(place: Place) -> list[str]:
    """The name that an image gets in the file that `place` names."""
    if not place.name:
        return []
    if place.transport != "docker-archive":
        return [place.name]
    reference = parse(place.name)
    return [str((reference if reference.registry else reference.at("docker.io")).tagged())]


class FileDestination:
    """`with FileDestination(…) as destination:` finishes at the end, and leaves nothing after a failure."""

    def __init__(self, ctx: Context, place: Place, fd: int = -1) -> None:
        self._ctx = ctx
        self._place = place
        self._fd = fd

    def __enter__(self) -> Destination:
        from podling.registry import writers

        self._destination: Destination
        self._temporary = ""
        self._out = None
        transport, path = self._place.transport, self._place.path
        if transport == "dir":
            self._destination = writers.DirFolder(path)
        elif transport == "oci":
            self._destination = writers.LayoutFolder(path)
        elif transport in ("oci-archive", "docker-archive"):
            if path and os.path.exists(path) and not os.path.isfile(path):
                if os.path.isdir(path):
                    raise InvalidInput(f"{path} is a folder", hint=f"{transport}: writes a file")
            elif path:
                self._temporary = f"{path}.{os.getpid()}.part"
            try:
                self._out = open(self._temporary or path, "wb") if path else os.fdopen(os.dup(self._fd), "wb")
            except OSError as error:
                raise InvalidInput(f"{path}: {error.strerror}") from None
            scratch = self._ctx.settings.scratch
            os.makedirs(scratch, 0o700, exist_ok=True)
            kind = writers.LayoutTar if transport == "oci-archive" else writers.DockerTar
            self._destination = kind(self._out, scratch)
        else:
            raise InvalidInput(
                f"{transport}: cannot be written to", hint="use docker://, oci:, oci-archive:, docker-archive: or dir:"
            )
        return self._destination

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._destination.finish()
                if self._out:
                    self._out.close()
                if self._temporary:
                    os.rename(self._temporary, self._place.path)
                return
        except BaseException:
            self._undo()
            raise
        self._undo()

    def _undo(self) -> None:
        self._destination.abandon()
        if self._out:
            try:
                self._out.close()
            except OSError:
                pass
        if self._temporary and os.path.exists(self._temporary):
            os.unlink(self._temporary)


def read_fd(fd: int) -> Iterator[bytes]:
    """What can be read from a descriptor."""
    while piece := os.read(fd, 1 << 20):
        yield piece
