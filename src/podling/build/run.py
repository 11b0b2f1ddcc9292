"""RUN: a command in a container on top of what there is; what it changes is the next layer."""

from __future__ import annotations

import os
import select
import stat
import threading

from podling.build.containerfile import BuildError, Instruction
from podling.build.expand import expand
from podling.build.mounts import Mounts
from podling.core.options import CreateOptions
from podling.oci import json
from podling.state.intents import declare
from podling.storage.changes import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from podling.build.builder import Builder, Performer
    from podling.build.state import State
    from podling.core.containers import Container


class CommandFailed(BuildError):
    """A command of RUN ended with another code than 0, which is the build's then."""

    reference = "build-command"


def run(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    flags = [(key, expand(value or "", state.variables, builder.escape)) for key, value in instruction.flags]
    for key, value in flags:
        if key not in ("mount", "network"):
            raise instruction.error(f"unknown flag: --{key}", hint="RUN has --mount and --network")
        if key == "network" and value not in ("default", "none", "host"):
            raise instruction.error(f"--network={value}: it is default, none or host")
    argv = _argv(state, instruction)
    shown = " ".join(argv) if instruction.as_list() is None else json.dumps(argv)
    builder.used.update(name for name in builder.arguments if name in builder.proxies)
    environment = {**builder.proxies, **state.arguments}
    told = "".join(
        f" {name}={value}" for name, value in sorted(state.arguments.items()) if name not in builder.platform_arguments
    )
    by = f"|{len(told.split())}{told} {shown}" if told else shown
    depends = [flags, sorted(environment.items()), builder.tree_keys(flags)]
    performer.command(state, by, lambda: _Step(builder, state, instruction, flags, argv, environment), depends)


def _argv(state: State, instruction: Instruction) -> list[str]:
    listed = instruction.as_list()
    if listed is not None:
        if not listed:
            raise instruction.error("an empty list is no command")
        return listed
    text = instruction.text
    if not instruction.heredocs:
        return [*state.shell, text]
    first = instruction.heredocs[0]
    if text.replace(" ", "").replace("-", "").strip("'\"") in (
        f"<<{first.name}",
        f"<<'{first.name}'",
        f'<<"{first.name}"',
    ):
        content = first.content
        if content.startswith("#!"):  # a program for another interpreter: the shell hands it over in a file
            return [
                *state.shell,
                (
                    f'f=$(mktemp) && cat > "$f" <<\'{first.name}\' && chmod 700 "$f" && "$f"; c=$?; rm -f "$f"; exit $c\n'
                    f"{content}{first.name}\n"
                ),
            ]
        return [*state.shell, content]
    documents = "\n".join(f"{doc.content}{doc.name}" for doc in instruction.heredocs)
    return [*state.shell, f"{text}\n{documents}\n"]


class _Step:
    """The command runs on entering, which gives a layer's tar of what it changed; container and mounts go on leaving."""

    def __init__(
        self,
        builder: Builder,
        state: State,
        instruction: Instruction,
        flags: list[tuple[str, str]],
        argv: list[str],
        environment: dict[str, str],
    ) -> None:
        if state.layer is None:
            raise instruction.error(
                "the image is empty: there is nothing that could run",
                hint="COPY or ADD something first, or begin FROM an image",
            )
        self._builder, self._state, self._instruction = builder, state, instruction
        options = self._options = CreateOptions.from_json(builder.options.run.to_json())
        options.image, options.command, options.entrypoint = "", argv, ""
        options.env = [f"{key}={value}" for key, value in {**environment, **state.environment}.items()]
        options.log_driver = "none"
        self._flags = flags
        # whoever finds this after we were killed removes the container of that name, and the folder
        self._name = f"build-{os.urandom(8).hex()}"
        self._intent = declare(builder.ctx.db, builder.ctx.locks, "build", self._name)
        self._mounts = Mounts(
            builder.ctx, options, folder=View([builder.folder]), tree=lambda name: builder.tree(name, instruction),
            secrets=builder.secrets, agents=builder.agents, workdir=state.workdir, name=self._name,
        )  # fmt: skip
        self._container: Container | None = None

    def __enter__(self) -> Iterator[bytes]:
        from podling.core import changes

        try:
            for key, value in self._flags:
                if key == "mount":
                    self._mounts.add(value, self._instruction)
                elif value != "default":
                    self._options.network = [value]
            container = self._container = _create(self._builder, self._state, self._options, self._name)
            code = _wait(self._builder, container)
            if code:
                raise _failed(self._instruction, code)
            container.load()
            return changes.layer_tar(self._builder.ctx, container, alter=self._builder.alter)
        except BaseException:
            self._close()
            raise

    def __exit__(self, *_exc: object) -> None:
        self._close()

    def _close(self) -> None:
        from podling.core import removal

        try:
            if self._container is not None:
                removal.remove_one(self._container, force=True, volumes=True, timeout=0)
        finally:
            self._mounts.close()
        with self._builder.ctx.db.write() as tx:
            self._intent.finish(tx)
        self._intent.release()


def _create(builder: Builder, state: State, options: CreateOptions, name: str) -> Container:
    from podling.core import create
    from podling.core.configuration import build_config
    from podling.core.defaults import applied

    ctx = builder.ctx
    inherited = {"Env": None, "WorkingDir": state.workdir, "User": state.config.get("User") or ""}
    config = build_config(ctx, applied(options), inherited)
    config.image, config.name = state.shown, name
    return create.store(ctx, config, None, fixed_name=True, on=state.layer, external=True)


def _wait(builder: Builder, container: Container) -> int:
    from podling.core import attached
    from podling.runtime.streams import Streams

    with _Watch(container, builder.stdout):
        code = attached.run(container, Streams(stdin=-1, stdout=builder.printed, stderr=builder.stderr), False)
    return code or 0


class _Watch:
    """Kills a container when nobody reads any more what it prints: a client that has gone."""

    def __init__(self, container: Container, fd: int) -> None:
        self._container, self._fd = container, fd
        self._is_pipe = fd >= 0 and stat.S_ISFIFO(os.fstat(fd).st_mode)
        self._ended = threading.Event()

    def __enter__(self) -> None:
        if self._is_pipe:
            self._thread = threading.Thread(target=self._look)
            self._thread.start()

    def __exit__(self, *_exc: object) -> None:
        self._ended.set()
        if self._is_pipe:
            self._thread.join()

    def _look(self) -> None:
        from podling.core import containers, lifecycle
        from podling.errors import PodlingError

        poll = select.poll()
        poll.register(self._fd, 0)
        while not self._ended.wait(0.2):
            if poll.poll(0):
                try:
                    lifecycle.kill(containers.find(self._container.ctx, self._container.id), lifecycle.SIGKILL)
                except PodlingError:
                    continue  # it has not begun yet, or has ended
                return


def _failed(instruction: Instruction, code: int) -> CommandFailed:
    error = CommandFailed(f'building at STEP "{instruction.shown}": while running runtime: exit status {code}')
    error.exit_code = code
    return error
