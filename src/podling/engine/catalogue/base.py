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
    #: fields that are descriptors to read from, and to write to
    inputs: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ()
    #: it only looks into the database, for a fraction of a millisecond
    quick: ClassVar[bool] = False
    #: it means this process or this terminal, and makes no sense from elsewhere
    local: ClassVar[bool] = False


class Report(Record):
    """What an operation on several objects did: what went well, as it was named, and what did not."""

    done: list[str] = []
    errors: list[Exception] = []
