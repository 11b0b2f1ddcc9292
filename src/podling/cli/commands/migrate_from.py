"""system migrate-from: images, volumes, secrets, pods and containers of another engine's store, made here."""

from __future__ import annotations

from functools import partial

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.engine.catalogue import containers, networks, pods
from podling.engine.catalogue import foreign as ops
from podling.errors import NameInUse, NotFound, PodlingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.foreign import World

_ENGINES = ("podman", "docker")
_KINDS = ("images", "networks", "volumes", "secrets", "pods", "containers")


class _Taker:
    """Takes objects one by one: what fails, or is here already, holds up no other."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.failed = 0

    def take(self, kind: str, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except NameInUse:
            self._app.out(f"{kind} {name}: is here already, and stays as it is")
        except PodlingError as error:
            self.failed += 1
            self._app.warn(f"{kind} {name}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        else:
            self._app.out(f"{kind} {name}: taken")


def _migrate_from(app: App, args: Args) -> int:
    if args.rest[0] not in _ENGINES:
        raise UsageError(f"migrate-from {args.rest[0]!r}: not one of {', '.join(_ENGINES)}")
    chosen = [kind for text in args.__dict__["only"] for kind in text.split(",")] or list(_KINDS)
    unknown = [kind for kind in chosen if kind not in _KINDS]
    if unknown:
        raise UsageError(f"--only {unknown[0]}: not one of {', '.join(_KINDS)}")
    world: World = app.engine.call(ops.ReadForeign(engine=args.rest[0], root=args.from_root))
    for text in world.notes:
        app.warn(text)
    if args.dry_run:
        app.out(_listed(world, chosen))
        return 0
    taker = _Taker(app)
    steps: dict[str, list[tuple[str, Callable[[], object]]]] = {
        "images": [
            (
                names[0] if names else id[:12],
                partial(app.engine.call, ops.TakeImage(engine=world.engine, root=world.root, id=id, names=names)),
            )
            for id, names in world.images.items()
        ],
        "networks": [
            (str(document["name"]), partial(app.engine.call, networks.CreateNetwork(**document)))
            for document in world.networks
        ],
        "volumes": [(item.name, partial(app.engine.call, ops.TakeVolume(volume=item))) for item in world.volumes],
        "secrets": [(item.name, partial(app.engine.call, ops.TakeSecret(secret=item))) for item in world.secrets],
        "pods": [(str(document["name"]), partial(_pod, app, document)) for document in world.pods],
        "containers": [
            (_name(document), partial(_container, app, world.engine, document)) for document in world.containers
        ],
    }
    for kind in _KINDS:
        for name, work in steps[kind] if kind in chosen else ():
            taker.take(kind.removesuffix("s"), name, work)
    return 1 if taker.failed else 0


def _listed(world: World, chosen: list[str]) -> str:
    lists = {
        "images": [", ".join(names) or id[:12] for id, names in world.images.items()],
        "volumes": [volume.name for volume in world.volumes],
        "secrets": [secret.name for secret in world.secrets],
        "pods": [str(pod["name"]) for pod in world.pods],
        "containers": [
            f"{_name(document)} ({document.get('image') or document.get('Image') or document.get('rootfs')})"
            for document in world.containers
        ],
        "networks": [str(document["name"]) for document in world.networks],
    }
    return "\n".join(f"{kind.removesuffix('s')} {name}" for kind in _KINDS if kind in chosen for name in lists[kind])


def _pod(app: App, document: dict[str, object]) -> None:
    from podling.api.libpod import spec

    app.engine.call(pods.CreatePod(options=spec.pod(document)))


def _name(document: dict[str, object]) -> str:
    return str(document.get("name") or document.get("Name"))


def _container(app: App, engine: str, document: dict[str, object]) -> None:
    from podling.api.docker import create
    from podling.api.libpod import spec

    options = create.options(document, _name(document), "") if engine == "docker" else spec.container(document)
    options.pull = "never"
    try:
        app.engine.call(containers.CreateContainer(options=options))
    except NotFound as error:
        raise PodlingError(error.message, hint="what it needs did not come along") from None


MIGRATE_FROM = Command(
    _migrate_from,
    "[options] {podman|docker}",
    "Takes over what Podman or Docker has: images with their names, volumes with their content, secrets, pods, networks, and containers\n"
    "as they were made. The store is only read; Podman's is that of root or of the user who asks, and its networks are files that both\n"
    "engines share, Docker's is that of a daemon that should not run meanwhile. What is here already\n"
    "under the same name stays as it is, so that the command can be repeated. Containers do not run afterwards, and files that were\n"
    "written inside of them, and not into volumes, stay behind: `podman commit` makes an image of those.",
    Flag("dry-run", "n", "bool", "Only show what there is"),
    Flag("from-root", "", "string", "The store, where it is not in the usual place", value="path"),
    Flag("only", "", "list", f"Take only some of {', '.join(_KINDS)}"),
    least=1,
    most=1,
    examples=("system migrate-from --dry-run podman", "system migrate-from --only images,volumes docker"),
)
