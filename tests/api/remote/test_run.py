"""tests/integration/test_run.py through a service."""

from tests.integration.test_run import *  # noqa: F403

del test_log_drivers, test_a_start_imports_no_more_than_it_needs  # noqa: F821 - about descriptors, and this process
