"""Builds: a context comes as a tar, and what the steps print goes back line by line."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import tempfile
from typing import TYPE_CHECKING

from podling.api.router import route
from podling.api.routes.images import credentials, hub_name
from podling.api.streams import Lines, feed
from podling.engine.catalogue import builds as ops
from podling.engine.features import BuildOptions
from podling.engine.types import CreateOptions
from podling.errors import InvalidInput, PodlingError, Unsupported

if TYPE_CHECKING:
    from typing import Any

    from aiohttp.web import StreamResponse

    from podling.api.call import Call

_CHUNK = 1 << 16
#: parameters with the fields of `run` that they are
_RUN_TEXTS = {
    "cgroupparent": "cgroup_parent", "cpusetcpus": "cpuset_cpus", "cpusetmems": "cpuset_mems", "memory": "memory",
    "memswap": "memory_swap", "shmsize": "shm_size",
}  # fmt: skip
_RUN_NUMBERS = {"cpuperiod": "cpu_period", "cpuquota": "cpu_quota", "cpushares": "cpu_shares"}
_RUN_LISTS = {
    "addcaps": "cap_add", "dropcaps": "cap_drop", "devices": "device", "dnsservers": "dns", "dnsoptions": "dns_option",
    "dnssearch": "dns_search", "extrahosts": "add_host", "groupadd": "group_add", "ulimits": "ulimit", "volume": "volume",
    "labelopts": "security_opt",
}  # fmt: skip
_FIELDS = {
    "target": "target", "from": "base", "cachettl": "cache_ttl", "manifest": "manifest", "timestamp": "timestamp",
    "sourcedateepoch": "timestamp",
}  # fmt: skip
_SWITCHES = {
    "nocache": "no_cache", "squash": "squash", "q": "quiet", "omithistory": "omit_history", "layers": "layers",
    "inheritlabels": "inherit_labels", "inheritannotations": "inherit_annotations", "skipunusedstages": "skip_unused",
}  # fmt: skip
_LISTS = {
    "annotations": "annotations", "unsetenv": "unset_env", "unsetlabel": "unset_labels", "unsetannotation": "unset_annotations",
    "setenv": "env", "platform": "platforms",
}  # fmt: skip


@route("POST", "/build")
async def build(call: Call) -> StreamResponse:
    """Build an image of the context in the body, or of what `remote` names."""
    options = _options(call)
    if call.text("remote") == "client-session" or call.text("version") == "2":
        raise InvalidInput("BuildKit's sessions are not served here", hint="DOCKER_BUILDKIT=0 uses the classic builder")
    options.context = call.text("remote")
    return await _streamed(call, options, body=not options.context)


@route("POST", "/local/build", tree="libpod")
async def build_here(call: Call) -> StreamResponse:
    """Build an image of a folder of the service's host."""
    options = _options(call)
    options.context = call.text("localcontextdir")
    if not os.path.isabs(options.context):
        raise InvalidInput("localcontextdir must be an absolute path")
    return await _streamed(call, options, body=False)


def _options(call: Call) -> BuildOptions:
    made = BuildOptions(format=_format(call))
    for names, number in ((_FIELDS, False), (_SWITCHES, True)):
        for name, field in names.items():
            if call.has(name):
                setattr(made, field, call.flag(name) if number else call.text(name))
    for name, field in _LISTS.items():
        setattr(made, field, _list(call, name))
    made.platforms = [text for text in made.platforms if text.strip("/")]  # Podman's client sends "/" for its own
    made.tags = [tag if call.libpod else hub_name(tag) for tag in _list(call, "t") if tag]
    made.files = [path.lstrip("/") for path in _list(call, "dockerfile")]
    made.build_args, made.labels = _pairs(call, "buildargs"), [*_pairs(call, "labels"), *_list(call, "layerLabel")]
    made.build_contexts = _list(call, "additionalbuildcontexts")
    made.secrets = _list(call, "secrets")
    made.outputs = _list(call, "outputs")
    made.pull = call.text("pullpolicy") or ("always" if call.flag("pull") else "missing")
    made.run = _run(call)
    return made


def _format(call: Call) -> str:
    """Docker's clients get Docker's format."""
    wanted = call.text("outputformat")
    if wanted:
        return "docker" if "docker" in wanted else "oci"
    return "oci" if call.libpod else "docker"


def _run(call: Call) -> CreateOptions:
    made = CreateOptions(image="")
    for name, field in _RUN_TEXTS.items():
        if call.text(name) not in ("", "0"):
            setattr(made, field, call.text(name))
    for name, field in _RUN_NUMBERS.items():
        setattr(made, field, call.number(name))
    for name, field in _RUN_LISTS.items():
        setattr(made, field, _list(call, name))
    mode = call.text("networkmode")
    mode = {"0": "", "1": "none", "2": ""}.get(mode, mode)  # buildah's numbers, which Podman 4 sends
    if mode not in ("", "default", "bridge", "private"):
        made.network = [mode]
    made.http_proxy = call.flag("httpproxy", default=True)
    made.no_hosts = call.flag("nohosts")
    if call.text("seccomp"):
        made.security_opt.append(f"seccomp={call.text('seccomp')}")
    if call.text("apparmor"):
        made.security_opt.append(f"apparmor={call.text('apparmor')}")
    access = {"retries": "retry", "retry_delay": "retry_delay", "creds": "creds", "tls_verify": "tls_verify"}
    for key, value in credentials(call).items():
        setattr(made, access[key], value)
    return made


def _list(call: Call, name: str) -> list[str]:
    return [value for value in call.many(name) if value]


def _pairs(call: Call, name: str) -> list[str]:
    """A JSON object as KEY=VALUE; a key without a value, which clients send for what they have not got, is left out."""
    text = call.text(name)
    if not text:
        return []
    try:
        document = json.loads(text)
    except ValueError:
        raise InvalidInput(f"{name}: not JSON") from None
    if isinstance(document, list):
        return [str(item) for item in document]
    if not isinstance(document, dict):
        raise InvalidInput(f"{name}: not a JSON object")
    return [f"{key}={value}" for key, value in document.items() if value is not None]


def _accounts(call: Call) -> dict[str, dict[str, str]]:
    """`X-Registry-Config`: the accounts of a client at all its registries, in the shape of auth.json."""
    text = call.request.headers.get("X-Registry-Config", "")
    if not text:
        return {}
    try:
        document = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        pairs = {
            name: f"{account['username']}:{account['password']}"
            for name, account in document.items()
            if account.get("username")
        }
    except (ValueError, KeyError, AttributeError, TypeError):
        raise InvalidInput("X-Registry-Config is not base64 of a JSON object of accounts") from None
    return {name: {"auth": base64.b64encode(pair.encode()).decode()} for name, pair in pairs.items()}


async def _streamed(call: Call, options: BuildOptions, *, body: bool) -> StreamResponse:
    kind = call.request.content_type
    if body and kind not in ("application/x-tar", "application/tar", "application/octet-stream", "application/gzip"):
        if kind == "multipart/form-data":
            raise Unsupported("contexts in several parts are not understood", hint="send one tar")
        raise InvalidInput(f"the context has the content type {kind}, not application/x-tar")
    accounts = _accounts(call)
    context_read, context_write = os.pipe2(os.O_CLOEXEC) if body else (-1, -1)
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)

    def work() -> str:
        try:
            if accounts:  # a file of credentials for as long as the build runs
                file = tempfile.NamedTemporaryFile("w", prefix="podling-auth-", suffix=".json")
                held.append(file)
                json.dump({"auths": accounts}, file)
                file.flush()
                options.run.authfile = file.name
            operation = ops.BuildImage(
                options=options, fd=context_read, stdout=write_fd, stderr=-1 if options.quiet else write_fd
            )
            id: str = call.engine.told(
                warn=lambda text: _note(write_fd, text), progress=lambda text: _note(write_fd, text)
            ).call(operation)
            return id
        finally:
            for file in held:
                file.close()
            os.close(write_fd)
            if context_read >= 0:
                os.close(context_read)

    held: list[Any] = []
    task = asyncio.ensure_future(call.service.run(work))
    reader = asyncio.StreamReader(limit=_CHUNK)
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", buffering=0)
    )
    lines = Lines(call)
    try:
        if body:
            await feed(call, context_write)
        while text := await reader.read(_CHUNK):
            await lines.send(*({"stream": line} for line in text.decode("utf-8", "replace").splitlines(keepends=True)))
        try:
            id = await task
        except PodlingError as error:
            if lines.response is None:
                raise
            await lines.send({"errorDetail": {"message": str(error)}, "error": str(error)})
            return await lines.end()
        await lines.send(*_end(call, id, options))
        return await lines.end()
    finally:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        pipe.close()  # who has gone wants no more of it: the step that runs is ended


def _note(fd: int, text: str) -> None:
    try:
        os.write(fd, f"{text}\n".encode())
    except BrokenPipeError:
        pass


def _end(call: Call, id: str, options: BuildOptions) -> list[dict[str, Any]]:
    if not id:
        return []
    if call.libpod:
        return [{"stream": f"{id}\n"}]
    if options.quiet:
        return [{"stream": f"sha256:{id}\n"}]
    return [{"aux": {"ID": f"sha256:{id}"}}, {"stream": f"Successfully built {id[:12]}\n"}]
