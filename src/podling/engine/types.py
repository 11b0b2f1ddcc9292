"""What operations take and give, in one place for those above: the command line, the API, users of the library."""

from __future__ import annotations

from podling.core.options import CreateOptions, ExecOptions
from podling.runtime.streams import Streams

__all__ = ["CreateOptions", "ExecOptions", "Streams"]
