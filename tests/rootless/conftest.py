"""Unprivileged users of the test's own, with a home, a run-time folder and subordinate ids, who run the command line as people do."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import flags
from tests.integration.conftest import Podling, processes

IMAGE = "localhost/busybox"


def confined() -> bool:
    """Whether AppArmor confines programs of this host, pasta among them."""
    try:
        return Path("/sys/module/apparmor/parameters/enabled").read_text().startswith("Y")
    except OSError:
        return False


def homes() -> str:
    """Where users of the tests have their folders: pasta may write in homes alone where it is confined."""
    return "/home" if confined() else "/var/tmp"


class User(Podling):
    """A user of this host, and their podling."""

    def __init__(self, name: str, folder: Path, python: str, path: str) -> None:
        super().__init__(str(folder))
        self.flags = []
        self.name = name
        self.uid, self.gid = pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid
        self.home, self.runtime = folder / "home", folder / "run"
        if confined():  # pasta may open namespaces there alone
            self.runtime = Path(f"/run/user/{self.uid}")
            shutil.rmtree(self.runtime, ignore_errors=True)
            self.runtime.parent.mkdir(exist_ok=True)
        for place in (self.home, self.runtime):
            place.mkdir(mode=0o700)
            os.chown(place, self.uid, self.gid)
        self._python = python
        self.env = {
            "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.runtime), "USER": name, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8",
        }  # fmt: skip

    def argv(self, *args: str) -> list[str]:
        flags.note([*args])
        return self.command(self._python, "-m", "podling", *self.flags, *args)

    def command(self, *argv: str) -> list[str]:
        """Any program, run as this user with no group but its own."""
        ids = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        return ["setpriv", *ids, "env", "-C", str(self.home), *argv]

    @property
    def namespace(self) -> int:
        """The pid of the pause process; 0 when there is none."""
        try:
            return int((self.runtime / "podling" / "pause.pid").read_text().split()[0])
        except FileNotFoundError:
            return 0

    def processes(self) -> list[str]:
        """The command lines of all that this user runs."""
        found = []
        for pid, command in processes():
            try:
                if os.stat(f"/proc/{pid}").st_uid == self.uid:
                    found.append(command)
            except OSError:
                continue
        return found


@pytest.fixture(scope="session")
def shared_package() -> Iterator[tuple[str, str]]:
    """(an interpreter that every user may run, PYTHONPATH with podling and what it needs): the checkout may be root's alone."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = next(
        (path for path in (f"/usr/bin/{version}", f"/usr/local/bin/{version}") if os.access(path, os.X_OK)), ""
    )
    if not python:
        pytest.skip(f"{version} is not installed where other users can run it")
    folder = Path(tempfile.mkdtemp(prefix="podling-package-", dir="/var/tmp"))
    try:
        source = Path(__file__).parents[2] / "src" / "podling"
        ignore = shutil.ignore_patterns("__pycache__", "pip*", "mypy*", "ruff*", "_pytest", "setuptools*", "podling*")
        shutil.copytree(sysconfig.get_path("purelib"), folder / "site", ignore=ignore)
        shutil.copytree(source, folder / "site" / "podling", ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
        yield python, str(folder / "site")
    finally:
        shutil.rmtree(folder)


def _add_user(name: str, *, subordinate: bool = True) -> None:
    try:
        pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", "--user-group", name], check=True)
    number = int("".join(filter(str.isdigit, name.rpartition("-")[2])) or 0) if subordinate else 0
    for path in ("/etc/subuid", "/etc/subgid"):
        text = Path(path).read_text() if os.path.exists(path) else ""
        if subordinate and f"{name}:" not in text:
            with open(path, "a") as file:
                file.write(f"{name}:{1_000_000 + 65536 * number}:65536\n")


def _end(user: User) -> None:
    user.end_background()
    user("rm", "-f", "-t", "0", "-a")
    user("system", "reset", "--force")
    subprocess.run(["pkill", "-KILL", "-u", str(user.uid)], check=False)


@pytest.fixture(scope="session")
def session_user(shared_package: tuple[str, str], worker_id: str) -> Iterator[User]:
    name = f"podling-{worker_id}"
    _add_user(name)
    folder = Path(tempfile.mkdtemp(prefix="podling-user-", dir=homes()))
    folder.chmod(0o755)
    user = User(name, folder, *shared_package)
    try:
        user.ok("pull", "-q", IMAGE)
        yield user
    finally:
        _end(user)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["userdel", name], check=False, capture_output=True)


@pytest.fixture
def user(session_user: User) -> Iterator[User]:
    """A user with an image. After each test no container, and no program that served one, may be left."""
    yield session_user
    session_user.end_background()
    session_user("rm", "-f", "-t", "0", "-a")
    left = [
        command
        for command in session_user.processes()
        if "catatonit" not in command and "sleep infinity" not in command
    ]
    assert not [command for command in left if "conmon" in command or "pasta" in command or "slirp" in command]


@pytest.fixture
def stranger(shared_package: tuple[str, str], worker_id: str) -> Iterator[User]:
    """A user with neither subordinate ids nor anything else."""
    name = f"podlingbare-{worker_id}"
    _add_user(name, subordinate=False)
    folder = Path(tempfile.mkdtemp(prefix="podling-user-", dir=homes()))
    folder.chmod(0o755)
    person = User(name, folder, *shared_package)
    try:
        yield person
    finally:
        _end(person)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["userdel", name], check=False, capture_output=True)
