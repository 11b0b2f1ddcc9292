"""RUN --mount: what a step sees beside the image's files, and what is gone after it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil

from podling.build.containerfile import BuildError, Instruction
from podling.core import recovery
from podling.core.options import CreateOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.core.context import Context
    from podling.storage.changes import View

_PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_FLAGS = ("nodev", "noexec", "nosuid", "U", "z", "Z", *_PROPAGATION)
_KEYS = {
    "bind": ("from", "bind-propagation", "consistency", "relabel", "bind-nonrecursive", "no-dereference"),
    "cache": ("id", "from", "mode", "uid", "gid", "sharing", "bind-propagation"),
    "secret": ("id", "mode", "uid", "gid", "required"),
    "ssh": ("id", "mode", "uid", "gid", "required"),
    "tmpfs": ("tmpfs-size", "tmpfs-mode", "tmpcopyup"),
}
_ALIASES = {
    "source": "src",
    "dst": "target",
    "destination": "target",
    "readonly": "ro",
    "readwrite": "rw",
    "size": "tmpfs-size",
}


class Mounts:
    """The mounts of one RUN, made ready for its container's options. Close it after the step.

    `tree(name)` gives the files of a stage, an image or another context, `secrets` and `agents` are the sources of --secret and --ssh.
    """

    def __init__(
        self,
        ctx: Context,
        options: CreateOptions,
        *,
        folder: View,
        tree: Callable[[str], View],
        secrets: dict[str, str],
        agents: dict[str, str],
        workdir: str,
        name: str,
    ) -> None:
        self._ctx, self._options, self._folder, self._tree = ctx, options, folder, tree
        self._secrets, self._agents, self._workdir = secrets, agents, workdir
        self._folder_of_ours = f"{ctx.settings.runroot}/{name}"
        self._made = False
        self._locks: list[int] = []

    def add(self, text: str, instruction: Instruction) -> None:
        """One `--mount`, with its variables replaced.

        Raises:
            BuildError: it makes no sense, or names what there is not.
        """
        values = _parse(text, instruction)
        kind = values.pop("type", "bind")
        if kind not in _KEYS:
            raise instruction.error(f"--mount: unknown type {kind!r}", hint=f"types are {', '.join(sorted(_KEYS))}")
        for key in values:
            if key not in ("src", "target", "ro", "rw", *_KEYS[kind], *_FLAGS):
                raise instruction.error(f"--mount=type={kind}: unknown option {key!r}")
        if kind not in ("secret", "ssh") and not values.get("target"):
            raise instruction.error(f"--mount=type={kind} needs target=PATH")
        target = values.get("target", "")
        if target and not target.startswith("/"):
            target = values["target"] = os.path.normpath(f"{self._workdir}/{target}")
        {"bind": self._bind, "cache": self._cache, "secret": self._secret, "ssh": self._ssh, "tmpfs": self._tmpfs}[
            kind
        ](values, instruction)

    def _bind(self, values: dict[str, str], instruction: Instruction) -> None:
        view = self._tree(values["from"]) if values.get("from") else self._folder
        source = self._place(view, values.get("src", ""), instruction)
        extra = [flag for flag in _FLAGS if flag in values]
        if values.get("bind-propagation"):
            extra.append(values["bind-propagation"])
        if _is_on(values, "rw"):  # what is written is gone after the step
            if not os.path.isdir(source):
                copied = f"{self._scratch()}/{len(os.listdir(self._scratch()))}"
                shutil.copy2(source, copied)
                self._options.volume.append(f"{copied}:{values['target']}:rw")
                return
            self._options.volume.append(f"{source}:{values['target']}:O")
            return
        self._options.volume.append(f"{source}:{values['target']}:{','.join(['ro', *extra])}")

    def _place(self, view: View, path: str, instruction: Instruction) -> str:
        """A path of this host at which a tree's path is seen."""
        if len(view.folders) > 1:
            view = self._merged(view)
        if not view.folders:
            raise instruction.error("--mount: there are no files to mount")
        real = view.resolve(path or "/")
        if view.stat(real) is None:
            raise instruction.error(f"--mount: {path}: no such file or directory")
        return f"{view.folders[0]}{real}".rstrip("/")

    def _merged(self, view: View) -> View:
        from podling.storage.changes import View as Tree

        target = f"{self._scratch()}/tree-{len(os.listdir(self._scratch()))}"
        os.mkdir(target)
        self._ctx.store.driver.mount_readonly(target, view.folders)
        return Tree([target])

    def _cache(self, values: dict[str, str], instruction: Instruction) -> None:
        sharing = values.get("sharing", "shared")
        if sharing not in ("shared", "locked"):
            raise instruction.error(f"--mount=type=cache: sharing={sharing}: it is shared or locked")
        id = values.get("id") or values["target"]
        name = hashlib.sha256(id.encode()).hexdigest()[:32]
        folder = f"{self._ctx.settings.root}/build-cache/{name}"
        if values.get("from"):
            source = self._place(self._tree(values["from"]), values.get("src", ""), instruction)
            self._options.volume.append(f"{source}:{values['target']}:O")
            return
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o755, exist_ok=True)
            os.chmod(folder, _octal(values.get("mode", "0755"), instruction))
            os.chown(folder, _number(values, "uid", instruction), _number(values, "gid", instruction))
        if sharing == "locked":
            lock = os.open(f"{folder}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._locks.append(lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
        inner = os.path.normpath(f"/{values.get('src', '')}").lstrip("/")
        if inner:
            folder = f"{folder}/{inner}"
            os.makedirs(folder, 0o755, exist_ok=True)
        self._options.volume.append(f"{folder}:{values['target']}:{'ro' if _is_on(values, 'ro') else 'rw'}")

    def _secret(self, values: dict[str, str], instruction: Instruction) -> None:
        id = values.get("id") or os.path.basename(values.get("target", ""))
        if not id:
            raise instruction.error("--mount=type=secret needs id=NAME")
        if id not in self._secrets:
            if _is_on(values, "required"):
                raise instruction.error(
                    f"secret required but no secret with id {id} found", hint=f"podling build --secret id={id},src=FILE"
                )
            return
        content = secret(self._secrets[id], id)
        path = f"{self._scratch()}/secret-{hashlib.sha256(id.encode()).hexdigest()[:12]}"
        if not os.path.exists(path):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, content)
            finally:
                os.close(file)
        os.chown(path, _number(values, "uid", instruction), _number(values, "gid", instruction))
        os.chmod(path, _octal(values.get("mode", "0400"), instruction))
        self._options.volume.append(f"{path}:{values.get('target') or f'/run/secrets/{id}'}:ro")

    def _ssh(self, values: dict[str, str], instruction: Instruction) -> None:
        id = values.get("id") or "default"
        socket = self._agents.get(id, "")
        if not socket:
            if _is_on(values, "required"):
                raise instruction.error(
                    f"ssh required but no agent with id {id} found", hint=f"podling build --ssh {id}=$SSH_AUTH_SOCK"
                )
            return
        target = values.get("target") or f"/run/buildkit/ssh_agent.{len(self._options.env)}"
        self._options.volume.append(f"{socket}:{target}:rw")
        self._options.env.append(f"SSH_AUTH_SOCK={target}")

    def _tmpfs(self, values: dict[str, str], instruction: Instruction) -> None:
        settings = [f"{key[6:]}={values[key]}" for key in ("tmpfs-size", "tmpfs-mode") if values.get(key)]
        settings += [flag for flag in ("nodev", "noexec", "nosuid", "tmpcopyup") if flag in values]
        settings += ["ro"] if _is_on(values, "ro") else []
        self._options.tmpfs.append(values["target"] + (f":{','.join(settings)}" if settings else ""))

    def _scratch(self) -> str:
        """A folder in memory, for secrets too."""
        if not self._made:
            os.makedirs(self._folder_of_ours, 0o700)
            self._made = True
        return self._folder_of_ours

    def close(self) -> None:
        for lock in self._locks:
            os.close(lock)
        if self._made:
            recovery.drop_build_folder(self._folder_of_ours)


def _parse(text: str, instruction: Instruction) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not key:
            raise instruction.error(f"--mount={text}: not KEY=VALUE,…")
        values[_ALIASES.get(key, key)] = value if equals else "true"
    return values


def _is_on(values: dict[str, str], key: str) -> bool:
    return values.get(key, "false").lower() in ("true", "1")


def _octal(text: str, instruction: Instruction) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise instruction.error(f"--mount: mode={text}: not octal") from None


def _number(values: dict[str, str], key: str, instruction: Instruction) -> int:
    text = values.get(key, "0")
    if not text.isdigit():
        raise instruction.error(f"--mount: {key}={text}: not a number")
    return int(text)


def secret(source: str, id: str) -> bytes:
    """What `file:PATH`, `env:NAME` or `data:BASE64` holds.

    Raises:
        BuildError: it cannot be read.
    """
    kind, _, place = source.partition(":")
    if kind == "data":
        import base64

        return base64.b64decode(place)
    if kind == "env":
        if place not in os.environ:
            raise BuildError(f"--secret id={id}: there is no variable {place}")
        return os.environ[place].encode()
    try:
        with open(place, "rb") as file:
            return file.read(1 << 20)
    except OSError as error:
        raise BuildError(f"--secret id={id}: {place}: {error.strerror}") from None


def sources(texts: list[str], data: dict[str, str] | None = None, folder: str = "") -> dict[str, str]:
    """--secret: `id=NAME[,src=FILE|,env=VARIABLE][,type=file|env]` by its name; `data` are secrets in base64. Paths are relative to
    `folder`, or to where we are.

    Raises:
        BuildError: one has no name.
    """
    found = {id: f"data:{text}" for id, text in (data or {}).items()}
    for text in texts:
        values = dict(part.strip().partition("=")[::2] for part in text.split(","))
        id = values.get("id", "")
        if not id:
            raise BuildError(f"--secret {text}: id=NAME is missing")
        path, variable = values.get("src") or values.get("source", ""), values.get("env", "")
        if values.get("type") == "env" and not variable:
            variable, path = path or id, ""
        if not path and not variable:
            variable, path = (id, "") if id in os.environ else ("", id)
        found[id] = f"env:{variable}" if variable else f"file:{os.path.abspath(os.path.join(folder, path))}"
    return found


def agents(texts: list[str]) -> dict[str, str]:
    """--ssh: `default`, or `NAME=SOCKET`, by its name."""
    found = {}
    for text in texts:
        id, _, socket = text.partition("=")
        socket = socket or os.environ.get("SSH_AUTH_SOCK", "")
        if not socket:
            raise BuildError(f"--ssh {text}: $SSH_AUTH_SOCK is not set", hint="start ssh-agent, or --ssh NAME=SOCKET")
        found[id] = os.path.abspath(socket)
    return found
