"""tests/integration/test_run.py with runc."""

from tests.integration.test_run import *  # noqa: F403
