"""Whether a user has the ids that an image's files belong to, found out before its layers are fetched where something small tells.

That is the configuration, which names who the process runs as, and the tables of zstd:chunked layers, which name every file's owner.
Of other layers the first file that belongs to nobody ends the pull (`storage.extract`).
"""

from __future__ import annotations

from podling.linux.proc import in_user_namespace
from podling.storage.extract import missing_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.oci.image import Descriptor
    from podling.registry.client import Client


def check(
    ctx: Context, client: Client, repository: str, config: dict[str, Any], layers: list[Descriptor], diff_ids: list[str]
) -> None:
    """
    Raises:
        IdsMissing: with the ids that are needed, and the command that grants them.
    """
    if not in_user_namespace() or ctx.store.options.strays is not None:
        return
    user = str((config.get("config") or {}).get("User") or "")
    uid, _, gid = user.partition(":")
    _check("the image's process", int(uid) if uid.isdigit() else 0, int(gid) if gid.isdigit() else 0)
    for layer, diff_id in zip(layers, diff_ids, strict=True):
        if layer.annotations and not ctx.db.row("SELECT 1 FROM layers WHERE diff_id=?", diff_id):
            _check_table(client, repository, layer)


def _check_table(client: Client, repository: str, layer: Descriptor) -> None:
    from podling.errors import NotFound, RegistryError
    from podling.storage.chunked import read_table

    def fetch(start: int, length: int) -> bytes:
        return b"".join(client.blob_range(repository, layer.digest, start, length))

    try:
        table = read_table(layer.annotations, fetch)
    except (RegistryError, NotFound, ValueError, KeyError):
        return  # the layer itself will tell
    if table is not None:
        _check(f"the layer's file {table.farthest[0]!r}", *table.farthest[1:])


def _check(what: str, uid: int, gid: int) -> None:
    from podling.rootless import subids

    if any(id >= subids.size(subids.current(kind)) for kind, id in (("uid", uid), ("gid", gid))):
        raise missing_ids(what, uid, gid)
