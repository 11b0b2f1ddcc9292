"""The AppArmor profile that containers get where the host has AppArmor, as root: loaded by apparmor_parser when it is first needed."""

from __future__ import annotations

import os

from podling.errors import InvalidInput, PodlingError, RuntimeFailed

DEFAULT = "podling-default"
_PROFILES = "/sys/kernel/security/apparmor/profiles"

#: What Docker's and Podman's default profiles allow (apparmor.d(5)): everything but mounts and writes to the kernel's own settings;
#: signals and traces only among containers, and signals from the host.
_TEXT = f"""
#include <tunables/global>
profile {DEFAULT} flags=(attach_disconnected,mediate_deleted) {{
  #include <abstractions/base>
  network,
  capability,
  file,
  umount,
  signal (receive) peer=unconfined,
  signal (receive) peer=crun,
  signal (receive) peer=runc,
  signal (receive) peer=podling,
  signal (send,receive) peer={DEFAULT},
  deny @{{PROC}}/* w,
  deny @{{PROC}}/{{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}}/** w,
  deny @{{PROC}}/sys/[^k]** w,
  deny @{{PROC}}/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny @{{PROC}}/sysrq-trigger rwklx,
  deny @{{PROC}}/kcore rwklx,
  deny mount,
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
  ptrace (trace,read,tracedby,readby) peer={DEFAULT},
}}
"""


def is_enabled() -> bool:
    """Whether this host confines programs with AppArmor."""
    try:
        with open("/sys/module/apparmor/parameters/enabled") as file:
            return file.read(1) == "Y" and os.path.exists(_PROFILES)
    except OSError:
        return False


def loaded(name: str) -> bool:
    """Whether the kernel has a profile of that name."""
    try:
        with open(_PROFILES) as file:
            return any(line.rpartition(" (")[0] == name for line in file)
    except OSError:
        return False


def default_profile() -> str:
    """The name of the default profile, loaded; "" where the host has no AppArmor, or nothing that can load a profile.

    Raises:
        RuntimeFailed: the kernel did not take it.
    """
    if not is_enabled():
        return ""
    if loaded(DEFAULT):
        return DEFAULT
    from podling.config.settings import find_program
    from podling.linux.process import run

    try:
        parser = find_program("apparmor_parser")
    except PodlingError:
        return ""
    outcome = run([parser, "-Kr"], stdin=_TEXT.encode())
    if outcome.code:
        raise RuntimeFailed(
            f"the AppArmor profile {DEFAULT} could not be loaded: {outcome.message.strip()}",
            hint="--security-opt apparmor=unconfined goes without",
        )
    return DEFAULT


def check(name: str) -> None:
    """A container with this profile is about to start: the default one is loaded again after a boot, others must be there.

    Raises:
        InvalidInput: the kernel does not know it.
    """
    if name == DEFAULT:
        default_profile()
    elif name != "unconfined" and not loaded(name):
        raise InvalidInput(
            f"--security-opt apparmor={name}: AppArmor profile {name!r} specified but not loaded",
            hint="apparmor_parser -r FILE loads it",
        )
