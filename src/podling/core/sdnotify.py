"""systemd's notifications for a container (sd_notify(3)): who the main process is, and when it is ready.

With --sdnotify=container conmon relays what the container says; with conmon it counts as ready at once; with healthy, when its health
check first passes.
"""

from __future__ import annotations

import os
import time

from podling.core.containers import Container
from podling.errors import WrongState

MODES = ("container", "conmon", "healthy", "ignore")


def started(container: Container, conmon_pid: int) -> None:
    """What is to be said when the container has been started.

    Raises:
        WrongState: it ended, or became unhealthy, before it was ready.
    """
    mode = container.config.sdnotify
    if mode == "ignore":
        return
    lines = [f"MAINPID={conmon_pid}"]
    if mode == "healthy":
        _await_healthy(container)
    if mode != "container":
        lines.append("READY=1")
    send("\n".join(lines))


def _await_healthy(container: Container) -> None:
    while container.health != "healthy":
        if not container.is_alive or container.health == "unhealthy":
            raise WrongState(f"container {container.name} did not become healthy")
        time.sleep(0.2)
        container.load()


def send(text: str) -> None:
    """Send a message to $NOTIFY_SOCKET; nothing when nobody listens there."""
    import socket

    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(text.encode(), "\0" + path[1:] if path[0] == "@" else path)
        except OSError:
            pass
