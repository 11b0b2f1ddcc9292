"""Pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podling.api.libpod import spec
from podling.api.router import route
from podling.api.streams import Lines, batches
from podling.engine import shapes
from podling.engine.catalogue import containers as container_ops
from podling.engine.catalogue import pods as ops
from podling.errors import InvalidInput, NoSuchPod

if TYPE_CHECKING:
    from typing import Any

    from aiohttp.web import StreamResponse

    from podling.api.call import Call
    from podling.core.pod_details import PodSummary


@route("POST", "/pods/create", tree="libpod")
async def create(call: Call) -> StreamResponse:
    """Create a pod."""
    id = await call.do(ops.CreatePod(options=spec.pod(await call.json())))
    return call.answer({"Id": id}, 201)


@route("GET", "/pods/json", tree="libpod")
async def list_pods(call: Call) -> StreamResponse:
    """List pods."""
    return call.answer([shapes.pod(pod) for pod in await call.do(ops.ListPods(filters=call.filters()))])


@route("GET", "/pods/{name}/json", tree="libpod")
async def inspect(call: Call) -> StreamResponse:
    """Everything about a pod."""
    return call.answer(await call.do(ops.InspectPod(name=call.name)))


@route("GET", "/pods/{name}/exists", tree="libpod")
async def exists(call: Call) -> StreamResponse:
    """Whether there is such a pod: 204 or 404."""
    if not await call.do(ops.PodExists(name=call.name)):
        raise NoSuchPod(call.name)
    return call.done()


async def _report(call: Call, operation: Any) -> StreamResponse:
    """What was done to a pod: 409 with its errors where something went wrong with its containers."""
    document = await call.do(ops.InspectPod(name=call.name))
    report = await call.do(operation)
    if report.errors:
        raise report.errors[0]
    return call.answer({"Errs": None, "Id": document["Id"], "RawInput": call.name})


@route("POST", "/pods/{name}/start", tree="libpod")
async def start(call: Call) -> StreamResponse:
    """Start a pod's containers; 304 when all run."""
    document = await call.do(ops.InspectPod(name=call.name))
    if document["State"] == "Running":
        return call.not_modified()
    return await _report(call, ops.StartPods(names=[call.name]))


@route("POST", "/pods/{name}/stop", tree="libpod")
async def stop(call: Call) -> StreamResponse:
    """Stop a pod's containers; 304 when none runs."""
    document = await call.do(ops.InspectPod(name=call.name))
    if document["State"] in ("Created", "Exited", "Stopped"):
        return call.not_modified()
    return await _report(call, ops.StopPods(names=[call.name], timeout=call.number("t", "timeout", default=-1)))


@route("POST", "/pods/{name}/restart", tree="libpod")
async def restart(call: Call) -> StreamResponse:
    """Stop and start a pod's containers."""
    return await _report(call, ops.RestartPods(names=[call.name]))


@route("POST", "/pods/{name}/kill", tree="libpod")
async def kill(call: Call) -> StreamResponse:
    """Send a signal to a pod's containers."""
    return await _report(call, ops.KillPods(names=[call.name], signal=call.text("signal") or "KILL"))


@route("POST", "/pods/{name}/pause", tree="libpod")
async def pause(call: Call) -> StreamResponse:
    """Freeze a pod's containers."""
    return await _report(call, ops.PausePods(names=[call.name]))


@route("POST", "/pods/{name}/unpause", tree="libpod")
async def unpause(call: Call) -> StreamResponse:
    """Let a paused pod go on."""
    return await _report(call, ops.UnpausePods(names=[call.name]))


@route("DELETE", "/pods/{name}", tree="libpod")
async def remove(call: Call) -> StreamResponse:
    """Remove a pod, with `force` one that runs."""
    document = await call.do(ops.InspectPod(name=call.name))
    report = await call.do(
        ops.RemovePods(names=[call.name], force=call.flag("force"), timeout=call.number("timeout", default=-1))
    )
    if report.errors:
        raise report.errors[0]
    removed = {container["Id"]: None for container in document["Containers"]}
    return call.answer({"Id": document["Id"], "RemovedCtrs": removed, "Err": None})


@route("POST", "/pods/prune", tree="libpod")
async def prune(call: Call) -> StreamResponse:
    """Remove the pods of which nothing runs."""
    report = await call.do(ops.PrunePods())
    return call.answer(
        [{"Id": id, "Err": None} for id in report.done] + [{"Id": "", "Err": str(error)} for error in report.errors]
    )


@route("GET", "/pods/stats", tree="libpod")
async def stats(call: Call) -> StreamResponse:
    """How much of the host pods use, by container; again and again with `stream`."""
    wanted = [name for text in call.many("namesOrIDs") for name in text.split(",") if name]
    if wanted and call.flag("all"):
        raise InvalidInput("all and names exclude each other")
    delay = call.number("delay", default=5)
    if delay < 1:
        raise InvalidInput("delay must be at least 1 second")
    names = [(await call.do(ops.InspectPod(name=name)))["Id"] for name in wanted]
    pods: list[PodSummary] = await call.do(ops.ListPods())
    chosen = [pod for pod in pods if (not names or pod.id in names) and pod.status == "Running"]
    owner = {member.id: pod for pod in chosen for member in pod.containers}
    if not owner:
        return call.answer([])
    operation = container_ops.ContainerStats(names=[*owner], interval=float(delay), patient=False)
    lines = Lines(call)
    async for batch in batches(call, lambda: call.engine.call(operation)):
        for samples in batch:
            rows = [
                {
                    "Pod": owner[sample.id].id[:12], "CID": sample.id[:12], "Name": sample.name, "CPU": f"{sample.cpu_percent:.2f}%",
                    "Mem": f"{sample.memory_percent:.2f}%", "MemUsage": f"{sample.memory}B / {sample.memory_limit}B",
                    "MemUsageBytes": f"{sample.memory}B / {sample.memory_limit}B", "NetIO": f"{sample.received}B / {sample.sent}B",
                    "BlockIO": f"{sample.block_read}B / {sample.block_written}B", "PIDS": str(sample.processes),
                }
                for sample in samples
            ]  # fmt: skip
            await lines.send(rows)
            if not call.flag("stream"):
                return await lines.end()
    return await lines.end()


@route("GET", "/pods/{name}/top", tree="libpod")
async def top(call: Call) -> StreamResponse:
    """The processes in a pod."""
    words = [word for text in call.many("ps_args") for word in text.split(",") if word]
    rows = await call.do(ops.PodTop(name=call.name, descriptors=words))
    return call.answer({"Titles": rows[0] if rows else [], "Processes": rows[1:]})
