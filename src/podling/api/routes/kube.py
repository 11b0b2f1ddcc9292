"""Kubernetes' documents: pods of them, and documents of pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from podling.api.router import route
from podling.api.routes.images import credentials
from podling.engine.catalogue import containers as container_ops
from podling.engine.catalogue import kube as ops
from podling.engine.features import PlayOptions, RegistryAccess
from podling.errors import InvalidInput, Unsupported

if TYPE_CHECKING:
    from typing import Any

    from aiohttp.web import StreamResponse

    from podling.api.call import Call
    from podling.engine.features import Played, TakenDown


async def _text(call: Call) -> str:
    if call.request.content_type in ("application/x-tar", "application/tar"):
        raise Unsupported(
            "documents with folders of images are not understood",
            hint="build the images first",
        )
    data = await call.request.read()
    if not data.strip():
        raise InvalidInput("the body has no document")
    return data.decode("utf-8", "surrogateescape")


@route("POST", "/play/kube", tree="libpod")
@route("POST", "/kube/play", tree="libpod")
async def play(call: Call) -> StreamResponse:
    """Make pods, volumes and secrets of the documents in the body."""
    options = PlayOptions(text=await _text(call))
    options.networks, options.ips, options.macs = call.many("network"), call.many("staticIPs"), call.many("staticMACs")
    options.publish, options.publish_all = call.many("publishPorts"), call.flag("publishAllPorts")
    options.annotations = _annotations(call)
    options.userns, options.log_driver, options.log_opts = (
        call.text("userns"),
        call.text("logDriver"),
        call.many("logOptions"),
    )
    options.no_hosts, options.no_hostname = call.flag("noHosts"), call.flag("noHostname")
    options.no_pod_prefix, options.replace = call.flag("noPodPrefix"), call.flag("replace")
    options.start, options.build = call.flag("start", default=True), False
    options.access = RegistryAccess(**credentials(call))
    made: Played = await call.do(ops.PlayKube(options=options))
    code = None
    if call.flag("wait"):
        code = 0
        for id in [id for pod in made.pods for id in pod.containers]:
            code = max(code, await call.do(container_ops.WaitContainer(name=id)))
        report = await call.do(ops.DownKube(text=options.text))
        return call.answer({**_played(made), **_down(report), "ExitCode": code})
    return call.answer({**_played(made), **_down(None), "ExitCode": code})


def _annotations(call: Call) -> list[str]:
    """A JSON object, as Podman's clients send it."""
    import json

    text = call.text("annotations")
    if not text:
        return []
    try:
        document = json.loads(text)
    except ValueError:
        raise InvalidInput("annotations: not JSON") from None
    if not isinstance(document, dict):
        raise InvalidInput("annotations: not a JSON object")
    return [f"{key}={value}" for key, value in document.items()]


def _played(made: Played) -> dict[str, Any]:
    return {
        "Pods": [
            {
                "ID": pod.id, "Containers": pod.containers, "InitContainers": pod.init_containers or None, "Logs": None,
                "ContainerErrors": pod.errors or None,
            }
            for pod in made.pods
        ],
        "Volumes": [{"Name": name} for name in made.volumes] or None,
        "Secrets": [{"CreateReport": {"ID": id}} for id in made.secrets] or None, "ServiceContainerID": "",
    }  # fmt: skip


def _down(report: TakenDown | None) -> dict[str, Any]:
    if report is None:
        return {"StopReport": None, "RmReport": None, "VolumeRmReport": None, "SecretRmReport": None}
    return {
        "StopReport": [{"Errs": None, "Id": id, "RawInput": ""} for id in report.stopped],
        "RmReport": [{"Err": None, "Id": id, "RemovedCtrs": None} for id in report.removed],
        "VolumeRmReport": [{"Err": None, "Id": name} for name in report.volumes],
        "SecretRmReport": [{"Err": None, "ID": id} for id in report.secrets],
    }


@route("DELETE", "/play/kube", tree="libpod")
@route("DELETE", "/kube/play", tree="libpod")
async def down(call: Call) -> StreamResponse:
    """Remove what was made of the documents in the body."""
    report: TakenDown = await call.do(ops.DownKube(text=await _text(call), force=call.flag("force")))
    if report.errors:
        raise report.errors[0]
    return call.answer(
        {"Pods": None, "Volumes": None, "Secrets": None, "ServiceContainerID": "", "ExitCode": None, **_down(report)}
    )


@route("GET", "/generate/kube", tree="libpod")
@route("GET", "/kube/generate", tree="libpod")
async def generate(call: Call) -> StreamResponse:
    """Documents of pods, containers and volumes."""
    names = call.many("names")
    if not names:
        raise InvalidInput("names must be given")
    operation = ops.GenerateKube(
        names=names, kind=call.text("type") or "pod", service=call.flag("service"), replicas=call.number("replicas") or 1,
        podman_only=call.flag("podmanOnly"),
    )  # fmt: skip
    text: str = await call.do(operation)
    return web.Response(body=text.encode(), content_type="text/vnd.yaml")


@route("POST", "/kube/apply", tree="libpod")
async def apply(call: Call) -> StreamResponse:
    """Make the documents in the body in a cluster that a kubeconfig file of the service's host names."""
    if not call.text("kubeConfig"):
        raise InvalidInput("kubeConfig must be given")
    operation = ops.ApplyKube(
        text=await _text(call),
        kubeconfig=call.text("kubeConfig"),
        namespace=call.text("namespace"),
        ca=call.text("caCertFile"),
    )
    done: list[str] = await call.do(operation)
    return web.Response(text="\n".join(done) + "\n")
