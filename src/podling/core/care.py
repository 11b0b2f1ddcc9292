"""The engine as a whole: `system reset`, `system migrate`, and entering a user's namespace for `unshare`."""

from __future__ import annotations

import os

from podling.core.containers import every
from podling.errors import InvalidInput, PodlingError
from podling.linux.files import remove_tree
from podling.linux.proc import outer_uid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context


def reset(ctx: Context) -> None:
    """Remove everything: containers, images, volumes, secrets, networks, the store's folders and the pause process.

    The locks' folder stays to the end, so that a command which runs meanwhile fails clearly instead of writing into nothing.
    """
    from podling.core import networking, pods, removal, volumes
    from podling.network import native, networks

    for pod in pods.all_pods(ctx):
        try:
            pods.remove(ctx, pod, force=True, timeout=0)
        except PodlingError as error:
            ctx.warn(f"pod {pod.name}: {error}")
    for container in every(ctx):
        try:
            removal.remove_one(container, force=True, volumes=True, timeout=0, depend=True)
        except PodlingError as error:
            ctx.warn(f"container {container.name}: {error}")
    ctx.store.unmount_everything()
    for volume in volumes.list_volumes(ctx, []):
        volumes.remove(ctx, volume.name, force=True)
    for network in networks.every():
        if network["name"] != networks.DEFAULT:
            networking.remove(ctx, network["name"], force=True)
        else:  # the network itself is built in; its bridge goes unless another store has containers on it
            native.remove_bridge(network)
    settings = ctx.settings
    ctx.db.close()
    database = os.path.realpath(f"{settings.root}/podling.db")
    for folder in (settings.root, settings.tmpdir, settings.runroot):
        remove_tree(folder)
    for path in (database, f"{database}-wal", f"{database}-shm"):  # containers.conf may have it elsewhere
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
    if outer_uid():
        _end_pause()


def migrate(ctx: Context, runtime: str) -> list[str]:
    """Stop all containers, and a user's namespace with them, so that the next command makes it anew, with the ids that /etc/subuid
    has now; with `runtime`, containers get another OCI runtime. The ids of those that were stopped."""
    from podling.core import lifecycle
    from podling.oci import json

    stopped = []
    if runtime:
        ctx.runtime(runtime)
    for container in every(ctx):
        if container.is_alive:
            lifecycle.stop(container, -1)
            stopped.append(container.id)
        if runtime:
            with container.lock():
                container.load()
                container.config.runtime = runtime
                with ctx.db.write() as tx:
                    tx.update("containers", container.key, config=json.dumps(container.config.to_json()))
    if outer_uid():
        ctx.db.close()
        _end_pause()
    return stopped


def held_locks(ctx: Context) -> list[tuple[str, str]]:
    """(kind, name) of objects that a command works on at this moment."""
    found = []
    for kind in ("pod", "container", "volume"):
        for key, name in ctx.db.rows(f"SELECT key, name FROM {kind}s ORDER BY name"):
            lock = ctx.locks.attempt(kind, key)
            if lock is None:
                found.append((kind, name))
            else:
                lock.release()
    return found


def _end_pause() -> None:
    from podling.config.settings import user_folder
    from podling.rootless import namespace

    namespace.end(user_folder(outer_uid()))


def check_unshare() -> None:
    """`unshare` is for users: root has nothing to enter.

    Raises:
        InvalidInput.
    """
    if not outer_uid():
        raise InvalidInput("please use unshare with rootless", hint="run it as a user; root needs no namespace")
