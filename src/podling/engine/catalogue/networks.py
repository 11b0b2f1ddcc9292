"""Operations on networks."""

from __future__ import annotations

from podling.engine.catalogue.base import Operation
from podling.engine.catalogue.containers import Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class CreateNetwork(Operation):
    """Subnets, gateways and ranges belong together by position; labels and options are KEY=VALUE."""

    executor: ClassVar = "networks:create"
    route: ClassVar = "POST /libpod/networks/create"
    name: str = ""
    driver: str = "bridge"
    subnets: list[str] = []
    gateways: list[str] = []
    ranges: list[str] = []
    interface: str = ""
    internal: bool = False
    ipv6: bool = False
    dns: bool = True
    dns_servers: list[str] = []
    labels: list[str] = []
    options: list[str] = []
    routes: list[str] = []
    ipam: str = ""
    ignore: bool = False


class ListNetworks(Operation):
    executor: ClassVar = "networks:list_networks"
    route: ClassVar = "GET /libpod/networks/json"
    writes: ClassVar = False
    filters: list[str] = []


class InspectNetwork(Operation):
    executor: ClassVar = "networks:inspect"
    route: ClassVar = "GET /libpod/networks/{name}/json"
    writes: ClassVar = False
    name: str


class NetworkExists(Operation):
    executor: ClassVar = "networks:exists"
    route: ClassVar = "GET /libpod/networks/{name}/exists"
    writes: ClassVar = False
    name: str


class RemoveNetworks(Operation):
    executor: ClassVar = "networks:remove"
    route: ClassVar = "DELETE /libpod/networks/{name}"
    names: list[str]
    force: bool = False
    timeout: int = -1


class PruneNetworks(Operation):
    executor: ClassVar = "networks:prune"
    route: ClassVar = "POST /libpod/networks/prune"
    filters: list[str] = []


class UpdateNetwork(Operation):
    executor: ClassVar = "networks:update"
    route: ClassVar = "POST /libpod/networks/{name}/update"
    name: str
    dns_add: list[str] = []
    dns_drop: list[str] = []


class ConnectNetwork(Operation):
    executor: ClassVar = "networks:connect"
    route: ClassVar = "POST /libpod/networks/{name}/connect"
    name: str
    container: str
    ips: list[str] = []
    mac: str = ""
    aliases: list[str] = []


class DisconnectNetwork(Operation):
    executor: ClassVar = "networks:disconnect"
    route: ClassVar = "POST /libpod/networks/{name}/disconnect"
    name: str
    container: str
    force: bool = False


class ReloadNetworks(Selection):
    executor: ClassVar = "networks:reload"
    route: ClassVar = ""
