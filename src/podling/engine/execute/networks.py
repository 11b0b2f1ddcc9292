"""Executors of operations on networks."""

from __future__ import annotations

from podling.core import networking
from podling.core.parse import pairs
from podling.engine.catalogue.base import Report
from podling.engine.execute.containers import each
from podling.errors import NotFound, PodlingError
from podling.network.networks import NetworkSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.engine.catalogue import networks as ops


def create(ctx: Context, op: ops.CreateNetwork) -> str:
    spec = NetworkSpec(
        name=op.name, driver=op.driver, subnets=op.subnets, gateways=op.gateways, ranges=op.ranges, interface=op.interface,
        internal=op.internal, ipv6=op.ipv6, dns=op.dns, dns_servers=op.dns_servers, labels=pairs(op.labels, "--label"),
        options=pairs(op.options, "--opt"), routes=op.routes, ipam=op.ipam,
    )  # fmt: skip
    return networking.create(ctx, spec, ignore=op.ignore)


def list_networks(ctx: Context, op: ops.ListNetworks) -> list[dict[str, Any]]:
    return networking.list_networks(ctx, op.filters)


def inspect(ctx: Context, op: ops.InspectNetwork) -> dict[str, Any]:
    return networking.inspect(ctx, op.name)


def exists(ctx: Context, op: ops.NetworkExists) -> bool:
    return networking.exists(op.name)


def remove(ctx: Context, op: ops.RemoveNetworks) -> Report:
    report = Report()
    for name in op.names:
        try:
            report.done.append(networking.remove(ctx, name, force=op.force, timeout=op.timeout))
        except NotFound as error:
            if not op.force:
                report.errors.append(error)
        except PodlingError as error:
            report.errors.append(error)
    return report


def prune(ctx: Context, op: ops.PruneNetworks) -> list[str]:
    return networking.prune(ctx, op.filters)


def update(ctx: Context, op: ops.UpdateNetwork) -> None:
    networking.update_dns(ctx, op.name, op.dns_add, op.dns_drop)


def connect(ctx: Context, op: ops.ConnectNetwork) -> None:
    wanted = {"ips": op.ips, "mac": op.mac, "aliases": op.aliases, "interface": ""}
    networking.connect(ctx, op.name, op.container, wanted)


def disconnect(ctx: Context, op: ops.DisconnectNetwork) -> None:
    networking.disconnect(ctx, op.name, op.container, force=op.force)


def reload(ctx: Context, op: ops.ReloadNetworks) -> Report:
    return each(ctx, op, lambda container: networking.reload(ctx, container), "status='running'")
