"""Podling: a container engine without a daemon; this package is its library.

`open()` gives the engine: in this process, where nothing listens and nothing is started until a container is, or with an address that of
a service. `podling.aio` is the same for asyncio, `podling.conditions` what to wait for, `podling.pytest` fixtures for tests.

    import podling

    with podling.open() as engine:
        result = engine.containers.run("localhost/busybox", ["date"], remove=True)
        print(result.stdout.decode())
"""

from __future__ import annotations

from podling.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.engine import Engine

__version__ = VERSION
__all__ = ["__version__", "open"]


def open(url: str = "", **options: Any) -> Engine:
    """Open an engine; close it, or use it as a context manager.

    Without `url` the one in this process: `options` are `root`, `runroot`, `runtime`, … as the command line's global flags name them.
    With one the engine of a service, at unix://PATH, tcp://HOST:PORT or ssh://USER@HOST/PATH: `options` are identity, tls_ca, tls_cert
    and tls_key, paths of files. Both have the same interface.
    """
    if url:
        from podling.engine import open_remote

        return open_remote(url, **options)
    from podling.engine import open_local

    return open_local(**options)
