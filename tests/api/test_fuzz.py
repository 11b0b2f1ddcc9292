"""Requests that make no sense: every route of our OpenAPI document, and bodies whose known fields hold anything."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Service, descriptors
from tests.integration.conftest import IMAGE, Podling, _make_store, eventually

#: those that stream or wait, that ask registries or other hosts, or that say 5xx by design
_LEFT_OUT = (
    r"(events|stats|wait|attach|attach/ws|images/scp.*|search|images/create|images/pull|/push|artifacts/pull|/auth|/podling/call|registry.*|top|build)$"
    r"|^/(swarm|services|nodes|tasks|configs)|^/distribution|^/secrets/.*/update|^/(grpc|session)"
)


@pytest.fixture
def apart() -> Iterator[Podling]:
    """A store that nothing else needs: the requests may remove all of it."""
    for store in _make_store():
        store.ok("pull", "-q", IMAGE)
        yield store


def test_every_route(apart: Podling, tmp_path: Path) -> None:
    tool = Path(sys.executable).parent / "schemathesis"
    if not tool.exists():
        pytest.skip("schemathesis is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = Service(apart, "", "-t", "0", address=f"tcp://127.0.0.1:{port}")
    try:
        url = f"http://127.0.0.1:{port}"

        def is_up() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually(is_up)
        done = subprocess.run(
            [
                str(tool), "run", f"{url}/libpod/swagger", "--url", url, "--checks", "not_a_server_error", "--phases", "fuzzing",
                "--max-examples", "6", "--request-timeout", "10", "--generation-deterministic", "--suppress-health-check", "all",
                "--exclude-path-regex", _LEFT_OUT, "--no-color",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[:6000]
    finally:
        service.stop()


_ODD: list[Any] = [
    None, True, 0, -1, 1, 1 << 70, 1.5, "", "x", "../..", "/", "\x00", "ü\U0001f600", "a" * 5000, [], [None], [[]], ["x"], [5], {}, {"": ""},
    {"x": None}, {"x": {"y": []}}, "host", "container:x", "80/tcp", "1.2.3.4", "300.0.0.1/99", "=", "a=b", ":", "a:b:c:d",
]  # fmt: skip
_DOCKER = (
    "Hostname Domainname User Tty OpenStdin Env Cmd Entrypoint Healthcheck Volumes WorkingDir MacAddress Labels StopSignal StopTimeout "
    "ExposedPorts NetworkDisabled NetworkingConfig HostConfig"
).split()
_HOST = (
    "Binds LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumesFrom CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch "
    "ExtraHosts GroupAdd IpcMode OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs SecurityOpt Tmpfs UTSMode UsernsMode "
    "ShmSize Sysctls CpuShares Memory NanoCpus CgroupParent BlkioWeight BlkioWeightDevice BlkioDeviceReadBps CpuPeriod CpuQuota CpusetCpus "
    "Devices DeviceCgroupRules DeviceRequests MemorySwap MemorySwappiness PidsLimit Ulimits Mounts MaskedPaths Init Annotations"
).split()
_LIBPOD = (
    "name command entrypoint env labels annotations stop_signal stop_timeout terminal stdin log_configuration restart_policy restart_tries "
    "pidns utsns ipcns netns userns cgroupns hostname sysctl remove timezone dependencyContainers privileged cap_add cap_drop "
    "no_new_privileges selinux_opts apparmor_profile seccomp_profile_path mask unmask user groups umask portmappings expose networks "
    "dns_server dns_search dns_option hostadd mounts volumes overlay_volumes image_volumes devices device_cgroup_rule shm_size work_dir "
    "volumes_from init resource_limits r_limits weightDevice throttleReadBpsDevice cgroup_parent cgroups_mode oom_score_adj healthconfig "
    "startupHealthConfig health_check_on_failure_action secrets secret_env timeout personality unified idmappings static_ip pod"
).split()


def test_bodies_of_create(apart: Podling) -> None:
    """Whatever a known field holds: created, or refused with a reason. Nothing is left of what was refused."""
    service = Service(apart, f"{apart.root}/fuzz.sock", "-t", "0")
    chance = random.Random(7)
    try:
        service("GET", "/_ping")
        before = descriptors(service.process.pid)
        created = 0
        for round in range(600):
            if round % 2:
                body: dict[str, Any] = {"Image": IMAGE, "HostConfig": {}}
                for name in chance.sample(_HOST, 1 + round % 3):
                    body["HostConfig"][name] = chance.choice(_ODD)
                if round % 5 == 0:
                    body[chance.choice(_DOCKER)] = chance.choice(_ODD)
                path = "/containers/create"
            else:
                body = {"image": IMAGE, **{name: chance.choice(_ODD) for name in chance.sample(_LIBPOD, 1 + round % 3)}}
                path = "/libpod/containers/create"
            answer = service("POST", path, body)
            assert answer.status in (201, 400, 404, 409, 501), (body, answer.body)
            assert "message" in answer.json or answer.status == 201
            created += answer.status == 201
        assert created > 20
        assert len(service("GET", "/libpod/containers/json?all=true").json) == created
        eventually(lambda: descriptors(service.process.pid) <= before + 40)  # the threads' connections to the database
        assert len(apart.folders()["layers"]) <= created + 8
    finally:
        service.stop()
