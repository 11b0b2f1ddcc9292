"""containers.conf: what its keys do."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import IMAGE, Podling
from .registry import Registry

NONE = "--network=none"


@pytest.fixture
def conf(podling: Podling, tmp_path: Path) -> Callable[[str], None]:
    """Gives the store this file of settings."""
    path = tmp_path / "containers.conf"

    def write(text: str) -> None:
        path.write_text(text)
        podling.env["CONTAINERS_CONF"] = str(path)

    return write


@pytest.fixture(autouse=True)
def _without(podling: Podling) -> object:
    yield
    podling.env.pop("CONTAINERS_CONF", None)


def _inside(podling: Podling, script: str, *flags: str) -> str:
    return podling.ok("run", "--rm", NONE, *flags, IMAGE, "sh", "-c", script)


def test_environment_limits_and_times(podling: Podling, conf: Callable[[str], None]) -> None:
    conf(
        '[containers]\nenv = ["FROM=file", "OTHER=file"]\ndefault_ulimits = ["nofile=500:600"]\numask = "0027"\n'
        'shm_size = "3m"\ninit = true\noom_score_adj = 7\nread_only = true\nannotations = ["a=b"]\n'
    )
    assert _inside(podling, "echo $FROM $OTHER; ulimit -n; umask; df /dev/shm | tail -1 | cut -c 22-35", "-e", "OTHER=mine").split() == [
        "file", "mine", "500", "0027", "3072",
    ]  # fmt: skip
    assert _inside(podling, "ulimit -n", "--ulimit", "nofile=300:300") == "300"
    assert "podman-init" in _inside(podling, "cat /proc/1/cmdline")
    assert podling("run", "--rm", NONE, IMAGE, "touch", "/x").returncode
    podling.ok("create", "--name", "c", NONE, IMAGE)
    document = json.loads(podling.ok("inspect", "c"))[0]
    assert document["Config"]["Annotations"]["a"] == "b" and document["HostConfig"]["OomScoreAdj"] == 7


def test_namespaces_and_names(podling: Podling, conf: Callable[[str], None]) -> None:
    conf('[containers]\nnetns = "none"\nutsns = "host"\ncontainer_name_as_hostname = true\npidns = "host"\n')
    assert podling.ok("run", "--rm", IMAGE, "ls", "/sys/class/net") == "lo"
    assert podling.ok("run", "--rm", "--uts=private", "--name", "called", IMAGE, "hostname") == "called"
    assert int(podling.ok("run", "--rm", IMAGE, "sh", "-c", "echo $$")) > 1


def test_mounts_and_names_of_the_host(podling: Podling, conf: Callable[[str], None], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("shared")
    conf(
        f'[containers]\nvolumes = ["{tmp_path}:/from:ro"]\ndns_servers = ["192.0.2.7"]\ndns_searches = ["example.org"]\n'
        'host_containers_internal_ip = "192.0.2.9"\nlog_tag = "x"\n'
    )
    assert podling.ok("run", "--rm", "--network=podman", IMAGE, "cat", "/from/file") == "shared"
    text = podling.ok("run", "--rm", "--network=podman", IMAGE, "cat", "/etc/resolv.conf", "/etc/hosts")
    assert (
        "nameserver 192.0.2.7" in text
        and "search example.org" in text
        and "192.0.2.9\thost.containers.internal" in text
    )
    assert "nameserver 192.0.2.8" in podling.ok(
        "run", "--rm", "--dns", "192.0.2.8", "--network=podman", IMAGE, "cat", "/etc/resolv.conf"
    )


def test_capabilities(podling: Podling, conf: Callable[[str], None]) -> None:
    conf('[containers]\ndefault_capabilities = ["CHOWN", "NET_RAW"]\n')
    podling.ok("create", "--name", "c", NONE, IMAGE)
    assert sorted(json.loads(podling.ok("inspect", "c"))[0]["EffectiveCaps"]) == ["CAP_CHOWN", "CAP_NET_RAW"]
    podling.ok("create", "--name", "d", NONE, "--cap-add", "KILL", "--cap-drop", "CHOWN", IMAGE)
    assert sorted(json.loads(podling.ok("inspect", "d"))[0]["EffectiveCaps"]) == ["CAP_KILL", "CAP_NET_RAW"]


def test_engine(podling: Podling, conf: Callable[[str], None]) -> None:
    conf(
        '[engine]\nruntime = "mine"\nstop_timeout = 3\npull_policy = "never"\n[engine.runtimes]\nmine = ["/nosuch", "/usr/bin/runc"]\n'
        'pod_exit_policy = ["x"]\n'
    )
    podling.ok("create", "--name", "c", NONE, IMAGE)
    document = json.loads(podling.ok("inspect", "c"))[0]
    assert document["OCIRuntime"] == "mine" and document["Config"]["StopTimeout"] == 3
    assert "never" in podling.fails(125, "run", "--rm", "localhost/nosuch")
    podling.ok("rm", "c")


def test_networks(podling: Podling, conf: Callable[[str], None]) -> None:
    conf('[network]\ndefault_subnet_pools = [{"base" = "10.213.0.0/16", "size" = 28}]\ndefault_network = "pt-conf"\n')
    podling.ok("network", "create", "pt-conf")
    try:
        assert json.loads(podling.ok("network", "inspect", "pt-conf"))[0]["subnets"][0]["subnet"].startswith(
            "10.213.0."
        )
        assert "10.213.0." in podling.ok("run", "--rm", IMAGE, "ip", "addr")
    finally:
        podling("network", "rm", "-f", "pt-conf")


def test_unknown_keys_and_broken_files(podling: Podling, conf: Callable[[str], None]) -> None:
    conf("[containers]\nnosuch = 1\n")
    done = podling("ps")
    assert done.returncode == 0 and "containers.conf:2: unknown key containers.nosuch" in done.stderr
    conf("[containers\n")
    assert "line 1" in podling.fails(125, "ps")
    conf("[containers]\ninit = 7\n")
    assert "containers.init is neither true nor false" in podling.fails(125, "create", NONE, IMAGE)
    assert podling.ok("version", "--format", "{{.Client.Version}}")


def test_programs_and_places(podling: Podling, conf: Callable[[str], None], tmp_path: Path) -> None:
    arch = podling.ok("info", "--format", "{{.Host.Arch}}")
    conf(
        f'[engine]\ntmp_dir = "{tmp_path}/tmp"\nconmon_env_vars = ["SEEN=by conmon"]\nno_pivot_root = true\n'
        f'platform_to_oci_runtime = {{"{arch}" = "runc"}}\n[containers]\nkeyring = false\n'
    )
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, "sleep", "1000")
    pid = podling.ok("inspect", "--format", "{{.State.ConmonPid}}", "c")
    assert b"SEEN=by conmon" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    assert {b"--no-pivot", b"--no-new-keyring"} <= set(command) and f"{tmp_path}/tmp/exits".encode() in command
    podling.ok("create", "--name", "d", NONE, "--platform", f"linux/{arch}", "--pull=never", IMAGE)
    assert podling.ok("inspect", "--format", "{{.OCIRuntime}}", "d") == "runc"
    podling.ok("rm", "-f", "-t0", "c", "d")


def test_how_images_are_pushed(podling: Podling, conf: Callable[[str], None], tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    registry = Registry(tmp_path / "registry")
    try:
        name = f"{registry.host}/kept:1"

        def pushed(*flags: str) -> set[str]:
            podling.ok("push", "-q", "--tls-verify=false", *flags, IMAGE, name)
            argv = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"]
            document = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
            return {entry["mediaType"] for entry in document["layers"]}

        conf('[engine]\ncompression_format = "zstd"\ncompression_level = 3\n')
        assert pushed("--force-compression") == {"application/vnd.oci.image.layer.v1.tar+zstd"}
        conf('[engine]\ncompression_format = "zstd"\nimage_default_format = "v2s2"\nmulti_image_archive = true\n')
        assert pushed() == {"application/vnd.docker.image.rootfs.diff.tar.gzip"}
        podling.ok("tag", IMAGE, "localhost/twice")
        podling.ok("save", "-q", "--format=oci-archive", "-o", str(tmp_path / "both.tar"), IMAGE, "localhost/twice")
    finally:
        registry.stop()
        podling.ok("rmi", "localhost/twice")


def test_files_of_networks(podling: Podling, conf: Callable[[str], None], tmp_path: Path) -> None:
    conf(f'[engine]\nenable_port_reservation = false\n[network]\nnetwork_config_dir = "{tmp_path}/nets"\n')
    podling.ok("network", "create", "pt-elsewhere")
    assert (tmp_path / "nets/pt-elsewhere.json").exists()
    podling.ok("network", "rm", "pt-elsewhere")


def test_modules(podling: Podling, tmp_path: Path) -> None:
    module = tmp_path / "m.conf"
    module.write_text('[containers]\nenv = ["M=1"]\n')
    assert podling.ok(f"--module={module}", "run", "--rm", NONE, IMAGE, "sh", "-c", "echo $M") == "1"
    assert "could not resolve module" in podling.fails(125, "--module=nosuch", "ps")


def test_what_builds_and_documents_are(podling: Podling, conf: Callable[[str], None], tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text(f"FROM {IMAGE}\nLABEL a=b\n")
    conf('[engine]\nimage_build_format = "v2s2"\nkube_generate_type = "deployment"\n')
    try:
        podling.ok("build", "-q", "-t", "formatted", str(tmp_path))
        kind = podling.ok("image", "inspect", "--format", "{{.ManifestType}}", "formatted")
        assert kind == "application/vnd.docker.distribution.manifest.v2+json"
    finally:
        podling("rmi", "-f", "formatted")
    podling.ok("pod", "create", "--name", "documented")
    try:
        podling.ok("create", "--pod", "documented", IMAGE)
        assert "kind: Deployment" in podling.ok("kube", "generate", "documented")
        assert "kind: Deployment" not in podling.ok("kube", "generate", "--type", "pod", "documented")
    finally:
        podling.ok("pod", "rm", "-f", "documented")


def test_owners_of_copies(podling: Podling, conf: Callable[[str], None], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text\n")
    (tmp_path / "file").chmod(0o644)
    os.chown(tmp_path / "file", 1234, 1234)
    podling.ok("run", "-d", "--name", "copied", NONE, IMAGE, "sleep", "1000")
    conf("[engine]\nchown_copied_files = false\n")
    podling.ok("cp", str(tmp_path / "file"), "copied:/one")
    conf("[engine]\nchown_copied_files = true\n")
    podling.ok("cp", str(tmp_path / "file"), "copied:/two")
    assert podling.ok("exec", "copied", "stat", "-c", "%u", "/one", "/two").split() == ["1234", "0"]
    podling.ok("rm", "-f", "-t0", "copied")
