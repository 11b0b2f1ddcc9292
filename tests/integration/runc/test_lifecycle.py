"""tests/integration/test_lifecycle.py with runc."""

from tests.integration.test_lifecycle import *  # noqa: F403
