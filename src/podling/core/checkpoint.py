"""Checkpoint and restore: CRIU, driven by the OCI runtime, freezes a container's processes into files and lets them go on later.

What a checkpoint consists of lies in the container's own folder (`<root>/containers/<id>/`): `checkpoint`, CRIU's images;
`pre-checkpoint`, those of a first pass; `devshm-checkpoint.tar`. The row's `checkpoint` column says that it is there.
`checkpoint_archive` moves all of it between hosts.
"""

from __future__ import annotations

import os
import time

from podling.core.containers import Container
from podling.core.options import CheckpointOptions, RestoreOptions
from podling.errors import InvalidInput, RuntimeFailed, Unsupported, WrongState
from podling.linux.files import remove_tree
from podling.linux.proc import start_time
from podling.oci import json
from podling.oci.record import Record
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: fields of CRIU's statistics (stats.proto): number in dump_stats_entry or restore_stats_entry, name
_DUMPED = {
    1: "freezing_time",
    2: "frozen_time",
    3: "memdump_time",
    4: "memwrite_time",
    5: "pages_scanned",
    7: "pages_written",
}
_RESTORED = {3: "forking_time", 4: "restore_time", 5: "pages_restored"}


class Timing(Record):
    """How long it took, in µs, and CRIU's own statistics."""

    id: str
    duration: int
    criu: dict[str, int]


class Revival:
    """What a start needs to know to restore instead: CRIU's images, arguments for the runtime, what /dev/shm held, and whether the
    container has another id now."""

    def __init__(self, folder: str, arguments: list[str], shared_memory: str, *, renamed: bool) -> None:
        self.folder, self.arguments, self._shared_memory, self._renamed = folder, arguments, shared_memory, renamed

    def annotate(self, document: dict[str, Any], bundle: str) -> None:
        """Tell CRIU through runc (criu(8), org.criu.config) to leave processes in the cgroup of the container as it is called now."""
        if self._renamed:
            with open(f"{bundle}/criu.conf", "w") as file:
                file.write("manage-cgroups=ignore\n")
            document.setdefault("annotations", {})["org.criu.config"] = f"{bundle}/criu.conf"

    def fill(self, shm: str) -> None:
        """Put back what was in /dev/shm."""
        if os.path.exists(self._shared_memory) and os.path.isdir(shm):
            from podling.storage.extract import unpack_tree

            with open(self._shared_memory, "rb") as file:
                unpack_tree(iter(lambda: file.read(1 << 20), b""), shm)


# -- checkpoint
def checkpoint(container: Container, options: CheckpointOptions) -> Timing:
    """Freeze a running container into files; it is stopped then, unless `leave_running`.

    Raises:
        WrongState: it does not run. InvalidInput: options that exclude each other. Unsupported: the runtime cannot do it.
        RuntimeFailed: CRIU's own words.
    """
    from podling.core import lifecycle

    ctx = container.ctx
    _check_options(container, options)
    _check_runtime(container)
    stays = options.leave_running or options.pre_checkpoint
    attended = container.bundle.attended()
    begin = time.monotonic()
    try:
        with container.lock():
            container.load()
            if container.status != "running" or not container.is_alive:
                raise WrongState(
                    f"{container.id} is not running: can only checkpoint running containers: container state improper",
                    hint=f"podling start {container.name}",
                )
            timing = _dump(container, options, stays=stays)
            at = now()
            _keep_shared_memory(container)
            status = json.loads(container.__dict__["network"] or "{}")
            record = {} if options.pre_checkpoint else {"at": at, "id": container.id, "network": status}
            with ctx.db.write() as tx:
                if record:
                    tx.update("containers", container.key, checkpoint=json.dumps(record))
                if not stays:
                    tx.update("containers", container.key, status="stopping", wanted=0)
                container.tell(tx, "checkpoint")
            container.load()
            if options.export or options.create_image:
                from podling.core import checkpoint_archive

                checkpoint_archive.export(container, options)
        if not stays:
            lifecycle.wait_for_process(container.pid, container.pid_start, 10)
            lifecycle.finish(container)
    finally:
        if attended >= 0:
            os.close(attended)
    return Timing(id=container.id, duration=int((time.monotonic() - begin) * 1e6), criu=timing)


def _check_options(container: Container, options: CheckpointOptions) -> None:
    if options.compress not in ("none", "gzip", "zstd"):
        raise InvalidInput(f"--compress {options.compress!r}: not one of none, gzip, zstd")
    if options.ignore_rootfs and not options.export:
        raise InvalidInput("--ignore-rootfs can only be used with --export")
    if options.ignore_volumes and not options.export:
        raise InvalidInput("--ignore-volumes can only be used with --export")
    if options.export and options.create_image:
        raise InvalidInput("--export and --create-image cannot be used together")
    if options.export and not os.access(os.path.dirname(os.path.abspath(options.export)), os.W_OK):
        raise InvalidInput(f"--export {options.export}: its folder is not there, or cannot be written to")
    if options.with_previous and options.pre_checkpoint:
        raise InvalidInput("--with-previous cannot be used with --pre-checkpoint")
    if options.with_previous and not os.path.isdir(f"{container.ctx.folder(container.id)}/pre-checkpoint"):
        raise InvalidInput(
            f"--with-previous: container {container.name} has no pre-checkpoint",
            hint=f"podling container checkpoint --pre-checkpoint {container.name}",
        )
    if container.auto_remove and not (options.export or options.create_image or options.leave_running):
        raise InvalidInput(
            f"container {container.name} was made with --rm: it would be gone with its checkpoint",
            hint="--export keeps it in a file",
        )


def _check_runtime(container: Container) -> None:
    """crun must have been built with CRIU, runc finds the program itself."""
    from podling.config.settings import find_program

    runtime = container.ctx.runtime(container.config.runtime)
    if runtime.name == "crun" and "+CRIU" not in runtime.version():
        raise Unsupported(
            f"{runtime.path} was built without CRIU: it can neither checkpoint nor restore",
            hint="install runc and criu, and make the container with `podling --runtime runc …`",
        )
    if runtime.name == "runc":
        find_program("criu")


def _dump(container: Container, options: CheckpointOptions, *, stays: bool) -> dict[str, int]:
    """Have the runtime write CRIU's images; its statistics."""
    folder = container.ctx.folder(container.id)
    os.makedirs(folder, 0o700, exist_ok=True)
    images = f"{folder}/{'pre-checkpoint' if options.pre_checkpoint else 'checkpoint'}"
    remove_tree(images)
    os.mkdir(images, 0o700)
    arguments = ["checkpoint", "--image-path", images, "--work-path", images]
    if options.pre_checkpoint:
        arguments.append("--pre-dump")
    elif stays:
        arguments.append("--leave-running")
    arguments += _common(options)
    if options.with_previous:
        arguments += ["--parent-path", "../pre-checkpoint"]
    runtime = container.ctx.runtime(container.config.runtime)
    outcome = runtime.call(*arguments, container.id)
    if outcome.code:
        said = quoted(f"{images}/dump.log") or _criu_check() or outcome.message
        remove_tree(images)
        raise RuntimeFailed(
            f"{runtime.name} could not checkpoint the container {container.name}: {said}",
            hint="`criu check` says what this kernel and this CRIU cannot do together",
        )
    statistics = read_statistics(f"{images}/stats-dump", 1, _DUMPED)
    if not options.keep:
        for name in ("dump.log", "stats-dump"):
            if os.path.exists(f"{images}/{name}"):
                os.unlink(f"{images}/{name}")
    return statistics


def _common(options: CheckpointOptions | RestoreOptions) -> list[str]:
    return [
        *(["--tcp-established"] if options.tcp_established else []),
        *(["--file-locks"] if options.file_locks else []),
    ]


def quoted(path: str) -> str:
    """The first error in CRIU's log, without its time; "" when there is none."""
    try:
        with open(path, errors="replace") as file:
            for line in file:
                position = line.find("Error (")
                if position >= 0:
                    return line[position:].strip()
    except OSError:
        pass
    return ""


def _criu_check() -> str:
    from podling.config.settings import find_program
    from podling.linux.process import run

    outcome = run([find_program("criu"), "check"], capture=True)
    lines = (outcome.stdout.decode("utf-8", "replace") + outcome.message).splitlines()
    return next((line[line.index("Error (") :] for line in lines if "Error (" in line), "") if outcome.code else ""


def _keep_shared_memory(container: Container) -> None:
    """/dev/shm is a mount of ours, which CRIU leaves to us."""
    from podling.storage.changes import View, tree_archive

    shm, target = f"{container.bundle.folder}/shm", f"{container.ctx.folder(container.id)}/devshm-checkpoint.tar"
    if os.path.isdir(shm):
        with open(target, "wb") as file:
            for piece in tree_archive(View([shm]), "/", "", inside=True):
                file.write(piece)


def read_statistics(path: str, number: int, names: dict[int, str]) -> dict[str, int]:
    """The integers of field `number` in CRIU's statistics: two magic words, a length, and a message of protocol buffers."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return {}
    inner = dict(_fields(data[12:])).get(number, b"")
    return (
        {names[key]: value for key, value in _fields(inner) if key in names and isinstance(value, int)}
        if isinstance(inner, bytes)
        else {}
    )


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while position < len(data):
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return value

    while position < len(data):
        key = varint()
        value: int | bytes = varint()
        if key & 7 == 2:
            length = int(value)
            value = data[position : position + length]
            position += length
        yield key >> 3, value


# -- restore
def restore(container: Container, options: RestoreOptions) -> Timing:
    """Let a container go on from its checkpoint.

    Raises:
        WrongState: it runs. InvalidInput: it has no checkpoint. RuntimeFailed: CRIU's own words.
    """
    from podling.core import health, lifecycle
    from podling.core.launch import launch

    ctx = container.ctx
    folder = ctx.folder(container.id)
    begin = time.monotonic()
    _check_runtime(container)
    if options.tcp_close and not ctx.runtime(container.config.runtime).knows("restore", "--tcp-close"):
        raise Unsupported(
            f"--tcp-close: this {container.config.runtime} cannot close connections", hint="crun can, built with CRIU"
        )
    lifecycle.start_required(container)
    with container.lock():
        container.load()
        if container.is_alive:
            raise WrongState(
                f"container {container.name} is running or paused, cannot restore: container state improper"
            )
        known = json.loads(container.__dict__["checkpoint"])
        if not known.get("at") or not os.path.exists(f"{folder}/checkpoint/inventory.img"):
            raise InvalidInput(
                f"a complete checkpoint for container {container.name} cannot be found, cannot restore: invalid argument",
                hint="`podling container checkpoint` makes one while it runs",
            )
        _keep_addresses(container, known.get("network") or {}, options)
        arguments = [*_common(options), *(["--tcp-close"] if options.tcp_close else [])]
        revival = Revival(
            f"{folder}/checkpoint",
            arguments,
            f"{folder}/devshm-checkpoint.tar",
            renamed=known.get("id") != container.id,
        )
        lifecycle.mark_dirty(container)
        log = f"{container.bundle.folder}/restore.log"
        try:
            pid, conmon_pid, network = launch(container, revival=revival)
        except RuntimeFailed as error:
            said = quoted(log)
            lifecycle.undo_start(container, error)
            raise RuntimeFailed(f"container {container.name} could not be restored: {said or error.message}") from None
        except BaseException as error:
            lifecycle.undo_start(container, error)
            raise
        statistics = read_statistics(f"{container.bundle.folder}/stats-restore", 2, _RESTORED)
        at = now()
        state = {**known, "restored": at} if options.keep else {"restored": at}
        with ctx.db.write() as tx:
            tx.update(
                "containers", container.key, status="running", pid=pid, pid_start=start_time(pid), conmon_pid=conmon_pid,
                conmon_start=start_time(conmon_pid), started=container.started or at, finished=0, exit_code=0, oom_killed=0,
                network=network, wanted=1, checkpoint=json.dumps(state),
            )  # fmt: skip
            container.tell(tx, "restore")
        container.load()
        if not options.keep:
            forget(container)
        if container.config.health:
            health.watch(container)
    return Timing(id=container.id, duration=int((time.monotonic() - begin) * 1e6), criu=statistics)


def _keep_addresses(container: Container, status: dict[str, Any], options: RestoreOptions) -> None:
    """Have it get the addresses again that its connections know; in this process's copy of the configuration alone."""
    config = container.config
    if config.network != "bridge":
        return
    for name in config.networks:
        interfaces = (status.get(name) or {}).get("interfaces") or {}
        own = dict(config.network_options.get(name) or {})
        for interface in interfaces.values():
            if not options.ignore_static_ip:
                own["ips"] = [str(subnet["ipnet"]).partition("/")[0] for subnet in interface.get("subnets") or ()]
            if not options.ignore_static_mac and interface.get("mac_address"):
                own["mac"] = interface["mac_address"]
        if options.ignore_static_ip:
            own.pop("ips", None)
        config.network_options = {**config.network_options, name: own}
    if options.ignore_static_ip:
        config.ip = ""
    if options.ignore_static_mac:
        config.mac = ""


def forget(container: Container) -> None:
    """Remove the files of a checkpoint."""
    folder = container.ctx.folder(container.id)
    for name in ("checkpoint", "pre-checkpoint", "devshm-checkpoint.tar"):
        path = f"{folder}/{name}"
        if os.path.isdir(path):
            remove_tree(path)
        elif os.path.exists(path):
            os.unlink(path)


def report(kind: str, timings: list[Timing]) -> dict[str, Any]:
    """What --print-stats shows, in Podman's shape. `kind` is checkpoint or restore; times are in µs."""
    return {
        f"podman_{kind}_duration": sum(timing.duration for timing in timings),
        "container_statistics": [
            {"Id": timing.id, f"runtime_{kind}_duration": timing.duration, "criu_statistics": timing.criu}
            for timing in timings
        ],
    }
