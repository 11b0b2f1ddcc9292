"""auto-update: containers of systemd units whose image has a newer version get it, and fall back to the old one when it does not start."""

from __future__ import annotations

from podling.core import images
from podling.core.containers import Container, every
from podling.core.options import RegistryAccess
from podling.core.pull import PullOptions, pull
from podling.errors import InvalidInput, PodlingError, RuntimeFailed
from podling.oci.record import Record
from podling.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context
    from podling.core.images import Image

#: the label that asks for it, and the one that says which unit a container belongs to
LABEL, AUTHFILE_LABEL, UNIT_LABEL = (
    "io.containers.autoupdate",
    "io.containers.autoupdate.authfile",
    "PODMAN_SYSTEMD_UNIT",
)
_POLICIES = {"registry": "registry", "image": "registry", "local": "local"}
_OFF = ("disabled", "")


class Update(Record):
    """One container. `updated`: true, false, pending (with a dry run), failed, rolled back."""

    unit: str
    container_id: str
    container_name: str
    image: str
    policy: str
    updated: str = "false"


class _Work:
    """A container, the image that it runs, and what is to become of it."""

    def __init__(self, container: Container, update: Update, old: Image, access: RegistryAccess) -> None:
        self.container, self.update, self.old, self.access = container, update, old, access


def auto_update(
    ctx: Context, *, dry_run: bool, rollback: bool, access: RegistryAccess
) -> tuple[list[Update], list[Exception]]:
    """Update what asks for it with the label; (what became of each container, what went wrong)."""
    ctx.recover()
    updates: list[Update] = []
    errors: list[Exception] = []
    units: dict[str, list[_Work]] = {}
    for container in every(ctx):
        policy = container.config.labels.get(LABEL, "")
        if policy in _OFF:
            continue
        try:
            work = _prepare(ctx, container, policy, access)
        except PodlingError as error:
            errors.append(_about(container, error))
            continue
        updates.append(work.update)
        units.setdefault(work.update.unit, []).append(work)
    for unit, works in units.items():
        try:
            _update_unit(ctx, unit, works, dry_run=dry_run, rollback=rollback)
        except PodlingError as error:
            errors.append(error)
    return updates, errors


def _about(container: Container, error: PodlingError) -> PodlingError:
    return type(error)(f"auto-updating container {container.id}: {error.message}", hint=error.hint)


def _prepare(ctx: Context, container: Container, policy: str, access: RegistryAccess) -> _Work:
    config = container.config
    if policy not in _POLICIES:
        raise InvalidInput(f"invalid auto-update policy {policy!r}", hint="the label takes registry or local")
    unit = config.labels.get(UNIT_LABEL, "")
    if not unit:
        raise InvalidInput(
            f"no {UNIT_LABEL} label found",
            hint="auto-update restarts the systemd unit that a container was started by: run it in one",
        )
    image = images.by_id(ctx, container.image_id) if container.image_id else None
    if image is None:
        raise InvalidInput("it has no image")
    named = parse(config.image)
    if policy != "local" and str(named.tagged()) != config.image and not named.registry:
        raise InvalidInput(
            f"auto updates require fully-qualified image references: {config.image!r}", hint="with registry and tag"
        )
    own = RegistryAccess(
        authfile=config.labels.get(AUTHFILE_LABEL) or access.authfile, tls_verify=access.tls_verify, creds=access.creds,
        cert_dir=access.cert_dir,
    )  # fmt: skip
    update = Update(
        unit=unit,
        container_id=container.id,
        container_name=container.name,
        image=config.image,
        policy=_POLICIES[policy],
    )
    return _Work(container, update, image, own)


def _has_newer(ctx: Context, work: _Work) -> bool:
    """Whether the registry, or with the policy local the store, has another image under the container's name."""
    if work.update.policy == "local":
        there = images.lookup(ctx, work.update.image)
        return there is not None and images.instance(ctx, there).id != work.container.image_id
    from podling.core.pull import remote_digests

    known = {
        row[0] for row in ctx.db.rows("SELECT digest FROM image_digests WHERE image_id=?", work.container.image_id)
    }
    return not known & set(remote_digests(ctx, work.update.image, work.access))


def _update_unit(ctx: Context, unit: str, works: list[_Work], *, dry_run: bool, rollback: bool) -> None:
    due = [work for work in works if _has_newer(ctx, work)]
    if dry_run:
        for work in due:
            work.update.updated = "pending"
        return
    if not due:
        return
    for work in due:
        if work.update.policy == "registry":
            pull(ctx, work.update.image, PullOptions(), work.access)
    try:
        _restart(unit)
    except PodlingError as error:
        for work in due:
            work.update.updated = "failed"
        if not rollback:
            raise
        for work in due:
            images.tag(ctx, work.old.id, [work.update.image])
        _restart(unit)
        for work in due:
            work.update.updated = "rolled back"
        ctx.warn(f"{error.message}: rolled back to the image before")
        return
    for work in due:
        work.update.updated = "true"


def _restart(unit: str) -> None:
    """Have systemd restart a unit, and wait until it runs."""
    from podling.config.settings import find_program
    from podling.linux.proc import outer_uid
    from podling.linux.process import run

    scope = ["--user"] if outer_uid() else []
    outcome = run([find_program("systemctl"), *scope, "restart", unit])
    if outcome.code:
        raise RuntimeFailed(
            f"restarting unit {unit} failed: {outcome.message.strip() or outcome.code}",
            hint=f"systemctl {' '.join([*scope, ''])}status {unit}",
        )
