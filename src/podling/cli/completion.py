"""What may come next on a command line: commands, flags, their values, and the names of what there is.

The scripts that `podling completion` prints for the shells call `podling __complete WORD...`, whose last word is what has been typed of the
next one. It answers with a line per candidate, and what it means behind a tab; or with `:files` where a path is wanted.
"""

from __future__ import annotations

from podling.cli import table
from podling.cli.flags import Args, Flag, UsageError, parse
from podling.errors import PodlingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podling.engine.local import Engine

Candidate = tuple[str, str]
FILES = ":files"

_RUNNING = "attach exec kill pause port stats stop top pod-top checkpoint"
_CONTAINERS = "rm start restart wait inspect logs rename commit diff export update mount unmount clone init cleanup restore exists"
_IMAGES = "run create rmi tag untag push save history image-inspect image-tree image-diff image-exists image-mount image-unmount image-sign"
#: by the command's path: which names its arguments are
_ARGUMENTS: dict[str, str] = {
    **dict.fromkeys(_RUNNING.split(), "running"),
    **{f"container {name}": "running" for name in _RUNNING.split()},
    **dict.fromkeys(_CONTAINERS.split(), "containers"),
    **{f"container {name}": "containers" for name in _CONTAINERS.split()},
    **{name.replace("-", " "): "images" for name in _IMAGES.split()},
    **{f"image {n}": "images" for n in "rm tag untag push save history inspect tree diff exists mount unmount sign scp".split()},
    "unpause": "paused", "container unpause": "paused", "healthcheck run": "running", "cp": "copies", "container cp": "copies",
    "load": FILES, "import": FILES, "login": "", "pull": "images", "image pull": "images", "volume create": "",
    **{f"volume {name}": "volumes" for name in "rm inspect exists export import mount unmount".split()},
    **{f"network {name}": "networks" for name in "rm inspect exists connect disconnect update".split()},
    **{f"pod {name}": "pods" for name in "rm inspect exists kill logs pause restart start stats stop top unpause clone".split()},
    **{f"secret {name}": "secrets" for name in "rm inspect exists".split()},
    **{f"system connection {name}": "connections" for name in "remove default rename".split()},
    "network reload": "running", "secret create": FILES, "inspect": "everything", "completion": "shells",
    **{f"manifest {name}": "images" for name in "add annotate create exists inspect push rm remove".split()},
}  # fmt: skip
#: by the flag's name: which names its value is one of
_VALUES = {
    "network": "networks", "net": "networks", "pod": "pods", "volumes-from": "containers", "requires": "containers", "secret": "secrets",
    "connection": "connections", "log-level": "levels", "restart": "restarts", "pull": "pulls", "format": "formats", "log-driver": "logs",
    "cgroup-manager": "cgroups", "network-backend": "backends", "storage-driver": "drivers", "signal": "signals", "stop-signal": "signals",
}  # fmt: skip
_WORDS = {
    "levels": table.LOG_LEVELS, "restarts": ("no", "on-failure", "always", "unless-stopped"),
    "pulls": ("missing", "always", "never", "newer"),
    "formats": ("json", "table"), "logs": ("k8s-file", "json-file", "journald", "none", "passthrough"), "cgroups": ("cgroupfs", "systemd"),
    "backends": ("native", "netavark"), "drivers": ("overlay", "vfs"), "shells": ("bash", "zsh", "fish", "powershell"),
    "signals": ("HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP"),
}  # fmt: skip
_PATHS = ("path", "file", "folder")


def complete(words: list[str], engine: Callable[[Args], Engine]) -> list[Candidate] | str:
    """The candidates for the last of `words`, or FILES. `engine` opens the engine that the flags name, where names are wanted."""
    *before, typed = words or [""]
    try:
        options = parse(before, table.GLOBAL_FLAGS, stop_at_argument=True)
    except UsageError:  # a flag that waits for its value
        flag = _waiting(before, table.GLOBAL_FLAGS)
        return _value(flag, typed, lambda kind: []) if flag else []

    def names(kind: str) -> list[Candidate]:
        try:
            opened = engine(options)
            try:
                return _names(kind, opened)
            finally:
                opened.close()
        except (PodlingError, OSError):
            return []

    path, rest = table.resolve(options.rest)
    if path not in table.COMMANDS:
        if typed.startswith("-"):
            return _fitting(_flags(table.GLOBAL_FLAGS if not path else ()), typed)
        return _fitting(_commands(path), typed) if not rest else []
    flags = (*table.load(path).flags, *(flag for flag in table.GLOBAL_FLAGS if flag.inherited))
    waiting = _waiting(rest, flags)
    if waiting:
        return _value(waiting, typed, names)
    if typed.startswith("--") and "=" in typed:
        name, _, part = typed.partition("=")
        known = next((flag for flag in flags if f"--{flag.name}" == name), None)
        found = _value(known, part, names) if known else []
        return found if isinstance(found, str) else [(f"{name}={word}", text) for word, text in found]
    command = table.load(path)
    arguments = _arguments(rest, flags)
    if typed.startswith("-") and not (command.stop_at_argument and arguments):
        return _fitting(_flags(flags), typed)
    if command.stop_at_argument and arguments:
        return FILES  # the command in the container
    kind = _ARGUMENTS.get(path, "")
    if path in ("network connect", "network disconnect") and arguments:
        kind = "containers"
    if kind == FILES or not kind:
        return FILES if kind else []
    if kind == "copies":
        if ":" in typed or typed.startswith(("/", ".")):
            return FILES
        return _fitting([(f"{name}:", text) for name, text in names("containers")], typed) or FILES
    return _fitting([item for item in names(kind) if item[0] not in arguments], typed)


def _fitting(items: Iterable[Candidate], typed: str) -> list[Candidate]:
    return [item for item in items if item[0].startswith(typed)]


def _commands(group: str) -> list[Candidate]:
    prefix = f"{group} " if group else ""
    found: dict[str, str] = {}
    for path, (_, _, summary) in table.COMMANDS.items():
        if path.startswith(prefix):
            head, more, _ = path[len(prefix) :].partition(" ")
            if not head.startswith("_"):
                found.setdefault(head, table.GROUPS.get(prefix + head, "") if more else summary)
    return sorted(found.items())


def _flags(flags: Iterable[Flag]) -> list[Candidate]:
    return sorted((f"--{flag.name}", flag.help) for flag in flags if not flag.hidden)


def _waiting(words: list[str], flags: Iterable[Flag]) -> Flag | None:
    """The flag whose value comes next."""
    if not words or not words[-1].startswith("-") or "=" in words[-1] or words[-1] in ("-", "--"):
        return None
    last = words[-1]
    for flag in flags:
        if flag.bare is None and (
            last == f"--{flag.name}" or (flag.short and not last.startswith("--") and last.endswith(flag.short))
        ):
            return flag
    return None


def _arguments(words: list[str], flags: tuple[Flag, ...]) -> list[str]:
    """The words that are neither flags nor their values."""
    found = []
    skip = False
    for position, word in enumerate(words):
        if skip:
            skip = False
        elif word.startswith("-") and word != "-":
            skip = _waiting(words[: position + 1], flags) is not None
        else:
            found.append(word)
    return found


def _value(flag: Flag, typed: str, names: Callable[[str], list[Candidate]]) -> list[Candidate] | str:
    kind = _VALUES.get(flag.name, "")
    if kind:
        found = [(word, "") for word in _WORDS[kind]] if kind in _WORDS else names(kind)
        if flag.name in ("network", "net"):
            found += [("none", "no network"), ("host", "the host's"), ("pasta", "of a user")]
        return _fitting(found, typed)
    if flag.value in _PATHS or flag.name in ("volume", "env-file", "file", "output", "input", "device"):
        return FILES
    return []


def _names(kind: str, engine: Engine) -> list[Candidate]:
    if kind in _WORDS:
        return [(word, "") for word in _WORDS[kind]]
    if kind == "everything":
        return [
            item for part in ("containers", "images", "volumes", "networks", "pods") for item in _names(part, engine)
        ]
    if kind in ("containers", "running", "paused"):
        wanted = {"running": ["status=running"], "paused": ["status=paused"]}.get(kind, [])
        return [(item.name, item.image) for item in engine.containers.list(all=True, filters=wanted)]
    if kind == "images":
        return [(_short(name), image.id[:12]) for image in engine.images.list() for name in image.names]
    if kind == "networks":
        return [(network["name"], network["driver"]) for network in engine.networks.list()]
    if kind == "volumes":
        return [(volume.name, volume.driver) for volume in engine.volumes.list()]
    if kind == "pods":
        return [(pod.name, pod.status) for pod in engine.pods.list()]
    if kind == "secrets":
        return [(secret.name, secret.driver) for secret in engine.secrets.list()]
    from podling.config import connections

    return [(connection.name, connection.uri) for connection in connections.every()]


def _short(name: str) -> str:
    return name.removesuffix(":latest")
