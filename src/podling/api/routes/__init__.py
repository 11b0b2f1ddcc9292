"""The functions behind the paths, one module per family of objects. `load` registers them all."""

from __future__ import annotations


def load() -> None:
    """Import every module of routes: each registers its own."""
    from podling.api.routes import (
        artifacts,
        containers,
        images,
        manifests,
        networks,
        operations,
        pods,
        sessions,
        storage,
        system,
    )

    _ = (artifacts, containers, images, manifests, networks, operations, pods, sessions, storage, system)
