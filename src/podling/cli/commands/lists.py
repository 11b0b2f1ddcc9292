"""manifest create, add, annotate, …; artifact add, ls, …"""

from __future__ import annotations

import time

from podling.cli.command import Command
from podling.cli.commands.registries import (
    AUTHFILE,
    CERT_DIR,
    CREDS,
    INSECURE,
    QUIET,
    RETRY,
    RETRY_DELAY,
    SIGNATURE_POLICY,
    SIGNING,
    TLS_VERIFY,
    WRITING,
    access,
    level,
    signing,
    write_digest,
)
from podling.cli.flags import Flag, UsageError
from podling.cli.output import Format, human_size, print_rows, table
from podling.engine.catalogue import lists as ops
from podling.engine.shapes import ago
from podling.engine.types import AddOptions, ArtifactOptions, Platforms
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.artifacts import Artifact

_PLATFORM = (
    Flag("annotation", "", "list", "Set an annotation of the entry: KEY=VALUE"),
    Flag("arch", "", "string", "Set, or choose by, the architecture"),
    Flag("features", "", "slice", "Set the features of the entry"),
    Flag("os", "", "string", "Set, or choose by, the operating system"),
    Flag("os-version", "", "string", "Set the version of the operating system"),
    Flag("variant", "", "string", "Set the variant of the architecture"),
)


def _platforms(args: Args) -> Platforms:
    return Platforms(
        os=args.os, arch=args.arch, variant=args.variant, os_version=args.os_version, features=args.features,
        os_features=getattr(args, "os_features", []) if "os_features" in vars(args) else [], annotations=args.annotation,
    )  # fmt: skip


def _create(app: App, args: Args) -> int:
    app.out(
        app.engine.call(
            ops.CreateManifest(
                name=args.rest[0], images=args.rest[1:], all=args.all, amend=args.amend, annotations=args.annotation,
                **access(args),
            )
        )
    )  # fmt: skip
    return 0


def _add(app: App, args: Args) -> int:
    artifact = None
    given = [name for name in args.given if name.startswith("artifact_")]
    if args.artifact:
        artifact = ArtifactOptions(
            type=args.artifact_type, config=args.artifact_config, config_type=args.artifact_config_type,
            layer_type=args.artifact_layer_type, exclude_titles=args.artifact_exclude_titles, subject=args.artifact_subject,
        )  # fmt: skip
    elif given:
        raise UsageError(f"--{given[0].replace('_', '-')} is for --artifact")
    app.out(
        app.engine.call(
            ops.AddToManifest(
                name=args.rest[0], images=args.rest[1:], all=args.all, platforms=_platforms(args), artifact=artifact,
                **access(args),
            )
        )
    )  # fmt: skip
    return 0


def _annotate(app: App, args: Args) -> int:
    if args.index == (len(args.rest) == 2):
        raise UsageError("name an entry of the list, or --index for the list itself")
    app.out(
        app.engine.call(
            ops.AnnotateManifest(
                name=args.rest[0], image=args.rest[1] if len(args.rest) > 1 else "", platforms=_platforms(args),
                index=args.index, subject=args.subject,
            )
        )
    )  # fmt: skip
    return 0


def _inspect(app: App, args: Args) -> int:
    app.out(json.pretty(app.engine.call(ops.InspectManifest(name=args.rest[0], **access(args))), 4))
    return 0


def _exists(app: App, args: Args) -> int:
    return 0 if app.engine.call(ops.ManifestExists(name=args.rest[0])) else 1


def _push(app: App, args: Args) -> int:
    app.quiet = args.quiet
    digest = app.engine.call(
        ops.PushManifest(
            name=args.rest[0], target=args.rest[1] if len(args.rest) > 1 else "", all=args.all, format=args.format,
            compression=args.compression_format, compression_level=level(args), force_compression=args.force_compression,
            add_compression=args.add_compression, remove=args.rm or args.purge, **signing(args), **access(args),
        )
    )  # fmt: skip
    write_digest(args.digestfile, digest)
    if not args.quiet:
        app.out(digest)
    return 0


def _remove_entry(app: App, args: Args) -> int:
    id, digest = app.engine.call(ops.RemoveFromManifest(name=args.rest[0], image=args.rest[1]))
    app.out(f"{id}: {digest}")
    return 0


def _remove(app: App, args: Args) -> int:
    removal, report = app.engine.call(ops.RemoveManifests(names=args.rest, ignore=args.ignore))
    done = [f"Untagged: {name}" for name in removal.untagged] + [f"Deleted: {id}" for id in removal.deleted]
    return app.report(done, report.errors)


# -- artifacts
def _artifact_add(app: App, args: Args) -> int:
    options = AddOptions(
        type=args.type, file_type=args.file_type, annotations=args.annotation, append=args.append, replace=args.replace
    )
    digest = app.engine.call(ops.AddArtifact(name=args.rest[0], paths=args.rest[1:], options=options))
    app.out(digest.partition(":")[2])
    return 0


_ARTIFACT_HEADERS = {
    "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "Created": "CREATED", "Size": "SIZE",
}  # fmt: skip


def _artifact_ls(app: App, args: Args) -> int:
    found: list[Artifact] = app.engine.call(ops.ListArtifacts())
    now = time.time_ns()
    rows = []
    for item in found:
        repository, _, tag = item.name.rpartition(":")
        digest = item.digest.partition(":")[2]
        rows.append(
            {
                "Repository": repository, "Tag": tag, "Digest": digest if args.no_trunc else digest[:12],
                "Created": ago(item.created, now), "CreatedAt": item.created // 10**9, "Size": human_size(item.size),
                "VirtualSize": item.size,
            }
        )  # fmt: skip
    if args.format:
        print_rows(app, args.format, rows, _ARTIFACT_HEADERS, heading=not args.noheading)
        return 0
    columns = ("Repository", "Tag", "Digest", "Created", "Size")
    heading = [] if args.noheading else [[_ARTIFACT_HEADERS[c] for c in columns]]
    lines = [*heading, *([str(row[c]) for c in columns] for row in rows)]
    if lines:
        app.out(table(lines))
    return 0


def _artifact_inspect(app: App, args: Args) -> int:
    item: Artifact = app.engine.call(ops.InspectArtifact(name=args.rest[0]))
    document = {"Manifest": item.manifest, "Name": item.name, "Digest": item.digest, "TotalSizeBytes": item.size}
    if args.format and not Format(args.format).is_json:
        print_rows(app, args.format, [document], {}, shape="artifact")
        return 0
    app.out(json.pretty({key: document[key] for key in ("Manifest", "Name", "Digest")}, 5))
    return 0


def _artifact_extract(app: App, args: Args) -> None:
    app.engine.call(ops.ExtractArtifact(name=args.rest[0], target=args.rest[1], title=args.title, digest=args.digest))


def _artifact_pull(app: App, args: Args) -> int:
    app.quiet = args.quiet
    app.out(
        app.engine.call(ops.PullArtifact(name=args.rest[0], keys=args.decryption_key, **access(args))).partition(":")[2]
    )
    return 0


def _artifact_push(app: App, args: Args) -> None:
    app.quiet = args.quiet
    digest = app.engine.call(ops.PushArtifact(name=args.rest[0], **signing(args), **access(args)))
    write_digest(args.digestfile, digest)


def _artifact_rm(app: App, args: Args) -> int:
    if bool(args.rest) == args.all:
        raise UsageError("name artifacts, or --all")
    report = app.engine.call(ops.RemoveArtifacts(names=args.rest, all=args.all, ignore=args.ignore))
    return app.report([digest.partition(":")[2] for digest in report.done], report.errors)


CREATE = Command(
    _create,
    "[options] LIST [IMAGE...]",
    "Makes a manifest list, with images in it.",
    Flag("all", "", "bool", "Add every image of those that are lists themselves"),
    Flag("amend", "a", "bool", "Go on with a list that exists"),
    Flag("annotation", "", "list", "Set an annotation of the list: KEY=VALUE"),
    INSECURE,
    TLS_VERIFY,
    least=1,
    examples=("manifest create app:1", "manifest create app:1 docker://registry.example.com/app:1-amd64"),
)
ADD = Command(
    _add,
    "[options] LIST IMAGE|FILE [IMAGE|FILE...]",
    "Adds images to a manifest list, or with --artifact an artifact made of files.",
    Flag("all", "", "bool", "Add every image of one that is a list itself"),
    *_PLATFORM,
    Flag("artifact", "", "bool", "Make an artifact of the files that are named"),
    Flag("artifact-config", "", "string", "File for the artifact's configuration", value="path"),
    Flag("artifact-config-type", "", "string", "Media type of the artifact's configuration"),
    Flag("artifact-exclude-titles", "", "bool", "Do not keep the names of the files"),
    Flag("artifact-layer-type", "", "string", "Media type of the artifact's files"),
    Flag("artifact-subject", "", "string", "Image that the artifact is about"),
    Flag("artifact-type", "", "string", "Type of the artifact"),
    AUTHFILE,
    CERT_DIR,
    CREDS,
    INSECURE,
    TLS_VERIFY,
    least=2,
    examples=("manifest add app:1 docker://registry.example.com/app:1-arm64", "manifest add --all app:1 alpine"),
)
ANNOTATE = Command(
    _annotate,
    "[options] LIST [IMAGE]",
    "Changes what a manifest list says of an entry, or with --index of itself.",
    *_PLATFORM,
    Flag("index", "", "bool", "Change the list itself"),
    Flag("os-features", "", "slice", "Set the features of the operating system"),
    Flag("subject", "", "string", "Image that the list is about"),
    least=1,
    most=2,
    examples=("manifest annotate --arch arm64 --variant v8 app:1 sha256:15352d97781ffdf357bf3459c037be3efac4133dc9070c2dce7eca7c05c3e736",),
)  # fmt: skip
INSPECT = Command(
    _inspect,
    "[options] LIST",
    "Shows a manifest list that is here, or at a registry.",
    AUTHFILE,
    INSECURE,
    TLS_VERIFY,
    Flag("verbose", "v", "bool", "Docker's; there is nothing more to say", hidden=True),
    least=1,
    most=1,
    examples=("manifest inspect app:1", "manifest inspect docker.io/library/alpine"),
)
EXISTS = Command(_exists, "LIST", "Ends with 0 when the manifest list is here, else with 1.", least=1, most=1)
PUSH = Command(
    _push,
    "[options] LIST [DESTINATION]",
    "Sends a manifest list and its images to a registry, or by transport to a file or a folder.",
    Flag("add-compression", "", "slice", "Add each image once more, in this compression"),
    Flag("all", "", "bool", "Send the images too", True),
    AUTHFILE,
    CERT_DIR,
    *WRITING,
    CREDS,
    Flag("digestfile", "", "string", "Write the digest of the list to this file", value="path"),
    Flag("format", "f", "string", "Manifests as oci or v2s2, instead of as they are"),
    QUIET,
    RETRY,
    RETRY_DELAY,
    Flag("rm", "", "bool", "Remove the list here when it has been sent"),
    Flag("purge", "p", "bool", "Docker's word for --rm", hidden=True),
    Flag("remove-signatures", "", "bool", "Send no signatures of the images; none are ever sent with a list"),
    INSECURE,
    *SIGNING,
    TLS_VERIFY,
    least=1,
    most=2,
    examples=("manifest push app:1 docker://registry.example.com/app:1",),
)
REMOVE_ENTRY = Command(
    _remove_entry, "LIST DIGEST", "Takes an entry out of a manifest list.", least=2, most=2,
    examples=("manifest remove app:1 sha256:15352d97781ffdf357bf3459c037be3efac4133dc9070c2dce7eca7c05c3e736",),
)  # fmt: skip
REMOVE = Command(
    _remove,
    "[options] LIST [LIST...]",
    "Removes manifest lists; the images in them stay.",
    Flag("ignore", "i", "bool", "It is no error when a list does not exist"),
    least=1,
    examples=("manifest rm app:1",),
)
ARTIFACT_ADD = Command(
    _artifact_add,
    "[options] ARTIFACT PATH [PATH...]",
    "Makes an artifact of files, and prints its digest.",
    Flag("annotation", "", "list", "Set an annotation of the files: KEY=VALUE"),
    Flag("append", "a", "bool", "Add the files to an artifact that exists"),
    Flag("file-type", "", "string", "Media type of the files, instead of what they look like"),
    Flag("replace", "", "bool", "Replace an artifact of that name"),
    Flag("type", "", "string", "Type of the artifact"),
    least=2,
    examples=("artifact add registry.example.com/team/model:1 weights.bin",),
)
ARTIFACT_LS = Command(
    _artifact_ls,
    "[options]",
    "Lists the artifacts.",
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("no-trunc", "", "bool", "Show whole digests"),
    Flag("noheading", "n", "bool", "Leave the table's heading out"),
    most=0,
    examples=("artifact ls",),
)
ARTIFACT_INSPECT = Command(
    _artifact_inspect,
    "[options] ARTIFACT",
    "Shows an artifact's manifest.",
    Flag("format", "f", "string", 'Print as JSON ("json") or with a Go template', "json"),
    least=1,
    most=1,
    examples=("artifact inspect model:1",),
)
ARTIFACT_EXTRACT = Command(
    _artifact_extract,
    "[options] ARTIFACT PATH",
    "Writes an artifact's files to a folder, or its only one to a file.",
    Flag("digest", "", "string", "Only the file with this digest"),
    Flag("title", "", "string", "Only the file of this name"),
    least=2,
    most=2,
    examples=("artifact extract model:1 /tmp/model",),
)
ARTIFACT_PULL = Command(
    _artifact_pull,
    "[options] ARTIFACT",
    "Fetches an artifact from a registry, and prints its digest.",
    AUTHFILE,
    CERT_DIR,
    CREDS,
    Flag("decryption-key", "", "list", "Private key for encrypted files: PATH[:PASSWORD]", value="key"),
    QUIET,
    RETRY,
    RETRY_DELAY,
    TLS_VERIFY,
    least=1,
    most=1,
    examples=("artifact pull registry.example.com/team/model:1",),
)
ARTIFACT_PUSH = Command(
    _artifact_push,
    "[options] ARTIFACT",
    "Sends an artifact to the registry that its name says.",
    AUTHFILE,
    CERT_DIR,
    CREDS,
    Flag("digestfile", "", "string", "Write the digest of the manifest to this file", value="path"),
    QUIET,
    RETRY,
    RETRY_DELAY,
    *SIGNING,
    SIGNATURE_POLICY,
    TLS_VERIFY,
    least=1,
    most=1,
    examples=("artifact push registry.example.com/team/model:1",),
)
ARTIFACT_RM = Command(
    _artifact_rm,
    "[options] ARTIFACT [ARTIFACT...]",
    "Removes artifacts.",
    Flag("all", "a", "bool", "Remove all artifacts"),
    Flag("ignore", "i", "bool", "It is no error when an artifact does not exist"),
    examples=("artifact rm model:1",),
)
