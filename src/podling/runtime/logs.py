"""Reading container logs: the k8s-file format of conmon, and the journal.

A line of a k8s-file is `2026-01-02T03:04:05.123456789+00:00 stdout F text`; P instead of F marks a part of a longer line.
"""

from __future__ import annotations

import os

from podling.oci.times import parse_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = 1 << 20


class LogLine:
    """`stream`: stdout or stderr; `time` as it stands in the log; `text` ends with a newline unless it is partial."""

    __slots__ = ("stream", "text", "time")

    def __init__(self, time: str, stream: str, text: bytes) -> None:
        self.time, self.stream, self.text = time, stream, text


def _line(raw: bytes) -> LogLine | None:
    time, _, rest = raw.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    flag, _, text = rest.partition(b" ")
    if stream not in (b"stdout", b"stderr"):
        return None
    return LogLine(time.decode("ascii", "replace"), stream.decode(), text + (b"\n" if flag == b"F" else b""))


def tail_offset(path: str, lines: int) -> int:
    """Where the last `lines` complete lines of the file start, found from its end."""
    with open(path, "rb") as file:
        position = file.seek(0, os.SEEK_END)
        if not lines:
            return position
        found, buffer = 0, b""
        while position > 0:
            step = min(_CHUNK, position)
            position -= step
            file.seek(position)
            buffer = file.read(step) + buffer
            end = len(buffer)
            while (cut := buffer.rfind(b"\n", 0, end - 1)) >= 0:
                if buffer[cut + 1 : cut + 65].split(b" ", 3)[2:3] == [b"F"]:
                    found += 1
                    if found > lines:  # one too far: the wanted lines start behind this one
                        return position + end
                end = cut + 1
            buffer = buffer[:end]
        first_is_one_too_far = found == lines and buffer[:64].split(b" ", 3)[2:3] == [b"F"]
        return len(buffer) if first_is_one_too_far else 0


def read_file(
    path: str,
    *,
    tail: int = -1,
    since: int = 0,
    until: int = 0,
    follow: bool = False,
    ended: Callable[[], bool] = lambda: True,
    patient: bool = True,
) -> Iterator[LogLine | None]:
    """The lines of a k8s-file log. With `follow`, on until `ended()`; a log that was rotated is followed into the new file.

    One that is not `patient` yields None instead of waiting. `since` and `until` are nanoseconds since the epoch, 0 for none.
    """
    import time

    try:
        file = open(path, "rb")
    except FileNotFoundError:
        return
    try:
        if tail >= 0:
            file.seek(tail_offset(path, tail))
        rest = b""
        while True:
            was_over = not follow or ended()
            chunk = file.read(_CHUNK)
            if chunk:
                *complete, rest = (rest + chunk).split(b"\n")
                for raw in complete:
                    line = _line(raw)
                    if line is None:
                        continue
                    if since or until:
                        moment = parse_time(line.time)
                        if moment < since:
                            continue
                        if until and moment > until:
                            return
                    yield line
                continue
            if was_over:
                return
            if _rotated(file.fileno(), path):
                file.close()
                file = open(path, "rb")
                continue
            if until and time.time_ns() > until:
                return
            if patient:
                time.sleep(0.05)
            else:
                yield None
    finally:
        file.close()


#: where the text of a line begins that conmon wrote whole to standard output: behind the time, of fixed width, and these letters
_WHOLE = b"stdout F "
_WHOLE_AT = 36
_TEXT_AT = _WHOLE_AT + len(_WHOLE)


def copy_text(path: str, out: int, err: int, *, tail: int = -1) -> None:
    """Write what the lines of a k8s-file log say to the descriptors `out` and `err`, several times faster than line by line."""
    try:
        file = open(path, "rb", buffering=0)
    except FileNotFoundError:
        return
    with file:
        if tail >= 0:
            file.seek(tail_offset(path, tail))
        rest = b""
        while chunk := file.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            begin = 0
            parts: list[bytes] = []
            others = [number for number, line in enumerate(lines) if line[_WHOLE_AT:_TEXT_AT] != _WHOLE]
            for number in (*others, len(lines)):  # parts of longer lines, and stderr, between runs of whole lines
                if number > begin:
                    parts += [b"\n".join([line[_TEXT_AT:] for line in lines[begin:number]]), b"\n"]
                begin = number + 1
                other = _line(lines[number]) if number < len(lines) else None
                if other is not None and other.stream == "stdout":
                    parts.append(other.text)
                elif other is not None:
                    _write_all(out, b"".join(parts))
                    parts.clear()
                    _write_all(err, other.text)
            _write_all(out, b"".join(parts))


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _rotated(fd: int, path: str) -> bool:
    try:
        return os.stat(path).st_ino != os.fstat(fd).st_ino
    except FileNotFoundError:
        return False


def read_journal(
    container: str,
    *,
    tail: int = -1,
    since: int = 0,
    until: int = 0,
    follow: bool = False,
    ended: Callable[[], bool] = lambda: True,
) -> Iterator[LogLine]:
    """The lines that conmon wrote to the journal (CONTAINER_ID_FULL), through journalctl."""
    import json
    import subprocess

    from podling.config.settings import find_program
    from podling.oci.times import format_time

    command = [find_program("journalctl", package="systemd"), "-q", "-o", "json", f"CONTAINER_ID_FULL={container}"]
    command += ["-n", str(tail) if tail >= 0 else "all"]
    if since:
        command.append(f"--since=@{since // 1_000_000_000}")
    if until:
        command.append(f"--until=@{until // 1_000_000_000}")
    if follow:
        command.append("-f")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as journal:
        assert journal.stdout
        try:
            for raw in journal.stdout:
                entry = json.loads(raw)
                message = entry.get("MESSAGE", "")
                text = bytes(message) if isinstance(message, list) else message.encode()
                partial = entry.get("CONTAINER_PARTIAL_MESSAGE") == "true"
                stream = "stderr" if entry.get("PRIORITY") == "3" else "stdout"
                time = format_time(int(entry["__REALTIME_TIMESTAMP"]) * 1000)
                ended_line = partial or text.endswith(b"\n")  # conmon 2.1.6 writes the newline too, later ones do not
                yield LogLine(time, stream, text if ended_line else text + b"\n")
                if follow and ended():
                    return
        finally:
            journal.terminate()
