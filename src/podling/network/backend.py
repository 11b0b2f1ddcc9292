"""Who sets up bridges: we ourselves (`native`) or netavark. A container stays with the one that put it on a network.

A user's bridges are in a namespace of the user's (`shared`), always by ourselves.
"""

from __future__ import annotations

from podling.errors import PodlingError, Unsupported
from podling.linux.proc import outer_uid
from podling.network import native, netavark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.config.settings import Settings
    from podling.network.netavark import Attachment


def setup(settings: Settings, attachment: Attachment) -> dict[str, Any]:
    """Join a namespace to a network; a status block in netavark's shape."""
    if outer_uid():
        if not native.can_do(attachment.network):
            raise Unsupported(
                f"network {attachment.network['name']} is of a kind that needs root",
                hint="users have bridges with addresses of their own, or pasta; libnftables1 must be installed",
            )
        from podling.network import shared

        return shared.setup(settings.runroot, attachment)
    if settings.network_backend != "netavark" and native.can_do(attachment.network):
        return native.setup(settings.runroot, attachment)
    return netavark.setup(settings.runroot, attachment)


def begin(settings: Settings, attachment: Attachment) -> tuple[dict[str, Any], Callable[[], None]]:
    """As `setup`, but perhaps not done yet: (the status block, what waits until it is done, and raises what went wrong)."""
    ours = outer_uid() or (settings.network_backend != "netavark" and native.can_do(attachment.network))
    status = None if ours else native.predicted(attachment)
    if status is None:
        return setup(settings, attachment), _nothing
    return status, _in_background(lambda: netavark.setup(settings.runroot, attachment))


def _nothing() -> None:
    """Nothing is left to wait for."""


def _in_background(work: Callable[[], object]) -> Callable[[], None]:
    """Start a piece of work in a thread; what waits for its end, and raises what it raised."""
    from _thread import allocate_lock, start_new_thread

    from podling.linux import process

    held, ended, errors = process.guards(), allocate_lock(), []

    def run() -> None:
        process.adopt(held)
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            process.adopt([])
            ended.release()

    def wait() -> None:
        with ended:
            pass
        while errors:
            raise errors.pop()

    ended.acquire()
    start_new_thread(run, ())
    return wait


def teardown(settings: Settings, attachment: Attachment, *, stays: bool = False) -> None:
    """Remove what `setup` made; what is gone already is no error. `stays`: the namespace goes on without the network."""
    if outer_uid():
        if native.is_on(attachment.container, attachment.network):
            from podling.network import shared

            shared.teardown(settings.runroot, attachment, stays=stays)
    elif native.is_on(attachment.container, attachment.network):
        native.teardown(settings.runroot, attachment)
        if stays:
            native.detach(attachment)
    else:
        netavark.teardown(settings.runroot, attachment)


def refresh(settings: Settings, attachment: Attachment, status: dict[str, Any]) -> dict[str, Any]:
    """Make the firewall's part of a connection anew; its status block."""
    if outer_uid():
        from podling.network import shared

        shared.refresh(attachment)
        return status
    if native.is_on(attachment.container, attachment.network):
        native.refresh(attachment)
        return status
    try:
        netavark.teardown(settings.runroot, attachment)
    except PodlingError:  # half of the rules had gone
        pass
    return netavark.setup(settings.runroot, attachment)
