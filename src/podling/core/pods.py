"""Pods: containers that share namespaces, a cgroup and their ups and downs.

The namespaces belong to an infra container, which runs nothing but a program that sleeps (catatonit), out of a folder of ours: no
image has to be fetched for it. Members join its namespaces, and require it, so that whoever starts a member starts it too.
"""

from __future__ import annotations

import os

from podling.config import containers
from podling.core import parse
from podling.core.containers import Container, every
from podling.core.names import random_name
from podling.core.options import CreateOptions, PodOptions
from podling.errors import AmbiguousName, Conflict, InvalidInput, NameInUse, NoSuchPod, PodlingError, WrongState
from podling.oci import json
from podling.oci.record import Record
from podling.oci.reference import is_hex
from podling.runtime.config import ContainerConfig
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.core.context import Context
    from podling.state.database import Transaction

SHARED = ("cgroup", "ipc", "net", "pid", "user", "uts")
EXIT_POLICIES = ("continue", "stop")
INIT_TYPES = ("always", "once")
_NETWORK_FLAGS = (
    "ip",
    "ip6",
    "mac_address",
    "publish",
    "publish_all",
    "dns",
    "dns_search",
    "dns_option",
    "network_alias",
)


class Pod(Record):
    """A pod as it was made; `share` are the kinds of namespaces that its containers have in common."""

    id: str
    name: str
    created: int = 0
    labels: dict[str, str] = {}
    share: list[str] = []
    share_parent: bool = True
    exit_policy: str = "continue"
    restart: str = ""
    has_infra: bool = True
    cgroup_parent: str = ""
    create_command: list[str] = []
    #: what the infra container was asked to be, for `pod inspect` and `pod clone`
    options: dict[str, object] = {}


# -- looking up
_COLUMNS = "id, name, created, labels, config"


def _pod(row: tuple[str, str, int, str, str]) -> Pod:
    document = json.loads(row[4])
    return Pod.from_json({**document, "id": row[0], "name": row[1], "created": row[2], "labels": json.loads(row[3])})


def find(ctx: Context, name: str) -> Pod:
    """The pod that a name, an id or the beginning of one means.

    Raises:
        NoSuchPod, AmbiguousName.
    """
    rows = ctx.db.rows(f"SELECT {_COLUMNS} FROM pods WHERE name=? OR id=?", name, name)
    if not rows and name and is_hex(name):
        rows = ctx.db.rows(f"SELECT {_COLUMNS} FROM pods WHERE id >= ? AND id < ? LIMIT 5", name, name + "g")
        if len(rows) > 1:
            found = ", ".join(f"{row[0][:12]} ({row[1]})" for row in rows)
            raise AmbiguousName(f'"{name}" fits several pods: {found}', hint="give more digits, or the name")
    if not rows:
        raise NoSuchPod(name)
    return _pod(rows[0])


def all_pods(ctx: Context) -> list[Pod]:
    """Every pod, the newest first."""
    return [_pod(row) for row in ctx.db.rows(f"SELECT {_COLUMNS} FROM pods ORDER BY created DESC, key DESC")]


def members(ctx: Context, pod: Pod) -> list[Container]:
    """The containers of a pod, the infra container first."""
    return sorted(
        every(ctx, f"pod=(SELECT key FROM pods WHERE id='{pod.id}')"), key=lambda item: (not item.infra, item.key)
    )


def infra_of(ctx: Context, pod: Pod) -> Container | None:
    """The container that holds the pod's namespaces."""
    return next((container for container in members(ctx, pod) if container.infra), None)


def state_of(statuses: list[str]) -> str:
    """The pod's state, as Podman names it, from those of its containers."""
    if not statuses:
        return "Created"
    simple = {"exited": "Exited", "stopping": "Running", "initialized": "Created"}
    states = [simple.get(status, status.capitalize()) for status in statuses]
    for state in ("Running", "Paused", "Exited", "Created"):
        if all(found == state for found in states):
            return state
    return "Degraded" if "Running" in states else "Exited" if "Exited" in states else "Degraded"


# -- making
def create(ctx: Context, options: PodOptions) -> Pod:
    """Make a pod with its infra container; nothing of it is left when that fails.

    Raises:
        InvalidInput, NameInUse.
    """
    from podling.core.create import check_name, create_infra

    ctx.recover()
    share = _shared(options)
    if options.exit_policy == "continue":
        options.exit_policy = containers.load().text("engine", "pod_exit_policy", "continue")
    if options.exit_policy not in EXIT_POLICIES:
        raise InvalidInput(f"--exit-policy {options.exit_policy!r}: not one of {', '.join(EXIT_POLICIES)}")
    if options.name:
        check_name(options.name)
        if options.replace:
            _replace(ctx, options.name)
    elif options.replace:
        raise InvalidInput("--replace needs --name: cannot replace pod without --name being set")
    from podling.core.configuration import label_lines

    labels = parse.pairs(label_lines(options.label_files) + options.labels, "--label")
    pod = Pod(
        id=os.urandom(32).hex(), name=options.name or random_name(), created=now(), labels=labels, share=share,
        share_parent=options.share_parent, exit_policy=options.exit_policy, restart=options.restart, has_infra=options.infra,
        cgroup_parent=options.cgroup_parent, create_command=options.create_command,
        options=options.to_json(),
    )  # fmt: skip
    claimed = _claim(options.id_file)
    try:
        if options.infra:
            create_infra(ctx, _infra_options(ctx, options, pod), pod)
        else:
            _refuse_without_infra(options)
            with ctx.db.write() as tx:
                insert(tx, pod)
    except BaseException:
        if claimed:
            os.unlink(claimed)
        raise
    if claimed:
        with open(claimed, "w") as file:
            file.write(pod.id)
    return pod


def _claim(path: str) -> str:
    if path:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        except OSError as error:
            raise InvalidInput(f"--pod-id-file {path}: {error.strerror}") from None
    return path


def _shared(options: PodOptions) -> list[str]:
    names = [name.strip() for name in options.share.replace("+", "").split(",") if name.strip()]
    if options.share.startswith("+"):
        names = ["ipc", "net", "uts", *names]
    if names in ([], ["none"]) or not options.infra:
        return []
    for name in names:
        if name not in SHARED:
            raise InvalidInput(f"--share {name!r}: not one of {', '.join(SHARED)}, or none")
    return sorted(set(names))


def _refuse_without_infra(options: PodOptions) -> None:
    blank = CreateOptions(image="")
    for name in ("publish", "network", "ip", "dns", "add_host", "volume", "hostname"):
        if getattr(options.infra_options, name) != getattr(blank, name):
            raise InvalidInput(
                f"--{name.replace('_', '-')} needs an infra container: cannot set it without one",
                hint="leave --infra=false out",
            )


def _infra_options(ctx: Context, options: PodOptions, pod: Pod) -> CreateOptions:
    own = options.infra_options
    own.name = options.infra_name or f"{pod.id[:12]}-infra"
    own.ipc = "shareable"
    own.sdnotify = "ignore"
    own.hostname = own.hostname or (pod.name if "uts" in pod.share or not own.uts else "")
    own.cgroup_parent = group_of(ctx, pod)
    if options.infra_image:
        own.image = options.infra_image
        own.entrypoint = options.infra_command or None
        own.command = []
    else:
        own.image, own.rootfs = _infra_root(ctx), True
        own.command = options.infra_command.split() if options.infra_command else ["/catatonit", "-P"]
        if not options.infra_command and not os.path.exists(f"{own.image}/catatonit"):
            own.command = ["/busybox", "sleep", "2147483647"]
    if own.uts == "host" or ("net" in pod.share and own.network[:1] == ["host"]):
        own.hostname = ""
    return own


def _infra_root(ctx: Context) -> str:
    """A folder with the program that sleeps, and nothing else; made once."""
    import shutil

    from podling.config.settings import find_program

    folder = f"{ctx.settings.root}/infra"
    if os.path.exists(f"{folder}/made"):
        return folder
    for name in ("dev", "proc", "sys", "etc", "run", "tmp"):
        os.makedirs(f"{folder}/{name}", 0o755, exist_ok=True)
    os.chmod(folder, 0o755)
    for name in ("etc/hosts", "etc/resolv.conf", "etc/hostname", "run/.containerenv"):
        os.close(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    try:
        program, target = find_program("catatonit"), "catatonit"
    except PodlingError:
        program, target = find_program("busybox", package="catatonit"), "busybox"
    shutil.copyfile(os.path.realpath(program), f"{folder}/{target}.new")
    os.chmod(f"{folder}/{target}.new", 0o755)
    os.rename(f"{folder}/{target}.new", f"{folder}/{target}")
    os.close(os.open(f"{folder}/made", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return folder


def group_of(ctx: Context, pod: Pod) -> str:
    """The cgroup that the containers of a pod are in, or its slice; "" when each is where it would be anyway."""
    if not pod.share_parent:
        return pod.cgroup_parent
    if ctx.settings.cgroup_manager == "systemd":
        from podling.linux.proc import outer_uid

        parent = (pod.cgroup_parent or ("user.slice" if outer_uid() else "machine.slice")).removesuffix(".slice")
        return f"{parent}-podling_pod_{pod.id}.slice"
    return f"{pod.cgroup_parent or '/podling'}/pod-{pod.id}"


def insert(tx: Transaction, pod: Pod) -> None:
    """The row of a new pod. Containers and pods share their names.

    Raises:
        NameInUse.
    """
    for table, what in (("containers", "container"), ("pods", "pod")):
        row = tx.row(f"SELECT id FROM {table} WHERE name=?", pod.name)
        if row:
            raise NameInUse(
                f'the name "{pod.name}" is in use by the {what} {row[0]}: that name is already in use',
                hint="another --name, or --replace" if what == "pod" else "choose another --name",
                cause="that name is already in use",
            )
    document = pod.to_json()
    for name in ("id", "name", "created", "labels"):
        document.pop(name, None)
    tx.insert(
        "pods",
        id=pod.id,
        name=pod.name,
        created=pod.created,
        labels=json.dumps(pod.labels),
        config=json.dumps(document),
    )
    tx.event("pod", "create", pod.id, pod.name)


def become_infra(config: ContainerConfig, pod: Pod) -> None:
    """Mark the container that holds a pod's namespaces."""
    config.pod, config.infra = pod.id, True


def _replace(ctx: Context, name: str) -> None:
    try:
        pod = find(ctx, name)
    except NoSuchPod:
        return
    if pod.name == name:
        remove(ctx, pod, force=True, timeout=0)


# -- containers in it
def of_options(ctx: Context, options: CreateOptions) -> Pod:
    """The pod that `run --pod` names; `new:NAME` makes it, with the container's networks and ports.

    Raises:
        NoSuchPod, InvalidInput: what the pod shares cannot be asked for again.
    """
    name = options.pod
    if options.pod_id_file:
        try:
            with open(options.pod_id_file) as file:
                name = file.readline().strip()
        except OSError as error:
            raise InvalidInput(f"--pod-id-file {options.pod_id_file}: {error.strerror}") from None
    if name.startswith("new:"):
        shared = {field: getattr(options, field) for field in (*_NETWORK_FLAGS, "network", "add_host", "no_hosts")}
        made = create(
            ctx,
            PodOptions(
                infra_options=CreateOptions(image="", **shared), name=name[4:], create_command=options.create_command
            ),
        )
        blank = CreateOptions(image="")
        for field in shared:
            setattr(options, field, getattr(blank, field))
        name = made.id
    pod = find(ctx, name)
    if options.init_ctr:
        _refuse_late_init(ctx, pod)
    infra = infra_of(ctx, pod)
    if infra and "net" in pod.share:
        blank = CreateOptions(image="")
        given = [field for field in _NETWORK_FLAGS if getattr(options, field) != getattr(blank, field)]
        if given or options.network:
            flag = f"--{(given or ['network'])[0].replace('_', '-')}"
            raise InvalidInput(
                f"{flag}: network cannot be configured when it is shared with a pod; published ports must be defined when the "
                "pod is created",
                hint=f"podling pod create {flag} …",
            )
    if infra:
        _share(infra, pod, options)
    if pod.restart and not options.restart and not options.rm and not options.init_ctr:
        options.restart = pod.restart
    if not options.cgroup_parent and options.cgroups != "disabled":
        options.cgroup_parent = group_of(ctx, pod)
    return pod


def check_init(options: CreateOptions) -> None:
    """What can be said of --init-ctr without a look at the pod.

    Raises:
        InvalidInput.
    """
    if options.init_ctr not in INIT_TYPES:
        raise InvalidInput(f"--init-ctr {options.init_ctr!r}: init-ctr value must be {' or '.join(INIT_TYPES)}")
    if not (options.pod or options.pod_id_file):
        raise InvalidInput("--init-ctr needs --pod: must specify pod value with init-ctr", hint="--pod NAME")
    if options.restart not in ("", "no"):
        raise InvalidInput(
            f"--init-ctr and --restart={options.restart} exclude each other: an init container runs to its end"
        )


def _refuse_late_init(ctx: Context, pod: Pod) -> None:
    if any(container.is_alive for container in members(ctx, pod) if not container.infra):
        raise WrongState(
            f"pod {pod.name} is running: cannot add init-ctr to a running pod", hint=f"podling pod stop {pod.name}"
        )


def _share(infra: Container, pod: Pod, options: CreateOptions) -> None:
    """Have a container join the namespaces that its pod shares, where it is not told otherwise."""
    joined = f"container:{infra.id}"
    if "net" in pod.share:
        options.network = [joined]
    for kind, field in (("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroupns")):
        if kind in pod.share and not getattr(options, field):
            setattr(options, field, joined)
    if infra.config.userns and not options.userns:
        options.userns = joined


def join(ctx: Context, pod: Pod, config: ContainerConfig, options: CreateOptions) -> None:
    """What a member has of its pod besides namespaces: volumes, devices, and that it requires the infra container."""
    config.pod = pod.id
    infra = infra_of(ctx, pod)
    if infra is None:
        return
    config.requires = [*config.requires, f"{infra.id}:started"]
    hand_down(infra, config)
    if not (options.privileged or config.security.label_options):
        config.security.process_label = infra.config.security.process_label
        config.security.mount_label = infra.config.security.mount_label
    if not options.security_opt:
        config.security.seccomp = config.security.seccomp or infra.config.security.seccomp
        config.security.no_new_privileges |= infra.config.security.no_new_privileges


def hand_down(infra: Container, config: ContainerConfig) -> None:
    """A member has the volumes and devices of its pod, where it has none of its own at the same place."""
    taken = {mount.target for mount in config.mounts}
    config.mounts += [mount for mount in infra.config.mounts if mount.target not in taken]
    known = {device.target for device in config.devices}
    config.devices += [device for device in infra.config.devices if device.target not in known]


def adopt(ctx: Context, pod: Pod, config: ContainerConfig) -> None:
    """Make the copy of a container's configuration a member of a pod."""
    infra = infra_of(ctx, pod)
    config.pod = pod.id
    config.cgroup_parent = group_of(ctx, pod)
    if infra is None:
        return
    joined = f"container:{infra.id}"
    before = _joined(config)
    if "net" in pod.share:
        config.network, config.networks, config.network_options, config.ports = joined, [], {}, []
    for kind, field in (("ipc", "ipc_mode"), ("uts", "uts_mode"), ("pid", "pid_mode"), ("cgroup", "cgroup_mode")):
        if kind in pod.share:
            setattr(config, field, joined)
    left = before - _joined(config)  # the infra container of the pod that it was in
    config.requires = [item for item in config.requires if item.rpartition(":")[0] not in left]
    config.requires += [f"{infra.id}:started"]


def _joined(config: ContainerConfig) -> set[str]:
    """The containers whose namespaces it is in."""
    modes = (config.network, config.ipc_mode, config.uts_mode, config.pid_mode, config.cgroup_mode)
    return {mode.removeprefix("container:") for mode in modes if mode.startswith("container:")}


# -- its ups and downs
def start(ctx: Context, pod: Pod) -> None:
    """Start all containers of a pod that do not run, those first that others require; before them its init containers, one
    after another to their ends, unless something of the pod runs.

    Raises:
        PodlingError: of the first one that could not be started; the others are started all the same. When an init container
            fails, nothing after it is started.
    """
    from podling.core import lifecycle

    everyone = members(ctx, pod)
    if not any(container.is_alive for container in everyone if not container.infra):
        for container in everyone:
            if container.init_type:
                _run_init(container)
    _each(ctx, pod, lambda container: None if container.init_type else lifecycle.start(container), "start")


def _run_init(container: Container) -> None:
    """Run an init container to its end; one that is for once goes with it."""
    from podling.core import lifecycle, removal

    lifecycle.start(container)
    code = lifecycle.wait(container.ctx, container.id, [], 0, settle=True)
    if code:
        raise PodlingError(
            f"init container {container.name} exited with code {code}",
            hint=f"podling logs {container.name} may say why",
        )
    if container.init_type == "once":
        container.load()
        removal.remove_one(container, force=True, volumes=True)


def _each(ctx: Context, pod: Pod, action: Callable[[Container], None], event: str, *, last_first: bool = False) -> None:
    """Do something to every container of a pod, and tell; one failure does not keep the others from it."""
    problem: PodlingError | None = None
    chosen = members(ctx, pod)
    for container in reversed(chosen) if last_first else chosen:
        try:
            action(container)
        except PodlingError as error:
            problem = problem or error
    with ctx.db.write() as tx:
        tx.event("pod", event, pod.id, pod.name)
    if problem:
        raise problem


def stop(ctx: Context, pod: Pod, timeout: int) -> None:
    """Stop all containers of a pod, at once, the infra container last."""
    from podling.core import lifecycle

    chosen = [container for container in members(ctx, pod) if container.is_alive or container.dirty]
    others = [container for container in chosen if not container.infra]
    errors: list[PodlingError] = []

    def end(container: Container, seconds: int) -> None:
        try:
            lifecycle.stop(container, seconds)
        except PodlingError as error:
            errors.append(error)

    if len(others) > 1:
        import threading

        threads = [threading.Thread(target=end, args=(container, timeout)) for container in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    elif others:
        end(others[0], timeout)
    for container in chosen:
        if container.infra:
            end(container, 0)  # it has nothing to save
    with ctx.db.write() as tx:
        tx.event("pod", "stop", pod.id, pod.name)
    if errors:
        raise errors[0]


def restart(ctx: Context, pod: Pod) -> None:
    stop(ctx, pod, -1)
    start(ctx, pod)


def kill(ctx: Context, pod: Pod, signal: int) -> None:
    """Send a signal to every container of a pod that runs."""
    from podling.core import lifecycle

    def send(container: Container) -> None:
        if container.is_alive:
            lifecycle.kill(container, signal)

    _each(ctx, pod, send, "kill", last_first=True)


def pause(ctx: Context, pod: Pod) -> None:
    from podling.core import lifecycle

    _each(ctx, pod, lambda c: lifecycle.pause(c) if c.status == "running" and c.is_alive else None, "pause")


def unpause(ctx: Context, pod: Pod) -> None:
    from podling.core import lifecycle

    _each(ctx, pod, lambda c: lifecycle.unpause(c) if c.status == "paused" and c.is_alive else None, "unpause")


def remove(ctx: Context, pod: Pod, *, force: bool, timeout: int = -1) -> None:
    """Remove a pod with its containers; one that has containers which run, or any but its infra container, only with `force`.

    Raises:
        Conflict: it has containers.
    """
    from podling.core import removal

    chosen = members(ctx, pod)
    running = [container.name for container in chosen if container.is_alive and not container.infra]
    if running and not force:
        raise Conflict(
            f"pod {pod.id} has running containers and cannot be removed without force: container state improper",
            hint=f"podling pod stop {pod.name}, or pod rm --force",
        )
    others = [container for container in chosen if not container.infra]
    if others and not force:
        raise Conflict(
            f"pod {pod.id} contains containers and cannot be removed without force: pod already exists",
            hint=f"pod rm --force removes {', '.join(container.name for container in others)} too",
        )
    if force and any(container.is_alive for container in chosen):
        stop(ctx, pod, timeout)
    for container in [*others, *(container for container in chosen if container.infra)]:
        removal.remove_one(container, force=True, volumes=True, timeout=timeout, depend=True, with_pod=True)
    with ctx.db.write() as tx:
        if tx.row("SELECT 1 FROM containers WHERE pod=(SELECT key FROM pods WHERE id=?)", pod.id):
            raise Conflict(f"pod {pod.id}: a container was added meanwhile", hint="try again")
        tx.run("DELETE FROM pods WHERE id=?", pod.id)
        tx.event("pod", "remove", pod.id, pod.name)
    _drop_group(ctx, pod)


def prune(ctx: Context) -> tuple[list[str], list[Exception]]:
    """Remove the pods of which nothing runs; (ids, what went wrong)."""
    done: list[str] = []
    errors: list[Exception] = []
    for pod in all_pods(ctx):
        if any(container.is_alive for container in members(ctx, pod)):
            continue
        try:
            remove(ctx, pod, force=True)
            done.append(pod.id)
        except PodlingError as error:
            errors.append(error)
    return done, errors


def _drop_group(ctx: Context, pod: Pod) -> None:
    """Remove the pod's empty cgroup; systemd sees to its slices itself."""
    path = group_of(ctx, pod)
    if not pod.share_parent or not path.startswith("/"):
        return
    import glob

    for folder in (*glob.glob(f"/sys/fs/cgroup/*{path}"), f"/sys/fs/cgroup{path}"):
        try:
            os.rmdir(folder)
        except OSError:
            continue


def member_ended(container: Container) -> None:
    """With the exit policy stop, a pod stops when the last of its containers but the infra one has ended."""
    ctx = container.ctx
    row = ctx.db.row(f"SELECT {_COLUMNS} FROM pods WHERE key=?", container.pod)
    if row is None:
        return
    pod = _pod(row)
    if pod.exit_policy != "stop" or container.init_type:
        return
    chosen = members(ctx, pod)
    if any(other.is_alive for other in chosen if not other.infra and other.key != container.key):
        return
    for other in chosen:
        if other.infra and other.is_alive:
            from podling.core import lifecycle

            lifecycle.stop(other, 0)
