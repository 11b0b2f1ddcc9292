"""A user's own service: its clients get the user's world, and nobody else gets at it."""

from __future__ import annotations

import socket
import subprocess

import pytest

from tests.api.conftest import Service
from tests.rootless.conftest import IMAGE, User

pytestmark = pytest.mark.xdist_group("network")


def test_a_users_service(user: User) -> None:
    service = Service(user, f"{user.runtime}/podman/podman.sock", "-t", "0")
    try:
        info = service("GET", "/libpod/info").json
        assert info["host"]["security"]["rootless"] is True
        id = service(
            "POST",
            "/containers/create",
            {"Image": IMAGE, "Cmd": ["sh", "-c", "id -u; sleep 60"], "HostConfig": {"NetworkMode": "none"}},
        ).json["Id"]
        assert service("POST", f"/containers/{id}/start").status == 204
        assert service("POST", f"/containers/{id}/exec", {"Cmd": ["true"]}).status == 201
        # the command line without a service sees the same, and the other way round
        assert user.ok("ps", "-q", "--no-trunc") == id
        user.ok("run", "-d", "--name", "mine", IMAGE, "sleep", "60")  # with pasta
        names = [name for item in service("GET", "/containers/json").json for name in item["Names"]]
        assert "/mine" in names
        assert (
            user.ok("--remote", "ps", "--format", "{{.Names}}").split()[0] == "mine"
        )  # the user's own socket is the default
        assert user.ok("--remote", "run", "--rm", "--network=none", IMAGE, "id", "-u") == "0"
        assert service("DELETE", f"/containers/{id}?force=1").status == 204
    finally:
        service.stop()


def test_it_is_the_users_alone(user: User, stranger: User) -> None:
    service = Service(user, f"{user.runtime}/own.sock", "-t", "0")
    try:
        script = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({service.path!r})"
        done = subprocess.run(stranger.command("/usr/bin/python3", "-c", script), capture_output=True, text=True)
        assert done.returncode and "PermissionError" in done.stderr
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(service.path)  # root may
    finally:
        service.stop()
