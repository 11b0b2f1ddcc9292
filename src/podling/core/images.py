"""Images in the store: finding, naming, listing."""

from __future__ import annotations

from podling.config.storage import additional_stores
from podling.errors import AmbiguousName, InvalidInput, NoSuchImage
from podling.oci import json
from podling.oci.record import Record
from podling.oci.reference import Reference, is_hex, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.core.context import Context
    from podling.oci.image import Platform
    from podling.state.database import Transaction

FILTERS = (
    "after",
    "manifest",
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
    #: image, or index: a manifest list
    kind: str = "image"
    #: the additional image store that holds its layers
    shelf: str = ""
    #: how many containers use it
    containers: int = 0
    past_names: list[str] = []

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = json.loads(self.labels_json)
        return labels


_COLUMNS = "id, layer, manifest_digest, size, created, platform, labels, kind, shelf"


def _image(row: tuple[Any, ...], names: list[str]) -> Image:
    return Image(
        id=row[0],
        layer=row[1],
        manifest_digest=row[2],
        size=row[3],
        created=row[4],
        platform=row[5],
        labels_json=row[6],
        kind=row[7],
        shelf=row[8],
        names=names,
    )


def by_id(ctx: Context, id: str) -> Image:
    """The image with exactly this id, which is known to be here."""
    row = ctx.db.row(f"SELECT {_COLUMNS} FROM images WHERE id=?", id)
    if row is None:
        raise NoSuchImage(id)
    names = [name for (name,) in ctx.db.rows("SELECT name FROM image_names WHERE image_id=? ORDER BY name", id)]
    image = _image(row, names)
    if image.shelf:
        from podling.core import shelves

        image.names += [name for name in shelves.names(ctx, image.shelf, id) if name not in names]
    return image


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
    image = _lookup_here(ctx, text)
    if image is None and additional_stores(ctx.settings.storage_opts):
        from podling.core import shelves

        id = shelves.find(ctx, text)
        return by_id(ctx, id) if id else None
    return image


def _lookup_here(ctx: Context, text: str) -> Image | None:
    bare = text.removeprefix("sha256:")
    if is_hex(bare) and len(bare) == 64:
        if ctx.db.row("SELECT 1 FROM images WHERE id=?", bare):
            return by_id(ctx, bare)
        row = ctx.db.row("SELECT image_id FROM image_digests WHERE digest=?", "sha256:" + bare)
        return by_id(ctx, row[0]) if row else None
    try:
        reference = parse(text)
    except InvalidInput:
        if not is_hex(bare):
            raise
    else:
        found = _by_name(ctx, reference)
        if found:
            return by_id(ctx, found)
    if is_hex(bare):
        rows = ctx.db.rows("SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 5", bare, bare + "g")
        if len(rows) > 1:
            raise AmbiguousName(
                f'"{text}" fits several images: {", ".join(row[0][:12] for row in rows)}', hint="give more digits"
            )
        if rows:
            return by_id(ctx, rows[0][0])
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


def instance(ctx: Context, image: Image, wanted: Platform | None = None) -> Image:
    """The image itself, or of an index the one in it that fits the host, or `wanted`.

    Raises:
        NoSuchImage: that one is not here. InvalidInput: the index has none that fits.
    """
    if image.kind != "index":
        return image
    from podling.oci.image import choose, host_platform

    name = image.names[0] if image.names else image.id[:12]
    body, members = ctx.db.row("SELECT manifest, members FROM images WHERE id=?", image.id) or (b"{}", "{}")
    digest = choose(body, wanted or host_platform(), name).digest
    member = json.loads(members).get(digest) or {}
    if member.get("image") and ctx.db.row("SELECT 1 FROM images WHERE id=?", member["image"]):
        return by_id(ctx, member["image"])
    found = ctx.db.value("SELECT image_id FROM image_digests WHERE digest=?", digest)
    if found:
        return by_id(ctx, found)
    raise NoSuchImage(name, hint=f"it is a manifest list, whose image {digest[:19]} is not here: pull that one")


def config_of(ctx: Context, id: str) -> dict[str, Any]:
    """The image's whole configuration document."""
    document: dict[str, Any] = json.loads(ctx.db.value("SELECT config FROM images WHERE id=?", id))
    return document


# -- listing
def _adopt_shelves(ctx: Context) -> None:
    """Rows for images of additional stores that were not used yet, so that they are listed with what is known of them."""
    if additional_stores(ctx.settings.storage_opts):
        from podling.core import shelves

        for image in shelves.unused(ctx, {id for (id,) in ctx.db.rows("SELECT id FROM images")}):
            shelves.adopt(ctx, image)


def _shelf_names(shelf: str) -> dict[str, list[str]]:
    from podling.registry.containers_storage import Store

    try:
        return Store(shelf).names()
    except InvalidInput:
        return {}


def list_images(ctx: Context, names: list[str], filters: list[str], all: bool, *, history: bool = False) -> list[Image]:
    """Images, newest first. `names` narrow to those that a name or a pattern fits; `history` adds names of before."""
    tags: dict[str, list[str]] = {}
    for name, id in ctx.db.rows("SELECT name, image_id FROM image_names ORDER BY name"):
        tags.setdefault(id, []).append(name)
    past: dict[str, list[str]] = {}
    if history:
        for id, name in ctx.db.rows("SELECT image_id, name FROM image_past_names ORDER BY name"):
            past.setdefault(id, []).append(name)
    _adopt_shelves(ctx)
    images = [
        _image(row, tags.get(row[0], []))
        for row in ctx.db.rows(f"SELECT {_COLUMNS} FROM images ORDER BY created DESC, id")
    ]
    counts = dict(ctx.db.rows("SELECT image_id, count(*) FROM containers WHERE image_id IS NOT NULL GROUP BY image_id"))
    kept: dict[str, dict[str, list[str]]] = {}
    for image in images:
        image.containers = counts.get(image.id, 0)
        image.past_names = past.get(image.id, [])
        if image.shelf:
            if image.shelf not in kept:
                kept[image.shelf] = _shelf_names(image.shelf)
            image.names += [name for name in kept[image.shelf].get(image.id, []) if name not in image.names]
    if kept:
        here = additional_stores(ctx.settings.storage_opts)
        images = [
            image for image in images
            if not image.shelf or (image.shelf in here and image.id in kept[image.shelf]) or image.containers
        ]  # fmt: skip
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
        "readonly": lambda image, value: bool(image.shelf) == boolean(value),
        "after": lambda image, value: image.created > find(ctx, value).created,
        "manifest": lambda image, value: (image.kind == "index") == boolean(value),
        "intermediate": lambda image, value: not boolean(value),
        "containers": lambda image, value: (image.containers > 0) == boolean(value),
    }
    for key in list(wanted):
        if key.endswith("!") and key not in tests:
            positive = tests[key[:-1]]
            tests[key] = lambda image, value, positive=positive: not positive(image, value)  # type: ignore[misc]
    return [
        image
        for image in images
        if all(
            all(tests[key](image, value) for value in values)
            if key.endswith("!") or key == "label"
            else any(tests[key](image, value) for value in values)
            for key, values in wanted.items()
        )
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
