"""What every operation works with: settings, database, locks, store, runtime. Each is opened when first used."""

from __future__ import annotations

import os

from podling.config import containers, storage
from podling.config.settings import Settings
from podling.errors import InvalidInput
from podling.linux.proc import boot_id, outer_uid
from podling.state.database import Database
from podling.state.locks import Locks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podling.runtime.oci_runtime import OCIRuntime
    from podling.storage.store import Store


class Context:
    """One open engine. `warn` and `progress` get lines for the person who waits."""

    def __init__(
        self,
        settings: Settings,
        warn: Callable[[str], None],
        progress: Callable[[str], None],
        meter: Callable[[str, int, int], None] | None = None,
        ask: Callable[[str, list[str]], int] | None = None,
    ) -> None:
        if os.geteuid():
            from podling.config.settings import user_folder
            from podling.rootless import namespace

            namespace.enter(user_folder(os.geteuid()))
        self.settings = settings.completed()
        self.warn = warn
        self.progress = progress
        #: (what, bytes more, bytes in all or -1): how far a transfer has come
        self.meter = meter
        #: (question, choices): the position of what a person chose; None where nobody can be asked
        self.ask = ask
        root = self.settings.root
        try:
            os.makedirs(root, 0o700, exist_ok=True)
        except OSError as error:
            hint = "choose a place that can be written to: --root PATH, or graphroot in storage.conf"
            if outer_uid():
                hint = f"choose a place of yours that can be written to: export XDG_DATA_HOME=/var/tmp/{outer_uid()}, or --root PATH"
            raise InvalidInput(f"--root {root}: {error.strerror}", hint=hint) from None
        self._place_database(root)
        self.db = Database(f"{root}/podling.db")
        if self.settings.events_backend != "database":
            from podling.core.eventlogs import open_log

            self.db.elsewhere = open_log(self.settings).write
        self.locks = Locks(f"{root}/locks")
        self._store: Store | None = None
        self._runtimes: dict[str, OCIRuntime] = {}
        self._notice_reboot()

    def _place_database(self, root: str) -> None:
        """A new store's database lies where containers.conf has it (engine.static_dir), and a link in the root says so."""
        place = containers.load().text("engine", "static_dir")
        link = f"{root}/podling.db"
        if not place or os.path.lexists(link):
            return
        import hashlib

        os.makedirs(place, 0o700, exist_ok=True)
        name = hashlib.sha256(os.path.realpath(root).encode()).hexdigest()[:12]
        try:
            os.symlink(f"{os.path.abspath(place)}/podling-{name}.db", link)
        except FileExistsError:  # another command was faster
            pass

    def told(
        self,
        warn: Callable[[str], None],
        progress: Callable[[str], None],
        meter: Callable[[str, int, int], None] | None,
    ) -> Context:
        """The same stores and settings, with others who listen. Nobody can be asked there."""
        other = object.__new__(Context)
        other.__dict__.update(self.__dict__, warn=warn, progress=progress, meter=meter, ask=None)
        return other

    def close(self) -> None:
        self.db.close()

    @property
    def store(self) -> Store:
        if self._store is None:
            from podling.storage.store import Store

            settings = self.settings
            self._store = Store(
                settings.root, self.db, self.locks, settings.storage_driver, settings.storage_opts,
                preferred=lambda: storage.load().driver, image_store=settings.image_store,
            )  # fmt: skip
        return self._store

    def runtime(self, name: str = "") -> OCIRuntime:
        """The OCI runtime called `name`, or the one of the settings."""
        from podling.runtime.oci_runtime import OCIRuntime

        name = name or self.settings.runtime
        if name not in self._runtimes:
            settings = self.settings
            systemd = settings.cgroup_manager == "systemd"
            self._runtimes[name] = OCIRuntime(
                name, settings.runroot, flags=settings.runtime_flags, systemd_cgroup=systemd
            )
        return self._runtimes[name]

    def measured(self, what: str, total: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """`chunks`, with each step told to the meter where there is one."""
        if self.meter is None:
            return chunks
        return _measured(self.meter, what, total, chunks)

    def folder(self, container: str) -> str:
        """Where a container keeps what lasts: its log."""
        return f"{self.settings.root}/containers/{container}"

    def recover(self) -> None:
        """Finish or undo what killed processes left; before every operation that writes."""
        from podling.core import recovery

        recovery.run(self)

    def _notice_reboot(self) -> None:
        """`runroot` is void after a reboot, and so is all runtime state in the database.

        The file `boot` in `runroot` says which boot the runtime state belongs to. A missing file (a tmpfs that came up
        empty) or another boot id means that no mount, process or network of ours is left.
        """
        marker = f"{self.settings.runroot}/boot"
        current = boot_id()
        try:
            with open(marker) as file:
                if file.read() == current:
                    return
        except FileNotFoundError:
            pass
        from podling.core import recovery

        recovery.after_reboot(self, marker, current)


def _measured(
    meter: Callable[[str, int, int], None], what: str, total: int, chunks: Iterator[bytes]
) -> Iterator[bytes]:
    meter(what, 0, total)
    for chunk in chunks:
        yield chunk
        meter(what, len(chunk), total)
