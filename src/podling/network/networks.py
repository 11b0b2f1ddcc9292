"""Networks as Podman's JSON files describe them (/etc/containers/networks), and the built-in default one.

The default network is called `podman`, as users' scripts do, but has a bridge and a subnet of its own, because two engines
that hand out addresses of one subnet would give some of them twice.
"""

from __future__ import annotations

import os

from podling.errors import InvalidInput, NoSuchNetwork
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT = "podman"
FOLDER = "/etc/containers/networks"


def default_network() -> dict[str, Any]:
    return {
        "name": DEFAULT,
        "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
        "driver": "bridge",
        "network_interface": "podling0",
        "created": "2026-01-01T00:00:00Z",
        "subnets": [{"subnet": "10.87.0.0/16", "gateway": "10.87.0.1"}],
        "ipv6_enabled": False,
        "internal": False,
        "dns_enabled": False,
        "ipam_options": {"driver": "host-local"},
    }


def find(name: str) -> dict[str, Any]:
    """The network called `name`.

    Raises:
        NoSuchNetwork; InvalidInput when its file is broken.
    """
    if name == DEFAULT:
        return default_network()
    path = os.path.join(FOLDER, f"{os.path.basename(name)}.json")
    try:
        with open(path) as file:
            document: dict[str, Any] = json.loads(file.read())
    except FileNotFoundError:
        raise NoSuchNetwork(
            f"unable to find network with name or ID {name}: network not found",
            hint=f"the default network is called {DEFAULT}; others are files in {FOLDER}",
        ) from None
    except ValueError as error:
        raise InvalidInput(f"{path}: {error}") from None
    if document.get("driver") != "bridge":
        raise InvalidInput(f"network {name}: the driver {document.get('driver')!r} is not supported")
    return document
