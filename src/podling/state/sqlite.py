"""SQLite's module without its datetime adapters, which we do not use and which cost 2 ms at start-up."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlite3 import Connection, Error, IntegrityError, complete_statement, connect
else:
    try:
        from _sqlite3 import Connection, Error, IntegrityError, complete_statement, connect
    except ImportError:
        from sqlite3 import Connection, Error, IntegrityError, complete_statement, connect

__all__ = ["Connection", "Error", "IntegrityError", "complete_statement", "connect"]
