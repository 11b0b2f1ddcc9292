"""The library's face for containers: `engine.containers`, and the objects that it gives."""

from __future__ import annotations

from podling.core.options import CommitOptions, CreateOptions, ExecOptions
from podling.engine.catalogue import containers as ops
from podling.engine.catalogue.base import Report
from podling.errors import PodlingError
from podling.oci.record import Record
from podling.runtime.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from podling.conditions import Condition
    from podling.core.listing import ContainerSummary
    from podling.core.stats import Sample
    from podling.engine.local import Engine
    from podling.runtime.logs import LogLine


class Result(Record):
    """What a process wrote and its exit code."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def raise_first(report: Report) -> None:
    if report.errors:
        raise report.errors[0]


class Container:
    """A container of the engine; its state is asked anew each time."""

    def __init__(self, engine: Engine, id: str) -> None:
        self._engine = engine
        self.id = id

    def __repr__(self) -> str:
        return f"<Container {self.id[:12]}>"

    def inspect(self, *, size: bool = False) -> dict[str, Any]:
        """Everything about it, in the shape of `podman inspect`."""
        document: dict[str, Any] = self._engine.call(ops.InspectContainer(name=self.id, size=size))
        return document

    @property
    def name(self) -> str:
        return str(self.inspect()["Name"])

    @property
    def status(self) -> str:
        """created, running, paused, stopping or exited."""
        return str(self.inspect()["State"]["Status"])

    def start(self) -> None:
        raise_first(self._engine.call(ops.StartContainers(names=[self.id])))

    def stop(self, timeout: int = -1) -> None:
        """Stop it: its stop signal, then SIGKILL after `timeout` seconds (-1: its own setting)."""
        raise_first(self._engine.call(ops.StopContainers(names=[self.id], timeout=timeout)))

    def restart(self, timeout: int = -1) -> None:
        raise_first(self._engine.call(ops.RestartContainers(names=[self.id], timeout=timeout)))

    def kill(self, signal: str = "KILL") -> None:
        raise_first(self._engine.call(ops.KillContainers(names=[self.id], signal=signal)))

    def pause(self) -> None:
        raise_first(self._engine.call(ops.PauseContainers(names=[self.id])))

    def unpause(self) -> None:
        raise_first(self._engine.call(ops.UnpauseContainers(names=[self.id])))

    def remove(self, *, force: bool = False, volumes: bool = False, timeout: int = -1) -> None:
        """Remove it, with `force` even while it runs: after `timeout` seconds (-1: its own setting) with SIGKILL."""
        raise_first(
            self._engine.call(ops.RemoveContainers(names=[self.id], force=force, volumes=volumes, timeout=timeout))
        )

    def rename(self, name: str) -> None:
        self._engine.call(ops.RenameContainer(name=self.id, new_name=name))

    def wait(self) -> int:
        """Wait until it has ended; its exit code."""
        code: int = self._engine.call(ops.WaitContainer(name=self.id))
        return code

    def logs(self, *, tail: int = -1, since: str = "", until: str = "", follow: bool = False) -> Iterator[LogLine]:
        """The lines of its log; with `follow`, on until it ends."""
        lines: Iterator[LogLine] = self._engine.call(
            ops.ContainerLogs(name=self.id, tail=tail, since=since, until=until, follow=follow)
        )
        return lines

    def port(self, number: int, protocol: str = "tcp") -> tuple[str, int]:
        """(host, port) where a published port of it is reached from here.

        Raises:
            NotFound: the port is not published.
        """
        from podling.errors import NotFound

        bindings = self.inspect()["HostConfig"]["PortBindings"].get(f"{number}/{protocol}") or []
        if not bindings:
            raise NotFound(f"port {number}/{protocol} of {self.id[:12]} is not published", hint=f"publish=['{number}']")
        host = bindings[0]["HostIp"]
        return (self._engine.host if host in ("", "0.0.0.0", "::") else host), int(bindings[0]["HostPort"])

    def wait_for(self, condition: Condition, timeout: float = 60) -> None:
        """Wait until a condition (see `podling.conditions`) holds.

        Raises:
            TimeoutError: it did not within `timeout` seconds; WrongState: the container ended before. Both quote its log.
        """
        import time

        from podling.errors import WrongState

        deadline = time.monotonic() + timeout
        pause = 0.02
        while not condition(self):
            what = condition.__doc__ or "the condition"
            state = self.inspect()["State"]
            if not state["Running"] and state["Status"] != "created":
                raise WrongState(f"{self.id[:12]} ended with {state['ExitCode']} before {what}:\n{self._log_end()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.id[:12]}: no {what} within {timeout:g} s:\n{self._log_end()}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def _log_end(self) -> str:
        return b"".join(line.text for line in self.logs(tail=20)).decode(errors="replace")

    def copy_in(self, source: str, target: str) -> None:
        """Copy a file or folder of this host into it, as `podling cp` does."""
        self._engine.call(ops.CopyFiles(source=source, target=f"{self.id}:{target}"))

    def copy_out(self, source: str, target: str) -> None:
        """Copy a file or folder of it to this host."""
        self._engine.call(ops.CopyFiles(source=f"{self.id}:{source}", target=target))

    def commit(self, name: str = "", **options: Any) -> str:
        """Make an image of it; its id. `options` are fields of `CommitOptions`."""
        return str(self._engine.call(ops.CommitContainer(name=self.id, target=name, options=CommitOptions(**options))))

    def stats(self, *, interval: float = 5.0) -> Iterator[Sample]:
        """How much of the host it uses, again and again."""
        for samples in self._engine.call(ops.ContainerStats(names=[self.id], interval=interval)):
            yield from samples

    def top(self, descriptors: Sequence[str] = ()) -> list[list[str]]:
        rows: list[list[str]] = self._engine.call(ops.ContainerTop(name=self.id, descriptors=list(descriptors)))
        return rows

    def exec(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        user: str = "",
        workdir: str = "",
        input: bytes = b"",
    ) -> Result:
        """Run a process in it, feed it `input`, and wait for its end."""
        options = ExecOptions(
            command=list(command),
            env=[f"{k}={v}" for k, v in (env or {}).items()],
            user=user,
            workdir=workdir,
            interactive=bool(input),
        )
        with _Captured(input) as captured:
            code = self._engine.call(ops.ExecContainer(name=self.id, options=options, streams=captured.streams))
        return captured.result(code)

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_exc: object) -> None:
        """A container used as a context manager is removed at the end."""
        self.remove(force=True, volumes=True, timeout=0)


class _Captured:
    """Streams that end in memory files."""

    def __init__(self, input: bytes) -> None:
        self._input = input

    def __enter__(self) -> _Captured:
        import os

        self._fds = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("stdin", "stdout", "stderr")]
        with os.fdopen(os.dup(self._fds[0]), "wb") as file:
            file.write(self._input)
        os.lseek(self._fds[0], 0, os.SEEK_SET)
        self.streams = Streams(stdin=self._fds[0] if self._input else -1, stdout=self._fds[1], stderr=self._fds[2])
        self._contents: list[bytes] = []
        return self

    def __exit__(self, *_exc: object) -> None:
        import os

        for fd in self._fds:
            with os.fdopen(fd, "rb") as file:
                file.seek(0)
                self._contents.append(file.read())

    def result(self, code: int) -> Result:
        return Result(exit_code=code, stdout=self._contents[1], stderr=self._contents[2])


class Containers:
    """Making and finding containers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self, image: str, command: Sequence[str] = (), *, env: Mapping[str, str] | None = None, **options: Any
    ) -> Container:
        """Create a container. `options` are the fields of `CreateOptions`: name, volume, publish, network, memory, …

        Raises:
            NoSuchImage, NameInUse, InvalidInput, RegistryError.
        """
        options["env"] = [*options.get("env_list", ()), *(f"{key}={value}" for key, value in (env or {}).items())]
        options.pop("env_list", None)
        return Container(
            self._engine,
            self._engine.call(
                ops.CreateContainer(options=CreateOptions(image=image, command=list(command), **options))
            ),
        )

    def run(
        self,
        image: str,
        command: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        input: bytes = b"",
        remove: bool = False,
        check: bool = False,
        **options: Any,
    ) -> Result:
        """Create a container, start it, feed it `input`, and wait for its end. With `remove` it is gone then.

        Raises:
            RuntimeFailed: with `check`, when the exit code is not 0; what `create` raises; CommandNotFound.
        """  # fmt: skip
        container = self.create(image, command, env=env, rm=remove, interactive=bool(input), **options)
        try:
            with _Captured(input) as captured:
                code = self._engine.call(ops.RunAttached(name=container.id, streams=captured.streams, sig_proxy=False))
        except BaseException:
            if remove:
                self._engine.call(ops.RemoveContainers(names=[container.id], force=True, volumes=True))
            raise
        result = captured.result(code)
        if check and result.exit_code:
            from podling.errors import RuntimeFailed

            raise RuntimeFailed(
                f"{' '.join(command)!r} in {image} ended with {result.exit_code}: {result.stderr.decode(errors='replace').strip()}"
            )
        return result

    def start(
        self, image: str, command: Sequence[str] = (), *, env: Mapping[str, str] | None = None, **options: Any
    ) -> Container:
        """Create a container and start it in the background."""
        container = self.create(image, command, env=env, **options)
        try:
            container.start()
        except PodlingError:
            container.remove(force=True, volumes=True)
            raise
        return container

    def get(self, name: str) -> Container:
        """The container that a name, an id or a unique prefix of one means; NoSuchContainer when there is none."""
        document = self._engine.call(ops.InspectContainer(name=name))
        return Container(self._engine, document["Id"])

    def list(
        self,
        *,
        all: bool = False,
        filters: Sequence[str] = (),
        last: int = 0,
        size: bool = False,
        details: bool = False,
        external: bool = False,
    ) -> list[ContainerSummary]:
        """Containers, newest first; the running ones, or all. `details` adds mounts, networks and ports, `external` those of builds."""
        found: list[ContainerSummary] = self._engine.call(
            ops.ListContainers(all=all, filters=[*filters], last=last, size=size, details=details, external=external)
        )
        return found

    def exists(self, name: str) -> bool:
        found: bool = self._engine.call(ops.ContainerExists(name=name))
        return found
