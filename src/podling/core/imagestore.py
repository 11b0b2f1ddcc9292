"""How an image comes into the store, whatever its source.

Its missing layers are unpacked side by side into staged folders, and one transaction makes layers, image and names visible
together. A kill before that leaves intents; nothing half-made is ever seen.
"""

from __future__ import annotations

from podling.config import containers
from podling.errors import BadArchive, PodlingError
from podling.oci import json
from podling.oci.image import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    chain_ids,
    digest_of,
    host_platform,
    parse_config,
    parse_platform,
)
from podling.oci.times import format_time, parse_time
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from podling.core.context import Context
    from podling.state.database import Transaction
    from podling.state.locks import Lock
    from podling.storage.store import Staged

    Source = Callable[[], Iterator[bytes]]

#: layers that are unpacked at the same time, unless containers.conf says how many
_SIDE_BY_SIDE = 3


def store_image(
    ctx: Context,
    *,
    manifest: bytes,
    config: bytes,
    sources: list[Source],
    names: list[str],
    digests: list[tuple[str, str]],
    action: str,
    descriptors: list[Descriptor] | None = None,
    place: str = "",
    origin: str = "",
    signatures: list[tuple[str, bytes]] | None = None,
) -> str:
    """Store an image; its id. `sources` give the tar of each layer, lowest first; those that are here are not asked.

    `descriptors` say how the layers came, and `place` which registry/repository has them; `origin` is the name that the
    signature policy knows the image by, `signatures` are (digest of the signed manifest, body).

    Raises:
        BadArchive, DigestMismatch, StorageFull: nothing of the image is stored then.
    """
    document = parse_config(config)
    chain = chain_ids(document.diff_ids)
    if len(sources) != len(chain):
        raise BadArchive(f"the image has {len(sources)} layers, its configuration names {len(chain)}")
    id = digest_of(config).partition(":")[2]
    locks: list[Lock] = []
    staged: dict[int, Staged] = {}
    try:
        missing = _lock_missing(ctx, chain, locks)
        if missing:
            from podling.storage.pipeline import BriskThreads

            with BriskThreads():
                _unpack_all(ctx, missing, chain, document.diff_ids, sources, staged)
        if staged:
            ctx.store.flush()
        size = 0
        with ctx.db.write() as tx:
            parent: int | None = None
            for position, chain_id in enumerate(chain):
                if position in staged:
                    staged[position].record(tx, parent=parent, chain_id=chain_id)
                    parent = staged[position].key
                    size += staged[position].size
                else:
                    row = tx.row("SELECT key, size FROM layers WHERE chain_id=?", chain_id)
                    if row is None:
                        raise PodlingError("a layer was removed while the image came in", hint="try again")
                    parent, size = row[0], size + row[1]
            record_image(tx, id, parent, manifest, config, document.raw, size, origin=origin)
            for digest, body in signatures or ():
                tx.run("INSERT OR IGNORE INTO signatures VALUES (?, ?, ?)", id, digest, body)
            for descriptor, diff_id in zip(descriptors or (), document.diff_ids, strict=bool(descriptors)):
                if descriptor.digest != diff_id and not descriptor.media_type.endswith("+encrypted"):
                    tx.run(
                        "INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?)",
                        diff_id, descriptor.digest, descriptor.size, descriptor.media_type,
                    )  # fmt: skip
                    if place:
                        tx.run("INSERT OR IGNORE INTO blob_places VALUES (?, ?)", descriptor.digest, place)
            for repository, digest in digests:
                tx.run("INSERT OR REPLACE INTO image_digests VALUES (?, ?, ?)", repository, digest, id)
            for name in names:
                tx.run("INSERT OR REPLACE INTO image_names VALUES (?, ?)", name, id)
            tx.event("image", action, id, names[0] if names else "")
        return id
    except KeyboardInterrupt:
        for layer in staged.values():
            layer.abandon()
        raise
    finally:
        for layer in staged.values():
            layer.close()
        for lock in locks:
            lock.release()


def record_image(
    tx: Transaction,
    id: str,
    layer: int | None,
    manifest: bytes,
    config: bytes,
    document: dict[str, Any],
    size: int,
    *,
    origin: str = "",
    shelf: str = "",
) -> None:
    """Insert the row of an image, in the caller's transaction; one that is there gets the new manifest and origin."""
    labels = (document.get("config") or {}).get("Labels") or {}
    platform = Platform(
        os=document.get("os") or "linux",
        architecture=document.get("architecture") or "",
        variant=document.get("variant") or "",
    )
    tx.run(
        "INSERT INTO images (id, layer, manifest, manifest_digest, config, size, created, stored, labels, platform, origin, shelf) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET manifest=excluded.manifest, manifest_digest=excluded.manifest_digest, "
        "origin=excluded.origin",
        id, layer, manifest, digest_of(manifest), config, size, parse_time(document.get("created") or ""), now(),
        json.dumps(labels), str(platform), origin, shelf,
    )  # fmt: skip


def _lock_missing(ctx: Context, chain: list[str], locks: list[Lock]) -> list[int]:
    """Positions of layers that are not here, each with its lock held: two pulls of one layer do the work once.

    Locks are taken from the bottom up; chain ids contain what is below, so two images can only meet in the same order.
    """
    missing = []
    for position, chain_id in enumerate(chain):
        known = "SELECT key FROM layers WHERE chain_id=?"
        if ctx.db.row(known, chain_id):
            continue
        lock = ctx.locks.hold("chain", int(chain_id.partition(":")[2][:15], 16))
        if ctx.db.row(known, chain_id):  # the one we waited for has it
            lock.release()
            continue
        locks.append(lock)
        missing.append(position)
    return missing


def _unpack_all(
    ctx: Context,
    missing: list[int],
    chain: list[str],
    diff_ids: list[str],
    sources: list[Source],
    staged: dict[int, Staged],
) -> None:
    store = ctx.store
    independent = store.driver.independent

    def parent_of(position: int) -> int | None:
        if not position:
            return None
        if position - 1 in staged:
            return staged[position - 1].key
        key: int | None = ctx.db.value("SELECT key FROM layers WHERE chain_id=?", chain[position - 1])
        return key

    stopped: list[bool] = []

    def until_stopped(chunks: Iterator[bytes]) -> Iterator[bytes]:
        """One layer's failure ends the work on the others."""
        for chunk in chunks:
            if stopped:
                raise PodlingError("the work on another layer failed")
            yield chunk

    def unpack(position: int) -> None:
        ctx.progress(f"Copying layer {diff_ids[position][:19]}")
        layer = staged.get(position)
        if layer is None:
            layer = staged[position] = store.stage(chain[position], parent_of(position))
        twin = ctx.db.value("SELECT key FROM layers WHERE diff_id=? AND chain_id IS NOT NULL", diff_ids[position])
        # the same content lies here on top of other layers: nothing needs to be fetched
        chunks = store.tar(twin) if twin is not None else sources[position]()
        store.unpack(layer, until_stopped(chunks), parent_of(position), expected=diff_ids[position])

    if not independent or len(missing) < 2:
        for position in missing:
            unpack(position)
        return
    from concurrent.futures import ThreadPoolExecutor

    for position in missing:  # overlay layers do not look at each other, only their order of keys is fixed here
        staged[position] = store.stage(chain[position], parent_of(position))
    side_by_side = max(containers.load().number("engine", "image_parallel_copies", 0), 0) or _SIDE_BY_SIDE
    pool = ThreadPoolExecutor(max_workers=min(len(missing), side_by_side))
    try:
        for future in [pool.submit(unpack, position) for position in missing]:
            future.result()
    except BaseException as error:
        stopped.append(True)
        # a thread may hang in the network: who pressed Ctrl-C does not wait for it
        pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
        raise
    pool.shutdown()


def image_of_tar(
    ctx: Context,
    chunks: Iterator[bytes],
    config: dict[str, Any],
    comment: str,
    name: str,
    platform: str = "",
    annotations: dict[str, str] | None = None,
) -> str:
    """One layer from `chunks`; unlike with a pull its digest is known only after it has been unpacked."""
    staged = ctx.store.stage("import", None)
    try:
        ctx.store.unpack(staged, chunks, None)
        wanted = parse_platform(platform) if platform else host_platform()
        created = format_time(now())
        document: dict[str, Any] = {
            "created": created,
            "architecture": wanted.architecture,
            "os": wanted.os,
            **({"variant": wanted.variant} if wanted.variant else {}),
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [staged.diff_id]},
            "history": [{"created": created, "created_by": "podling import", "comment": comment}],
        }
        data = json.dumps(document).encode()
        manifest = manifest_of(data, [(staged.diff_id, staged.size)], annotations)
        id = digest_of(data).partition(":")[2]
        ctx.store.flush()
        with ctx.db.write() as tx:
            known = tx.row("SELECT key FROM layers WHERE chain_id=?", staged.diff_id)
            if not known:
                staged.record(tx, parent=None, chain_id=staged.diff_id)
            record_image(tx, id, known[0] if known else staged.key, manifest, data, document, staged.size)
            if name:
                tx.run("INSERT OR REPLACE INTO image_names VALUES (?, ?)", name, id)
                tx.run(
                    "INSERT OR REPLACE INTO image_digests VALUES (?, ?, ?)",
                    name.rpartition(":")[0],
                    digest_of(manifest),
                    id,
                )
            tx.event("image", "import", id, name)
        return id
    except KeyboardInterrupt:
        staged.abandon()
        raise
    finally:
        staged.close()


def manifest_of(config: bytes, layers: list[tuple[str, int]], annotations: dict[str, str] | None = None) -> bytes:
    """An OCI manifest for uncompressed layers: (diff id, size)."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor(media_type=OCI_CONFIG, digest=digest_of(config), size=len(config)).to_wire(),
        "layers": [Descriptor(media_type=OCI_LAYER, digest=diff_id, size=size).to_wire() for diff_id, size in layers],
        **({"annotations": annotations} if annotations else {}),
    }
    return json.dumps(document).encode()
