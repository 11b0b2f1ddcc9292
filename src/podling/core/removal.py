"""Removing containers: the row and what hangs on it go in one transaction, the folders after it, by an intent."""

from __future__ import annotations

import os

from podling.core.containers import Container
from podling.errors import Conflict, NoSuchContainer, WrongState

_ATTEMPTS = 5


class StillRunning(WrongState):
    """`rm` without --force; Podman's exit code 2."""

    exit_code = 2
    reference = "container-running"


def dependants(container: Container) -> list[Container]:
    """Containers that require this one, or live in one of its namespaces."""
    from podling.core.containers import every

    found = []
    for other in every(container.ctx, f"config LIKE '%{container.id}%'"):
        config = other.config
        joined = [config.network, config.pid_mode, config.ipc_mode, config.uts_mode, config.cgroup_mode]
        if config.userns:
            joined.append(config.userns.mode)
        if other.key != container.key and (
            f"container:{container.id}" in joined or any(item.startswith(container.id) for item in config.requires)
        ):
            found.append(other)
    return found


def remove_one(
    container: Container,
    *,
    force: bool,
    volumes: bool,
    timeout: int = -1,
    depend: bool = False,
    with_pod: bool = False,
) -> None:
    """Remove one container; a running one is stopped first with `force`. One that somebody else removes meanwhile is as good.
    With `depend` those that require it go before it. A pod's infra container goes only `with_pod`.

    Raises:
        StillRunning: it runs or is paused, and `force` is not given.
        Conflict: others require it.
    """
    if container.infra and not with_pod:
        raise Conflict(
            f"container {container.id} is the infra container of pod {container.config.pod} and cannot be removed without "
            "removing the pod",
            hint=f"podling pod rm {container.config.pod[:12]}",
        )
    others = dependants(container)
    if others and not depend:
        raise Conflict(
            f"container {container.id} has dependent containers which must be removed before it: "
            f"{', '.join(other.id for other in others)}: container already exists",
            hint="rm --depend removes them too",
        )
    for other in others:
        remove_one(other, force=force, volumes=volumes, timeout=timeout, depend=True)
    try:
        _remove(container, force=force, volumes=volumes, timeout=timeout)
    except NoSuchContainer:
        pass


def _remove(container: Container, *, force: bool, volumes: bool, timeout: int) -> None:
    from podling.core import lifecycle

    container.load()
    if container.is_alive and not force:
        raise StillRunning(
            f"cannot remove container {container.id} as it is {container.status} - running or paused containers cannot be removed "
            "without force: container state improper",
            hint=f"podling stop {container.name}, or rm --force",
        )
    for _ in range(_ATTEMPTS):
        # a stopped one too, where its restart policy may be about to start it
        if force and (container.is_alive or container.config.restart != "no"):
            lifecycle.stop(container, timeout)
        with container.lock():
            container.load()
            if not container.is_alive:
                _forget_stopped(container, volumes=volumes)
                return
    raise StillRunning(f"container {container.name} was started again meanwhile", hint="try again")


def _forget_stopped(container: Container, *, volumes: bool) -> None:
    from podling.core import lifecycle

    if container.dirty:
        lifecycle.clean_up(container, remove=False)
    forget(container, volumes=volumes or bool(container.auto_remove))


def forget(container: Container, *, died: int | None = None, finished: int = 0, volumes: bool = True) -> None:
    """Delete the row, its layer and its folders. `died` records the exit in the same transaction."""
    from podling.core.volumes import release

    ctx = container.ctx
    with ctx.db.write() as tx:
        if died is not None:
            container.tell(tx, "died", containerExitCode=str(died))
            tx.run("INSERT OR REPLACE INTO exits VALUES (?, ?, ?)", container.id, finished, died)
            tx.run("DELETE FROM exits WHERE finished < ?", finished - 86400 * 10**9)
        doomed = release(ctx, tx, container.key) if volumes else []
        tx.run("DELETE FROM containers WHERE key=?", container.key)
        if container.layer:
            doomed.append(ctx.store.discard(tx, container.layer))
        if container.config.log_path:
            doomed.append(ctx.store.doom(tx, f"containers/{container.id}"))
            place = os.path.dirname(container.config.log_path)
            if os.path.basename(place) == container.id and place != ctx.folder(
                container.id
            ):  # containers.conf: log_path
                doomed.append(ctx.store.doom(tx, place))
        container.tell(tx, "remove")
    ctx.store.bury(doomed)
