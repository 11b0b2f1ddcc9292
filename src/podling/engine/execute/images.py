"""Executors of image operations."""

from __future__ import annotations

from podling.engine.catalogue.base import Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context
    from podling.core.image_details import TreeLayer
    from podling.core.image_removal import Removal
    from podling.core.images import Image
    from podling.engine.catalogue import images as ops


def pull(ctx: Context, op: ops.PullImage) -> list[str]:
    from podling.core.pull import PullOptions, pull, pull_all_tags

    options = PullOptions(
        policy=op.policy, platform=op.platform, keys=op.decryption_keys, signature_policy=op.signature_policy
    )
    if op.all_tags:
        return pull_all_tags(ctx, op.name, options, op.access)
    return [pull(ctx, op.name, options, op.access)]


def push(ctx: Context, op: ops.PushImage) -> str:
    from podling.core.copy import WriteOptions
    from podling.core.push import push
    from podling.core.signing import Signers

    options = WriteOptions(
        format=op.format, compression=op.compression, level=op.compression_level,
        force=op.force_compression or bool(op.compression), encrypt_keys=op.encryption_keys, encrypt_layers=op.encrypt_layers,
    )  # fmt: skip
    signers = Signers(gpg=op.sign_by, sigstore=op.sign_by_sigstore, passphrase_file=op.sign_passphrase_file)
    return push(
        ctx,
        op.name,
        op.target,
        op.access,
        options,
        signers,
        compress=op.compress,
        remove_signatures=op.remove_signatures,
    )


def prune(ctx: Context, op: ops.PruneImages) -> tuple[list[str], int]:
    from podling.core.image_removal import prune

    return prune(ctx, op.filters, all=op.all, build_cache=op.build_cache)


def tree(ctx: Context, op: ops.ImageTree) -> tuple[Image, list[TreeLayer]]:
    from podling.core.image_details import tree

    return tree(ctx, op.name, dependants=op.dependants)


def mount(ctx: Context, op: ops.MountImages) -> list[tuple[Image, str]]:
    from podling.core.mounts import mount

    return mount(ctx, op.names, all=op.all)


def unmount(ctx: Context, op: ops.UnmountImages) -> Report:
    from podling.core.mounts import unmount

    done, errors = unmount(ctx, op.names, all=op.all, force=op.force)
    return Report(done=done, errors=errors)


def diff(ctx: Context, op: ops.Diff) -> list[tuple[str, str]]:
    from podling.core.changes import diff

    return diff(ctx, op.name, op.other, op.kind)


def list_images(ctx: Context, op: ops.ListImages) -> list[Image]:
    from podling.core.images import list_images

    return list_images(ctx, op.names, op.filters, op.all, history=op.history)


def remove(ctx: Context, op: ops.RemoveImages) -> tuple[Removal, Report]:
    from podling.core.image_removal import remove

    removal, errors = remove(ctx, op.names, op.force, op.all, op.ignore, prune=op.prune)
    return removal, Report(errors=errors)


def tag(ctx: Context, op: ops.TagImage) -> None:
    from podling.core.images import tag

    tag(ctx, op.name, op.targets)


def untag(ctx: Context, op: ops.UntagImage) -> None:
    from podling.core.images import untag

    untag(ctx, op.name, op.targets)


def inspect(ctx: Context, op: ops.InspectImage) -> dict[str, Any]:
    from podling.core.image_details import inspect

    return inspect(ctx, op.name)


def history(ctx: Context, op: ops.ImageHistory) -> list[dict[str, Any]]:
    from podling.core.image_details import history

    return history(ctx, op.name)


def exists(ctx: Context, op: ops.ImageExists) -> bool:
    from podling.core.images import lookup

    return lookup(ctx, op.name) is not None


def load(ctx: Context, op: ops.LoadImages) -> list[str]:
    from podling.core.archives import load

    return load(ctx, op.path, op.fd, op.signature_policy)


def save(ctx: Context, op: ops.SaveImages) -> None:
    from podling.core.archives import save

    save(ctx, op.names, op.path, op.fd, op.format, compress=op.compress, uncompressed=op.uncompressed)


def import_image(ctx: Context, op: ops.ImportImage) -> str:
    from podling.core.archives import import_tar

    return import_tar(ctx, op.path, op.fd, op.name, op.changes, op.message, op.platform)
