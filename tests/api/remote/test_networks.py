"""tests/integration/test_networks.py through a service."""

from tests.integration.test_networks import *  # noqa: F403

del test_mended_after_a_flush  # noqa: F821 - about the back end, which the service chooses
