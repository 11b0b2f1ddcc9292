"""Which of our descriptors take part when a process is attached."""

from __future__ import annotations

from podling.oci.record import Record


class Streams(Record):
    """-1 leaves a stream out."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1
    tty: bool = False
    detach_keys: str = ""
