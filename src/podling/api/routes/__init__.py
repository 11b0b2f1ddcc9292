"""The functions behind the paths, one module per family of objects. `load` registers them all."""

from __future__ import annotations

_MODULES = (
    "artifacts", "builds", "containers", "images", "kube", "manifests", "networks", "operations", "pods", "sessions", "storage", "system",
    "transfers", "units",
)  # fmt: skip


def load() -> None:
    """Import every module of routes: each registers its own."""
    from importlib import import_module

    for name in _MODULES:
        import_module(f"podling.api.routes.{name}")
