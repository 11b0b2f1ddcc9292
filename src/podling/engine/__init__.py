"""The library: an engine, its catalogue of operations, and typed faces for containers, images and the system.

In: plain arguments and records of the catalogue. Out: records, plain values, generators; the one tree of errors.
`local.py` executes operations in this process, `remote.py` at a service. Everything above (command line and API) knows only this package.
"""

from __future__ import annotations

from podling.engine.local import Engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Engine", "open_local", "open_remote"]


def open_local(**options: Any) -> Engine:
    """An engine in this process; `options` are fields of `Settings`: root, runroot, runtime, storage_driver, …"""
    from podling.config.settings import Settings

    return Engine(Settings(**options))


def open_remote(url: str, **options: Any) -> Engine:
    """An engine at a service; `options` are fields of `Place`: identity, tls_ca, tls_cert, tls_key."""
    from podling.engine.dial import Place
    from podling.engine.remote import RemoteEngine

    return RemoteEngine(Place(url=url, **options))
