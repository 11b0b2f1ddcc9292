"""The service: sockets in front, the engine behind, and the limits between them."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from aiohttp import web

from podling.api import router
from podling.api.cache import Answers
from podling.api.call import MOST_JSON, Call, fail, failure
from podling.api.front import FrontServer, Known
from podling.api.waiting import Watch
from podling.errors import InvalidInput, NoSuchImage, PodlingError
from podling.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from aiohttp.web_protocol import RequestHandler

    from podling.engine.local import Engine

#: Docker's API whose shapes we follow, the oldest that is answered, and Podman's
DOCKER_API, DOCKER_API_OLDEST, LIBPOD_API = "1.44", "1.24", "5.7.1"
#: operations that run at the same time; further ones wait for a thread
_THREADS = 128
#: a client that began a request must have ended its head within so many seconds
_HEAD_SECONDS = 60
_LOOPBACK = ("tcp://127.", "tcp://localhost:", "tcp://[::1]:")


class ServiceOptions:
    """How the service listens. `idle` in seconds ends it when no client is connected for so long; 0 never."""

    def __init__(
        self, address: str = "", *, idle: float = 0, cors: str = "", tls_cert: str = "", tls_key: str = "",
        tls_client_ca: str = "", log: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.address, self.idle, self.cors = address, idle, cors
        self.tls_cert, self.tls_key, self.tls_client_ca = tls_cert, tls_key, tls_client_ca
        #: gets a line per request
        self.log = log


class Service:
    """One running service on one engine. Operations run in threads, streams in the event loop."""

    def __init__(self, engine: Engine, options: ServiceOptions) -> None:
        self.engine = engine
        self.options = options
        self.headers = {
            "Api-Version": DOCKER_API,
            "Libpod-Api-Version": LIBPOD_API,
            "Server": f"Podling/{VERSION} (linux)",
        }
        if options.cors:
            self.headers["Access-Control-Allow-Origin"] = options.cors
            self.headers["Access-Control-Allow-Headers"] = (
                "Origin, X-Requested-With, Content-Type, Accept, X-Registry-Auth, Connection, Upgrade, X-Registry-Config"
            )
            self.headers["Access-Control-Allow-Methods"] = "HEAD, GET, POST, DELETE, PUT, OPTIONS"
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="operation")
        self._server: web.Server | None = None
        self._last_busy = time.monotonic()
        self.stopping = asyncio.Event()
        self.watch = Watch(engine.change_counter)
        self.answers = Answers(engine.change_counter)

    async def asleep(self, seconds: float) -> bool:
        """Wait so long; True when the service is about to end."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    # -- requests
    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever goes wrong becomes an answer too."""
        begun = time.monotonic()
        response = await self._answer(request)
        if not response.prepared:
            response.headers.update(self.headers)
        if self.options.log:
            took = (time.monotonic() - begun) * 1000
            self.options.log(f"{request.method} {request.rel_url.raw_path} {response.status} {took:.1f} ms")
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "OPTIONS" and self.options.cors:
            return web.Response(status=200)
        try:
            found = router.find(request.method, request.rel_url.raw_path)
        except router.WrongMethod as error:
            response = fail(405, f"{request.method} is not a method of {request.rel_url.raw_path}")
            response.headers["Allow"] = str(error)
            return response
        if found is None:
            return fail(404, f"{request.method} {request.rel_url.raw_path}: no such path", "page not found")
        try:
            return await found.handler(Call(self, request, found.libpod, found.names, found.version))
        except NoSuchImage as error:
            # Docker's clients look for these words before they pull
            return (
                failure(error)
                if found.libpod
                else fail(404, f"No such image: {str(error).partition(': ')[0]}", error.cause)
            )
        except PodlingError as error:
            return failure(error)
        except web.HTTPException as error:  # aiohttp's own: a body that is too large
            return fail(error.status, error.reason)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except UnicodeError as error:
            return fail(400, f"the request is not UTF-8: {error}")
        except Exception as error:
            if self.engine.settings.log_level in ("debug", "trace"):
                import traceback

                traceback.print_exc()
            return fail(500, f"{type(error).__name__}: {error}")

    # -- life
    async def serve(self, sockets: list[socket.socket]) -> None:
        """Serve until a signal, or until nobody has been there for `idle` seconds."""
        known = None if self.options.log else Known(self.headers, self.answers)  # a log has every request
        self._server = FrontServer(
            self.handle, known, handler_cancellation=True, request_factory=_request, access_log=None, keepalive_timeout=3600,
            tcp_keepalive=True,
        )  # fmt: skip
        runner = web.ServerRunner(self._server, shutdown_timeout=3.0)
        await runner.setup()
        context = self._tls()
        for sock in sockets:
            await web.SockSite(runner, sock, ssl_context=context, backlog=512).start()
        loop = asyncio.get_running_loop()
        import signal

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        watch = asyncio.create_task(self._watch())
        await self.stopping.wait()
        watch.cancel()
        await runner.cleanup()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        """End when idle, and drop clients that never finish their request's head."""
        assert self._server is not None
        silent: dict[RequestHandler, float] = {}
        idle = self.options.idle
        while True:
            await asyncio.sleep(min(idle / 4, 1.0) if idle else 1.0)
            now = time.monotonic()
            connections = list(self._server.connections)
            if connections:
                self._last_busy = now
            elif idle and now - self._last_busy >= idle:
                self.stopping.set()
                return
            # one that has sent no whole request yet: asyncio tells only that it is there
            silent = {
                connection: silent.get(connection, now)
                for connection in connections
                if not getattr(connection, "_request_count", 1)
            }
            for connection, since in silent.items():
                if now - since > _HEAD_SECONDS and connection.transport is not None:
                    connection.transport.abort()

    def _tls(self) -> ssl.SSLContext | None:
        options = self.options
        if not options.tls_cert and not options.tls_key:
            if options.tls_client_ca:
                raise InvalidInput("--tls-client-ca needs --tls-cert and --tls-key")
            return None
        if not options.tls_cert or not options.tls_key:
            raise InvalidInput("--tls-cert and --tls-key go together")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(options.tls_cert, options.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(f"--tls-cert {options.tls_cert}, --tls-key {options.tls_key}: {error}") from None
        if options.tls_client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(options.tls_client_ca)
            except (OSError, ssl.SSLError) as error:
                raise InvalidInput(f"--tls-client-ca {options.tls_client_ca}: {error}") from None
        return context


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MOST_JSON)


def listen(address: str) -> socket.socket:
    """A listening socket at `unix://PATH` or `tcp://HOST:PORT`. A unix socket is for its owner alone.

    Raises:
        InvalidInput: not such an address, or it cannot be had.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "unix" and rest:
        return _listen_unix(rest)
    if scheme == "tcp":
        host, colon, port = rest.rpartition(":")
        if not colon or not port.isdigit():
            raise InvalidInput(f"{address}: not tcp://HOST:PORT")
        host = host.strip("[]")
        try:
            return socket.create_server(
                (host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
            )
        except OSError as error:
            raise InvalidInput(f"{address}: {error.strerror or error}") from None
    raise InvalidInput(f"{address}: an API service listens at unix://PATH or tcp://HOST:PORT")


def _listen_unix(path: str) -> socket.socket:
    if os.path.exists(path):
        probe = socket.socket(socket.AF_UNIX)
        try:
            probe.connect(path)
            raise InvalidInput(f"{path}: another service listens there already")
        except OSError:
            os.unlink(path)  # what a killed service left
        finally:
            probe.close()
    try:
        os.makedirs(os.path.dirname(path) or ".", 0o700, exist_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        mask = os.umask(0o177)  # never open to others, not even for a moment
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    return sock


def activated() -> list[socket.socket]:
    """The sockets that systemd has opened for us (sd_listen_fds(3))."""
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit():
        return []
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):  # not for the containers that we start
        os.environ.pop(name, None)
    found = []
    for fd in range(3, 3 + int(count)):
        os.set_inheritable(fd, False)
        found.append(socket.socket(fileno=fd))
    return found


def serve(engine: Engine, options: ServiceOptions) -> None:
    """Listen, serve, and leave nothing behind.

    Raises:
        InvalidInput: the address, or the TLS files.
    """
    from podling.api import routes

    routes.load()
    sockets = activated()
    ours = "" if sockets else options.address
    if not sockets:
        sockets = [listen(options.address)]
    if ours.startswith("tcp://") and not options.tls_client_ca and not ours.startswith(_LOOPBACK):
        engine.warn(
            f"whoever reaches {ours} can do all that you can: --tls-cert, --tls-key and --tls-client-ca keep others out"
        )
    engine.prepare_for_threads()
    sys.setswitchinterval(0.001)
    inode = os.stat(ours[7:]).st_ino if ours.startswith("unix://") else 0

    async def main() -> None:
        await Service(engine, options).serve(sockets)

    try:
        asyncio.run(main())
    finally:
        if inode:
            try:
                if os.stat(ours[7:]).st_ino == inode:
                    os.unlink(ours[7:])
            except FileNotFoundError:
                pass
