"""Executors of image operations."""

from __future__ import annotations

from podling.engine.catalogue import Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.core.images import Image, Removal
    from podling.engine import catalogue as ops


def pull(ctx: Context, op: ops.PullImage) -> str:
    from podling.core.pull import pull

    return pull(
        ctx, op.name, policy=op.policy, platform=op.platform, creds=op.creds, authfile=op.authfile, tls_verify=op.tls_verify,
        cert_dir=op.cert_dir, retries=op.retries,
    )  # fmt: skip


def list_images(ctx: Context, op: ops.ListImages) -> list[Image]:
    from podling.core.images import list_images

    return list_images(ctx, op.names, op.filters, op.all)


def remove(ctx: Context, op: ops.RemoveImages) -> tuple[Removal, Report]:
    from podling.core.images import remove

    removal, errors = remove(ctx, op.names, op.force, op.all, op.ignore)
    return removal, Report(errors=errors)


def tag(ctx: Context, op: ops.TagImage) -> None:
    from podling.core.images import tag

    tag(ctx, op.name, op.targets)


def untag(ctx: Context, op: ops.UntagImage) -> None:
    from podling.core.images import untag

    untag(ctx, op.name, op.targets)


def inspect(ctx: Context, op: ops.InspectImage) -> dict[str, Any]:
    from podling.core.images import inspect

    return inspect(ctx, op.name)


def history(ctx: Context, op: ops.ImageHistory) -> list[dict[str, Any]]:
    from podling.core.images import history

    return history(ctx, op.name)


def exists(ctx: Context, op: ops.ImageExists) -> bool:
    from podling.core.images import lookup

    return lookup(ctx, op.name) is not None


def load(ctx: Context, op: ops.LoadImages) -> list[str]:
    from podling.core.archives import load

    return load(ctx, op.path, op.fd)


def save(ctx: Context, op: ops.SaveImages) -> None:
    from podling.core.archives import save

    save(ctx, op.names, op.path, op.fd, op.format)


def import_image(ctx: Context, op: ops.ImportImage) -> str:
    from podling.core.archives import import_tar

    return import_tar(ctx, op.path, op.fd, op.name, op.changes, op.message, op.platform)
