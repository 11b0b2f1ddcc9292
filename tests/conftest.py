"""Marks tests by their folder, and keeps root's tests from failing where there is no root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import flags


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"integration", "rootless", "api"} & set(Path(str(item.fspath)).parts):
            item.add_marker(pytest.mark.root)
            if os.geteuid():
                item.add_marker(pytest.mark.skip(reason="needs root"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run of all tests fails when there is a flag that no test used."""
    whole = flags.FOLDER and not hasattr(session.config, "workerinput") and os.environ.get("PODLING_FLAGS_STRICT")
    if whole and not session.exitstatus and flags.is_complete() and flags.missing():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With PODLING_FLAGS_USED, an empty folder: the flags that no test of this run used."""
    if flags.FOLDER and not hasattr(terminalreporter.config, "workerinput") and "PODLING_IN_GUEST" not in os.environ:
        missing = flags.missing()
        terminalreporter.section(f"flags that no test used: {len(missing)}")
        terminalreporter.write("\n".join(missing) + "\n")
