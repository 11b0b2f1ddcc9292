"""How a command reaches registries: which place, which credentials, which certificates."""

from __future__ import annotations

from podling.core.options import RegistryAccess
from podling.errors import InvalidInput
from podling.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.config.registries import Endpoint
    from podling.oci.reference import Reference
    from podling.registry.client import Client


def connect(endpoint: Endpoint, access: RegistryAccess, helpers: list[str] | None = None) -> Client:
    """A client for the registry of `endpoint`. Nothing is sent yet."""
    return client_for(
        endpoint.reference.registry, endpoint.reference.repository, access, insecure=endpoint.insecure, helpers=helpers
    )


def client_for(
    registry: str, repository: str, access: RegistryAccess, *, insecure: bool = False, helpers: list[str] | None = None
) -> Client:
    from podling.config import credentials
    from podling.core.filters import duration
    from podling.registry.client import Access, Client

    if access.creds:
        pair = credentials.parse_pair(access.creds)
    else:
        pair = credentials.find(registry, repository, access.authfile, helpers) or ("", "")
    return Client(
        registry,
        Access(
            credentials=pair if pair[0] else None,
            tls_verify=access.tls_verify if access.tls_verify is not None else not insecure,
            cert_dir=access.cert_dir,
            retries=access.retries,
            retry_delay=duration(access.retry_delay) / 1e9 if access.retry_delay else 0.0,
            user_agent=f"podling/{VERSION}",
        ),
    )


def push_client(reference: Reference, access: RegistryAccess) -> tuple[Client, Reference]:
    """(client, name at the registry) to push to `reference`."""
    from podling.config import registries

    if not reference.registry:
        raise InvalidInput(
            f"{reference}: a name to push to needs its registry",
            hint=f"give it, as in docker.io/USER/{reference.repository}",
        )
    config = registries.load()
    endpoint = config.endpoints(reference, push=True)[-1]
    return connect(endpoint, access, config.helpers), endpoint.reference
