"""Volume plugins: programs that keep volumes, asked over their unix socket (Docker's volume plugin protocol v1: HTTP, JSON in and out).

containers.conf names them: `[engine.volume_plugins] NAME = "/run/docker/plugins/NAME.sock"`.
"""

from __future__ import annotations

from podling.config import containers
from podling.errors import InvalidInput, NotFound, PodlingError
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ACCEPTS = "application/vnd.docker.plugins.v1.2+json"
_PATIENCE = 5
_MOST = 4 << 20


class PluginFailed(PodlingError):
    reference = "volume-plugin-failed"


def names() -> list[str]:
    """The plugins that containers.conf knows."""
    return sorted(_sockets())


def _sockets() -> dict[str, str]:
    found = containers.load().get("engine", "volume_plugins") or {}
    if not isinstance(found, dict):
        raise InvalidInput("containers.conf: engine.volume_plugins is not a table of names and sockets")
    return {str(name): str(path) for name, path in found.items()}


def create(plugin: str, volume: str, options: dict[str, str]) -> None:
    """Have a plugin make a volume.

    Raises:
        PluginFailed: what it said, or that it said nothing. The same from every function here.
    """
    _Plugin(plugin).ask("VolumeDriver.Create", Name=volume, Opts=options)


def remove(plugin: str, volume: str) -> None:
    """Have a plugin remove a volume; one that it does not know has gone already."""
    asked = _Plugin(plugin)
    if volume in asked.volumes():
        asked.ask("VolumeDriver.Remove", Name=volume)


def mount(plugin: str, volume: str) -> str:
    """Have a plugin make a volume's content available; the folder that it is in."""
    answer = _Plugin(plugin).ask("VolumeDriver.Mount", Name=volume, ID=volume)
    path = str(answer.get("Mountpoint") or "")
    if not path.startswith("/"):
        raise PluginFailed(f"volume plugin {plugin}: Mount of {volume} named no folder")
    return path


def unmount(plugin: str, volume: str) -> None:
    """Tell a plugin that a volume's content is not needed."""
    _Plugin(plugin).ask("VolumeDriver.Unmount", Name=volume, ID=volume)


def volumes(plugin: str) -> list[str]:
    """The names of the volumes that a plugin has."""
    return _Plugin(plugin).volumes()


class _Plugin:
    def __init__(self, name: str) -> None:
        self.name = name
        known = _sockets()
        if name not in known:
            raise InvalidInput(
                f"volume driver {name!r} is not known",
                hint="the drivers are local, image, and the plugins of containers.conf: engine.volume_plugins",
            )
        self._socket = known[name]
        implements = self.ask("Plugin.Activate").get("Implements") or ()
        if "VolumeDriver" not in implements:
            raise PluginFailed(f"plugin {name} at {self._socket} is none for volumes")

    def volumes(self) -> list[str]:
        """Names."""
        return sorted(str(item.get("Name")) for item in self.ask("VolumeDriver.List").get("Volumes") or ())

    def ask(self, what: str, **values: Any) -> dict[str, Any]:
        """One request; the answer."""
        import http.client
        import socket

        seconds = containers.load().number("engine", "volume_plugin_timeout", _PATIENCE) or None
        connection = http.client.HTTPConnection("plugin")
        try:
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(seconds)
            connection.sock.connect(self._socket)
            headers = {"Accept": _ACCEPTS, "Content-Type": "application/json"}
            connection.request("POST", f"/{what}", json.dumps(values) if values else "{}", headers)
            response = connection.getresponse()
            body = response.read(_MOST)
        except TimeoutError:
            raise PluginFailed(
                f"volume plugin {self.name} did not answer {what} within {seconds} seconds",
                hint="containers.conf: engine.volume_plugin_timeout lets it take longer",
            ) from None
        except FileNotFoundError:
            raise NotFound(
                f"volume plugin {self.name}: nothing listens at {self._socket}", hint="start the plugin"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise PluginFailed(f"volume plugin {self.name} at {self._socket}: {error}") from None
        finally:
            connection.close()
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        said = str(answer.get("Err") or "") if isinstance(answer, dict) else "the answer is no JSON"
        if said or response.status != http.client.OK or not isinstance(answer, dict):
            raise PluginFailed(f"volume plugin {self.name}: {what}: {said or response.reason}")
        return answer
