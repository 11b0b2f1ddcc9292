"""Flags that hardly anybody gives, each by its effect."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import IMAGE, Podling, eventually
from .registry import Registry
from .test_exec import Terminal
from .test_more_flags import NONE, host, spec_of
from .test_registry_flags import Place, place
from .test_signing import Setting, setting

__all__ = ["place", "setting"]
INSECURE = "--tls-verify=false"
_DISK = next((f"/dev/{name}" for name in sorted(os.listdir("/sys/block")) if os.path.exists(f"/dev/{name}")), "")


@pytest.fixture
def registry(tmp_path: Path) -> Any:
    (tmp_path / "registry").mkdir()
    made = Registry(tmp_path / "registry")
    yield made
    made.stop()


def inspected(podling: Podling, *words: str) -> Any:
    return json.loads(podling.ok(*words))


# -- containers
def test_health_flags(podling: Podling, tmp_path: Path) -> None:
    podling.ok(
        "run", "-d", "--name", "c", NONE, "--health-cmd", "echo 0123456789; exit 0", "--health-interval=disable",
        "--health-log-destination", str(tmp_path), "--health-max-log-size=4", IMAGE, "sleep", "1000",
    )  # fmt: skip
    podling.ok("healthcheck", "run", "c")
    (log,) = tmp_path.iterdir()
    assert json.loads(log.read_text().splitlines()[0])["Output"] == "0123"
    podling.ok(
        "run", "-d", "--name", "d", NONE, "--health-cmd", "true", "--health-interval=disable", "--health-max-log-count=2", IMAGE,
        "sleep", "1000",
    )  # fmt: skip
    for _ in range(4):
        podling.ok("healthcheck", "run", "d")
    assert len(inspected(podling, "inspect", "d")[0]["State"]["Health"]["Log"]) == 2


def test_startup_checks(podling: Podling) -> None:
    podling.ok(
        "run", "-d", "--name", "c", NONE, "--health-cmd", "true", "--health-interval=disable", "--health-startup-cmd",
        "test -e /up || sleep 30", "--health-startup-timeout=1s", "--health-startup-success=2", "--health-startup-retries=9", IMAGE,
        "sleep", "1000",
    )  # fmt: skip

    def status() -> str:
        return podling.ok("inspect", "--format", "{{.State.Health.Status}}", "c")

    assert podling("healthcheck", "run", "c").returncode == 1  # it took longer than a second
    assert status() == "starting"
    podling.ok("exec", "c", "touch", "/up")
    podling.ok("healthcheck", "run", "c")
    assert status() == "starting"  # one success of two
    podling.ok("healthcheck", "run", "c")
    podling.ok("healthcheck", "run", "c")
    assert status() == "healthy"
    known = inspected(podling, "inspect", "c")[0]["Config"]["StartupHealthCheck"]
    assert (known["Timeout"], known["Successes"], known["Retries"]) == (10**9, 2, 9)


def test_startup_checks_that_fail_restart(podling: Podling) -> None:
    podling.ok(
        "run", "-d", "--name", "c", NONE, "--health-cmd", "true", "--health-interval=disable", "--health-on-failure=kill",
        "--health-startup-cmd", "false", "--health-startup-retries=2", IMAGE, "sleep", "1000",
    )  # fmt: skip
    assert podling("healthcheck", "run", "c").returncode == 1
    assert podling.ok("inspect", "--format", "{{.State.Status}}", "c") == "running"
    assert podling("healthcheck", "run", "c").returncode == 1
    eventually(lambda: podling.ok("inspect", "--format", "{{.State.Status}}", "c") == "exited")


def test_the_class_of_rdt(podling: Podling) -> None:
    podling.ok("create", "--name", "c", NONE, "--rdt-class=COS1", IMAGE, "true")
    assert host(podling, "c")["IntelRdtClosID"] == "COS1"
    done = podling("run", "-d", "--name", "d", NONE, "--rdt-class=COS1", IMAGE, "sleep", "100")
    if not done.returncode:  # a runtime that minds says that the host has no such class
        assert spec_of(podling, "d")["linux"]["intelRdt"] == {"closID": "COS1"}


def test_maps_of_groups(podling: Podling) -> None:
    show = (IMAGE, "cat", "/proc/self/uid_map", "/proc/self/gid_map")
    assert podling.ok("run", "--rm", NONE, "--uidmap=0:200000:5000", "--gidmap=0:300000:6000", *show).split() == [
        "0", "200000", "5000", "0", "300000", "6000",
    ]  # fmt: skip
    named = podling.ok("run", "--rm", NONE, "--subuidname=containers", "--subgidname=containers", *show).split()
    assert named[1] == named[4] == "2147483647"


def test_exec_hands_files_down(podling: Podling, tmp_path: Path) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, "sleep", "1000")
    (tmp_path / "handed").write_text("from outside")
    command = podling.argv("exec", "--preserve-fds=1", "c", "cat", "/proc/self/fd/3")
    done = subprocess.run(
        ["sh", "-c", 'exec 3<"$0"; exec "$@"', str(tmp_path / "handed"), *command], env=podling.env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "from outside", done.stderr


def test_detaching_from_exec(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", NONE, IMAGE, "sleep", "1000")
    terminal = Terminal(podling.argv("exec", "-it", "--detach-keys", "ctrl-x,d", "c", "sh"))
    terminal.type(b"echo he''re\n")
    terminal.expect(b"here")
    terminal.type(b"\x18d")
    terminal.wait()
    assert "sh" in podling.ok("top", "c", "comm").split()


def test_cleanup_takes_the_image_along(fresh: Podling) -> None:
    fresh.ok("pull", "-q", IMAGE)
    fresh.ok("create", "--name", "c", NONE, IMAGE, "true")
    fresh.ok("start", "-a", "c")
    fresh.ok("container", "cleanup", "--rm", "--rmi", "c")
    assert fresh.ok("ps", "-aq") == fresh.ok("images", "-q") == ""


def test_auto_update_asks_the_registry(podling: Podling, place: Place) -> None:
    name = f"{place.host}/team/box:1"
    podling.ok("pull", "-q", *place.creds, name)
    podling.ok(
        "run", "-d", "--name", "c", NONE, "-e", "PODMAN_SYSTEMD_UNIT=c.service", "--label", "io.containers.autoupdate=registry",
        "--label", "PODMAN_SYSTEMD_UNIT=c.service", name, "sleep", "1000",
    )  # fmt: skip
    ask = ("auto-update", "--dry-run", "--rollback=false", "--format", "{{.Unit}} {{.Updated}}")
    podling.fails(125, *ask)  # who are you?
    assert podling.ok(*ask, "--authfile", str(place.auth), INSECURE) == "c.service false"
    podling.ok("run", "--name", "changed", NONE, IMAGE, "touch", "/new")
    podling.ok("commit", "-q", "changed", "localhost/second")
    podling.ok("push", "-q", *place.creds, "localhost/second", name)
    assert podling.ok(*ask, "--authfile", str(place.auth), INSECURE) == "c.service pending"


# -- pods
_POD_LIMITS = [("--blkio-weight=300", "blkio_weight", 300), ("--cgroup-parent=/apart", "CgroupParent", "/apart")]
if _DISK:
    _POD_LIMITS += [
        (f"--blkio-weight-device={_DISK}:200", "blkio_weight_device", [{"Path": _DISK, "Weight": 200}]),
        (f"--device-read-bps={_DISK}:1mb", "device_read_bps", [{"Path": _DISK, "Rate": 1 << 20}]),
        (f"--device-write-bps={_DISK}:2mb", "device_write_bps", [{"Path": _DISK, "Rate": 2 << 20}]),
    ]


@pytest.mark.parametrize(
    ("flag", "key", "value"), _POD_LIMITS, ids=[flag.partition("=")[0] for flag, _, _ in _POD_LIMITS]
)
def test_limits_of_pods(podling: Podling, flag: str, key: str, value: object) -> None:
    podling.ok("pod", "create", "--name", "made", NONE, flag)
    assert inspected(podling, "pod", "inspect", "made")[0][key] == value
    podling.ok("pod", "create", "--name", "plain", NONE)
    podling.ok("pod", "clone", flag, "plain", "copy")
    assert inspected(podling, "pod", "inspect", "copy")[0][key] == value
    assert inspected(podling, "pod", "inspect", "plain")[0].get(key) != value


def _infra(podling: Podling, pod: str) -> str:
    name: str = inspected(podling, "pod", "inspect", pod)[0]["InfraContainerID"]
    return name


def test_what_the_members_of_pods_get(podling: Podling, tmp_path: Path) -> None:
    podling.ok("run", "--name", "source", NONE, "-v", "kept:/kept", IMAGE, "sh", "-c", "echo x >/kept/file")
    given = ("--volumes-from", "source", "--device", "/dev/zero:/dev/nought")
    podling.ok("pod", "create", "--name", "p", NONE, *given)
    assert (
        podling.ok("run", "--rm", "--pod", "p", IMAGE, "sh", "-c", "cat /kept/file; ls /dev/nought") == "x\n/dev/nought"
    )
    podling.ok("pod", "create", "--name", "plain", NONE)
    podling.ok("pod", "clone", *given, "plain", "copy")
    assert (
        podling.ok("run", "--rm", "--pod", "copy", IMAGE, "sh", "-c", "cat /kept/file; ls /dev/nought")
        == "x\n/dev/nought"
    )
    podling.ok("pod", "rm", "-f", "-t0", "-a")
    podling.ok("rm", "source")
    podling.ok("volume", "rm", "kept")


def test_user_namespaces_of_pods(podling: Podling) -> None:
    show = (IMAGE, "cat", "/proc/self/uid_map", "/proc/self/gid_map")
    podling.ok("pod", "create", "--name", "plain", NONE)
    for number, flags in enumerate(
        (
            ["--uidmap=0:200000:5000", "--gidmap=0:300000:6000"],
            ["--subuidname=containers", "--subgidname=containers"],
        )
    ):
        podling.ok("pod", "create", "--name", f"p{number}", NONE, *flags)
        podling.ok("pod", "clone", *flags, "plain", f"c{number}")
        wanted = podling.ok("run", "--rm", NONE, *flags, *show)
        for pod in (f"p{number}", f"c{number}"):
            assert podling.ok("run", "--rm", "--pod", pod, *show) == wanted
        podling.ok("pod", "rm", "-f", "-t0", f"p{number}", f"c{number}")
    podling.ok("pod", "clone", "--userns=auto:size=300", "plain", "auto")
    assert podling.ok("run", "--rm", "--pod", "auto", *show).split()[2] == "300"


def test_infra_containers(podling: Podling, tmp_path: Path) -> None:
    podling.ok("pod", "create", "--name", "plain", NONE)
    for words in (("create", "--name", "one"), ("clone",)):
        pidfile = tmp_path / words[0]
        tail = ("plain", "two") if words[0] == "clone" else ()
        podling.ok(
            "pod", *words, *(() if tail else (NONE,)), "--infra-command", "/catatonit -P", "--infra-conmon-pidfile", str(pidfile),
            "--shm-size-systemd=3m", "--uts=host", *tail,
        )  # fmt: skip
        pod = tail[-1] if tail else "one"
        podling.ok("pod", "start", pod)
        infra = _infra(podling, pod)
        document = inspected(podling, "inspect", infra)[0]
        assert [document["Path"], *document["Args"]] == ["/catatonit", "-P"]
        assert document["HostConfig"]["UTSMode"] == "host"
        assert "conmon" in Path(f"/proc/{pidfile.read_text()}/cmdline").read_text()


def test_gpus_of_pods(podling: Podling) -> None:
    """Nothing here has one: that is what it says."""
    for words in (("create",), ("clone", "plain", "copy")):
        if words[0] == "clone":
            podling.ok("pod", "create", "--name", "plain", NONE)
        error = podling.fails(125, "pod", words[0], "--gpus=all", *words[1:])
        assert "CDI" in error and "nvidia.com/gpu" in error
    assert podling.ok("pod", "ps", "--format", "{{.Name}}") == "plain"


@pytest.mark.xdist_group("network")
def test_pods_with_addresses_of_both_kinds(podling: Podling) -> None:
    podling.ok("network", "create", "--ipv6", "--subnet=10.179.3.0/24", "--subnet=fd00:179:3::/64", "pt-rare")
    try:
        podling.ok("pod", "create", "--name", "p", "--network=pt-rare", "--ip6=fd00:179:3::7", "--ip=10.179.3.7")
        podling.ok("pod", "start", "p")
        shown = podling.ok("run", "--rm", "--pod", "p", IMAGE, "ip", "addr", "show", "eth0")
        assert "10.179.3.7/24" in shown and "fd00:179:3::7/64" in shown
    finally:
        podling.ok("pod", "rm", "-f", "-t0", "-a")
        podling.ok("network", "rm", "pt-rare")


def test_following_the_logs_of_pods(podling: Podling) -> None:
    podling.ok("pod", "create", "--name", "p", NONE)
    podling.ok("run", "-d", "--pod", "p", IMAGE, "sh", "-c", "echo first; sleep 0.5; echo last")
    assert podling.ok("pod", "logs", "--follow", "p").split() == ["first", "last"]


# -- images and lists
def test_variants(fresh: Podling, registry: Registry) -> None:
    fresh.ok("pull", "-q", IMAGE)
    name = f"{registry.host}/many:1"
    fresh.ok("manifest", "create", "many:1")
    for variant in ("v6", "v7"):
        fresh.ok("run", "--name", variant, NONE, IMAGE, "sh", "-c", f"echo {variant} >/variant")
        fresh.ok("commit", "-q", variant, f"localhost/arm{variant}")
        fresh.ok("manifest", "add", "--arch=arm", f"--variant={variant}", "many:1", f"localhost/arm{variant}")
    fresh.ok("manifest", "push", "-q", "--all", INSECURE, "many:1", name)
    fresh.ok("manifest", "rm", "many:1")
    for variant in ("v6", "v7"):
        id = fresh.ok("pull", "-q", INSECURE, "--arch=arm", f"--variant={variant}", name)
        wanted = fresh.ok("images", "-q", "--no-trunc", f"localhost/arm{variant}").removeprefix("sha256:")
        assert id == wanted
        flags = ("--pull=always", INSECURE, NONE, "--arch=arm", f"--variant={variant}")
        assert fresh.ok("run", "--rm", *flags, name, "cat", "/variant") == variant


def test_compression_is_forced(fresh: Podling, registry: Registry) -> None:
    fresh.ok("pull", "-q", IMAGE)
    name = f"{registry.host}/packed:1"
    fresh.ok("push", "-q", INSECURE, IMAGE, name)

    def kinds(*flags: str) -> set[str]:
        fresh.ok("push", "-q", INSECURE, *flags, IMAGE, name)
        done = subprocess.run(
            ["skopeo", "inspect", "--raw", INSECURE, f"docker://{name}"], capture_output=True, check=True
        )
        return {entry["mediaType"].rpartition("+")[2].rpartition(".")[2] for entry in json.loads(done.stdout)["layers"]}

    assert kinds("--compression-format=zstd", "--force-compression") == {"zstd"}


def test_artifacts_of_encrypted_layers(fresh: Podling, registry: Registry, tmp_path: Path) -> None:
    fresh.ok("pull", "-q", IMAGE)
    name = f"{registry.host}/sealed:1"
    key, public = tmp_path / "key.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public)], check=True, capture_output=True)
    fresh.ok("push", "-q", INSECURE, "--encryption-key", f"jwe:{public}", IMAGE, name)
    fresh.ok("artifact", "pull", "-q", INSECURE, "--decryption-key", str(key), name)
    layer = inspected(fresh, "artifact", "inspect", name)["Manifest"]["layers"][0]
    assert "encrypted" not in layer["mediaType"]
    (tmp_path / "out").mkdir()
    fresh.ok("artifact", "extract", "--digest", layer["digest"], name, str(tmp_path / "out"))
    (file,) = (tmp_path / "out").iterdir()
    with tarfile.open(file) as tar:
        assert "bin/busybox" in [entry.strip("./") for entry in tar.getnames()]


def test_prune_options(fresh: Podling) -> None:
    fresh.ok("pull", "-q", IMAGE)
    cache = Path(fresh.root) / "root/build-cache/some"
    cache.mkdir(parents=True)
    (cache / "file").write_text("x")
    fresh.ok("image", "prune", "-f", "--external")
    assert cache.exists()
    fresh.ok("image", "prune", "-f", "--build-cache")
    assert not cache.exists()
    assert fresh.ok("images", "-q")  # it has a name


def test_unmounting_by_force(podling: Podling) -> None:
    podling.ok("image", "mount", IMAGE)
    podling.ok("image", "mount", IMAGE)
    podling.ok("image", "unmount", "--force", IMAGE)
    assert podling.ok("image", "mount", "--format", "json") == "[]"


def test_artifacts_in_lists(podling: Podling, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"content")
    (tmp_path / "config.json").write_text('{"a": 1}')
    podling.ok("manifest", "create", "with:1")
    podling.ok(
        "manifest", "add", "--artifact", "--artifact-type", "application/x", "--artifact-config", str(tmp_path / "config.json"),
        "--artifact-config-type", "application/x.config", "--artifact-layer-type", "application/x.layer", "--artifact-exclude-titles",
        "--artifact-subject", IMAGE, "with:1", str(tmp_path / "file.bin"),
    )  # fmt: skip
    podling.ok("manifest", "annotate", "--subject", IMAGE, "--index", "with:1")
    name = f"{registry.host}/with:1"
    podling.ok("manifest", "push", "-q", INSECURE, "with:1", name)

    def raw(reference: str) -> Any:
        done = subprocess.run(
            ["skopeo", "inspect", "--raw", INSECURE, f"docker://{reference}"], capture_output=True, check=True
        )
        return json.loads(done.stdout)

    listed = raw(name)
    assert listed["subject"]["digest"].startswith("sha256:")
    member = raw(f"{registry.host}/with@{listed['manifests'][0]['digest']}")
    assert member["config"]["mediaType"] == "application/x.config" and member["config"]["size"] == 8
    assert member["layers"][0]["mediaType"] == "application/x.layer"
    assert "org.opencontainers.image.title" not in (member["layers"][0].get("annotations") or {})
    assert member["subject"]["digest"].startswith("sha256:")
    podling.ok("manifest", "rm", "with:1")


# -- signatures
@pytest.mark.parametrize("kind", ["artifact", "manifest"])
def test_signed_pushes(fresh: Podling, setting: Setting, tmp_path: Path, kind: str) -> None:
    fresh.env.update(setting.env)
    (tmp_path / "file").write_text("x")
    (tmp_path / "passphrase").write_text("")
    (tmp_path / "params.yaml").write_text(f"privateKeyFile: {setting.folder}/bob.pem\n")
    fresh.ok("pull", "-q", IMAGE)
    host = setting.registry.host
    ways = {
        "gpg": ["--sign-by", "ann@example.com", "--sign-passphrase-file", str(tmp_path / "passphrase")],
        "key": [
            "--sign-by-sigstore-private-key",
            str(setting.folder / "ann.pem"),
            "--sign-passphrase-file",
            str(tmp_path / "passphrase"),
        ],
        "file": ["--sign-by-sigstore", str(tmp_path / "params.yaml")],
    }
    for way, flags in ways.items():
        name = f"{host}/{kind}-{way}:1"
        if kind == "artifact":
            fresh.ok("artifact", "add", name, str(tmp_path / "file"))
            fresh.ok("artifact", "push", "-q", INSECURE, *flags, name)
        else:
            fresh.ok("manifest", "create", f"{way}:1", IMAGE)
            fresh.ok("manifest", "push", "-q", "--all", INSECURE, *flags, f"{way}:1", name)
        signed = list((setting.folder / "sigs").glob(f"{kind}-{way}@*/signature-1"))
        tags = [path.name for path in (setting.folder / "registry/data").rglob(f"{kind}-{way}/_manifests/tags/*")]
        assert signed if way == "gpg" else any(tag.endswith(".sig") for tag in tags), (way, tags)


def test_signing_what_a_registry_holds(fresh: Podling, setting: Setting, tmp_path: Path) -> None:
    fresh.env.update(setting.env)
    fresh.ok("pull", "-q", IMAGE)
    place = Place(tmp_path)
    try:
        fresh.ok("login", *place.trust, "--authfile", str(place.auth), "-u", "me", "-p", "pw", place.host)
        name = f"{place.host}/team/list:1"
        fresh.ok("manifest", "create", "list:1", IMAGE)
        fresh.ok("manifest", "push", "-q", "--all", *place.creds, "list:1", name)
        sigs = tmp_path / "sigs"
        sigs.mkdir()
        access = ("--authfile", str(place.auth), "--cert-dir", str(place.certs))
        fresh.ok(
            "image",
            "sign",
            *access,
            "--all",
            "--directory",
            str(sigs),
            "--sign-by",
            "ann@example.com",
            f"docker://{name}",
        )
        assert len(list(sigs.rglob("signature-1"))) == 2  # the list and its image
    finally:
        place.registry.stop()


def test_showing_the_policy(podling: Podling, setting: Setting) -> None:
    policy = setting.policy(setting.signed_by("ann"))
    shown = json.loads(
        podling.ok(
            "image", "trust", "show", "--json", "--policypath", policy, "--registrypath", str(setting.folder / "d")
        )
    )
    (entry,) = [item for item in shown if item.get("repo_name", item.get("name")) == setting.registry.host]
    assert entry["type"] == "signed" and entry["sigstore"] == f"file://{setting.folder}/sigs"


# -- the rest
def test_reloading_networks(podling: Podling) -> None:
    podling.ok("run", "-d", "--name", "c", "--network=podman", IMAGE, "sleep", "1000")
    id = podling.ok("ps", "-q", "--no-trunc")
    assert podling.ok("network", "reload", "--all") == id
    assert podling.ok("network", "reload", "--latest") == id


def test_another_runtime_for_all(fresh: Podling) -> None:
    fresh.ok("pull", "-q", IMAGE)
    fresh.ok("create", "--name", "c", NONE, IMAGE, "true")
    fresh.ok("system", "migrate", "--new-runtime", "runc")
    assert fresh.ok("inspect", "--format", "{{.OCIRuntime}}", "c") == "runc"
    fresh.ok("start", "-a", "c")


def test_events_elsewhere(podling: Podling, tmp_path: Path) -> None:
    conf = tmp_path / "containers.conf"
    log = tmp_path / "deep/events.log"
    conf.write_text(
        f'[engine]\nevents_logger = "file"\nevents_logfile_path = "{log}"\nevents_logfile_max_size = "2k"\n'
    )
    podling.env["CONTAINERS_CONF"] = str(conf)
    try:
        podling("run", "--name", "heard", "--label", "a=b", NONE, IMAGE, "sh", "-c", "exit 3")  # fmt: skip
        show = ("events", "--stream=false", "--filter", "container=heard")
        eventually(lambda: "died" in podling.ok(*show, "--format", "{{.Status}}"))
        actions = podling.ok(*show, "--format", "{{.Status}}").split()
        assert actions[:2] == ["create", "init"] and "died" in actions
        died = json.loads(podling.ok(*show, "--filter", "event=died", "--format", "json"))
        assert died["ContainerExitCode"] == 3 and died["Attributes"]["a"] == "b"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert {"Name", "Status", "Time", "Type", "ID"} <= set(lines[0]) and log.stat().st_mode & 0o077 == 0
        seen = tmp_path / "seen"
        with seen.open("wb") as out:
            argv = podling.argv("events", "--filter", "event=rename", "--format", "{{.Name}}")
            following = subprocess.Popen(argv, env=podling.env, stdin=subprocess.DEVNULL, stdout=out)
        time.sleep(1)
        for number in range(20):  # the file loses its older half several times over
            podling.ok("rename", "heard" if not number else f"heard{number - 1}", f"heard{number}")
        assert log.stat().st_size <= 2048 + 400
        eventually(lambda: len(seen.read_text().split()) >= 20)
        following.terminate()
        following.wait()
        assert seen.read_text().split() == [f"heard{number}" for number in range(20)]
        assert "log-rotation" in podling.ok("events", "--stream=false", "--format", "{{.Status}}")
    finally:
        del podling.env["CONTAINERS_CONF"]
    # the database has none of them
    assert "heard" not in podling.ok("events", "--stream=false", "--format", "{{.Name}}").split()


def test_events_that_cannot_be_written(podling: Podling, tmp_path: Path) -> None:
    """What they tell of has been done all the same, and stays whole."""
    conf = tmp_path / "containers.conf"
    conf.write_text('[engine]\nevents_logger = "file"\nevents_logfile_path = "/proc/nosuch/events.log"\n')
    podling.env["CONTAINERS_CONF"] = str(conf)
    try:
        podling.ok("run", "-d", "--name", "c", NONE, IMAGE, "sleep", "100")
        assert podling.ok("exec", "c", "echo", "whole") == "whole"
        podling.ok("rm", "-f", "-t0", "c")
    finally:
        del podling.env["CONTAINERS_CONF"]


def test_events_nowhere(podling: Podling) -> None:
    podling.ok("--events-backend=none", "run", "--rm", "--name", "silent", NONE, IMAGE, "true")
    assert "no events are kept" in podling.fails(125, "--events-backend=none", "events", "--stream=false")
    assert "silent" not in podling.ok("events", "--stream=false", "--format", "{{.Name}}").split()
    assert "back ends are" in podling.fails(125, "--events-backend=paper", "ps")


def test_events_with_everything(podling: Podling, tmp_path: Path) -> None:
    conf = tmp_path / "containers.conf"
    conf.write_text("[engine]\nevents_container_create_inspect_data = true\nhealthcheck_events = false\n")
    podling.env["CONTAINERS_CONF"] = str(conf)
    try:
        podling.ok(
            "run",
            "-d",
            "--name",
            "full",
            NONE,
            "--health-cmd",
            "true",
            "--health-interval=disable",
            IMAGE,
            "sleep",
            "100",
        )
        podling.ok("healthcheck", "run", "full")
    finally:
        del podling.env["CONTAINERS_CONF"]
    shown = podling.ok("events", "--stream=false", "--filter", "container=full", "--format", "json").splitlines()
    created = json.loads(shown[0])
    assert json.loads(created["ContainerInspectData"])["Name"] == "full" and "inspectData" not in str(
        created["Attributes"]
    )
    assert "health_status" not in [json.loads(line)["Status"] for line in shown]


# -- flags of the engine
def test_where_results_go(podling: Podling, tmp_path: Path) -> None:
    assert podling("--out", str(tmp_path / "out"), "version", "--format", "{{.Client.Version}}").stdout == ""
    assert (tmp_path / "out").read_text().strip() == podling.ok("version", "--format", "{{.Client.Version}}")
    assert podling("--noout", "images").stdout == ""
    assert "--out" in podling.fails(125, "--out", str(tmp_path / "no/such"), "images")


def test_dockers_names(podling: Podling, place: Place, tmp_path: Path) -> None:
    done = podling("-H", "unix:///nowhere/sock", "ps")
    assert "/nowhere/sock" in done.stderr or "for the service to choose" in done.stderr
    bare = Podling(podling.root)
    bare.flags = []
    assert "/nowhere/sock" in bare.fails(125, "--host", "unix:///nowhere/sock", "ps")
    assert "not found" in bare.fails(125, "--context", "nosuch", "ps")
    podling.ok("--context=default", "ps")
    (tmp_path / "config.json").write_text(place.auth.read_text())
    podling.ok("--config", str(tmp_path), "pull", "-q", *place.trust, f"{place.host}/team/box:1")
    podling.ok("rmi", f"{place.host}/team/box:1")


def test_places_of_networks_and_registries(podling: Podling, registry: Registry, tmp_path: Path) -> None:
    flag = f"--network-config-dir={tmp_path}/nets"
    podling.ok(flag, "network", "create", "pt-own")
    assert (tmp_path / "nets/pt-own.json").exists()
    assert "pt-own" not in podling.ok("network", "ls", "-q").split()
    podling.ok(flag, "network", "rm", "pt-own")
    (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry.host}"\nblocked = true\n')
    error = podling.fails(125, "--registries-conf", str(tmp_path / "registries.conf"), "pull", f"{registry.host}/x:1")
    assert "blocked" in error
    assert "no such program" in podling.fails(
        125, "--network-cmd-path=/no/such", "run", "--rm", "--network=slirp4netns", IMAGE, "true"
    )


def test_syslog(podling: Podling, tmp_path: Path) -> None:
    if os.path.exists("/dev/log"):
        pytest.skip("somebody listens at /dev/log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("/dev/log")
        try:
            listener.settimeout(10)
            podling.fails(125, "--syslog", "start", "nosuch")
            assert b"podling" in (said := listener.recv(4096)) and b"nosuch" in said
        finally:
            os.unlink("/dev/log")


# -- system check
def test_checking_a_store(fresh: Podling) -> None:
    fresh.ok("pull", "-q", IMAGE)
    fresh.ok("run", "--name", "base", NONE, IMAGE, "sh", "-c", "echo one >/one")
    fresh.ok("commit", "-q", "base", "localhost/one")
    fresh.ok("rm", "base")
    fresh.ok("volume", "create", "kept")
    fresh.ok("run", "--name", "user", NONE, "localhost/one", "touch", "/mine")
    assert fresh.ok("system", "check") == fresh.ok("system", "check", "--quick") == ""
    root = Path(fresh.root) / "root"
    (file,) = root.glob("overlay/*/diff/one")
    file.write_text("two\n")  # as long as it was
    (root / "overlay/987").mkdir()
    (root / "containers/lost").mkdir()
    (root / "volumes/strayed").mkdir()
    (root / "volumes/strayed/data").write_text("dear")
    shutil.rmtree(root / "volumes/kept")
    assert "content is not what it was" not in fresh("system", "check", "-q").stdout
    done = fresh("system", "check")
    assert done.returncode == 125 and "damage detected" in done.stderr and "--repair" in done.stderr
    for text in (
        "content is not what it was",
        "image ",
        "container ",
        "overlay/987",
        "containers/lost",
        "volumes/strayed",
        "volume kept",
    ):
        assert text in done.stdout, text
    done = fresh("system", "check", "--repair")
    assert done.returncode == 125 and "--force" in done.stderr  # the container is somebody's
    assert (
        not (root / "overlay/987").exists()
        and not (root / "containers/lost").exists()
        and (root / "volumes/kept").is_dir()
    )
    assert (root / "volumes/strayed/data").read_text() == "dear" and "strayed" in fresh.ok("volume", "ls", "-q").split()
    fresh.ok("system", "check", "--force")
    assert fresh.ok("ps", "-aq") == "" and "localhost/one" not in fresh.ok("images")
    assert fresh.ok("system", "check", "--max", "0s") == ""
    assert "--max 'soon'" in fresh.fails(125, "system", "check", "--max", "soon")
    fresh.ok("run", "--rm", NONE, IMAGE, "true")


def test_what_every_container_gets(podling: Podling, tmp_path: Path) -> None:
    (tmp_path / "keys/deep").mkdir(parents=True)
    (tmp_path / "keys/deep/key").write_text("subscription")
    (tmp_path / "one").write_text("file")
    conf = tmp_path / "mounts.conf"
    conf.write_text(f"# of this host\n{tmp_path}/keys:/run/secrets/keys\n{tmp_path}/one:/one\n/no/such:/none\n")
    run = (f"--default-mounts-file={conf}", "run", "--rm", NONE, IMAGE, "sh", "-c")
    assert podling.ok(
        *run, "cat /run/secrets/keys/deep/key /one; echo changed >/run/secrets/keys/deep/key; ls /none || true"
    ).startswith("subscriptionfile")
    assert (tmp_path / "keys/deep/key").read_text() == "subscription"
    conf.write_text("relative:/x\n")
    assert f"{conf}:1" in podling.fails(125, *run, "true")
