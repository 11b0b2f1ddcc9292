"""Fetching an image from its registry."""

from __future__ import annotations

import os

from podling.core import images
from podling.core.default_image import DEFAULT_IMAGE, make_default_image
from podling.core.imagestore import store_image
from podling.errors import AccessDenied, BadArchive, DigestMismatch, InvalidInput, NoSuchImage, NotFound, RegistryError
from podling.oci.image import (
    DOCKER_CONFIG,
    INDEXES,
    OCI_CONFIG,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    choose,
    host_platform,
    parse_manifest,
    parse_platform,
)
from podling.oci.reference import Reference, parse
from podling.state.database import now
from podling.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.core.context import Context
    from podling.core.imagestore import Source
    from podling.registry.client import Client

_PARTIAL_DAYS = 7
_SMALL_BLOB = 1 << 20


def pull(
    ctx: Context,
    name: str,
    policy: str = "always",
    platform: str = "",
    creds: str = "",
    authfile: str = "",
    tls_verify: bool | None = None,
    cert_dir: str = "",
    retries: int = 3,
) -> str:
    """Fetch an image from its registry; its id. `policy`: always, missing, never, newer.

    Raises:
        NotFound, AccessDenied, RegistryError, DigestMismatch, InvalidInput, StorageFull: nothing is stored then.
    """
    if policy not in ("always", "missing", "never", "newer"):
        raise InvalidInput(f"--pull {policy!r}: not one of always, missing, never, newer")
    local = None if policy == "always" else images.lookup(ctx, name)
    wanted = parse_platform(platform) if platform else host_platform()
    if local and (policy in ("missing", "never")) and _same_platform(local.platform, wanted, explicit=bool(platform)):
        return local.id
    if policy == "never":
        raise NoSuchImage(name, hint="--pull=never forbids to fetch it")
    reference = parse(name)
    if str(reference.tagged()) == DEFAULT_IMAGE:
        return make_default_image(ctx)
    if reference.registry == "localhost":
        raise NoSuchImage(name, hint="localhost/ means images made here; `podling images` lists them")
    ctx.recover()
    from podling.config import registries

    config = registries.load()
    errors: list[str] = []
    for candidate in config.candidates(reference):
        try:
            return _pull_one(ctx, candidate, config, wanted, creds, authfile, tls_verify, cert_dir, retries)
        except (NotFound, AccessDenied, RegistryError) as error:
            if isinstance(error, DigestMismatch) or len(config.candidates(reference)) == 1:
                if local and policy == "newer":
                    return local.id
                raise
            errors.append(f"{candidate}: {error.message}")
    raise NotFound(f"{name} was found nowhere: {'; '.join(errors)}", hint="give the full name with its registry")


def _same_platform(stored: str, wanted: Platform, *, explicit: bool) -> bool:
    parts = stored.split("/")
    return not explicit or parts[:2] == [wanted.os, wanted.architecture]


def _pull_one(
    ctx: Context,
    reference: Reference,
    config: Any,
    wanted: Platform,
    creds: str,
    authfile: str,
    tls_verify: bool | None,
    cert_dir: str,
    retries: int,
) -> str:
    from podling.config import credentials
    from podling.registry.client import Access, Client

    rule = config.rule(reference.name)
    if rule and rule.blocked:
        raise InvalidInput(f"registry {rule.prefix} is blocked in registries.conf")
    remote = reference
    if rule and rule.location and not rule.prefix.startswith("*."):
        moved = parse(rule.location + reference.name.removeprefix(rule.prefix))
        remote = Reference(
            registry=moved.registry, repository=moved.repository, tag=reference.tag, digest=reference.digest
        )
    pair = credentials.parse_pair(creds) if creds else credentials.find(remote.registry, remote.repository, authfile)
    verify = tls_verify if tls_verify is not None else not (rule and rule.insecure)
    access = Access(
        credentials=pair, tls_verify=verify, cert_dir=cert_dir, retries=retries, user_agent=f"podling/{VERSION}"
    )
    client = Client(remote.registry, access)
    ctx.progress(f"Trying to pull {reference}...")
    try:
        return _fetch(ctx, client, reference, remote, wanted)
    finally:
        client.close()


def _fetch(ctx: Context, client: Client, reference: Reference, remote: Reference, wanted: Platform) -> str:
    body, media_type, digest = client.manifest(remote)
    digests = [(reference.name, digest)]
    if media_type in INDEXES or (media_type not in (OCI_MANIFEST,) and b'"manifests"' in body):
        chosen = choose(body, wanted, str(reference))
        body, media_type, digest = client.manifest(remote, digest=chosen.digest)
        digests.append((reference.name, digest))
    manifest = parse_manifest(body, media_type, str(reference))
    if manifest.config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        raise BadArchive(f"{reference} is no container image but an artifact of type {manifest.config.media_type}")
    config = client.small_blob(remote.repository, manifest.config.digest)
    names = [f"{reference.name}:{reference.tag}"] if reference.tag and not reference.digest else []
    folder = f"{ctx.settings.root}/blobs"
    os.makedirs(folder, 0o700, exist_ok=True)
    _drop_old_partials(folder)
    partials: list[str] = []
    sources = [_blob_source(client, remote.repository, layer, folder, partials) for layer in manifest.layers]
    ctx.progress("Getting image source signatures")
    try:
        id = store_image(
            ctx, manifest=body, config=config, sources=sources, names=names, digests=digests, action="pull"
        )
    except (DigestMismatch, BadArchive):
        _remove_files(partials)
        raise
    _remove_files(partials)
    ctx.progress("Writing manifest to image destination")
    return id


def _blob_source(client: Client, repository: str, layer: Descriptor, folder: str, partials: list[str]) -> Source:
    """A layer's blob. What has come of a large one is kept in a file until the image is stored, so that a pull that was
    interrupted goes on where it stopped."""

    def source() -> Iterator[bytes]:
        partial = ""
        if layer.size > _SMALL_BLOB:
            partial = f"{folder}/{layer.digest.replace(':', '-')}.partial"
            partials.append(partial)
        return client.blob(repository, layer.digest, layer.size, partial=partial)

    return source


def _remove_files(paths: list[str]) -> None:
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


def _drop_old_partials(folder: str) -> None:
    limit = now() - _PARTIAL_DAYS * 86400 * 10**9
    with os.scandir(folder) as entries:
        _remove_files([entry.path for entry in entries if entry.stat(follow_symlinks=False).st_mtime_ns < limit])
