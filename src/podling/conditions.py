"""What to wait for before a container is of use: `container.wait_for(podling.conditions.port(80))`.

A condition is a function that takes the container and says whether it holds; one of your own is as good.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.engine.containers import Container

    Condition = Callable[[Container], bool]


def healthy() -> Condition:
    """Its health check has passed."""

    def holds(container: Container) -> bool:
        return str(container.inspect()["State"].get("Health", {}).get("Status")) == "healthy"

    holds.__doc__ = "the health check to pass"
    return holds


def log(text: str) -> Condition:
    """It has written `text` (to either stream) since its start."""

    def holds(container: Container) -> bool:
        return any(text in line.text.decode(errors="replace") for line in container.logs())

    holds.__doc__ = f"{text!r} in the log"
    return holds


def port(number: int, protocol: str = "tcp") -> Condition:
    """Something answers at a published port."""

    def holds(container: Container) -> bool:
        import socket

        host, published = container.port(number, protocol)
        try:
            with socket.create_connection((host, published), timeout=1) as sock:
                # what publishes the port may take a connection that nobody inside answers, and drop it at once
                sock.settimeout(0.05)
                try:
                    return sock.recv(1) != b""
                except TimeoutError:
                    return True
        except OSError:
            return False

    holds.__doc__ = f"an answer at port {number}/{protocol}"
    return holds


def http(number: int, path: str = "/", *, status: int = 200) -> Condition:
    """An HTTP server at a published port answers `path` with `status`."""

    def holds(container: Container) -> bool:
        import http.client

        host, published = container.port(number)
        connection = http.client.HTTPConnection(host, published, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == status
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    holds.__doc__ = f"{status} from http port {number}{path}"
    return holds
