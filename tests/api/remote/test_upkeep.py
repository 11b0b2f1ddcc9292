"""tests/integration/test_upkeep.py through a service."""

from tests.integration.test_upkeep import *  # noqa: F403

del test_mount  # noqa: F821 - in a store of its own
