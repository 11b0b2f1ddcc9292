"""Executors of operations on volumes and secrets."""

from __future__ import annotations

from podling.core import volumes
from podling.engine.catalogue.base import Report
from podling.errors import InvalidInput, PodlingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context
    from podling.core.secrets import Secret
    from podling.core.volumes import Volume
    from podling.engine.catalogue import storage as ops


def create_volume(ctx: Context, op: ops.CreateVolume) -> Volume:
    return volumes.create(ctx, op.name, op.options)


def list_volumes(ctx: Context, op: ops.ListVolumes) -> list[Volume]:
    return volumes.list_volumes(ctx, op.filters)


def inspect_volume(ctx: Context, op: ops.InspectVolume) -> Volume:
    return volumes.find(ctx, op.name)


def remove_volumes(ctx: Context, op: ops.RemoveVolumes) -> Report:
    ctx.recover()
    report = Report()
    for name in [volume.name for volume in volumes.list_volumes(ctx, [])] if op.all else op.names:
        try:
            report.done.append(volumes.remove(ctx, name, force=op.force, timeout=op.timeout))
        except volumes.NoSuchVolume as error:
            if not op.force and not op.all:
                report.errors.append(error)
        except PodlingError as error:
            report.errors.append(error)
    return report


def prune_volumes(ctx: Context, op: ops.PruneVolumes) -> tuple[list[str], int]:
    return volumes.prune(ctx, op.filters)


def reload_volumes(ctx: Context, op: ops.ReloadVolumes) -> tuple[list[str], list[str]]:
    return volumes.reload(ctx)


def export_volume(ctx: Context, op: ops.ExportVolume) -> None:
    volumes.export(ctx, op.name, op.fd)


def import_volume(ctx: Context, op: ops.ImportVolume) -> None:
    from podling.core.push import read_fd

    if not op.path:
        volumes.import_tar(ctx, op.name, read_fd(op.fd))
        return
    try:
        with open(op.path, "rb") as file:
            volumes.import_tar(ctx, op.name, read_fd(file.fileno()))
    except OSError as error:
        raise InvalidInput(f"{op.path}: {error.strerror}") from None


def mount_volume(ctx: Context, op: ops.MountVolume) -> str:
    return volumes.mount(ctx, op.name)


def unmount_volume(ctx: Context, op: ops.UnmountVolume) -> str:
    return volumes.unmount(ctx, op.name)


def create_secret(ctx: Context, op: ops.CreateSecret) -> str:
    from podling.core import secrets

    return secrets.create(ctx, op.name, op.data, op.options)


def list_secrets(ctx: Context, op: ops.ListSecrets) -> list[Secret]:
    from podling.core import secrets

    return secrets.list_secrets(ctx, op.filters)


def inspect_secret(ctx: Context, op: ops.InspectSecret) -> tuple[Secret, bytes]:
    from podling.core import secrets

    secret = secrets.find(ctx, op.name)
    return secret, secrets.reveal(ctx, secret) if op.reveal else b""


def remove_secrets(ctx: Context, op: ops.RemoveSecrets) -> Report:
    from podling.core import secrets

    report = Report()
    for name in [secret.id for secret in secrets.list_secrets(ctx, [])] if op.all else op.names:
        try:
            report.done.append(secrets.remove(ctx, name))
        except secrets.NoSuchSecret as error:
            if not op.ignore:
                report.errors.append(error)
        except PodlingError as error:
            report.errors.append(error)
    return report
