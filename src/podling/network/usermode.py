"""Networks that need no privileges: pasta(1), and slirp4netns(1) where that is asked for.

Both run beside the container, translate between its namespace and sockets of the host, and end with it.
"""

from __future__ import annotations

import os
import time

from podling.config import containers
from podling.config.settings import find_program, user_folder
from podling.errors import InvalidInput, PortInUse, RuntimeFailed
from podling.linux.proc import outer_uid, start_time
from podling.linux.process import Running, run, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.errors import PodlingError
    from podling.linux.process import Outcome

#: pasta answers DNS there, and the host is reached there (podman-run.1, --network=pasta)
DNS_ADDRESS = "169.254.1.1"
HOST_ADDRESS = "169.254.1.2"
SLIRP_DNS, SLIRP_HOST, SLIRP_OWN = "10.0.2.3", "10.0.2.2", "10.0.2.100"
_SLIRP_SECONDS = 10


class Link:
    """A namespace that is being connected. What is known of its network: addresses of DNS, the host, and its own, or ""."""

    def __init__(self, dns: str, host: str, own: str = "", finish: Callable[[], None] = lambda: None) -> None:
        self.dns, self.host, self.own = dns, host, own
        #: waits until it is connected; raises what went wrong
        self.finish = finish


def start_pasta(folder: str, netns: str, ports: list[dict[str, Any]], options: list[str]) -> Link:
    """Begin to connect the namespace at `netns`.

    `options` are pasta's own, as the user gave them. The process's pid is in `<folder>/pasta.pid`.

    Raises:
        ProgramMissing, InvalidInput; and PortInUse, RuntimeFailed when it is finished.
    """
    program = find_program("pasta", package="passt")
    own = ["--config-net", "--pid", f"{folder}/pasta.pid"]
    dns = host = ""
    given = {option.partition("=")[0] for option in options}
    if "--dns-forward" not in given:
        own += ["--dns-forward", DNS_ADDRESS]
        dns = DNS_ADDRESS
    if not given & {"--map-gw", "--no-map-gw"}:
        own.append("--no-map-gw")
    if "--map-guest-addr" not in given and _knows_guest_address(program):
        own += ["--map-guest-addr", HOST_ADDRESS]
        host = HOST_ADDRESS
    for protocol, flag, letter in (("tcp", "--tcp-ports", "-t"), ("udp", "--udp-ports", "-u")):
        forwards = [_forward(port) for port in ports if port["protocol"] == protocol]
        for forward in forwards:
            own += [letter, forward]
        if not forwards and not given & {flag, letter}:
            own += [letter, "none"]
    for flag, letter in (("--tcp-ns", "-T"), ("--udp-ns", "-U")):
        if not given & {flag, letter}:
            own += [letter, "none"]
    words = [option for option in options if option != "--map-gw"]
    running = Running([program, *own, *words, "--quiet", "--netns", netns])

    def finish() -> None:
        outcome = running.wait()
        if outcome.code:
            raise _pasta_failure(outcome, ports)

    return Link(dns, host, finish=finish)


def _pasta_failure(outcome: Outcome, ports: list[dict[str, Any]]) -> PodlingError:
    text = outcome.stderr.decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("Failed to send")]
    message = lines[0] if lines else f"exit code {outcome.code}"
    if "in use" not in text.lower() and "Failed to bind" not in text:
        return RuntimeFailed(f"pasta failed: {message}")
    if any(port["host_port"] < 1024 for port in ports):
        hint = "ports below 1024: sudo sysctl net.ipv4.ip_unprivileged_port_start=80"
    else:
        hint = "another program listens on that port: ss -ltnp shows it"
    return PortInUse(f"pasta: {message}", hint=hint)


def _forward(port: dict[str, Any]) -> str:
    """ADDRESS/HOST:CONTAINER, each perhaps a range, as pasta wants it."""
    last = port["range"] - 1
    outer, inner = port["host_port"], port["container_port"]
    text = f"{outer}-{outer + last}:{inner}-{inner + last}" if last else f"{outer}:{inner}"
    return f"{port['host_ip']}/{text}" if port["host_ip"] and port["host_ip"] not in ("0.0.0.0", "::") else text


def _knows_guest_address(program: str) -> bool:
    """Whether this pasta has --map-guest-addr; asked once for each version, for it takes 10 ms."""
    info = os.stat(program)
    stamp = f"{info.st_ino} {info.st_mtime_ns}"
    cache = f"{user_folder(outer_uid())}/pasta" if outer_uid() else "/run/podling-pasta"
    try:
        with open(cache) as file:
            known, _, answer = file.read().rpartition(" ")
        if known == stamp:
            return answer == "yes"
    except OSError:
        pass
    outcome = run([program, "--help"], capture=True)
    found = b"--map-guest-addr" in outcome.stdout + outcome.stderr
    with open(f"{cache}.{os.getpid()}", "w") as file:
        file.write(f"{stamp} {'yes' if found else 'no'}")
    os.rename(f"{cache}.{os.getpid()}", cache)
    return found


def start_slirp(folder: str, netns: str, ports: list[dict[str, Any]], options: list[str]) -> Link:
    """Connect the namespace at `netns` through slirp4netns; as `start_pasta`.

    Raises:
        ProgramMissing, PortInUse, InvalidInput: an unknown option.
    """
    program = find_program(containers.load().text("engine", "network_cmd_path") or "slirp4netns")
    own = ["--enable-sandbox", "--enable-seccomp"]
    values = dict(option.partition("=")[::2] for option in options)
    unknown = values.keys() - {
        "allow_host_loopback",
        "mtu",
        "cidr",
        "enable_ipv6",
        "outbound_addr",
        "outbound_addr6",
        "port_handler",
    }
    if unknown:
        raise InvalidInput(f"--network slirp4netns: unknown option {sorted(unknown)[0]!r}")
    if values.get("allow_host_loopback", "false") != "true":
        own.append("--disable-host-loopback")
    if values.get("enable_ipv6", "true") == "true":
        own.append("--enable-ipv6")
    own += ["--mtu", values.get("mtu", "65520")]
    for name, flag in (
        ("cidr", "--cidr"),
        ("outbound_addr", "--outbound-addr"),
        ("outbound_addr6", "--outbound-addr6"),
    ):
        if name in values:
            own.append(f"{flag}={values[name]}")
    socket_path = f"{netns}.sock"  # not in the bundle, whose path is longer than a socket's may be
    reader, writer = os.pipe()
    errors = os.memfd_create("slirp4netns", os.MFD_CLOEXEC)
    argv = [program, *own, "-c", "-r", str(writer), "--api-socket", socket_path, "--netns-type=path", netns, "tap0"]
    try:
        pid = spawn(argv, stdout=errors, stderr=errors, keep=[writer], session=True)
        os.close(writer)
        writer = -1
        ready = _readable(reader, _SLIRP_SECONDS) and os.read(reader, 1)
        if not ready:
            os.lseek(errors, 0, os.SEEK_SET)
            lines = [line for line in os.read(errors, 4000).decode("utf-8", "replace").splitlines() if "ail" in line]
            raise RuntimeFailed(f"slirp4netns failed: {lines[-1] if lines else 'no message'}")
    finally:
        for fd in (reader, writer, errors):
            if fd >= 0:
                os.close(fd)
    with open(f"{folder}/pasta.pid", "w") as file:
        file.write(str(pid))
    for port in ports:
        _slirp_forward(socket_path, port)
    return Link(SLIRP_DNS, SLIRP_HOST, SLIRP_OWN)


def _readable(fd: int, seconds: float) -> bool:
    import select

    poller = select.poll()
    poller.register(fd, select.POLLIN | select.POLLHUP)
    return bool(poller.poll(seconds * 1000))


def _slirp_forward(path: str, port: dict[str, Any]) -> None:
    import json
    import socket

    for offset in range(port["range"]):
        request = {
            "execute": "add_hostfwd",
            "arguments": {
                "proto": port["protocol"], "host_addr": port["host_ip"] or "0.0.0.0", "host_port": port["host_port"] + offset,
                "guest_addr": SLIRP_OWN, "guest_port": port["container_port"] + offset,
            },
        }  # fmt: skip
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(_SLIRP_SECONDS)
            sock.connect(path)
            sock.sendall(json.dumps(request).encode())
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := sock.recv(4096):
                answer += piece
        if b'"error"' in answer:
            text = json.loads(answer)["error"].get("desc", "no reason given")
            raise PortInUse(f"slirp4netns: port {port['host_port'] + offset}: {text}")


def stop(folder: str, netns: str) -> None:
    """End the process that serves the namespace at `netns`; nothing when it has ended."""
    try:
        with open(f"{folder}/pasta.pid") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            words = command.read()
    except (OSError, ValueError):
        return
    if os.fsencode(netns) not in words:  # another process has the number now
        return
    started = start_time(pid)
    try:
        os.kill(pid, 15)
        for _ in range(100):
            if start_time(pid) != started:
                return
            time.sleep(0.002)
        os.kill(pid, 9)
    except ProcessLookupError:
        pass
