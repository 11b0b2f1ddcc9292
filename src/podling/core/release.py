"""Letting go of what a started container holds, in reverse order; goes on after a failure and reports all of them."""

from __future__ import annotations

import os

from podling.core.containers import Container
from podling.errors import PodlingError
from podling.linux.calls import umount
from podling.linux.files import remove_tree
from podling.linux.proc import outer_uid
from podling.linux.process import guards, spawn
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def release_all(container: Container, *, for_good: bool = False) -> list[str]:
    """Runtime state, networks, mounts, bundle. What could not be released, as text; repeat to try again.

    The exit file stays until the exit is recorded: who reads the row before that looks there. `for_good`: the layer's row
    goes in a moment, so its users are not counted down any more.
    """
    ctx = container.ctx
    problems: list[str] = []

    def attempt(step: Callable[[], None]) -> None:
        try:
            step()
        except (OSError, PodlingError) as error:
            problems.append(str(error))

    try:
        # the runtime tidies its cgroups and state while we see to the rest
        runtime = ctx.runtime(container.config.runtime)
        deleting = spawn([runtime.path, *runtime.arguments, "delete", "--force", container.id], keep=guards())
    except PodlingError as error:
        problems.append(str(error))
        deleting = 0
    attempt(lambda: _disconnect(container))
    if container.config.network.startswith("container:"):
        attempt(lambda: _leave_hosts(container))
    store, layer, bundle = ctx.store, container.layer, container.bundle
    if container.config.userns:
        from podling.core import staging

        attempt(lambda: staging.empty(container))
    if layer:
        if for_good:
            attempt(lambda: store.driver.unmount(store.folder(layer)))
        else:  # who mounted it with `container mount` keeps it
            attempt(lambda: store.unmount(layer, force=not container.mounted))
    attempt(lambda: _unmount(f"{bundle.folder}/shm"))
    if container.config.mounts:
        from podling.core import volumes

        attempt(lambda: _unmount_all(f"{bundle.folder}/mounts"))
        attempt(lambda: volumes.let_go(ctx, container.key))
    if deleting and os.waitstatus_to_exitcode(os.waitpid(deleting, 0)[1]):
        attempt(lambda: runtime.delete(container.id))  # again, to learn why; "does not exist" is fine
    attempt(lambda: remove_tree(bundle.folder))
    return problems


def _leave_hosts(container: Container) -> None:
    """Its name leaves the hosts file of the container whose network it shared."""
    from podling.network import names

    bundle = type(container.bundle)(container.ctx.settings, container.config.network.removeprefix("container:"))
    names.drop_local(f"{bundle.folder}/hosts", container.config.name)


def _unmount(path: str) -> None:
    while os.path.isdir(path) and umount(path):
        pass


def _unmount_all(folder: str) -> None:
    """What --mount type=image, subpaths and the option O mounted in the bundle."""
    if os.path.isdir(folder):
        for name in os.listdir(folder):
            for part in ("part", "merged"):
                _unmount(f"{folder}/{name}/{part}")


def ran_out_of_memory(container: Container) -> bool:
    """Whether the kernel killed a process of a container that has ended for want of memory: conmon says so, or its cgroup, where that
    is still there. systemd removes one with its last process, and conmon sometimes misses what happened in it."""
    if os.path.exists(f"{container.bundle.persist}/oom"):
        return True
    from podling.runtime.spec import cgroup_path

    path = cgroup_path(container.config, container.ctx.settings.cgroup_manager)
    parent, _, name = path.partition(":podling:")
    place = f"/{parent}/podling-{name}.scope" if name else path
    for events in (f"/sys/fs/cgroup{place}/memory.events", f"/sys/fs/cgroup/memory{place}/memory.oom_control"):
        try:
            with open(events) as file:
                counts = dict(line.split() for line in file)
        except (OSError, ValueError):
            continue
        return counts.get("oom_kill", "0") != "0"
    return False


def drop_exit_file(container: Container) -> None:
    """After the transaction that recorded the exit."""
    try:
        os.unlink(container.bundle.exit_file)
    except FileNotFoundError:
        pass


def _disconnect(container: Container) -> None:
    config = container.config
    if config.network in ("pasta", "slirp4netns"):
        from podling.network import netns, usermode

        usermode.stop(container.ctx.folder(config.id), netns.path_of(config.id))
        netns.delete(netns.path_of(config.id))
    if config.network != "bridge":
        return
    from podling.core.launch import addresses, attachment_of, port_mappings
    from podling.network import backend, native, netns, networks

    ctx = container.ctx
    path = netns.path_of(config.id)
    if outer_uid() and config.ports:
        from podling.network import shared

        shared.stop_forwarding(container.bundle.folder)
    status = json.loads(ctx.db.value("SELECT network FROM containers WHERE key=?", container.key) or "{}")
    leased = ctx.db.rows("SELECT network, address FROM leases WHERE container=?", container.key)
    problems: list[PodlingError] = []
    for name in config.networks:
        own = [address for network, address in leased if network == name] or addresses({name: status.get(name, {})})
        network = networks.find(name)
        if (not own or not os.path.exists(path)) and not native.is_on(config.id, network):
            continue
        attachment = attachment_of(config, name, network, path, own, port_mappings(config))
        try:
            backend.teardown(ctx.settings, attachment)
        except PodlingError as error:
            if name in status:  # half a set-up may have nothing to take down
                problems.append(error)
    netns.delete(path)
    if problems:
        raise problems[0]
