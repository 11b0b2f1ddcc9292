"""system connection add, default, list, remove, rename."""

from __future__ import annotations

import os

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import print_rows, table
from podling.config import connections
from podling.config.connections import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args


def _add(app: App, args: Args) -> int:
    name, target = args.rest
    uri = _uri(target, args)
    connections.add(
        Connection(
            name=name, uri=uri, identity=_absolute(args.identity), tls_ca=_absolute(args.tls_ca), tls_cert=_absolute(args.tls_cert),
            tls_key=_absolute(args.tls_key), default=args.default,
        ),
        args.farm,
    )  # fmt: skip
    return 0


def _absolute(path: str) -> str:
    return os.path.abspath(path) if path else ""


def _uri(target: str, args: Args) -> str:
    """`[USER@]HOST[:PORT][PATH]` is ssh; a path is a socket."""
    if target.startswith("/"):
        return f"unix://{target}"
    scheme, separator, rest = target.partition("://")
    if not separator:
        scheme, rest = "ssh", target
    if scheme not in ("ssh", "tcp", "unix"):
        raise UsageError(f"{target!r}: a service is at ssh://, tcp:// or unix://")
    if scheme != "ssh":
        if args.identity or args.port or args.socket_path:
            raise UsageError("--identity, --port and --socket-path are for ssh")
        return f"{scheme}://{rest}"
    host, _, path = rest.partition("/")
    if args.port and ":" not in host:
        host += f":{args.port}"
    user = host.partition("@")[0] if "@" in host else ""
    path = args.socket_path.lstrip("/") or path
    if not path:
        path = "run/podman/podman.sock" if user in ("", "root") else ""
    if not path:
        raise UsageError(
            f"where the socket of {user} is cannot be known from here",
            hint="--socket-path /run/user/UID/podman/podman.sock",
        )
    return f"ssh://{host}/{path}"


def _default(app: App, args: Args) -> int:
    connections.make_default(args.rest[0])
    return 0


_HEADERS = {
    name: name
    for name in ("Name", "URI", "Identity", "TLSCA", "TLSCert", "TLSKey", "Default", "ReadWrite", "IsMachine")
}


def _list(app: App, args: Args) -> int:
    found = connections.every()
    if args.quiet:
        if found:
            app.out("\n".join(connection.name for connection in found))
        return 0
    rows = [
        {
            "Name": c.name, "URI": c.uri, "Identity": c.identity, "IsMachine": False, "Default": c.default, "ReadWrite": c.writable,
            "TLSCA": c.tls_ca, "TLSCert": c.tls_cert, "TLSKey": c.tls_key,
        }
        for c in found
    ]  # fmt: skip
    if args.format:
        print_rows(app, args.format, rows, _HEADERS, shape="connection")
        return 0
    secured = ["TLSCA", "TLSCert", "TLSKey"] if any(c.tls_ca or c.tls_cert or c.tls_key for c in found) else []
    columns = ["Name", "URI", "Identity", *secured, "Default", "ReadWrite"]
    lines = [
        [str(row[key]).lower() if isinstance(row[key], bool) else str(row[key]) for key in columns] for row in rows
    ]
    app.out(table([columns, *lines]))
    return 0


def _remove(app: App, args: Args) -> int:
    if bool(args.rest) == args.all:
        raise UsageError("name a connection, or --all")
    if args.all:
        connections.remove_all()
    for name in args.rest:
        connections.remove(name)
    return 0


def _rename(app: App, args: Args) -> int:
    connections.rename(*args.rest)
    return 0


ADD = Command(
    _add,
    "[options] NAME DESTINATION",
    "Keeps a service under a name: [USER@]HOST[:PORT] through ssh, tcp://HOST:PORT, or unix://PATH.",
    Flag("default", "d", "bool", "Use it where no other is named"),
    Flag("farm", "f", "string", "Put it into this farm of Podman's file", hidden=True),
    Flag("identity", "", "string", "The ssh key for it", value="path"),
    Flag("port", "p", "int", "The port of ssh there"),
    Flag("socket-path", "", "string", "The service's socket there", value="path"),
    Flag("tls-ca", "", "string", "The authority that its certificate is checked against (PEM)", value="path"),
    Flag("tls-cert", "", "string", "Our certificate (PEM)", value="path"),
    Flag("tls-key", "", "string", "Our certificate's key (PEM)", value="path"),
    least=2,
    most=2,
    examples=(
        "system connection add build root@build.example.com",
        "system connection add local unix:///run/podman/podman.sock",
    ),
)
DEFAULT = Command(
    _default,
    "NAME",
    "Makes a connection the one that is used where no other is named.",
    least=1,
    most=1,
    examples=("system connection default build",),
)
LIST = Command(
    _list,
    "[options]",
    "Lists the connections.",
    Flag("format", "f", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("quiet", "q", "bool", "Print the names only"),
    most=0,
    examples=("system connection list",),
)
REMOVE = Command(
    _remove,
    "[options] NAME",
    "Forgets connections.",
    Flag("all", "a", "bool", "Forget all of them"),
    Flag("force", "f", "bool", "Accepted: nobody is asked", hidden=True),
    examples=("system connection remove build",),
)
RENAME = Command(
    _rename,
    "OLD NEW",
    "Gives a connection another name.",
    least=2,
    most=2,
    examples=("system connection rename build builder",),
)
