"""The whole of a build: its context, one image for each platform, a manifest list where one is wanted."""

from __future__ import annotations

import glob
import os
import shutil

from podling.build import context as contexts
from podling.build import finish
from podling.build.builder import Builder
from podling.build.containerfile import BuildError
from podling.linux.proc import is_alive, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.build.options import BuildOptions
    from podling.core.context import Context


def build(ctx: Context, options: BuildOptions, *, fd: int = -1, stdout: int = 1, stderr: int = 2) -> str:
    """Build an image; its id, or "" where only its files were wanted. The context may come as a tar through `fd`.

    Raises:
        BuildError: the Containerfile, or what it asks for, is wrong. CommandFailed: a command failed, with its exit code.
        StorageFull; NoSuchImage and other errors of registries.
    """
    if options.format not in ("oci", "docker"):
        raise BuildError(f"--format {options.format!r}: not one of oci, docker")
    if options.pull not in ("missing", "always", "never", "newer"):
        raise BuildError(f"--pull {options.pull!r}: not one of missing, always, never, newer")
    if len(options.platforms) > 1 and not options.manifest:
        raise BuildError("several --platform make several images", hint="--manifest NAME puts them into one list")
    ctx.recover()
    scratch = _scratch(ctx)
    try:
        with contexts.open_context(options, fd, scratch, ctx.progress) as context:
            text, paths = contexts.read(options, context.folder)
            ignore = contexts.ignored(options, context.folder, paths)
            ids = []
            for platform in options.platforms or [""]:
                builder = Builder(
                    ctx, options, context.folder, ignore, text, platform=platform, stdout=stdout, stderr=stderr
                )
                builder.scratch = scratch
                state = builder.run()
                for output in options.outputs:
                    finish.export(builder, state, output)
                if options.tags or options.manifest or not options.outputs:
                    ids.append(finish.commit(builder, state))
            if options.manifest:
                _list(ctx, options.manifest, ids)
            return ids[-1] if ids else ""
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            os.rmdir(os.path.dirname(scratch))
        except OSError:
            pass  # another build of this process


def _scratch(ctx: Context) -> str:
    """A folder for this build; those of builds that were killed go."""
    base = ctx.settings.scratch or f"{ctx.settings.root}/tmp"
    for path in glob.glob(f"{base}/podling-build-*"):
        pid, _, began = os.path.basename(path).removeprefix("podling-build-").partition("-")
        if (
            pid.isdigit()
            and began.isdigit()
            and os.stat(path).st_uid == os.geteuid()
            and not is_alive(int(pid), int(began))
        ):
            shutil.rmtree(path, ignore_errors=True)
    own = os.getpid()
    path = f"{base}/podling-build-{own}-{start_time(own)}"
    number = 0
    while True:  # a service builds several at once
        try:
            os.makedirs(path + f"/{number}", 0o700)
            return f"{path}/{number}"
        except FileExistsError:
            number += 1


def _list(ctx: Context, name: str, ids: list[str]) -> None:
    from podling.core import images, manifests
    from podling.core.options import Platforms, RegistryAccess

    if images.lookup(ctx, name) is None:
        manifests.create(ctx, name, [], RegistryAccess(), all=False, amend=False, annotations=[])
    manifests.add(ctx, name, ids, RegistryAccess(), Platforms())
