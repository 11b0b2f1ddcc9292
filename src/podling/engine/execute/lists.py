"""Executors of operations on manifest lists and artifacts."""

from __future__ import annotations

from podling.core import artifacts, manifests
from podling.core.copy import WriteOptions
from podling.core.signing import Signers
from podling.engine.catalogue.base import Report
from podling.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.artifacts import Artifact
    from podling.core.context import Context
    from podling.core.image_removal import Removal
    from podling.engine.catalogue import lists as ops
    from podling.engine.catalogue.images import SigningOperation


def signers(op: SigningOperation) -> Signers:
    return Signers(gpg=op.sign_by, sigstore=op.sign_by_sigstore, passphrase_file=op.sign_passphrase_file)


def create_manifest(ctx: Context, op: ops.CreateManifest) -> str:
    return manifests.create(ctx, op.name, op.images, op.access, all=op.all, amend=op.amend, annotations=op.annotations)


def add_to_manifest(ctx: Context, op: ops.AddToManifest) -> str:
    if op.artifact is not None:
        return manifests.add_artifact(ctx, op.name, op.images, op.artifact, op.platforms)
    return manifests.add(ctx, op.name, op.images, op.access, op.platforms, all=op.all)


def annotate_manifest(ctx: Context, op: ops.AnnotateManifest) -> str:
    return manifests.annotate(ctx, op.name, op.image, op.platforms, index=op.index, subject=op.subject)


def remove_from_manifest(ctx: Context, op: ops.RemoveFromManifest) -> tuple[str, str]:
    return manifests.remove_entry(ctx, op.name, op.image)


def remove_manifests(ctx: Context, op: ops.RemoveManifests) -> tuple[Removal, Report]:
    removal, errors = manifests.remove_list(ctx, op.names, ignore=op.ignore)
    return removal, Report(errors=errors)


def inspect_manifest(ctx: Context, op: ops.InspectManifest) -> dict[str, Any]:
    return manifests.inspect(ctx, op.name, op.access)


def manifest_exists(ctx: Context, op: ops.ManifestExists) -> bool:
    from podling.core.images import lookup

    image = lookup(ctx, op.name)
    return image is not None and image.kind == "index"


def push_manifest(ctx: Context, op: ops.PushManifest) -> str:
    options = WriteOptions(
        format=op.format, compression=op.compression, level=op.compression_level,
        force=op.force_compression or bool(op.compression),
    )  # fmt: skip
    digest = manifests.push_list(
        ctx, op.name, op.target, op.access, options, signers(op), all=op.all, add_compression=op.add_compression
    )
    if op.remove:
        manifests.remove_list(ctx, [op.name], ignore=True)
    return digest


# -- artifacts
def add_artifact(ctx: Context, op: ops.AddArtifact) -> str:
    return artifacts.add(ctx, op.name, op.paths, op.options)


def list_artifacts(ctx: Context, op: ops.ListArtifacts) -> list[Artifact]:
    return artifacts.list_artifacts(ctx)


def inspect_artifact(ctx: Context, op: ops.InspectArtifact) -> Artifact:
    return artifacts.find(ctx, op.name)


def extract_artifact(ctx: Context, op: ops.ExtractArtifact) -> list[str]:
    return artifacts.extract(ctx, op.name, op.target, title=op.title, digest=op.digest)


def pull_artifact(ctx: Context, op: ops.PullArtifact) -> str:
    return artifacts.pull(ctx, op.name, op.access, op.keys)


def push_artifact(ctx: Context, op: ops.PushArtifact) -> str:
    return artifacts.push(ctx, op.name, op.access, signers(op))


def remove_artifacts(ctx: Context, op: ops.RemoveArtifacts) -> Report:
    if not op.names and not op.all:
        raise NotFound("no artifact was named")
    done, errors = artifacts.remove(ctx, op.names, all=op.all, ignore=op.ignore)
    return Report(done=done, errors=errors)
