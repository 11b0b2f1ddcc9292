"""What containers.conf says about containers, where an option was not given."""

from __future__ import annotations

from podling.config import containers
from podling.core.options import CreateOptions
from podling.errors import InvalidInput
from podling.runtime.capabilities import DEFAULT as CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.config.containers import Configuration

#: option of create: key in [containers], for strings that are empty when they were not given
_STRINGS = {
    "hosts_file": "base_hosts_file", "cgroupns": "cgroupns", "cgroups": "cgroups", "init_path": "init_path", "ipc": "ipcns",
    "log_driver": "log_driver", "pid": "pidns", "shm_size": "shm_size", "tz": "tz", "umask": "umask", "userns": "userns", "uts": "utsns",
}  # fmt: skip
#: lists that are added to
_LISTS = {
    "annotation": "annotations",
    "cgroup_conf": "cgroup_conf",
    "device": "devices",
    "mount": "mounts",
    "volume": "volumes",
}
#: lists that count only when none was given
_INSTEAD = {"dns": "dns_servers", "dns_search": "dns_searches", "dns_option": "dns_options"}
_FLAGS = ("env_host", "init", "no_hosts", "privileged", "read_only")


def applied(given: CreateOptions) -> CreateOptions:
    """The options, with what was not given from the configuration.

    Raises:
        InvalidInput: a value of another type than the key has.
    """
    conf = containers.load()
    options = CreateOptions.from_json(given.to_json())
    for option, key in _STRINGS.items():
        if not getattr(options, option):
            setattr(options, option, conf.text("containers", key))
    for option, key in _LISTS.items():
        setattr(options, option, conf.texts("containers", key) + getattr(options, option))
    for option, key in _INSTEAD.items():
        if not getattr(options, option):
            setattr(options, option, conf.texts("containers", key))
    for name in _FLAGS:
        if not getattr(options, name) and conf.flag("containers", name):
            setattr(options, name, True)
    if options.http_proxy:
        options.http_proxy = conf.flag("containers", "http_proxy", default=True)
    if not options.init_path:
        options.init_path = conf.text("engine", "init_path")
    if not options.oom_score_adj:
        options.oom_score_adj = conf.number("containers", "oom_score_adj", 0)
    if not options.pids_limit and conf.get("containers", "pids_limit") is not None:
        options.pids_limit = conf.number("containers", "pids_limit", 0) or -1
    if options.stop_timeout < 0:
        options.stop_timeout = conf.number("engine", "stop_timeout", -1)
    if not options.image_volume:
        options.image_volume = conf.text("engine", "image_volume_mode").replace("anonymous", "")
    if not options.network and not options.pod and not options.pod_id_file:
        mode = conf.text("containers", "netns")
        options.network = [mode] if mode not in ("", "private") else []
    if options.pull == "missing":
        options.pull = conf.text("engine", "pull_policy", "missing")
    if options.retry == 3:
        options.retry = conf.number("engine", "retry", 3)
    options.retry_delay = options.retry_delay or conf.text("engine", "retry_delay")
    if options.detach_keys == "ctrl-p,ctrl-q":
        options.detach_keys = conf.text("engine", "detach_keys", "ctrl-p,ctrl-q")
    _logging(options, conf)
    _limits(options, conf)
    _security(options, conf)
    return options


def named_as_host() -> bool:
    """Whether a container's name is its host's name too."""
    return containers.load().flag("containers", "container_name_as_hostname")


def _logging(options: CreateOptions, conf: Configuration) -> None:
    given = {text.partition("=")[0] for text in options.log_opt}
    size, tag = conf.number("containers", "log_size_max", -1), conf.text("containers", "log_tag")
    if size > 0 and "max-size" not in given:
        options.log_opt = [*options.log_opt, f"max-size={size}"]
    if tag and "tag" not in given and options.log_driver == "journald":  # conmon takes one for no other
        options.log_opt = [*options.log_opt, f"tag={tag}"]


def _limits(options: CreateOptions, conf: Configuration) -> None:
    given = {text.partition("=")[0] for text in options.ulimit}
    if "host" not in given:
        ours = [text for text in conf.texts("containers", "default_ulimits") if text.partition("=")[0] not in given]
        options.ulimit = ours + options.ulimit


def sysctls(options: CreateOptions, *, own_network: bool, own_ipc: bool) -> list[str]:
    """Those of the configuration that a container with its own namespaces may have, and were not given."""
    given = {text.partition("=")[0] for text in options.sysctl}
    found = []
    for text in containers.load().texts("containers", "default_sysctls"):
        name = text.partition("=")[0].strip()
        allowed = own_network if name.startswith("net.") else own_ipc
        if allowed and name not in given:
            found.append(text)
    return found


def _security(options: CreateOptions, conf: Configuration) -> None:
    given = {text.replace(":", "=").partition("=")[0] for text in options.security_opt}
    for key, name in (("seccomp", "seccomp_profile"), ("apparmor", "apparmor_profile")):
        value = conf.text("containers", name)
        # Podman's files name profiles of Podman's own versions; ours is as strict
        if value and key not in given and not value.startswith(("containers-default-", "/usr/share/containers/")):
            options.security_opt = [*options.security_opt, f"{key}={value}"]
    wanted = conf.texts("containers", "default_capabilities")
    if wanted and not options.privileged:
        names = {name.upper().removeprefix("CAP_") for name in wanted}
        asked = {name.upper().removeprefix("CAP_") for name in (*options.cap_add, *options.cap_drop)}
        if "ALL" not in asked:
            options.cap_add = [*sorted(names - set(CAPABILITIES) - asked), *options.cap_add]
            options.cap_drop = [*sorted(set(CAPABILITIES) - names - asked), *options.cap_drop]


def environment() -> dict[str, str]:
    """`env`: what containers have unless their image or their options say otherwise."""
    found = {}
    for text in containers.load().texts("containers", "env"):
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InvalidInput(f"containers.conf: containers.env: {text!r} is not NAME=VALUE")
        found[name] = value
    return found
