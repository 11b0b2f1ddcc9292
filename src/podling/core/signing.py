"""The signature policy: enforced when an image is fetched and again when it is run; and signing when one is pushed."""

from __future__ import annotations

import os
from binascii import a2b_base64

from podling.config import policy as policies
from podling.errors import AccessDenied, InvalidInput
from podling.oci.record import Record
from podling.oci.reference import Reference, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.config.policy import Requirement
    from podling.core.context import Context
    from podling.core.images import Image
    from podling.registry.client import Client
    from podling.registry.signatures import Claim
    from podling.registry.transports import Place
    from podling.registry.writers import Destination, Written


class PolicyRejects(AccessDenied):
    """The signature policy forbids the image."""

    status = 403
    reference = "policy"


def _scopes(reference: Reference) -> list[str]:
    return policies.docker_scopes(reference.registry, reference.repository, reference.tag, reference.digest)


def _accepts_anything(requirements: list[Requirement]) -> bool:
    return all(item.type == "insecureAcceptAnything" for item in requirements)


def check_remote(
    ctx: Context, reference: Reference, remote: Reference, digests: list[str], client: Client, explicit: str = ""
) -> list[tuple[str, bytes]]:
    """Whether the policy allows an image at a registry; the signatures that say so, as (digest of the manifest, body).

    `digests` are those of the manifest and of the index that it was chosen from: a signature of either counts.

    Raises:
        PolicyRejects: it does not.
    """
    policy = policies.load(explicit)
    requirements = policy.requirements("docker", _scopes(reference)) if policy else []
    if policy is None or _accepts_anything(requirements):
        return []
    from podling.registry import signatures

    found: list[tuple[str, bytes]] = []
    kinds = {item.type for item in requirements}
    for digest in digests if kinds & {"signedBy", "sigstoreSigned"} else ():
        if "signedBy" in kinds:
            found += [(digest, body) for body in signatures.read_lookaside(remote, digest)]
        if "sigstoreSigned" in kinds and signatures.lookaside(remote).attachments:
            found += [(digest, body) for body in signatures.read_attachments(client, remote, digest)]
    _judge(policy.path, reference, requirements, found, digests)
    return found


def check_stored(ctx: Context, image: Image) -> None:
    """Whether the policy allows to run an image that is here. Images that were made here, and came from no registry, may run.

    Raises:
        PolicyRejects.
    """
    policy = policies.load()
    if policy is None or policy.raw == {"default": [{"type": "insecureAcceptAnything"}]}:
        return
    origin = ctx.db.value("SELECT origin FROM images WHERE id=?", image.id)
    if not origin:
        return
    reference = parse(origin)
    requirements = policy.requirements("docker", _scopes(reference))
    if _accepts_anything(requirements):
        return
    found = [
        (row[0], bytes(row[1])) for row in ctx.db.rows("SELECT digest, body FROM signatures WHERE image_id=?", image.id)
    ]
    digests = [row[0] for row in ctx.db.rows("SELECT digest FROM image_digests WHERE image_id=?", image.id)]
    _judge(policy.path, reference, requirements, found, digests)


def check_place(place: Place, explicit: str = "") -> None:
    """Whether the policy allows an image in a file: there are no signatures that could be checked."""
    policy = policies.load(explicit)
    if policy is None:
        return
    requirements = policy.requirements(place.transport, policies.path_scopes(place.path))
    if not _accepts_anything(requirements):
        kind = next(item.type for item in requirements if item.type != "insecureAcceptAnything")
        raise PolicyRejects(
            f"{place.transport}:{place.path} is rejected by policy ({kind})", hint=f"the policy is in {policy.path}"
        )


def _judge(
    path: str, reference: Reference, requirements: list[Requirement], found: list[tuple[str, bytes]], digests: list[str]
) -> None:
    for item in requirements:
        if item.type == "reject":
            raise PolicyRejects(
                f"{reference} is rejected by policy",
                hint=f"the policy is in {path}; `podling image trust show` shows it",
            )
        if item.type == "insecureAcceptAnything":
            continue
        reasons = [] if found else ["there is no signature of it"]
        if item.unsupported:
            raise PolicyRejects(
                f"{reference}: the policy asks for {item.unsupported}, which cannot be checked here",
                hint=f"the policy is in {path}",
            )
        if not _is_satisfied(item, reference, found, digests, reasons):
            raise PolicyRejects(
                f"{reference} is not signed as the policy wants it: {'; '.join(dict.fromkeys(reasons))}",
                hint=f"the policy is in {path}",
            )


def _is_satisfied(
    item: Requirement, reference: Reference, found: list[tuple[str, bytes]], digests: list[str], reasons: list[str]
) -> bool:
    from podling.registry import signatures

    keys = [_read_key(path) for path in item.keys] + [a2b_base64(text) for text in item.key_data]
    wants_sigstore = item.type == "sigstoreSigned"
    bodies = [body for _, body in found if signatures.is_sigstore(body) == wants_sigstore]
    if not bodies and not reasons:
        reasons.append("there is no signature of the kind that is asked for")
    if wants_sigstore:
        return _any_good(bodies, lambda body: signatures.verify_sigstore(body, keys), item, reference, digests, reasons)
    with signatures.KeyRing(keys) as ring:
        return _any_good(bodies, ring.verify, item, reference, digests, reasons)


def _any_good(
    bodies: list[bytes], verify: Callable[[bytes], Claim], item: Requirement, reference: Reference, digests: list[str],
    reasons: list[str],
) -> bool:  # fmt: skip
    for body in bodies:
        try:
            claim = verify(body)
        except InvalidInput as error:
            reasons.append(f"a signature does not count: {error.message}")
            continue
        if claim.digest not in digests:
            reasons.append(f"a signature is for another image, {claim.digest[:19]}")
        elif not _identity_fits(item.identity, reference, claim.reference):
            reasons.append(f"a signature is for {claim.reference}")
        else:
            return True
    return False


def _read_key(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}", hint="the signature policy names this key") from None


def _identity_fits(identity: dict[str, Any], reference: Reference, signed_text: str) -> bool:
    """signedIdentity of containers-policy.json(5)."""
    kind = identity.get("type")
    try:
        signed = parse(signed_text)
        if kind == "exactReference":
            return str(signed) == str(parse(str(identity.get("dockerReference"))))
        if kind == "exactRepository":
            return signed.name == parse(str(identity.get("dockerRepository"))).name
        if kind == "remapIdentity":
            prefix, other = str(identity.get("prefix")), str(identity.get("signedPrefix"))
            if reference.name == prefix or reference.name.startswith((prefix + "/", prefix + ":")):
                moved = parse(other + reference.name[len(prefix) :])
                reference = Reference(
                    registry=moved.registry, repository=moved.repository, tag=reference.tag, digest=reference.digest
                )
            kind = "matchRepoDigestOrExact"
    except InvalidInput:
        return False
    if kind == "matchRepository":
        return signed.name == reference.name
    if kind == "matchExact":
        return bool(reference.tag) and str(signed) == f"{reference.name}:{reference.tag}"
    if reference.digest and not reference.tag:
        return signed.name == reference.name
    return bool(signed.tag) and (signed.name, signed.tag) == (reference.name, reference.tag)


# -- signing
class Signers(Record):
    """Who signs what is pushed: a GPG key's name, a sigstore private key's file, and the file with its passphrase."""

    gpg: str = ""
    sigstore: str = ""
    passphrase_file: str = ""

    def sign(
        self,
        ctx: Context,
        written: Written,
        reference: Reference | None,
        *,
        client: Client | None = None,
        remote: Reference | None = None,
        destination: Destination | None = None,
        number: int = 1,
    ) -> None:
        """Sign a manifest that was written as `reference`; nothing when nobody signs.

        Raises:
            InvalidInput: there is nowhere to keep the signature.
        """
        if not (self.gpg or self.sigstore):
            return
        from podling.registry import signatures

        if reference is None:
            raise InvalidInput("an image without a name cannot be signed", hint="give it one with `podling tag`")
        name = str(reference)
        ctx.progress("Creating signature")
        if self.gpg:
            body = signatures.sign_with_gpg(signatures.payload(written.digest, name), self.gpg, self.passphrase_file)
            if destination is not None:
                destination.signature(written.digest, body, number)
            else:
                assert remote is not None
                base = signatures.lookaside(remote).write or signatures.DEFAULT_STAGING
                if not base.startswith("file://"):
                    raise InvalidInput(
                        f"signatures for {reference.name} would go to {base}, where they cannot be written",
                        hint="set lookaside-staging to a file:// URL in /etc/containers/registries.d",
                    )
                folder = signatures.store_path(base.removeprefix("file://"), remote, written.digest)
                signatures.write_lookaside(folder, body)
        if self.sigstore:
            if client is None or remote is None:
                raise InvalidInput("sigstore signatures are kept in a registry alone")
            data = signatures.payload(written.digest, name, cosign=True)
            signature = signatures.sign_with_sigstore(data, _read_key(self.sigstore), self._passphrase())
            signatures.attach(client, remote, written.digest, data, signature)

    def _passphrase(self) -> bytes:
        if self.passphrase_file:
            return _read_key(self.passphrase_file).rstrip(b"\n")
        return os.environ.get("COSIGN_PASSWORD", "").encode()
