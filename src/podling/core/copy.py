"""How a stored image goes out, whatever the destination: layers are compressed side by side, and not at all where they are there."""

from __future__ import annotations

from podling.config import containers
from podling.errors import InvalidInput, StateError
from podling.oci import json
from podling.oci.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    digest_of,
)
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from podling.core.context import Context
    from podling.core.images import Image
    from podling.registry.writers import Destination, Written

    Content = Callable[[], Iterator[bytes]]

FORMATS = {"": "", "oci": OCI_MANIFEST, "v2s1": "", "v2s2": DOCKER_MANIFEST, "docker": DOCKER_MANIFEST}
_ENCRYPTED = "+encrypted"


class WriteOptions(Record):
    """`format` oci, v2s2 or "" for the image's own; `compression` gzip, zstd, zstd:chunked, none, or "" for the destination's.

    `force` compresses again what is there in another compression. `encrypt_keys` are recipients as --encryption-key takes them;
    `encrypt_layers` positions, negative ones from the top, none for all.
    """

    format: str = ""
    compression: str = ""
    level: int | None = None
    force: bool = False
    encrypt_keys: list[str] = []
    encrypt_layers: list[int] = []

    def fill(self) -> None:
        """What was not asked for, from containers.conf: of an image that goes to a registry."""
        conf = containers.load()
        if not self.format:
            self.format = conf.text("engine", "image_default_format")
        if not self.compression:
            wanted = conf.text("engine", "compression_format")
            self.compression = "" if wanted.startswith("zstd") and self.format not in ("", "oci") else wanted
            level = conf.number("engine", "compression_level", -1)
            self.level = level if self.level is None and level >= 0 else self.level

    def check(self) -> None:
        """InvalidInput where two options cannot go together."""
        from podling.storage.compress import FORMATS as COMPRESSIONS
        from podling.storage.compress import check_level

        if self.format not in FORMATS or self.format == "v2s1":
            raise InvalidInput(f"--format {self.format!r}: not one of oci, v2s2")
        if self.compression not in ("", "none", *COMPRESSIONS):
            raise InvalidInput(f"--compression-format {self.compression!r}: not one of {', '.join(COMPRESSIONS)}")
        if self.format in ("v2s2", "docker") and self.compression.startswith("zstd"):
            raise InvalidInput("zstd layers need the format oci", hint="leave --format out")
        if self.format in ("v2s2", "docker") and self.encrypt_keys:
            raise InvalidInput("encrypted layers need the format oci", hint="leave --format out")
        if self.encrypt_layers and not self.encrypt_keys:
            raise InvalidInput("--encrypt-layer needs --encryption-key")
        check_level(self.compression if self.compression in COMPRESSIONS else "gzip", self.level)


class _Layer:
    def __init__(self, key: int, diff_id: str, size: int) -> None:
        self.key, self.diff_id, self.size = key, diff_id, size


def write_image(
    ctx: Context,
    image: Image,
    destination: Destination,
    options: WriteOptions,
    names: list[str],
    *,
    instance: bool = False,
) -> Written:
    """Write a stored image: blobs, configuration, manifest. The caller finishes or abandons the destination.

    Raises:
        RegistryError, AccessDenied, StorageFull, InvalidInput.
    """
    from podling.registry.writers import Written

    row = ctx.db.row("SELECT manifest, config FROM images WHERE id=?", image.id)
    if row is None:
        raise StateError(f"image {image.id[:12]} is gone")
    manifest, config = json.loads(row[0]), row[1]
    keys = list(reversed(ctx.store.chain(image.layer))) if image.layer else []
    layers = []
    for key in keys:
        found = ctx.db.row("SELECT diff_id, size FROM layers WHERE key=?", key)
        assert found is not None
        layers.append(_Layer(key, found[0], found[1]))
    own = str(manifest.get("mediaType") or OCI_MANIFEST)
    compression = options.compression or destination.compression
    compression = "" if compression == "none" else compression
    if destination.format and options.format not in ("", destination.format):
        raise InvalidInput(f"--format {options.format}: that destination takes {destination.format} alone")
    wanted = FORMATS[options.format or destination.format] or (
        OCI_MANIFEST if compression.startswith("zstd") or options.encrypt_keys else own
    )
    originals: list[dict[str, Any]] = manifest.get("layers") or []
    if len(originals) != len(layers):
        originals = []
    encrypted = _encrypted_positions(options, len(layers))
    writer = _LayerWriter(ctx, destination, compression, options, oci=wanted == OCI_MANIFEST)
    entries = writer.run(layers, originals, encrypted)
    destination.config(config)
    same = [entry["digest"] for entry in entries] == [entry["digest"] for entry in originals]
    if same and wanted == own and not encrypted:
        data: bytes = row[0]
    else:
        oci = wanted == OCI_MANIFEST
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": wanted,
            "config": {
                "mediaType": OCI_CONFIG if oci else DOCKER_CONFIG, "digest": digest_of(config), "size": len(config),
            },
            "layers": entries,
        }  # fmt: skip
        if oci and manifest.get("annotations"):
            document["annotations"] = manifest["annotations"]
        data = json.dumps(document).encode()
    ctx.progress("Writing manifest to image destination")
    destination.manifest(data, wanted, names, instance=instance)
    return Written(manifest=data, media_type=wanted)


def _encrypted_positions(options: WriteOptions, count: int) -> set[int]:
    if not options.encrypt_keys:
        return set()
    if not options.encrypt_layers:
        return set(range(count))
    positions = {position % count if -count <= position < count else count for position in options.encrypt_layers}
    if count in positions:
        raise InvalidInput(f"--encrypt-layer: the image has {count} layers, counted from 0 or back from -1")
    return positions


class _LayerWriter:
    """Writes the layers of one image to one destination; equal layers once."""

    def __init__(
        self, ctx: Context, destination: Destination, compression: str, options: WriteOptions, *, oci: bool
    ) -> None:
        self.ctx = ctx
        self.destination = destination
        self.compression = compression
        self.options = options
        self.oci = oci

    def run(self, layers: list[_Layer], originals: list[dict[str, Any]], encrypted: set[int]) -> list[dict[str, Any]]:
        """A descriptor for each layer."""
        todo: dict[str, int] = {}
        for position, layer in enumerate(layers):
            todo.setdefault(layer.diff_id, position)

        def one(position: int) -> dict[str, Any]:
            original = originals[position] if originals else {}
            return self._layer(layers[position], original, encrypt=position in encrypted)

        if self.destination.parallel and len(todo) > 1:
            from concurrent.futures import ThreadPoolExecutor

            pool = ThreadPoolExecutor(max_workers=min(3, len(todo)))
            try:
                futures = {diff_id: pool.submit(one, position) for diff_id, position in todo.items()}
                done = {diff_id: future.result() for diff_id, future in futures.items()}
            except BaseException as error:
                # a thread may hang in the network: who pressed Ctrl-C does not wait for it
                pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
                raise
            pool.shutdown()
        else:
            done = {diff_id: one(position) for diff_id, position in todo.items()}
        return [done[layer.diff_id] for layer in layers]

    def _known(self, layer: _Layer, original: dict[str, Any]) -> Iterator[tuple[str, int, str, dict[str, str]]]:
        """(digest, size, compression, annotations) of blobs that hold the layer, the one that it came as first."""
        if original and original["digest"] != layer.diff_id and _ENCRYPTED not in original["mediaType"]:
            yield (
                original["digest"], original["size"], _compression_of(original["mediaType"]), original.get("annotations") or {},
            )  # fmt: skip
        for digest, size, kind in self.ctx.db.rows(
            "SELECT digest, size, media_type FROM blobs WHERE diff_id=?", layer.diff_id
        ):
            yield digest, size, _compression_of(kind), {}

    def _layer(self, layer: _Layer, original: dict[str, Any], *, encrypt: bool) -> dict[str, Any]:
        if encrypt:
            return self._encrypted(layer)
        if not self.compression:
            digest, size = layer.diff_id, layer.size
            if not self.destination.has(digest, self._places(digest)):
                self.ctx.progress(f"Copying blob {digest}")
                self.destination.blob(self._content(layer), digest=digest, size=size)
            return self._entry(digest, size, "")
        for digest, size, compression, notes in self._known(layer, original):
            if (self.options.force and compression != self.compression) or (compression == "zstd" and not self.oci):
                continue
            if self.options.force and self.compression == "zstd:chunked":
                continue
            if self.destination.has(digest, self._places(digest)):
                self.ctx.progress(f"Copying blob {digest} skipped: already exists")
                self._remember(layer.diff_id, digest, size, compression)
                return self._entry(digest, size, compression, notes)
        self.ctx.progress(f"Copying blob {layer.diff_id}")
        if self.compression == "zstd:chunked":
            return self._chunked(layer)
        digest, size = self.destination.blob(self._packed(layer))
        self._remember(layer.diff_id, digest, size, self.compression)
        return self._entry(digest, size, self.compression)

    def _content(self, layer: _Layer) -> Content:
        def content() -> Iterator[bytes]:
            return self.ctx.measured(layer.diff_id, layer.size, self.ctx.store.tar(layer.key))

        return content

    def _packed(self, layer: _Layer) -> Content:
        from podling.storage.compress import compressed

        content = self._content(layer)
        return lambda: compressed(content(), self.compression, self.options.level)

    def _chunked(self, layer: _Layer) -> dict[str, Any]:
        from podling.storage.chunked import ChunkedWriter

        annotations: dict[str, str] = {}

        def content() -> Iterator[bytes]:
            writer = ChunkedWriter(self._content(layer)(), self.options.level)
            yield from writer
            annotations.update(writer.annotations)

        digest, size = self.destination.blob(content)
        self._remember(layer.diff_id, digest, size, "zstd")
        return self._entry(digest, size, "zstd", annotations)

    def _encrypted(self, layer: _Layer) -> dict[str, Any]:
        from podling.registry.encryption import Encryptor

        self.ctx.progress(f"Copying blob {layer.diff_id}")
        annotations: dict[str, str] = {}
        compression = self.compression.partition(":")[0]
        packed = self._packed(layer)

        def content() -> Iterator[bytes]:
            encryptor = Encryptor(self.options.encrypt_keys)
            yield from encryptor.encrypt(packed())
            annotations.update(encryptor.annotations)

        digest, size = self.destination.blob(content)
        entry = self._entry(digest, size, compression, annotations)
        entry["mediaType"] += _ENCRYPTED
        return entry

    def _entry(
        self, digest: str, size: int, compression: str, annotations: dict[str, str] | None = None
    ) -> dict[str, Any]:
        if self.oci:
            kind = OCI_LAYER + (f"+{compression}" if compression else "")
        else:
            kind = DOCKER_LAYER + (f".{compression}" if compression else "")
        entry: dict[str, Any] = {"mediaType": kind, "digest": digest, "size": size}
        if annotations and self.oci:
            entry["annotations"] = annotations
        return entry

    # -- what is known of blobs
    def _places(self, digest: str) -> list[str]:
        rows = self.ctx.db.rows("SELECT place FROM blob_places WHERE digest=? ORDER BY place LIMIT 20", digest)
        return [place for (place,) in rows]

    def _remember(self, diff_id: str, digest: str, size: int, compression: str) -> None:
        remember_blobs(self.ctx, getattr(self.destination, "place", ""), [(diff_id, digest, size, compression)])


def remember_blobs(ctx: Context, place: str, blobs: list[tuple[str, str, int, str]]) -> None:
    """Note (diff id, digest, size, compression or media type) of compressed blobs, and that `place` has them."""
    with ctx.db.write() as tx:
        for diff_id, digest, size, kind in blobs:
            if diff_id != digest:
                tx.run("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?)", diff_id, digest, size, kind)
            if place:
                tx.run("INSERT OR IGNORE INTO blob_places VALUES (?, ?)", digest, place)


def _compression_of(media_type: str) -> str:
    """gzip, zstd, or "" by a media type's end."""
    return next((name for name in ("gzip", "zstd") if media_type.endswith(name)), "")
