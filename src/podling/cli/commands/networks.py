"""network create, ls, inspect, rm, prune, exists, update, connect, disconnect, reload."""

from __future__ import annotations

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import WHOLE, Format, print_rows, table
from podling.engine.catalogue import networks as ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args

_HEADERS = {"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER"}


def _create(app: App, args: Args) -> int:
    if args.macvlan:
        args.__dict__.update(driver="macvlan", opt=[*args.opt, f"parent={args.macvlan}"])
    app.out(
        app.engine.call(
            ops.CreateNetwork(
                name=args.rest[0] if args.rest else "", driver=args.driver, subnets=args.subnet, gateways=args.gateway,
                ranges=args.ip_range, interface=args.interface_name, internal=args.internal, ipv6=args.ipv6,
                dns=not args.disable_dns, dns_servers=args.dns, labels=args.label, options=args.opt, routes=args.route,
                ipam=args.ipam_driver, ignore=args.ignore,
            )
        )
    )  # fmt: skip
    return 0


def _fields(network: dict[str, Any], *, truncate: bool) -> dict[str, Any]:
    id = str(network["id"])
    return {
        "ID": id[:12] if truncate else id, "Name": network["name"], "Driver": network["driver"], "Created": network.get("created", ""),
        "Labels": ",".join(f"{key}={value}" for key, value in (network.get("labels") or {}).items()),
        "DNSEnabled": network.get("dns_enabled", False), "IPv6Enabled": network.get("ipv6_enabled", False),
        "Internal": network.get("internal", False), "NetworkInterface": network.get("network_interface", ""),
        "Options": network.get("options") or {}, "Routes": network.get("routes") or [],
        "Subnets": network.get("subnets") or [],
        "NetworkDNSServers": network.get("network_dns_servers") or [], "IPAMOptions": network.get("ipam_options") or {},
        "Containers": network.get("containers") or {}, WHOLE: network,
    }  # fmt: skip


def _ls(app: App, args: Args) -> int:
    found: list[dict[str, Any]] = app.engine.call(ops.ListNetworks(filters=args.filter))
    if args.quiet:
        if found:
            app.out("\n".join(str(network["name"]) for network in found))
        return 0
    if args.format and Format(args.format).is_json:
        print_rows(app, "json", found, {})
        return 0
    rows = [_fields(network, truncate=not args.no_trunc) for network in found]
    if args.format:
        print_rows(app, args.format, rows, _HEADERS, heading=not args.noheading, shape="network")
        return 0
    heading = [] if args.noheading else [list(_HEADERS.values())]
    lines = [*heading, *([row[column] for column in _HEADERS] for row in rows)]
    if lines:
        app.out(table(lines))
    return 0


def _inspect(app: App, args: Args) -> int:
    from podling.errors import NotFound

    errors: list[Exception] = []
    found = []
    for name in args.rest:
        try:
            found.append(app.engine.call(ops.InspectNetwork(name=name)))
        except NotFound as error:
            errors.append(error)
    if args.format and not Format(args.format).is_json:
        print_rows(app, args.format, [{**_fields(item, truncate=False), **item} for item in found], {}, shape="network")
    else:
        from podling.oci import json

        app.out(json.pretty(found, 5))
    return app.report([], errors)


def _rm(app: App, args: Args) -> int:
    timeout = args.time if "time" in args.given else -1
    report = app.engine.call(ops.RemoveNetworks(names=args.rest, force=args.force, timeout=timeout))
    for error in report.errors:
        if getattr(error, "status", 0) == 404:
            error.exit_code = 1
    return app.report(report.done, report.errors)


def _prune(app: App, args: Args) -> int:
    if not args.force and not app.confirm("WARNING! This will remove all networks not used by at least one container."):
        return 0
    done = app.engine.call(ops.PruneNetworks(filters=args.filter))
    if done:
        app.out("\n".join(done))
    return 0


def _exists(app: App, args: Args) -> int:
    return 0 if app.engine.call(ops.NetworkExists(name=args.rest[0])) else 1


def _update(app: App, args: Args) -> int:
    if not (args.dns_add or args.dns_drop):
        raise UsageError("there is nothing to update", hint="--dns-add or --dns-drop")
    app.engine.call(ops.UpdateNetwork(name=args.rest[0], dns_add=args.dns_add, dns_drop=args.dns_drop))
    return 0


def _connect(app: App, args: Args) -> int:
    app.engine.call(
        ops.ConnectNetwork(
            name=args.rest[0], container=args.rest[1], ips=[address for address in (args.ip, args.ip6) if address],
            mac=args.mac_address, aliases=args.alias,
        )
    )  # fmt: skip
    return 0


def _disconnect(app: App, args: Args) -> int:
    app.engine.call(ops.DisconnectNetwork(name=args.rest[0], container=args.rest[1], force=args.force))
    return 0


def _reload(app: App, args: Args) -> int:
    if not (args.rest or args.all or args.latest):
        raise UsageError("you must provide at least one name or id, --all or --latest")
    report = app.engine.call(ops.ReloadNetworks(names=args.rest, all=args.all, latest=args.latest))
    return app.report(report.done, report.errors)


CREATE = Command(
    _create,
    "[options] [NAME]",
    "Makes a network and prints its name.",
    Flag("disable-dns", "", "bool", "Containers do not find each other by name there"),
    Flag("dns", "", "slice", "DNS servers that are asked for other names"),
    Flag("driver", "d", "string", "Driver: bridge, macvlan or ipvlan", "bridge"),
    Flag("gateway", "", "slice", "Gateway of a subnet"),
    Flag("ignore", "", "bool", "It is no error when the network exists"),
    Flag("interface-name", "", "string", "Name of the bridge, or of the parent interface"),
    Flag("internal", "", "bool", "No way out of the network"),
    Flag("ip-range", "", "list", "Give out addresses of this range of a subnet alone"),
    Flag("ipam-driver", "", "string", "Who gives out addresses: host-local, dhcp or none"),
    Flag("ipv6", "", "bool", "Add an IPv6 subnet"),
    Flag("label", "", "list", "Add a label (KEY=VALUE)"),
    Flag("macvlan", "", "string", "The same as --driver=macvlan --opt=parent=INTERFACE", hidden=True),
    Flag("opt", "o", "list", "Option of the driver, such as mtu=1400, vlan=5, isolate=true"),
    Flag("route", "", "list", "Add a route (DESTINATION,GATEWAY[,METRIC])"),
    Flag("subnet", "", "list", "Subnet, such as 10.5.0.0/24"),
    most=1,
    examples=("network create backend", "network create --subnet 10.5.0.0/24 --gateway 10.5.0.254 backend"),
)
LS = Command(
    _ls,
    "[options]",
    "Lists networks.",
    Flag("filter", "f", "list", "Only networks that match KEY=VALUE: name, id, driver, label, dangling, until"),
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("no-trunc", "", "bool", "Show whole ids"),
    Flag("noheading", "n", "bool", "Leave the table's heading out"),
    Flag("quiet", "q", "bool", "Print the names only"),
    most=0,
    examples=("network ls",),
)
INSPECT = Command(
    _inspect,
    "[options] NETWORK [NETWORK...]",
    "Shows the details of networks and the containers on them.",
    Flag("format", "f", "string", 'Print as JSON ("json") or with a Go template'),
    least=1,
    examples=("network inspect backend",),
)
RM = Command(
    _rm,
    "[options] NETWORK [NETWORK...]",
    "Removes networks that no container is on.",
    Flag("force", "f", "bool", "Remove the containers on it too"),
    Flag("time", "t", "int", "Seconds to wait before such a container is killed", 10),
    least=1,
    examples=("network rm backend",),
)
PRUNE = Command(
    _prune,
    "[options]",
    "Removes all networks that no container is on.",
    Flag("filter", "", "list", "Remove only those that match KEY=VALUE: label, until"),
    Flag("force", "f", "bool", "Do not ask"),
    most=0,
    examples=("network prune --force",),
)
EXISTS = Command(_exists, "NETWORK", "Ends with 0 when the network exists, else with 1.", least=1, most=1)
UPDATE = Command(
    _update,
    "[options] NETWORK",
    "Changes the DNS servers of a network.",
    Flag("dns-add", "", "slice", "Ask this server too"),
    Flag("dns-drop", "", "slice", "Do not ask this server any more"),
    least=1,
    most=1,
    examples=("network update --dns-add 9.9.9.9 backend",),
)
CONNECT = Command(
    _connect,
    "[options] NETWORK CONTAINER",
    "Puts a container on a further network.",
    Flag("alias", "", "slice", "A further name of the container there"),
    Flag("ip", "", "string", "IPv4 address of the container there"),
    Flag("ip6", "", "string", "IPv6 address of the container there"),
    Flag("mac-address", "", "string", "MAC address of the container there"),
    least=2,
    most=2,
    examples=("network connect --alias db backend postgres",),
)
DISCONNECT = Command(
    _disconnect,
    "[options] NETWORK CONTAINER",
    "Takes a container off a network.",
    Flag("force", "f", "bool", "Also where the network itself is gone"),
    least=2,
    most=2,
    examples=("network disconnect backend postgres",),
)
RELOAD = Command(
    _reload,
    "[options] [CONTAINER...]",
    "Sets the firewall rules of running containers up anew, as after a flush of the host's firewall.",
    Flag("all", "a", "bool", "All running containers"),
    Flag("latest", "l", "bool", "The container created last"),
    examples=("network reload --all",),
)
