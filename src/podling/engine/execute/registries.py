"""Executors of operations on registries, trust and other hosts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.core.trust import Trust
    from podling.engine.catalogue import images as ops
    from podling.registry.listing import Found


def search(ctx: Context, op: ops.SearchImages) -> list[Found]:
    from podling.core import login

    if op.list_tags:
        return login.list_tags(ctx, op.term, op.limit, op.access)
    return login.search(ctx, op.term, op.limit, op.filters, op.access)


def login(ctx: Context, op: ops.Login) -> tuple[str, str]:
    from podling.core import login

    return login.login(ctx, op.registry, op.username, op.password, op.access, op.compat_auth_file)


def login_name(ctx: Context, op: ops.LoginName) -> str:
    from podling.core import login

    return login.login_name(op.registry, op.authfile)


def logout(ctx: Context, op: ops.Logout) -> str:
    from podling.core import login

    return login.logout(op.registry, op.authfile, op.compat_auth_file, all=op.all)


def sign(ctx: Context, op: ops.SignImages) -> list[str]:
    from podling.core import trust

    return trust.sign(ctx, op.names, op.sign_by, op.directory, op.access, all=op.all)


def show_trust(ctx: Context, op: ops.ShowTrust) -> tuple[dict[str, Any], list[Trust]]:
    from podling.core import trust

    return trust.show(op.registry, op.policy_path, op.registries_path)


def set_trust(ctx: Context, op: ops.SetTrust) -> None:
    from podling.core import trust

    trust.set_trust(op.registry, op.type, op.keys, op.policy_path)


def scp(ctx: Context, op: ops.CopyImage) -> str:
    from podling.core.scp import copy

    return copy(ctx, op.source, op.target)
