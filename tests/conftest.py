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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With PODLING_FLAGS_USED, an empty folder: the flags that no test of this run used."""
    if flags.FOLDER and not hasattr(terminalreporter.config, "workerinput"):
        missing = flags.missing()
        terminalreporter.section(f"flags that no test used: {len(missing)}")
        terminalreporter.write("\n".join(missing) + "\n")
