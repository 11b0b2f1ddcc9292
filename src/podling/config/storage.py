"""storage.conf (containers-storage.conf(5)): one file, `$CONTAINERS_STORAGE_CONF`, or `/etc/containers/storage.conf`, or
`/usr/share/containers/storage.conf`; over it the user's own, `~/.config/containers/storage.conf`.

The paths in it are those of containers/storage. Podling does not put its store among another engine's files: where the file has
a place other than the usual one, ours is the folder `podling` in there.
"""

from __future__ import annotations

import os

from podling.config import cached
from podling.errors import InvalidInput
from podling.linux.proc import outer_uid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FILES = ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf")
_USUAL = ("/var/lib/containers/storage", "/run/containers/storage", "$HOME/.local/share/containers/storage")
_DRIVER_OPTIONS = (
    "size inodes ignore_chown_errors squash_ids mount_program mountopt skip_mount_home disable-volatile"
).split()
_DRIVERS_KEYS = {
    **dict.fromkeys(_DRIVER_OPTIONS, ""),
    "force_mask": "files in layers keep their modes",
    "use_composefs": "layers are folders",
}
#: keys of each table; a value says why a key has no effect here
_KNOWN: dict[str, dict[str, str]] = {
    "storage": dict.fromkeys(
        "driver driver_priority graphroot imagestore rootless_storage_path runroot transient_store".split(), ""
    ),
    "storage.options": {
        **dict.fromkeys(
            "additionalimagestores imagestore auto-userns-max-size auto-userns-min-size root-auto-userns-user".split(),
            "",
        ),
        **_DRIVERS_KEYS,
        "additionallayerstores": "layers come from registries and files alone",
        "remap-uids": "--userns=auto and --uidmap map ids",
        "remap-gids": "--userns=auto and --uidmap map ids",
        "remap-user": "--userns=auto and --uidmap map ids",
        "remap-group": "--userns=auto and --uidmap map ids",
    },
    "storage.options.overlay": _DRIVERS_KEYS,
    "storage.options.vfs": {"ignore_chown_errors": ""},
    # of drivers that Podling has not got: they wait for an engine that has
    "storage.options.btrfs": dict.fromkeys(("min_space", "size"), ""),
    "storage.options.zfs": dict.fromkeys(("fsname", "mountopt", "size"), ""),
    "storage.options.pull_options": {
        "enable_partial_images": "",
        "insecure_allow_unpredictable_image_contents": "every layer has the digest that its image says",
        "convert_images": "layers are kept as they come",
        "use_hard_links": "files that are there already are cloned where the file system can",
        "ostree_repos": "files are looked for in the store alone",
    },
}


class StorageConf:
    """What the file says."""

    def __init__(self, tables: dict[str, dict[str, Any]], warnings: list[str]) -> None:
        self._tables = tables
        self.warnings = warnings

    def get(self, key: str, table: str = "storage") -> Any:
        """A value; None where there is none, or an empty one."""
        value = self._tables.get(table, {}).get(key)
        return None if value in ("", []) else value

    def _text(self, key: str, table: str = "storage") -> str:
        value = self.get(key, table)
        if value is not None and not isinstance(value, str):
            raise InvalidInput(f"storage.conf: {table}.{key} is not a string: {value!r}")
        return value or ""

    @property
    def root(self) -> str:
        """Where our store is, "" for the usual place: graphroot, or a user's rootless_storage_path."""
        own = self._tables.get("own") or {}
        if outer_uid() and not own.get("graphroot"):
            return self._ours(self._text("rootless_storage_path"))
        return self._ours(self._text("graphroot"))

    @property
    def runroot(self) -> str:
        """Where run-time files are, "" for the usual place."""
        own = self._tables.get("own") or {}
        return "" if outer_uid() and not own.get("runroot") else self._ours(self._text("runroot"))

    @staticmethod
    def _ours(path: str) -> str:
        if not path or path in _USUAL:
            return ""
        from podling.config.settings import home_folder

        names = {"HOME": home_folder(outer_uid()), "UID": str(outer_uid()), "USER": os.environ.get("USER", "")}
        for name, value in names.items():
            path = path.replace(f"${name}", value).replace(f"${{{name}}}", value)
        usual = ("/var/lib/containers/storage", f"{names['HOME']}/.local/share/containers/storage")
        return "" if path in usual else f"{path}/podling"

    @property
    def driver(self) -> str:
        """The driver of a new store; "" for the best.

        Raises:
            InvalidInput: Podling has no such driver.
        """
        driver = self._text("driver").replace("overlay2", "overlay")
        if driver in ("", "overlay", "vfs"):
            ranks = self.get("driver_priority") or ()
            return driver or next((str(name) for name in ranks if name in ("overlay", "vfs")), "")
        raise InvalidInput(
            f"storage.conf: there is no storage driver {driver!r}",
            hint='driver = "overlay" or "vfs", or --storage-driver',
        )

    @property
    def image_store(self) -> str:
        """Where layers of images lie; "" for beside those of containers."""
        return self._text("imagestore") or self._text("imagestore", "storage.options")

    @property
    def transient(self) -> bool:
        """Whether containers end with a reboot."""
        return self.get("transient_store") is True

    @property
    def options(self) -> list[str]:
        """As --storage-opt takes them."""
        found: dict[str, str] = {}
        for table in ("storage.options", "storage.options.overlay", "storage.options.vfs"):
            for key in _DRIVER_OPTIONS:
                value = self.get(key, table)
                if value is not None:
                    found[key] = str(value).lower() if isinstance(value, bool) else str(value)
        return [f"{key}={value}" for key, value in found.items()]

    @property
    def stores(self) -> list[str]:
        """Additional image stores."""
        return [str(path) for path in self.get("additionalimagestores", "storage.options") or ()]

    def auto_sizes(self) -> tuple[int, int]:
        """The fewest and the most ids of --userns=auto."""
        low, high = (self.get(f"auto-userns-{name}-size", "storage.options") for name in ("min", "max"))
        for value in (low, high):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InvalidInput(f"storage.conf: auto-userns sizes are numbers: {value!r}")
        return low or 1024, high or 65536

    @property
    def auto_user(self) -> str:
        """Whose subordinate ids root's --userns=auto takes."""
        return self._text("root-auto-userns-user", "storage.options") or "containers"

    @property
    def partial_images(self) -> bool:
        """Whether of a zstd:chunked layer only what is new is fetched."""
        value = self.get("enable_partial_images", "storage.options.pull_options")
        return str(value).lower() != "false"


_loaded: StorageConf | None = None


def load() -> StorageConf:
    """The file, read once.

    Raises:
        InvalidInput: it is missing where the environment names it, or broken: with its line.
    """
    global _loaded
    if _loaded is None:
        paths = _paths()
        kept = cached.read("storage-conf", paths, _read) if paths else {"tables": {}, "warnings": []}
        _loaded = StorageConf(kept["tables"], kept["warnings"])
    return _loaded


def main_file() -> str:
    """The path of the file that decides, whether it is there or not."""
    paths = _paths()
    return paths[-1] if paths else _own_path() or _FILES[0]


def forget() -> None:
    """Read the file again next time."""
    global _loaded
    _loaded = None


def additional_stores(options: list[str]) -> list[str]:
    """Roots of stores whose images may be used: from --storage-opt additionalimagestore=PATH, then from storage.conf."""
    found = []
    for option in options:
        key, _, value = option.partition("=")
        if key.removeprefix("overlay.") in ("additionalimagestore", "imagestore") and value:
            found.append(value)
    return [*found, *(path for path in load().stores if path not in found)]


def _paths() -> list[str]:
    chosen = os.environ.get("CONTAINERS_STORAGE_CONF", "")
    if chosen:
        return [chosen]
    found = [path for path in _FILES if os.path.exists(path)][:1]
    own = _own_path()
    return [*found, own] if own and os.path.exists(own) else found


def _own_path() -> str:
    uid = outer_uid()
    if not uid:
        return ""
    from podling.config.settings import home_folder

    return f"{os.environ.get('XDG_CONFIG_HOME') or f'{home_folder(uid)}/.config'}/containers/storage.conf"


def _read(paths: list[str]) -> dict[str, Any]:
    import tomllib

    tables: dict[str, dict[str, Any]] = {}
    warnings: list[str] = []
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"{path}: {error}", hint="containers-storage.conf(5) describes the file") from None
        for name in document.keys() - {"storage"}:
            warnings.append(f"{path}:{cached.line_of(text, name)}: unknown section [{name}]")
        _take(path, text, "storage", document.get("storage") or {}, tables, warnings)
        if path == _own_path() or path == os.environ.get("CONTAINERS_STORAGE_CONF"):
            tables["own"] = {key: True for key in ("graphroot", "runroot") if (document.get("storage") or {}).get(key)}
    return {"tables": tables, "warnings": warnings}


def _take(
    path: str, text: str, table: str, values: dict[str, Any], tables: dict[str, dict[str, Any]], warnings: list[str]
) -> None:
    """The keys of a table and of those in it."""
    for key, value in values.items():
        inner = f"{table}.{key}"
        if inner in _KNOWN and isinstance(value, dict):
            _take(path, text, inner, value, tables, warnings)
        elif key not in _KNOWN[table]:
            warnings.append(f"{path}:{cached.line_of(text, key)}: unknown key {inner}")
        else:
            reason = _KNOWN[table][key]
            if reason and value and str(value).lower() != "false":
                warnings.append(f"{path}:{cached.line_of(text, key)}: {inner} has no effect: {reason}")
            tables.setdefault(table, {})[key] = value
