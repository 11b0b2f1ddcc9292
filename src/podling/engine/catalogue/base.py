"""What all operations have in common."""

from __future__ import annotations

from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class Operation(Record):
    """Base of all operations."""

    executor: ClassVar[str] = ""
    route: ClassVar[str] = ""
    #: it changes something
    writes: ClassVar[bool] = True


class Report(Record):
    """What an operation on several objects did: what went well, as it was named, and what did not."""

    done: list[str] = []
    errors: list[Exception] = []
