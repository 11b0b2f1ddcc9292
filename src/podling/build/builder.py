"""A build from its context to its image: stage after stage, step after step."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

from podling.build import cache, stages, steps
from podling.build.containerfile import BuildError, Instruction, parse
from podling.build.mounts import agents, sources
from podling.build.stages import Stage
from podling.build.state import State
from podling.core import images
from podling.core.create import find_image
from podling.core.options import CreateOptions
from podling.errors import RuntimeFailed
from podling.oci.image import chain_ids, host_platform, parse_platform
from podling.oci.times import format_time
from podling.state.database import now
from podling.storage.changes import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from podling.build.ignore import Ignore
    from podling.build.options import BuildOptions
    from podling.core.context import Context
    from podling.storage.changes import Alter

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


class Builder:
    """One build of one platform. `stdout` and `stderr` are descriptors that steps write to."""

    def __init__(
        self,
        ctx: Context,
        options: BuildOptions,
        folder: str,
        ignore: Ignore,
        text: str,
        *,
        platform: str = "",
        stdout: int = 1,
        stderr: int = 2,
    ) -> None:
        self.ctx, self.options, self.folder, self.ignore = ctx, options, folder, ignore
        self.stdout, self.stderr = stdout, stderr
        #: what commands print; quiet builds show their errors alone
        self.printed = -1 if options.quiet else stdout
        self.platform = platform
        self.scratch = ctx.settings.scratch
        self.file = parse(text)
        self.escape = self.file.escape
        self.arguments = arguments(options)
        self.used: set[str] = set()
        self.platform_arguments = _platform_arguments(platform)
        self.global_arguments, self.stages = stages.split(self.file, self.arguments, self.platform_arguments)
        self.used |= self.global_arguments.keys() & self.arguments.keys()
        base = "" if options.context else folder  # who sends a context sends the files of its secrets in it
        self.secrets, self.agents = sources(options.secrets, options.secret_data, base), agents(options.ssh)
        self.timestamp = _timestamp(options)
        self.moment = now() if self.timestamp is None else self.timestamp
        self.cache_ttl = _ttl(options.cache_ttl)
        self.proxies = {name: value for name, value in self.arguments.items() if name in _PROXIES}
        self.contexts = dict(item.partition("=")[::2] for item in options.build_contexts)
        self._done: dict[int, State] = {}
        self._trees: dict[str, tuple[View, str]] = {}
        self._warned: set[str] = set()

    # -- telling
    def say(self, text: str) -> None:
        if not self.options.quiet:
            _write(self.stdout, text + "\n")

    def warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.ctx.warn(text)

    # -- the whole
    def run(self) -> State:
        """The finished target."""
        target = stages.chosen(self.stages, self.options.target)
        chosen = stages.needed(self.stages, target) if self.options.skip_unused else self.stages[: target.index + 1]
        for position, stage in enumerate(chosen):
            prefix = f"[{position + 1}/{len(chosen)}] " if len(chosen) > 1 else ""
            self._done[stage.index] = self._stage(stage, prefix, is_first=stage.index == 0, is_last=stage is target)
        unused = sorted(self.arguments.keys() - self.used - set(_PROXIES))
        if unused:
            _write(self.stderr, f"[Warning] one or more build args were not consumed: [{' '.join(unused)}]\n")
        return self._done[target.index]

    def _stage(self, stage: Stage, prefix: str, *, is_first: bool, is_last: bool) -> State:
        extra = [_instruction("ENV", item) for item in self.options.env] if is_last else []
        state = self._base(stage, is_first=is_first)
        triggers = [parse(text).instructions[0] for text in state.config.pop("OnBuild", None) or ()]
        todo = [*triggers, *stage.instructions, *extra]
        total = len(todo) + 1
        self.say(f"{prefix}STEP 1/{total}: {stage.origin.shown}")
        for position, instruction in enumerate(todo, 2):
            self.say(f"{prefix}STEP {position}/{total}: {instruction.shown}")
            try:
                steps.perform(self, state, instruction, Performer(self))
            except RuntimeFailed as error:  # of a program that did not even start: the step is what a person looks for
                error.message = f'building at STEP "{instruction.shown}": {error.message}'
                raise
        return state

    # -- what a stage begins with
    def _base(self, stage: Stage, *, is_first: bool) -> State:
        name = self.options.base if is_first and self.options.base else stage.base
        earlier = stages.before(self.stages, stage, name)
        if earlier:
            return self._done[earlier.index].fork()
        if name == "scratch":
            return State.empty(cache.key_of("scratch", self.platform), stage.platform or self.platform)
        image = self.image(
            self.contexts[name].partition("://")[2]
            if self.contexts.get(name, "").startswith("docker-image://")
            else name,
            stage.platform,
        )
        document = images.config_of(self.ctx, image.id)
        state = State(image.layer, document, cache.key_of("image", image.id))
        state.document.setdefault("rootfs", {"type": "layers", "diff_ids": []})
        state.annotations = _annotations(self.ctx, image.id)
        state.shown = name
        state.base_layers = len(state.document["rootfs"]["diff_ids"])
        state.config.pop("Image", None)
        if not self.options.inherit_labels:
            state.config.pop("Labels", None)
        return state

    def image(self, name: str, platform: str = "") -> images.Image:
        """An image that the build needs, pulled where the options say so."""
        run = self.options.run
        wanted = CreateOptions(
            image=name, pull=self.options.pull, platform=platform or self.platform, authfile=run.authfile, creds=run.creds,
            cert_dir=run.cert_dir,
            tls_verify=run.tls_verify, retry=run.retry, retry_delay=run.retry_delay, decryption_key=run.decryption_key,
        )  # fmt: skip
        if wanted.platform and wanted.pull in ("missing", "never"):  # one that is here already and fits will do
            found = images.lookup(self.ctx, name)
            if found is not None and _fits(found.platform, wanted.platform):
                return images.instance(self.ctx, found)
        return find_image(self.ctx, wanted)

    def tree(self, name: str, instruction: Instruction) -> View:
        """The files of `--from`: of a stage, another context, or an image."""
        return self._tree(name, instruction)[0]

    def _tree(self, name: str, instruction: Instruction) -> tuple[View, str]:
        for index, state in self._done.items():
            if self.stages[index].is_called(name) or name == str(index):
                return state.view(self.ctx), state.key
        if name in self._trees:
            return self._trees[name]
        source = self.contexts.get(name, "")
        if source and not source.startswith("docker-image://"):
            if not os.path.isdir(source):
                raise instruction.error(f"--build-context {name}={source}: no such folder")
            found = View([os.path.realpath(source)]), ""
        else:
            image = self.image(source.removeprefix("docker-image://") or name)
            found = State(image.layer, {}, "").view(self.ctx), image.id
        self._trees[name] = found
        return found

    def tree_keys(self, flags: list[tuple[str, str]]) -> list[str]:
        """What the mounts of a RUN show, as digests: another content is another step."""
        from podling.build.ignore import Ignore
        from podling.build.transfer import Attributes, Load

        keys = []
        for key, value in flags:
            parts = dict(part.partition("=")[::2] for part in value.split(",")) if key == "mount" else {}
            if key != "mount" or parts.get("type", "bind") != "bind":
                continue
            name = parts.get("from", "")
            view, known = self._tree(name, _instruction("RUN", "true")) if name else (View([self.folder]), "")
            if known:
                keys.append(known)
                continue
            load = Load(Attributes(uid=0, gid=0))
            path = view.resolve(parts.get("source") or parts.get("src") or "/")
            if os.path.isdir(f"{view.folders[0]}{path}"):
                load.add_tree(view, path, "", self.ignore if not name else Ignore([]), Ignore([]))
            else:
                load.pieces.append((view, path, "file"))
            keys.append(load.digest())
        return keys

    @property
    def alter(self) -> Alter | None:
        """With --timestamp, all that a step made has that time."""
        if self.timestamp is None:
            return None
        from podling.build.transfer import Attributes, altered

        return altered(Attributes(mtime=self.timestamp))


class Performer:
    """How one step becomes part of the image: a note in its history, or a layer, perhaps one that is here already."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    def note(self, state: State, shown: str) -> None:
        """A step that changes the configuration alone."""
        state.key = cache.key_of(state.key, shown)
        self._record(state, f"/bin/sh -c #(nop) {shown}", empty=True)

    def layer(self, state: State, shown: str, tar: Callable[[], Iterator[bytes]], digest: str) -> None:
        """A step that puts files into the image."""
        builder = self._builder
        load = builder.options
        state.key = cache.key_of(state.key, shown, digest, load.timestamp)
        self._cached(state, f"/bin/sh -c #(nop) {shown}", lambda: nullcontext(tar()))

    def command(
        self, state: State, shown: str, work: Callable[[], AbstractContextManager[Iterator[bytes]]], depends: object
    ) -> None:
        """A step that runs something."""
        run = self._builder.options.run
        state.key = cache.key_of(state.key, shown, depends, self._builder.options.timestamp, run.network, run.add_host)
        self._cached(state, shown, work)

    def _cached(
        self, state: State, created_by: str, work: Callable[[], AbstractContextManager[Iterator[bytes]]]
    ) -> None:
        builder = self._builder
        ctx = builder.ctx
        if builder.options.layers and not builder.options.no_cache:
            found = cache.find(ctx, state.key, builder.cache_ttl)
            if found:
                state.layer, document = found
                state.document.clear()
                state.document.update(document)
                cache.touch(ctx, state.key)
                builder.say(f"--> Using cache {state.key[:12]}")
                return
        staged = ctx.store.stage("build", state.layer)
        try:
            with work() as tar:
                ctx.store.unpack(staged, tar, state.layer)
            diff_ids = [*state.document["rootfs"]["diff_ids"], staged.diff_id]
            chain_id = chain_ids(diff_ids)[-1]
            ctx.store.flush()
            state.document["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
            self._record(state, created_by, empty=False)
            with ctx.db.write() as tx:
                row = tx.row("SELECT key FROM layers WHERE chain_id=?", chain_id)
                if not row:
                    staged.record(tx, parent=state.layer, chain_id=chain_id)
                state.layer = row[0] if row else staged.key
                cache.keep(tx, state.key, state.layer, state.document)
        finally:
            staged.close()
        builder.say(f"--> {state.key[:12]}")

    def _record(self, state: State, created_by: str, *, empty: bool) -> None:
        builder = self._builder
        step: dict[str, Any] = {"created": format_time(builder.timestamp or now()), "created_by": created_by}
        if state.document.get("author"):
            step["author"] = state.document["author"]
        if not state.document.get("history") and state.shown:
            step["comment"] = f"FROM {state.shown}"
        if empty:
            step["empty_layer"] = True
        state.document["history"] = [*(state.document.get("history") or []), step]


def _instruction(name: str, text: str) -> Instruction:
    return Instruction(name, text, 0)


def _write(fd: int, text: str) -> None:
    data = memoryview(text.encode("utf-8", "surrogateescape"))
    while data and fd >= 0:
        data = data[os.write(fd, data) :]


def arguments(options: BuildOptions) -> dict[str, str]:
    """--build-arg-file, then --build-arg: NAME=VALUE, or NAME for the variable of that name here."""
    found: dict[str, str] = {}
    for path in options.build_arg_files:
        try:
            with open(path) as file:
                lines = [line.strip() for line in file]
        except OSError as error:
            raise BuildError(f"--build-arg-file {path}: {error.strerror}") from None
        for number, line in enumerate(lines, 1):
            if line and not line.startswith("#"):
                name, equals, value = line.partition("=")
                if not equals:
                    raise BuildError(f"--build-arg-file {path}: line {number}: {line!r} is not NAME=VALUE")
                found[name] = value
    for text in options.build_args:
        name, equals, value = text.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
        else:
            found.pop(name, None)
    return found


def _platform_arguments(platform: str) -> dict[str, str]:
    host = host_platform()
    wanted = parse_platform(platform) if platform else host
    found = {}
    for prefix, value in (("BUILD", host), ("TARGET", wanted)):
        found[f"{prefix}PLATFORM"] = str(value)
        found[f"{prefix}OS"], found[f"{prefix}ARCH"], found[f"{prefix}VARIANT"] = (
            value.os,
            value.architecture,
            value.variant,
        )
    return found


def _fits(have: str, wanted: str) -> bool:
    one, other = parse_platform(have), parse_platform(wanted)
    return (one.os, one.architecture) == (other.os, other.architecture) and other.variant in ("", one.variant)


def _timestamp(options: BuildOptions) -> int | None:
    text = options.timestamp
    if not text:
        return None
    if not text.isdigit():
        raise BuildError(f"--timestamp {text!r}: not a number of seconds since 1970")
    return int(text) * 10**9


def _ttl(text: str) -> int:
    if not text:
        return 0
    from podling.core.filters import duration

    return duration(text)


def _annotations(ctx: Context, id: str) -> dict[str, str]:
    from podling.oci import json

    manifest = json.loads(ctx.db.value("SELECT manifest FROM images WHERE id=?", id))
    return dict(manifest.get("annotations") or {})
