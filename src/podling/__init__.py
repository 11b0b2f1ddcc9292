"""Podling: a container engine without a daemon; this package is its library.

`open()` gives the engine. Nothing listens and nothing is started until a container is.

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


def open(**options: Any) -> Engine:
    """Open the local engine: `root`, `runroot`, `runtime`, … as the command line's global flags name them."""
    from podling.engine import open_local

    return open_local(**options)
