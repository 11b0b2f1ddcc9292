#!/usr/bin/env python3
"""The REST API of Podling beside Podman's: A B A B …, medians, and the ratio of each pair.

    sudo bench/api.py --podling .venv/bin/podling --podman /usr/bin/podman [--rounds 30] [--only ping,life]

Each engine serves a store of its own below a work folder. Without --podman the figures stand alone. Needs root; only the standard
library is used.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import IMAGE, Engine, containers_conf, rootfs


class Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("d", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class Service:
    """A service with one kept connection."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.path = str(engine.folder / "api.sock")
        argv = engine.argv(("system", "service", "-t", "0", f"unix://{self.path}"))
        self.process = subprocess.Popen(argv, env=engine.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.connection = Connection(self.path)
                self("GET", "/_ping")
                return
            except OSError:
                if time.monotonic() > deadline:
                    sys.exit(f"{engine.name}: the service does not come up")
                time.sleep(0.05)

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body)
        self.connection.request(method, path, data, {"Content-Type": "application/json"} if body is not None else {})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            sys.exit(f"{self.engine.name}: {method} {path}: {answer.status} {text[:300]!r}")
        return (
            json.loads(text)
            if text[:1] in (b"{", b"[") and answer.headers.get("Content-Type", "").startswith("application/json")
            else text
        )

    def create(self, *command: str) -> str:
        spec = {"Image": IMAGE, "Cmd": list(command), "HostConfig": {"NetworkMode": "none"}}
        id: str = self("POST", "/v1.40/containers/create", spec)["Id"]
        return id

    def rss(self) -> int:
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * 4096

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.wait()


def life(service: Service) -> None:
    id = service.create("true")
    service("POST", f"/v1.40/containers/{id}/start")
    service("POST", f"/v1.40/containers/{id}/wait")
    service("DELETE", f"/v1.40/containers/{id}")


def execute(service: Service) -> None:
    session = service("POST", "/v1.40/containers/running/exec", {"Cmd": ["true"], "AttachStdout": True})["Id"]
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(service.path)
    body = b'{"Detach": false}'
    head = f"POST /v1.40/exec/{session}/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    sock.sendall(head.encode() + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + body)
    while sock.recv(4096):
        pass
    sock.close()
    service("GET", f"/v1.40/exec/{session}/json")


CASES: dict[str, tuple[Callable[[Service], Any], int]] = {
    "ping": (lambda service: service("GET", "/_ping"), 0),
    "list0": (lambda service: service("GET", "/v1.40/containers/json?all=1"), 0),
    "life": (life, 0),
    "exec": (execute, 1),
    "inspect": (lambda service: service("GET", "/v1.40/containers/running/json"), 1),
    "images": (lambda service: service("GET", "/v1.40/images/json"), 1),
    "list100": (lambda service: service("GET", "/v1.40/containers/json?all=1"), 100),
    "list1000": (lambda service: service("GET", "/v1.40/containers/json?all=1"), 1000),
}


def load(service: Service, clients: int, seconds: float) -> tuple[float, float]:
    """(requests a second of the list by several clients at once, the slowest in ms)."""
    done: list[float] = []
    end = time.monotonic() + seconds

    def client() -> None:
        connection = Connection(service.path)
        while time.monotonic() < end:
            begun = time.perf_counter()
            connection.request("GET", "/v1.40/containers/json?all=1")
            connection.getresponse().read()
            done.append(time.perf_counter() - begun)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done) / seconds, max(done) * 1000


def streams(service: Service, clients: int) -> tuple[float, float]:
    """(median of a ping in ms, lines a second and client) while so many clients follow one log of 20 lines a second."""
    spec = {
        "Image": IMAGE,
        "Cmd": ["sh", "-c", "while :; do echo line; sleep 0.05; done"],
        "HostConfig": {"NetworkMode": "none"},
    }
    service("POST", "/v1.40/containers/create?name=talk", spec)
    service("POST", "/v1.40/containers/talk/start")
    sockets = []
    for _ in range(clients):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(service.path)
        sock.sendall(b"GET /v1.40/containers/talk/logs?follow=1&stdout=1&tail=0 HTTP/1.1\r\nHost: d\r\n\r\n")
        sock.setblocking(False)
        sockets.append(sock)
    time.sleep(1)
    got, begun, pings = 0, time.monotonic(), []
    while time.monotonic() - begun < 5:
        for sock in sockets:
            try:
                got += sock.recv(1 << 20).count(b"line")
            except BlockingIOError:
                pass
        first = time.perf_counter()
        service("GET", "/_ping")
        pings.append((time.perf_counter() - first) * 1000)
        time.sleep(0.05)
    for sock in sockets:
        sock.close()
    service("DELETE", "/v1.40/containers/talk?force=1")
    return statistics.median(pings), round(got / clients / 5, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--podling", required=True)
    parser.add_argument("--podman", default="")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", default=",".join([*CASES, "load", "streams"]))
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="podling-bench-", dir="/var/tmp"))
    containers_conf(work / "containers.conf")
    engines = [Engine("podling", arguments.podling, work)]
    engines += [Engine("podman", arguments.podman, work)] if arguments.podman else []
    (work / "root.tar").write_bytes(rootfs())
    services = []
    try:
        for engine in engines:
            engine.run("import", str(work / "root.tar"), IMAGE)
            services.append(Service(engine))
        present = dict.fromkeys(services, 0)
        for name in arguments.only.split(","):
            if name in ("load", "streams"):
                continue
            case, containers = CASES[name]
            for service in services:
                while present[service] < containers:
                    if not present[service]:
                        spec = {"Image": IMAGE, "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
                        service("POST", "/v1.40/containers/create?name=running", spec)
                        service("POST", "/v1.40/containers/running/start")
                    else:
                        service.create("true")
                    present[service] += 1
                case(service)
            times: dict[Service, list[float]] = {service: [] for service in services}
            for _ in range(arguments.rounds):
                for service in services:
                    begun = time.perf_counter()
                    case(service)
                    times[service].append((time.perf_counter() - begun) * 1000)
            medians = [statistics.median(times[service]) for service in services]
            line = "  ".join(f"{s.engine.name} {m:8.2f} ms" for s, m in zip(services, medians, strict=True))
            if len(services) == 2:
                ratios = [a / b for a, b in zip(times[services[0]], times[services[1]], strict=True)]
                line += f"  ratio {statistics.median(ratios):.2f}"
            print(f"{name:10} {line}", flush=True)
        if "load" in arguments.only.split(","):
            for service in services:
                load(service, 8, 2.0)
                before = service.rss()
                rate, slowest = load(service, 8, 6.0)
                grown = (service.rss() - before) / 1e6
                print(
                    f"load       {service.engine.name}: {rate:.0f} lists/s of {present[service]} containers, slowest {slowest:.0f} ms, "
                    f"{rate * 6:.0f} requests grew it by {grown:.1f} MB"
                )
        if "streams" in arguments.only.split(","):
            for service in services:
                wait, lines = streams(service, 200)
                print(
                    f"streams    {service.engine.name}: 200 followers got {lines} lines/s each, a ping took {wait:.1f} ms"
                )
    finally:
        for service in services:
            service.stop()
        for engine in engines:
            engine.run("rm", "-f", "-t", "0", "-a", check=False)
        subprocess.run(["sh", "-c", f"grep -o '{work}[^ ]*' /proc/mounts | sort -r | xargs -r umount -l"], check=False)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
