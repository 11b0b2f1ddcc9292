"""The library's face for images: `engine.images`."""

from __future__ import annotations

from podling.engine.catalogue import images as ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Sequence
    from typing import Any

    from podling.core.image_removal import Removal
    from podling.core.images import Image
    from podling.engine.local import Engine


class Images:
    """Images in the store, and their ways in and out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def pull(self, name: str, **options: Any) -> str:
        """Fetch an image; its id. `options` are the fields of `catalogue.images.PullImage`: policy, platform, creds, tls_verify, …

        Raises:
            NotFound, AccessDenied, RegistryError, DigestMismatch, StorageFull.
        """
        ids: builtins.list[str] = self._engine.call(ops.PullImage(name=name, **options))
        return ids[-1]

    def build(self, context: str = ".", *, tags: Sequence[str] = (), output: int = -1, **options: Any) -> str:
        """Build an image of a folder with a Containerfile; its id. `options` are the fields of `features.BuildOptions`: files, target,
        build_args, platforms, labels, secrets, no_cache, … What the steps print goes to the descriptor `output`.

        Raises:
            InvalidInput: the Containerfile is wrong, or a command of it failed. NotFound, RegistryError, StorageFull.
        """
        from podling.engine.catalogue.builds import BuildImage
        from podling.engine.features import BuildOptions

        made = BuildOptions(context=context, tags=[*tags], quiet=output < 0, **options)
        id: str = self._engine.call(BuildImage(options=made, stdout=output, stderr=output))
        return id

    def push(self, name: str, target: str = "", **options: Any) -> str:
        """Send an image to `target`, or to where its name says; the digest of its manifest there. `options` are the fields of
        `catalogue.images.PushImage`: format, compression, creds, tls_verify, sign_by, …

        Raises:
            NoSuchImage, InvalidInput, AccessDenied, RegistryError.
        """
        digest: str = self._engine.call(ops.PushImage(name=name, target=target, **options))
        return digest

    def prune(self, *, all: bool = False, filters: Sequence[str] = ()) -> builtins.list[str]:
        """Remove images that no container uses: those without a name, or all; their ids."""
        removed: builtins.list[str]
        removed, _ = self._engine.call(ops.PruneImages(all=all, filters=[*filters]))
        return removed

    def mounted(self, name: str) -> Mounted:
        """`with engine.images.mounted(name) as path:` the image's files, read-only."""
        return Mounted(self._engine, name)

    def list(self, names: Sequence[str] = (), *, filters: Sequence[str] = ()) -> list[Image]:
        """Images, newest first."""
        found: list[Image] = self._engine.call(ops.ListImages(names=[*names], filters=[*filters]))
        return found

    def inspect(self, name: str) -> dict[str, Any]:
        """Everything about an image, in the shape of `podman image inspect`."""
        document: dict[str, Any] = self._engine.call(ops.InspectImage(name=name))
        return document

    def history(self, name: str) -> builtins.list[dict[str, Any]]:
        steps: builtins.list[dict[str, Any]] = self._engine.call(ops.ImageHistory(name=name))
        return steps

    def exists(self, name: str) -> bool:
        found: bool = self._engine.call(ops.ImageExists(name=name))
        return found

    def tag(self, name: str, *targets: str) -> None:
        self._engine.call(ops.TagImage(name=name, targets=[*targets]))

    def untag(self, name: str, *targets: str) -> None:
        self._engine.call(ops.UntagImage(name=name, targets=[*targets]))

    def remove(self, *names: str, force: bool = False) -> Removal:
        """Remove images; the first error is raised after all have been tried."""
        removal: Removal
        removal, report = self._engine.call(ops.RemoveImages(names=[*names], force=force))
        if report.errors:
            raise report.errors[0]
        return removal

    def load(self, path: str) -> builtins.list[str]:
        """Read an archive; the names (or ids) of its images."""
        names: builtins.list[str] = self._engine.call(ops.LoadImages(path=path))
        return names

    def save(self, path: str, *names: str, format: str = "docker-archive") -> None:
        self._engine.call(ops.SaveImages(names=[*names], path=path, format=format))

    def import_tar(self, path: str, name: str = "", *, changes: Sequence[str] = (), message: str = "") -> str:
        """Make an image of a root file system in a tar; its id."""
        id: str = self._engine.call(ops.ImportImage(path=path, name=name, changes=[*changes], message=message))
        return id


class Mounted:
    """An image's files on the host, for as long as the `with` block lasts."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self._name = engine, name
        self._id = ""

    def __enter__(self) -> str:
        ((image, path),) = self._engine.call(ops.MountImages(names=[self._name]))
        self._id = image.id
        mounted: str = path
        return mounted

    def __exit__(self, *_exc: object) -> None:
        self._engine.call(ops.UnmountImages(names=[self._id]))
