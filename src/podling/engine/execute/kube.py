"""Executors of operations on Kubernetes' documents."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context
    from podling.engine.catalogue import kube as ops
    from podling.kube.options import Played, TakenDown


def play(ctx: Context, op: ops.PlayKube) -> Played:
    from podling.kube.play import play

    def build(folder: str, name: str) -> None:
        from podling.build.main import build as make
        from podling.build.options import BuildOptions

        ctx.progress(f"Building {name} of {folder}")
        make(ctx, BuildOptions(context=folder, tags=[name], quiet=True))

    return play(ctx, op.options, build)


def down(ctx: Context, op: ops.DownKube) -> TakenDown:
    from podling.kube.play import down

    return down(ctx, op.text, force=op.force)


def generate(ctx: Context, op: ops.GenerateKube) -> str:
    from podling.kube.generate import generate

    return generate(ctx, op.names, kind=op.kind, service=op.service, replicas=op.replicas, podman_only=op.podman_only)


def apply(ctx: Context, op: ops.ApplyKube) -> list[str]:
    from podling.kube.apply import apply

    return apply(op.text, op.kubeconfig, namespace=op.namespace, ca=op.ca)
