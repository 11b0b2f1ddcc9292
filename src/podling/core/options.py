"""What a user asks for, one field per option, as text the way flags and library callers give it."""

from __future__ import annotations

from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class CreateOptions(Record):
    """All options of `create` and `run`. Lists repeat an option; "" and 0 are "not given"."""

    image: str
    command: list[str] = []
    name: str = ""
    entrypoint: str | None = None
    env: list[str] = []
    env_file: list[str] = []
    env_host: bool = False
    http_proxy: bool = True
    label: list[str] = []
    label_file: list[str] = []
    annotation: list[str] = []
    workdir: str = ""
    user: str = ""
    group_add: list[str] = []
    hostname: str = ""
    tty: bool = False
    interactive: bool = False
    volume: list[str] = []
    mount: list[str] = []
    tmpfs: list[str] = []
    read_only: bool = False
    read_only_tmpfs: bool = True
    privileged: bool = False
    cap_add: list[str] = []
    cap_drop: list[str] = []
    security_opt: list[str] = []
    init: bool = False
    init_path: str = ""
    memory: str = ""
    memory_swap: str = ""
    memory_reservation: str = ""
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    cpus: float = 0.0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    blkio_weight: int = 0
    ulimit: list[str] = []
    sysctl: list[str] = []
    device: list[str] = []
    device_cgroup_rule: list[str] = []
    shm_size: str = ""
    oom_score_adj: int = 0
    umask: str = ""
    tz: str = ""
    network: list[str] = []
    publish: list[str] = []
    publish_all: bool = False
    expose: list[str] = []
    dns: list[str] = []
    dns_search: list[str] = []
    dns_option: list[str] = []
    add_host: list[str] = []
    no_hosts: bool = False
    ip: str = ""
    mac_address: str = ""
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroupns: str = ""
    cgroup_parent: str = ""
    cgroups: str = ""
    log_driver: str = ""
    log_opt: list[str] = []
    stop_signal: str = ""
    stop_timeout: int = -1
    timeout: int = 0
    rm: bool = False
    rootfs: bool = False
    replace: bool = False
    pull: str = "missing"
    platform: str = ""
    authfile: str = ""
    creds: str = ""
    cert_dir: str = ""
    tls_verify: bool | None = None
    cidfile: str = ""
    pidfile: str = ""
    conmon_pidfile: str = ""
    detach_keys: str = "ctrl-p,ctrl-q"
    #: the command line, for `inspect`
    create_command: list[str] = []
    restart: str = ""
    health_cmd: str = ""
    health_interval: str = ""
    health_timeout: str = ""
    health_start_period: str = ""
    health_retries: int = -1
    health_on_failure: str = ""
    health_log_destination: str = ""
    health_max_log_count: int = -1
    health_max_log_size: int = -1
    health_startup_cmd: str = ""
    health_startup_interval: str = ""
    health_startup_timeout: str = ""
    health_startup_retries: int = -1
    health_startup_success: int = -1
    no_healthcheck: bool = False
    volumes_from: list[str] = []
    image_volume: str = ""
    env_merge: list[str] = []
    unsetenv: list[str] = []
    unsetenv_all: bool = False
    blkio_weight_device: list[str] = []
    device_read_bps: list[str] = []
    device_write_bps: list[str] = []
    device_read_iops: list[str] = []
    device_write_iops: list[str] = []
    cgroup_conf: list[str] = []
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    requires: list[str] = []
    hosts_file: str = ""
    no_hostname: bool = False
    passwd: bool = True
    passwd_entry: str = ""
    group_entry: str = ""
    personality: str = ""
    rdt_class: str = ""
    rmi: bool = False
    retry: int = 3
    retry_delay: str = ""
    decryption_key: list[str] = []
    signature_policy: str = ""
    secret: list[str] = []
    network_alias: list[str] = []
    ip6: str = ""
    gpus: list[str] = []
    chrootdirs: list[str] = []
    systemd: str = "true"
    shm_size_systemd: str = ""
    sdnotify: str = "container"
    seccomp_policy: str = "default"
    attach: list[str] = []
    kernel_memory: str = ""
    #: name or id of a pod, or new:NAME
    pod: str = ""
    pod_id_file: str = ""
    #: always or once: it runs, to its end, before the others when its pod is started
    init_ctr: str = ""
    userns: str = ""
    uidmap: list[str] = []
    gidmap: list[str] = []
    subuidname: str = ""
    subgidname: str = ""
    hostuser: list[str] = []


class PodOptions(Record):
    """All options of `pod create`. `infra_options` are those of the container that holds the namespaces: networks, ports, volumes."""

    nested: ClassVar[dict[str, type[Record]]] = {"infra_options": CreateOptions}

    infra_options: CreateOptions
    name: str = ""
    labels: list[str] = []
    label_files: list[str] = []
    infra: bool = True
    infra_image: str = ""
    infra_command: str = ""
    infra_name: str = ""
    #: kinds of namespaces, separated by commas; "none" for none
    share: str = "ipc,net,uts"
    share_parent: bool = True
    exit_policy: str = "continue"
    #: restart policy of the containers in it that have none of their own
    restart: str = ""
    cgroup_parent: str = ""
    id_file: str = ""
    replace: bool = False
    create_command: list[str] = []


class ExecOptions(Record):
    """All options of `exec`."""

    command: list[str]
    env: list[str] = []
    env_file: list[str] = []
    workdir: str = ""
    user: str = ""
    privileged: bool = False
    tty: bool = False
    interactive: bool = False
    detach_keys: str = "ctrl-p,ctrl-q"
    #: descriptors that the process gets under their own numbers
    preserve_fds: list[int] = []


class RegistryAccess(Record):
    """The options that every command with a registry has. `retry_delay` is a Go duration; `retries` counts further attempts."""

    creds: str = ""
    authfile: str = ""
    tls_verify: bool | None = None
    cert_dir: str = ""
    retries: int = 3
    retry_delay: str = ""


class Platforms(Record):
    """What is said of one entry: fields left empty keep what the image says. Annotations are KEY=VALUE."""

    os: str = ""
    arch: str = ""
    variant: str = ""
    os_version: str = ""
    features: list[str] = []
    os_features: list[str] = []
    annotations: list[str] = []


class ArtifactOptions(Record):
    """An artifact that is made of files for `manifest add --artifact`."""

    type: str = ""
    config: str = ""
    config_type: str = ""
    layer_type: str = ""
    exclude_titles: bool = False
    subject: str = ""


class AddOptions(Record):
    """How files become an artifact: `type` of the whole, `file_type` of each; annotations are KEY=VALUE."""

    type: str = ""
    file_type: str = ""
    annotations: list[str] = []
    append: bool = False
    replace: bool = False


class CommitOptions(Record):
    """`format` oci or docker; `config` a JSON file's text that is merged into the configuration."""

    author: str = ""
    message: str = ""
    changes: list[str] = []
    config: str = ""
    format: str = "oci"
    pause: bool = False
    squash: bool = False
    include_volumes: bool = False


class CheckpointOptions(Record):
    """How a checkpoint is made. `export` is a file's path, `create_image` an image's name; `compress` none, gzip or zstd."""

    keep: bool = False
    leave_running: bool = False
    tcp_established: bool = False
    file_locks: bool = False
    export: str = ""
    compress: str = "zstd"
    create_image: str = ""
    ignore_rootfs: bool = False
    ignore_volumes: bool = False
    pre_checkpoint: bool = False
    with_previous: bool = False


class RestoreOptions(Record):
    """How a container goes on. `archive` and `previous` are paths of exported checkpoints; name, pod and ports are for those alone."""

    keep: bool = False
    tcp_established: bool = False
    tcp_close: bool = False
    file_locks: bool = False
    archive: str = ""
    previous: str = ""
    name: str = ""
    pod: str = ""
    publish: list[str] = []
    ignore_rootfs: bool = False
    ignore_volumes: bool = False
    ignore_static_ip: bool = False
    ignore_static_mac: bool = False
