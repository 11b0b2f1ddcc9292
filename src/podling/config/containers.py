"""containers.conf (containers.conf(5)): the files, in their order, merged.

Read one after the other: `/usr/share/containers/containers.conf`, `/etc/containers/containers.conf`, the files of
`containers.conf.d` beside them, the same of the user, modules, `$CONTAINERS_CONF_OVERRIDE`; with `$CONTAINERS_CONF` that file
instead of all but the last two. A later value replaces an earlier one; a list with `{append = true}` in it is appended.
"""

from __future__ import annotations

import os

from podling.config import cached
from podling.errors import InvalidInput
from podling.linux.proc import outer_uid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VENDOR, _HOST = "/usr/share/containers", "/etc/containers"
_KNOWN = {
    "configmaps": frozenset(("driver opts").split()),
    "containers": frozenset(
        (
            "annotations apparmor_profile base_hosts_file cgroup_conf cgroupns cgroups container_name_as_hostname "
            "default_capabilities default_sysctls default_ulimits devices dns_options dns_searches dns_servers env env_host "
            "host_containers_internal_ip http_proxy init init_path interface_name ipcns keyring label label_users log_driver "
            "log_path log_size_max log_tag mounts netns no_hosts oom_score_adj pidns pids_limit prepare_volume_on_create privileged "
            "read_only seccomp_profile shm_size tz umask userns userns_size utsns volumes"
        ).split()
    ),
    "engine": frozenset(
        (
            "active_service add_compression cdi_spec_dirs cgroup_check cgroup_manager chown_copied_files "
            "compat_api_enforce_docker_hub compose_providers compose_warning_logs compression_format compression_level "
            "conmon_env_vars conmon_path conmonrs_path database_backend detach_keys enable_port_reservation env "
            "events_container_create_inspect_data events_logfile_max_size events_logfile_path events_logger exit_command_delay "
            "healthcheck_events helper_binaries_dir hooks_dir image_build_format image_copy_tmp_dir image_default_format "
            "image_default_transport image_parallel_copies image_volume_mode infra_command infra_image init_path kube_generate_type "
            "lock_type multi_image_archive namespace network_cmd_options network_cmd_path no_pivot_root num_locks "
            "platform_to_oci_runtime pod_exit_policy podmansh_timeout pull_policy remote remote_identity remote_uri retry "
            "retry_delay runtime runtime_path runtime_supports_json runtime_supports_kvm runtime_supports_nocgroup runtimes "
            "runtimes_flags service_destinations service_timeout ssh_config static_dir stop_timeout tmp_dir volume_path "
            "volume_plugin_timeout volume_plugins"
        ).split()
    ),
    "farms": frozenset(("default list").split()),
    "machine": frozenset(("cpus disk_size image memory provider rosetta user volumes").split()),
    "network": frozenset(
        (
            "cni_plugin_dirs default_network default_rootless_network_cmd default_subnet default_subnet_pools dns_bind_port "
            "firewall_driver netavark_plugin_dirs network_backend network_config_dir pasta_options"
        ).split()
    ),
    "podmansh": frozenset(("container shell timeout").split()),
    "secrets": frozenset(("driver opts").split()),
}


class Configuration:
    """What the files say: `get(section, key)`. `warnings` are about keys that nobody knows."""

    def __init__(self, sections: dict[str, dict[str, Any]], warnings: list[str]) -> None:
        self._sections = sections
        self.warnings = warnings

    def get(self, section: str, key: str, default: Any = None) -> Any:
        """A value; `default` where no file has it, or has it empty."""
        value = self._sections.get(section, {}).get(key)
        return default if value is None or value == "" else value

    def set(self, section: str, key: str, value: Any) -> None:
        self._sections.setdefault(section, {})[key] = value

    def texts(self, section: str, key: str) -> list[str]:
        """A list of strings."""
        value = self.get(section, key, [])
        if not isinstance(value, list):
            raise InvalidInput(f"containers.conf: {section}.{key} is not a list")
        return [str(item) for item in value]

    def number(self, section: str, key: str, default: int) -> int:
        """An integer."""
        value = self.get(section, key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidInput(f"containers.conf: {section}.{key} is not a number: {value!r}")
        return value

    def flag(self, section: str, key: str, *, default: bool = False) -> bool:
        """A boolean."""
        value = self.get(section, key, default)
        if not isinstance(value, bool):
            raise InvalidInput(f"containers.conf: {section}.{key} is neither true nor false: {value!r}")
        return value

    def text(self, section: str, key: str, default: str = "") -> str:
        """A string."""
        value = self.get(section, key, default)
        if not isinstance(value, str):
            raise InvalidInput(f"containers.conf: {section}.{key} is not a string: {value!r}")
        return value


_loaded: Configuration | None = None
_modules: list[str] = []


def use_modules(names: list[str]) -> None:
    """--module: files to read on top of the others. Before anything is loaded.

    Raises:
        InvalidInput: there is none of that name.
    """
    global _modules
    _modules = [_module(name) for name in names]


def _module(name: str) -> str:
    if name.startswith(("/", "./", "../")):
        if os.path.isfile(name):
            return os.path.abspath(name)
    else:
        for folder in (_user_folder(), _HOST, _VENDOR):
            path = f"{folder}/containers.conf.modules/{name}"
            if folder and os.path.isfile(path):
                return path
    raise InvalidInput(
        f"could not resolve module {name!r}: no such file",
        hint=f"modules are looked for in {_HOST}/containers.conf.modules",
    )


def _user_folder() -> str:
    if not outer_uid():
        return ""
    from podling.config.settings import home_folder

    return (os.environ.get("XDG_CONFIG_HOME") or f"{home_folder(outer_uid())}/.config") + "/containers"


def files() -> list[str]:
    """The files that count, in the order in which they are read."""
    single = os.environ.get("CONTAINERS_CONF", "")
    found = []
    if single:
        found.append(single)
    else:
        for folder in (_VENDOR, _HOST, _user_folder()):
            if not folder:
                continue
            if os.path.exists(f"{folder}/containers.conf"):
                found.append(f"{folder}/containers.conf")
            try:
                names = sorted(os.listdir(f"{folder}/containers.conf.d"))
            except OSError:
                continue
            found += [f"{folder}/containers.conf.d/{name}" for name in names if name.endswith(".conf")]
    found += _modules
    override = os.environ.get("CONTAINERS_CONF_OVERRIDE", "")
    return [*found, override] if override else found


def load() -> Configuration:
    """The merged configuration, read once.

    Raises:
        InvalidInput: a file is missing that the environment names, or is broken: with its line.
    """
    global _loaded
    if _loaded is None:
        _loaded = _load(files())
    return _loaded


def override(section: str, key: str, value: str) -> None:
    """What a flag says counts for this process, whatever the files say."""
    load().set(section, key, value)


def forget() -> None:
    """Read the files again next time."""
    global _loaded
    _loaded = None


def _load(paths: list[str]) -> Configuration:
    if not paths:
        return Configuration({}, [])
    kept = cached.read("containers-conf", paths, _parsed)
    return Configuration(kept["sections"], kept["warnings"])


def _parsed(paths: list[str]) -> dict[str, Any]:
    sections, warnings = _read(paths)
    return {"sections": sections, "warnings": warnings}


def _read(paths: list[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    import tomllib

    sections: dict[str, dict[str, Any]] = {}
    warnings: list[str] = []
    appends: set[tuple[str, str]] = set()
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"{path}: {error}", hint="containers.conf(5) describes the file") from None
        for section, values in document.items():
            if section not in _KNOWN or not isinstance(values, dict):
                warnings.append(f"{path}:{cached.line_of(text, section)}: unknown section [{section}]")
                continue
            for key, value in values.items():
                if key not in _KNOWN[section]:
                    warnings.append(f"{path}:{cached.line_of(text, key)}: unknown key {section}.{key}")
                    continue
                _merge(sections.setdefault(section, {}), section, key, value, appends)
    return sections, warnings


def _merge(values: dict[str, Any], section: str, key: str, value: Any, appends: set[tuple[str, str]]) -> None:
    if isinstance(value, list):
        switches = [item["append"] for item in value if isinstance(item, dict) and set(item) == {"append"}]
        items = [item for item in value if not (isinstance(item, dict) and set(item) == {"append"})]
        if switches:
            (appends.add if switches[-1] else appends.discard)((section, key))
        values[key] = [*values.get(key, []), *items] if (section, key) in appends else items
    elif isinstance(value, dict):
        values[key] = {**values.get(key, {}), **value}
    else:
        values[key] = value
