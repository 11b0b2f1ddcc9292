"""The library for asyncio: the same engine, whose methods are awaited.

    async with podling.aio.open() as engine:
        result = await engine.containers.run("localhost/busybox", ["date"], remove=True)
        async for line in (await engine.containers.get("web")).logs(follow=True):
            print(line.text)

Every call runs in a thread of its own pool, so that a container's start or a pull never holds up the loop. Streams (logs, events, stats)
are async iterators; leaving one ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import podling
from podling.engine.catalogue import containers as ops
from podling.engine.catalogue.system import StreamEvents
from podling.engine.containers import Result
from podling.engine.remote import Stream

if TYPE_CHECKING:
    from types import TracebackType

    from podling.core.events import Event
    from podling.core.image_removal import Removal
    from podling.core.images import Image
    from podling.core.listing import ContainerSummary
    from podling.core.pod_details import PodSummary
    from podling.core.secrets import Secret
    from podling.core.stats import Sample
    from podling.core.volumes import Volume
    from podling.engine import containers as sync
    from podling.engine import objects
    from podling.engine.features import Played, TakenDown
    from podling.engine.local import Engine as SyncEngine
    from podling.runtime.logs import LogLine

T = TypeVar("T")
#: calls that run at the same time; each follower of a stream takes one only while it looks for news
_THREADS = 64
#: seconds between two looks for news
_POLL = 0.1


class _Pool:
    """The threads of one engine."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="podling")

    async def __call__(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*arguments, **options))

    async def stream(self, make: Callable[[], Iterator[Any]]) -> AsyncIterator[Any]:
        """The items of a generator, as they come; its None means "nothing now". Leaving the iterator ends it."""
        generator = await self(make)
        end = object()
        waiting: asyncio.Future[Any] | None = None
        try:
            while True:
                waiting = asyncio.ensure_future(self(next, generator, end))
                item = await asyncio.shield(waiting)
                waiting = None
                if item is end:
                    return
                if item is None:
                    await asyncio.sleep(_POLL)
                else:
                    yield item
        finally:
            if waiting is not None and not isinstance(generator, Stream):
                await asyncio.wait((waiting,))  # it is only looking, for a moment
            getattr(generator, "close", lambda: None)()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Container:
    """A container; see `podling.engine.containers.Container`. As an async context manager it is removed at the end."""

    def __init__(self, run: _Pool, engine: SyncEngine, inner: sync.Container) -> None:
        self._run, self._engine, self._inner = run, engine, inner
        self.id = inner.id

    def __repr__(self) -> str:
        return repr(self._inner)

    async def inspect(self, *, size: bool = False) -> dict[str, Any]:
        return await self._run(self._inner.inspect, size=size)

    async def name(self) -> str:
        return await self._run(lambda: self._inner.name)

    async def status(self) -> str:
        return await self._run(lambda: self._inner.status)

    async def start(self) -> None:
        await self._run(self._inner.start)

    async def stop(self, timeout: int = -1) -> None:
        await self._run(self._inner.stop, timeout)

    async def restart(self, timeout: int = -1) -> None:
        await self._run(self._inner.restart, timeout)

    async def kill(self, signal: str = "KILL") -> None:
        await self._run(self._inner.kill, signal)

    async def pause(self) -> None:
        await self._run(self._inner.pause)

    async def unpause(self) -> None:
        await self._run(self._inner.unpause)

    async def remove(self, *, force: bool = False, volumes: bool = False, timeout: int = -1) -> None:
        await self._run(self._inner.remove, force=force, volumes=volumes, timeout=timeout)

    async def rename(self, name: str) -> None:
        await self._run(self._inner.rename, name)

    async def wait(self) -> int:
        return await self._run(self._inner.wait)

    async def port(self, number: int, protocol: str = "tcp") -> tuple[str, int]:
        return await self._run(self._inner.port, number, protocol)

    async def wait_for(self, condition: Callable[[sync.Container], bool], timeout: float = 60) -> None:
        await self._run(self._inner.wait_for, condition, timeout)

    async def copy_in(self, source: str, target: str) -> None:
        await self._run(self._inner.copy_in, source, target)

    async def copy_out(self, source: str, target: str) -> None:
        await self._run(self._inner.copy_out, source, target)

    async def commit(self, name: str = "", **options: Any) -> str:
        return await self._run(self._inner.commit, name, **options)

    async def top(self, descriptors: Sequence[str] = ()) -> list[list[str]]:
        return await self._run(self._inner.top, descriptors)

    async def exec(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        user: str = "",
        workdir: str = "",
        input: bytes = b"",
    ) -> Result:
        return await self._run(self._inner.exec, command, env=env, user=user, workdir=workdir, input=input)

    def logs(self, *, tail: int = -1, since: str = "", until: str = "", follow: bool = False) -> AsyncIterator[LogLine]:
        operation = ops.ContainerLogs(name=self.id, tail=tail, since=since, until=until, follow=follow, patient=False)
        return self._run.stream(lambda: self._engine.call(operation))

    async def stats(self, *, interval: float = 5.0) -> AsyncIterator[Sample]:
        operation = ops.ContainerStats(names=[self.id], interval=interval, patient=False)
        async for samples in self._run.stream(lambda: self._engine.call(operation)):
            for sample in samples:
                yield sample

    async def __aenter__(self) -> Container:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.remove(force=True, volumes=True, timeout=0)


class Containers:
    """See `podling.engine.containers.Containers`."""

    def __init__(self, run: _Pool, engine: SyncEngine) -> None:
        self._run, self._engine = run, engine

    async def create(
        self, image: str, command: Sequence[str] = (), *, env: Mapping[str, str] | None = None, **options: Any
    ) -> Container:
        return Container(
            self._run, self._engine, await self._run(self._engine.containers.create, image, command, env=env, **options)
        )

    async def start(
        self, image: str, command: Sequence[str] = (), *, env: Mapping[str, str] | None = None, **options: Any
    ) -> Container:
        return Container(
            self._run, self._engine, await self._run(self._engine.containers.start, image, command, env=env, **options)
        )

    async def run(
        self, image: str, command: Sequence[str] = (), *, env: Mapping[str, str] | None = None, input: bytes = b"", remove: bool = False,
        check: bool = False, **options: Any,
    ) -> Result:  # fmt: skip
        return await self._run(
            self._engine.containers.run, image, command, env=env, input=input, remove=remove, check=check, **options
        )

    async def get(self, name: str) -> Container:
        return Container(self._run, self._engine, await self._run(self._engine.containers.get, name))

    async def list(
        self, *, all: bool = False, filters: Sequence[str] = (), last: int = 0, size: bool = False
    ) -> list[ContainerSummary]:
        return await self._run(self._engine.containers.list, all=all, filters=filters, last=last, size=size)

    async def exists(self, name: str) -> bool:
        return await self._run(self._engine.containers.exists, name)


class Images:
    """See `podling.engine.images.Images`."""

    def __init__(self, run: _Pool, engine: SyncEngine) -> None:
        self._run, self._engine = run, engine

    async def build(self, context: str = ".", **options: Any) -> str:
        return await self._run(self._engine.images.build, context, **options)

    async def pull(self, name: str, **options: Any) -> str:
        return await self._run(self._engine.images.pull, name, **options)

    async def push(self, name: str, target: str = "", **options: Any) -> str:
        return await self._run(self._engine.images.push, name, target, **options)

    async def list(self, names: Sequence[str] = (), *, filters: Sequence[str] = ()) -> list[Image]:
        return await self._run(self._engine.images.list, names, filters=filters)

    async def inspect(self, name: str) -> dict[str, Any]:
        return await self._run(self._engine.images.inspect, name)

    async def exists(self, name: str) -> bool:
        return await self._run(self._engine.images.exists, name)

    async def tag(self, name: str, *targets: str) -> None:
        await self._run(self._engine.images.tag, name, *targets)

    async def remove(self, *names: str, force: bool = False) -> Removal:
        return await self._run(self._engine.images.remove, *names, force=force)

    async def load(self, path: str) -> list[str]:  # type: ignore[valid-type]
        return await self._run(self._engine.images.load, path)

    async def save(self, path: str, *names: str, format: str = "docker-archive") -> None:
        await self._run(self._engine.images.save, path, *names, format=format)


class Pods:
    """See `podling.engine.objects.Pods`; the pods that it gives are the synchronous ones' ids, to be asked with `inspect` and the like."""

    def __init__(self, run: _Pool, engine: SyncEngine) -> None:
        self._run, self._engine = run, engine

    async def create(self, name: str = "", **options: Any) -> Pod:
        return Pod(self._run, await self._run(self._engine.pods.create, name, **options))

    async def get(self, name: str) -> Pod:
        return Pod(self._run, await self._run(self._engine.pods.get, name))

    async def list(self, *, filters: Sequence[str] = ()) -> list[PodSummary]:
        return await self._run(self._engine.pods.list, filters=filters)

    async def play(self, text: str, **options: Any) -> Played:
        return await self._run(self._engine.pods.play, text, **options)

    async def take_down(self, text: str, *, force: bool = False) -> TakenDown:
        return await self._run(self._engine.pods.take_down, text, force=force)

    async def documents(self, names: Sequence[str], **options: Any) -> str:
        return await self._run(self._engine.pods.documents, names, **options)

    async def exists(self, name: str) -> bool:
        return await self._run(self._engine.pods.exists, name)


class Pod:
    """A pod; see `podling.engine.objects.Pod`. As an async context manager it is removed at the end."""

    def __init__(self, run: _Pool, inner: objects.Pod) -> None:
        self._run, self._inner = run, inner
        self.id = inner.id

    async def inspect(self) -> dict[str, Any]:
        return await self._run(self._inner.inspect)

    async def status(self) -> str:
        return await self._run(lambda: self._inner.status)

    async def start(self) -> None:
        await self._run(self._inner.start)

    async def stop(self, timeout: int = -1) -> None:
        await self._run(self._inner.stop, timeout)

    async def remove(self, *, force: bool = False) -> None:
        await self._run(self._inner.remove, force=force)

    async def __aenter__(self) -> Pod:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.remove(force=True)


class Volumes:
    """See `podling.engine.objects.Volumes`; volumes go by name."""

    def __init__(self, run: _Pool, engine: SyncEngine) -> None:
        self._run, self._engine = run, engine

    async def create(self, name: str = "", **options: Any) -> str:
        return (await self._run(self._engine.volumes.create, name, **options)).name

    async def list(self, *, filters: Sequence[str] = ()) -> list[Volume]:
        return await self._run(self._engine.volumes.list, filters=filters)

    async def remove(self, name: str, *, force: bool = False) -> None:
        await self._run(lambda: self._engine.volumes.get(name).remove(force=force))


class Networks:
    """See `podling.engine.objects.Networks`; networks go by name."""

    def __init__(self, run: _Pool, engine: SyncEngine) -> None:
        self._run, self._engine = run, engine

    async def create(self, name: str = "", **options: Any) -> str:
        return (await self._run(self._engine.networks.create, name, **options)).name

    async def list(self, *, filters: Sequence[str] = ()) -> list[dict[str, Any]]:
        return await self._run(self._engine.networks.list, filters=filters)

    async def remove(self, name: str, *, force: bool = False) -> None:
        await self._run(lambda: self._engine.networks.get(name).remove(force=force))


class Secrets:
    """See `podling.engine.objects.Secrets`."""

    def __init__(self, run: _Pool, engine: SyncEngine) -> None:
        self._run, self._engine = run, engine

    async def create(self, name: str, data: bytes, **options: Any) -> str:
        return await self._run(self._engine.secrets.create, name, data, **options)

    async def list(self, *, filters: Sequence[str] = ()) -> list[Secret]:
        return await self._run(self._engine.secrets.list, filters=filters)

    async def remove(self, name: str) -> None:
        await self._run(self._engine.secrets.remove, name)


class Engine:
    """An open engine; an async context manager."""

    def __init__(self, inner: SyncEngine) -> None:
        self.inner = inner
        self._run = _Pool()
        self.containers = Containers(self._run, inner)
        self.images = Images(self._run, inner)
        self.pods = Pods(self._run, inner)
        self.volumes = Volumes(self._run, inner)
        self.networks = Networks(self._run, inner)
        self.secrets = Secrets(self._run, inner)

    def events(
        self, *, since: str = "", until: str = "", filters: Sequence[str] = (), follow: bool = True
    ) -> AsyncIterator[Event]:
        """Events in their order; with `follow`, those to come as well."""
        operation = StreamEvents(since=since, until=until, filters=[*filters], follow=follow, patient=False)
        return self._run.stream(lambda: self.inner.call(operation))

    async def info(self) -> dict[str, Any]:
        return await self._run(self.inner.system.info)

    async def version(self) -> dict[str, Any]:
        return await self._run(self.inner.system.version)

    async def close(self) -> None:
        self._run.close()
        self.inner.close()

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def open(url: str = "", **options: Any) -> Engine:
    """Open an engine as `podling.open` does. An unprivileged user's enters its namespace at once: open it before threads are started."""
    inner = podling.open(url, **options)
    if not url:
        inner.prepare_for_threads()
    return Engine(inner)
