"""tests/integration/test_lifecycle.py through a service."""

from tests.integration.test_lifecycle import *  # noqa: F403

del test_events  # noqa: F821 - one more event tells that somebody is attached
