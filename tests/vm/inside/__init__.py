"""What a whole system of its own is needed for: systemd, cgroup v2, CRIU, file systems with quotas, NFS."""

import os

import pytest

#: of a test that takes too long in an emulated guest for every run of all tests
long = pytest.mark.skipif(not os.environ.get("PODLING_TEST_VM"), reason="make test-vm runs it")
