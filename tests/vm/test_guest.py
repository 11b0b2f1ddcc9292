"""Starts a guest and has it run the tests of `inside`, with SELinux those of `labelled`, and those of the suites for which its
systemd and cgroup v2 matter."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests import flags
from tests.vm import guest

_PARTS = ("qemu-system-x86_64", "mmdebstrap", "mke2fs", "cpio")
#: where the guest's tests note the flags that they used, and what comes before that in the output
_FLAGS, _MARK = "/tmp/flags-used", "FLAGS USED"
#: what a user can do, and what depends on cgroups
_SUITES = "tests/rootless tests/integration/test_pods.py tests/integration/test_lifecycle.py"


def _pytest(what: str, seconds: int, *, selinux: bool = False) -> None:
    missing = [name for name in _PARTS if not shutil.which(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    try:
        guest.build()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the guest's image could not be made: {error}")
    long = f"PODLING_TEST_VM={os.environ.get('PODLING_TEST_VM', '')}"
    setting = f"PYTHONPATH=src PODLING_IN_GUEST=1 PODLING_FLAGS_USED={_FLAGS} {long}"
    tests = f"{setting} python3 -m pytest -v --tb=short --durations=10 -p no:cacheprovider -n 2 --dist loadgroup {what}"
    command = f"mkdir {_FLAGS}; sh tests/prepare-host; {tests}; code=$?; echo; echo {_MARK}; cat {_FLAGS}/*; exit $code"
    code, output = guest.run(command, seconds, selinux=selinux)
    output, _, used = output.partition(_MARK)
    flags.add_guest(used)
    print(output)
    assert code == 0, output[-8000:]


@pytest.mark.xdist_group("guest")
def test_inside() -> None:
    _pytest("tests/vm/inside", 1200)


@pytest.mark.xdist_group("guest")
def test_labelled() -> None:
    _pytest("tests/vm/labelled", 300, selinux=True)


@pytest.mark.xdist_group("guest")
@pytest.mark.skipif(not os.environ.get("PODLING_TEST_VM"), reason="make test-vm runs it")
def test_suites() -> None:
    _pytest(_SUITES, 3000)
