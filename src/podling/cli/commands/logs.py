"""logs."""

from __future__ import annotations

import sys

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.engine.containers import Container
    from podling.runtime.logs import LogLine

_COLOURS = (37, 31, 33, 34, 35, 36)


def show(app: App, args: Args) -> int:
    """`logs`, and `pod logs` with the pod's containers as arguments."""
    if bool(args.rest) == args.latest:
        raise UsageError("logs requires the name or id of at least one container, or --latest")
    if args.follow and len(args.rest) > 1:
        return _follow_several(app, args)
    plain = not (args.follow or args.since or args.until or args.timestamps or args.names or args.latest)
    if plain and len(args.rest) == 1:
        from podling.engine.catalogue.containers import CopyLogs

        try:
            if app.engine.call(CopyLogs(name=args.rest[0], tail=args.tail)):
                return 0
        except BrokenPipeError:
            return 141
    names = [app.engine.containers.list(last=1)[0].id] if args.latest else args.rest
    containers = [app.engine.containers.get(name) for name in names]
    for position, container in enumerate(containers):
        prefix = _prefix(args, container, position, several=len(containers) > 1)
        lines = container.logs(tail=args.tail, since=args.since, until=args.until, follow=args.follow)
        for line in lines:
            _print(line, prefix, args.timestamps)
        _flush()
    return 0


def _follow_several(app: App, args: Args) -> int:
    import threading

    lock = threading.Lock()
    containers = [app.engine.containers.get(name) for name in args.rest]

    def follow(container: Container, prefix: bytes) -> None:
        for line in container.logs(tail=args.tail, since=args.since, until=args.until, follow=True):
            with lock:
                _print(line, prefix, args.timestamps)
                _flush()

    threads = [
        threading.Thread(target=follow, args=(container, _prefix(args, container, position, several=True)), daemon=True)
        for position, container in enumerate(containers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def _prefix(args: Args, container: Container, position: int, *, several: bool) -> bytes:
    """With several containers each line says whose it is."""
    if not (args.names or several):
        return b""
    text = container.name if args.names else container.id[:12]
    if args.color:
        text = f"\033[{_COLOURS[position % len(_COLOURS)]}m{text}\033[0m"
    return text.encode() + b" "


def _print(line: LogLine, prefix: bytes, timestamps: bool) -> None:
    out = sys.stderr.buffer if line.stream == "stderr" else sys.stdout.buffer
    out.write(prefix + (line.time.encode() + b" " if timestamps else b"") + line.text)
    if line.stream == "stderr" or _interactive():
        _flush()


def _interactive() -> bool:
    return sys.stdout.isatty()


def _flush() -> None:
    sys.stdout.buffer.flush()
    sys.stderr.buffer.flush()


LOGS = Command(
    show,
    "[options] CONTAINER [CONTAINER...]",
    "Shows what containers have written; with --follow on until they end.",
    Flag("color", "", "bool", "Colour the names of several containers"),
    Flag("details", "", "bool", "Accepted for Docker's sake", hidden=True),
    Flag("follow", "f", "bool", "Go on as the log grows"),
    Flag("latest", "l", "bool", "The container created last"),
    Flag("names", "n", "bool", "Put the container's name before each line"),
    Flag("since", "", "string", "Only lines after a time, such as 2026-01-02T15:04:05 or 10m"),
    Flag("tail", "", "int", "Only so many lines from the end; -1 is all", -1),
    Flag("timestamps", "t", "bool", "Put the time before each line"),
    Flag("until", "", "string", "Only lines before a time"),
    examples=("logs web", "logs --tail 20 -f web", "logs -n web db"),
)
