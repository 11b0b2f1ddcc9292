"""Quadlet files: where they are, and how their units do (podman-systemd.unit.5)."""

from __future__ import annotations

import os

from podling.core.filters import split
from podling.errors import NotFound
from podling.linux.proc import outer_uid
from podling.units.options import Quadlet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context

FILTERS = ("name",)
#: suffix of the file to that of the service's name
KINDS = {
    ".container": "", ".kube": "", ".volume": "-volume", ".network": "-network", ".image": "-image", ".build": "-build", ".pod": "-pod",
}  # fmt: skip


def folders() -> list[str]:
    """Where systemd's generator looks, the most important first."""
    override = os.environ.get("QUADLET_UNIT_DIRS")
    if override:
        return [path for path in override.split(":") if path]
    uid = outer_uid()
    if not uid:
        return ["/run/containers/systemd", "/etc/containers/systemd", "/usr/share/containers/systemd"]
    from podling.config.settings import home_folder, runtime_folder

    home = os.environ.get("XDG_CONFIG_HOME") or f"{home_folder(uid)}/.config"
    return [
        f"{runtime_folder(uid)}/containers/systemd", f"{home}/containers/systemd", f"/etc/containers/systemd/users/{uid}",
        "/etc/containers/systemd/users", f"/usr/share/containers/systemd/users/{uid}", "/usr/share/containers/systemd/users",
    ]  # fmt: skip


def list_quadlets(ctx: Context, filters: list[str]) -> list[Quadlet]:
    """All Quadlet files, by name; of several with one name the most important.

    Raises:
        InvalidInput: an unknown filter.
    """
    import fnmatch

    wanted = split(filters, FILTERS)
    found: dict[str, Quadlet] = {}
    for root in folders():
        users = root.rstrip("/").endswith("/users")
        for folder, inner, names in os.walk(root, followlinks=True):
            if users and folder == root:  # those below are of other users
                inner.clear()
            elif folder == root and "users" in inner and not outer_uid():
                inner.remove("users")
            for name in sorted(names):
                if os.path.splitext(name)[1] in KINDS and name not in found:
                    path = os.path.join(folder, name)
                    app = os.path.basename(folder) if folder != root else ""
                    found[name] = Quadlet(name=name, path=path, unit=unit_of(path), app=app)
    chosen = [
        quadlet for name, quadlet in sorted(found.items())
        if all(fnmatch.fnmatch(name, pattern) or pattern in name for pattern in wanted.get("name", ()))
    ]  # fmt: skip
    _ask(chosen)
    return chosen


def unit_of(path: str) -> str:
    """The service that a file stands for: `ServiceName=` in it, or its name."""
    stem, suffix = os.path.splitext(os.path.basename(path))
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                key, equals, value = line.strip().partition("=")
                if equals and key.strip() == "ServiceName" and value.strip():
                    return f"{value.strip()}.service"
    except OSError:
        pass
    return f"{stem}{KINDS[suffix]}.service"


def _ask(quadlets: list[Quadlet]) -> None:
    """What systemd says of the units, where there is one that answers."""
    from podling.config.settings import find_program
    from podling.errors import PodlingError
    from podling.linux.process import run

    if not quadlets:
        return
    try:
        systemctl = find_program("systemctl", package="systemd")
    except PodlingError:
        return
    manager = ["--user"] if outer_uid() else []
    argv = [
        systemctl,
        *manager,
        "show",
        "--property=LoadState,ActiveState,SubState",
        "--",
        *(quadlet.unit for quadlet in quadlets),
    ]
    outcome = run(argv, capture=True)
    if outcome.code:
        return
    for quadlet, text in zip(quadlets, outcome.stdout.decode("utf-8", "replace").strip().split("\n\n"), strict=False):
        values = dict(row.partition("=")[::2] for row in text.splitlines())
        if values.get("LoadState") == "loaded":
            quadlet.status = f"{values.get('ActiveState')}/{values.get('SubState')}"


def print_quadlet(ctx: Context, name: str) -> str:
    """The text of a Quadlet file.

    Raises:
        NotFound: there is none of that name.
    """
    for quadlet in list_quadlets(ctx, []):
        if name in (quadlet.name, quadlet.unit):
            with open(quadlet.path, encoding="utf-8", errors="surrogateescape") as file:
                return file.read()
    raise NotFound(f"no quadlet {name}", hint="`podling quadlet list` lists them")
