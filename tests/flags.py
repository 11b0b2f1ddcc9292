"""Which test uses which flag of which command: `argv` notes it, and at the end of a whole run what no test used is told.

A flag counts for a command when a test runs the command with it. The same command under another path (`container ps`) is one command.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from podling.cli import table
from podling.cli.flags import Flag, UsageError, parse

FOLDER = os.environ.get("PODLING_FLAGS_USED", "")
_GUEST = "guest"
#: flags whose tests are too slow in the emulated guest for every run: `make test-vm` has them
_OF_TEST_VM = {
    "checkpoint:CHECKPOINT": "all file-locks ignore-volumes keep latest pre-checkpoint print-stats tcp-established with-previous",
    "checkpoint:RESTORE": (
        "all file-locks ignore-rootfs ignore-static-ip ignore-static-mac ignore-volumes import-previous keep latest pod print-stats "
        "publish tcp-close tcp-established"
    ),
}
_seen: set[str] = set()
#: create has no option that run has not, and the same code behind it
_SAME = {"run:CREATE": "run:RUN"}


def note(argv: list[str]) -> None:
    """A test runs this command line."""
    if not FOLDER:
        return
    try:
        rest = parse(argv, table.GLOBAL_FLAGS, stop_at_argument=True).rest
        path, words = table.resolve(rest)
        if path not in table.COMMANDS:
            return
        module, name, _ = table.COMMANDS[path]
        command = table.load(path)
        given = _given(
            words,
            {flag.name: flag for flag in command.flags},
            {flag.short: flag for flag in command.flags if flag.short},
        )
    except UsageError:
        return
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    with open(f"{FOLDER}/{os.getpid()}", "a") as file:
        for flag in given:
            entry = f"{_family(module, name)} {flag}"
            if entry not in _seen:
                _seen.add(entry)
                file.write(f"{entry} {test}\n")


def add_guest(lines: str) -> None:
    """What the tests in the guest noted."""
    if FOLDER:
        with open(f"{FOLDER}/{_GUEST}", "a") as file:
            file.write(lines.strip() + "\n")


def is_complete() -> bool:
    """Whether the tests of the guest ran too: without them some flags cannot be tested."""
    return (Path(FOLDER) / _GUEST).exists()


def _family(module: str, name: str) -> str:
    return _SAME.get(f"{module}:{name}", f"{module}:{name}")


def _given(words: list[str], long: dict[str, Flag], short: dict[str, Flag]) -> Iterator[str]:
    for word in words:
        if word.startswith("--"):
            name = word[2:].partition("=")[0]
            if name in long:
                yield name
        elif word.startswith("-") and len(word) > 1:
            for letter in word[1:]:
                if letter not in short:
                    break
                flag = short[letter]
                yield flag.name
                if flag.bare is None:
                    break


def missing() -> list[str]:
    """`command --flag` for all that no test used."""
    used = set()
    for file in Path(FOLDER).iterdir():
        for line in file.read_text().splitlines():
            used.add(tuple(line.split(" ")[:2]))
    if not os.environ.get("PODLING_TEST_VM"):
        used |= {(command, flag) for command, names in _OF_TEST_VM.items() for flag in names.split()}
    found = []
    done = set()
    for path, (module, name, _) in sorted(table.COMMANDS.items(), key=lambda item: (item[0].count(" "), item[0])):
        if (module, name) in done:
            continue
        done.add((module, name))
        for flag in table.load(path).flags:
            if flag.name != "help" and not flag.hidden and (_family(module, name), flag.name) not in used:
                found.append(f"{path} --{flag.name}")
    return found
