"""The engine in this process: opens the stores when the first operation needs them, and executes the catalogue."""

from __future__ import annotations

from podling.config.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from podling.core.context import Context
    from podling.core.doctor import Finding
    from podling.engine.catalogue.base import Operation
    from podling.engine.containers import Containers
    from podling.engine.images import Images
    from podling.engine.objects import Networks, Pods, Secrets, Volumes
    from podling.engine.system import System


def _silent(text: str) -> None:
    pass


class Engine:
    """An open engine; close it, or use it as a context manager. One per thread, or one for all: both work.

    `warn` gets warnings for the user, `progress` the steps of long operations, `meter` the bytes of transfers (what, bytes more,
    bytes in all or -1); `ask` puts a question with choices to the user, and gives the position of the answer.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        warn: Callable[[str], None] = _silent,
        progress: Callable[[str], None] = _silent,
        meter: Callable[[str, int, int], None] | None = None,
        ask: Callable[[str, list[str]], int] | None = None,
    ) -> None:
        self.settings = settings
        self.warn = warn
        self.progress = progress
        self.meter = meter
        self.ask = ask
        self._context: Context | None = None

    @property
    def context(self) -> Context:
        if self._context is None:
            from podling.core.context import Context

            self._context = Context(self.settings, self.warn, self.progress, self.meter, self.ask)
        return self._context

    def told(
        self,
        *,
        warn: Callable[[str], None] = _silent,
        progress: Callable[[str], None] = _silent,
        meter: Callable[[str, int, int], None] | None = None,
    ) -> Engine:
        """This engine with others who listen: for one call of several that run at once. It is not closed."""
        other = Engine(self.settings, warn=warn, progress=progress, meter=meter)
        other._context = self.context.told(warn, progress, meter)
        return other

    def prepare_for_threads(self) -> None:
        """What only a process with one thread can do: enter the user namespace, where there is no root."""
        self.context.recover()
        _ = self.context.store.driver

    def change_counter(self) -> int:
        """A number that is another one after every change to the state, by whichever process."""
        counter: int = self.context.db.value("PRAGMA data_version")
        return counter

    def call(self, operation: Operation) -> Any:
        """Execute an operation of the catalogue. The typed faces below are what people use."""
        module, _, function = operation.executor.partition(":")
        executors = __import__(f"podling.engine.execute.{module}", fromlist=[function])
        return getattr(executors, function)(self.context, operation)

    def examine(self) -> list[Finding]:
        """What the host has of what an engine needs. Works where the engine itself does not."""
        from podling.core.doctor import examine

        return examine(self.settings)

    @property
    def containers(self) -> Containers:
        from podling.engine.containers import Containers

        return Containers(self)

    @property
    def images(self) -> Images:
        from podling.engine.images import Images

        return Images(self)

    @property
    def pods(self) -> Pods:
        from podling.engine.objects import Pods

        return Pods(self)

    @property
    def volumes(self) -> Volumes:
        from podling.engine.objects import Volumes

        return Volumes(self)

    @property
    def networks(self) -> Networks:
        from podling.engine.objects import Networks

        return Networks(self)

    @property
    def secrets(self) -> Secrets:
        from podling.engine.objects import Secrets

        return Secrets(self)

    @property
    def host(self) -> str:
        """Where published ports are reached."""
        return "127.0.0.1"

    @property
    def system(self) -> System:
        from podling.engine.system import System

        return System(self)

    def close(self) -> None:
        if self._context is not None:
            self._context.close()
            self._context = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
