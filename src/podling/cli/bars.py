"""Progress bars for transfers, on a terminal: one per layer, with bytes, speed and the time that is left."""

from __future__ import annotations

import threading

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class Bars:
    """The bars of one command; threads may advance them at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=30), DownloadColumn(), TransferSpeedColumn(),
            TimeRemainingColumn(compact=True), console=Console(stderr=True), transient=False,
        )  # fmt: skip
        self._progress.start()

    def advance(self, what: str, more: int, total: int) -> None:
        with self._lock:
            task = self._tasks.get(what)
            if task is None:
                short = what.removeprefix("sha256:")[:12]
                task = self._tasks[what] = self._progress.add_task(
                    f"Copying blob {short}", total=total if total >= 0 else None
                )
        self._progress.advance(task, more)

    def line(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()
