"""OCI artifacts: files with a type, named, pushed and pulled as images are (image-spec manifest.md, "Guidelines for Artifact Usage").

Blobs are files in `<root>/artifacts/sha256`; the database names the manifests. A blob without a manifest is removed by the next
command that removes something.
"""

from __future__ import annotations

import hashlib
import os

from podling.core import images
from podling.core.access import push_client
from podling.core.manifests import pairs
from podling.core.options import AddOptions, RegistryAccess
from podling.errors import AmbiguousName, DigestMismatch, InvalidInput, NameInUse, NotFound
from podling.oci import json
from podling.oci.image import INDEXES, OCI_MANIFEST, digest_of
from podling.oci.record import Record
from podling.oci.reference import is_hex, parse
from podling.oci.times import format_time
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.core.context import Context
    from podling.core.signing import Signers
    from podling.registry.client import Client
    from podling.registry.writers import Destination

TITLE = "org.opencontainers.image.title"
_CREATED = "org.opencontainers.image.created"
_EMPTY = "application/vnd.oci.empty.v1+json"
_DEFAULT_TYPE = "application/vnd.unknown.artifact.v1"
_CHUNK = 1 << 20


class NoSuchArtifact(NotFound):
    reference = "no-such-artifact"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: artifact does not exist", hint="`podling artifact ls` lists the artifacts here")


class Artifact(Record):
    """A stored artifact; `manifest` is its document."""

    name: str
    digest: str
    manifest: dict[str, Any]
    created: int

    @property
    def size(self) -> int:
        return sum(int(layer["size"]) for layer in self.manifest.get("layers") or ())


# -- blobs on disk
def _folder(ctx: Context) -> str:
    folder = f"{ctx.settings.root}/artifacts/sha256"
    os.makedirs(folder, 0o700, exist_ok=True)
    return folder


def _blob_path(ctx: Context, digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or not is_hex(value):
        raise InvalidInput(f"an artifact's blob has the digest {digest!r}; only sha256 is kept")
    return f"{_folder(ctx)}/{value}"


def _keep(ctx: Context, chunks: Iterator[bytes], expected: str = "") -> tuple[str, int, bytes]:
    """Write a blob; (digest, size, its first bytes)."""
    import tempfile

    hasher, size, head = hashlib.sha256(), 0, b""
    fd, temporary = tempfile.mkstemp(prefix=".part-", dir=_folder(ctx))
    try:
        with os.fdopen(fd, "wb") as file:
            for chunk in chunks:
                if len(head) < 512:
                    head += chunk[: 512 - len(head)]
                hasher.update(chunk)
                size += len(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(fd)
        digest = "sha256:" + hasher.hexdigest()
        if expected and digest != expected:
            raise DigestMismatch(f"a blob has the digest {digest}, not {expected}")
        os.rename(temporary, _blob_path(ctx, digest))
        return digest, size, head
    except BaseException:
        os.unlink(temporary)
        raise


def _read_blob(ctx: Context, digest: str) -> Iterator[bytes]:
    with open(_blob_path(ctx, digest), "rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def _collect(ctx: Context) -> None:
    """Remove blobs that no manifest names; the caller holds the lock."""
    used = set()
    for (data,) in ctx.db.rows("SELECT manifest FROM artifacts"):
        document = json.loads(data)
        used |= {str(item["digest"]).partition(":")[2] for item in [*document["layers"], document["config"]]}
    for (text,) in ctx.db.rows("SELECT members FROM images WHERE kind='index'"):
        for member in json.loads(text).values():
            if member.get("artifact"):
                document = json.loads(member["artifact"])
                used |= {str(item["digest"]).partition(":")[2] for item in [*document["layers"], document["config"]]}
    for name in os.listdir(_folder(ctx)):
        if name not in used:
            os.unlink(f"{_folder(ctx)}/{name}")


def _media_type(head: bytes) -> str:
    """A guess by the first bytes."""
    for magic, kind in (
        (b"\x1f\x8b", "application/x-gzip"), (b"PK\x03\x04", "application/zip"), (b"%PDF-", "application/pdf"),
        (b"\x89PNG\r\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"),
    ):  # fmt: skip
        if head.startswith(magic):
            return kind
    if any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return "application/octet-stream"
    return "text/plain; charset=utf-8"


# -- finding
def _artifact(row: tuple[Any, ...]) -> Artifact:
    return Artifact(name=row[0], digest=row[1], manifest=json.loads(row[2]), created=row[3])


def list_artifacts(ctx: Context) -> list[Artifact]:
    """All artifacts, by name."""
    return [
        _artifact(row) for row in ctx.db.rows("SELECT name, digest, manifest, created FROM artifacts ORDER BY name")
    ]


def find(ctx: Context, text: str) -> Artifact:
    """The artifact that `text` names: a name, a digest, or a unique prefix of one.

    Raises:
        NoSuchArtifact, AmbiguousName.
    """
    bare = text.removeprefix("sha256:")
    known = list_artifacts(ctx)
    if is_hex(bare) and len(bare) >= 3:
        fitting = [item for item in known if item.digest.partition(":")[2].startswith(bare)]
        if len({item.digest for item in fitting}) > 1:
            raise AmbiguousName(f'"{text}" fits several artifacts', hint="give more digits")
        if fitting:
            return fitting[0]
    reference = parse(text)
    if reference.digest:
        for item in known:
            if item.digest == reference.digest and item.name.rpartition(":")[0] == reference.name:
                return item
    names = images.candidates(reference) if not reference.registry else [str(reference.tagged())]
    for name in names:
        for item in known:
            if item.name == name:
                return item
    raise NoSuchArtifact(text)


# -- making
def build_manifest(
    ctx: Context,
    paths: list[str],
    *,
    type: str = "",
    layer_type: str = "",
    annotations: dict[str, str] | None = None,
    titles: bool = True,
    config: str = "",
    config_type: str = "",
    subject: dict[str, Any] | None = None,
    base: dict[str, Any] | None = None,
) -> tuple[bytes, str]:
    """(manifest, media type) of an artifact made of files, whose blobs are kept; `base` is one to append to.

    Raises:
        InvalidInput: a path that cannot be read, or two files of one name.
    """
    layers: list[dict[str, Any]] = list((base or {}).get("layers") or ())
    for path in paths:
        title = os.path.basename(path)
        if titles and any((layer.get("annotations") or {}).get(TITLE) == title for layer in layers):
            raise InvalidInput(f"{title}: the artifact has a file of that name already")
        try:
            with open(path, "rb") as file:
                digest, size, head = _keep(ctx, iter(lambda: file.read(_CHUNK), b""))
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}") from None
        noted = {**(annotations or {}), **({TITLE: title} if titles else {})}
        layer: dict[str, Any] = {"mediaType": layer_type or _media_type(head), "digest": digest, "size": size}
        if noted:
            layer["annotations"] = noted
        layers.append(layer)
    if base:
        document = {**base, "layers": layers}
    else:
        content = b"{}"
        kind = config_type or _EMPTY
        if config:
            try:
                with open(config, "rb") as file:
                    content = file.read()
            except OSError as error:
                raise InvalidInput(f"{config}: {error.strerror}") from None
        digest, size, _ = _keep(ctx, iter((content,)))
        document = {
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": type or _DEFAULT_TYPE,
            "config": {"mediaType": kind, "digest": digest, "size": size}, "layers": layers,
            "annotations": {_CREATED: format_time(now())},
        }  # fmt: skip
        if subject:
            document["subject"] = {key: value for key, value in subject.items() if key != "platform"}
    return json.dumps(document).encode(), OCI_MANIFEST


def add(ctx: Context, name: str, paths: list[str], options: AddOptions) -> str:
    """Make an artifact of files, or add files to one; the digest of its manifest."""
    if options.append and (options.replace or options.type):
        raise InvalidInput("--append goes on with an artifact as it is: it cannot have --replace or --type")
    full = images.full_name(name)
    with ctx.locks.hold("artifact", 0):
        known = next((item for item in list_artifacts(ctx) if item.name == full), None)
        if options.append and not known:
            raise NoSuchArtifact(full)
        if known and not (options.append or options.replace):
            raise NameInUse(f"{full}: artifact already exists", hint="--append adds to it, --replace makes it anew")
        data, _ = build_manifest(
            ctx, paths, type=options.type, layer_type=options.file_type, annotations=pairs(options.annotations),
            base=known.manifest if known and options.append else None,
        )  # fmt: skip
        _record(ctx, full, data)
        with ctx.db.write() as tx:
            tx.event("artifact", "add", digest_of(data).partition(":")[2], full)
        _collect(ctx)
    return digest_of(data)


def _record(ctx: Context, name: str, manifest: bytes) -> None:
    with ctx.db.write() as tx:
        tx.run("INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?, ?)", digest_of(manifest), name, manifest, now())


# -- out again
def extract(ctx: Context, name: str, target: str, *, title: str = "", digest: str = "") -> list[str]:
    """Write an artifact's files to a folder, or a single one to the file `target`; the paths."""
    if title and digest:
        raise InvalidInput("--title and --digest exclude each other")
    artifact = find(ctx, name)
    layers = [
        layer
        for layer in artifact.manifest.get("layers") or ()
        if (not digest or layer["digest"] == digest)
        and (not title or (layer.get("annotations") or {}).get(TITLE) == title)
    ]
    if not layers:
        raise NotFound(f"{name} has no file {title or digest}", hint="`podling artifact inspect` shows what there is")
    written = []
    if not os.path.isdir(target):
        if len(layers) > 1:
            raise InvalidInput(
                f"{name} has {len(layers)} files, and {target} is no folder", hint="make that folder first"
            )
        _write_file(ctx, layers[0]["digest"], target)
        return [target]
    for layer in layers:
        own = (layer.get("annotations") or {}).get(TITLE) or layer["digest"].replace(":", "-")
        if own in (".", "..") or "/" in own or "\0" in own:
            raise InvalidInput(f"hostile artifact: a file called {own!r}")
        path = os.path.join(target, own)
        _write_file(ctx, layer["digest"], path)
        written.append(path)
    return written


def lay_out(ctx: Context, name: str, folder: str, chosen: str) -> str:
    """Write an artifact's files into the new `folder`, for a mount: the path of the only one, or the folder.

    `chosen`: `digest=`, `title=` and `name=`, separated by commas; `name` is what the files are called.
    """
    values = dict(item.partition("=")[::2] for item in chosen.split(",") if item)
    os.makedirs(folder, 0o755, exist_ok=True)
    paths = extract(ctx, name, folder, title=values.get("title", ""), digest=values.get("digest", ""))
    if own := values.get("name"):
        if own in (".", "..") or "/" in own:
            raise InvalidInput(f"--mount type=artifact: name={own!r} is no file name")
        renamed = [f"{folder}/{own}" if len(paths) == 1 else f"{folder}/{own}-{number}" for number in range(len(paths))]
        for path, new in zip(paths, renamed, strict=True):
            os.rename(path, new)
        paths = renamed
    return paths[0] if len(paths) == 1 else folder


def _write_file(ctx: Context, digest: str, path: str) -> None:
    try:
        with open(path, "wb") as file:
            for piece in _read_blob(ctx, digest):
                file.write(piece)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None


def remove(ctx: Context, names: list[str], *, all: bool, ignore: bool) -> tuple[list[str], list[Exception]]:
    """Remove artifacts; (digests, what went wrong)."""
    done: list[str] = []
    errors: list[Exception] = []
    with ctx.locks.hold("artifact", 0):
        for name in [item.name for item in list_artifacts(ctx)] if all else names:
            try:
                artifact = find(ctx, name)
            except NotFound as error:
                if not ignore:
                    errors.append(error)
                continue
            with ctx.db.write() as tx:
                tx.run("DELETE FROM artifacts WHERE name=?", artifact.name)
                tx.event("artifact", "remove", artifact.digest.partition(":")[2], artifact.name)
            done.append(artifact.digest)
        _collect(ctx)
    return done, errors


def pull(ctx: Context, name: str, access: RegistryAccess, keys: list[str]) -> str:
    """Fetch an artifact; the digest of its manifest. `keys` open encrypted files, which makes it another manifest.

    Raises:
        NotFound, AccessDenied, RegistryError, DigestMismatch.
    """
    from podling.config import registries
    from podling.core import signing
    from podling.core.access import connect

    config = registries.load()
    reference = config.candidates(parse(name))[0]
    endpoint = config.endpoints(reference)[-1]
    client = connect(endpoint, access, config.helpers)
    try:
        ctx.progress(f"Trying to pull {reference}...")
        body, media_type, digest = client.manifest(endpoint.reference)
        document = json.loads(body)
        if media_type in INDEXES or "layers" not in document:
            raise InvalidInput(f"{reference} is no artifact but an index", hint="name one of its manifests by digest")
        signing.check_remote(ctx, reference, endpoint.reference, [digest], client)
        with ctx.locks.hold("artifact", 0, shared=True):  # nobody collects blobs meanwhile
            for blob in [*document["layers"], document["config"]]:
                _fetch_blob(ctx, client, endpoint.reference.repository, blob, keys)
            if any(layer.pop("opened", False) for layer in document["layers"]):
                body = json.dumps(document).encode()
                digest = digest_of(body)
            tagged = reference.tag or reference.digest.partition(":")[2][:12]
            _record(ctx, f"{reference.name}:{tagged}", body)
        with ctx.db.write() as tx:
            tx.event("artifact", "pull", digest.partition(":")[2], str(reference))
        return digest
    finally:
        client.close()


def _fetch_blob(ctx: Context, client: Client, repository: str, blob: dict[str, Any], keys: list[str]) -> None:
    """Fetch a blob that is not here. An encrypted one is opened where there are keys: its descriptor changes then."""
    encrypted = str(blob["mediaType"]).endswith("+encrypted") and bool(keys)
    if not encrypted and os.path.exists(_blob_path(ctx, blob["digest"])):
        return
    ctx.progress(f"Copying blob {blob['digest']}")
    chunks = client.blob(repository, blob["digest"], int(blob["size"]))
    measured = ctx.measured(blob["digest"], int(blob["size"]), chunks)
    if not encrypted:
        _keep(ctx, measured, blob["digest"])
        return
    from podling.registry.encryption import KEYS, OPTIONS, decrypt

    notes = blob.get("annotations") or {}
    digest, size, _ = _keep(ctx, decrypt(measured, notes, keys))
    kept = {key: value for key, value in notes.items() if key not in (KEYS, OPTIONS)}
    blob.update(
        mediaType=str(blob["mediaType"]).removesuffix("+encrypted"),
        digest=digest,
        size=size,
        annotations=kept,
        opened=True,
    )


def push(ctx: Context, name: str, access: RegistryAccess, signers: Signers) -> str:
    """Send an artifact to the registry that its name says; the digest of its manifest."""
    from podling.registry.writers import RegistryDestination, Written

    artifact = find(ctx, name)
    reference = parse(artifact.name)
    if reference.registry == "localhost":
        raise InvalidInput(f"{reference}: localhost/ is no registry", hint="add the artifact under its registry's name")
    data = ctx.db.value("SELECT manifest FROM artifacts WHERE name=?", artifact.name)
    client, remote = push_client(reference, access)
    try:
        destination = RegistryDestination(client, remote)
        write_blobs(ctx, data, destination)
        destination.manifest(data, OCI_MANIFEST, [])
        signers.sign(ctx, Written(manifest=data, media_type=OCI_MANIFEST), reference, client=client, remote=remote)
    finally:
        client.close()
    with ctx.db.write() as tx:
        tx.event("artifact", "push", artifact.digest.partition(":")[2], artifact.name)
    return artifact.digest


def write_blobs(ctx: Context, manifest: bytes, destination: Destination) -> None:
    """The blobs of an artifact's manifest."""
    document = json.loads(manifest)
    for blob in [*document["layers"], document["config"]]:
        digest = str(blob["digest"])
        if not destination.has(digest, []):
            ctx.progress(f"Copying blob {digest}")
            destination.blob(lambda digest=digest: _read_blob(ctx, digest), digest=digest, size=int(blob["size"]))  # type: ignore[misc]
