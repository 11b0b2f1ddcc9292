"""build, image build."""

from __future__ import annotations

import os
import signal

from podling.cli.command import Command
from podling.cli.commands.run import CREATE_FLAGS
from podling.cli.flags import Flag, UsageError
from podling.cli.output import write_image_id
from podling.config import containers
from podling.engine.catalogue import builds as ops
from podling.engine.features import BuildOptions
from podling.engine.types import CreateOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args

#: other words for formats, in settings
_FORMATS = {"v2s2": "docker", "v2s1": "docker"}
#: what the containers of RUN are given, and access to registries, as `run` knows it
_RUN = frozenset(
    (
        "add-host authfile cap-add cap-drop cert-dir cgroup-parent cgroupns cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems "
        "creds decryption-key device dns dns-option dns-search gidmap group-add http-proxy ipc memory memory-swap network no-hostname "
        "no-hosts pid retry retry-delay security-opt shm-size tls-verify uidmap ulimit userns uts volume"
    ).split()
)
_TEXTS = {
    "target": "target", "base": "from", "format": "format", "cache_ttl": "cache_ttl", "ignore_file": "ignorefile", "manifest": "manifest",
    "tags": "tag", "build_args": "build_arg", "build_arg_files": "build_arg_file", "build_contexts": "build_context", "labels": "label",
    "annotations": "annotation", "unset_labels": "unsetlabel", "unset_env": "unsetenv", "unset_annotations": "unsetannotation",
    "env": "env",
    "inherit_labels": "inherit_labels", "inherit_annotations": "inherit_annotations", "secrets": "secret", "ssh": "ssh", "layers": "layers",
    "no_cache": "no_cache", "squash": "squash", "squash_all": "squash_all", "omit_history": "omit_history",
    "skip_unused": "skip_unused_stages", "outputs": "output", "quiet": "quiet",
}  # fmt: skip


def _build(app: App, args: Args) -> int:
    app.quiet = args.quiet
    options = BuildOptions(**{field: getattr(args, name) for field, name in _TEXTS.items()})
    options.run = CreateOptions(image="", **_run_options(args))
    options.platforms = _platforms(args)
    options.pull = "always" if args.pull_always else "never" if args.pull_never else _pull(args.pull)
    options.timestamp = args.timestamp or args.source_date_epoch or os.environ.get("SOURCE_DATE_EPOCH", "")
    if "format" not in args.given:
        chosen = os.environ.get("BUILDAH_FORMAT") or containers.load().text("engine", "image_build_format")
        options.format = _FORMATS.get(chosen, chosen) or options.format
    if "layers" not in args.given:
        options.layers = os.environ.get("BUILDAH_LAYERS", "true").lower() not in ("false", "0")
    fd = _context(args, options)
    for number in (signal.SIGTERM, signal.SIGHUP):  # end as Ctrl-C does: what runs is ended too
        signal.signal(number, _interrupted)
    log = _log(args.logfile)
    id = app.engine.call(
        ops.BuildImage(options=options, fd=fd, stdout=1 if log < 0 else log, stderr=2 if log < 0 else log)
    )
    write_image_id(args.iidfile, id)
    if id:
        app.out(id)
    return 0


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _run_options(args: Args) -> dict[str, Any]:
    fields = [flag.field for flag in CREATE_FLAGS if flag.name in _RUN]
    values = {field: args.__dict__[field] for field in fields}
    if "shm_size" not in args.given:
        values["shm_size"] = ""
    return values


def _context(args: Args, options: BuildOptions) -> int:
    """Which context is meant, and the descriptor that it comes from, if any."""
    context = args.rest[0] if args.rest else "."
    files = list(args.file)
    if "-" in files:
        if context == "-" or len(files) > 1:
            raise UsageError("standard input is either the context or the one Containerfile")
        with os.fdopen(os.dup(0), encoding="utf-8", errors="surrogateescape") as stdin:
            options.text = stdin.read()
        files = []
    options.files = files
    if context == "-":
        return 0
    if os.path.isfile(context) and not files:
        raise UsageError(f"context {context}: is a file, not a folder", hint=f"podling build -f {context} FOLDER")
    options.context = context
    return -1


def _log(path: str) -> int:
    if not path:
        return -1
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"--logfile {path}: {error.strerror}") from None


def _pull(text: str) -> str:
    return {"true": "always", "false": "missing", "ifmissing": "missing", "ifnewer": "newer"}.get(text, text)


def _platforms(args: Args) -> list[str]:
    if args.platform:
        return list(args.platform)
    if not (args.arch or args.os or args.variant):
        return []
    from podling.engine.features import host_platform

    host = host_platform()
    parts = (args.os or "linux", args.arch or host.architecture, args.variant)
    return ["/".join(part for part in parts if part)]


BUILD = Command(
    _build,
    "[options] [CONTEXT]",
    "Builds an image of a Containerfile. CONTEXT is a folder (the current one), a URL of a tar or a repository, or - for standard input.",
    *(flag for flag in CREATE_FLAGS if flag.name in _RUN),
    Flag("annotation", "", "list", "Add an annotation to the image (KEY=VALUE)"),
    Flag("arch", "", "string", "Build for this architecture"),
    Flag("build-arg", "", "list", "Give an ARG its value (NAME=VALUE; NAME takes yours)"),
    Flag("build-arg-file", "", "list", "Read such values from a file", value="file"),
    Flag("build-context", "", "list", "A further context for --from (NAME=FOLDER, NAME=docker-image://IMAGE)"),
    Flag("cache-ttl", "", "string", "Use kept steps no older than this, such as 2h"),
    Flag("compress", "", "bool", "Accepted for Docker's sake", hidden=True),
    Flag("disable-compression", "D", "bool", "Accepted: layers are compressed when they are pushed", True, hidden=True),
    Flag("disable-content-trust", "", "bool", "Accepted for Docker's sake", hidden=True),
    Flag("env", "", "list", "Set a variable in the image (NAME=VALUE)"),
    Flag("file", "f", "slice", "The Containerfile; - for standard input", value="path"),
    Flag("force-rm", "", "bool", "Accepted: containers of steps never stay", True, hidden=True),
    Flag("format", "", "string", "Format of the image: oci, docker", "oci"),
    Flag("from", "", "string", "Begin with this image instead of what the first FROM names", value="image"),
    Flag("ignorefile", "", "string", "Another .containerignore", value="path"),
    Flag("iidfile", "", "string", "Write the image's id to a file", value="file"),
    Flag("inherit-annotations", "", "bool", "Keep the annotations of the base image", True),
    Flag("inherit-labels", "", "bool", "Keep the labels of the base image", True),
    Flag("isolation", "", "string", "Accepted: steps run in containers", hidden=True),
    Flag("jobs", "", "int", "Accepted: stages are built one after the other", hidden=True),
    Flag("label", "", "list", "Add a label to the image (KEY=VALUE)"),
    Flag("layers", "", "bool", "Make a layer of each step and keep it for later builds; false makes one of all", True),
    Flag("load", "", "bool", "Accepted for Docker's sake", hidden=True),
    Flag("logfile", "", "string", "Write what the steps print to a file", value="file"),
    Flag("manifest", "", "string", "Add the image to this manifest list", value="name"),
    Flag("no-cache", "", "bool", "Do every step again"),
    Flag("omit-history", "", "bool", "Leave the history out of the image"),
    Flag("os", "", "string", "Build for this operating system"),
    Flag("output", "o", "list", "Write the image's files there (type=local,dest=FOLDER or type=tar,dest=FILE)"),
    Flag("platform", "", "slice", "Build for these platforms, such as linux/arm64"),
    Flag("progress", "", "string", "Accepted for Docker's sake", hidden=True),
    Flag("pull", "", "string", "When to fetch base images: always, missing, never, newer", "missing", bare="always"),
    Flag("pull-always", "", "bool", "The same as --pull=always", hidden=True),
    Flag("pull-never", "", "bool", "The same as --pull=never", hidden=True),
    Flag("quiet", "q", "bool", "Print the id alone"),
    Flag("rm", "", "bool", "Accepted: containers of steps never stay", True, hidden=True),
    Flag("secret", "", "list", "A secret for RUN --mount=type=secret (id=NAME[,src=FILE][,env=VARIABLE])"),
    Flag("skip-unused-stages", "", "bool", "Leave out stages that the target does not need", True),
    Flag("source-date-epoch", "", "string", "The same as --timestamp", value="seconds"),
    Flag("squash", "", "bool", "Make one layer of all that the build adds"),
    Flag("squash-all", "", "bool", "Make one layer of the whole image"),
    Flag("ssh", "", "list", "An SSH agent for RUN --mount=type=ssh (default, or NAME=SOCKET)"),
    Flag("tag", "t", "list", "Name the image", value="name"),
    Flag("target", "", "string", "Build this stage", value="stage"),
    Flag("timestamp", "", "string", "Seconds since 1970: the time of all that is made, so that builds can be reproduced", value="seconds"),
    Flag("unsetannotation", "", "slice", "Drop an annotation of the base image"),
    Flag("unsetenv", "", "slice", "Drop a variable of the base image"),
    Flag("unsetlabel", "", "slice", "Drop a label of the base image"),
    Flag("variant", "", "string", "Build for this variant of the architecture"),
    most=1,
    examples=("build -t app .", "build --target test --build-arg VERSION=2 -f Containerfile.dev src", "build -t app - < Containerfile"),
)  # fmt: skip
