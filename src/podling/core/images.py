"""Images in the store: finding, naming, listing, removing, describing."""

from __future__ import annotations

from podling.errors import AmbiguousName, ImageInUse, InvalidInput, NoSuchImage
from podling.oci import json
from podling.oci.record import Record
from podling.oci.reference import Reference, is_hex, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.core.context import Context
    from podling.state.database import Transaction

FILTERS = (
    "reference",
    "label",
    "dangling",
    "before",
    "since",
    "until",
    "id",
    "readonly",
    "intermediate",
    "containers",
    "digest",
)


class Image(Record):
    """A stored image; `names` are its tags, `size` the bytes of its layers. Times in nanoseconds."""

    id: str
    layer: int | None
    manifest_digest: str
    size: int
    created: int
    platform: str
    names: list[str] = []
    labels_json: str = "{}"
    #: how many containers use it
    containers: int = 0

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = json.loads(self.labels_json)
        return labels


_COLUMNS = "id, layer, manifest_digest, size, created, platform, labels"


def _image(row: tuple[Any, ...], names: list[str]) -> Image:
    return Image(
        id=row[0],
        layer=row[1],
        manifest_digest=row[2],
        size=row[3],
        created=row[4],
        platform=row[5],
        labels_json=row[6],
        names=names,
    )


def _by_id(ctx: Context, id: str) -> Image:
    row = ctx.db.row(f"SELECT {_COLUMNS} FROM images WHERE id=?", id)
    assert row is not None
    names = [name for (name,) in ctx.db.rows("SELECT name FROM image_names WHERE image_id=? ORDER BY name", id)]
    return _image(row, names)


def candidates(reference: Reference) -> list[str]:
    """The full names by which a local image may be meant, most likely first."""
    tag = f":{reference.tag or 'latest'}"
    if reference.registry:
        return [reference.name + tag]
    found = [f"localhost/{reference.repository}{tag}", reference.at("docker.io").name + tag]
    return found


def lookup(ctx: Context, text: str) -> Image | None:
    """The local image that `text` names: a tag, a digest, a full id or a unique prefix of one; None when there is none.

    Raises:
        AmbiguousName: an id prefix of several images.
    """
    bare = text.removeprefix("sha256:")
    if is_hex(bare) and len(bare) == 64:
        if ctx.db.row("SELECT 1 FROM images WHERE id=?", bare):
            return _by_id(ctx, bare)
        row = ctx.db.row("SELECT image_id FROM image_digests WHERE digest=?", "sha256:" + bare)
        return _by_id(ctx, row[0]) if row else None
    try:
        reference = parse(text)
    except InvalidInput:
        if not is_hex(bare):
            raise
    else:
        found = _by_name(ctx, reference)
        if found:
            return _by_id(ctx, found)
    if is_hex(bare):
        rows = ctx.db.rows("SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 5", bare, bare + "g")
        if len(rows) > 1:
            raise AmbiguousName(
                f'"{text}" fits several images: {", ".join(row[0][:12] for row in rows)}', hint="give more digits"
            )
        if rows:
            return _by_id(ctx, rows[0][0])
    return None


def _by_name(ctx: Context, reference: Reference) -> str:
    if reference.digest:
        if reference.registry:
            names = [reference.name]
        else:
            names = [f"localhost/{reference.repository}", reference.at("docker.io").name]
        for name in names:
            row = ctx.db.row("SELECT image_id FROM image_digests WHERE name=? AND digest=?", name, reference.digest)
            if row:
                return str(row[0])
        return ""
    for name in candidates(reference):
        row = ctx.db.row("SELECT image_id FROM image_names WHERE name=?", name)
        if row:
            return str(row[0])
    if not reference.registry:
        # a short name also means an image of any registry, when there is just one
        suffix = f"/{reference.repository}:{reference.tag or 'latest'}"
        rows = ctx.db.rows("SELECT DISTINCT image_id FROM image_names WHERE substr(name, -length(?))=?", suffix, suffix)
        if len(rows) == 1:
            return str(rows[0][0])
    return ""


def find(ctx: Context, text: str) -> Image:
    """As `lookup`; NoSuchImage when there is none."""
    image = lookup(ctx, text)
    if image is None:
        raise NoSuchImage(text)
    return image


def config_of(ctx: Context, id: str) -> dict[str, Any]:
    """The image's whole configuration document."""
    document: dict[str, Any] = json.loads(ctx.db.value("SELECT config FROM images WHERE id=?", id))
    return document


# -- listing
def list_images(ctx: Context, names: list[str], filters: list[str], all: bool) -> list[Image]:
    """Images, newest first. `names` narrow to those that a name or a pattern fits."""
    tags: dict[str, list[str]] = {}
    for name, id in ctx.db.rows("SELECT name, image_id FROM image_names ORDER BY name"):
        tags.setdefault(id, []).append(name)
    images = [
        _image(row, tags.get(row[0], []))
        for row in ctx.db.rows(f"SELECT {_COLUMNS} FROM images ORDER BY created DESC, id")
    ]
    counts = dict(ctx.db.rows("SELECT image_id, count(*) FROM containers WHERE image_id IS NOT NULL GROUP BY image_id"))
    for image in images:
        image.containers = counts.get(image.id, 0)
    if names:
        chosen = []
        for name in names:
            found = lookup(ctx, name) if "*" not in name else None
            for image in images:
                keep = [tag for tag in image.names if _fits(tag, name)]
                if (keep or (found and found.id == image.id)) and image not in chosen:
                    chosen.append(image)
                    image.names = keep or image.names
        images = chosen
    return _filtered(ctx, images, filters) if filters else images


def _fits(tag: str, pattern: str) -> bool:
    """A pattern fits the repository, or with a colon the repository and tag; a part at the end is enough."""
    import fnmatch

    repository = tag.rpartition(":")[0]
    subject = tag if ":" in pattern.rpartition("/")[2] else repository
    parts = subject.split("/")
    return any(fnmatch.fnmatchcase("/".join(parts[start:]), pattern) for start in range(len(parts)))


def _filtered(ctx: Context, images: list[Image], filters: list[str]) -> list[Image]:
    from podling.core.filters import boolean, match_label, moment, split
    from podling.state.database import now

    wanted = split(filters, FILTERS)

    def reference(image: Image, value: str) -> bool:
        keep = [tag for tag in image.names if _fits(tag, value)]
        image.names = keep or image.names
        return bool(keep)

    tests: dict[str, Callable[[Image, str], bool]] = {
        "reference": reference,
        "label": lambda image, value: match_label(image.labels, value),
        "label!": lambda image, value: not match_label(image.labels, value),
        "dangling": lambda image, value: (not image.names) == boolean(value),
        "before": lambda image, value: image.created < find(ctx, value).created,
        "since": lambda image, value: image.created > find(ctx, value).created,
        "until": lambda image, value: image.created < moment(value, now()),
        "id": lambda image, value: image.id.startswith(value),
        "digest": lambda image, value: image.manifest_digest.startswith(value),
        "readonly": lambda image, value: not boolean(value),
        "intermediate": lambda image, value: not boolean(value),
        "containers": lambda image, value: (image.containers > 0) == boolean(value),
    }
    return [
        image
        for image in images
        if all(any(tests[key](image, value) for value in values) for key, values in wanted.items())
    ]


# -- names
def full_name(text: str) -> str:
    """A new name for a local image: short ones go to localhost/, no tag means latest.

    Raises:
        InvalidInput: it is no name, or has a digest.
    """
    reference = parse(text)
    if reference.digest:
        raise InvalidInput(f"{text!r}: a name to tag with cannot have a digest")
    if not reference.registry:
        reference = Reference(registry="localhost", repository=reference.repository, tag=reference.tag)
    return str(reference.tagged())


def tag(ctx: Context, name: str, targets: list[str]) -> None:
    """Give the image further names; each is taken away from the image that had it."""
    image = find(ctx, name)
    names = [full_name(target) for target in targets]
    with ctx.db.write() as tx:
        for full in names:
            put_name(tx, full, image.id)


def put_name(tx: Transaction, name: str, id: str) -> None:
    tx.run("INSERT OR REPLACE INTO image_names VALUES (?, ?)", name, id)
    tx.event("image", "tag", id, name)


def untag(ctx: Context, name: str, targets: list[str]) -> None:
    """Take names away; all of them when none is given."""
    image = find(ctx, name)
    names = [full_name(target) for target in targets] or image.names
    with ctx.db.write() as tx:
        for full in names:
            if not tx.run("DELETE FROM image_names WHERE name=? AND image_id=?", full, image.id):
                raise NoSuchImage(full, hint=f"the image is called {', '.join(image.names) or 'nothing'}")
            tx.event("image", "untag", image.id, full)


# -- removing
class Removal(Record):
    """What `rmi` did."""

    untagged: list[str] = []
    deleted: list[str] = []


def remove(ctx: Context, names: list[str], force: bool, all: bool, ignore: bool) -> tuple[Removal, list[Exception]]:
    """Remove images; what went wrong comes back beside what went well."""
    from podling.errors import PodlingError

    ctx.recover()
    result = Removal()
    errors: list[Exception] = []
    if all:
        names = [image.id for image in list_images(ctx, [], [], True)]
    for name in names:
        try:
            _remove_one(ctx, name, force, result)
        except NoSuchImage as error:
            if not (ignore or all):
                errors.append(error)
        except PodlingError as error:
            errors.append(error)
    return result, errors


def _remove_one(ctx: Context, name: str, force: bool, result: Removal) -> None:
    image = find(ctx, name)
    by_id = image.id.startswith(name.removeprefix("sha256:"))
    full = "" if by_id else next((known for known in image.names if known in candidates(parse(name))), "")
    if full and len(image.names) > 1:
        with ctx.db.write() as tx:
            tx.run("DELETE FROM image_names WHERE name=? AND image_id=?", full, image.id)
            tx.event("image", "untag", image.id, full)
        result.untagged.append(full)
        return
    if by_id and len(image.names) > 1 and not force:
        raise ImageInUse(
            f"unable to delete image {image.id[:12]} by ID with more than one tag ({', '.join(image.names)}): please force removal",
            hint="--force removes all its names; or remove it name by name",
        )
    users = ctx.db.rows("SELECT id, name FROM containers WHERE image_id=?", image.id)
    if users and not force:
        listed = ", ".join(f"{id[:12]} ({container})" for id, container in users)
        raise ImageInUse(
            f"image used by {listed}: image is in use by a container: consider listing external containers and force-removing image",
            hint="remove the container first, or use --force to remove both",
            cause="image is in use by a container",
        )
    if users:
        from podling.core import containers, removal

        for id, _ in users:
            removal.remove_one(containers.find(ctx, id), force=True, volumes=False)
    with ctx.db.write() as tx:
        tx.run("DELETE FROM images WHERE id=?", image.id)
        erased = ctx.store.collect(tx)
        for known in image.names:
            tx.event("image", "untag", image.id, known)
        tx.event("image", "remove", image.id, image.names[0] if image.names else "")
    ctx.store.bury(erased)
    result.untagged += image.names
    result.deleted.append(image.id)


# -- describing
def history(ctx: Context, name: str) -> list[dict[str, Any]]:
    """The steps that made the image, newest first, with the size of each."""
    image = find(ctx, name)
    document = config_of(ctx, image.id)
    sizes = (
        [ctx.db.value("SELECT size FROM layers WHERE key=?", key) for key in reversed(ctx.store.chain(image.layer))]
        if image.layer
        else []
    )
    steps: list[dict[str, Any]] = []
    for entry in document.get("history") or [{"created": document.get("created", ""), "comment": ""} for _ in sizes]:
        empty = bool(entry.get("empty_layer"))
        steps.append(
            {
                "id": "",
                "created": entry.get("created") or "",
                "CreatedBy": entry.get("created_by", ""),
                "size": 0 if empty or not sizes else sizes.pop(0),
                "comment": entry.get("comment", ""),
                "tags": [],
            }
        )
    steps.reverse()
    if steps:
        steps[0]["id"], steps[0]["tags"] = image.id, image.names
    return steps


def inspect(ctx: Context, name: str) -> dict[str, Any]:
    """Everything about an image, in the shape of `podman image inspect`."""
    from podling.oci.times import format_time

    image = find(ctx, name)
    row = ctx.db.row("SELECT manifest, config FROM images WHERE id=?", image.id)
    assert row is not None
    manifest, document = json.loads(row[0]), json.loads(row[1])
    config = document.get("config") or {}
    digests = [
        f"{repo}@{digest}"
        for repo, digest in ctx.db.rows("SELECT name, digest FROM image_digests WHERE image_id=?", image.id)
    ]
    chain = ctx.store.chain(image.layer) if image.layer else []
    folders = [f"{ctx.store.folder(key)}/diff" for key in chain]
    data = {"UpperDir": folders[0]} if folders else {}
    if len(folders) > 1:
        data["LowerDir"] = ":".join(folders[1:])
    return {
        "Id": image.id,
        "Digest": image.manifest_digest,
        "RepoTags": image.names,
        "RepoDigests": digests,
        "Parent": "",
        "Comment": (document.get("history") or [{}])[-1].get("comment", ""),
        "Created": document.get("created") or format_time(0),
        "Config": {key: value for key, value in config.items() if value not in (None, "", [], {})},
        "Version": document.get("docker_version", ""),
        "Author": document.get("author", ""),
        "Architecture": document.get("architecture", ""),
        "Os": document.get("os", ""),
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Name": ctx.store.driver.name, "Data": data},
        "RootFS": {"Type": "layers", "Layers": (document.get("rootfs") or {}).get("diff_ids") or []},
        "Labels": config.get("Labels"),
        "Annotations": manifest.get("annotations") or {},
        "ManifestType": manifest.get("mediaType") or "application/vnd.oci.image.manifest.v1+json",
        "User": config.get("User", ""),
        "History": document.get("history") or [],
        "NamesHistory": image.names,
    }
