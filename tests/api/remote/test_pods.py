"""tests/integration/test_pods.py through a service."""

from tests.integration.test_pods import *  # noqa: F403
