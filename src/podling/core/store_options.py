"""Options of volumes and secrets: apart from those of containers, which take longer to load."""

from __future__ import annotations

from podling.oci.record import Record


class VolumeOptions(Record):
    """How a volume is made. `options` are KEY=VALUE of the driver, labels KEY=VALUE."""

    driver: str = "local"
    options: list[str] = []
    labels: list[str] = []
    uid: int = 0
    gid: int = 0
    ignore: bool = False


class SecretOptions(Record):
    """How a secret is made. Options are KEY=VALUE of the driver, labels KEY=VALUE."""

    driver: str = "file"
    options: list[str] = []
    labels: list[str] = []
    replace: bool = False
    ignore: bool = False
