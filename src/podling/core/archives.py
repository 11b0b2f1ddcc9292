"""Images from and to files: load, save, import."""

from __future__ import annotations

import os

from podling.core import images
from podling.core.copy import WriteOptions, write_image
from podling.core.imagestore import image_of_tar, store_image
from podling.core.push import read_fd
from podling.errors import BadArchive, InvalidInput
from podling.oci import json
from podling.oci.image import digest_of, host_platform
from podling.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.core.context import Context
    from podling.core.images import Image
    from podling.core.imagestore import Source
    from podling.oci.image import Descriptor
    from podling.registry.readers import SourceImage


def _temporary(ctx: Context) -> str:
    folder = ctx.settings.scratch
    os.makedirs(folder, 0o700, exist_ok=True)
    return folder


def load(ctx: Context, path: str = "", fd: int = -1, signature_policy: str = "") -> list[str]:
    """Read images from an archive, a folder or a URL, or from the descriptor `fd`; the names (or ids) of what was loaded.

    Raises:
        BadArchive, DigestMismatch, StorageFull: images before the broken one are stored, that one is not.
    """
    from podling.core import signing
    from podling.registry.files import Opened
    from podling.registry.readers import read_images, transport_of
    from podling.registry.transports import Place

    ctx.recover()
    chunks = download(path) if is_url(path) else None if path else read_fd(fd)
    with Opened(path, _temporary(ctx), chunks) as files:
        loaded = []
        place = Place(transport=transport_of(files), path=os.path.abspath(path) if path else "")
        signing.check_place(place, signature_policy)
        for image in read_images(files, host_platform()):
            names = [loaded_name(name) for name in image.names]
            id = store_source(ctx, image, names, action="load")
            loaded += names or [f"sha256:{id}"]
        return loaded


def store_source(
    ctx: Context, image: SourceImage, names: list[str], *, action: str, keys: list[str] | None = None
) -> str:
    """Store an image that was read from a file; its id. `keys` decrypt its layers."""
    digests = [(name.rpartition(":")[0], digest_of(image.manifest)) for name in names]
    sources = [
        decrypted(source, descriptor, keys or [])
        for source, descriptor in zip(image.layers, image.descriptors, strict=True)
    ]
    return store_image(
        ctx, manifest=image.manifest, config=image.config, sources=sources, names=names, digests=digests, action=action,
        descriptors=image.descriptors, signatures=[(digest_of(image.manifest), body) for body in image.signatures],
    )  # fmt: skip


def decrypted(source: Source, descriptor: Descriptor, keys: list[str]) -> Source:
    """The layer's content in the clear, where it is encrypted; `keys` as --decryption-key takes them."""
    if not descriptor.media_type.endswith("+encrypted"):
        return source
    from podling.registry.encryption import decrypt

    return lambda: decrypt(source(), descriptor.annotations, keys)


def loaded_name(name: str) -> str:
    """Docker's archives say `alpine:3` for what is docker.io/library/alpine:3."""
    reference = parse(name)
    if reference.digest:
        raise BadArchive(f"the archive names an image {name!r}, with a digest")
    return str((reference if reference.registry else reference.at("docker.io")).tagged())


_SAVE_FORMATS = {
    "docker-archive": "docker-archive", "oci-archive": "oci-archive", "oci-dir": "oci", "docker-dir": "dir",
}  # fmt: skip


def save(
    ctx: Context,
    names: list[str],
    path: str = "",
    fd: int = -1,
    format: str = "docker-archive",
    *,
    compress: bool = False,
    uncompressed: bool = False,
) -> None:
    """Write images to an archive or a folder, or to the descriptor `fd`. A file appears under its name when it is complete."""
    from podling.core.push import FileDestination
    from podling.registry.transports import Place

    if format not in _SAVE_FORMATS:
        raise InvalidInput(f"--format {format!r}: not one of {', '.join(_SAVE_FORMATS)}")
    if format.endswith("-dir") and not path:
        raise InvalidInput(f"--format {format} writes a folder", hint="name it with --output")
    if compress and format != "docker-dir":
        raise InvalidInput("--compress is for docker-dir alone", hint="the oci formats are compressed anyway")
    if uncompressed and not format.startswith("oci"):
        raise InvalidInput("--uncompressed is for oci-archive and oci-dir", hint="docker-archive is never compressed")
    chosen: dict[str, tuple[Image, list[str]]] = {}
    for name in names:
        image = images.instance(ctx, images.find(ctx, name))
        by_name = [known for known in image.names if known in images.candidates(parse(name))]
        kept = chosen.setdefault(image.id, (image, []))[1]
        kept += [known for known in by_name if known not in kept]
    if len(chosen) > 1 and format.endswith("-dir"):
        raise InvalidInput(f"--format {format} holds one image")
    wanted = "oci" if format.startswith("oci") else "v2s2" if format == "docker-dir" else ""
    options = WriteOptions(format=wanted, compression="none" if uncompressed else "gzip" if compress else "")
    place = Place(transport=_SAVE_FORMATS[format], path=os.path.abspath(path) if path else "")
    with FileDestination(ctx, place, fd) as destination:
        for image, known in chosen.values():
            write_image(ctx, image, destination, options, known)
    with ctx.db.write() as tx:
        for image, known in chosen.values():
            tx.event("image", "save", image.id, known[0] if known else "")


def is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def download(url: str) -> Iterator[bytes]:
    """The body of a URL.

    Raises:
        InvalidInput: it cannot be fetched.
    """
    import urllib3

    from podling.version import VERSION

    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=15, read=60), headers={"User-Agent": f"podling/{VERSION}"}
    )
    try:
        response = pool.request("GET", url, preload_content=False, retries=urllib3.Retry(3))
        if response.status != 200:
            raise InvalidInput(f"{url}: the server answered {response.status}")
        yield from response.stream(1 << 20, decode_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise InvalidInput(f"{url}: {error}") from None
    finally:
        pool.clear()


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
    opened = -1
    if path and not is_url(path):
        try:
            fd = opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}") from None
    try:
        return image_of_tar(
            ctx,
            download(path) if is_url(path) else read_fd(fd),
            config,
            message or f"imported from {os.path.basename(path) if path else 'standard input'}",
            full,
            platform,
        )
    finally:
        if opened >= 0:
            os.close(opened)


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
