"""`ps`: one read transaction and a look at the kernel. Nothing here writes in the ordinary case."""

from __future__ import annotations

from podling.core.containers import ALIVE, actual
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.core.containers import Container
    from podling.core.context import Context

FILTERS = (
    "id", "name", "label", "health", "restart-policy", "should-start-on-boot", "status", "exited", "ancestor", "before", "since",
    "volume", "network", "until", "command", "pod",
)  # fmt: skip


class ContainerSummary(Record):
    """A row of `ps`. Times are nanoseconds since the epoch; `ports` as shown."""

    id: str
    name: str
    image: str
    image_id: str
    command: list[str]
    created: int
    status: str
    exit_code: int
    pid: int
    started: int
    finished: int
    ports: str
    auto_remove: bool
    labels_json: str = "{}"
    health: str = ""
    restarts: int = 0
    pod: str = ""
    pod_name: str = ""
    infra: bool = False
    size: int = -1
    root_size: int = -1
    #: where asked for: mounts, network, bindings, exposed and mode, in the shape of `inspect`
    details: dict[str, Any] = {}

    @property
    def labels(self) -> dict[str, str]:
        from podling.oci import json

        labels: dict[str, str] = json.loads(self.labels_json)
        return labels


_COLUMNS = (
    "c.id, c.name, image, coalesce(image_id, ''), command, c.created, status, exit_code, pid, started, finished, ports, auto_remove, "
    "c.labels, pid_start, layer, health, restarts, coalesce(p.id, ''), coalesce(p.name, ''), infra"
)
_TABLES = "containers c LEFT JOIN pods p ON p.key=c.pod"


def list_containers(
    ctx: Context, all: bool, filters: list[str], last: int, size: bool, details: bool = False, external: bool = False
) -> list[ContainerSummary]:
    """Containers, newest first: the running ones, or all; `last` limits the number and implies all. With `external` those of
    builds too."""
    narrow = not all and not last and not any(text.startswith(("status=", "exited=")) for text in filters)
    where = ("WHERE 1" if external else "WHERE NOT external") + (
        " AND status IN ('running', 'paused', 'stopping')" if narrow else ""
    )
    found: list[ContainerSummary] = []
    layers: list[int | None] = []
    stale = False
    match = matcher(ctx, filters) if filters else None
    allowed = {container.id for container in _matching(ctx, match)} if match else None
    for row in ctx.db.rows(f"SELECT {_COLUMNS} FROM {_TABLES} {where} ORDER BY c.created DESC, c.key DESC"):
        status, code, finished = row[6], row[7], row[10]
        if status in ALIVE:
            status, code, finished = actual(ctx, row[0], status, row[8], row[14], code, finished)
            stale = stale or status not in ALIVE
        if (narrow and status not in ALIVE) or (allowed is not None and row[0] not in allowed):
            continue
        found.append(
            ContainerSummary(
                id=row[0], name=row[1], image=row[2], image_id=row[3], command=row[4].split("\x1f"), created=row[5], status=status,
                exit_code=code, pid=row[8] if status in ALIVE else 0, started=row[9], finished=finished, ports=row[11],
                auto_remove=bool(row[12]), labels_json=row[13], health=row[16], restarts=row[17],
                pod=row[18], pod_name=row[19], infra=bool(row[20]),
            )
        )  # fmt: skip
        layers.append(row[15])
    if last > 0:
        del found[last:], layers[last:]
    if size:
        for summary, layer in zip(found, layers, strict=True):
            _measure(ctx, summary, layer)
    if details:
        _detail(ctx, found)
    if stale:
        ctx.recover()
    return found


def _detail(ctx: Context, found: list[ContainerSummary]) -> None:
    from podling.core import inspect
    from podling.core.containers import every

    wanted = {summary.id: summary for summary in found}
    for container in every(ctx):
        summary = wanted.get(container.id)
        if summary is not None:
            config = container.config
            summary.details = {
                "mounts": inspect.mounts_of(container), "network": inspect.network_of(container), "mode": config.network,
                "bindings": inspect.port_bindings(config), "exposed": config.exposed,
            }  # fmt: skip
    found[:] = [summary for summary in found if summary.details]  # those that went meanwhile have none


def _matching(ctx: Context, match: Callable[[Container], bool]) -> list[Container]:
    from podling.core.containers import every

    return [container for container in every(ctx) if match(container)]


def _measure(ctx: Context, summary: ContainerSummary, layer: int | None) -> None:
    from podling.storage.usage import folder_size

    summary.size = summary.root_size = 0
    if layer:
        summary.size = folder_size(f"{ctx.store.folder(layer)}/diff") if ctx.store.driver.independent else 0
        below = ctx.store.chain(layer)[1:]
        marks = ",".join("?" * len(below))
        summary.root_size = summary.size + (
            ctx.db.value(f"SELECT sum(size) FROM layers WHERE key IN ({marks})", *below) or 0
        )


def matcher(ctx: Context, filters: list[str]) -> Callable[[Container], bool]:
    """A predicate for --filter on containers.

    Raises:
        InvalidInput: an unknown key or a value that makes no sense.
    """
    import re

    from podling.core import containers
    from podling.core.filters import boolean, match_label, moment, split
    from podling.errors import InvalidInput
    from podling.oci import json
    from podling.state.database import now

    wanted = split(filters, FILTERS)
    for state in wanted.get("status", ()):
        if state not in (
            "created",
            "running",
            "paused",
            "exited",
            "stopped",
            "stopping",
            "initialized",
            "removing",
            "unknown",
            "configured",
        ):
            raise InvalidInput(f"--filter status={state}: no such status")
    ancestors = [_image_ids(ctx, value) for value in wanted.get("ancestor", ())]
    before = [containers.find(ctx, value).created for value in wanted.get("before", ())]
    since = [containers.find(ctx, value).created for value in wanted.get("since", ())]
    until = [moment(value, now()) for value in wanted.get("until", ())]
    pod_keys = {
        value: {
            row[0]
            for row in ctx.db.rows("SELECT key FROM pods WHERE name=? OR substr(id, 1, ?)=?", value, len(value), value)
        }
        for value in wanted.get("pod", ())
    }

    def labels(container: Container) -> dict[str, str]:
        found: dict[str, str] = json.loads(container.__dict__["labels"])
        return found

    tests: dict[str, Callable[[Any, str], bool]] = {
        "id": lambda c, v: c.id.startswith(v),
        "name": lambda c, v: re.search(v, c.name) is not None,
        "label": lambda c, v: match_label(labels(c), v),
        "label!": lambda c, v: not match_label(labels(c), v),
        "status": lambda c, v: c.truth()[0] == {"stopped": "exited", "configured": "created"}.get(v, v),
        "exited": lambda c, v: c.truth()[0] == "exited" and c.truth()[1] == int(v),
        "volume": lambda c, v: any(v in (m.name, m.source, m.target) for m in c.config.mounts),
        "network": lambda c, v: v in (*c.config.networks, c.config.network),
        "command": lambda c, v: c.config.argv[:1] == [v],
        "pod": lambda c, v: c.pod is not None and c.pod in pod_keys[v],
        "health": lambda c, v: (c.health or "none") == v,
        "restart-policy": lambda c, v: c.config.restart == v,
        "should-start-on-boot": lambda c, v: (bool(c.wanted) and c.config.restart != "no") == boolean(v),
    }
    for text in wanted.get("exited", ()):
        if not text.lstrip("-").isdigit():
            raise InvalidInput(f"--filter exited={text}: an exit code is a number")

    def match(container: Container) -> bool:
        for key, values in wanted.items():
            test = tests.get(key)
            # of labels every one must fit, of other keys one
            every_or_any = all if key.startswith("label") else any
            if test and not every_or_any(test(container, value) for value in values):
                return False
        return (
            (not ancestors or any(container.image_id in ids for ids in ancestors))
            and all(container.created < time for time in before)
            and all(container.created > time for time in since)
            and all(container.created < time for time in until)
        )

    return match


def _image_ids(ctx: Context, name: str) -> set[str]:
    """The image and those built on top of its layers."""
    from podling.core import images

    image = images.find(ctx, name)
    found = {image.id}
    if image.layer:
        for id, layer in ctx.db.rows("SELECT id, layer FROM images WHERE layer IS NOT NULL"):
            if image.layer in ctx.store.chain(layer):
                found.add(id)
    return found
