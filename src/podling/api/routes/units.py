"""systemd's units and Quadlet files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podling.api.router import route
from podling.engine.catalogue import units as ops
from podling.engine.features import UnitOptions

if TYPE_CHECKING:
    from aiohttp.web import StreamResponse

    from podling.api.call import Call


@route("GET", "/generate/{name}/systemd", tree="libpod")
async def generate(call: Call) -> StreamResponse:
    """Units of a container, or of a pod and its containers."""
    options = UnitOptions(
        use_name=call.flag("useName"), new=call.flag("new"), header=not call.flag("noHeader"), template=call.flag("templateUnitFile"),
        container_prefix=call.text("containerPrefix", default="container"), pod_prefix=call.text("podPrefix", default="pod"),
        separator=call.text("separator", default="-"), restart_policy=call.text("restartPolicy") or "on-failure",
        restart_sec=call.number("restartSec"), start_timeout=call.number("startTimeout"),
        stop_timeout=call.number("stopTimeout", default=10),
        wants=call.many("wants"), after=call.many("after"), requires=call.many("requires"), env=call.many("additionalEnvVariables"),
    )  # fmt: skip
    return call.answer(await call.do(ops.GenerateUnits(name=call.names["name"], options=options)))


@route("GET", "/quadlets/json", tree="libpod")
async def quadlets(call: Call) -> StreamResponse:
    """The Quadlet files that there are."""
    found = await call.do(ops.ListQuadlets(filters=call.filters()))
    return call.answer(
        [{"Name": q.name, "UnitName": q.unit, "Path": q.path, "Status": q.status, "App": q.app} for q in found]
    )
