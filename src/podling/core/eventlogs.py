"""Events kept outside the database, where containers.conf(5) says so (`events_logger`): a file, the journal, or nowhere.

The file has a JSON document per line, the journal's entries the fields `PODMAN_*`, with Podman's names: what reads its events
reads these.
A reader yields events in their order, and None whenever there is nothing more as yet.
"""

from __future__ import annotations

import os

from podling.config.settings import JOURNAL_SOCKET
from podling.core.events import Event
from podling.oci import json
from podling.oci.times import format_time, parse_time
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.config.settings import Settings
    from podling.state.database import EventRow

_IDENTIFIER = "podling"
#: (key of a line of the file, field of the journal, attribute of the event)
_ATTRIBUTES = (
    ("ContainerExitCode", "PODMAN_EXIT_CODE", "containerExitCode"),
    ("health_status", "PODMAN_HEALTH_STATUS", "health_status"),
)
_READ = ("PODMAN_EVENT", "PODMAN_TYPE", "PODMAN_TIME", "PODMAN_ID", "PODMAN_NAME", "PODMAN_IMAGE", "PODMAN_LABELS")
_CHUNK = 1 << 16


def open_log(settings: Settings) -> Log:
    """The log of the settings' back end, which is not the database."""
    if settings.events_backend == "file":
        from podling.config import containers

        conf = containers.load()
        path = conf.text("engine", "events_logfile_path") or f"{settings.tmpdir}/events/events.log"
        return FileLog(path, _size(conf.text("engine", "events_logfile_max_size", "1m")))
    if settings.events_backend == "journald":
        return Journal(settings.root)
    return Log()


def _size(text: str) -> int:
    from podling.oci.sizes import size

    return size(text, "containers.conf: engine.events_logfile_max_size")


class Log:
    """What keeps nothing."""

    def write(self, events: list[EventRow]) -> None:
        """Add events of a transaction that was committed."""

    def read(self, since: int, *, follow: bool) -> Iterator[Event | None]:
        """Events from `since` on (nanoseconds since the epoch; below 0: only those to come)."""
        from podling.errors import InvalidInput

        raise InvalidInput("no events are kept: the events back end is none", hint="choose one with --events-backend")


class FileLog(Log):
    """A file that loses its older half when it has grown to `limit` bytes (0: never)."""

    def __init__(self, path: str, limit: int) -> None:
        self.path = path
        self.limit = limit

    def write(self, events: list[EventRow]) -> None:
        data = b"".join(json.dumps(_document(row)).encode() + b"\n" for row in events)
        try:
            self._append(data)
        except OSError:  # a full disk must not fail what has been done and committed
            return

    def _append(self, data: bytes) -> None:
        import fcntl

        while True:
            file = self._open()
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file).st_ino != _inode(self.path):
                    continue  # another process has just put a shorter one in its place
                if self.limit and os.fstat(file).st_size + len(data) > self.limit:
                    data = self._newer_half(file) + _rotation() + data
                    fresh = os.open(f"{self.path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                    try:
                        _write(fresh, data)
                    finally:
                        os.close(fresh)
                    os.rename(f"{self.path}.new", self.path)
                else:
                    _write(file, data)
                return
            finally:
                os.close(file)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
            return os.open(self.path, flags, 0o600)

    def _newer_half(self, file: int) -> bytes:
        size = os.fstat(file).st_size
        tail = os.pread(file, self.limit // 2, max(size - self.limit // 2, 0))
        return tail.partition(b"\n")[2] if len(tail) < size else tail

    def read(self, since: int, *, follow: bool) -> Iterator[Event | None]:
        earliest = since if since >= 0 else now()
        last = b""
        while True:
            try:
                file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                yield None
                continue
            try:
                _skip(file, last)
                for line in self._lines(file):
                    event = _from_document(line) if line else None
                    last = line or last
                    if not line or (event is not None and event.time >= earliest):
                        yield event
            finally:
                os.close(file)

    def _lines(self, file: int) -> Iterator[bytes]:
        """Of one file, until another one has taken its place; empty ones when there is nothing more as yet."""
        rest = b""
        while True:
            chunk = os.read(file, _CHUNK)
            if chunk:
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
            elif os.fstat(file).st_ino != _inode(self.path):
                while chunk := os.read(file, _CHUNK):  # what came between the two looks
                    rest += chunk
                yield from rest.split(b"\n")[:-1]
                return
            else:
                yield b""


def _skip(file: int, line: bytes) -> None:
    """Go to what follows `line`, which was the last one read before another file took that one's place."""
    if not line:
        return
    data = os.pread(file, os.fstat(file).st_size, 0)
    found = data.rfind(line + b"\n")
    if found >= 0:
        os.lseek(file, found + len(line) + 1, os.SEEK_SET)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return -1


def _rotation() -> bytes:
    return (
        json.dumps({"Name": "", "Status": "log-rotation", "Time": format_time(now()), "Type": "system"}).encode()
        + b"\n"
    )


def _document(row: EventRow) -> dict[str, Any]:
    time, kind, action, id, name, image, text = row
    attributes = json.loads(text)
    document: dict[str, Any] = {"ID": id, "Name": name, "Status": action, "Time": format_time(time), "Type": kind}
    if image:
        document["Image"] = image
    for key, _, attribute in _ATTRIBUTES:
        if attribute in attributes:
            value = attributes[attribute]
            document[key] = int(value) if key == "ContainerExitCode" else value
    document["Attributes"] = attributes
    return document


def _from_document(line: bytes) -> Event | None:
    """None for a line that is none of ours, or torn."""
    try:
        document = json.loads(line)
        attributes = {str(key): str(value) for key, value in (document.get("Attributes") or {}).items()}
        for key, _, attribute in _ATTRIBUTES:
            if document.get(key) is not None:
                attributes.setdefault(attribute, str(document[key]))
        return Event(
            time=parse_time(document["Time"]), type=document["Type"], action=document["Status"], id=document.get("ID", ""),
            name=document.get("Name", ""), image=document.get("Image", ""), attributes=attributes,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class Journal(Log):
    """systemd's journal. Entries of the store at `root` alone are read back."""

    def __init__(self, root: str) -> None:
        self.root = root

    def write(self, events: list[EventRow]) -> None:
        import socket

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
            for row in events:
                try:
                    link.sendto(_entry(self._fields(row)), JOURNAL_SOCKET)
                except OSError:  # a journal that is gone or full must not fail what has been done
                    return

    def _fields(self, row: EventRow) -> dict[str, str]:
        time, kind, action, id, name, image, text = row
        attributes = json.loads(text)
        fields = {
            "MESSAGE": f"{kind} {action} {id} (image={image}, name={name})" if image else f"{kind} {action} {name or id}",
            "PRIORITY": "6", "SYSLOG_IDENTIFIER": _IDENTIFIER, "PODLING_ROOT": self.root, "PODMAN_EVENT": action, "PODMAN_TYPE": kind,
            "PODMAN_TIME": format_time(time), "PODMAN_ID": id, "PODMAN_NAME": name, "PODMAN_IMAGE": image,
            "PODMAN_LABELS": json.dumps(attributes),
        }  # fmt: skip
        for _, field, attribute in _ATTRIBUTES:
            if attribute in attributes:
                fields[field] = attributes[attribute]
        return {key: value for key, value in fields.items() if value}

    def read(self, since: int, *, follow: bool) -> Iterator[Event | None]:
        import select
        import subprocess

        from podling.linux.proc import outer_uid

        argv = ["journalctl", "--quiet", "--output=json", f"--output-fields={','.join(_READ)}"]
        argv += ["--follow", "--no-tail"] if follow else []
        argv.append(
            f"--since=@{since / 1e9:.6f}" if since > 0 else "--since=1970-01-02" if since == 0 else "--since=now"
        )
        argv += [f"SYSLOG_IDENTIFIER={_IDENTIFIER}", f"PODLING_ROOT={self.root}", f"_UID={outer_uid()}"]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        out = process.stdout
        assert out is not None
        rest = b""
        try:
            while True:
                while follow and not select.select([out], [], [], 0)[0]:
                    yield None
                chunk = os.read(out.fileno(), _CHUNK)
                if not chunk:
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = _from_entry(line)
                    if event is not None and event.time >= since:
                        yield event
        finally:
            process.kill()
            process.wait()


def _entry(fields: dict[str, str]) -> bytes:
    """A datagram of the journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    parts = []
    for key, value in fields.items():
        data = value.encode()
        if b"\n" in data:
            parts.append(key.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
        else:
            parts.append(key.encode() + b"=" + data + b"\n")
    return b"".join(parts)


def _from_entry(line: bytes) -> Event | None:
    try:
        fields = json.loads(line)
        return Event(
            time=parse_time(fields["PODMAN_TIME"]), type=fields["PODMAN_TYPE"], action=fields["PODMAN_EVENT"],
            id=fields.get("PODMAN_ID", ""), name=fields.get("PODMAN_NAME", ""), image=fields.get("PODMAN_IMAGE", ""),
            attributes=json.loads(fields.get("PODMAN_LABELS", "{}")),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return None
