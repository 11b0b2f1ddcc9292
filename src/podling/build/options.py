"""What a user asks of a build, one field per option, as text the way flags and library callers give it."""

from __future__ import annotations

from podling.core.options import CreateOptions
from podling.oci.record import Record


class BuildOptions(Record):
    """`context` is a folder, a URL, a Git repository, or "" for what comes through a descriptor, a tar."""

    context: str = ""
    #: Containerfiles: in the context, or anywhere; none: Containerfile or Dockerfile
    files: list[str] = []
    #: the text of the Containerfiles, where they do not come from files
    text: str = ""
    tags: list[str] = []
    target: str = ""
    build_args: list[str] = []
    build_arg_files: list[str] = []
    #: NAME=SOURCE: further contexts
    build_contexts: list[str] = []
    #: instead of the first FROM
    base: str = ""
    #: missing, always, never, newer
    pull: str = "missing"
    platforms: list[str] = []
    format: str = "oci"
    labels: list[str] = []
    layer_labels: list[str] = []
    annotations: list[str] = []
    unset_labels: list[str] = []
    unset_env: list[str] = []
    unset_annotations: list[str] = []
    env: list[str] = []
    inherit_labels: bool = True
    inherit_annotations: bool = True
    secrets: list[str] = []
    #: secrets themselves, in base64, by their names: from clients elsewhere
    secret_data: dict[str, str] = {}
    ssh: list[str] = []
    layers: bool = True
    no_cache: bool = False
    #: how old a kept step may be, such as 2h
    cache_ttl: str = ""
    squash: bool = False
    squash_all: bool = False
    omit_history: bool = False
    skip_unused: bool = True
    ignore_file: str = ""
    #: the patterns themselves, with `ignore_known` instead of all such files
    ignore_lines: list[str] = []
    ignore_known: bool = False
    #: seconds since the epoch for all that is made; "": now
    timestamp: str = ""
    manifest: str = ""
    #: type=local,dest=FOLDER or type=tar,dest=FILE
    outputs: list[str] = []
    quiet: bool = False
    #: what the containers of RUN are given: limits, networks, volumes, capabilities, …; access to registries
    run: CreateOptions = CreateOptions(image="")
