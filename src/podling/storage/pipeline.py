"""Decompress and hash in one thread while another unpacks; the work in both is C code that releases the GIL."""

from __future__ import annotations

import hashlib
import queue
import sys
import threading

from podling.storage.decompress import decompressed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DEPTH = 4
_LARGEST = 1 << 20


class BriskThreads:
    """Inside, threads hand the interpreter over sooner: those that make files give it up at each call, and 5 ms until they
    get it back are long."""

    def __enter__(self) -> None:
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0002)

    def __exit__(self, *_exc: object) -> None:
        sys.setswitchinterval(self._interval)


class HashedStream:
    """The decompressed content of `chunks`, with its sha256 and size known at the end."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_DEPTH)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, daemon=True)
        self._ended = False
        self.digest = ""
        self.size = 0

    def __enter__(self) -> HashedStream:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        self._stop.set()
        if kind is KeyboardInterrupt:  # the thread may hang in the network; it is a daemon
            return
        while self._thread.is_alive():  # it may wait for room in the queue
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._thread.join(0.02)

    def _produce(self) -> None:
        hasher, size = hashlib.sha256(), 0
        try:
            for data in decompressed(self._chunks):
                if self._stop.is_set():
                    return
                hasher.update(data)
                size += len(data)
                for start in range(0, len(data), _LARGEST):  # a bomb may inflate to much in one step
                    self._queue.put(data[start : start + _LARGEST])
            self.digest, self.size = "sha256:" + hasher.hexdigest(), size
            self._queue.put(b"")
        except BaseException as error:
            self._queue.put(error)

    def next(self) -> bytes:
        """The next piece; b"" at the end.

        Raises: what reading or decompressing raised in the other thread.
        """
        if self._ended:
            return b""
        item = self._queue.get()
        if isinstance(item, BaseException):
            self._ended = True
            raise item
        self._ended = not item
        return item

    def drain(self) -> None:
        """Read on to the end, so that the digest covers everything."""
        while self.next():
            pass
