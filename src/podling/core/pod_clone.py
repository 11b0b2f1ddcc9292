"""A pod like another one, with containers like its own."""

from __future__ import annotations

from podling.core import create as creation
from podling.core import pods
from podling.core.configuration import label_lines
from podling.core.options import CreateOptions, PodOptions
from podling.core.pods import Pod
from podling.oci import json
from podling.runtime.config import ContainerConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context


def clone(ctx: Context, original: Pod, changes: PodOptions, given: set[str], *, start: bool, destroy: bool) -> Pod:
    """Make the pod, with `changes` over what the original was made with; its containers are called NAME-clone.

    Raises:
        NameInUse, InvalidInput.
    """
    old = PodOptions.from_json(original.options)
    merged = PodOptions.from_json(old.to_json())
    for name in given:
        if hasattr(merged.infra_options, name):
            setattr(merged.infra_options, name, getattr(changes.infra_options, name))
    own = {"name": "", "cgroup_parent": "", **({} if "conmon_pidfile" in given else {"conmon_pidfile": ""})}
    merged.infra_options = CreateOptions.from_json({**merged.infra_options.to_json(), **own})
    merged.infra_options.image, merged.infra_options.rootfs, merged.infra_options.command = "", False, []
    if merged.infra_options.hostname == original.name:
        merged.infra_options.hostname = ""
    merged.name = changes.name or f"{original.name}-clone"
    merged.labels = [*old.labels, *label_lines(changes.label_files), *changes.labels]
    merged.id_file, merged.replace = "", False
    for field in ("restart", "cgroup_parent", "infra_command", "infra_name"):
        setattr(merged, field, getattr(changes, field) or ("" if field == "infra_name" else getattr(old, field)))
    merged.create_command = changes.create_command
    made = pods.create(ctx, merged)
    infra, old_infra = pods.infra_of(ctx, made), pods.infra_of(ctx, original)
    for container in pods.members(ctx, original):
        if container.infra:
            continue
        copy, image = creation.copied(ctx, container, "")
        text = json.dumps(copy.to_json())
        if infra and old_infra:
            text = text.replace(old_infra.id, infra.id)
        copy = ContainerConfig.from_json(json.loads(text.replace(original.id, made.id)))
        if infra:
            pods.hand_down(infra, copy)
        creation.store(ctx, copy, image, fixed_name=False)
    if destroy:
        pods.remove(ctx, original, force=True)
    if start:
        pods.start(ctx, made)
    return made
