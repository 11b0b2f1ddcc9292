"""tests/integration/test_exec.py with runc."""

from tests.integration.test_exec import *  # noqa: F403
