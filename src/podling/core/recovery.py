"""After a kill or a reboot: what the database says and what is really there are made one again.

| killed at                              | what is left                         | what the next writing command does |
|----------------------------------------|--------------------------------------|------------------------------------|
| pull, load, create, before the commit  | folder + intent                      | removes the folder                 |
| remove, after the commit               | folder + intent                      | removes the folder                 |
| start, before "running" is recorded    | `dirty`, status created or exited    | kills and releases, keeps the row  |
| container died, nobody cleaned up      | `dirty`, status running, pid is dead | records the exit, releases; --rm   |
| build, while RUN's command runs        | container + folder + intent          | kills and removes both             |
| conmon killed                          | the container runs on                | nothing, until the container ends  |
"""

from __future__ import annotations

import os

from podling.core.containers import ALIVE
from podling.errors import NotFound, PodlingError
from podling.linux.proc import is_alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context


def run(ctx: Context) -> None:
    """Undo orphaned intents and release what dead containers hold."""
    if ctx.db.value("SELECT 1 FROM intents LIMIT 1"):
        _drop_builds(ctx)
        ctx.store.recover()
    _drop_exit_files(ctx)
    for key, status, pid, start in ctx.db.rows("SELECT key, status, pid, pid_start FROM containers WHERE dirty"):
        if is_alive(pid, start) and status in ALIVE:
            continue
        _release(ctx, key)


def _drop_builds(ctx: Context) -> None:
    """Containers and folders of builds that were killed in the middle of a step; such a container may still run."""
    from podling.core import containers, removal
    from podling.state.intents import orphans

    if not ctx.db.row("SELECT 1 FROM intents WHERE kind='build'"):
        return
    for intent, kind, name in orphans(ctx.db, ctx.locks):
        if kind != "build":
            continue
        try:
            for container in containers.every(ctx, f"external AND name='{name}'"):
                removal.remove_one(container, force=True, volumes=True, timeout=0)
            drop_build_folder(f"{ctx.settings.runroot}/{name}")
        except (OSError, PodlingError) as error:
            ctx.warn(f"what a build left: {error}")
            continue
        with ctx.db.write() as tx:
            intent.finish(tx)


def drop_build_folder(folder: str) -> None:
    """What a step of a build mounted and kept there."""
    from podling.linux.calls import umount
    from podling.linux.files import remove_tree

    if os.path.isdir(folder):
        for name in os.listdir(folder):
            if os.path.ismount(f"{folder}/{name}"):
                umount(f"{folder}/{name}")
        remove_tree(folder)


def _drop_exit_files(ctx: Context) -> None:
    """Exit files of containers that are gone: their remover was killed between its transaction and its last step."""
    try:
        names = os.listdir(f"{ctx.settings.tmpdir}/exits")
    except FileNotFoundError:
        return
    for name in names:
        if not ctx.db.row("SELECT 1 FROM containers WHERE id=?", name.partition(".")[0]):
            try:
                os.unlink(f"{ctx.settings.tmpdir}/exits/{name}")
            except FileNotFoundError:
                pass


def _release(ctx: Context, key: int) -> None:
    from podling.core import containers, lifecycle

    lock = ctx.locks.attempt("container", key)
    if lock is None:  # somebody is at it
        return
    with lock:
        found = containers.every(ctx, f"key={key}")
        if not found or not found[0].dirty or found[0].is_alive:
            return
        try:
            lifecycle.clean_up(found[0])
        except NotFound:
            pass
        except PodlingError as error:
            ctx.warn(f"clean-up of container {found[0].name}: {error.message}")


def after_reboot(ctx: Context, marker: str, boot: str) -> None:
    """Void all runtime state: no process, mount or namespace of before is left."""
    os.makedirs(os.path.dirname(marker), 0o700, exist_ok=True)
    os.makedirs(ctx.settings.tmpdir, 0o700, exist_ok=True)
    with ctx.locks.hold("boot", 0):
        try:
            with open(marker) as file:
                if file.read() == boot:
                    return
        except FileNotFoundError:
            pass
        rows = ctx.db.rows("SELECT id, pid, pid_start FROM containers WHERE pid")
        alive = {
            id for id, pid, start in rows if is_alive(pid, start)
        }  # of a runroot that was swept away, or of another one
        with ctx.db.write() as tx:
            tx.run(
                "UPDATE containers SET status='exited', finished=CASE finished WHEN 0 THEN started ELSE finished END, exit_code=255 "
                "WHERE status IN ('running', 'paused', 'stopping', 'initialized')"
            )
            tx.run("UPDATE containers SET pid=0, pid_start=0, conmon_pid=0, conmon_start=0, network='{}'")
            tx.run("UPDATE layers SET mounts=0 WHERE mounts")
            tx.run("DELETE FROM exec_sessions")
            tx.run("DELETE FROM image_mounts")
            tx.run("UPDATE containers SET mounted=0 WHERE mounted")
            tx.run("UPDATE volumes SET mounted=0 WHERE mounted")
            tx.run("DELETE FROM leases")
        with open(marker + ".new", "w") as file:
            file.write(boot)
        os.rename(marker + ".new", marker)
    _drop_volatile(ctx, alive)


def _drop_volatile(ctx: Context, alive: set[str]) -> None:
    """What was made for one boot alone goes: containers of --rm, whose files may not have been written out, and of a transient store."""
    from podling.core import containers, removal

    for container in containers.every(ctx, "auto_remove OR config LIKE '%\"transient\":true%'"):
        if container.id in alive:
            continue
        try:
            removal.remove_one(container, force=True, volumes=True, depend=True)
        except PodlingError as error:
            ctx.warn(f"container {container.name}, which was to end with the reboot: {error.message}")
