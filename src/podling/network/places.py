"""Where networks keep what belongs to the host and not to one store: root's below /run, a user's in their run-time folder."""

from __future__ import annotations

import os

from podling.config.settings import home_folder, runtime_folder, user_folder
from podling.linux.proc import outer_uid


def locks() -> str:
    """The folder of locks."""
    uid = outer_uid()
    if not uid:
        return "/run/lock/podling"
    path = f"{user_folder(uid)}/locks"
    os.makedirs(path, 0o700, exist_ok=True)
    return path


def members() -> str:
    """The folder of notes about who is on which bridge."""
    uid = outer_uid()
    return f"{user_folder(uid)}/networks" if uid else "/run/podling-networks"


def shared_folder() -> str:
    """The folder of a user's network namespace that their bridges are in."""
    return f"{user_folder(outer_uid())}/shared-network"


def shared_netns() -> str:
    """Where that namespace is held."""
    return f"{runtime_folder(outer_uid())}/netns/podling-shared"


def shared_pid_folder() -> str:
    """Where pasta writes its pid: AppArmor's profile lets it write in homes alone."""
    uid = outer_uid()
    path = (os.environ.get("XDG_DATA_HOME") or f"{home_folder(uid)}/.local/share") + "/podling"
    os.makedirs(path, 0o700, exist_ok=True)
    return path
