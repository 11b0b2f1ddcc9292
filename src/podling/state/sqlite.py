"""SQLite's module without what costs at start-up and is not used: the datetime adapters (2 ms), and `functools`, of which the C module
wants `lru_cache` alone (3 ms)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlite3 import Connection, Error, IntegrityError, complete_statement, connect
else:

    def _import_lean():
        """`_sqlite3` with a stand-in for `functools`, which is gone again afterwards. Only where no other thread could meet it."""
        import sys
        from _functools import _lru_cache_wrapper
        from _thread import _count

        if "functools" in sys.modules or "_sqlite3" in sys.modules or _count():
            return

        class StandIn:
            @staticmethod
            def lru_cache(size):
                return lambda call: _lru_cache_wrapper(call, size, False, tuple)

        sys.modules["functools"] = StandIn
        try:
            import _sqlite3  # noqa: F401
        finally:
            del sys.modules["functools"]

    try:
        _import_lean()
        from _sqlite3 import Connection, Error, IntegrityError, complete_statement, connect
    except ImportError:
        from sqlite3 import Connection, Error, IntegrityError, complete_statement, connect

__all__ = ["Connection", "Error", "IntegrityError", "complete_statement", "connect"]
