"""COPY, ADD and WORKDIR: files into an image, as a layer."""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
import tempfile

from podling.build.containerfile import Instruction
from podling.build.expand import expand, expand_plain, split
from podling.build.ignore import Ignore
from podling.build.transfer import Attributes, Found, Load, chmod, find
from podling.state.database import now
from podling.storage.changes import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.build.builder import Builder, Performer
    from podling.build.state import State

_FLAGS = {
    "COPY": {"from", "chown", "chmod", "exclude", "parents", "link"},
    "ADD": {"chown", "chmod", "exclude", "link", "checksum", "keep-git-dir"},
}
_SWITCHES = ("link", "parents", "keep-git-dir")


class _Request:
    """One COPY or ADD with its variables replaced."""

    def __init__(self, builder: Builder, state: State, instruction: Instruction) -> None:
        self.instruction, self.variables = instruction, state.variables
        self.is_add = instruction.name == "ADD"
        self.source_name = self.owner = self.mode = self.checksum = ""
        self.parents = self.keep_git = False
        self.exclude: list[str] = []
        for key, raw in instruction.flags:
            if key not in _FLAGS[instruction.name]:
                raise instruction.error(
                    f"unknown flag: --{key}",
                    hint=f"flags are {', '.join(f'--{name}' for name in sorted(_FLAGS[instruction.name]))}",
                )
            if raw is None and key not in _SWITCHES:
                raise instruction.error(f"--{key} needs a value")
            value = expand(raw, state.variables, builder.escape) if raw is not None else "true"
            if key == "exclude":
                self.exclude.append(value)
            elif key == "parents":
                self.parents = value.lower() == "true"
            elif key == "keep-git-dir":
                self.keep_git = value.lower() == "true"
            elif key != "link":
                setattr(
                    self, {"from": "source_name", "chown": "owner", "chmod": "mode", "checksum": "checksum"}[key], value
                )
        listed = instruction.as_list()
        words = listed if listed is not None else split(instruction.text, builder.escape)
        words = [expand(word, state.variables, builder.escape) for word in words]
        if len(words) < 2:
            raise instruction.error("it needs at least a source and a destination")
        *self.sources, target = words
        self.documents = {f"<<{doc.name}": doc for doc in instruction.heredocs} | {
            f"<<-{doc.name}": doc for doc in instruction.heredocs
        }
        self.into_folder = target.endswith(("/", "/.")) or target in (".", "..") or len(self.sources) > 1
        self.target = posixpath.normpath(posixpath.join(state.workdir, target))


def copy(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    request = _Request(builder, state, instruction)
    image = state.view(builder.ctx)
    fetched = tempfile.TemporaryDirectory(prefix="podling-add-", dir=builder.scratch)
    try:
        load = _load(builder, request, image, fetched.name)
        digest = load.digest()
        what = "multi" if len(request.sources) > 1 else "file" if load.texts or len(load.pieces) == 1 else "dir"
        shown = f"{instruction.name} {what}:{digest} in {request.target} "
        performer.layer(state, shown, lambda: load.tar(builder.moment), digest)
    finally:
        fetched.cleanup()


def _load(builder: Builder, request: _Request, image: View, folder: str) -> Load:
    instruction = request.instruction
    source = builder.tree(request.source_name, instruction) if request.source_name else View([builder.folder])
    ignore = Ignore([]) if request.source_name else builder.ignore
    attributes = _attributes(builder, request, image)
    load = Load(attributes)
    target = image.resolve(request.target) if image.folders else request.target
    info = image.stat(target) if image.folders else None
    exclude = Ignore(request.exclude)
    items: list[tuple[View, Found, bool]] = []
    for text in request.sources:
        if text in request.documents:
            doc = request.documents[text]
            content = expand_plain(doc.content, request.variables, builder.escape) if doc.expand else doc.content
            load.texts.append((doc.name, content.encode("utf-8", "surrogateescape")))
        elif request.is_add and _is_url(text):
            items += _fetched(builder, request, text, folder, len(items))
        else:
            found = find(source, text, ignore)
            if not found:
                raise instruction.error(f"{text}: no such file or directory", hint=_why(builder, request, text))
            items += [(source, item, request.is_add) for item in found]
    as_folder = (
        request.into_folder or (info is not None and stat.S_ISDIR(info.st_mode)) or len(items) + len(load.texts) > 1
    )
    if as_folder and info is not None and not stat.S_ISDIR(info.st_mode):
        raise instruction.error(f"{request.target} is a file, and several things, or a folder, are to go there")
    load.texts = [(posixpath.join(target, name) if as_folder else target, content) for name, content in load.texts]
    for position, (view, item, may_unpack) in enumerate(items):
        _place(
            load,
            request,
            view,
            item,
            target,
            as_folder,
            ignore if view is source else Ignore([]),
            exclude,
            may_unpack,
            f"{folder}/{position}-unpacked",
        )
    holds = as_folder or any(item.is_folder for _, item, _ in items)
    load.folders = _missing(image, target if holds else posixpath.dirname(target))
    return load


def _why(builder: Builder, request: _Request, text: str) -> str:
    if request.source_name or not builder.ignore:
        return (
            "paths are relative to the context"
            if not request.source_name
            else f"paths are those of {request.source_name}"
        )
    path = posixpath.normpath(f"/{text}")
    return (
        "an ignore file leaves it out"
        if os.path.lexists(f"{builder.folder}{path}")
        else "paths are relative to the context"
    )


def _place(
    load: Load,
    request: _Request,
    view: View,
    item: Found,
    target: str,
    as_folder: bool,
    ignore: Ignore,
    exclude: Ignore,
    may_unpack: bool,
    scratch: str,
) -> None:
    if request.parents:
        pivot = item.path.partition("/./")[2] or item.path.lstrip("/")
        name = posixpath.join(target, pivot)
        if item.is_folder:
            load.add_tree(view, item.path, name, ignore, exclude)
        else:
            load.pieces.append((view, item.path, name))
        return
    if item.is_folder:
        load.add_tree(view, item.path, target, ignore, exclude)
        return
    if may_unpack and _unpacked(view, item, scratch):
        load.add_tree(View([scratch]), "", target, Ignore([]), exclude)
        load.attributes = (
            load.attributes if request.owner else Attributes(mode=load.attributes.mode, mtime=load.attributes.mtime)
        )
        return
    if exclude and exclude.leaves_out(item.name):
        return
    load.pieces.append((view, item.path, posixpath.join(target, item.name) if as_folder else target))


def _unpacked(view: View, item: Found, folder: str) -> bool:
    """ADD unpacks a local tar, compressed or not."""
    from podling.core.copying import unpack_here
    from podling.errors import BadArchive

    path = f"{view.locate(item.path)}{item.path}"
    with open(path, "rb") as file:
        head = file.read(512)
        if head[257:262] != b"ustar" and not head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
            return False
        file.seek(0)
        os.mkdir(folder)
        try:
            unpack_here(folder, iter(lambda: file.read(1 << 18), b""), archive=False, overwrite=False)
        except BadArchive:
            if head[257:262] == b"ustar":
                raise
            return False  # compressed, but no tar
    return True


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://", "git://", "git@"))


def _fetched(
    builder: Builder, request: _Request, url: str, folder: str, position: int
) -> list[tuple[View, Found, bool]]:
    """What ADD gets from elsewhere: a file, which is not unpacked, or a repository."""
    from podling.build.context import clone

    place = f"{folder}/{position}"
    os.mkdir(place)
    path, _, fragment = url.partition("#")
    if path.endswith(".git") or path.startswith(("git://", "git@")):
        inner = clone(path, fragment, place, keep_git=request.keep_git)
        return [(View([inner]), Found("", "", is_folder=True), False)]
    name = posixpath.basename(url.partition("?")[0]) or "index.html"
    if not request.into_folder:
        name = posixpath.basename(request.target)
    _download(request, url, f"{place}/{name}")
    return [(View([place]), Found(f"/{name}", name, is_folder=False), False)]


def _download(request: _Request, url: str, path: str) -> None:
    from podling.core.archives import download

    digest = hashlib.sha256()
    with open(path, "wb") as out:
        for chunk in download(url):
            digest.update(chunk)
            out.write(chunk)
    os.chmod(path, 0o600)
    os.utime(path, (0, 0))
    wanted = request.checksum
    if wanted and wanted != f"sha256:{digest.hexdigest()}":
        raise request.instruction.error(
            f"unexpected response digest for {url!r}: sha256:{digest.hexdigest()}, want {wanted}"
        )


def _attributes(builder: Builder, request: _Request, image: View) -> Attributes:
    made = Attributes(mode=request.mode, mtime=builder.timestamp)
    if request.mode:
        chmod(request.mode)
    if request.owner:
        made.uid, made.gid = owner(request.owner, image, request.instruction)
    elif not request.source_name:
        made.uid = made.gid = 0
    return made


def owner(text: str, image: View, instruction: Instruction) -> tuple[int, int]:
    """`USER[:GROUP]`, names of the image or numbers."""
    from podling.core import users
    from podling.errors import PodlingError

    user, colon, group = text.partition(":")
    if user.isdigit() and (not colon or group.isdigit()):
        return int(user), int(group) if colon else int(user)
    root = image.locate("/etc/passwd") if image.folders else ""
    groups = image.locate("/etc/group") if image.folders else ""
    try:
        identity = users.resolve(root, user, [])
        if not colon:
            return identity.uid, identity.gid
        return identity.uid, int(group) if group.isdigit() else users.resolve(groups, f"0:{group}", []).gid
    except PodlingError as error:
        raise instruction.error(
            f"--chown={text}: {error}", hint="the image must know that name; numbers always work"
        ) from None


def _missing(image: View, path: str) -> list[str]:
    """The folders down to `path` that the image has not."""
    found = []
    so_far = ""
    for part in [part for part in path.split("/") if part]:
        so_far += f"/{part}"
        if not image.folders or image.stat(image.resolve(so_far)) is None:
            found.append(so_far)
    return found


def make_folder(builder: Builder, state: State, path: str, shown: str, performer: Performer) -> None:
    """WORKDIR makes its folder."""
    image = state.view(builder.ctx)
    target = image.resolve(path) if image.folders else path
    missing = _missing(image, target)
    if not missing:
        performer.note(state, shown)
        return
    load = Load(Attributes(uid=0, gid=0, mtime=builder.timestamp))
    load.folders = missing
    performer.layer(state, shown, lambda: load.tar(builder.moment if builder.timestamp is None else now()), "")
