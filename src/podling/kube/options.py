"""What a user asks of `kube play`, as text the way flags and library callers give it."""

from __future__ import annotations

from podling.core.options import RegistryAccess
from podling.oci.record import Record


class PlayOptions(Record):
    """`text` are the documents. Lists repeat an option; "" is "not given"."""

    text: str
    #: texts of further documents with ConfigMaps
    config_maps: list[str] = []
    networks: list[str] = []
    ips: list[str] = []
    macs: list[str] = []
    publish: list[str] = []
    publish_all: bool = False
    annotations: list[str] = []
    userns: str = ""
    log_driver: str = ""
    log_opts: list[str] = []
    no_hosts: bool = False
    no_hostname: bool = False
    no_pod_prefix: bool = False
    seccomp_root: str = "/var/lib/kubelet/seccomp"
    replace: bool = False
    start: bool = True
    #: with folders named like images: build (True), never (False), or where the image is missing (None)
    build: bool | None = None
    context_dir: str = ""
    access: RegistryAccess = RegistryAccess()


class PlayedPod(Record):
    """A pod that was made, with its containers; `errors` of those that did not start."""

    id: str
    name: str
    containers: list[str] = []
    init_containers: list[str] = []
    errors: list[str] = []


class Played(Record):
    """What `kube play` made."""

    pods: list[PlayedPod] = []
    volumes: list[str] = []
    secrets: list[str] = []


class TakenDown(Record):
    """What `kube down` stopped and removed."""

    stopped: list[str] = []
    removed: list[str] = []
    secrets: list[str] = []
    volumes: list[str] = []
    errors: list[Exception] = []
