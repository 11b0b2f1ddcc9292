"""system df and system prune: how much space what takes, and giving it back."""

from __future__ import annotations

from podling.core import images, volumes
from podling.core.containers import every
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from podling.core.context import Context


class ImageUsage(Record):
    """Bytes of an image: `shared` with others, and `unique` to it."""

    id: str
    names: list[str]
    created: int
    size: int
    shared: int
    unique: int
    containers: int


class ContainerUsage(Record):
    id: str
    name: str
    image: str
    command: list[str]
    created: int
    status: str
    volumes: int
    size: int


class VolumeUsage(Record):
    name: str
    links: int
    size: int


class Usage(Record):
    nested: ClassVar[dict[str, type[Record]]] = {
        "images": ImageUsage,
        "containers": ContainerUsage,
        "volumes": VolumeUsage,
    }

    images: list[ImageUsage]
    containers: list[ContainerUsage]
    volumes: list[VolumeUsage]
    #: bytes of all image layers, each counted once
    layers: int = 0


def measure(ctx: Context) -> Usage:
    """The space that images, containers and volumes take. Takes a walk over the files of containers and volumes."""
    from podling.storage.usage import folder_size

    users: dict[int, int] = {}
    chains: dict[str, list[int]] = {}
    found = [image for image in images.list_images(ctx, [], [], True) if image.kind == "image"]
    sizes = dict(ctx.db.rows("SELECT key, size FROM layers WHERE chain_id IS NOT NULL"))
    for image in found:
        chains[image.id] = ctx.store.chain(image.layer) if image.layer else []
        for key in chains[image.id]:
            users[key] = users.get(key, 0) + 1
    listed = []
    for image in found:
        shared = sum(sizes.get(key, 0) for key in chains[image.id] if users[key] > 1)
        listed.append(
            ImageUsage(
                id=image.id, names=image.names, created=image.created, size=image.size, shared=shared, unique=image.size - shared,
                containers=image.containers,
            )
        )  # fmt: skip
    boxes = [
        ContainerUsage(
            id=container.id, name=container.name, image=container.image, command=container.command.split("\x1f"),
            created=container.created, status=container.truth()[0],
            volumes=sum(1 for mount in container.config.mounts if mount.kind == "volume"),
            size=folder_size(f"{ctx.store.folder(container.layer)}/diff") if container.layer and ctx.store.driver.independent else 0,
        )
        for container in every(ctx)
    ]  # fmt: skip
    kept = [
        VolumeUsage(name=volume.name, links=len(volume.users), size=0 if volume.is_mount else folder_size(volume.path))
        for volume in volumes.list_volumes(ctx, [])
    ]
    return Usage(images=listed, containers=boxes, volumes=kept, layers=sum(sizes.values()))


class Pruned(Record):
    """What `system prune` removed, and how many bytes that gave back."""

    pods: list[str] = []
    containers: list[str] = []
    networks: list[str] = []
    images: list[str] = []
    volumes: list[str] = []
    freed: int = 0


def prune(ctx: Context, filters: list[str], *, all: bool, with_volumes: bool, build_cache: bool = False) -> Pruned:
    """Remove containers that do not run, networks and images that nobody uses, and where asked for volumes; again and again,
    until nothing more goes."""
    from podling.core import networking, pods, upkeep
    from podling.core.image_removal import drop_build_cache
    from podling.core.image_removal import prune as prune_images

    result = Pruned()
    if build_cache:
        drop_build_cache(ctx)
    while True:
        ended = pods.prune(ctx)[0] if not filters else []  # as Podman: filters know nothing of pods
        containers, _, freed = upkeep.prune(ctx, filters)
        networks = networking.prune(ctx, filters)
        removed, more = prune_images(ctx, filters, all=all)
        names, rest = volumes.prune(ctx, filters) if with_volumes else ([], 0)
        result.pods += ended
        result.containers += containers
        result.networks += networks
        result.images += removed
        result.volumes += names
        result.freed += freed + more + rest
        if not (ended or containers or networks or removed or names):
            return result
