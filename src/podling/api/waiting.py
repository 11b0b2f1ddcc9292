"""Waiting for a container's state without a thread: its process tells when it ends, the database when anything changes."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from podling.engine.catalogue import containers as ops
from podling.errors import InvalidInput, NoSuchContainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.api.call import Call
    from podling.core.sessions import State

DOCKER_CONDITIONS = ("not-running", "next-exit", "removed")
_STATES = (
    "configured",
    "created",
    "initialized",
    "running",
    "stopped",
    "paused",
    "exited",
    "removing",
    "stopping",
    "unknown",
)
_HEALTH = ("healthy", "unhealthy")
_SAME = {"stopped": "exited", "configured": "created"}


class Waiter:
    """`begin` looks once (and raises NoSuchContainer); `code` waits."""

    def __init__(self, call: Call, conditions: list[str]) -> None:
        for condition in conditions:
            if condition not in (*_STATES, *_HEALTH, *DOCKER_CONDITIONS):
                raise InvalidInput(f"unknown condition {condition!r}")
        self._call = call
        self._wanted = {_SAME.get(condition, condition) for condition in conditions}

    async def begin(self) -> None:
        self._first: State = await self._call.do(ops.ContainerState(name=self._call.name))

    async def code(self) -> int:
        """The exit code; -1 where the container has not ended."""
        state: State = self._first
        watch = self._call.service.watch
        while True:
            seen = watch.mark()
            try:
                state = await self._call.do(ops.ContainerState(name=self._first.id))
            except NoSuchContainer:
                return int(await self._call.do(ops.WaitContainer(name=self._first.id)))
            if self._holds(state):
                if state.status == "exited":
                    return await self._settled()
                return -1
            await self._change(state, seen)

    async def _settled(self) -> int:
        """Its exit code, a moment behind its end; then all of its end is recorded, for what the client asks next."""
        return int(await self._call.do(ops.WaitContainer(name=self._first.id, settle=True)))

    def _holds(self, state: State) -> bool:
        first = self._first
        return any(
            (condition == "not-running" and not state.pid and (state.status == "exited" or state.status == "created"))
            or (condition == "next-exit" and state.status == "exited" and state.finished != first.finished)
            or condition in (state.status, state.health)
            for condition in self._wanted
        )

    async def _change(self, state: State, seen: int) -> None:
        """Until the process has ended, or something was written."""
        watch = self._call.service.watch
        if not state.pid:
            await watch.changed(seen)
            return
        try:
            fd = os.pidfd_open(state.pid)
        except ProcessLookupError:
            await watch.changed(seen)
            return
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def tell() -> None:
            if not ended.done():
                ended.set_result(None)

        loop.add_reader(fd, tell)
        change = asyncio.ensure_future(watch.changed(seen))
        try:
            await asyncio.wait((ended, change), return_when=asyncio.FIRST_COMPLETED)
            if ended.done() and self._wanted & {"exited", "not-running", "next-exit", "removed"}:
                await self._settled()
        except NoSuchContainer:
            pass
        finally:
            change.cancel()
            loop.remove_reader(fd)
            os.close(fd)


class Watch:
    """Tells that the database has changed, to any number of waiters, with one look for all of them."""

    _SECONDS = 0.02

    def __init__(self, counter: Callable[[], int]) -> None:
        self._counter = counter
        self._waiters: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None

    def mark(self) -> int:
        """Where the database is now."""
        return self._counter()

    async def changed(self, mark: int) -> None:
        """Return when it is elsewhere than at `mark`."""
        if self.mark() != mark:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiters.append(future)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look(mark))
        try:
            await future
        finally:
            if future in self._waiters:
                self._waiters.remove(future)

    async def _look(self, mark: int) -> None:
        while self._waiters:
            await asyncio.sleep(self._SECONDS)
            now = self.mark()
            if now != mark:
                mark = now
                waiters, self._waiters = self._waiters, []
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(None)
