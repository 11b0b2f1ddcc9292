"""What a container is made with: everything of it that never changes after `create`. Kept as JSON in the database."""

from __future__ import annotations

from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class Mount(Record):
    """One mount of a container. `kind`: bind, volume, tmpfs, image, devpts, ramfs. `name` is the volume's or the image's id."""

    kind: str
    target: str
    source: str = ""
    name: str = ""
    options: list[str] = []
    #: copy what the image has at `target` into an empty volume
    copy_up: bool = True
    #: of an image: the folder in it
    subpath: str = ""


class SecretUse(Record):
    """A secret of a container: a file below /run/secrets, or a variable. `target` is the file's path or the variable's name."""

    id: str
    name: str
    kind: str = "mount"
    target: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


class Port(Record):
    """A published port. A host port of 0 has been replaced by a free one when this is stored."""

    container_port: int
    host_port: int = 0
    host_ip: str = ""
    protocol: str = "tcp"
    #: how many consecutive ports, counted from both numbers
    span: int = 1


class Resources(Record):
    """Limits. Bytes, microseconds, shares; 0 or "" is "not limited"; -1 is "explicitly unlimited"."""

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    blkio_weight: int = 0

    cpu_rt_runtime: int = 0
    cpu_rt_period: int = 0
    #: PATH:NUMBER, as the flags have it
    blkio_weight_device: list[str] = []
    device_read_bps: list[str] = []
    device_write_bps: list[str] = []
    device_read_iops: list[str] = []
    device_write_iops: list[str] = []
    #: cgroup v2 files and what is written to them
    unified: dict[str, str] = {}


class Health(Record):
    """Health checks. `test` as in an image: ["CMD", …], ["CMD-SHELL", text]. Nanoseconds; an interval of 0 is never by itself."""

    test: list[str] = []
    interval: int = 30 * 10**9
    timeout: int = 30 * 10**9
    start_period: int = 0
    retries: int = 3
    #: none, kill, restart or stop
    on_failure: str = "none"
    log_destination: str = "local"
    log_count: int = 5
    log_size: int = 500
    startup_test: list[str] = []
    startup_interval: int = 30 * 10**9
    startup_timeout: int = 30 * 10**9
    startup_retries: int = 0
    startup_success: int = 0


class UserNamespace(Record):
    """A user namespace of the container's own. Maps are (first id inside, outside, how many); without any it has none."""

    #: as it was asked for
    mode: str = ""
    users: list[list[int]] = []
    groups: list[list[int]] = []


class Security(Record):
    """Capabilities and confinement. `seccomp`: "" for the default profile, "unconfined", a path, or JSON: an image's own."""

    privileged: bool = False
    cap_add: list[str] = []
    cap_drop: list[str] = []
    seccomp: str = ""
    apparmor: str = ""
    no_new_privileges: bool = False
    mask: list[str] = []
    unmask: list[str] = []
    proc_opts: list[str] = []
    #: what --security-opt label asked for, and the SELinux labels that came of it
    label_options: list[str] = []
    process_label: str = ""
    mount_label: str = ""


class Device(Record):
    """A host device in the container; `access` of the letters r, w, m."""

    host: str
    target: str
    access: str = "rwm"


class ContainerConfig(Record):
    nested: ClassVar[dict[str, type[Record]]] = {
        "mounts": Mount,
        "ports": Port,
        "resources": Resources,
        "security": Security,
        "devices": Device,
        "health": Health,
        "secrets": SecretUse,
        "userns": UserNamespace,
    }

    id: str
    name: str
    #: the name that was asked for, and what it was resolved to
    image: str = ""
    image_id: str = ""
    rootfs: str = ""
    entrypoint: list[str] = []
    command: list[str] = []
    env: dict[str, str] = {}
    workdir: str = "/"
    #: the image declared it, so that it is made when it is missing
    workdir_from_image: bool = False
    user: str = ""
    groups: list[str] = []
    hostname: str = ""
    tty: bool = False
    stdin: bool = False
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    mounts: list[Mount] = []
    devices: list[Device] = []
    device_cgroup_rules: list[str] = []
    read_only: bool = False
    read_only_tmpfs: bool = True
    init: bool = False
    init_path: str = ""
    resources: Resources
    security: Security
    ulimits: list[str] = []
    sysctls: dict[str, str] = {}
    shm_size: int = 65536 * 1024
    oom_score_adj: int = 0
    umask: str = "0022"
    timezone: str = ""
    #: none, host, bridge, container:ID, ns:PATH
    network: str = "bridge"
    #: pasta's or slirp4netns' own options
    network_arguments: list[str] = []
    networks: list[str] = []
    #: name of a network to what is asked for on it: ips, mac, aliases, interface
    network_options: dict[str, dict[str, Any]] = {}
    ports: list[Port] = []
    publish_all: bool = False
    exposed: list[str] = []
    dns: list[str] = []
    dns_search: list[str] = []
    dns_option: list[str] = []
    add_hosts: list[str] = []
    no_hosts: bool = False
    ip: str = ""
    mac: str = ""
    userns: UserNamespace | None = None
    #: users of the host that get an entry in the container's passwd
    host_users: list[str] = []
    #: the groups of whoever runs the engine stay with the process
    keep_groups: bool = False
    #: id of its pod, whose namespaces the `infra` container holds
    pod: str = ""
    infra: bool = False
    #: names of CDI devices
    cdi_devices: list[str] = []
    #: folders in the container that get the managed files of /etc too
    chroot_dirs: list[str] = []
    #: the first process is systemd, or wants what systemd wants
    systemd: bool = False
    shm_size_systemd: int = 0
    #: container, conmon, healthy or ignore
    #: "always" or "once": an init container of its pod
    init_type: str = ""
    sdnotify: str = "container"
    #: systemd's socket for notifications when it was created; who starts it may have another
    sdnotify_socket: str = ""
    #: streams that `create --attach` named
    attach: list[str] = []
    pid_mode: str = "private"
    #: private: nobody can join it; shareable: /dev/shm is a mount of the host's that others can have too
    ipc_mode: str = "shareable"
    uts_mode: str = "private"
    cgroup_mode: str = "private"
    cgroup_parent: str = ""
    cgroups: str = "enabled"
    log_driver: str = "k8s-file"
    log_path: str = ""
    log_size: int = -1
    log_tag: str = ""
    log_labels: list[str] = []
    stop_signal: int = 15
    stop_timeout: int = 10
    timeout: int = 0
    auto_remove: bool = False
    #: it ends with a reboot (--transient-store)
    transient: bool = False
    runtime: str = ""
    detach_keys: str = "ctrl-p,ctrl-q"
    pidfile: str = ""
    conmon_pidfile: str = ""
    create_command: list[str] = []
    #: no, on-failure, always or unless-stopped; `restart_limit` counts restarts of on-failure, 0 is no limit
    restart: str = "no"
    restart_limit: int = 0
    health: Health | None = None
    #: NAME:CONDITION of containers that have to be started, healthy or completed before this one
    requires: list[str] = []
    hosts_file: str = ""
    no_hostname: bool = False
    passwd: bool = True
    passwd_entry: str = ""
    group_entry: str = ""
    personality: str = ""
    rdt_class: str = ""
    remove_image: bool = False
    secrets: list[SecretUse] = []

    @property
    def argv(self) -> list[str]:
        return [*self.entrypoint, *self.command]
