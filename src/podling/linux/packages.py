"""Which package a program came with, and in which version."""

from __future__ import annotations

import glob
import os

from podling.linux.process import run

_DPKG = "/var/lib/dpkg"
_NAMES = {"pasta": "passt"}


def owner(path: str) -> str:
    """`crun_1.8.1-1_amd64` of dpkg, `crun-1.8.1-1.fc39.x86_64` of rpm; Unknown where neither knows."""
    real = os.path.realpath(path)
    if os.path.isdir(f"{_DPKG}/info"):
        return _dpkg({path, real, path.removeprefix("/usr"), real.removeprefix("/usr")})
    for rpm in ("/usr/bin/rpm", "/bin/rpm"):
        if os.access(rpm, os.X_OK):
            outcome = run([rpm, "-qf", real], capture=True)
            if not outcome.code:
                return outcome.stdout.decode("utf-8", "replace").strip()
    return "Unknown"


def _dpkg(paths: set[str]) -> str:
    name = os.path.basename(next(iter(paths)))
    name = _NAMES.get(name, name)
    package = next((found for found in (name, *_all()) if _has(found, paths)), "")
    if not package:
        return "Unknown"
    wanted, version, architecture = package.partition(":")[0], "", ""
    with open(f"{_DPKG}/status", encoding="utf-8", errors="replace") as file:
        for paragraph in file.read().split("\n\n"):
            if paragraph.startswith(f"Package: {wanted}\n"):
                fields = dict(line.partition(": ")[::2] for line in paragraph.splitlines() if line[:1] != " ")
                version, architecture = fields.get("Version", ""), fields.get("Architecture", "")
                break
    return f"{wanted}_{version}_{architecture}"


def _has(package: str, paths: set[str]) -> bool:
    try:
        with open(f"{_DPKG}/info/{package}.list", encoding="utf-8", errors="replace") as file:
            return not paths.isdisjoint(file.read().splitlines())
    except FileNotFoundError:
        return False


def _all() -> list[str]:
    return [os.path.basename(path).removesuffix(".list") for path in sorted(glob.glob(f"{_DPKG}/info/*.list"))]
