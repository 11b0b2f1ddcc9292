"""Making a container: options and the image's configuration become one immutable `ContainerConfig` and a row."""

from __future__ import annotations

import os

from podling.config import containers as conf
from podling.core import defaults, images, limits, pods
from podling.core.configuration import build_config, top_ids_of
from podling.core.containers import Container, every, find
from podling.core.names import random_name
from podling.core.options import CreateOptions
from podling.errors import InvalidInput, NameInUse, NoSuchContainer, NoSuchPod
from podling.oci import json
from podling.runtime.config import ContainerConfig
from podling.state import sqlite
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.core.context import Context
    from podling.state.database import Transaction
    from podling.storage.store import Staged


def create(ctx: Context, options: CreateOptions) -> Container:
    """Create a container; nothing of it is left when that fails.

    Raises:
        InvalidInput, NameInUse, NoSuchImage and what `pull.pull` raises.
    """
    ctx.recover()
    cidfile = _claim(options.cidfile)
    try:
        container = _create(ctx, options)
    except BaseException:
        if cidfile:
            os.unlink(cidfile)
        raise
    if cidfile:
        with open(cidfile, "w") as file:
            file.write(container.id)
    return container


def _claim(path: str) -> str:
    """Make --cidfile's file first: a container whose id could not be written would be lost to its caller."""
    if not path:
        return ""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    except FileExistsError:
        raise InvalidInput(
            f"container id file exists. Ensure another container is not using it or delete {path}", hint=f"rm {path}"
        ) from None
    except OSError as error:
        raise InvalidInput(f"--cidfile {path}: {error.strerror}") from None
    return path


def _create(ctx: Context, options: CreateOptions, made_with: pods.Pod | None = None) -> Container:
    if made_with is None:
        options = defaults.applied(options)
    if options.init_ctr:
        pods.check_init(options)
    pod = pods.of_options(ctx, options) if options.pod or options.pod_id_file else None
    if options.name:
        check_name(options.name)
        if options.replace:
            _replace(ctx, options.name)
    elif options.replace:
        raise InvalidInput("--replace needs --name: cannot replace container without --name being set")
    image_config: dict[str, Any] = {}
    image = None
    if options.rootfs:
        rootfs = os.path.abspath(options.image)
        if not os.path.isdir(rootfs):
            raise InvalidInput(f"--rootfs {rootfs}: no such folder")
    else:
        rootfs = ""
        image = find_image(ctx, options)
        image_config = images.config_of(ctx, image.id).get("config") or {}
    config = build_config(ctx, options, image_config, lambda: top_ids_of(ctx, image))
    config.rootfs = rootfs
    if options.platform:
        runtimes = conf.load().get("engine", "platform_to_oci_runtime") or {}
        config.runtime = str(runtimes.get(options.platform.removeprefix("linux/"), config.runtime))
    if image:
        config.image_id = image.id
        config.image = _shown_name(options.image, image)
    if pod:
        pods.join(ctx, pod, config, options)
    from podling.runtime.spec import check_host

    check_host(config)
    ctx.runtime(config.runtime)
    if made_with:
        pods.become_infra(config, made_with)
    made = store(ctx, config, image, fixed_name=bool(options.name), made_with=made_with)
    if made.layer and conf.load().flag("containers", "prepare_volume_on_create"):
        _prepare_volumes(made)
    return made


def _prepare_volumes(container: Container) -> None:
    """Copy what the image has at the mount points into new volumes now, and not with the first start."""
    from podling.core import volumes

    ctx = container.ctx
    layer = container.layer or 0
    root = ctx.store.mount(layer, container.owners)
    try:
        volumes.fill(ctx, container.config, root, container.owners)
    finally:
        ctx.store.unmount(layer)
        volumes.let_go(ctx, container.key)


def create_infra(ctx: Context, options: CreateOptions, pod: pods.Pod) -> Container:
    """A pod, with the container that holds its namespaces: both rows come in one transaction."""
    return _create(ctx, options, made_with=pod)


def store(
    ctx: Context,
    config: ContainerConfig,
    image: images.Image | None,
    *,
    fixed_name: bool,
    made_with: pods.Pod | None = None,
    fill: Callable[[Staged], None] | None = None,
    on: int | None = None,
    external: bool = False,
) -> Container:
    """The row and the layer of a new container, which `fill` writes to; of the pod too that it is `made_with`. Without an image it
    has the layer `on` below its own. An `external` one is not in lists."""
    parent = image.layer if image else on
    staged = ctx.store.stage(f"container {config.id}", parent, writable=True) if image or on is not None else None
    try:
        if staged and fill:
            fill(staged)
        while True:
            try:
                with ctx.db.write() as tx:
                    if staged:
                        staged.record(tx, parent=parent, chain_id=None)
                    if made_with:
                        pods.insert(tx, made_with)
                    key = _insert(
                        tx, config, image.id if image else None, staged.key if staged else None, external=external
                    )
                    _add_volumes(tx, config, key)
                    made = every(ctx, f"key={key}")[0]
                    made.tell(tx, "create", **_details(made))
                return made
            except sqlite.IntegrityError as error:
                if staged:
                    staged.settled = False
                if "containers.name" not in str(error) or fixed_name:
                    raise _conflict(ctx, config.name, error) from None
                config.name = random_name()
    finally:
        if staged:
            staged.close()


def _details(container: Container) -> dict[str, str]:
    """What the event of a creation tells beside labels, where containers.conf asks for it."""
    if not conf.load().flag("engine", "events_container_create_inspect_data"):
        return {}
    from podling.core.inspect import inspect

    return {"inspectData": json.dumps(inspect(container, size=False))}


def find_image(ctx: Context, options: CreateOptions) -> images.Image:
    """The image that `options.image` names, pulled where the options say so."""
    image = None
    if options.pull in ("missing", "never") and not options.platform:
        image = images.lookup(ctx, options.image)
    if image is None:
        from podling.core.options import RegistryAccess
        from podling.core.pull import PullOptions, pull

        access = RegistryAccess(
            creds=options.creds, authfile=options.authfile, tls_verify=options.tls_verify, cert_dir=options.cert_dir,
            retries=options.retry, retry_delay=options.retry_delay,
        )  # fmt: skip
        wanted = PullOptions(
            policy=options.pull,
            platform=options.platform,
            keys=options.decryption_key,
            signature_policy=options.signature_policy,
        )
        image = images.find(ctx, pull(ctx, options.image, wanted, access))
    else:
        from podling.core import signing

        signing.check_stored(ctx, image)
    return images.instance(ctx, image)


def _shown_name(asked: str, image: images.Image) -> str:
    """The name that `ps` shows: the full one that was meant, or the id when it was asked for by id."""
    if image.id.startswith(asked.removeprefix("sha256:")):
        return image.names[0] if image.names else image.id
    from podling.oci.reference import parse as parse_reference

    wanted = images.candidates(parse_reference(asked))
    return next((name for name in image.names if name in wanted), image.names[0] if image.names else asked)


def check_name(name: str) -> None:
    """Names of containers and pods."""
    inner = name.replace("_", "a").replace(".", "a").replace("-", "a")
    if not name or not inner.isalnum() or not name.isascii() or not name[0].isalnum():
        raise InvalidInput(f"invalid name {name!r}: names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument")


def _replace(ctx: Context, name: str) -> None:
    try:
        old = find(ctx, name)
    except NoSuchContainer:
        return
    if old.name == name:
        from podling.core.removal import remove_one

        remove_one(old, force=True, volumes=True)


def _conflict(ctx: Context, name: str, error: sqlite.IntegrityError) -> Exception:
    holder = ctx.db.value("SELECT id FROM containers WHERE name=?", name)
    if holder:
        return NameInUse(
            f'creating container storage: the container name "{name}" is already in use by {holder}. '
            "You have to remove that container to be able to reuse that name: that name is already in use",
            hint=f"podling rm {name}, another --name, or --replace",
            cause="that name is already in use",
        )
    return InvalidInput(f"the image or a volume of the container was removed meanwhile ({error})", hint="try again")


def _insert(
    tx: Transaction, config: ContainerConfig, image_id: str | None, layer: int | None, *, external: bool
) -> int:
    key = tx.insert(
        "containers",
        id=config.id,
        name=config.name,
        image_id=image_id,
        image=config.image or ("" if config.infra else config.rootfs),
        layer=layer,
        created=now(),
        command="\x1f".join(config.argv),
        labels=json.dumps(config.labels),
        ports=describe_ports(config) or _ports_of_pod(tx, config),
        auto_remove=config.auto_remove,
        config=json.dumps(config.to_json()),
        status="created",
        pod=_pod_key(tx, config),
        infra=config.infra,
        external=external,
    )
    return key


def _ports_of_pod(tx: Transaction, config: ContainerConfig) -> str:
    """A member of a pod that shares its network shows the pod's ports."""
    if not config.pod or not config.network.startswith("container:"):
        return ""
    row = tx.row("SELECT ports FROM containers WHERE id=?", config.network[10:])
    return str(row[0]) if row else ""


def _pod_key(tx: Transaction, config: ContainerConfig) -> int | None:
    """The key of the container's pod, which may have been removed meanwhile. Containers and pods share their names."""
    if tx.row("SELECT 1 FROM pods WHERE name=?", config.name):
        raise NameInUse(
            f'the name "{config.name}" is in use by a pod: that name is already in use', hint="choose another --name",
            cause="that name is already in use",
        )  # fmt: skip
    if not config.pod:
        return None
    row = tx.row("SELECT key FROM pods WHERE id=?", config.pod)
    if row is None:
        raise NoSuchPod(config.pod)
    return int(row[0])


def _add_volumes(tx: Transaction, config: ContainerConfig, key: int) -> None:
    from podling.core.volumes import ensure

    for mount in config.mounts:
        if mount.kind == "volume":
            volume = ensure(tx, mount.name)
            tx.run("INSERT OR IGNORE INTO volume_users VALUES (?, ?)", volume, key)


def rename(container: Container, name: str) -> None:
    """Give a container another name; a running one keeps its host name."""
    check_name(name)
    ctx = container.ctx
    with container.lock():
        container.load()
        config = container.config
        config.name = name
        try:
            with ctx.db.write() as tx:
                document = json.dumps(config.to_json())
                tx.update("containers", container.key, name=name, config=document)
                old, container.name = container.name, name
                container.tell(tx, "rename", oldName=old)
        except sqlite.IntegrityError as error:
            raise _conflict(ctx, name, error) from None


def describe_ports(config: ContainerConfig) -> str:
    """As `ps` shows them: `0.0.0.0:8080->80/tcp`, ranges in one piece, exposed ones without an arrow."""
    shown = []
    for port in config.ports:
        host = f"{port.host_port}-{port.host_port + port.span - 1}" if port.span > 1 else str(port.host_port)
        inner = (
            f"{port.container_port}-{port.container_port + port.span - 1}"
            if port.span > 1
            else str(port.container_port)
        )
        shown.append(f"{port.host_ip or '0.0.0.0'}:{host}->{inner}/{port.protocol}")
    published = {f"{p.container_port + offset}/{p.protocol}" for p in config.ports for offset in range(p.span)}
    shown += [text for text in config.exposed if text not in published]
    return ", ".join(shown)


# -- another like it
def duplicate(
    ctx: Context, original: Container, name: str, image_name: str, changes: CreateOptions, given: set[str]
) -> Container:
    """A new container with the configuration of `original`, perhaps of another image and with other limits.

    Raises:
        NameInUse, NoSuchImage, InvalidInput.
    """
    config, image = copied(ctx, original, name, image_name)
    config.resources = limits.merged(config.resources, changes, given)
    if changes.pod:
        pods.adopt(ctx, pods.find(ctx, changes.pod), config)
    return store(ctx, config, image, fixed_name=bool(name))


def copied(
    ctx: Context, original: Container, name: str, image_name: str = ""
) -> tuple[ContainerConfig, images.Image | None]:
    """The configuration of a new container like `original`, and its image."""
    config = ContainerConfig.from_json(json.loads(original.document))
    old_id = config.id
    config.id = os.urandom(32).hex()
    config.name = name or f"{config.name}-clone"
    check_name(config.name)
    if config.hostname == old_id[:12]:
        config.hostname = config.id[:12]
    if config.log_path == f"{ctx.folder(old_id)}/ctr.log":
        config.log_path = f"{ctx.folder(config.id)}/ctr.log"
    config.mac, config.ip = "", ""
    image = images.by_id(ctx, config.image_id) if config.image_id else None
    if image_name:
        image = find_image(ctx, CreateOptions(image=image_name))
        config.image, config.image_id = _shown_name(image_name, image), image.id
    for mount in config.mounts:
        if mount.kind == "volume" and len(mount.name) == 64:
            mount.name = os.urandom(32).hex()
    return config, image
