"""tests/integration/test_volumes.py through a service."""

from tests.integration.test_volumes import *  # noqa: F403

del test_df_and_prune  # noqa: F821 - in a store of its own
