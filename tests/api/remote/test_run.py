"""tests/integration/test_run.py through a service."""

from tests.integration.test_run import *  # noqa: F403

del test_log_drivers, test_a_start_imports_no_more_than_it_needs, test_other_runtimes  # noqa: F821 - descriptors, this process, the host
