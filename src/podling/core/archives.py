"""Images from and to files: load, save, import."""

from __future__ import annotations

import os

from podling.core import images
from podling.core.imagestore import image_of_tar, store_image
from podling.errors import BadArchive, InvalidInput
from podling.oci import json
from podling.oci.image import digest_of, host_platform
from podling.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.core.context import Context
    from podling.core.imagestore import Source


def _temporary(ctx: Context) -> str:
    folder = f"{ctx.settings.root}/tmp"
    os.makedirs(folder, 0o700, exist_ok=True)
    return folder


def _read_fd(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, 1 << 20):
        yield piece


def load(ctx: Context, path: str = "", fd: int = -1) -> list[str]:
    """Read an image archive from a file, or from the descriptor `fd`; the names (or ids) of what was loaded.

    Raises:
        BadArchive, DigestMismatch, StorageFull: images before the broken one are stored, that one is not.
    """
    from podling.registry import archive

    ctx.recover()
    spooled = ""
    if path:
        if os.path.isdir(path):
            raise InvalidInput(f"{path} is a folder; load reads archives")
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}") from None
    try:
        if not path or archive.is_compressed(path) or not os.path.isfile(path):
            spooled = archive.spool(_read_fd(fd), _temporary(ctx))
        opened = archive.Archive(spooled or path)
        loaded = []
        for image in archive.read_images(opened, host_platform()):
            names = [_loaded_name(name) for name in image.names]
            digests = [(name.rpartition(":")[0], digest_of(image.manifest)) for name in names]
            id = store_image(
                ctx, manifest=image.manifest, config=image.config, sources=image.layers, names=names, digests=digests,
                action="load",
            )  # fmt: skip
            loaded += names or [f"sha256:{id}"]
        return loaded
    finally:
        if path:
            os.close(fd)
        if spooled:
            os.unlink(spooled)


def _loaded_name(name: str) -> str:
    """Docker's archives say `alpine:3` for what is docker.io/library/alpine:3."""
    reference = parse(name)
    if reference.digest:
        raise BadArchive(f"the archive names an image {name!r}, with a digest")
    return str((reference if reference.registry else reference.at("docker.io")).tagged())


def save(ctx: Context, names: list[str], path: str = "", fd: int = -1, format: str = "docker-archive") -> None:
    """Write images to an archive: a file that appears under its name when it is complete, or the descriptor `fd`."""
    from podling.registry import archive

    if format not in ("docker-archive", "oci-archive"):
        raise InvalidInput(f"--format {format!r}: not one of docker-archive, oci-archive")
    chosen: dict[str, archive.SavedImage] = {}
    for name in names:
        image = images.find(ctx, name)
        by_name = [known for known in image.names if known in images.candidates(parse(name))]
        if image.id in chosen:
            chosen[image.id].names += [known for known in by_name if known not in chosen[image.id].names]
            continue
        config = ctx.db.value("SELECT config FROM images WHERE id=?", image.id)
        keys = list(reversed(ctx.store.chain(image.layer))) if image.layer else []
        chosen[image.id] = archive.SavedImage(
            config=config, names=by_name, layers=[_layer_source(ctx, key) for key in keys]
        )
    temporary = f"{path}.{os.getpid()}.part" if path and not _is_special(path) else path
    out = archive.open_output(temporary) if path else os.fdopen(os.dup(fd), "wb")
    try:
        with out:
            if format == "oci-archive":
                archive.write_oci(out, list(chosen.values()), _temporary(ctx))
            else:
                archive.write_docker(out, list(chosen.values()))
        if temporary != path:
            os.rename(temporary, path)
    except BaseException:
        if temporary != path:
            os.unlink(temporary)
        raise
    with ctx.db.write() as tx:
        for id, saved in chosen.items():
            tx.event("image", "save", id, saved.names[0] if saved.names else "")


def _is_special(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)


def _layer_source(ctx: Context, key: int) -> tuple[str, int, Source]:
    row = ctx.db.row("SELECT diff_id, size FROM layers WHERE key=?", key)
    assert row is not None
    return row[0], row[1], lambda: ctx.store.tar(key)


_CHANGES = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")


def import_tar(
    ctx: Context,
    path: str = "",
    fd: int = -1,
    name: str = "",
    changes: list[str] | None = None,
    message: str = "",
    platform: str = "",
) -> str:
    """Make an image of a root file system in a tar; its id."""
    ctx.recover()
    full = images.full_name(name) if name else ""
    config: dict[str, Any] = {}
    for change in changes or ():
        apply_change(config, change)
    if path:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}") from None
    try:
        return image_of_tar(
            ctx,
            _read_fd(fd),
            config,
            message or f"imported from {os.path.basename(path) if path else 'standard input'}",
            full,
            platform,
        )
    finally:
        if path:
            os.close(fd)


def apply_change(config: dict[str, Any], change: str) -> None:
    """Apply `CMD …`, `ENV …` and the like, as --change takes them, to an image's `config`.

    Raises:
        InvalidInput: an instruction that is not allowed here, or one without its value.
    """
    import shlex

    instruction, _, value = change.strip().partition(" ")
    if "=" in instruction and not value:
        instruction, _, value = change.strip().partition("=")
    instruction, value = instruction.upper(), value.strip()
    if instruction not in _CHANGES:
        raise InvalidInput(f"--change {change!r}: unknown instruction", hint=f"allowed: {', '.join(_CHANGES)}")
    if not value:
        raise InvalidInput(f"--change {change!r}: {instruction} needs a value")
    try:
        if instruction in ("CMD", "ENTRYPOINT"):
            parsed = json.loads(value) if value.startswith("[") else ["/bin/sh", "-c", value]
            config["Cmd" if instruction == "CMD" else "Entrypoint"] = [str(word) for word in parsed]
        elif instruction in ("ENV", "LABEL"):
            pairs = shlex.split(value)
            if "=" not in pairs[0]:
                if len(pairs) < 2:
                    raise InvalidInput(f"--change {change!r}: {instruction} needs KEY=VALUE")
                pairs = [f"{pairs[0]}={value.partition(' ')[2].strip()}"]
            for pair in pairs:
                key, equals, text = pair.partition("=")
                if not equals:
                    raise InvalidInput(f"--change {change!r}: {pair!r} is not KEY=VALUE")
                if instruction == "LABEL":
                    config.setdefault("Labels", {})[key] = text
                else:
                    others = [item for item in config.get("Env", []) if not item.startswith(key + "=")]
                    config["Env"] = [*others, f"{key}={text}"]
        elif instruction in ("EXPOSE", "VOLUME"):
            words = json.loads(value) if value.startswith("[") else value.split()
            kind = "ExposedPorts" if instruction == "EXPOSE" else "Volumes"
            for word in words:
                port = word if instruction == "VOLUME" or "/" in word else f"{word}/tcp"
                config.setdefault(kind, {})[port] = {}
        elif instruction == "ONBUILD":
            config.setdefault("OnBuild", []).append(value)
        else:
            config[{"STOPSIGNAL": "StopSignal", "USER": "User", "WORKDIR": "WorkingDir"}[instruction]] = value
    except ValueError as error:
        raise InvalidInput(f"--change {change!r}: {error}") from None
