"""What a registry has: tags of a repository, and repositories that fit a word."""

from __future__ import annotations

import json
from urllib.parse import quote

from podling.errors import NotFound, RegistryError
from podling.oci.record import Record
from podling.registry.client import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.registry.client import Client

_LIMIT = 16 << 20
_PAGE = 1000


class Found(Record):
    """A repository that a search found."""

    index: str
    name: str
    description: str = ""
    stars: int = 0
    official: bool = False
    automated: bool = False
    tag: str = ""


def _pages(client: Client, repository: str, path: str, what: str) -> Iterator[dict[str, Any]]:
    """The documents of a list that comes in pages (distribution-spec, "Listing Tags")."""
    while path:
        response = client.request("GET", repository, path)
        client.check(response, what)
        link = response.headers.get("Link", "")
        try:
            document = json.loads(client.read_body(response, _LIMIT, "list"))
        except ValueError:
            raise RegistryError(f"registry {client.host}: {what}: the answer is not JSON") from None
        yield document
        path = ""
        if 'rel="next"' in link and "<" in link:
            target = absolute(client.base, link[link.index("<") + 1 : link.index(">")])
            path = target if target.startswith(client.base) else ""


def tags(client: Client, repository: str) -> Iterator[str]:
    """All tags of a repository.

    Raises:
        NotFound, AccessDenied, RegistryError.
    """
    for document in _pages(client, repository, f"{repository}/tags/list?n={_PAGE}", f"{client.host}/{repository}"):
        yield from (str(tag) for tag in document.get("tags") or ())


def search(client: Client, term: str, limit: int) -> list[Found]:
    """Repositories whose names or descriptions have `term`: by the search API of version 1, or by the catalogue where a
    registry has none."""
    base = "https://index.docker.io" if client.host == "docker.io" else ""
    try:
        response = client.request("GET", "", f"{base}/v1/search?q={quote(term)}&n={limit}")
        client.check(response, "search")
        results = json.loads(client.read_body(response, _LIMIT, "search result")).get("results") or []
        return [
            Found(
                index=client.host, name=f"{client.host}/{item['name']}", description=str(item.get("description") or ""),
                stars=int(item.get("star_count") or 0), official=bool(item.get("is_official")),
                automated=bool(item.get("is_automated")),
            )
            for item in results
        ][:limit]  # fmt: skip
    except (NotFound, ValueError):
        return _in_catalogue(client, term, limit)


def _in_catalogue(client: Client, term: str, limit: int) -> list[Found]:
    found: list[Found] = []
    for document in _pages(client, "", f"_catalog?n={_PAGE}", f"the catalogue of {client.host}"):
        for name in document.get("repositories") or ():
            if term in str(name):
                found.append(Found(index=client.host, name=f"{client.host}/{name}"))
        if len(found) >= limit:
            break
    return found[:limit]
