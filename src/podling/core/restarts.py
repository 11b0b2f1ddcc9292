"""Restart policies without a daemon: who cleans up after a container starts it again, or has a process of its own do it.

The first restart comes at once, later ones after pauses that double from 100 ms to a minute; a container that ran for ten seconds
begins anew. A container that a person stopped or killed stays as it is.
"""

from __future__ import annotations

import time

from podling.core import lifecycle
from podling.core.containers import Container, find
from podling.errors import NotFound, PodlingError
from podling.linux.process import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 60.0
_LONG_RUN = 10 * 10**9


def is_due(container: Container, code: int) -> bool:
    """Whether the policy wants another start after an exit with `code`."""
    config = container.config
    if not container.wanted or config.restart == "no":
        return False
    if config.restart == "on-failure":
        return code != 0 and (not config.restart_limit or container.restarts < config.restart_limit)
    return True


def after_exit(container: Container, code: int) -> None:
    """Leave the restart to a process of its own: who calls this holds the lock, and may be somebody's foreground."""
    if not is_due(container, code):
        return
    from podling.runtime.conmon import own_command

    argv = own_command(container.ctx.settings, "container", "cleanup", "--restart", container.id)
    import os

    child = spawn(["/usr/bin/setsid", "-f", *argv])
    os.waitpid(child, 0)


def restart(ctx: Context, id: str) -> None:
    """Wait as long as the policy's pauses say, and start the container again, unless that is no longer wanted."""
    try:
        container = find(ctx, id)
        ran = container.finished - container.started
        quick = 0 if ran >= _LONG_RUN else container.restarts
        if quick:
            time.sleep(min(_FIRST_PAUSE * 2 ** (quick - 1), _LONGEST_PAUSE))
        with container.lock():
            container.load()
            if container.is_alive or not is_due(container, container.exit_code):
                return
            with ctx.db.write() as tx:
                tx.update("containers", container.key, restarts=container.restarts + 1)
        lifecycle.start(container, again=True)
        with ctx.db.write() as tx:
            container.tell(tx, "restart")
    except NotFound:
        pass
    except PodlingError as error:
        with ctx.db.write() as tx:
            tx.run("UPDATE containers SET error=? WHERE id=?", error.message, id)
