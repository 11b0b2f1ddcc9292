"""systemd ends what a user left running when the last session ends, unless the user lingers (loginctl(1))."""

from __future__ import annotations

import os
import pwd

from podling.config.settings import user_folder
from podling.linux.proc import outer_uid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def warn(say: Callable[[str], None]) -> None:
    """Say it to a user who does not linger, once for each boot."""
    uid = outer_uid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return
    told = f"{user_folder(uid)}/told-of-linger"
    if os.path.exists(f"/var/lib/systemd/linger/{name}") or os.path.exists(told):
        return
    with open(told, "w"):
        pass
    say(f"containers of {name} end when the last session does: `loginctl enable-linger {name}` lets them run on")
