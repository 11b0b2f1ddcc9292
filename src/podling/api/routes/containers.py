"""Containers: everything but their streams and files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from podling.api.call import dumps
from podling.api.docker import create as docker_create
from podling.api.docker import shapes as docker
from podling.api.libpod import spec
from podling.api.router import route
from podling.api.streams import Lines, batches, begin
from podling.engine import shapes
from podling.engine.catalogue import containers as ops
from podling.engine.catalogue import images as image_ops
from podling.engine.types import CheckpointOptions, CommitOptions, CreateOptions, RestoreOptions
from podling.errors import InvalidInput, NoSuchContainer, WrongState
from podling.oci.times import format_time

if TYPE_CHECKING:
    from typing import Any

    from aiohttp.web import StreamResponse

    from podling.api.call import Call
    from podling.core.listing import ContainerSummary
    from podling.core.stats import Sample
    from podling.runtime.logs import LogLine


# -- making
@route("POST", "/containers/create", tree="docker")
async def create_docker(call: Call) -> StreamResponse:
    """Create a container."""
    body = await call.json()
    options = docker_create.options(body, call.text("name"), call.text("platform"))
    return await _create(call, options)


@route("POST", "/containers/create", tree="libpod")
async def create_libpod(call: Call) -> StreamResponse:
    """Create a container from Podman's SpecGenerator."""
    return await _create(call, spec.container(await call.json()))


async def _create(call: Call, options: CreateOptions) -> StreamResponse:
    warnings: list[str] = []
    options.pull = options.pull if call.libpod else "never"  # Docker's clients pull themselves, after the 404
    id = await call.do(ops.CreateContainer(options=options), call.told(warnings))
    return call.answer({"Id": id, "Warnings": warnings}, 201)


# -- lists
@route("GET", "/containers/json")
async def list_containers(call: Call) -> StreamResponse:
    """List containers."""
    answers, key = call.service.answers, call.request.raw_path
    body = answers.get(key)
    if body is None:
        mark = answers.mark()
        found = await _list(call, call.number("limit", "last") if call.libpod else call.number("limit"))
        now = time.time_ns()
        if call.libpod:
            # what a command prints as a number is a time here
            documents = [
                {**shapes.container(item, now), "Created": format_time(item.created), "Status": item.health}
                for item in found
            ]
        else:
            documents = [docker.container(item, now) for item in found]
        body = dumps(documents) + b"\n"
        if not call.flag("size"):
            answers.put(key, body, (item.pid for item in found if item.pid), mark)
    return call.json_bytes(body)


async def _list(call: Call, last: int) -> list[ContainerSummary]:
    filters = call.filters()
    every = call.flag("all") or any(text.startswith("status=") for text in filters)
    found: list[ContainerSummary] = await call.do(
        ops.ListContainers(all=every, filters=filters, last=max(last, 0), size=call.flag("size"), details=True)
    )
    return found


@route("GET", "/containers/{name}/json")
async def inspect(call: Call) -> StreamResponse:
    """Everything about a container."""
    document = await call.do(ops.InspectContainer(name=call.name, size=call.flag("size")))
    if call.is_podman_4:
        spec.as_podman_4(document)
    return call.answer(document if call.libpod else docker.inspected(document))


@route("GET", "/containers/{name}/exists", tree="libpod")
async def exists(call: Call) -> StreamResponse:
    """Whether there is such a container: 204 or 404."""
    if not await call.do(ops.ContainerExists(name=call.name)):
        raise NoSuchContainer(call.name)
    return call.done()


@route("GET", "/containers/{name}/top")
async def top(call: Call) -> StreamResponse:
    """The processes in a container; with `stream` again and again."""
    words = call.many("ps_args")
    if not call.libpod:
        return call.answer(await _top_docker(call, " ".join(words)))
    if len(words) == 1 and "," in words[0]:
        words = words[0].split(",")
    delay = call.number("delay", default=5)
    if not call.flag("stream"):
        return call.answer(_top(await call.do(ops.ContainerTop(name=call.name, descriptors=words))))
    if delay < 1:
        raise InvalidInput(f'"delay" must be at least 1 second, not {delay}')
    lines = Lines(call)
    while True:
        await lines.send(_top(await call.do(ops.ContainerTop(name=call.name, descriptors=words))))
        if await call.service.asleep(delay):
            return await lines.end()


_PS_EF = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]


async def _top_docker(call: Call, text: str) -> dict[str, Any]:
    """`ps -ef` and `ps -o LIST`, from the kernel and not by a ps."""
    words = text.split()
    chosen = [word for word in words if not word.startswith("-")] if words and "o" in words[0] else []
    descriptors = [name for word in chosen for name in word.split(",") if name]
    found = _top(await call.do(ops.ContainerTop(name=call.name, descriptors=descriptors)))
    if not descriptors:
        found["Titles"] = _PS_EF
    return found


def _top(rows: list[list[str]]) -> dict[str, Any]:
    return {"Titles": rows[0] if rows else [], "Processes": rows[1:]}


@route("GET", "/containers/{name}/changes")
async def changes(call: Call) -> StreamResponse:
    """What a container changed in its image's files: 0 modified, 1 added, 2 deleted."""
    found = await call.do(image_ops.Diff(name=call.name, other=call.text("parent"), kind="container"))
    return call.answer(change_list(found))


def change_list(found: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"Path": path, "Kind": {"C": 0, "A": 1, "D": 2}[kind]} for kind, path in found]


# -- life
@route("POST", "/containers/{name}/start")
async def start(call: Call) -> StreamResponse:
    """Start a container; 304 when it runs already."""
    state = await call.do(ops.ContainerState(name=call.name))
    if state.pid and state.status != "initialized":
        return call.not_modified()
    await call.do_one(ops.StartContainers(names=[call.name]))
    return call.done()


@route("POST", "/containers/{name}/init", tree="libpod")
async def init(call: Call) -> StreamResponse:
    """Make a container ready for its start; 304 when it is."""
    if (await call.do(ops.ContainerState(name=call.name))).pid:
        return call.not_modified()
    await call.do_one(ops.InitContainers(names=[call.name]))
    return call.done()


@route("POST", "/containers/{name}/stop")
async def stop(call: Call) -> StreamResponse:
    """Stop a container; 304 when it does not run."""
    state = await call.do(ops.ContainerState(name=call.name))
    if not state.pid:
        return call.not_modified()
    await call.do_one(ops.StopContainers(names=[call.name], timeout=call.number("timeout", "t", default=-1)))
    return call.done()


@route("POST", "/containers/{name}/restart")
async def restart(call: Call) -> StreamResponse:
    """Stop and start a container."""
    await call.do_one(ops.RestartContainers(names=[call.name], timeout=call.number("timeout", "t", default=-1)))
    return call.done()


@route("POST", "/containers/{name}/kill")
async def kill(call: Call) -> StreamResponse:
    """Send a signal to a container's first process; KILL when none is named."""
    await call.do_one(ops.KillContainers(names=[call.name], signal=call.text("signal") or "KILL"))
    return call.done()


@route("POST", "/containers/{name}/pause")
async def pause(call: Call) -> StreamResponse:
    """Freeze a container's processes."""
    await call.do_one(ops.PauseContainers(names=[call.name]))
    return call.done()


@route("POST", "/containers/{name}/unpause")
async def unpause(call: Call) -> StreamResponse:
    """Let a paused container go on."""
    await call.do_one(ops.UnpauseContainers(names=[call.name]))
    return call.done()


@route("POST", "/containers/{name}/rename")
async def rename(call: Call) -> StreamResponse:
    """Give a container another name."""
    name = call.text("name").lstrip("/")
    if not name:
        raise InvalidInput("the new name is missing: ?name=NAME")
    await call.do(ops.RenameContainer(name=call.name, new_name=name))
    return call.done()


@route("DELETE", "/containers/{name}")
async def remove(call: Call) -> StreamResponse:
    """Remove a container."""
    if not call.libpod and call.flag("link"):
        raise InvalidInput("links between containers do not exist here: link=true")
    force, ignore = call.flag("force"), call.flag("ignore")
    state = None if ignore else await call.do(ops.ContainerState(name=call.name))
    if not call.libpod and state is not None and state.pid and not force:
        raise WrongState(
            f"cannot remove container {call.name} as it is running - running or paused containers cannot be removed "
            "without force: container state improper",
            cause="container state improper",
        )
    report = await call.do_one(
        ops.RemoveContainers(
            names=[call.name], force=force, ignore=ignore, volumes=call.flag("volumes", "v"), depend=call.flag("depend"),
            timeout=call.number("timeout", default=-1 if call.libpod else 0),  # Docker's force is SIGKILL at once
        )
    )  # fmt: skip
    if not call.libpod:
        return call.done()
    return call.answer([{"Id": state.id if state else name, "Err": None} for name in report.done])


@route("POST", "/containers/prune")
async def prune(call: Call) -> StreamResponse:
    """Remove the containers that do not run."""
    report, freed = await call.do(ops.PruneContainers(filters=call.filters()))
    if call.libpod:
        return call.answer(
            [{"Id": id, "Size": 0, "Err": None} for id in report.done]
            + [{"Id": "", "Size": 0, "Err": str(error)} for error in report.errors]
        )
    return call.answer({"ContainersDeleted": report.done, "SpaceReclaimed": freed})


@route("POST", "/containers/{name}/update", tree="docker")
async def update_docker(call: Call) -> StreamResponse:
    """Change a container's limits and restart policy."""
    body = await call.json()
    changes, given = docker_create.update(body)
    warnings: list[str] = []
    await call.do(ops.UpdateContainer(name=call.name, changes=changes, given=given), call.told(warnings))
    return call.answer({"Warnings": warnings})


@route("POST", "/containers/{name}/update", tree="libpod")
async def update_libpod(call: Call) -> StreamResponse:
    """Change a container's limits, restart policy, health checks and environment."""
    changes, given = spec.update(await call.json())
    if call.has("restartPolicy"):
        changes.restart = call.text("restartPolicy")
        if call.has("restartRetries"):
            changes.restart += f":{call.number('restartRetries')}"
        given.append("restart")
    await call.do(ops.UpdateContainer(name=call.name, changes=changes, given=given))
    state = await call.do(ops.ContainerState(name=call.name))
    return call.answer({"ID": state.id}, 201)


@route("POST", "/commit")
async def commit(call: Call) -> StreamResponse:
    """Make an image of a container."""
    name = call.text("container")
    if not name:
        raise InvalidInput("the container is missing: ?container=NAME")
    target = call.text("repo")
    if target and call.text("tag"):
        target += f":{call.text('tag')}"
    changed = [line for text in call.many("changes") for line in text.split("\n") if line]
    options = CommitOptions(
        author=call.text("author"), message=call.text("comment"), changes=changed, pause=call.flag("pause", default=True),
        format=call.text("format") or ("oci" if call.libpod else "docker"), squash=call.flag("squash"),
    )  # fmt: skip
    if not call.libpod and (body := await call.json()):
        options.config = dumps({k: v for k, v in body.items() if v not in (None, "", [], {})}).decode()
    id = await call.do(ops.CommitContainer(name=name, target=target, options=options))
    return call.answer({"Id": id}, 201)


@route("GET", "/containers/{name}/healthcheck", tree="libpod")
async def healthcheck(call: Call) -> StreamResponse:
    """Run a container's health check once."""
    await call.do(ops.RunHealthcheck(name=call.name))
    document = await call.do(ops.InspectContainer(name=call.name))
    return call.answer(document["State"].get("Health", {}))


# -- mounts
@route("POST", "/containers/{name}/mount", tree="libpod")
async def mount(call: Call) -> StreamResponse:
    """Mount a container's root file system; the path."""
    report = await call.do(ops.MountContainers(names=[call.name]))
    return call.answer(_mounted(report)[0][1])


@route("POST", "/containers/{name}/unmount", tree="libpod")
async def unmount(call: Call) -> StreamResponse:
    """Unmount a container's root file system."""
    await call.do_one(ops.UnmountContainers(names=[call.name]))
    return call.done()


@route("GET", "/containers/showmounted", tree="libpod")
async def show_mounted(call: Call) -> StreamResponse:
    """The containers whose root file systems are mounted, with the paths."""
    report = await call.do(ops.MountContainers())
    return call.answer(dict(_mounted(report)))


def _mounted(report: Any) -> list[tuple[str, str]]:
    found, outcome = report
    if outcome.errors:
        raise outcome.errors[0]
    return [(container, path) for container, _, path in found]


# -- checkpoints
@route("POST", "/containers/{name}/checkpoint", tree="libpod")
async def checkpoint(call: Call) -> StreamResponse:
    """Freeze a container into files, or into an archive that is the answer."""
    import os
    import tempfile

    options = CheckpointOptions(
        keep=call.flag("keep"), leave_running=call.flag("leaveRunning"), tcp_established=call.flag("tcpEstablished"),
        ignore_rootfs=call.flag("ignoreRootFS"), ignore_volumes=call.flag("ignoreVolumes"), file_locks=call.flag("fileLocks"),
        pre_checkpoint=call.flag("preCheckpoint"), with_previous=call.flag("withPrevious"), create_image=call.text("createImage"),
    )  # fmt: skip
    if not call.flag("export"):
        report, statistics = await call.do(ops.CheckpointContainers(names=[call.name], options=options))
        if report.errors:
            raise report.errors[0]
        return call.answer({"Id": call.name, **statistics})
    with tempfile.TemporaryDirectory(prefix="podling-checkpoint") as folder:
        options.export = os.path.join(folder, "checkpoint.tar.gz")
        report, _ = await call.do(ops.CheckpointContainers(names=[call.name], options=options))
        if report.errors:
            raise report.errors[0]
        response = await begin(call, "application/x-tar")
        with open(options.export, "rb") as file:
            while chunk := file.read(1 << 18):
                await response.write(chunk)
        return response


@route("POST", "/containers/{name}/restore", tree="libpod")
async def restore(call: Call) -> StreamResponse:
    """Let a container go on from its checkpoint, or a new one from the archive in the body."""
    import os
    import tempfile

    options = RestoreOptions(
        keep=call.flag("keep"), tcp_established=call.flag("tcpEstablished"), ignore_rootfs=call.flag("ignoreRootFS"),
        ignore_volumes=call.flag("ignoreVolumes"), file_locks=call.flag("fileLocks"), tcp_close=call.flag("tcpClose"),
        ignore_static_ip=call.flag("ignoreStaticIP"), ignore_static_mac=call.flag("ignoreStaticMAC"), name=call.text("name"),
        pod=call.text("pod"), publish=[word for text in call.many("publishPorts") for word in text.split()],
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="podling-restore") as folder:
        if call.flag("import"):
            options.archive = os.path.join(folder, "checkpoint.tar")
            with open(options.archive, "wb") as file:
                async for chunk in call.request.content.iter_chunked(1 << 18):
                    file.write(chunk)
        names = [] if options.archive else [call.name]
        report, statistics = await call.do(ops.RestoreContainers(names=names, options=options))
    if report.errors:
        raise report.errors[0]
    return call.answer({"Id": report.done[0] if report.done else call.name, **statistics})


# -- wait
@route("POST", "/containers/{name}/wait")
async def wait(call: Call) -> StreamResponse:
    """Wait until a container has ended, or is in one of the states of `condition`; its exit code."""
    from podling.api.waiting import DOCKER_CONDITIONS, Waiter

    conditions = [word for text in call.many("condition") for word in text.split(",") if word]
    waiter = Waiter(call, conditions or ["not-running" if not call.libpod else "stopped"])
    if not call.libpod:
        if any(condition not in DOCKER_CONDITIONS for condition in conditions):
            raise InvalidInput(f"invalid condition: {', '.join(map(repr, conditions))}")
        await waiter.begin()
        response = await begin(call, "application/json")  # a client waits for the head before it starts the container
        code = await waiter.code()
        await response.write(dumps({"StatusCode": code, "Error": None}) + b"\n")
        return response
    await waiter.begin()
    return call.answer(await waiter.code())


# -- logs
@route("GET", "/containers/{name}/logs")
async def logs(call: Call) -> StreamResponse:
    """What a container wrote: framed by stream, or as it is where there was a terminal."""
    from podling.api.hijack import MULTIPLEXED, RAW, frame

    wanted = {stream for stream in ("stdout", "stderr") if call.flag(stream)}
    if not wanted:
        raise InvalidInput("bad parameter: you must choose at least one stream: stdout=true, stderr=true")
    tail = call.text("tail") or "all"
    if tail != "all" and not tail.lstrip("-").isdigit():
        raise InvalidInput(f"bad parameter: tail={tail!r} is neither a number nor all")
    times, follow = call.flag("timestamps"), call.flag("follow")
    document = await call.do(ops.InspectContainer(name=call.name))
    tty = document["Config"]["Tty"]
    operation = ops.ContainerLogs(
        name=document["Id"], tail=-1 if tail == "all" else int(tail), since=_moment(call.text("since")),
        until=_moment(call.text("until")), follow=follow, patient=False,
    )  # fmt: skip

    def packed(line: LogLine) -> bytes:
        text = (f"{line.time} ".encode() if times else b"") + line.text
        return text if tty else frame(1 if line.stream == "stdout" else 2, text)

    response = None
    async for lines in batches(call, lambda: call.engine.call(operation)):
        data = b"".join(packed(line) for line in lines if line.stream in wanted)
        if response is None:
            response = await begin(call, RAW if tty else MULTIPLEXED)
        if data:
            await response.write(data)
    assert response is not None
    return response


def _moment(text: str) -> str:
    """Docker's clients send 0 for no limit."""
    return "" if text in ("0", "0.000000000", "-62135596800") or text.startswith("0001-") else text


# -- stats
@route("GET", "/containers/{name}/stats")
async def stats_of_one(call: Call) -> StreamResponse:
    """How much of the host a container uses, in Docker's shape: once, or every second."""
    state = await call.do(ops.ContainerState(name=call.name))
    stream = call.flag("stream", default=True)
    once = call.flag("one-shot")
    if not state.pid and not stream:
        return call.answer(docker.no_stats(state.id, call.name))
    lines = Lines(call)
    before: Sample | None = None
    then = 0
    operation = ops.ContainerStats(names=[state.id], interval=1.0, patient=False)
    async for batch in batches(call, lambda: call.engine.call(operation)):
        for samples in batch:
            now = time.time_ns()
            if not stream and not once and before is None:  # a rate takes two looks
                before, then = samples[0], now
                continue
            document = docker.stats(samples[0], before, now, then)
            if not stream:
                return call.answer(document)
            await lines.send(document)
            before, then = samples[0], now
            if not (await call.do(ops.ContainerState(name=state.id))).pid and not samples[0].memory:
                return await lines.end()
    return await lines.end()


@route("GET", "/containers/stats", tree="libpod")
async def stats(call: Call) -> StreamResponse:
    """How much of the host containers use: those named, or all that run; again and again with `stream`."""
    names = [name for text in call.many("containers") for name in text.split(",") if name]
    interval = call.number("interval", default=5)
    if interval < 1:
        raise InvalidInput("interval must be at least 1 second")
    operation = ops.ContainerStats(names=names, all=call.flag("all"), interval=float(interval), patient=False)
    lines = Lines(call)
    async for batch in batches(call, lambda: call.engine.call(operation)):
        for samples in batch:
            await lines.send({"Error": None, "Stats": [shapes.sample(sample) for sample in samples]})
            if not call.flag("stream", default=True):
                return await lines.end()
    return await lines.end()
