"""The volumes of a pod's documents: claims, folders of the host, files of ConfigMaps and Secrets, empty ones, images."""

from __future__ import annotations

import os
import stat

from podling.core import volumes
from podling.core.store_options import VolumeOptions
from podling.errors import NotFound
from podling.kube.documents import Document, KubeError, Node, content_of, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context

_PREFIX = "volume.podman.io/"


class Source:
    """What a volume of a pod is here. `kind` is volume, bind, tmpfs, image or device; `name` a volume's name, a path or an image."""

    def __init__(self, kind: str, name: str, *, options: str = "", read_only: bool = False) -> None:
        self.kind, self.name, self.options, self.read_only = kind, name, options, read_only


def claim(ctx: Context, document: Document) -> str:
    """Make the volume of a PersistentVolumeClaim, or take the one that is there; its name."""
    options = []
    notes = document.annotations
    if notes.get(f"{_PREFIX}device"):
        options.append(f"device={notes[f'{_PREFIX}device']}")
    if notes.get(f"{_PREFIX}type"):
        options.append(f"type={notes[f'{_PREFIX}type']}")
    mount = [notes[f"{_PREFIX}mount-options"]] if notes.get(f"{_PREFIX}mount-options") else []
    if notes.get(f"{_PREFIX}image"):
        options.append(f"image={notes[f'{_PREFIX}image']}")
    if mount:
        options.append(f"o={','.join(mount)}")
    driver = notes.get(f"{_PREFIX}driver") or "local"
    owners = {}
    for key in ("uid", "gid"):
        text = notes.get(f"{_PREFIX}{key}", "")
        if text and not text.isdigit():
            raise KubeError(f"{document.path('metadata.annotations')}: {_PREFIX}{key}: {text!r} is no number")
        if text:
            owners[key] = int(text)
    labels = [f"{key}={value}" for key, value in document.labels.items()]
    made = volumes.create(
        ctx, document.name, VolumeOptions(driver=driver, options=options, labels=labels, ignore=True, **owners)
    )
    source = notes.get(f"{_PREFIX}import-source")
    if source:
        try:
            with open(source, "rb") as file:
                volumes.import_tar(ctx, made.name, iter(lambda: file.read(1 << 18), b""))
        except OSError as error:
            raise KubeError(f"{document.path('metadata.annotations')}: {source}: {error.strerror}") from None
    return made.name


def source_of(
    ctx: Context, node: Node, pod: str, maps: dict[str, Document], secrets: dict[str, Document]
) -> Source | None:
    """What one of `spec.volumes` is; None for an optional one that is not there.

    Raises:
        KubeError: a kind that is not understood, or something it names is missing.
    """
    name = node.text("name")
    if not name:
        raise node.error("name", "it is missing")
    for kind in ("persistentVolumeClaim", "hostPath", "emptyDir", "configMap", "secret", "image"):
        if kind in node.value:
            inner = node.node(kind)
            if kind == "persistentVolumeClaim":
                return Source("volume", inner.text("claimName"), read_only=inner.flag("readOnly"))
            if kind == "hostPath":
                return _host_path(inner)
            if kind == "emptyDir":
                return _empty(ctx, inner, f"{pod}-{name}")
            if kind == "image":
                return Source("image", inner.text("reference"), read_only=True)
            return _files(ctx, inner, kind, name, pod, maps if kind == "configMap" else secrets)
    raise node.error(
        ", ".join(sorted(node.value.keys() - {"name"})) or "kind", "a kind of volume that is not supported here"
    )


def _host_path(node: Node) -> Source:
    path, kind = node.text("path"), node.text("type")
    if not path.startswith("/"):
        raise node.error("path", f"{path!r} is not absolute")
    is_kind = {
        "Directory": stat.S_ISDIR,
        "File": stat.S_ISREG,
        "Socket": stat.S_ISSOCK,
        "CharDevice": stat.S_ISCHR,
        "BlockDevice": stat.S_ISBLK,
    }
    if kind == "DirectoryOrCreate":
        os.makedirs(path, 0o755, exist_ok=True)
    elif kind == "FileOrCreate":
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    elif kind in is_kind:
        if not os.path.exists(path) or not is_kind[kind](os.stat(path).st_mode):
            raise node.error("path", f"{path} is no {kind}", hint="type DirectoryOrCreate or FileOrCreate makes it")
    elif kind:
        raise node.error("type", f"{kind!r} is none that is known")
    elif not os.path.lexists(path):
        raise node.error("path", f"{path}: no such file or directory", hint="type: DirectoryOrCreate makes it")
    return Source("device" if kind in ("CharDevice", "BlockDevice") else "bind", path)


def _empty(ctx: Context, node: Node, name: str) -> Source:
    """An emptyDir: memory, or a volume that goes with the pod."""
    if node.text("medium") == "Memory":
        limit = node.text("sizeLimit")
        return Source("tmpfs", "", options=f"size={size(limit, node.path('sizeLimit'))}" if limit else "")
    volumes.create(ctx, name, VolumeOptions(labels=[f"{OF_POD}=true"], ignore=True))
    return Source("volume", name)


#: the label of volumes that were made for a pod of a document, and go with it
OF_POD = "io.podling.kube"


def _files(ctx: Context, node: Node, kind: str, name: str, pod: str, known: dict[str, Document]) -> Source | None:
    """A volume with the files of a ConfigMap or a Secret."""
    wanted = node.text("name" if kind == "configMap" else "secretName")
    if wanted in known:
        content = content_of(known[wanted])
    else:
        found = stored(ctx, wanted) if kind == "secret" else None
        if found is None:
            if node.flag("optional"):
                return None
            field, way = (
                ("name", "--configmap FILE") if kind == "configMap" else ("secretName", "podling secret create")
            )
            raise node.error(field, f"there is no {kind} {wanted}", hint=f"a document of the file, or {way}")
        content = found
    mode = node.number("defaultMode", 0o644)
    files = [(key, key, mode) for key in content]
    if node.has("items"):
        files = [
            (item.text("key"), item.text("path") or item.text("key"), item.number("mode", mode))
            for item in node.nodes("items")
        ]
    volume = volumes.create(ctx, f"{pod}-{name}", VolumeOptions(labels=[f"{OF_POD}=true"], ignore=True))
    for key, path, bits in files:
        if key not in content:
            if node.flag("optional"):
                continue
            raise node.error("items", f"{wanted} has no key {key}")
        _write(volume.path, path, content[key], bits, node)
    return Source("volume", volume.name)


def _write(root: str, path: str, content: bytes, mode: int, node: Node) -> None:
    """A file in a volume; no part of its path leads out."""
    from podling.linux.calls import open_in_root

    parts = [part for part in path.split("/") if part]
    if not parts or ".." in parts:
        raise node.error("items", f"the path {path!r} leads out of the volume")
    base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for depth in range(1, len(parts)):
            parent = open_in_root(base, "/".join(parts[: depth - 1]) or ".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.mkdir(parts[depth - 1], 0o755, dir_fd=parent)
            except FileExistsError:
                pass
            finally:
                os.close(parent)
        file = open_in_root(base, "/".join(parts), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    finally:
        os.close(base)
    with os.fdopen(file, "wb") as out:
        out.write(content)
        os.fchmod(out.fileno(), mode)


def stored(ctx: Context, name: str) -> dict[str, bytes] | None:
    """The files of a secret of the store: a Secret's document, or what it holds under its own name."""
    from podling.core import secrets
    from podling.kube.documents import parse

    try:
        data = secrets.reveal(ctx, secrets.find(ctx, name))
    except NotFound:
        return None
    try:
        (document,) = parse(data.decode())
        return content_of(document)
    except (UnicodeDecodeError, ValueError, KubeError):
        return {name: data}
