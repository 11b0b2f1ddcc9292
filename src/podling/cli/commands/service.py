"""system service, system dial-stdio."""

from __future__ import annotations

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.config import containers
from podling.config.settings import service_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from podling.cli.app import App
    from podling.cli.flags import Args

_TIME = "5"


def _service(app: App, args: Args) -> int:
    try:
        from podling.api.server import ServiceOptions, serve
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        raise UsageError("the service needs the Python package aiohttp", hint="pip install aiohttp") from None
    import os

    seconds = args.time if "time" in args.given else containers.load().number("engine", "service_timeout", int(_TIME))
    try:
        idle = float(seconds)
    except ValueError:
        raise UsageError(f"--time {args.time!r} is not a number of seconds") from None
    if idle < 0:
        raise UsageError("--time must not be negative", hint="0 keeps the service up")
    address = args.rest[0] if args.rest else service_address(os.geteuid())
    if address.startswith("/"):
        address = f"unix://{address}"
    if app.options.remote or app.options.url or app.options.connection:
        raise UsageError("the service runs here: --remote, --url and --connection make no sense for it")
    loud = app.options.log_level in ("info", "debug", "trace")
    options = ServiceOptions(
        address, idle=idle, cors=args.cors, tls_cert=args.tls_cert, tls_key=args.tls_key, tls_client_ca=args.tls_client_ca,
        log=app.log if loud else None,
    )  # fmt: skip
    serve(app.engine, options)
    return 0


def _dial(app: App, args: Args) -> int:
    """Join our streams to the service that runs, or to one of our own that ends with the connection."""
    import os
    import socket
    import tempfile

    sock = socket.socket(socket.AF_UNIX)
    try:
        try:
            sock.connect(service_address(os.geteuid()).removeprefix("unix://"))
        except OSError:
            with (
                tempfile.TemporaryDirectory(prefix="podling-dial-") as folder,
                socket.socket(socket.AF_UNIX) as listener,
            ):
                listener.bind(f"{folder}/socket")
                listener.listen(1)
                sock.close()
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(f"{folder}/socket")
                _serve_one(app, listener.fileno())
        _join(sock)
    finally:
        sock.close()
    return 0


def _serve_one(app: App, listener: int) -> None:
    """A service at a socket that listens already, as systemd would hand it over."""
    import sys

    from podling.linux.process import spawn

    argv = [sys.executable, "-m", "podling", *app.engine.settings.arguments(), "system", "service", "--time=1"]
    spawn(["/bin/sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "sh", *argv], place={3: listener}, session=True)


def _join(sock: socket.socket) -> None:
    """Copy both ways until the service has said all."""
    import os
    import selectors

    with selectors.DefaultSelector() as ready:
        ready.register(0, selectors.EVENT_READ)
        ready.register(sock, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fd == 0:
                    data = os.read(0, 65536)
                    if data:
                        sock.sendall(data)
                    else:
                        ready.unregister(0)
                        sock.shutdown(1)
                else:
                    data = sock.recv(65536)
                    if not data:
                        return
                    while data:
                        data = data[os.write(1, data) :]


DIAL_STDIO = Command(
    _dial,
    "",
    "Joins standard input and output to the service of this host, for `docker -H ssh://HOST`. Where none runs, one serves this\n"
    "connection alone.",
    most=0,
    examples=("system dial-stdio",),
)
SERVICE = Command(
    _service,
    "[options] [URI]",
    "Serves Podman's REST API and Docker's, at unix://PATH or tcp://HOST:PORT, or at the socket that systemd opened.\n\n"
    "Who can connect to it can do what you can do with podling: a unix socket is for its owner alone. Over tcp, use TLS with client\n"
    "certificates (--tls-client-ca), or keep to 127.0.0.1.",
    Flag("cors", "", "string", "Allow requests from pages of this origin, * for all", value="origin"),
    Flag(
        "pprof-address",
        "",
        "string",
        "Accepted: profiles of Go's runtime do not exist here; --cpu-profile has Python's",
        hidden=True,
    ),
    Flag("time", "t", "string", "End after so many seconds without a client; 0 for never", _TIME, value="seconds"),
    Flag("tls-cert", "", "string", "Serve with TLS: the certificate's file (PEM)", value="path"),
    Flag("tls-client-ca", "", "string", "Only answer clients with a certificate of this authority", value="path"),
    Flag("tls-key", "", "string", "The certificate's key (PEM)", value="path"),
    most=1,
    examples=(
        "system service --time 0",
        "system service -t 0 unix:///tmp/podling.sock",
        "system service --tls-cert cert.pem --tls-key key.pem --tls-client-ca ca.pem tcp://0.0.0.0:2376",
    ),
)
