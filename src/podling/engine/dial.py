"""Where a service is, and the way there: a unix socket, tcp, tcp with TLS, or a socket of another host through its ssh."""

from __future__ import annotations

import os
import socket

from podling.errors import InvalidInput, PodlingError, ProgramMissing, RuntimeFailed
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    import subprocess


class Unreachable(PodlingError):
    """There is no service at the address."""

    reference = "unreachable"


class Place(Record):
    """`url` is unix://PATH, tcp://HOST:PORT or ssh://[USER@]HOST[:PORT][/PATH]; the files are PEM."""

    url: str
    identity: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""


_FORWARD_SECONDS = 30


class Dialer:
    """Opens connections to one place. `close` ends the forwarding of ssh."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._scheme, _, self._rest = place.url.partition("://")
        if self._scheme not in ("unix", "tcp", "ssh") or not self._rest:
            raise InvalidInput(
                f"{place.url!r} is no address of a service", hint="unix://PATH, tcp://HOST:PORT or ssh://USER@HOST/PATH"
            )
        self._ssh: subprocess.Popen[bytes] | None = None
        self._folder = ""

    @property
    def host(self) -> str:
        """The host's name, as seen from here."""
        if self._scheme == "unix":
            return "127.0.0.1"
        target = self._rest.partition("/")[0].rpartition("@")[2]
        return target.rpartition(":")[0].strip("[]") or target if ":" in target else target

    def connect(self) -> socket.socket:
        """A fresh connection.

        Raises:
            Unreachable, InvalidInput, RuntimeFailed: ssh failed.
        """
        try:
            if self._scheme == "unix":
                return self._unix(self._rest if self._rest.startswith("/") else f"/{self._rest}")
            if self._scheme == "ssh":
                return self._unix(self._forwarded())
            return self._tcp()
        except OSError as error:
            hint = (
                "`podling system service` serves one"
                if self._scheme == "unix"
                else "is the service up, and the name right?"
            )
            raise Unreachable(f"cannot connect to {self.place.url}: {error.strerror or error}", hint=hint) from None

    @staticmethod
    def _unix(path: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
        except BaseException:
            sock.close()
            raise
        return sock

    def _tcp(self) -> socket.socket:
        host, colon, port = self._rest.rstrip("/").rpartition(":")
        if not colon or not port.isdigit():
            raise InvalidInput(f"{self.place.url}: not tcp://HOST:PORT")
        sock = socket.create_connection((host.strip("[]"), int(port)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        place = self.place
        if not (place.tls_ca or place.tls_cert or place.tls_key):
            return sock
        return self._secured(sock, host.strip("[]"))

    def _secured(self, sock: socket.socket, host: str) -> ssl.SSLSocket:
        import ssl

        place = self.place
        try:
            context = ssl.create_default_context(cafile=place.tls_ca or None)
            if place.tls_cert or place.tls_key:
                context.load_cert_chain(place.tls_cert, place.tls_key or None)
            return context.wrap_socket(sock, server_hostname=host)
        except (ssl.SSLError, FileNotFoundError) as error:
            sock.close()
            raise Unreachable(f"{place.url}: TLS: {error}", hint="check --tls-ca, --tls-cert and --tls-key") from None

    # -- ssh
    def _forwarded(self) -> str:
        """A socket here that leads to the other host's; ssh is started with the first connection."""
        local = f"{self._folder}/service.sock"
        if self._ssh is not None and self._ssh.poll() is None:
            return local
        import subprocess
        import tempfile
        import time

        target, _, path = self._rest.partition("/")
        user_host, colon, port = target.rpartition(":")
        if not colon or "]" in port:
            user_host, port = target, ""
        self._folder = self._folder or tempfile.mkdtemp(prefix="podling-ssh-")
        local = f"{self._folder}/service.sock"
        argv = [
            "ssh",
            "-N",
            "-T",
            "-o",
            "ExitOnForwardFailure=yes",
            "-o",
            "BatchMode=yes",
        ]
        argv += ["-p", port] if port else []
        argv += ["-i", self.place.identity] if self.place.identity else []
        argv += ["-L", f"{local}:/{path or 'run/podman/podman.sock'}", user_host]
        try:
            self._ssh = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        except FileNotFoundError:
            raise ProgramMissing("ssh is not installed", hint="apt install openssh-client") from None
        deadline = time.monotonic() + _FORWARD_SECONDS
        while not os.path.exists(local):
            if self._ssh.poll() is not None:
                assert self._ssh.stderr
                said = self._ssh.stderr.read().decode(errors="replace").strip()
                raise RuntimeFailed(f"ssh to {user_host} failed: {said}", hint=f"try `ssh {user_host} podling info`")
            if time.monotonic() > deadline:
                raise Unreachable(f"ssh to {user_host} did not come up within {_FORWARD_SECONDS} s")
            time.sleep(0.02)
        return local

    def close(self) -> None:
        if self._ssh is not None:
            self._ssh.terminate()
            self._ssh.wait()
            if self._ssh.stderr:
                self._ssh.stderr.close()
            self._ssh = None
        if self._folder:
            import shutil

            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""
