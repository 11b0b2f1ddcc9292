"""tests/integration/test_selection.py through a service."""

from tests.integration.test_selection import *  # noqa: F403
