"""Volumes: folders in the store that outlive containers."""

from __future__ import annotations

import os

from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context
    from podling.runtime.config import ContainerConfig
    from podling.state.database import Transaction
    from podling.storage.store import Doomed


def path_of(ctx: Context, name: str) -> str:
    return f"{ctx.settings.root}/volumes/{name}/_data"


def ensure(tx: Transaction, name: str) -> int:
    """The key of the volume, made in the caller's transaction when it is new; 64 hexadecimal digits are an anonymous one."""
    row = tx.row("SELECT key FROM volumes WHERE name=?", name)
    if row:
        key: int = row[0]
        return key
    anonymous = len(name) == 64
    key = tx.insert("volumes", name=name, created=now(), anonymous=anonymous)
    tx.event("volume", "create", name, name)
    return key


def fill(ctx: Context, config: ContainerConfig, root: str) -> None:
    """Copy what the image has at a mount point into a volume that is used for the first time."""
    for mount in config.mounts:
        if mount.kind != "volume":
            continue
        row = ctx.db.row("SELECT key, filled FROM volumes WHERE name=?", mount.name)
        if row is None or row[1]:
            continue
        with ctx.locks.hold("volume", row[0]):
            if ctx.db.value("SELECT filled FROM volumes WHERE key=?", row[0]):
                continue
            target = path_of(ctx, mount.name)
            os.makedirs(target, 0o755, exist_ok=True)
            if mount.copy_up and not os.listdir(target):
                _copy_up(root, mount.target, target)
            with ctx.db.write() as tx:
                tx.update("volumes", row[0], filled=1)


def _copy_up(root: str, inside: str, target: str) -> None:
    from podling.linux.calls import open_in_root
    from podling.storage.drivers import copy_tree

    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        source = open_in_root(root_fd, inside, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return  # the image has nothing there
    finally:
        os.close(root_fd)
    try:
        os.set_inheritable(source, True)
        copy_tree(f"/proc/self/fd/{source}/.", target)
    finally:
        os.close(source)


def release(ctx: Context, tx: Transaction, container: int) -> list[Doomed]:
    """A container goes in the caller's transaction: the anonymous volumes that only it used go with it."""
    rows = tx.rows(
        "SELECT v.key, v.name FROM volumes v JOIN volume_users u ON u.volume=v.key WHERE u.container=? AND v.anonymous "
        "AND NOT EXISTS (SELECT 1 FROM volume_users o WHERE o.volume=v.key AND o.container<>?)",
        container,
        container,
    )
    doomed = []
    for key, name in rows:
        tx.run("DELETE FROM volume_users WHERE volume=?", key)
        tx.run("DELETE FROM volumes WHERE key=?", key)
        tx.event("volume", "remove", name, name)
        doomed.append(ctx.store.doom(tx, f"volumes/{name}"))
    return doomed
