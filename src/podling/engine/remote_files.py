"""Operations at a service whose arguments name files of this side."""

from __future__ import annotations

import os

from podling.engine.catalogue import builds as build_ops
from podling.engine.catalogue import containers as ops
from podling.engine.catalogue import images as image_ops
from podling.engine.catalogue import pods as pod_ops
from podling.engine.catalogue import storage as storage_ops
from podling.errors import InvalidInput, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.engine.catalogue.base import Operation
    from podling.engine.remote import RemoteEngine

_ARCHIVES = ("docker-archive", "oci-archive")


def as_here(engine: RemoteEngine, operation: Operation) -> Any:
    """login and logout are about the files of this side."""
    from podling.engine.execute import registries

    function = getattr(registries, type(operation).executor.partition(":")[2])
    return function(None, operation)


def create(engine: RemoteEngine, operation: ops.CreateContainer) -> Any:
    """`create`: files with environment, labels and the new id are of this side, and so is the environment itself."""
    from podling.core.configuration import label_lines
    from podling.core.parse import environment

    options = operation.options
    found = dict(os.environ) if options.env_host else {}
    found.update(environment(options.env, options.env_file))
    options.env, options.env_file, options.env_host = [f"{key}={value}" for key, value in found.items()], [], False
    options.label, options.label_file = [*label_lines(options.label_file), *options.label], []
    cidfile, options.cidfile = options.cidfile, ""
    if cidfile and os.path.exists(cidfile):
        raise InvalidInput(f"container id file exists. Ensure another container is not using it or delete {cidfile}")
    if options.pod_id_file:
        options.pod, options.pod_id_file = id_in(options.pod_id_file), ""
    if options.authfile:
        options.creds = options.creds or _creds(options.image, options.authfile)
        options.authfile = ""
    id = engine.execute(operation)
    if cidfile:
        with open(cidfile, "w") as file:
            file.write(str(id))
    return id


def create_pod(engine: RemoteEngine, operation: pod_ops.CreatePod) -> Any:
    """`pod create`: files with labels and the new id are of this side."""
    from podling.core.configuration import label_lines

    options = operation.options
    options.labels, options.label_files = [*label_lines(options.label_files), *options.labels], []
    id_file, options.id_file = options.id_file, ""
    if id_file and os.path.exists(id_file):
        raise InvalidInput(f"--pod-id-file {id_file}: the file exists", hint="remove it, or name another")
    id = engine.execute(operation)
    if id_file:
        with open(id_file, "w") as file:
            file.write(str(id))
    return id


def id_in(path: str) -> str:
    """The id in a file of this side."""
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None


def name_by_files(operation: Any) -> None:
    """Selections by files with ids are selections by name there."""
    for field in ("cidfiles", "id_files"):
        for path in getattr(operation, field, ()):
            try:
                operation.names = [*operation.names, id_in(path)]
            except InvalidInput:
                if not operation.ignore:
                    raise
        if field in operation._fields:
            setattr(operation, field, [])


def _creds(name: str, authfile: str) -> str:
    from podling.config import credentials
    from podling.oci.reference import parse

    reference = parse(name)
    pair = credentials.find(reference.registry, reference.repository, authfile)
    return f"{pair[0]}:{pair[1]}" if pair else ""


# -- archives
def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None


def _with_input(engine: RemoteEngine, operation: Any) -> Any:
    """Execute an operation whose `path` is a file of this side."""
    path = operation.path
    if not path or "://" in path:
        return engine.execute(operation)
    if os.path.isdir(path):
        raise Unsupported(f"{path} is a folder: only archives travel to a service")
    operation.path, operation.fd = "", _opened(path)
    try:
        return engine.execute(operation)
    finally:
        os.close(operation.fd)


def load(engine: RemoteEngine, operation: image_ops.LoadImages) -> Any:
    return _with_input(engine, operation)


def import_image(engine: RemoteEngine, operation: image_ops.ImportImage) -> Any:
    return _with_input(engine, operation)


def import_volume(engine: RemoteEngine, operation: storage_ops.ImportVolume) -> Any:
    return _with_input(engine, operation)


def save(engine: RemoteEngine, operation: image_ops.SaveImages) -> Any:
    path = operation.path
    if not path:
        return engine.execute(operation)
    if operation.format not in _ARCHIVES:
        raise Unsupported(f"--format {operation.format}: a service sends archives", hint="--format oci-archive")
    partial = f"{path}.part"
    try:
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    try:
        operation.path, operation.fd = "", fd
        engine.execute(operation)
        os.rename(partial, path)
    except BaseException:
        os.unlink(partial)
        raise
    finally:
        os.close(fd)
    return None


# -- build
def build(engine: RemoteEngine, operation: build_ops.BuildImage) -> Any:
    """`build`: the context, the Containerfile and the values of arguments and secrets are of this side."""
    import base64

    from podling.build import context as contexts
    from podling.build.builder import arguments
    from podling.build.mounts import secret, sources

    options = operation.options
    if options.outputs or options.ssh:
        raise Unsupported(
            "--output and --ssh are about the host of the service", hint="build there, or here without --remote"
        )
    options.build_args, options.build_arg_files = [f"{key}={value}" for key, value in arguments(options).items()], []
    options.secret_data = {
        id: base64.b64encode(secret(source, id)).decode() for id, source in sources(options.secrets).items()
    }
    options.secrets = []
    for item in options.build_contexts:
        if "://" not in item:
            raise Unsupported(f"--build-context {item}: only images and URLs can be reached from a service")
    if not options.context or contexts.is_remote(options.context):
        return engine.execute(operation)
    folder = contexts.local_folder(options.context)
    text, paths = contexts.read(options, folder)
    ignore = contexts.ignored(options, folder, paths)
    options.text, options.files, options.context = text, [], ""
    options.ignore_file, options.ignore_lines, options.ignore_known = "", ignore.lines, True
    return _piped(engine, operation, "fd", contexts.sent(folder, ignore, paths))


def _piped(engine: RemoteEngine, operation: Any, field: str, chunks: Iterator[bytes]) -> Any:
    """Execute an operation that reads `chunks` from the descriptor that `field` is."""
    import threading

    reader, writer = os.pipe2(os.O_CLOEXEC)
    failed: list[BaseException] = []

    def send() -> None:
        try:
            for piece in chunks:
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(writer, rest) :]
        except BrokenPipeError:
            pass
        except BaseException as error:
            failed.append(error)
        finally:
            os.close(writer)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        setattr(operation, field, reader)
        result = engine.execute(operation)
    finally:
        os.close(reader)
        thread.join()
    if failed:
        raise failed[0]
    return result


# -- cp
def copy(engine: RemoteEngine, operation: ops.CopyFiles) -> Any:
    """`cp` between this side and a container there; between two containers it is their service's affair."""
    source, target = _side(engine, operation.source), _side(engine, operation.target)
    if (source and target) or "-" in (operation.source, operation.target):
        return engine.execute(operation)
    if source:
        return _fetch(engine, operation, source)
    if target:
        return _send(engine, operation, target)
    raise InvalidInput("one of the two must be in a container", hint="podling cp CONTAINER:PATH PATH")


def _side(engine: RemoteEngine, text: str) -> tuple[str, str] | None:
    """(container, path) where that is what `text` means."""
    name, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")) or not name:
        return None
    engine.execute(ops.ContainerState(name=name))
    return name, path or "/"


def _fetch(engine: RemoteEngine, operation: ops.CopyFiles, source: tuple[str, str]) -> None:
    import threading

    from podling.core.copying import unpack_here
    from podling.core.push import read_fd

    container, path = source
    stat = engine.execute(ops.StatPath(name=container, path=path))
    bare = path.endswith("/.")
    target = operation.target
    name = os.path.basename(path.rstrip("/")) or "."
    if os.path.isdir(target):
        folder = target
    elif bare and not os.path.exists(target):
        os.mkdir(target)
        folder = target
    else:
        if os.path.exists(target) and stat["isDir"] and not operation.overwrite:
            raise InvalidInput(f"{target} is a file, and {container}:{path} a folder", hint="--overwrite replaces it")
        if not stat["isDir"] and target.endswith("/"):
            raise InvalidInput(
                f"{target} does not exist", hint="make the folder, or name the file without / at its end"
            )
        folder = os.path.dirname(target.rstrip("/")) or "."
        if not os.path.isdir(folder):
            raise NotFound(f"{target}: its folder does not exist")
        if os.path.isfile(target) and stat["isDir"]:
            os.unlink(target)
        name = os.path.basename(target.rstrip("/"))
    reader, writer = os.pipe2(os.O_CLOEXEC)
    operation.target, operation.stdout = "-", writer
    operation.rename = {} if bare else {os.path.basename(path.rstrip("/")) or ".": name}
    failed: list[BaseException] = []

    def receive() -> None:
        try:
            engine.execute(operation)
        except BaseException as error:
            failed.append(error)
        finally:
            os.close(writer)

    thread = threading.Thread(target=receive)
    thread.start()

    try:
        unpack_here(folder, read_fd(reader), archive=operation.archive, overwrite=operation.overwrite)
    except InvalidInput:  # half a tar, where the service has failed
        if not failed:
            raise
    finally:
        os.close(reader)
        thread.join()
    if failed:
        raise failed[0]


def _send(engine: RemoteEngine, operation: ops.CopyFiles, target: tuple[str, str]) -> Any:
    from podling.storage.changes import View, tree_archive

    container, path = target
    source = operation.source
    bare = source.endswith("/.") or source == "."
    if not os.path.lexists(source):
        raise NotFound(f'"{source}" could not be found on the host: no such file or directory')
    real = os.path.realpath(source) if bare or source.endswith("/") else os.path.abspath(source)
    name = "" if bare else os.path.basename(os.path.normpath(source))
    try:
        is_folder = engine.execute(ops.StatPath(name=container, path=path))["isDir"]
    except NotFound:
        is_folder = None
    if not is_folder:
        if is_folder is False and os.path.isdir(real) and not operation.overwrite:
            raise InvalidInput(f"{container}:{path} is a file, and {source} a folder", hint="--overwrite replaces it")
        if is_folder is None and path.endswith("/") and not os.path.isdir(real):
            raise InvalidInput(
                f"{container}:{path} does not exist", hint="make the folder, or name the file without / at its end"
            )
        name = os.path.basename(path.rstrip("/"))
        path = os.path.dirname(path.rstrip("/")) or "/"
    folder, _, last = real.rpartition("/")
    view = View([os.path.realpath(folder or "/")])
    operation.source, operation.target = "-", f"{container}:{path}"
    return _piped(engine, operation, "stdin", tree_archive(view, f"/{last}", name, inside=not name))
