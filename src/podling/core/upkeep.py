"""What is done to containers besides running them: prune, mount, update, clone."""

from __future__ import annotations

from podling.core import lifecycle
from podling.core.containers import Container, every, find
from podling.core.removal import remove_one
from podling.errors import InvalidInput, NoSuchContainer, PodlingError, WrongState
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context
    from podling.core.options import CreateOptions
    from podling.runtime.config import Resources

_PRUNABLE = ("created", "exited")


def prune(ctx: Context, filters: list[str]) -> tuple[list[str], list[Exception], int]:
    """Remove containers that do not run; (ids, what went wrong, bytes that their layers held)."""
    from podling.core.listing import matcher
    from podling.storage.usage import folder_size

    ctx.recover()
    for text in filters:
        if text.partition("=")[0].removesuffix("!") not in ("label", "until"):
            raise InvalidInput(f"--filter {text!r}: prune knows label and until")
    match = matcher(ctx, filters) if filters else None
    done: list[str] = []
    errors: list[Exception] = []
    freed = 0
    for container in every(ctx, "NOT external"):
        if container.truth()[0] not in _PRUNABLE or (match and not match(container)):
            continue
        size = folder_size(f"{ctx.store.folder(container.layer)}/diff") if container.layer else 0
        try:
            remove_one(container, force=False, volumes=False)
        except NoSuchContainer:
            continue
        except PodlingError as error:
            errors.append(error)
            continue
        done.append(container.id)
        freed += size
    return done, errors, freed


# -- mount
def mount(ctx: Context, container: Container) -> str:
    """Mount a container's root file system, or count one more user; its path."""
    if not container.layer:
        return container.config.rootfs
    with container.lock():
        container.load()
        path = ctx.store.mount(container.layer, label=container.config.security.mount_label)
        with ctx.db.write() as tx:
            tx.update("containers", container.key, mounted=container.mounted + 1)
            container.tell(tx, "mount")
    return path


def unmount(ctx: Context, container: Container, *, force: bool) -> None:
    """One user less.

    Raises:
        WrongState: nobody had mounted it.
    """
    with container.lock():
        container.load()
        if not container.mounted or not container.layer:
            raise WrongState(
                f"container {container.name} is not mounted by `container mount`", hint="`podling mount` lists what is"
            )
        for _ in range(container.mounted if force else 1):
            ctx.store.unmount(container.layer)
        with ctx.db.write() as tx:
            tx.update("containers", container.key, mounted=0 if force else container.mounted - 1)
            container.tell(tx, "unmount")


def mounted(ctx: Context) -> list[tuple[Container, str]]:
    """Containers that `container mount` mounted, and where."""
    return [
        (container, ctx.store.driver.root(ctx.store.folder(container.layer)))
        for container in every(ctx, "mounted > 0")
        if container.layer
    ]


# -- update
def update(ctx: Context, name: str, changes: CreateOptions, given: set[str], restart: str) -> str:
    """Change limits, environment and restart policy; those of a running container at once. `given` names the fields to take.

    Raises:
        NoSuchContainer, InvalidInput, RuntimeFailed: nothing is changed then.
    """
    from podling.core import health, limits, parse

    container = find(ctx, name)
    with container.lock():
        container.load()
        config = container.config
        fresh = limits.merged(config.resources, changes, given)
        if fresh is not config.resources and container.is_alive:
            _apply(container, fresh)
        config.resources = fresh
        if restart:
            config.restart, config.restart_limit = parse.restart_policy(restart)
        if "env" in given:
            config.env = {**config.env, **parse.environment(changes.env, [])}
        for key in changes.unsetenv:
            config.env.pop(key, None)
        config.health = health.changed(config.health, changes, given)
        with ctx.db.write() as tx:
            tx.update("containers", container.key, config=json.dumps(config.to_json()))
            container.tell(tx, "update")
    return container.id


def _apply(container: Container, resources: Resources) -> None:
    """Have the runtime change the limits of a running container."""
    import tempfile

    from podling.runtime.spec import resource_limits

    document = resource_limits(resources)
    if not document:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(json.dumps(document))
        file.flush()
        container.ctx.runtime(container.config.runtime).update(container.id, file.name)


# -- clone
def clone(
    ctx: Context,
    name: str,
    new_name: str,
    image: str,
    changes: CreateOptions,
    given: set[str],
    *,
    destroy: bool,
    force: bool,
) -> Container:
    """Make another container like one that is there, perhaps of another image; with `destroy` the first one goes.

    Raises:
        NoSuchContainer, NameInUse, WrongState: the one to be destroyed runs, and `force` is not given.
    """
    from podling.core import create

    original = find(ctx, name)
    if force and not destroy:
        raise InvalidInput("--force needs --destroy", hint="it is about the container that is to go")
    if destroy and original.is_alive and not force:
        raise WrongState(f"container {original.name} runs and cannot be destroyed", hint="--force stops it first")
    copy = create.duplicate(ctx, original, new_name, image, changes, given)
    if destroy:
        remove_one(original, force=True, volumes=False)
    return copy


def start_after_boot(ctx: Context) -> tuple[list[str], list[Exception]]:
    """Start what was running when the host went down, where its restart policy says so; (ids, what went wrong)."""
    done: list[str] = []
    errors: list[Exception] = []
    for container in reversed(every(ctx, "wanted AND status IN ('exited', 'created')")):
        policy = container.config.restart
        if policy in ("always", "unless-stopped"):
            try:
                lifecycle.start(container)
                done.append(container.id)
            except PodlingError as error:
                errors.append(error)
    return done, errors
