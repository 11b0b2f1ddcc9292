"""Where things are kept: storage.conf, places in containers.conf, --imagestore, --volumepath, --transient-store; volume plugins."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podling.errors import Unsupported
from podling.linux import quota
from podling.linux.files import remove_tree

from .conftest import IMAGE, Podling, eventually

NONE = "--network=none"
Write = Callable[[str], None]


@pytest.fixture
def conf(fresh: Podling, tmp_path: Path) -> Iterator[Write]:
    def write(text: str) -> None:
        (tmp_path / "containers.conf").write_text(text)
        fresh.env["CONTAINERS_CONF"] = str(tmp_path / "containers.conf")

    yield write
    fresh("rm", "-f", "-t", "0", "-a")
    fresh.env.pop("CONTAINERS_CONF", None)


@pytest.fixture
def storage(fresh: Podling, tmp_path: Path) -> Write:
    def write(text: str) -> None:
        (tmp_path / "storage.conf").write_text(text)
        fresh.env["CONTAINERS_STORAGE_CONF"] = str(tmp_path / "storage.conf")

    return write


def _store(fresh: Podling) -> dict[str, str]:
    found: dict[str, str] = json.loads(fresh.ok("info", "--format", "json"))["store"]
    return found


# -- storage.conf
def test_the_place_of_the_store(fresh: Podling, storage: Write, tmp_path: Path) -> None:
    """Beside another engine's files, never among them."""
    storage(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n')
    flags, fresh.flags = fresh.flags, []
    try:
        store = _store(fresh)
        assert store["graphRoot"] == f"{tmp_path}/graph/podling" and store["runRoot"] == f"{tmp_path}/run/podling"
        assert store["graphDriverName"] == "vfs"
        fresh.ok("system", "reset", "-f")
    finally:
        fresh.flags = flags
    assert _store(fresh)["graphRoot"] == f"{fresh.root}/root"  # a flag counts more


def test_a_store_keeps_its_driver(fresh: Podling, storage: Write) -> None:
    storage('[storage]\ndriver_priority = ["zfs", "vfs"]\n')
    assert _store(fresh)["graphDriverName"] == "vfs"
    storage('[storage]\ndriver = "overlay"\n')
    assert _store(fresh)["graphDriverName"] == "vfs"
    storage('[storage]\ndriver = "btrfs"\n')
    assert _store(fresh)["graphDriverName"] == "vfs"
    fresh.flags[0] += "-new"
    assert "no storage driver 'btrfs'" in fresh.fails(125, "info")
    fresh.flags.append("--storage-driver=vfs")
    assert _store(fresh)["graphDriverName"] == "vfs"


def test_what_is_wrong_is_told_with_file_and_line(fresh: Podling, storage: Write, tmp_path: Path) -> None:
    storage('[storage]\ndriver = "overlay"\nodd = 1\n[storage.options.pull_options]\nostree_repos = "/x"\n[other]\n')
    said = fresh("images").stderr
    assert f"{tmp_path}/storage.conf:3: unknown key storage.odd" in said
    assert "storage.conf:5: storage.options.pull_options.ostree_repos has no effect" in said
    assert "storage.conf:6: unknown section [other]" in said
    storage('[storage.options.overlay]\nforce_mask = "shared"\n')
    assert "storage.options.overlay.force_mask has no effect" in fresh("images").stderr
    storage("[storage\n")
    assert "storage.conf" in fresh.fails(125, "images")
    fresh.env["CONTAINERS_STORAGE_CONF"] = f"{tmp_path}/nothing"
    assert "No such file" in fresh.fails(125, "images")
    fresh.env.pop("CONTAINERS_STORAGE_CONF")
    assert "unknown storage option" in fresh.fails(125, "--storage-opt=odd=1", "info")
    assert "is not a size" in fresh.fails(125, "--storage-opt=overlay.size=big", "info")


def test_options_of_mounts(fresh: Podling, storage: Write) -> None:
    """mountopt, and volatile for containers that go with their end."""
    storage('[storage.options.overlay]\nmountopt = "nodev,nosuid,metacopy=on"\n')
    fresh.ok("pull", "-q", IMAGE)

    def options(*flags: str) -> str:
        fresh.ok("run", "-d", "--name", "c", NONE, *flags, IMAGE, "sleep", "100")
        merged = next(path for path in fresh.mounts() if path.endswith("/merged"))
        with open("/proc/self/mountinfo") as file:
            line = next(line for line in file if f" {merged} " in line)
        fresh.ok("rm", "-f", "-t0", "c")
        return line

    found = options("--rm")
    assert "nodev" in found and "nosuid" in found and "metacopy=on" not in found and "volatile" in found
    assert "volatile" not in options()
    storage("[storage.options]\ndisable-volatile = true\n")
    found = options("--rm")
    assert "volatile" not in found and "nodev" not in found


def test_sizes_of_automatic_namespaces(fresh: Podling, storage: Write) -> None:
    fresh.ok("pull", "-q", IMAGE)
    run = ("run", "--rm", NONE, "--userns=auto", IMAGE, "cat", "/proc/self/uid_map")
    owner = next(line.split(":")[0] for line in Path("/etc/subuid").read_text().splitlines() if line)
    storage(f'[storage.options]\nauto-userns-min-size = 2000\nroot-auto-userns-user = "{owner}"\n')
    assert fresh.ok(*run).split()[2] == "2000"
    storage('[storage.options]\nroot-auto-userns-user = "nosuchowner"\n')
    assert "the user nosuchowner has no entry in /etc/subuid" in fresh.fails(125, *run)


def test_quotas_need_a_file_system_that_has_them(fresh: Podling) -> None:
    try:
        quota.limit(fresh.root, 1 << 40, 0)
        pytest.skip("this one has them: tests/vm/inside looks at that")
    except Unsupported:
        pass
    fresh.flags.append("--storage-opt=overlay.size=10m")
    fresh.ok("pull", "-q", IMAGE)
    before = fresh.folders()["layers"]
    error = fresh.fails(125, "create", NONE, IMAGE)
    assert "sizes cannot be limited here" in error and "prjquota" in error
    assert fresh.folders()["layers"] == before and fresh.ok("ps", "-aq") == ""
    assert "prjquota" in fresh.fails(125, "volume", "create", "-o", "size=1m", "v")
    assert "prjquota" in fresh.fails(125, "volume", "create", "-o", "o=size=1m,inodes=5", "v")
    assert fresh.ok("volume", "ls", "-q") == ""
    assert "needs a type or a device" in fresh.fails(125, "volume", "create", "-o", "o=nodev", "v")


# -- places
def test_images_elsewhere(any_driver: Podling, tmp_path: Path) -> None:
    engine, place = any_driver, tmp_path / "images"
    engine.flags.append(f"--imagestore={place}")
    engine.ok("pull", "-q", IMAGE)
    layers = list((place / "podling-layers").iterdir())
    assert layers and all((layer / "bin").exists() for layer in layers)
    assert all(path.is_symlink() for path in Path(engine.root, "root").glob("*/*/diff"))
    assert engine.ok("run", "--rm", NONE, IMAGE, "echo", "works") == "works"
    engine.ok("create", "--name", "c", NONE, IMAGE, "cat", "/new")
    (tmp_path / "new").write_text("new")
    engine.ok("cp", str(tmp_path / "new"), "c:/new")
    engine.ok("commit", "-q", "c", "localhost/more")
    engine.ok("rm", "c")
    assert engine.ok("run", "--rm", NONE, "localhost/more", "cat", "/new") == "new"
    engine.ok("save", "-q", "-o", str(tmp_path / "saved.tar"), IMAGE)
    engine.ok("rmi", "-f", IMAGE, "localhost/more")
    assert list((place / "podling-layers").iterdir()) == []
    engine.ok("load", "-q", "-i", str(tmp_path / "saved.tar"))


def test_volumes_elsewhere(fresh: Podling, conf: Write, tmp_path: Path) -> None:
    fresh.ok("pull", "-q", IMAGE)
    fresh.flags.append(f"--volumepath={tmp_path}/volumes")
    fresh.ok("run", "-d", "--rm", "--name", "c", NONE, "-v", "data:/data", IMAGE, "sh", "-c", "echo kept >/data/f")
    eventually(lambda: fresh.ok("ps", "-aq") == "")
    assert (tmp_path / "volumes/data/_data/f").read_text() == "kept\n"
    assert fresh.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "data") == f"{tmp_path}/volumes/data/_data"
    assert json.loads(fresh.ok("info", "--format", "json"))["store"]["volumePath"] == f"{tmp_path}/volumes"
    fresh.ok("volume", "rm", "data")
    assert list((tmp_path / "volumes").iterdir()) == []
    fresh.flags.pop()
    conf(f'[engine]\nvolume_path = "{tmp_path}/other"\n')
    # a root of its own has its own volumes
    assert json.loads(fresh.ok("info", "--format", "json"))["store"]["volumePath"] == f"{fresh.root}/root/volumes"


def test_places_that_cannot_be_written_to(fresh: Podling) -> None:
    assert "--imagestore /proc/x: No such file" in fresh.fails(125, "--imagestore=/proc/x", "pull", "-q", IMAGE)
    assert fresh.folders()["layers"] == []
    assert "volume v: /proc/x: No such file" in fresh.fails(125, "--volumepath=/proc/x", "volume", "create", "v")
    assert fresh.ok("volume", "ls", "-q") == ""


def test_the_database_elsewhere(fresh: Podling, conf: Write, tmp_path: Path) -> None:
    conf(f'[engine]\nstatic_dir = "{tmp_path}/state"\nimage_parallel_copies = 1\n')
    fresh.ok("pull", "-q", IMAGE)
    assert [path.suffix for path in (tmp_path / "state").glob("podling-*.db")] == [".db"]
    conf("")
    assert fresh.ok("images", "-q")  # the store knows where it is
    conf(f'[engine]\nstatic_dir = "{tmp_path}/state"\n')
    fresh.ok("system", "reset", "-f")
    assert list((tmp_path / "state").iterdir()) == []


def test_logs_elsewhere(fresh: Podling, conf: Write, tmp_path: Path) -> None:
    conf(f'[containers]\nlog_path = "{tmp_path}/logs"\n')
    fresh.ok("pull", "-q", IMAGE)
    id = fresh.ok("run", "-d", "--name", "c", NONE, IMAGE, "echo", "said")
    eventually(lambda: fresh.ok("logs", "c") == "said")
    assert (tmp_path / f"logs/{id}/ctr.log").exists()
    fresh.ok("rm", "-f", "c")
    assert list((tmp_path / "logs").iterdir()) == []


def test_volumes_are_prepared_with_the_container(fresh: Podling, conf: Write) -> None:
    fresh.ok("pull", "-q", IMAGE)
    fresh.ok("create", "--name", "a", NONE, "-v", "one:/etc", IMAGE)
    assert not Path(fresh.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "one")).exists()
    conf("[containers]\nprepare_volume_on_create = true\n")
    fresh.ok("create", "--name", "b", NONE, "-v", "two:/etc", IMAGE)
    assert (Path(fresh.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "two")) / "passwd").exists()
    assert fresh.mounts() == []


def test_default_transport_and_scratch(fresh: Podling, conf: Write, tmp_path: Path) -> None:
    fresh.ok("pull", "-q", IMAGE)
    fresh.ok("save", "-q", "--format", "oci-archive", "-o", str(tmp_path / "a.tar"), IMAGE)
    conf(f'[engine]\nimage_default_transport = "oci-archive"\nimage_copy_tmp_dir = "{tmp_path}/scratch"\n')
    fresh.ok("rmi", IMAGE)
    fresh.ok("pull", "-q", str(tmp_path / "a.tar"))
    assert fresh.ok("images", "-q") and (tmp_path / "scratch").is_dir()
    assert json.loads(fresh.ok("info", "--format", "json"))["store"]["imageCopyTmpDir"] == f"{tmp_path}/scratch"


def test_containers_that_end_with_a_reboot(fresh: Podling, storage: Write) -> None:
    fresh.ok("pull", "-q", IMAGE)
    fresh.ok("create", "--name", "lasting", NONE, IMAGE)
    fresh.ok("run", "-d", "--rm", "--name", "fleeting", NONE, "-v", "/anonymous", IMAGE, "sleep", "1000")
    fresh.ok("--transient-store", "create", "--name", "flag", NONE, IMAGE)
    storage("[storage]\ntransient_store = true\n")
    fresh.ok("create", "--name", "file", NONE, "-v", "kept:/data", IMAGE)
    # as the machine goes down
    for pid in fresh.conmons():
        subprocess.run(["pkill", "-9", "-P", str(pid)], check=False)
    eventually(lambda: not fresh.conmons())
    for path in fresh.mounts():
        subprocess.run(["umount", "-l", path], check=False)
    Path(fresh.root, "run/boot").write_text("another boot")
    assert fresh.ok("ps", "-a", "--format", "{{.Names}}") == "lasting"
    assert fresh.ok("volume", "ls", "-q") == "kept"
    assert len(fresh.folders()["logs"]) <= 1


# -- plugins
@pytest.fixture
def plugin(fresh: Podling, conf: Write, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "plugin"
    folder.mkdir()
    socket = tmp_path / "plugin.sock"
    process = subprocess.Popen([sys.executable, "-m", "tests.integration.plugin", str(socket), str(folder)])
    eventually(socket.exists)
    conf(
        f'[engine]\nvolume_plugin_timeout = 1\n[engine.volume_plugins]\nptvol = "{socket}"\nptgone = "{tmp_path}/none.sock"\n'
    )
    fresh.ok("pull", "-q", IMAGE)
    yield folder
    fresh("rm", "-f", "-t", "0", "-a")
    process.kill()
    process.wait()


def test_volumes_of_a_plugin(fresh: Podling, plugin: Path) -> None:
    assert fresh.ok("volume", "create", "-d", "ptvol", "-o", "speed=fast", "pv") == "pv"
    assert "ptvol" in json.loads(fresh.ok("info", "--format", "json"))["plugins"]["volume"]
    assert fresh.ok("volume", "inspect", "-f", "{{.Driver}} {{.Options.speed}}", "pv") == "ptvol fast"
    script = "cat /data/from-plugin; echo; echo here >/data/new"
    assert json.loads(fresh.ok("run", "--rm", NONE, "-v", "pv:/data", IMAGE, "sh", "-c", script)) == {"speed": "fast"}
    assert (plugin / "v-pv/new").read_text() == "here\n"
    asked = [line.split()[0] for line in (plugin / "asked").read_text().splitlines()]
    assert asked.count("/VolumeDriver.Mount") == asked.count("/VolumeDriver.Unmount") == 1
    assert fresh.mounts() == []
    # volumes that the plugin got, and lost, by other ways
    (plugin / "v-theirs").mkdir()
    said = fresh("volume", "reload")
    assert said.stdout == "Added:\ntheirs\n" and "nothing listens at" in said.stderr
    (plugin / "v-theirs").rmdir()
    assert fresh.ok("volume", "reload") == "Removed:\ntheirs"
    assert fresh.ok("volume", "rm", "pv") == "pv"
    assert not (plugin / "v-pv").exists()


def test_plugins_that_fail(fresh: Podling, plugin: Path) -> None:
    assert "this name brings bad luck" in fresh.fails(125, "volume", "create", "-d", "ptvol", "bad")
    start = time.monotonic()
    assert "did not answer VolumeDriver.Create within 1 seconds" in fresh.fails(
        125, "volume", "create", "-d", "ptvol", "hang"
    )
    assert time.monotonic() - start < 10
    assert "nothing listens at" in fresh.fails(125, "volume", "create", "-d", "ptgone", "v")
    assert "is not known" in fresh.fails(125, "volume", "create", "-d", "ptodd", "v")
    assert fresh.ok("volume", "ls", "-q") == ""
    # a plugin that has gone keeps nobody from forgetting its volume
    fresh.ok("volume", "create", "-d", "ptvol", "pv")
    (plugin.parent / "plugin.sock").unlink()
    assert "nothing listens" in fresh.fails(125, "run", "--rm", NONE, "-v", "pv:/data", IMAGE, "true")
    assert "nothing listens" in fresh.fails(1, "volume", "rm", "pv")
    assert "forgotten here all the same" in fresh("volume", "rm", "--force", "pv").stderr
    assert fresh.ok("volume", "ls", "-q") == "" and fresh.ok("ps", "-aq") == ""


def test_what_is_mounted_below_a_folder_is_not_removed_with_it(tmp_path: Path) -> None:
    """Also where both are on one file system."""
    kept, tree = tmp_path / "kept", tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    kept.mkdir()
    (kept / "file").write_text("dear")
    subprocess.run(["mount", "--bind", str(kept), str(tree / "a/b")], check=True)
    try:
        with pytest.raises(OSError, match="cross-device"):
            remove_tree(str(tree))
        assert (kept / "file").read_text() == "dear"
    finally:
        subprocess.run(["umount", str(tree / "a/b")], check=True)
    remove_tree(str(tree))
    assert not tree.exists()
