"""The OCI distribution API (distribution-spec 1.1, and the token flow of the Docker registry).

One client talks to one registry. Retries follow 429 and 5xx with back-off; a blob that breaks off goes on by range.
Credentials are sent to the registry and its token server, never to where a redirect leads.
"""

from __future__ import annotations

import hashlib
import json
import os
import time

import urllib3

from podling.config.credentials import TOKEN_USER
from podling.errors import AccessDenied, DigestMismatch, NotFound, RegistryError
from podling.oci.image import INDEXES, MANIFESTS, digest_of
from podling.oci.record import Record
from podling.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Body = Callable[[], bytes | Iterator[bytes]]

_ACCEPT = ", ".join((*MANIFESTS, *INDEXES))
_CHUNK = 1 << 18
_MANIFEST_LIMIT = 4 << 20
_CONFIG_LIMIT = 16 << 20
_STALL_SECONDS = 30.0


class Access(Record):
    """How to talk to a registry. `retries` counts further attempts after the first."""

    credentials: tuple[str, str] | None = None
    tls_verify: bool = True
    cert_dir: str = ""
    retries: int = 3
    retry_delay: float = 0.0
    user_agent: str = "podling"


class Client:
    """The registry `host` (host[:port]); repositories are named per call."""

    def __init__(self, host: str, access: Access) -> None:
        self.host = host
        self.access = access
        self._api_host = "registry-1.docker.io" if host == "docker.io" else host
        self._scheme = "https"
        self._tokens: dict[str, str] = {}
        self._pool = self._make_pool()

    def _make_pool(self) -> urllib3.PoolManager:
        options: dict[str, Any] = {}
        if not self.access.tls_verify:
            import warnings

            warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
            options["cert_reqs"] = "CERT_NONE"
            options["assert_hostname"] = False
        else:
            options["ca_certs"], client_cert = _certificates(self.host, self.access.cert_dir)
            if client_cert:
                options["cert_file"], options["key_file"] = client_cert
            if options["ca_certs"] is None:
                del options["ca_certs"]
        return urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=15.0, read=_STALL_SECONDS),
            maxsize=8,
            retries=False,
            headers={"User-Agent": self.access.user_agent},
            **options,
        )

    def close(self) -> None:
        self._pool.clear()

    @property
    def base(self) -> str:
        """The URL of the registry's root, without a slash at its end."""
        return f"{self._scheme}://{self._api_host}"

    # -- requests
    def request(
        self,
        method: str,
        repository: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        body: Body | None = None,
        actions: str = "pull",
        also: str = "",
    ) -> urllib3.BaseHTTPResponse:
        """One request with authentication and retries; the response's body is not read yet.

        `path` is below /v2/, or with a slash at its start below the root, or a whole URL that the registry gave.
        `body` gives the pieces to send, anew for each attempt.
        `also` is a further scope that the token should cover.
        """
        scope = f"repository:{repository}:{actions}" if repository else ""
        if path.startswith("_catalog"):
            scope = "registry:catalog:*"
        if also:
            scope = f"{scope} {also}"
        delay = self.access.retry_delay or 0.5
        attempt = 0
        challenged = False
        while True:
            url = path
            if "://" not in path:
                url = f"{self._scheme}://{self._api_host}{path if path.startswith('/') else '/v2/' + path}"
            sent = dict(headers or {})
            if scope in self._tokens:
                sent["Authorization"] = self._tokens[scope]
            try:
                response = self._follow(method, url, sent, body)
            except urllib3.exceptions.HTTPError as error:
                if url.startswith("https:") and (self._scheme == "http" or self._may_fall_back(error)):
                    self._scheme = "http"  # or another thread of ours was first
                    if "://" not in path:
                        continue
                if attempt >= self.access.retries or _is_final(error):
                    raise self.unreachable(error) from None
            else:
                if response.status == 401 and not challenged:
                    challenged = True
                    challenge = response.headers.get("WWW-Authenticate", "")
                    response.drain_conn()
                    self._tokens[scope] = self._authorise(challenge, scope)
                    continue
                if response.status not in (429, 500, 502, 503, 504) or attempt >= self.access.retries:
                    return response
                delay = _retry_after(response, delay)
                response.drain_conn()
            attempt += 1
            time.sleep(delay)
            delay = min(delay * 2, 30)

    def once(
        self, method: str, repository: str, url: str, body: Body, headers: dict[str, str], actions: str
    ) -> urllib3.BaseHTTPResponse:
        """One attempt, with the token that an earlier request brought."""
        token = self._tokens.get(f"repository:{repository}:{actions}")
        return self._follow(method, url, {**headers, **({"Authorization": token} if token else {})}, body)

    def pause(self, attempt: int) -> None:
        """Wait before the next attempt: as --retry-delay says, or longer each time."""
        time.sleep(self.access.retry_delay or min(0.2 * 2**attempt, 10))

    def _follow(
        self, method: str, url: str, headers: dict[str, str], body: Body | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Redirects, without our credentials when they lead to another host."""
        for _ in range(6):
            content = body() if body else None
            response = self._pool.request(
                method, url, body=content, headers=headers, preload_content=False, redirect=False
            )
            location = response.get_redirect_location()
            if not location:
                return response
            response.drain_conn()
            target = absolute(url, location)
            if not same_host(url, target):
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            url = target
        raise RegistryError(f"registry {self.host} redirects in circles")

    def _may_fall_back(self, error: urllib3.exceptions.HTTPError) -> bool:
        """Plain HTTP only with --tls-verify=false, and only where the other side does not speak TLS or listens on no 443."""
        return not self.access.tls_verify and self._scheme == "https" and not self._tokens and _speaks_no_tls(error)

    def unreachable(self, error: Exception) -> RegistryError:
        """An error of the HTTP library as one of ours."""
        if isinstance(error, RegistryError):
            return error
        text = _reason(error)
        hint = "is the name right, and the network up?"
        if "certificate" in text.lower():
            hint = f"put the registry's CA into /etc/containers/certs.d/{self.host}/ca.crt, or use --tls-verify=false"
        elif _speaks_no_tls(error):
            text = "it does not answer with TLS"
            hint = "if it speaks plain HTTP: use --tls-verify=false, or insecure = true in registries.conf"
        return RegistryError(f"registry {self.host}: {text}", hint=hint)

    # -- authentication
    def _authorise(self, challenge: str, scope: str) -> str:
        """The Authorization header that answers a WWW-Authenticate challenge.

        Raises:
            AccessDenied: there are no credentials, or they were refused.
        """
        kind, _, rest = challenge.partition(" ")
        credentials = self.access.credentials
        basic = ""
        if credentials:
            basic = urllib3.make_headers(basic_auth=":".join(credentials))["authorization"]
        token = credentials[1] if credentials and credentials[0] == TOKEN_USER else ""
        if kind.lower() == "basic":
            if not basic or token:
                raise self._denied("it wants a user name and a password")
            return basic
        if kind.lower() != "bearer":
            raise self._denied("it asks for an unknown kind of authentication")
        fields = _challenge_fields(rest)
        realm = fields.get("realm", "")
        if not realm.startswith(("https://", "http://")) or (realm.startswith("http://") and self._scheme == "https"):
            raise self._denied("its token server is not to be trusted")
        query = [("service", fields.get("service", ""))]
        # our own scopes are wider than the challenge's where a blob is to be mounted from another repository
        scopes = scope.split(" ") if " " in scope else [fields.get("scope") or scope]
        query += [("scope", part) for part in scopes if part]
        headers = {"Authorization": basic} if basic and not token else {}
        try:
            if token:  # an identity token: OAuth 2, as Docker's token documentation has it
                form = [*query, ("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "podling")]
                response = self._pool.request("POST", realm, fields=form, encode_multipart=False, redirect=False)
            else:
                response = self._pool.request("GET", realm, fields=query, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise RegistryError(f"token server of {self.host}: {_reason(error)}") from None
        if response.status != 200:
            raise self._denied(f"its token server answered {response.status}")
        try:
            document = response.json()
            return f"Bearer {document.get('token') or document['access_token']}"
        except (ValueError, KeyError, UnicodeDecodeError):
            raise RegistryError(f"token server of {self.host}: the answer has no token") from None

    def _denied(self, why: str) -> AccessDenied:
        return AccessDenied(
            f"registry {self.host}: access denied: {why}",
            hint=f"use --creds USER:PASSWORD, or an auth file that has {self.host}",
            cause="unauthorized",
        )

    def check(self, response: urllib3.BaseHTTPResponse, what: str, good: tuple[int, ...] = (200, 206)) -> None:
        """Raise what a status other than those in `good` means."""
        if response.status in good:
            return
        body = response.read(65536)
        response.release_conn()
        detail = _error_detail(body)
        if response.status in (401, 403):
            raise self._denied(detail or f"it answered {response.status}")
        if response.status == 404:
            raise NotFound(
                f"{what}: {detail or 'not found'}", hint="check the name and the tag", cause="manifest unknown"
            )
        if response.status == 429:
            raise RegistryError(
                f"registry {self.host}: too many requests", hint="log in for a higher limit, or try again later"
            )
        failure = RegistryError(
            f"registry {self.host} answered {response.status}{': ' + detail if detail else ''}", hint="try again later"
        )
        failure.temporary = response.status >= 500
        raise failure

    # -- manifests
    def manifest(self, reference: Reference, *, digest: str = "") -> tuple[bytes, str, str]:
        """(body, media type, digest) of a tag's or a digest's manifest or index, checked."""
        wanted = digest or reference.wire
        response = self.request(
            "GET", reference.repository, f"{reference.repository}/manifests/{wanted}", headers={"Accept": _ACCEPT}
        )
        self.check(response, str(reference))
        body = self.read_body(response, _MANIFEST_LIMIT, "manifest")
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        found = digest_of(body)
        if ":" in wanted:
            algorithm = wanted.partition(":")[0]
            found = f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"
            if found != wanted:
                raise DigestMismatch(f"registry {self.host} sent a manifest with the digest {found} for {wanted}")
        return body, media_type, found

    def read_body(self, response: urllib3.BaseHTTPResponse, limit: int, what: str) -> bytes:
        """The whole body, of at most `limit` bytes."""
        try:
            body = response.read(limit + 1)
        except urllib3.exceptions.HTTPError as error:
            raise self.unreachable(error) from None
        finally:
            response.release_conn()
        if len(body) > limit:
            raise RegistryError(f"registry {self.host}: a {what} of more than {limit} bytes is not accepted")
        return body

    # -- blobs
    def small_blob(self, repository: str, digest: str) -> bytes:
        """A configuration, whole and checked."""
        data = b"".join(self.blob(repository, digest, -1, limit=_CONFIG_LIMIT))
        return data

    def blob(self, repository: str, digest: str, size: int, *, partial: str = "", limit: int = 0) -> Iterator[bytes]:
        """The pieces of a blob; a broken connection goes on by range, and the digest is checked at the end.

        `partial` names a file that collects what has come, and that an earlier, interrupted pull may have begun.

        Raises:
            DigestMismatch: after the last piece. RegistryError: the connection broke more often than `retries`.
        """
        algorithm = digest.partition(":")[0]
        hasher = hashlib.new(algorithm)
        received = 0
        keep = None
        try:
            if partial:
                keep = open(partial, "a+b")
                keep.seek(0)
                while piece := keep.read(1 << 20):
                    hasher.update(piece)
                    received += len(piece)
                    yield piece
            attempt = 0
            while size < 0 or received < size:
                try:
                    for piece in self._range(repository, digest, received):
                        received += len(piece)
                        if (0 <= size < received) or (limit and received > limit):
                            raise DigestMismatch(
                                f"registry {self.host} sends more than the {size} bytes of blob {digest}"
                            )
                        hasher.update(piece)
                        if keep:
                            keep.write(piece)
                        attempt = 0
                        yield piece
                    if size < 0 or received >= size:
                        break
                    problem = "the connection was cut"
                except urllib3.exceptions.HTTPError as error:
                    problem = _reason(error)
                attempt += 1
                if attempt > self.access.retries:
                    raise RegistryError(
                        f"registry {self.host}: blob {digest[:19]}: {problem} after {received} bytes",
                        hint="pull again: what has come is kept and the rest is fetched",
                    )
                self.pause(attempt)
            found = f"{algorithm}:{hasher.hexdigest()}"
            if found != digest:
                if keep:
                    os.unlink(partial)
                raise DigestMismatch(
                    f"registry {self.host} sent a blob with the digest {found} for {digest}",
                    hint="the registry or something on the way is broken; nothing was stored",
                )
        finally:
            if keep:
                keep.close()

    def blob_range(self, repository: str, digest: str, start: int, length: int) -> Iterator[bytes]:
        """`length` bytes of a blob from `start` on. RegistryError where the registry cannot do that."""
        received = 0
        attempt = 0
        while received < length:
            begin = start + received
            headers = {"Range": f"bytes={begin}-{start + length - 1}"}
            try:
                response = self.request("GET", repository, f"{repository}/blobs/{digest}", headers=headers)
                self.check(response, f"blob {digest}", good=(206,))
                try:
                    while piece := response.read(min(_CHUNK, length - received), decode_content=False):
                        received += len(piece)
                        yield piece
                finally:
                    response.release_conn()
                problem = "the connection was cut"
            except urllib3.exceptions.HTTPError as error:
                problem = _reason(error)
            if received < length:
                attempt += 1
                if attempt > self.access.retries:
                    raise RegistryError(f"registry {self.host}: blob {digest[:19]}: {problem}", hint="pull again")
                self.pause(attempt)

    def _range(self, repository: str, digest: str, start: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = self.request("GET", repository, f"{repository}/blobs/{digest}", headers=headers)
        self.check(response, f"blob {digest}")
        try:
            if start and response.status != 206:  # no ranges there: read over what we have
                skip = start
                while skip:
                    piece = response.read(min(skip, _CHUNK))
                    if not piece:
                        return
                    skip -= len(piece)
            while piece := response.read(_CHUNK, decode_content=False):
                yield piece
        finally:
            response.release_conn()


def absolute(base: str, location: str) -> str:
    """`location`, which may be relative to the host of the URL `base`, as a whole URL."""
    if urllib3.util.parse_url(location).host is not None:
        return location
    known = urllib3.util.parse_url(base)
    return f"{known.scheme}://{known.netloc}{location if location.startswith('/') else '/' + location}"


def same_host(one: str, other: str) -> bool:
    """Whether two URLs have scheme, host and port in common."""
    first, second = urllib3.util.parse_url(one), urllib3.util.parse_url(other)
    return (first.scheme, first.netloc) == (second.scheme, second.netloc)


def _challenge_fields(text: str) -> dict[str, str]:
    """The key="value" pairs of a challenge (RFC 9110, 11.2)."""
    import re

    return {key.lower(): value for key, value in re.findall(r'(\w+)="([^"]*)"', text)}


def _retry_after(response: urllib3.BaseHTTPResponse, fallback: float) -> float:
    value = response.headers.get("Retry-After", "")
    return min(float(value), 120.0) if value.isdigit() else fallback


def _error_detail(body: bytes) -> str:
    try:
        errors = json.loads(body)["errors"]
        return "; ".join(str(item.get("message") or item.get("code")) for item in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _reason(error: BaseException) -> str:
    while isinstance(error, urllib3.exceptions.HTTPError) and (
        inner := getattr(error, "reason", None) or error.__cause__
    ):
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).rpartition(": ")[2] if "object at 0x" in str(text) else str(text)


def _speaks_no_tls(error: BaseException) -> bool:
    text = repr(error) + repr(error.__cause__)
    return any(
        word in text
        for word in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER", "UNEXPECTED_EOF", "ConnectionReset")
    )


def _is_final(error: BaseException) -> bool:
    text = repr(error)
    return (
        "CERTIFICATE_VERIFY_FAILED" in text
        or "NameResolutionError" in text
        or "WRONG_VERSION_NUMBER" in text
        or "RECORD_LAYER" in text
    )


def _certificates(host: str, cert_dir: str) -> tuple[str | None, tuple[str, str] | None]:
    """(CA file, (client certificate, key)) of containers-certs.d(5); the system's trust store is asked where there is none."""
    folders = [cert_dir] if cert_dir else [f"/etc/containers/certs.d/{host}", f"/etc/docker/certs.d/{host}"]
    authority, client = None, None
    for folder in folders:
        if not os.path.isdir(folder):
            continue
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if name.endswith(".crt") and authority is None:
                authority = path
            elif name.endswith(".cert") and os.path.exists(path[:-5] + ".key"):
                client = path, path[:-5] + ".key"
        if authority or client:
            break
    return authority, client
