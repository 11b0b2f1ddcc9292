"""A store of its own for each test process, real conmon, crun and netavark under it, and nothing left at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import flags

IMAGE = "localhost/busybox"


class Podling:
    """Runs the command line against one store, as a user would."""

    def __init__(self, root: str, driver: str = "") -> None:
        self.root = root
        self.flags = [f"--root={root}/root", f"--runroot={root}/run"]
        if driver:
            self.flags.append(f"--storage-driver={driver}")
        self._started: list[subprocess.Popen[bytes]] = []
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("CONTAINERS_", "REGISTRY_"))}

    def argv(self, *args: str) -> list[str]:
        flags.note([*args])
        return [sys.executable, "-m", "podling", *self.flags, *args]

    def __call__(
        self, *args: str, input: bytes | None = None, timeout: float = 60, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its exit code."""
        done = subprocess.run(
            self.argv(*args), input=input, capture_output=True, timeout=timeout, env={**self.env, **(env or {})},
            stdin=None if input is not None else subprocess.DEVNULL,
        )  # fmt: skip
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        )

    def ok(self, *args: str, input: bytes | None = None, timeout: float = 60) -> str:
        """Run a command that must succeed; its output without the last newline."""
        done = self(*args, input=input, timeout=timeout)
        assert done.returncode == 0, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.rstrip("\n")

    def fails(self, code: int, *args: str, input: bytes | None = None) -> str:
        """Run a command that must end with `code` and one line of error; that line."""
        done = self(*args, input=input)
        assert done.returncode == code, f"{args}: {done.returncode} instead of {code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("Error: ") or "\nError: " in done.stderr, done.stderr
        return done.stderr

    def background(self, *args: str) -> subprocess.Popen[bytes]:
        """Start a command and go on; what still runs at the end of the test is killed."""
        process = subprocess.Popen(
            self.argv(*args), env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._started.append(process)
        return process

    def end_background(self) -> None:
        while self._started:
            process = self._started.pop()
            process.kill()
            process.communicate()

    # -- what is left behind
    def mounts(self) -> list[str]:
        with open("/proc/self/mountinfo") as file:
            return [line.split()[4] for line in file if self.root in line]

    def folders(self) -> dict[str, list[str]]:
        """Everything in the store that belongs to containers and half-made layers."""
        root = Path(self.root)
        layers = [
            path.name for driver in ("overlay", "vfs") for path in sorted((root / "root" / driver).glob("[0-9]*"))
        ]
        bundles = [path.name for path in sorted((root / "run" / "containers").glob("*"))]
        logs = [path.name for path in sorted((root / "root" / "containers").glob("*"))]
        return {"layers": layers, "bundles": bundles, "logs": logs}

    def conmons(self) -> list[int]:
        return [pid for pid, command in processes() if "conmon" in command and self.root in command]


def processes() -> Iterator[tuple[int, str]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    yield int(name), file.read().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that happens in the background."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _make_store(driver: str = "") -> Iterator[Podling]:
    folder = tempfile.mkdtemp(prefix="podling-test-", dir=os.environ.get("PODLING_TEST_DIR", "/var/tmp"))
    engine = Podling(folder, driver)
    try:
        yield engine
    finally:
        engine.end_background()
        engine("pod", "rm", "-f", "-t", "0", "-a")
        engine("rm", "-f", "-t", "0", "-a")
        for pid in engine.conmons():
            os.kill(pid, signal.SIGKILL)
        for target in sorted(engine.mounts(), reverse=True):
            subprocess.run(["umount", "-l", target], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def session_store() -> Iterator[Podling]:
    for engine in _make_store():
        engine.ok("pull", "-q", IMAGE)
        yield engine


@pytest.fixture
def podling(session_store: Podling) -> Iterator[Podling]:
    """The worker's store. After each test no container, mount, bundle or layer of one may be left."""
    before = session_store.folders()["layers"]
    yield session_store
    session_store.end_background()
    if session_store.ok("pod", "ps", "-q"):
        session_store.ok("pod", "rm", "-f", "-t", "0", "-a")
    session_store("rm", "-f", "-t", "0", "-a")
    assert session_store.mounts() == []
    eventually(lambda: session_store.folders()["bundles"] == [])
    left = session_store.folders()
    assert left["logs"] == []
    known = session_store.ok("images", "-aq").split()
    assert len(left["layers"]) <= max(len(before), len(known) * 8)


@pytest.fixture
def fresh() -> Iterator[Podling]:
    """An empty store for one test."""
    yield from _make_store()


@pytest.fixture(params=["overlay", "vfs"])
def any_driver(request: pytest.FixtureRequest) -> Iterator[Podling]:
    """An empty store, once with each driver."""
    yield from _make_store(request.param)


@contextlib.contextmanager
def with_backend(podling: Podling, name: str) -> Iterator[None]:
    """The store, with this network back end."""
    flag = f"--network-backend={name}"
    podling.flags.append(flag)
    try:
        yield
    finally:
        podling.flags.remove(flag)
