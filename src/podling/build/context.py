"""Build contexts: where they come from, which Containerfiles they have, what of them is left out."""

from __future__ import annotations

import os
import shutil
import tempfile

from podling.build.containerfile import BuildError
from podling.build.ignore import Ignore
from podling.build.options import BuildOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

_NAMES = ("Containerfile", "Dockerfile")
_IGNORE_FILES = (".containerignore", ".dockerignore")
_GIT = ("git://", "git@", "github.com/")


class Context:
    """A folder of this host; one that was fetched goes with the build."""

    def __init__(self, folder: str, *, temporary: str = "") -> None:
        self.folder = folder
        self._temporary = temporary

    def __enter__(self) -> Context:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)


def is_remote(text: str) -> bool:
    """A URL, or a Git repository."""
    return "://" in text or text.startswith(_GIT)


def local_folder(text: str) -> str:
    """The real path of a context that is a folder here.

    Raises:
        BuildError: it is none.
    """
    folder = os.path.realpath(text)
    if not os.path.isdir(folder):
        reason = "is not a folder" if os.path.exists(folder) else "no such file or directory"
        raise BuildError(f"context {text}: {reason}")
    return folder


def open_context(options: BuildOptions, fd: int, scratch: str, tell: Callable[[str], None]) -> Context:
    """The context that the options name; a tar comes through `fd`.

    Raises:
        BuildError: there is none. BadArchive: the tar is none.
    """
    if options.context and not is_remote(options.context):
        return Context(local_folder(options.context))
    temporary = tempfile.mkdtemp(prefix="podling-build-", dir=scratch or None)
    try:
        folder = f"{temporary}/context"
        os.mkdir(folder)
        if options.context:
            folder = fetch(options.context, folder, tell)
        elif fd >= 0:
            _received(folder, fd)
        return Context(folder, temporary=temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _received(folder: str, fd: int) -> None:
    """A tar, or the text of a Containerfile."""
    from podling.core.push import read_fd

    chunks = read_fd(fd)
    head = b""
    while len(head) < 512:
        piece = next(chunks, b"")
        if not piece:
            break
        head += piece
    if _looks_like_tar(head):
        _unpack(folder, _after(head, chunks))
        return
    with open(f"{folder}/Containerfile", "wb") as file:
        file.write(head)
        for piece in chunks:
            file.write(piece)


def _after(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from chunks


def _unpack(folder: str, chunks: Iterator[bytes]) -> None:
    from podling.core.copying import unpack_here

    unpack_here(folder, chunks, archive=False, overwrite=False)


def fetch(url: str, folder: str, tell: Callable[[str], None]) -> str:
    """Fetch a repository, a tar, or a single Containerfile into a folder; the folder that is the context then."""
    path, _, fragment = url.partition("#")
    if path.startswith(_GIT) or path.endswith(".git") or "://" not in path:
        return clone(path, fragment, folder)
    from podling.core.archives import download

    tell(f"Downloading {url}")
    target = f"{folder}/fetched"
    with open(target, "wb") as out:
        for chunk in download(url):
            out.write(chunk)
    if not _is_tar(target):
        os.rename(target, f"{folder}/Containerfile")
        return folder
    inner = f"{folder}/unpacked"
    os.mkdir(inner)
    with open(target, "rb") as file:
        _unpack(inner, iter(lambda: file.read(1 << 18), b""))
    return inner


def _is_tar(path: str) -> bool:
    with open(path, "rb") as file:
        return _looks_like_tar(file.read(512))


def _looks_like_tar(head: bytes) -> bool:
    packed = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
    return head.startswith(packed) or head[257:262] == b"ustar"


def clone(url: str, fragment: str, folder: str, *, keep_git: bool = True) -> str:
    """`REPOSITORY#REFERENCE:FOLDER` into a folder; the folder in it that is meant."""
    from podling.config.settings import find_program
    from podling.linux.process import run

    reference, _, inner = fragment.partition(":")
    if url.startswith("github.com/"):
        url = f"https://{url}"
    if url.startswith("-") or reference.startswith("-"):
        raise BuildError(f"{url}#{fragment}: no repository")
    git = find_program("git")
    for arguments in (
        ["init", "-q", folder],
        ["-C", folder, "fetch", "-q", "--depth=1", url, reference or "HEAD"],
        ["-C", folder, "-c", "advice.detachedHead=false", "checkout", "-q", "FETCH_HEAD"],
    ):
        outcome = run([git, *arguments], env={**os.environ, "GIT_TERMINAL_PROMPT": "0"}, capture=True)
        if outcome.code:
            raise BuildError(f"git: {url}: {outcome.message}")
    if not keep_git:
        shutil.rmtree(f"{folder}/.git", ignore_errors=True)
    target = os.path.realpath(os.path.join(folder, inner))
    if target != folder and not target.startswith(f"{os.path.realpath(folder)}/"):
        raise BuildError(f"{inner}: that is outside of the repository")
    if not os.path.isdir(target):
        raise BuildError(f"{inner}: no such folder in {url}")
    return target


def containerfiles(options: BuildOptions, folder: str) -> list[str]:
    """The paths of the Containerfiles, which may be outside of the context.

    Raises:
        BuildError: there is none.
    """
    if not options.files:
        for name in _NAMES:
            if os.path.isfile(f"{folder}/{name}"):
                return [f"{folder}/{name}"]
        raise BuildError(
            f"no Containerfile or Dockerfile specified or found in context directory, {options.context or folder}",
            hint="-f FILE names one",
        )
    found = []
    for name in options.files:
        places = [name] if os.path.isabs(name) else [os.path.join(folder, name), name]
        path = next((place for place in places if os.path.isfile(place)), "")
        if not path:
            raise BuildError(
                f"the specified Containerfile or Dockerfile does not exist: {name}: no such file or directory"
            )
        found.append(path)
    return found


def read(options: BuildOptions, folder: str) -> tuple[str, list[str]]:
    """(the text of all Containerfiles, their paths)."""
    if options.text:
        return options.text, []
    paths = containerfiles(options, folder)
    texts = []
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                texts.append(file.read())
        except OSError as error:
            raise BuildError(f"{path}: {error.strerror}") from None
    return "\n".join(texts), paths


def ignored(options: BuildOptions, folder: str, paths: list[str]) -> Ignore:
    """What --ignorefile, FILE.containerignore, FILE.dockerignore, .containerignore or .dockerignore leave out: the first that is there.

    Raises:
        BuildError: --ignorefile names none.
    """
    if options.ignore_known:
        return Ignore(options.ignore_lines)
    if options.ignore_file:
        return Ignore(_lines(options.ignore_file))
    candidates = [f"{path}{suffix}" for path in paths for suffix in _IGNORE_FILES]
    for path in [*candidates, *(f"{folder}/{name}" for name in _IGNORE_FILES)]:
        if os.path.isfile(path):
            return Ignore(_lines(path))
    return Ignore([])


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError as error:
        raise BuildError(f"{path}: {error.strerror}") from None


def sent(folder: str, ignore: Ignore, paths: list[str]) -> Iterator[bytes]:
    """A context as a tar for a service, with its Containerfiles and ignore files even where these leave them out."""
    from podling.build.transfer import Attributes, Load, below
    from podling.storage.changes import View

    view = View([folder])
    load = Load(Attributes())
    real = os.path.realpath(folder)
    always = {os.path.realpath(path)[len(real) :] for path in paths if os.path.realpath(path).startswith(f"{real}/")}
    always |= {f"/{name}" for name in _IGNORE_FILES if os.path.isfile(f"{folder}/{name}")}
    load.pieces = [(view, path, path) for path, _ in below(view, "", ignore) if path not in always]
    load.pieces += [(view, path, path) for path in sorted(always)]
    return load.tar(0)
