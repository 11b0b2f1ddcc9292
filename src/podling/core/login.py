"""login, logout and search: what a person has to do with a registry besides images."""

from __future__ import annotations

from podling.config import credentials, registries
from podling.core.access import client_for
from podling.core.filters import boolean, split
from podling.errors import AccessDenied, InvalidInput, NotFound
from podling.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.core.context import Context
    from podling.core.options import RegistryAccess
    from podling.registry.listing import Found

DEFAULT_LIMIT = 25
FILTERS = ("stars", "is-automated", "is-official")


def _registry(text: str) -> str:
    """A registry, perhaps with a namespace below it; the first of the search list where none is named."""
    if not text:
        search = registries.load().search
        if not search:
            raise InvalidInput("no registry was named, and registries.conf has no search list")
        return search[0]
    if "://" in text:
        bare = text.partition("://")[2].rstrip("/")
        raise InvalidInput(
            f"{text}: a registry is named without a scheme", hint=f"podling login {bare.partition('/')[0]}"
        )
    return text.rstrip("/")


def login(
    ctx: Context, registry: str, user: str, password: str, access: RegistryAccess, compat: str = ""
) -> tuple[str, str]:
    """Try a user name and a password, and keep them; (registry, the file or helper that has them now).

    Raises:
        AccessDenied: the registry refuses them; nothing is kept then.
    """
    key = _registry(registry)
    if access.authfile and compat:
        raise InvalidInput("--authfile and --compat-auth-file exclude each other")
    host = key.partition("/")[0]
    config = registries.load()
    access.creds = f"{user}:{password}"
    client = client_for(host, "", access, insecure=config.is_insecure(host))
    try:
        response = client.request("GET", "", "")
        try:
            client.check(response, host)
        except AccessDenied:
            raise AccessDenied(
                f'logging into "{host}": invalid username/password', hint="check both, and for whom the account is"
            ) from None
        response.drain_conn()
    except NotFound:
        raise InvalidInput(f"{host} does not answer as a registry does") from None
    finally:
        client.close()
    return key, credentials.store(key, (user, password), access.authfile, compat, config.helpers)


def login_name(registry: str, authfile: str = "") -> str:
    """The user who is logged in.

    Raises:
        NotFound: nobody is.
    """
    key = _registry(registry)
    host, _, namespace = key.partition("/")
    pair = credentials.find(host, namespace, authfile, registries.load().helpers)
    if not pair:
        raise NotFound(f"not logged into {key}", hint=f"podling login {key}")
    return pair[0]


def logout(registry: str, authfile: str = "", compat: str = "", *, all: bool = False) -> str:
    """Forget a registry's credentials, or all; the registry.

    Raises:
        NotFound: there were none.
    """
    if all:
        credentials.remove_all(authfile, compat)
        return ""
    key = _registry(registry)
    if not credentials.remove(key, authfile, compat, registries.load().helpers):
        elsewhere = credentials.find(key.partition("/")[0], "", authfile)
        hint = "they come from another file, such as ~/.docker/config.json" if elsewhere else "`podling login` logs in"
        raise NotFound(f"not logged into {key}", hint=hint)
    return key


def search(ctx: Context, term: str, limit: int, filters: list[str], access: RegistryAccess) -> list[Found]:
    """Repositories whose name or description has `term`: at the registry that it begins with, or at those of the search list."""
    from podling.registry.listing import search as ask

    wanted = split(filters, FILTERS)
    config = registries.load()
    head, slash, rest = term.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        hosts, word = [head], rest
    else:
        hosts, word = config.search, term
    if not word:
        raise InvalidInput("search term cannot be empty", hint="podling search REGISTRY/WORD")
    if not 0 <= limit <= 100 and limit:
        raise InvalidInput(f"--limit {limit}: a limit is 1 to 100")
    found: list[Found] = []
    for host in hosts:
        client = client_for(host, "", access, insecure=config.is_insecure(host), helpers=config.helpers)
        try:
            found += ask(client, word, limit or DEFAULT_LIMIT)
        except NotFound:
            if len(hosts) == 1:
                raise
            ctx.warn(f"{host} cannot be searched")
        finally:
            client.close()
    for value in wanted.get("stars", ()):
        if not value.isdigit():
            raise InvalidInput(f"--filter stars={value}: not a number")
        found = [item for item in found if item.stars >= int(value)]
    for value in wanted.get("is-official", ()):
        found = [item for item in found if item.official == boolean(value)]
    for value in wanted.get("is-automated", ()):
        found = [item for item in found if item.automated == boolean(value)]
    return found


def list_tags(ctx: Context, term: str, limit: int, access: RegistryAccess) -> list[Found]:
    """The tags of one repository, as results of a search."""
    from podling.registry.listing import Found, tags

    config = registries.load()
    reference = config.candidates(parse(term))[0]
    endpoint = config.endpoints(reference)[-1]
    remote = endpoint.reference
    client = client_for(remote.registry, remote.repository, access, insecure=endpoint.insecure, helpers=config.helpers)
    try:
        found = []
        for tag in tags(client, remote.repository):
            found.append(Found(index=reference.registry, name=reference.name, tag=tag))
            if len(found) >= (limit or DEFAULT_LIMIT):
                break
        return found
    finally:
        client.close()
