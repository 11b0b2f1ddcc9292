#!/usr/bin/env python3
"""Podling beside podman, in one run on one machine: A B A B …, medians, and the ratio of each pair.

    sudo bench/bench.py --podling .venv/bin/podling --podman /usr/bin/podman [--only run,ps1000] [--rounds 10] [--work DIR]
                        [--user NAME]

Each engine has a store of its own below the work folder. Ratios are taken pair by pair, so slow drift of the machine cancels
out. Install podling into a virtual environment first (`make install`): a checkout without byte code is slower. Both engines
print into /dev/null. `pull` needs Debian's docker-registry, `port4g` and `between4g` iperf3. Needs root; only the standard library is used.

With `--user` both run as that user, who needs subordinate ids: the rows are then those of ROOTLESS.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import http.client
import io
import json
import os
import pwd
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

IMAGE = "localhost/bench:latest"
NONE = "--network=none"


class Engine:
    """One engine with its own store."""

    def __init__(self, name: str, program: str, work: Path, user: str = "") -> None:
        self.name, self.program = name, program
        self.folder = work / name
        self.folder.mkdir()
        self.env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        self.env["CONTAINERS_CONF"] = str(work / "containers.conf")
        self._as: list[str] = []
        if user:
            entry = pwd.getpwnam(user)
            for place in (self.folder, self.folder / "home", self.folder / "user"):
                place.mkdir(mode=0o700, exist_ok=True)
                os.chown(place, entry.pw_uid, entry.pw_gid)
            self.env.update(HOME=str(self.folder / "home"), XDG_RUNTIME_DIR=str(self.folder / "user"), USER=user)
            self._as = ["setpriv", f"--reuid={user}", f"--regid={entry.pw_gid}", "--clear-groups", "env", "-C", "/"]

    def argv(self, args: tuple[str, ...], store: str = "main") -> list[str]:
        folder = self.folder / store
        flags = [f"--root={folder}/root", f"--runroot={folder}/run", f"--tmpdir={folder}/tmp"]
        return [*self._as, self.program, *flags, *args]

    def run(self, *args: str, store: str = "main", check: bool = True, stdin: bytes = b"") -> float:
        """Milliseconds that a command took."""
        argv = self.argv(args, store)
        start = time.perf_counter()
        done = subprocess.run(argv, input=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.env)
        spent = (time.perf_counter() - start) * 1000
        if check and done.returncode:
            sys.exit(f"{' '.join(argv)}: {done.stderr.decode(errors='replace')}")
        return spent

    def output(self, *args: str, store: str = "main") -> str:
        return subprocess.run(
            self.argv(args, store), check=True, capture_output=True, text=True, env=self.env
        ).stdout.strip()


def containers_conf(path: Path) -> None:
    """podman raises limits that a machine without CAP_SYS_RESOURCE cannot raise; give it those that there are."""
    path.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n')


def rootfs() -> bytes:
    """A tar with the static busybox of this machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        out.add("/bin/busybox", "bin/busybox")
        for name in ("sh", "true", "sleep", "cat", "ls", "yes", "head"):
            info = tarfile.TarInfo(f"bin/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            out.addfile(info)
    return buffer.getvalue()


# -- an image to pull
def big_layers(work: Path, count: int, total: int) -> list[bytes]:
    """Three gzip layers with `count` files of about `total` bytes, half of it random."""
    generator = random.Random(1)
    layers = []
    for part in range(3):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as out:
            for number in range(count // 3):
                size = int(total / count * generator.uniform(0.1, 1.9))
                data = generator.randbytes(size // 2) + b"text " * (size // 10)
                info = tarfile.TarInfo(f"data/{part}/{number % 97}/{number}")
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
        layers.append(buffer.getvalue())
    return layers


def many_layers(count: int) -> list[bytes]:
    """Small layers of a few files each."""
    generator = random.Random(2)
    layers = []
    for part in range(count):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as out:
            for number in range(5):
                data = generator.randbytes(20_000) + b"text " * 4_000
                info = tarfile.TarInfo(f"data/{part}/{number}")
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
        layers.append(buffer.getvalue())
    return layers


@contextmanager
def registry(work: Path, name: str, *images: str) -> Iterator[str]:
    """docker-registry on loopback with those of the images `big` and `layers` that are named; its host and port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    config = work / f"{name}.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {work}/{name}}}}}\n"
        f"http: {{addr: 127.0.0.1:{port}}}\n"
    )
    process = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        if "big" in images:
            push(port, "big", big_layers(work, 15_000, 300_000_000))
        if "layers" in images:
            push(port, "layers", many_layers(61))
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def push(port: int, repository: str, tars: list[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def call(method: str, path: str, body: bytes, kind: str = "application/octet-stream") -> str:
        connection.request(method, path, body=body, headers={"Content-Type": kind})
        answer = connection.getresponse()
        answer.read()
        return answer.getheader("Location") or ""

    def blob(data: bytes) -> dict[str, object]:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        location = call("POST", f"/v2/{repository}/blobs/uploads/", b"")
        path = location[location.index("/v2/") :]
        call("PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}", data)
        return {"digest": digest, "size": len(data)}

    kind = "application/vnd.oci.image"
    ids = ["sha256:" + hashlib.sha256(tar).hexdigest() for tar in tars]
    config = {"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": ids}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "layers": [{"mediaType": f"{kind}.layer.v1.tar+gzip", **blob(gzip.compress(tar, 6))} for tar in tars],
        "config": {"mediaType": f"{kind}.config.v1+json", **blob(json.dumps(config).encode())},
    }
    call("PUT", f"/v2/{repository}/manifests/latest", json.dumps(manifest).encode(), f"{kind}.manifest.v1+json")


# -- the rows
Row = Callable[[Engine], float]


def start(engine: Engine) -> float:
    seconds = engine.run("start", "bench-stop")
    engine.run("stop", "-t", "0", "bench-stop")
    return seconds


def stop(engine: Engine) -> float:
    engine.run("start", "bench-stop")
    return engine.run("stop", "-t", "0", "bench-stop")


def copy_in(engine: Engine) -> float:
    """cp of 200 MB into a running container."""
    source = engine.folder.parent / "copied.bin"
    if not source.exists():
        source.write_bytes(os.urandom(1 << 20) * 200)
    return engine.run("cp", str(source), "bench-up:/copied.bin")


def read_log(engine: Engine) -> float:
    """logs of 100 MB, written once."""
    if "bench-log" not in engine.output("ps", "-a", "--format", "{{.Names}}").split():
        command = f"yes {'x' * 99} | head -c 100000000"
        engine.run("run", "--name", "bench-log", NONE, IMAGE, "sh", "-c", command)
    return engine.run("logs", "bench-log")


def run_and_remove(engine: Engine) -> float:
    spent = engine.run("run", "-d", "--name", "bench-d", NONE, IMAGE, "sleep", "1000")
    return spent + engine.run("rm", "-f", "-t", "0", "bench-d")


def twenty_at_once(engine: Engine) -> float:
    """20 containers on the default bridge, started at the same time."""
    names = [f"bench-p{number}" for number in range(20)]
    command = " ".join(engine.argv(("run", "-d", "--name", '"$name"', IMAGE, "sleep", "1000"), "main"))
    script = f"for name in {' '.join(names)}; do {command} >/dev/null & done; wait"
    begin = time.monotonic()
    subprocess.run(["/bin/sh", "-c", script], env=engine.env, check=True)
    spent = (time.monotonic() - begin) * 1000
    engine.run("rm", "-f", "-t", "0", *names)
    return spent


def by_netavark(engine: Engine) -> float:
    """`run` on the bridge, with netavark on both sides."""
    chosen = ("--network-backend=netavark",) if engine.name == "podling" else ()
    return engine.run(*chosen, "run", "--rm", IMAGE, "true")


def _iperf(engine: Engine, *server: str) -> str:
    """A container that waits for iperf3 with the host's program and libraries; its address."""
    mounts = [
        word for path in ("/usr", "/lib", "/lib64") if os.path.isdir(path) for word in ("-v", f"{path}:{path}:ro")
    ]
    engine.run(
        "run",
        "-d",
        "--replace",
        "--name",
        "bench-iperf",
        "--tmpfs",
        "/tmp",
        *server,
        *mounts,
        IMAGE,
        "/usr/bin/iperf3",
        "-s",
    )
    time.sleep(0.5)
    return engine.output("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "bench-iperf")


def through_port(engine: Engine) -> float:
    """4 GiB through a published port."""
    _iperf(engine, "-p", "15201:5201")
    begin = time.perf_counter()
    subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", "15201", "-n", "4G"], check=True, capture_output=True)
    spent = (time.perf_counter() - begin) * 1000
    engine.run("rm", "-f", "-t", "0", "bench-iperf")
    return spent


def between_two(engine: Engine) -> float:
    """4 GiB from one container to another."""
    address = _iperf(engine)
    mounts = [
        word for path in ("/usr", "/lib", "/lib64") if os.path.isdir(path) for word in ("-v", f"{path}:{path}:ro")
    ]
    spent = engine.run("run", "--rm", "--tmpfs", "/tmp", *mounts, IMAGE, "/usr/bin/iperf3", "-c", address, "-n", "4G")
    engine.run("rm", "-f", "-t", "0", "bench-iperf")
    return spent


def many_ports(engine: Engine) -> float:
    """One container with 500 published ports."""
    spent = engine.run("run", "-d", "--name", "bench-w", "-p", "21000-21499:1000-1499", IMAGE, "sleep", "1000")
    engine.run("rm", "-f", "-t", "0", "bench-w")
    return spent


def pods(engine: Engine) -> float:
    """A pod with two members, made and removed."""
    spent = engine.run("pod", "create", "--name", "bench-pod")
    for _ in range(2):
        spent += engine.run("run", "-d", "--pod", "bench-pod", IMAGE, "sleep", "1000")
    return spent + engine.run("pod", "rm", "-f", "-t", "0", "bench-pod")


def build(*flags: str) -> Row:
    """A build of two COPY and three RUN."""

    def row(engine: Engine) -> float:
        context = engine.folder / "context"
        if not context.exists():
            context.mkdir()
            (context / "file").write_text("x\n")
            steps = "COPY file /one\nRUN echo a > /a\nENV A=b\nCOPY file /two\nRUN echo b > /b\nRUN cat /a /b > /c\n"
            (context / "Containerfile").write_text(f"FROM {IMAGE}\n{steps}")
        return engine.run("build", "-q", "-t", "bench-built", NONE, *flags, str(context))

    return row


def volume(engine: Engine) -> float:
    spent = engine.run("volume", "create", "bench-volume")
    engine.run("volume", "rm", "bench-volume")
    return spent


def memory(engine: Engine) -> float:
    """KiB of memory of its own (USS) that stays per running container: conmon's."""
    for number in range(5):
        engine.run("run", "-d", "--replace", "--name", f"bench-m{number}", NONE, IMAGE, "sleep", "100000")
    total = 0
    for name in os.listdir("/proc"):
        try:
            command = Path("/proc", name, "cmdline").read_bytes()
            if name.isdigit() and b"conmon" in command.split(b"\0")[0] and str(engine.folder).encode() in command:
                total += sum(
                    int(line.split()[1])
                    for line in Path("/proc", name, "smaps_rollup").read_text().splitlines()
                    if line.startswith("Private_")
                )
        except (OSError, IndexError):
            continue
    return total / max(len(engine.output("ps", "-q").split()), 1)


def rows(work: Path, source: str = "", target: str = "") -> dict[str, tuple[str, int, Row]]:
    """Name: title, rounds, function. `source` and `target` are registries; the second is emptied for each push."""

    def command(*args: str, store: str = "main") -> Row:
        return lambda engine: engine.run(*args, store=store)

    def pull(name: str) -> Row:
        def row(engine: Engine) -> float:
            engine.run("rmi", "-f", f"{source}/{name}", check=False)
            return engine.run("pull", "-q", "--tls-verify=false", f"{source}/{name}")

        return row

    def send(engine: Engine) -> float:
        shutil.rmtree(work / "target", ignore_errors=True)
        engine.run("pull", "-q", "--tls-verify=false", f"{source}/big")
        return engine.run("push", "-q", "--tls-verify=false", f"{source}/big", f"{target}/big")

    def save(engine: Engine) -> float:
        engine.run("pull", "-q", "--tls-verify=false", f"{source}/big")
        (work / "saved.tar").unlink(missing_ok=True)
        return engine.run("save", "-q", "-o", str(work / "saved.tar"), f"{source}/big")

    def load(engine: Engine) -> float:
        if not (work / "saved.tar").exists():
            save(engine)
        engine.run("rmi", "-f", f"{source}/big", check=False)
        return engine.run("load", "-q", "-i", str(work / "saved.tar"))

    return {
        "version": ("--version", 20, command("--version")),
        "ps0": ("ps -a, 0 containers", 15, command("ps", "-a", store="empty")),
        "ps100": ("ps -a, 100 containers", 10, command("ps", "-a", store="hundred")),
        "ps1000": ("ps -a, 1000 containers", 7, command("ps", "-a", store="thousand")),
        "images": ("images", 15, command("images")),
        "inspect": ("inspect CONTAINER", 15, command("inspect", "bench-up")),
        "run": ("run --rm --network=none IMAGE true", 15, command("run", "--rm", NONE, IMAGE, "true")),
        "run-bridge": ("run --rm IMAGE true", 10, command("run", "--rm", IMAGE, "true")),
        "run-netavark": ("run --rm IMAGE true, netavark", 8, by_netavark),
        "port4g": ("4 GiB through a published port", 3, through_port),
        "between4g": ("4 GiB between two containers", 3, between_two),
        "par20": ("20 x run -d at once (bridge)", 3, twenty_at_once),
        "ports500": ("run -d with 500 ports", 3, many_ports),
        "run-d": ("run -d + rm -f", 10, run_and_remove),
        "exec": ("exec C true", 15, command("exec", "bench-up", "true")),
        "start": ("start C", 10, start),
        "stop": ("stop -t0 C", 10, stop),
        "cp": ("cp of 200 MB into a container", 4, copy_in),
        "logs": ("logs of 100 MB", 3, read_log),
        "stats50": ("stats --no-stream, 50 containers", 7, command("stats", "--no-stream", store="fifty")),
        "images300": ("images, 300 images", 7, command("images", store="images")),
        "df300": ("system df, 300 images, 300 containers", 3, command("system", "df", store="images")),
        "pods": ("pod create, 2 x run --pod, pod rm -f", 4, pods),
        "volume": ("volume create", 10, volume),
        "build": ("build --no-cache, 2 COPY, 3 RUN", 4, build("--no-cache", "--layers")),
        "build-kept": ("build, all steps kept", 5, build("--layers")),
        "pull": ("pull 300 MB, 15,000 files", 3, pull("big")),
        "pull61": ("pull 61 layers", 3, pull("layers")),
        "push": ("push 300 MB, 15,000 files", 3, send),
        "save": ("save 300 MB", 3, save),
        "load": ("load 300 MB", 3, load),
        "memory": ("memory per running container, KiB", 1, memory),
    }


STORES = {"empty": 0, "hundred": 100, "thousand": 1000, "images": 0, "fifty": 0}
ROWS = {
    "empty": {"ps0"}, "hundred": {"ps100"}, "thousand": {"ps1000"}, "images": {"images300", "df300"}, "fifty": {"stats50"},
}  # fmt: skip
#: what a user can do without a bridge
ROOTLESS = ("version", "ps0", "ps100", "inspect", "run", "run-bridge", "run-d", "exec", "start", "stop", "volume")
REGISTRY_ROWS = {"pull", "pull61", "push", "save", "load"}


def prepare(engine: Engine, wanted: set[str], tar: bytes) -> None:
    engine.run("import", "-", IMAGE, stdin=tar)
    engine.run("run", "-d", "--name", "bench-up", NONE, IMAGE, "sleep", "100000")
    engine.run("create", "--name", "bench-stop", NONE, IMAGE, "sleep", "100000")
    for store, count in STORES.items():
        if not ROWS[store] & wanted:
            continue
        engine.run("import", "-", IMAGE, store=store, stdin=tar)
        for _ in range(count):
            engine.run("create", NONE, IMAGE, "true", store=store)
        for _ in range(50 if store == "fifty" else 0):
            engine.run("run", "-d", NONE, IMAGE, "sleep", "100000", store=store)
        for number in range(300 if store == "images" else 0):
            engine.run("import", "-c", f"LABEL n={number}", "-", f"localhost/image{number}:1", store=store, stdin=tar)
            if "df300" in wanted:
                engine.run("create", NONE, f"localhost/image{number}:1", "true", store=store)


def clean(engine: Engine) -> None:
    for store in ("main", *STORES):
        if (engine.folder / store).exists():
            engine.run("rm", "-f", "-t", "0", "-a", store=store, check=False)
    for target in sorted(
        (line.split()[4] for line in open("/proc/self/mountinfo") if str(engine.folder) in line), reverse=True
    ):
        subprocess.run(["umount", "-l", target])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--podling", default=".venv/bin/podling")
    parser.add_argument("--podman", default="/usr/bin/podman")
    parser.add_argument("--only", default="", help="names of rows, with commas")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument(
        "--work", default="/var/tmp", help="where the stores are made; a tmpfs leaves the disk out of it"
    )
    parser.add_argument("--user", default="", help="who runs the engines")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="podling-bench-", dir=options.work))
    containers_conf(work / "containers.conf")
    work.chmod(0o755)
    programs = {"podman": options.podman, "podling": os.path.abspath(options.podling)}
    engines = [Engine(name, program, work, options.user) for name, program in programs.items()]
    try:
        usual = (
            ROOTLESS if options.user else [name for name in rows(work) if "4g" not in name or shutil.which("iperf3")]
        )
        wanted = set(options.only.split(",") if options.only else usual)
        tar = rootfs()
        for engine in engines:
            prepare(engine, wanted, tar)
        if wanted & REGISTRY_ROWS:
            images = [name for name in ("big", "layers") if name == "big" or "pull61" in wanted]
            with registry(work, "source", *images) as source, registry(work, "target") as target:
                measure(engines, rows(work, source, target), wanted, options.rounds)
        else:
            measure(engines, rows(work), wanted, options.rounds)
    finally:
        for engine in engines:
            clean(engine)
            if options.user:
                subprocess.run(["pkill", "-KILL", "-u", options.user], check=False)
        shutil.rmtree(work, ignore_errors=True)


def measure(engines: list[Engine], table: dict[str, tuple[str, int, Row]], wanted: set[str], rounds: int) -> None:
    versions = [engine.output("--version") for engine in engines]
    print(
        f"{' / '.join(versions)}; {os.cpu_count()} CPUs, kernel {os.uname().release}; medians in ms, ratio podling/podman (min-max)"
    )
    for name, (title, own, row) in table.items():
        if name not in wanted:
            continue
        for engine in engines:
            row(engine)  # the first one pays for cold caches
        pairs = [[row(engine) for engine in engines] for _ in range(rounds or own)]
        base, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = [pair[1] / pair[0] for pair in pairs]
        print(
            f"{title:<36} {base:9.1f} {ours:9.1f}   {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
