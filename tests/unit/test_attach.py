"""Streams of attached containers."""

from __future__ import annotations

import os
import socket

from podling.runtime import attach
from podling.runtime.streams import Streams


def test_output_is_read_though_input_was_not() -> None:
    """conmon goes while there is input that the container never read: the kernel tells that before it gives the output."""
    ours, conmons = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    ours.send(b"unread")
    conmons.send(b"\x02one ")
    conmons.send(b"\x02two")
    conmons.close()
    assert attach.pump(ours, Streams(stdout=writer))
    os.close(writer)
    assert os.read(reader, 100) == b"one two"
    os.close(reader)
    ours.close()
