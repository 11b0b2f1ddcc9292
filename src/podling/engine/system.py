"""The library's face for the engine as a whole: `engine.system`."""

from __future__ import annotations

from podling.engine.catalogue import system as ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from podling.core.events import Event
    from podling.engine.local import Engine


class System:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def info(self) -> dict[str, Any]:
        """Host and store, in the shape of `podman info`."""
        document: dict[str, Any] = self._engine.call(ops.Info())
        return document

    def version(self) -> dict[str, Any]:
        document: dict[str, Any] = self._engine.call(ops.Version())
        return document

    def top_descriptors(self) -> list[str]:
        """The columns that `Container.top` takes."""
        from podling.core.top import descriptors

        return descriptors()

    def events(
        self, *, since: str = "", until: str = "", filters: Sequence[str] = (), follow: bool = True
    ) -> Iterator[Event]:
        """Events in their order; with `follow`, those to come as well."""
        stream: Iterator[Event] = self._engine.call(
            ops.StreamEvents(since=since, until=until, filters=[*filters], follow=follow)
        )
        return stream
