"""What an unprivileged user can do, and what they cannot."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.request
from pathlib import Path

import pytest

from podling.storage.chunked import ChunkedWriter
from tests.integration.conftest import eventually
from tests.integration.registry import Image, layer, misbehaving
from tests.rootless.conftest import IMAGE, User


def _maps(text: str) -> list[list[int]]:
    return [[int(word) for word in line.split()] for line in text.splitlines()]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _owned(owner: int) -> bytes:
    """A layer with a file that belongs to `owner`."""

    def edit(out: tarfile.TarFile) -> None:
        program = tarfile.TarInfo("bin/sh")
        program.mode, data = 0o755, Path("/bin/busybox").read_bytes()
        program.size = len(data)
        out.addfile(program, io.BytesIO(data))
        info = tarfile.TarInfo("owned")
        info.uid = info.gid = owner
        info.size = 2
        out.addfile(info, io.BytesIO(b"x\n"))

    return layer({"bin": None}, edit=edit)


def _image(user: User, path: Path, name: str, *, owner: int) -> None:
    """That layer as an archive that the user may read."""
    path.write_bytes(_owned(owner))
    path.chmod(0o644)


# -- the namespace
def test_root_inside_is_the_user_outside(user: User) -> None:
    assert user.ok("run", "--rm", "--network=none", IMAGE, "id", "-u") == "0"
    assert _maps(user.ok("run", "--rm", "--network=none", IMAGE, "cat", "/proc/self/uid_map"))[0] == [0, user.uid, 1]
    assert _maps(user.ok("unshare", "cat", "/proc/self/uid_map"))[0] == [0, user.uid, 1]
    assert user.ok("info", "--format", "{{.Host.Security.Rootless}}") == "true"


def test_files_of_a_bind_mount_belong_to_the_user(user: User) -> None:
    user.ok("run", "--rm", "--network=none", "-v", f"{user.home}:/home", IMAGE, "touch", "/home/made")
    assert os.stat(user.home / "made").st_uid == user.uid
    (user.home / "made").unlink()


def test_commands_share_one_namespace(user: User) -> None:
    user.ok("run", "-d", "--name", "long", "--network=none", IMAGE, "sleep", "100")
    first = user.namespace
    assert first
    assert user.ok("exec", "long", "cat", "/proc/1/comm") == "sleep"
    assert user.ok("ps", "--format", "{{.Names}}") == "long"
    assert "long" in user.ok("rm", "-f", "-t", "0", "long")
    assert user.namespace == first


def test_many_first_commands_make_one_namespace(user: User) -> None:
    user.ok("system", "migrate")
    assert not user.namespace
    started = [user.background("ps", "-a") for _ in range(8)]
    assert [process.wait(30) for process in started] == [0] * 8
    assert len([command for command in user.processes() if "catatonit" in command or "sleep infinity" in command]) == 1


def test_a_killed_pause_process_is_found_again_through_a_container(user: User) -> None:
    user.ok("run", "-d", "--name", "kept", "--network=none", IMAGE, "sh", "-c", "echo here >/file; sleep 100")
    os.kill(user.namespace, 9)
    assert user.ok("exec", "kept", "cat", "/file") == "here"
    user.ok("rm", "-f", "-t", "0", "kept")


def test_migrate_stops_containers_and_ends_the_namespace(user: User) -> None:
    id = user.ok("run", "-d", "--name", "m", "--stop-timeout", "0", "--network=none", IMAGE, "sleep", "100")
    assert user.ok("system", "migrate") == f"stopped {id}"
    assert not user.namespace
    assert user.ok("ps", "-a", "--format", "{{.Names}} {{.State}}") == "m exited"
    user.ok("start", "m")
    assert user.ok("exec", "m", "id", "-u") == "0"


def test_root_refuses_unshare_and_users_may_not_read_the_store(user: User) -> None:
    store = user.home / ".local/share/podling"
    assert os.stat(store).st_mode & 0o777 == 0o700
    other = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "ls", str(store)], capture_output=True, text=True, check=False
    )
    assert "Permission denied" in other.stderr


# -- networks
def test_pasta_connects_and_publishes(user: User) -> None:
    port = _free_port()
    user.ok(
        "run", "-d", "--name", "web", "-p", f"{port}:80", IMAGE, "sh", "-c", "echo hello >/index.html; httpd -f -h /"
    )
    url = f"http://127.0.0.1:{port}/"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:
                return bool(reply.read() == b"hello\n")
        except OSError:
            return False

    eventually(answers)
    assert user.ok("port", "web") == f"80/tcp -> 0.0.0.0:{port}"
    document = json.loads(user.ok("inspect", "web"))[0]
    assert list(document["NetworkSettings"]["Networks"]) == ["pasta"]
    assert user.fails(126, "run", "--rm", "-p", f"{port}:80", IMAGE, "true").startswith("Error: ")
    user.ok("stop", "-t", "0", "web")
    assert not [command for command in user.processes() if "pasta" in command]
    user.ok("start", "web")
    eventually(answers)


def test_slirp4netns_connects_and_publishes(user: User) -> None:
    port = _free_port()
    user.ok(
        "run", "-d", "--name", "web", "--network=slirp4netns:mtu=1400", "-p", f"127.0.0.1:{port}:80", IMAGE, "sh", "-c",
        "echo hello >/index.html; httpd -f -h /",
    )  # fmt: skip
    eventually(
        lambda: subprocess.run(["curl", "-sf", "-m", "2", f"http://127.0.0.1:{port}/"], check=False).returncode == 0
    )
    assert "mtu 1400" in user.ok("exec", "web", "ip", "link", "show", "tap0")
    assert user.ok("exec", "web", "cat", "/etc/resolv.conf") == "nameserver 10.0.2.3"


def test_low_ports_are_explained(user: User) -> None:
    start = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if start <= 81:
        pytest.skip("every user may bind low ports here")
    error = user.fails(126, "run", "--rm", "-p", "81:80", IMAGE, "true")
    assert "ip_unprivileged_port_start" in error
    assert user.ok("ps", "-aq") == ""


def test_networks_without_a_program(user: User) -> None:
    assert user.ok("run", "--rm", "--network=host", IMAGE, "cat", "/proc/sys/kernel/hostname")
    assert "lo" in user.ok("run", "--rm", "--network=none", IMAGE, "ip", "link")


# -- user namespaces of containers
def test_keep_id(user: User) -> None:
    text = user.ok(
        "run", "--rm", "--network=none", "--userns=keep-id", "-v", f"{user.home}:/home", IMAGE, "sh", "-c",
        "id -u; id -un; touch /home/mine; stat -c %u /bin/busybox /etc/hosts",
    )  # fmt: skip
    assert text.split() == [str(user.uid), user.name, "0", "0"]
    assert os.stat(user.home / "mine").st_uid == user.uid
    (user.home / "mine").unlink()
    assert user.ok("run", "--rm", "--network=none", "--userns=keep-id:uid=7,gid=8", IMAGE, "id", "-u") == "7"


def test_nomap_auto_and_maps_by_hand(user: User) -> None:
    inside = ("run", "--rm", "--network=none")
    assert _maps(user.ok(*inside, "--userns=nomap", IMAGE, "cat", "/proc/self/uid_map")) == [[0, 1, 65536]]
    assert _maps(user.ok(*inside, "--userns=auto", IMAGE, "cat", "/proc/self/uid_map"))[0][2] == 1024
    assert _maps(user.ok(*inside, "--userns=auto:size=2000", IMAGE, "cat", "/proc/self/uid_map")) == [[0, 1, 2000]]
    assert _maps(user.ok(*inside, "--uidmap=0:5:100", IMAGE, "cat", "/proc/self/uid_map")) == [[0, 5, 100]]
    maps = _maps(user.ok(*inside, f"--uidmap=+9:@{user.uid}:1", IMAGE, "cat", "/proc/self/uid_map"))
    assert [9, 0, 1] in maps
    error = user.fails(125, *inside, "--uidmap=0:1:70000", IMAGE, "true")
    assert "--uidmap" not in error or "no id" in error


def test_two_auto_containers_share_no_ids(user: User) -> None:
    for name in ("one", "two"):
        user.ok("run", "-d", "--name", name, "--network=none", "--userns=auto:size=500", IMAGE, "sleep", "100")
    maps = [_maps(user.ok("exec", name, "cat", "/proc/self/uid_map"))[0] for name in ("one", "two")]
    assert maps[0][1] + maps[0][2] <= maps[1][1]


def test_a_mapped_container_is_copied_committed_and_exported_with_its_own_ids(user: User) -> None:
    user.ok(
        "run", "--name", "mapped", "--network=none", "--userns=auto", IMAGE, "sh", "-c", "echo x >/new; chown 5:6 /new"
    )
    assert "A /new" in user.ok("diff", "mapped")
    user.ok("export", "-o", str(user.home / "all.tar"), "mapped")
    with tarfile.open(user.home / "all.tar") as tar:
        info = tar.getmember("new")
        assert (info.uid, info.gid) == (5, 6)
    (user.home / "all.tar").unlink()
    user.ok("commit", "-q", "mapped", "localhost/committed")
    assert user.ok("run", "--rm", "--network=none", "localhost/committed", "stat", "-c", "%u:%g", "/new") == "5:6"
    (user.home / "sent").write_text("y")
    user.ok("cp", str(user.home / "sent"), "mapped:/sent")
    assert user.ok("start", "-a", "mapped") == ""
    user.ok("rmi", "-f", "localhost/committed")


# -- ids that are not there
def test_without_subordinate_ids_the_hint_says_how_to_get_them(stranger: User, tmp_path: Path) -> None:
    archive = stranger.home / "rootfs.tar"
    _image(stranger, archive, "owned", owner=1000)
    error = stranger.fails(125, "import", str(archive), "localhost/owned")
    assert "usermod --add-subuids" in error
    assert stranger.ok("images", "-aq") == ""
    stranger.ok("--storage-opt", "ignore_chown_errors=true", "import", str(archive), "localhost/owned")
    assert stranger.ok("run", "--rm", "--network=none", "localhost/owned", "sh", "-c", "echo works") == "works"
    findings = json.loads(stranger("doctor", "--json").stdout)
    fix = next(item for item in findings if item["name"] == "subordinate ids")
    assert fix["state"] == "fix" and "usermod" in fix["fix"]


def test_ids_that_are_missing_are_told_before_layers_are_fetched(user: User) -> None:
    """By the configuration, and by the table of a zstd:chunked layer."""
    tar = _owned(70_000)
    runs_as = Image([tar], config={"Cmd": ["sh"], "User": "70000:0"})
    writer = ChunkedWriter(iter([tar]))
    blob = b"".join(writer)
    chunked = Image([tar], compress=lambda _: blob, annotations=writer.annotations)
    for image, told in (
        (runs_as, "the image's process belongs to 70000:0"),
        (chunked, "the layer's file 'owned' belongs to 70000:70000"),
    ):
        with misbehaving(image) as registry:
            error = user.fails(125, "pull", "--tls-verify=false", registry.name)
            assert told in error and "70001 are needed" in error and "usermod --add-subuids" in error
            whole = [
                path for _, path, headers in registry.requests if image.layers[0] in path and "Range" not in headers
            ]
            assert not whole
            user.ok("--storage-opt", "ignore_chown_errors=true", "pull", "-q", "--tls-verify=false", registry.name)
            user.ok("rmi", registry.name)
            user.ok("--storage-opt", "squash_ids=1234", "pull", "-q", "--tls-verify=false", registry.name)
            run = ("run", "--rm", "--network=none", "--user=0", registry.name, "sh", "-c", "stat -c %u:%g /owned")
            assert user.ok(*run) == "1234:1234"
            user.ok("rmi", registry.name)
    assert "is no id" in user.fails(125, "--storage-opt", "squash_ids=70000", "info")


def test_bind_mounts_that_are_denied_name_ids_and_remedy(user: User, tmp_path: Path) -> None:
    run = ("run", "--rm", "--network=none")
    own, roots = user.home / "own", Path(user.root, "roots")
    for place in (own, roots):
        place.mkdir()
    (roots / "inner").mkdir()
    os.chown(own, user.uid, user.gid)
    touch = (IMAGE, "touch", "/data/new")
    try:
        said = user(*run, "--user=1000:1000", "-v", f"{own}:/data", *touch).stderr
        assert "belongs to id 0 in the container; its process runs as 1000:1000" in said
        assert "--userns=keep-id:uid=1000,gid=1000" in said
        user.ok(*run, "--user=1000:1000", "--userns=keep-id:uid=1000,gid=1000", "-v", f"{own}:/data", *touch)
        said = user(*run, "-v", f"{roots}:/data", *touch).stderr
        assert "belongs to an id that is not mapped" in said and f"sudo chown -R {user.uid} {roots}" in said
        assert "keep-id" in user(*run, "--userns=auto", "-v", f"{own}:/data", *touch).stderr
        error = user.fails(125, *run, "-v", f"{roots}:/data:U", *touch)
        assert "the option U cannot give" in error and f"sudo chown -R {user.uid} {roots}" in error
        roots.chmod(0o700)
        error = user.fails(125, *run, "-v", f"{roots}/inner:/data", *touch)
        assert "permission denied" in error and f"{roots} is closed to this user" in error
        # neither what works, nor what fails for other reasons, is talked about
        assert user(*run, "-v", f"{own}:/data", *touch).stderr == ""
        assert user(*run, "-v", f"{own}:/data", IMAGE, "false").stderr == ""
        assert user(*run, "--user=1000", "-v", f"{own}:/data:ro", IMAGE, "false").stderr == ""
    finally:
        shutil.rmtree(own)
        shutil.rmtree(roots)


def test_without_a_runtime_folder(stranger: User) -> None:
    shutil.rmtree(f"/run/user/{stranger.uid}", ignore_errors=True)  # where the fixture had to make one
    stranger.env.pop("XDG_RUNTIME_DIR")
    assert stranger.ok("ps", "-q") == ""
    place = Path(f"/tmp/podling-run-{stranger.uid}")
    assert place.stat().st_mode & 0o777 == 0o700
    stranger.ok("system", "reset", "--force")
    subprocess.run(["rm", "-rf", str(place)], check=True)
    # somebody else was there first: a trap is not stepped into
    place.mkdir(mode=0o777)
    try:
        assert "belongs to somebody else" in stranger.fails(125, "ps")
    finally:
        place.rmdir()


# -- never the host's root
def test_set_uid_programs_of_a_volume_give_nothing(user: User) -> None:
    user.ok(
        "run", "--rm", "--network=none", "-v", f"{user.home}:/home", IMAGE, "sh", "-c",
        "cp /bin/busybox /home/su; chmod 4755 /home/su",
    )  # fmt: skip
    info = os.stat(user.home / "su")
    assert info.st_uid == user.uid, "set-uid to nobody but the user who made it"
    (user.home / "su").unlink()


def test_privileged_is_no_more_than_the_user(user: User) -> None:
    script = "echo 1 >/proc/sys/kernel/panic; echo x >/proc/sysrq-trigger; cat /proc/kcore | head -c1; dd if=/dev/vda count=1; true"
    before = Path("/proc/sys/kernel/panic").read_text()
    done = user("run", "--rm", "--privileged", "--network=none", IMAGE, "sh", "-c", script)
    assert done.returncode == 0
    assert Path("/proc/sys/kernel/panic").read_text() == before
    assert done.stdout == ""
    assert user(
        "run", "--rm", "--privileged", "-v", "/etc:/etc-host", "--network=none", IMAGE, "touch", "/etc-host/x"
    ).returncode
    assert not os.path.exists("/etc/x")


def test_a_link_on_a_volume_leads_nowhere_on_the_host(user: User) -> None:
    user.ok("volume", "create", "links")
    user.ok("run", "--rm", "--network=none", "-v", "links:/v", IMAGE, "ln", "-s", "/etc/shadow", "/v/out")
    user.ok("run", "--name", "c", "--network=none", "-v", "links:/v", IMAGE, "true")
    done = user("cp", "c:/v/out/.", "-")
    assert b"root:" not in done.stdout.encode()
    user.ok("rm", "c")
    user.ok("volume", "rm", "links")


def test_proc_sys_and_devices_stay_the_hosts(user: User) -> None:
    """What the host's root alone may write to, and disks."""
    targets = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/overcommit_memory",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ]
    before = [Path(path).read_text() for path in targets if os.path.exists(path)]
    script = "; ".join(f"echo 0 >{path}" for path in targets) + "; true"
    for flags in ([], ["--privileged"], ["--security-opt=unmask=ALL"]):
        user("run", "--rm", "--network=none", *flags, IMAGE, "sh", "-c", script)
    assert [Path(path).read_text() for path in targets if os.path.exists(path)] == before
    disk = next((f"/dev/{name}" for name in os.listdir("/sys/block") if os.path.exists(f"/dev/{name}")), "")
    if disk:
        done = user(
            "run", "--rm", "--network=none", f"--device={disk}:/dev/disk", IMAGE, "dd", "if=/dev/disk", "count=1"
        )
        assert done.returncode and done.stdout == ""
    made = user("run", "--rm", "--network=none", "--cap-add=MKNOD", IMAGE, "mknod", "/dev/made", "b", "8", "0")
    assert made.returncode


def test_links_that_change_meanwhile_lead_nowhere(user: User) -> None:
    """A container swaps a folder of its volume for a link to the user's own files while the host copies and mounts there."""
    victim = user.home / "victim"
    victim.mkdir()
    os.chown(victim, user.uid, user.gid)
    (user.home / "sent").write_text("x")
    user.ok("volume", "create", "race")
    swap = f"while :; do mkdir /v/x; rmdir /v/x; ln -s {victim} /v/x; rm /v/x; done 2>/dev/null"
    user.ok("run", "-d", "--name", "racer", "--network=none", "-v", "race:/v", IMAGE, "sh", "-c", swap)
    try:
        for _ in range(12):
            user("cp", str(user.home / "sent"), "racer:/v/x/new")
            mount = "--mount=type=volume,source=race,target=/m,subpath=x"
            user("run", "--rm", "--network=none", mount, IMAGE, "sh", "-c", "echo x >/m/new")
        assert list(victim.iterdir()) == []
    finally:
        user.ok("rm", "-f", "-t0", "racer")
        user.ok("volume", "rm", "race")
        victim.rmdir()


# -- what needs cgroups
def test_limits_warn_once_where_no_cgroup_is_delegated(user: User) -> None:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        pytest.skip("this host delegates cgroups")
    done = user("run", "--rm", "--network=none", "-m", "64m", IMAGE, "true")
    assert done.returncode == 0
    assert done.stderr.count("limits of resources are ignored") == 1
    user.ok("run", "-d", "--name", "c", "--network=none", IMAGE, "sleep", "100")
    assert "cgroups v2" in user.fails(125, "pause", "c")
    assert "cgroups v2" in user.fails(125, "stats", "--no-stream")


def test_reset_leaves_nothing(stranger: User) -> None:
    stranger.ok("volume", "create", "v")
    assert (stranger.home / ".local/share/podling").exists()
    stranger.ok("system", "reset", "--force")
    assert not (stranger.home / ".local/share/podling").exists()
    assert not stranger.namespace
    time.sleep(0.1)
    assert not [command for command in stranger.processes() if "catatonit" in command]


# -- builds
def test_a_build(user: User) -> None:
    folder = user.home / "context"
    folder.mkdir()
    (folder / "a.txt").write_text("a\n")
    text = f"FROM {IMAGE}\nCOPY --chown=5:6 a.txt /a\nRUN --mount=type=cache,target=/c cp /a /b && touch /c/x && id -u > /me\nUSER 7\nRUN id -u >> /tmp/me || id -u\n"
    (folder / "Containerfile").write_text(text)
    for path in (folder, *folder.iterdir()):
        os.chown(path, user.uid, user.uid)
    out = user.ok("build", "-t", "mine", "--network=none", str(folder))
    assert out.splitlines()[-2] == "Successfully tagged localhost/mine:latest"
    assert user.ok(
        "run", "--rm", "--network=none", "--user=0", "mine", "sh", "-c", "stat -c %u:%g /a /b; cat /me"
    ).split() == ["5:6", "0:0", "0"]
    assert "Using cache" in user.ok("build", "-t", "mine", "--network=none", str(folder))
    user.ok("rmi", "mine")
    user.ok("system", "prune", "-f", "--build")
