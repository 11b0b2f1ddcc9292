"""Sending to a registry (distribution-spec 1.1, "Push"): blobs, also those that it has in another repository, and manifests."""

from __future__ import annotations

import hashlib

import urllib3

from podling.errors import DigestMismatch, RegistryError
from podling.oci.image import digest_of
from podling.registry.client import absolute, same_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podling.registry.client import Client

_ACTIONS = "pull,push"
_STREAM = "application/octet-stream"


def has_blob(client: Client, repository: str, digest: str) -> bool:
    response = client.request("HEAD", repository, f"{repository}/blobs/{digest}", actions=_ACTIONS)
    response.drain_conn()
    if response.status in (200, 404):
        return response.status == 200
    client.check(response, f"blob {digest}")
    return True


def mount_blob(client: Client, repository: str, digest: str, source: str) -> bool:
    """Have the registry take a blob over from its repository `source`; whether it did."""
    response = client.request(
        "POST", repository, f"{repository}/blobs/uploads/?mount={digest}&from={source}", actions=_ACTIONS,
        also=f"repository:{source}:pull",
    )  # fmt: skip
    response.drain_conn()
    if response.status == 202:  # it began an upload instead
        location = absolute(client.base, response.headers.get("Location", ""))
        client.request("DELETE", repository, location, actions=_ACTIONS).drain_conn()
    return response.status == 201


def upload(client: Client, repository: str, content: Callable[[], Iterator[bytes]]) -> tuple[str, int]:
    """Send a blob whose digest is not known before; (digest, size). `content` is asked anew after a failure.

    Raises:
        RegistryError, AccessDenied.
    """
    attempt = 0
    while True:
        hasher, size = hashlib.sha256(), 0

        def counted() -> Iterator[bytes]:
            nonlocal hasher, size
            hasher, size = hashlib.sha256(), 0
            for piece in content():
                hasher.update(piece)
                size += len(piece)
                yield piece

        location = _begin(client, repository)
        try:
            # one attempt here: what broke off needs a new upload, not the same one again
            response = client.once("PATCH", repository, location, counted, {"Content-Type": _STREAM}, _ACTIONS)
            client.check(response, "upload", good=(202, 204, 201))
            response.drain_conn()
            break
        except (RegistryError, urllib3.exceptions.HTTPError) as error:
            attempt += 1
            if attempt > client.access.retries or not may_pass(error):
                raise client.unreachable(error) from None
            client.pause(attempt)
    digest = "sha256:" + hasher.hexdigest()
    _finish(client, repository, absolute(location, response.headers.get("Location", location)), digest, b"")
    return digest, size


def upload_small(client: Client, repository: str, data: bytes) -> str:
    """Send a blob that is in memory; its digest."""
    digest = digest_of(data)
    if not has_blob(client, repository, digest):
        _finish(client, repository, _begin(client, repository), digest, data)
    return digest


def _begin(client: Client, repository: str) -> str:
    response = client.request("POST", repository, f"{repository}/blobs/uploads/", actions=_ACTIONS)
    client.check(response, f"upload to {repository}", good=(202,))
    response.drain_conn()
    location = absolute(client.base, response.headers.get("Location", ""))
    if not same_host(client.base, location) and client.access.credentials:
        raise RegistryError(f"registry {client.host} sends uploads to another host, {location}")
    return location


def _finish(client: Client, repository: str, location: str, digest: str, data: bytes) -> None:
    url = f"{location}{'&' if '?' in location else '?'}digest={digest}"
    headers = {"Content-Type": _STREAM, "Content-Length": str(len(data))}
    response = client.request("PUT", repository, url, headers=headers, body=lambda: data, actions=_ACTIONS)
    client.check(response, f"blob {digest}", good=(201, 204))
    response.drain_conn()
    stored = response.headers.get("Docker-Content-Digest", digest)
    if stored != digest:
        raise DigestMismatch(f"registry {client.host} stored {stored} where {digest} was sent")


def put_manifest(client: Client, repository: str, reference: str, body: bytes, media_type: str) -> str:
    """Store a manifest or an index under a tag or its digest; its digest."""
    digest = digest_of(body)
    headers = {"Content-Type": media_type}
    response = client.request(
        "PUT", repository, f"{repository}/manifests/{reference}", headers=headers, body=lambda: body, actions=_ACTIONS
    )
    client.check(response, f"manifest {reference}", good=(201, 202, 200))
    response.drain_conn()
    stored = response.headers.get("Docker-Content-Digest", digest)
    if stored != digest:
        raise DigestMismatch(f"registry {client.host} stored the manifest {stored} where {digest} was sent")
    return digest


def may_pass(error: Exception) -> bool:
    """Whether a failure may be gone at the next attempt."""
    return isinstance(error, urllib3.exceptions.HTTPError) or getattr(error, "temporary", False)
