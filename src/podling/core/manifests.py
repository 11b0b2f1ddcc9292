"""Manifest lists (OCI image indexes): made here of images from anywhere, pushed with them."""

from __future__ import annotations

import os

from podling.config import containers
from podling.core import image_removal, images
from podling.core.access import client_for, connect, push_client
from podling.core.copy import WriteOptions, write_image
from podling.core.options import ArtifactOptions, Platforms, RegistryAccess
from podling.errors import InvalidInput, NameInUse, NotFound
from podling.oci import json
from podling.oci.image import (
    DOCKER_LIST,
    INDEXES,
    OCI_INDEX,
    OCI_MANIFEST,
    digest_of,
    host_platform,
    parse_config,
    parse_manifest,
)
from podling.oci.reference import Reference, check_digest, parse
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.core.images import Image
    from podling.core.signing import Signers
    from podling.registry.client import Client
    from podling.registry.writers import Destination, Written

_INSTANCE_ZSTD = "io.github.containers.compression.zstd"


def find(ctx: Context, name: str) -> Image:
    """The manifest list called `name`.

    Raises:
        NoSuchImage. InvalidInput: it is an image.
    """
    image = images.find(ctx, name)
    if image.kind != "index":
        raise InvalidInput(f"{name} is an image, not a manifest list", hint="`podling manifest create` makes a list")
    return image


def _read(ctx: Context, image: Image) -> tuple[dict[str, Any], dict[str, Any]]:
    row = ctx.db.row("SELECT manifest, members FROM images WHERE id=?", image.id)
    assert row is not None
    return json.loads(row[0]), json.loads(row[1])


def _write(ctx: Context, id: str, document: dict[str, Any], members: dict[str, Any]) -> None:
    data = json.dumps(document).encode()
    with ctx.db.write() as tx:
        tx.run(
            "UPDATE images SET manifest=?, manifest_digest=?, members=? WHERE id=?",
            data, digest_of(data), json.dumps(members), id,
        )  # fmt: skip
        for (name,) in tx.rows("SELECT name FROM image_names WHERE image_id=?", id):
            repository = name.rpartition(":")[0]
            tx.run("DELETE FROM image_digests WHERE image_id=? AND name=?", id, repository)
            tx.run("INSERT OR REPLACE INTO image_digests VALUES (?, ?, ?)", repository, digest_of(data), id)


def pairs(texts: list[str]) -> dict[str, str]:
    """KEY=VALUE texts as a dict."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidInput(f"annotation {text!r} is not KEY=VALUE")
        found[key] = value
    return found


def create(
    ctx: Context,
    name: str,
    members: list[str],
    access: RegistryAccess,
    *,
    all: bool,
    amend: bool,
    annotations: list[str],
) -> str:
    """Make a manifest list with some images in it; its id. `amend` goes on with one that is there."""
    full = images.full_name(name)
    known = images.lookup(ctx, full)
    if known and not (amend and known.kind == "index"):
        raise NameInUse(
            f"image name {full} is already associated with image {known.id[:12]}: that name is already in use",
            hint="choose another name, or --amend a list",
        )
    if known:
        id = known.id
    else:
        id = os.urandom(32).hex()
        document: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        if annotations:
            document["annotations"] = pairs(annotations)
        data = json.dumps(document).encode()
        with ctx.db.write() as tx:
            tx.run(
                "INSERT INTO images (id, manifest, manifest_digest, config, size, created, stored, platform, kind) "
                "VALUES (?, ?, ?, ?, 0, ?, ?, '', 'index')",
                id, data, digest_of(data), b"{}", now(), now(),
            )  # fmt: skip
            tx.run("INSERT OR REPLACE INTO image_names VALUES (?, ?)", full, id)
            tx.run(
                "INSERT OR REPLACE INTO image_digests VALUES (?, ?, ?)", full.rpartition(":")[0], digest_of(data), id
            )
            tx.event("manifest", "create", id, full)
    try:
        for member in members:
            add(ctx, id, [member], access, Platforms(), all=all)
    except BaseException:
        if not known:
            remove_list(ctx, [id], ignore=True)
        raise
    return id


# -- adding
class _Entry:
    """A descriptor for the index, and where its manifest and blobs are."""

    def __init__(self, descriptor: dict[str, Any], place: dict[str, Any]) -> None:
        self.descriptor, self.place = descriptor, place


def add(
    ctx: Context, name: str, members: list[str], access: RegistryAccess, platforms: Platforms, *, all: bool = False
) -> str:
    """Add images to a list, each from the local store or, with docker:// or where it is not here, from its registry; the
    list's id. Of an index all its images, or the one that fits `platforms` or the host."""
    image = find(ctx, name)
    entries: list[_Entry] = []
    for member in members:
        entries += _member(ctx, member, access, platforms, all)
    with ctx.locks.hold("manifest", int(image.id[:15], 16)):
        document, known = _read(ctx, image)
        for entry in entries:
            _put(document, _described(entry.descriptor, platforms))
            known[entry.descriptor["digest"]] = entry.place
        _write(ctx, image.id, document, known)
    return image.id


def _put(document: dict[str, Any], descriptor: dict[str, Any]) -> None:
    kept = [item for item in document["manifests"] if item["digest"] != descriptor["digest"]]
    document["manifests"] = [*kept, descriptor]


def _described(descriptor: dict[str, Any], said: Platforms) -> dict[str, Any]:
    """The descriptor with what `said` changes."""
    platform = dict(descriptor.get("platform") or {})
    values = {
        "os": said.os, "architecture": said.arch, "variant": said.variant, "os.version": said.os_version,
        "features": said.features, "os.features": said.os_features,
    }  # fmt: skip
    platform.update({key: value for key, value in values.items() if value})
    changed = dict(descriptor)
    if platform:
        changed["platform"] = platform
    if said.annotations:
        changed["annotations"] = {**(descriptor.get("annotations") or {}), **pairs(said.annotations)}
    return changed


def _member(ctx: Context, text: str, access: RegistryAccess, platforms: Platforms, all: bool) -> list[_Entry]:
    from podling.registry.transports import split

    if split(text):
        from podling.core.pull import PullOptions, pull

        return [_local_entry(ctx, images.by_id(ctx, pull(ctx, text, PullOptions(), access)))]
    local = None if text.startswith("docker://") else images.lookup(ctx, text)
    if local and local.kind == "index":
        document, members = _read(ctx, local)
        entries = [_Entry(item, members.get(item["digest"]) or {}) for item in document["manifests"]]
        return entries if all else [_fitting(entries, platforms, text)]
    if local:
        return [_local_entry(ctx, local)]
    return _remote_entries(ctx, text, access, platforms, all)


def _local_entry(ctx: Context, image: Image) -> _Entry:
    row = ctx.db.row("SELECT manifest, config FROM images WHERE id=?", image.id)
    assert row is not None
    kind = str(json.loads(row[0]).get("mediaType") or OCI_MANIFEST)
    descriptor = {
        "mediaType": kind, "digest": digest_of(row[0]), "size": len(row[0]), "platform": _platform_of(row[1]),
    }  # fmt: skip
    return _Entry(descriptor, {"image": image.id})


def _platform_of(config: bytes) -> dict[str, str]:
    document = parse_config(config).raw
    found = {"architecture": document.get("architecture") or "", "os": document.get("os") or "linux"}
    for key in ("variant", "os.version"):
        if document.get(key):
            found[key] = document[key]
    return found


def _remote_entries(ctx: Context, text: str, access: RegistryAccess, platforms: Platforms, all: bool) -> list[_Entry]:
    client, full, remote = reach(ctx, text, access)
    try:
        body, media_type, digest = client.manifest(remote)
        place = {"registry": remote.registry, "repository": remote.repository, "name": str(full)}
        if media_type in INDEXES:
            entries = [_Entry(item, place) for item in json.loads(body).get("manifests") or ()]
            return entries if all else [_fitting(entries, platforms, text)]
        descriptor: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": len(body)}
        config = json.loads(body).get("config") or {}
        if "image.config" in str(config.get("mediaType")) or "container.image" in str(config.get("mediaType")):
            descriptor["platform"] = _platform_of(client.small_blob(remote.repository, config["digest"]))
        return [_Entry(descriptor, place)]
    finally:
        client.close()


def reach(ctx: Context, text: str, access: RegistryAccess) -> tuple[Client, Reference, Reference]:
    """(client, full name, name at the registry) of an image at a registry; the first candidate of a short name."""
    from podling.config import registries

    config = registries.load()
    full = config.candidates(parse(text))[0]
    endpoint = config.endpoints(full)[-1]
    return connect(endpoint, access, config.helpers), full, endpoint.reference


def _fitting(entries: list[_Entry], platforms: Platforms, what: str) -> _Entry:
    host = host_platform()
    wanted = (platforms.os or host.os, platforms.arch or host.architecture)
    for entry in entries:
        platform = entry.descriptor.get("platform") or {}
        if (platform.get("os"), platform.get("architecture")) == wanted:
            return entry
    raise InvalidInput(
        f"{what} has no image for {'/'.join(wanted)}", hint="add them --all, or choose with --os and --arch"
    )


def add_artifact(ctx: Context, name: str, paths: list[str], options: ArtifactOptions, platforms: Platforms) -> str:
    """Make an artifact of files and add it to a list; the list's id."""
    from podling.core import artifacts

    image = find(ctx, name)
    manifest, media_type = artifacts.build_manifest(
        ctx, paths, type=options.type, layer_type=options.layer_type, config=options.config, config_type=options.config_type,
        titles=not options.exclude_titles, subject=_subject(ctx, options.subject),
    )  # fmt: skip
    descriptor = {"mediaType": media_type, "digest": digest_of(manifest), "size": len(manifest)}
    if options.type:
        descriptor["artifactType"] = options.type
    with ctx.locks.hold("manifest", int(image.id[:15], 16)):
        document, known = _read(ctx, image)
        _put(document, _described(descriptor, platforms))
        known[str(descriptor["digest"])] = {"artifact": manifest.decode()}
        _write(ctx, image.id, document, known)
    return image.id


def _subject(ctx: Context, name: str) -> dict[str, Any] | None:
    if not name:
        return None
    image = images.find(ctx, name)
    return _local_entry(ctx, image).descriptor if image.kind != "index" else _index_descriptor(ctx, image)


def _index_descriptor(ctx: Context, image: Image) -> dict[str, Any]:
    data = ctx.db.value("SELECT manifest FROM images WHERE id=?", image.id)
    return {"mediaType": json.loads(data)["mediaType"], "digest": digest_of(data), "size": len(data)}


# -- changing
def _digest_in(ctx: Context, document: dict[str, Any], text: str) -> str:
    """The digest of the entry that `text` names: a digest, or an image that is here."""
    digests = [item["digest"] for item in document["manifests"]]
    if text in digests:
        return text
    image = None if text.startswith("sha256:") else images.lookup(ctx, text)
    if image and image.manifest_digest in digests:
        return image.manifest_digest
    if ":" in text and "/" not in text:
        check_digest(text)
    raise NotFound(f"there is no {text} in the list", hint="`podling manifest inspect` shows what there is")


def annotate(
    ctx: Context, name: str, member: str, platforms: Platforms, *, index: bool = False, subject: str = ""
) -> str:
    """Change what a list says of one of its entries, or with `index` of itself; the list's id."""
    image = find(ctx, name)
    with ctx.locks.hold("manifest", int(image.id[:15], 16)):
        document, members = _read(ctx, image)
        if index:
            if platforms.annotations:
                document["annotations"] = {**(document.get("annotations") or {}), **pairs(platforms.annotations)}
            if subject:
                document["subject"] = {k: v for k, v in (_subject(ctx, subject) or {}).items() if k != "platform"}
        else:
            digest = _digest_in(ctx, document, member)
            document["manifests"] = [
                _described(item, platforms) if item["digest"] == digest else item for item in document["manifests"]
            ]
        _write(ctx, image.id, document, members)
    return image.id


def remove_entry(ctx: Context, name: str, member: str) -> tuple[str, str]:
    """Take an entry out of a list; (the list's id, the entry's digest)."""
    image = find(ctx, name)
    with ctx.locks.hold("manifest", int(image.id[:15], 16)):
        document, members = _read(ctx, image)
        digest = _digest_in(ctx, document, member)
        document["manifests"] = [item for item in document["manifests"] if item["digest"] != digest]
        members.pop(digest, None)
        _write(ctx, image.id, document, members)
    return image.id, digest


def remove_list(ctx: Context, names: list[str], *, ignore: bool) -> tuple[image_removal.Removal, list[Exception]]:
    """Remove whole lists; the images in them stay."""
    checked: list[str] = []
    errors: list[Exception] = []
    for name in names:
        try:
            checked.append(find(ctx, name).id)
        except NotFound as error:
            if not ignore:
                errors.append(error)
        except InvalidInput as error:
            errors.append(error)
    removal, more = image_removal.remove(ctx, checked, force=True, all=False, ignore=ignore)
    return removal, errors + more


def inspect(ctx: Context, name: str, access: RegistryAccess) -> dict[str, Any]:
    """The index itself: of a list that is here, or at a registry."""
    from podling.registry.transports import split

    if split(name):
        raise InvalidInput(f"{name}: only lists here and at registries can be inspected")
    local = None if name.startswith("docker://") else images.lookup(ctx, name)
    if local and local.kind == "index":
        return _read(ctx, local)[0]
    client, full, remote = reach(ctx, name, access)
    try:
        body, media_type, _ = client.manifest(remote)
    finally:
        client.close()
    document: dict[str, Any] = json.loads(body)
    if media_type not in INDEXES and "manifests" not in document:
        ctx.warn(f"{full} is not a manifest list but a single image")
    return document


# -- pushing
def push_list(
    ctx: Context,
    name: str,
    target: str,
    access: RegistryAccess,
    options: WriteOptions,
    signers: Signers,
    *,
    all: bool = True,
    add_compression: list[str] | None = None,
) -> str:
    """Push a list, with `all` also the images in it; the digest of the index as it was pushed."""
    from podling.core.push import FileDestination, archive_names
    from podling.registry.transports import split
    from podling.registry.writers import RegistryDestination

    place = split(target) if target else None
    if place is None:
        options.fill()
        add_compression = add_compression or containers.load().texts("engine", "add_compression")
    options.check()
    image = find(ctx, name)
    if place:
        with FileDestination(ctx, place) as destination:
            if not destination.takes_indexes:
                raise InvalidInput(f"{place.transport}: cannot hold a manifest list", hint="use oci: or oci-archive:")
            return _push_to(
                ctx, image, destination, options, access, all, add_compression or [], archive_names(place)
            ).digest
    reference = parse(target or (image.names[0] if image.names else name)).tagged()
    client, remote = push_client(reference, access)
    try:
        written = _push_to(
            ctx, image, RegistryDestination(client, remote), options, access, all, add_compression or [], []
        )
        signers.sign(ctx, written, reference, client=client, remote=remote)
        return written.digest
    finally:
        client.close()


def _push_to(
    ctx: Context,
    image: Image,
    destination: Destination,
    options: WriteOptions,
    access: RegistryAccess,
    all: bool,
    compressions: list[str],
    names: list[str],
) -> Written:
    from podling.registry.writers import Written

    document, members = _read(ctx, image)
    entries: list[dict[str, Any]] = []
    if compressions and all:
        for item in document["manifests"]:
            if not (members.get(item["digest"]) or {}).get("image"):
                raise InvalidInput(
                    "--add-compression needs the images here", hint=f"pull {item['digest'][:19]} and add it from here"
                )
    for item in document["manifests"] if all else ():
        member = members.get(item["digest"]) or {}
        entries.append(_push_instance(ctx, item, member, destination, options, access))
    for compression in compressions if all else ():
        for item in document["manifests"]:
            member = members.get(item["digest"]) or {}
            packed = WriteOptions(format="oci", compression=compression, force=True)
            extra = _push_instance(ctx, item, member, destination, packed, access)
            if compression.startswith("zstd"):
                extra["annotations"] = {**(extra.get("annotations") or {}), _INSTANCE_ZSTD: "true"}
            entries.append(extra)
    media_type = str(document.get("mediaType") or OCI_INDEX)
    if options.format in ("v2s2", "docker") and not destination.format:
        media_type = DOCKER_LIST
    elif "oci" in (options.format, destination.format) or compressions:
        media_type = OCI_INDEX
    pushed = {**document, "mediaType": media_type, "manifests": entries if all else document["manifests"]}
    if media_type == DOCKER_LIST:
        pushed.pop("annotations", None)
        pushed.pop("subject", None)
    data = json.dumps(pushed).encode()
    ctx.progress("Writing manifest list to image destination")
    destination.manifest(data, media_type, names)
    return Written(manifest=data, media_type=media_type)


def _push_instance(
    ctx: Context,
    item: dict[str, Any],
    member: dict[str, Any],
    destination: Destination,
    options: WriteOptions,
    access: RegistryAccess,
) -> dict[str, Any]:
    """Write one entry's image; its descriptor as it is there."""
    if member.get("image"):
        written = write_image(ctx, images.by_id(ctx, member["image"]), destination, options, [], instance=True)
        return {**item, "mediaType": written.media_type, "digest": written.digest, "size": len(written.manifest)}
    if member.get("artifact"):
        from podling.core import artifacts

        data = member["artifact"].encode()
        artifacts.write_blobs(ctx, data, destination)
        destination.manifest(data, OCI_MANIFEST, [], instance=True)
        return item
    if not member.get("registry"):
        raise NotFound(f"it is not known where the image {item['digest'][:19]} is", hint="add it to the list again")
    insecure = _is_insecure(member["name"])
    client = client_for(member["registry"], member["repository"], access, insecure=insecure)
    try:
        copy_remote(ctx, client, member["repository"], item, destination)
    finally:
        client.close()
    return item


def _is_insecure(name: str) -> bool:
    from podling.config import registries

    return registries.load().is_insecure(parse(name).name)


def copy_remote(ctx: Context, client: Client, repository: str, item: dict[str, Any], destination: Destination) -> None:
    """An image from one registry to another place, bit by bit."""
    where = Reference(registry=client.host, repository=repository, digest=item["digest"])
    body, media_type, _ = client.manifest(where)
    manifest = parse_manifest(body, media_type, str(where)) if "layers" in json.loads(body) else None
    for blob in [*manifest.layers, manifest.config] if manifest else ():
        if not destination.has(blob.digest, [f"{client.host}/{repository}"]):
            ctx.progress(f"Copying blob {blob.digest}")
            destination.blob(
                lambda blob=blob: client.blob(repository, blob.digest, blob.size),  # type: ignore[misc]
                digest=blob.digest,
                size=blob.size,
            )
    destination.manifest(body, media_type, [], instance=True)
