"""Fetching images: from registries by short or full names and through mirrors, and from files by their transport."""

from __future__ import annotations

import os

from podling.config import storage
from podling.core import images, preflight
from podling.core.access import connect
from podling.core.default_image import DEFAULT_IMAGE, make_default_image
from podling.core.imagestore import store_image
from podling.core.options import RegistryAccess
from podling.errors import AccessDenied, BadArchive, DigestMismatch, InvalidInput, NoSuchImage, NotFound, RegistryError
from podling.oci import json
from podling.oci.image import (
    INDEXES,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    artifact_type,
    choose,
    host_platform,
    parse_config,
    parse_manifest,
    parse_platform,
)
from podling.oci.record import Record
from podling.oci.reference import Reference, parse
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from podling.config.registries import Registries
    from podling.core.context import Context
    from podling.core.imagestore import Source
    from podling.registry.client import Client
    from podling.registry.transports import Place

_PARTIAL_DAYS = 7
_SMALL_BLOB = 1 << 20
POLICIES = ("always", "missing", "never", "newer")


class PullOptions(Record):
    """`policy`: always, missing, never, newer. `keys` decrypt layers, as --decryption-key takes them."""

    policy: str = "always"
    platform: str = ""
    keys: list[str] = []
    signature_policy: str = ""


def pull(ctx: Context, name: str, options: PullOptions, access: RegistryAccess) -> str:
    """Fetch an image; its id.

    Raises:
        NotFound, AccessDenied, RegistryError, DigestMismatch, InvalidInput, StorageFull: nothing is stored then.
    """
    from podling.registry.transports import split

    if options.policy not in POLICIES:
        raise InvalidInput(f"--pull {options.policy!r}: not one of {', '.join(POLICIES)}")
    wanted = parse_platform(options.platform) if options.platform else host_platform()
    place = split(name)
    if place:
        return _pull_file(ctx, place, wanted, options)
    local = None if options.policy == "always" else images.lookup(ctx, name)
    if local and local.kind == "index":
        local = images.instance(ctx, local, wanted)
    if (
        local
        and options.policy in ("missing", "never")
        and _same_platform(local.platform, wanted, explicit=bool(options.platform))
    ):
        return local.id
    if options.policy == "never":
        raise NoSuchImage(name, hint="--pull=never forbids to fetch it")
    reference = parse(name)
    if str(reference.tagged()) == DEFAULT_IMAGE:
        return make_default_image(ctx)
    if reference.registry == "localhost":
        if local and options.policy == "newer":
            return local.id
        raise NoSuchImage(name, hint="localhost/ means images made here; `podling images` lists them")
    ctx.recover()
    from podling.config import registries

    config = registries.load()
    choices, asked = _choices(ctx, config, reference)
    errors: list[str] = []
    for candidate in choices:
        try:
            id = _pull_one(ctx, candidate, config, wanted, options, access)
            if asked:
                registries.remember_alias(reference.repository, candidate.name)
            return id
        except (NotFound, AccessDenied, RegistryError) as error:
            if isinstance(error, DigestMismatch) or len(choices) == 1:
                if local and options.policy == "newer":
                    return local.id
                raise
            errors.append(f"{candidate}: {error.message}")
    if local and options.policy == "newer":
        return local.id
    raise NotFound(f"{name} was found nowhere: {'; '.join(errors)}", hint="give the full name with its registry")


def pull_all_tags(ctx: Context, name: str, options: PullOptions, access: RegistryAccess) -> list[str]:
    """Fetch every tag of a repository; the ids."""
    from podling.config import registries
    from podling.registry.listing import tags

    reference = parse(name)
    if reference.tag or reference.digest:
        raise InvalidInput(f"{name}: --all-tags takes a name without a tag", hint=f"podling pull -a {reference.name}")
    config = registries.load()
    full = config.candidates(reference)[0]
    endpoint = config.endpoints(full)[-1]
    client = connect(endpoint, access, config.helpers)
    try:
        found = list(tags(client, endpoint.reference.repository))
    finally:
        client.close()
    return [pull(ctx, f"{full.name}:{tag}", options, access) for tag in found]


def _choices(ctx: Context, config: Registries, reference: Reference) -> tuple[list[Reference], bool]:
    """(full names to try, a person chose): short-name-mode of registries.conf."""
    choices = config.candidates(reference)
    if len(choices) < 2 or config.mode == "disabled":
        return choices, False
    if ctx.ask is not None:
        question = f"Where to take the short name {reference} from?"
        return [choices[ctx.ask(question, [str(choice) for choice in choices])]], True
    if config.mode == "enforcing":
        raise InvalidInput(
            f'short-name resolution enforced but cannot prompt without a TTY: "{reference}" may be {" or ".join(map(str, choices))}',
            hint="give the full name, or make an alias in registries.conf",
        )
    return choices, False


def _same_platform(stored: str, wanted: Platform, *, explicit: bool) -> bool:
    parts = stored.split("/")
    return not explicit or parts[:2] == [wanted.os, wanted.architecture]


def remote_digests(ctx: Context, name: str, access: RegistryAccess) -> list[str]:
    """The digests that a registry has under a name now: of the manifest, or of the index and of this platform's manifest in it.

    Raises:
        NotFound, AccessDenied, RegistryError.
    """
    from podling.config import registries

    config = registries.load()
    endpoint = config.endpoints(config.candidates(parse(name))[0])[0]
    client = connect(endpoint, access, config.helpers)
    try:
        body, media_type, digest = client.manifest(endpoint.reference)
        if media_type in INDEXES:
            return [digest, choose(body, host_platform(), name).digest]
        return [digest]
    finally:
        client.close()


# -- from a registry
def _pull_one(
    ctx: Context,
    reference: Reference,
    config: Registries,
    wanted: Platform,
    options: PullOptions,
    access: RegistryAccess,
) -> str:
    """One full name, from its mirrors or its own place."""
    endpoints = config.endpoints(reference)
    ctx.progress(f"Trying to pull {reference}...")
    for endpoint in endpoints:
        client = connect(endpoint, access, config.helpers)
        try:
            return _fetch(ctx, client, reference, endpoint.reference, wanted, options)
        except (NotFound, AccessDenied, RegistryError) as error:
            if not endpoint.is_mirror or isinstance(error, DigestMismatch):
                raise
            ctx.progress(f"The mirror {endpoint.reference.name} cannot serve it: {error.message}")
        finally:
            client.close()
    raise NotFound(f"{reference}: there is no place to fetch it from")


def _fetch(
    ctx: Context, client: Client, reference: Reference, remote: Reference, wanted: Platform, options: PullOptions
) -> str:
    from podling.core import signing

    body, media_type, digest = client.manifest(remote)
    digests = [(reference.name, digest)]
    if media_type in INDEXES or (media_type not in (OCI_MANIFEST,) and b'"manifests"' in body):
        chosen = choose(body, wanted, str(reference))
        body, media_type, digest = client.manifest(remote, digest=chosen.digest)
        digests.append((reference.name, digest))
    if kind := artifact_type(body):
        raise BadArchive(
            f"{reference} is no container image but an artifact of type {kind}",
            hint=f"podling artifact pull {reference}",
        )
    manifest = parse_manifest(body, media_type, str(reference))
    ctx.progress("Getting image source signatures")
    known = [digest for _, digest in digests]
    signatures = signing.check_remote(ctx, reference, remote, known, client, options.signature_policy)
    config = client.small_blob(remote.repository, manifest.config.digest)
    names = [f"{reference.name}:{reference.tag}"] if reference.tag and not reference.digest else []
    folder = f"{ctx.settings.root}/blobs"
    os.makedirs(folder, 0o700, exist_ok=True)
    _drop_old_partials(folder)
    partials: list[str] = []
    diff_ids = parse_config(config).diff_ids
    if len(diff_ids) != len(manifest.layers):
        raise BadArchive(
            f"{reference}: the image has {len(manifest.layers)} layers, its configuration names {len(diff_ids)}"
        )
    preflight.check(ctx, client, remote.repository, json.loads(config), manifest.layers, diff_ids)
    sources = [
        _layer_source(ctx, client, remote.repository, layer, diff_id, folder, partials, options.keys)
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
    ]
    try:
        id = store_image(
            ctx, manifest=body, config=config, sources=sources, names=names, digests=digests, action="pull",
            descriptors=manifest.layers, place=f"{remote.registry}/{remote.repository}", origin=str(reference),
            signatures=signatures,
        )  # fmt: skip
    except (DigestMismatch, BadArchive):
        _remove_files(partials)
        raise
    _remove_files(partials)
    ctx.progress("Writing manifest to image destination")
    return id


def _layer_source(
    ctx: Context,
    client: Client,
    repository: str,
    layer: Descriptor,
    diff_id: str,
    folder: str,
    partials: list[str],
    keys: list[str],
) -> Source:
    """A layer's blob. What has come of a large one is kept in a file until the image is stored, so that a pull that was
    interrupted goes on where it stopped. Of a zstd:chunked one only the files that no layer here has are fetched."""
    from podling.core.archives import decrypted

    def source() -> Iterator[bytes]:
        if layer.size > _SMALL_BLOB and layer.annotations and storage.load().partial_images:
            from podling.core.chunked import reassembled

            if (pieces := reassembled(ctx, client, repository, layer, diff_id)) is not None:
                return pieces
        partial = ""
        if layer.size > _SMALL_BLOB:
            partial = f"{folder}/{layer.digest.replace(':', '-')}.partial"
            partials.append(partial)
        return ctx.measured(
            layer.digest, layer.size, client.blob(repository, layer.digest, layer.size, partial=partial)
        )

    return decrypted(source, layer, keys)


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


# -- from a file
def _pull_file(ctx: Context, place: Place, wanted: Platform, options: PullOptions) -> str:
    """An image from a file, a folder or another engine's store."""
    from podling.core import signing
    from podling.core.archives import store_source
    from podling.registry.files import Opened
    from podling.registry.readers import read_images

    ctx.recover()
    signing.check_place(place, options.signature_policy)
    ctx.progress(f"Trying to pull {place.transport}:{place.path}{':' + place.name if place.name else ''}...")
    if place.transport == "containers-storage":
        from podling.registry.containers_storage import Store

        found = Store(place.path).image(place.name, wanted)
        return store_source(ctx, found, found.names, action="pull")
    scratch = ctx.settings.scratch
    os.makedirs(scratch, 0o700, exist_ok=True)
    if not os.path.exists(place.path):
        raise InvalidInput(f"{place.path}: no such file or folder")
    with Opened(place.path, scratch) as files:
        found_images = read_images(files, wanted, place.name)
        if len(found_images) > 1 and place.transport != "docker-archive":
            listed = ", ".join(name for image in found_images for name in image.names) or "without names"
            raise InvalidInput(
                f"{place.path} holds several images: {listed}", hint=f"choose one: {place.transport}:{place.path}:NAME"
            )
        id = ""
        for image in found_images:
            id = store_source(ctx, image, [_local_name(name) for name in image.names], action="pull", keys=options.keys)
        return id


def _local_name(name: str) -> str:
    """A name in a layout may be a bare tag: such an image is called localhost/TAG."""
    from podling.core.archives import loaded_name

    reference = parse(name)
    bare = not (reference.registry or "/" in reference.repository or reference.tag)
    return f"localhost/{name}:latest" if bare else loaded_name(name)
