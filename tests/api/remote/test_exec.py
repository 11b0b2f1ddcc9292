"""tests/integration/test_exec.py through a service."""

from tests.integration.test_exec import *  # noqa: F403
