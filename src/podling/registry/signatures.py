"""Signatures of images: simple signing with GPG, kept in lookaside stores (containers-registries.d(5)), and sigstore's with a
public key, kept beside the image in its registry (cosign's SIGNATURE_SPEC)."""

from __future__ import annotations

import base64
import json
import os

from podling.errors import InvalidInput, NotFound, PodlingError, RegistryError
from podling.linux.proc import outer_uid
from podling.oci.image import OCI_CONFIG, OCI_MANIFEST, digest_of
from podling.oci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from podling.oci.reference import Reference
    from podling.registry.client import Client

_SIMPLE = "atomic container signature"
_COSIGN = "cosign container image signature"
_COSIGN_LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"
COSIGN_SIGNATURE = "dev.cosignproject.cosign/signature"
_MOST = 64
_LIMIT = 4 << 20
DEFAULT_STAGING = "file:///var/lib/containers/sigstore"


class Claim(Record):
    """What a signature says: this manifest is known by this reference."""

    digest: str
    reference: str


def payload(digest: str, reference: str, *, cosign: bool = False) -> bytes:
    """The JSON that is signed (containers-signature(5))."""
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": _COSIGN if cosign else _SIMPLE,
    }
    from podling.version import VERSION

    return json.dumps(
        {"critical": critical, "optional": {"creator": f"podling {VERSION}"}}, separators=(",", ":")
    ).encode()


def read_claim(data: bytes, *, cosign: bool = False) -> Claim:
    """InvalidInput when `data` is no such payload."""
    try:
        critical = json.loads(data)["critical"]
        if critical["type"] != (_COSIGN if cosign else _SIMPLE):
            raise InvalidInput(f"the signature is of type {critical['type']!r}")
        return Claim(
            digest=str(critical["image"]["docker-manifest-digest"]),
            reference=str(critical["identity"]["docker-reference"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"the signature's content makes no sense: {error}") from None


# -- simple signing
def _gpg(arguments: list[str], data: bytes, home: str = "", passphrase: str = "") -> tuple[int, bytes, str]:
    import shutil
    import subprocess

    program = shutil.which("gpg")
    if not program:
        from podling.errors import ProgramMissing

        raise ProgramMissing("gpg is not installed, and signatures need it", hint="apt install gpg")
    argv = [program, "--batch", "--no-tty", *(["--homedir", home] if home else []), *arguments]
    done = subprocess.run(argv, input=data, capture_output=True)
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")


def sign_with_gpg(data: bytes, key: str, passphrase_file: str = "") -> bytes:
    """An OpenPGP message with `data` and its signature by the key called `key`."""
    extra = ["--pinentry-mode", "loopback", "--passphrase-file", passphrase_file] if passphrase_file else []
    code, out, err = _gpg([*extra, "--local-user", key, "--sign", "--output", "-"], data)
    if code:
        lines = [line for line in err.strip().splitlines() if "using" not in line] or ["gpg failed"]
        raise PodlingError(
            f"signing with the key {key} failed: {lines[-1]}", hint="`gpg --list-secret-keys` shows your keys"
        )
    return out


class KeyRing:
    """The GPG keys of one requirement, in a key ring of their own."""

    def __init__(self, keys: list[bytes]) -> None:
        import tempfile

        self._folder = tempfile.TemporaryDirectory(prefix="podling-gpg-")
        os.chmod(self._folder.name, 0o700)
        self.prints: list[str] = []
        for key in keys:
            code, out, err = _gpg(["--status-fd", "1", "--import"], key, self._folder.name)
            if code:
                raise InvalidInput(f"a key of the policy cannot be read: {err.strip().splitlines()[-1:]}")
            self.prints += [
                line.split()[3] for line in out.decode("utf-8", "replace").splitlines() if "IMPORT_OK" in line
            ]

    def __enter__(self) -> KeyRing:
        return self

    def __exit__(self, *_exc: object) -> None:
        _gpg(["--version"], b"", self._folder.name)
        self._folder.cleanup()

    def verify(self, body: bytes) -> Claim:
        """InvalidInput when `body` is not signed by one of the keys, now valid."""
        code, out, err = _gpg(["--status-fd", "2", "--decrypt"], body, self._folder.name)
        words = [line.split()[1:] for line in err.splitlines() if line.startswith("[GNUPG:] ")]
        good = {line[0] for line in words if line}
        if code or "GOODSIG" not in good or "VALIDSIG" not in good:
            why = next(
                (name for name in ("EXPKEYSIG", "REVKEYSIG", "EXPSIG", "BADSIG", "NO_PUBKEY") if name in good), ""
            )
            raise InvalidInput(
                {
                    "EXPKEYSIG": "its key has expired", "REVKEYSIG": "its key was revoked", "EXPSIG": "it has expired",
                    "BADSIG": "it is forged", "NO_PUBKEY": "it is of a key that the policy does not trust",
                }.get(why, "it is not valid")
            )  # fmt: skip
        return read_claim(out)


# -- lookaside stores
def _configurations() -> Iterator[tuple[str, dict[str, Any]]]:
    import yaml

    folders = ["/usr/share/containers/registries.d", "/etc/containers/registries.d"]
    if outer_uid():
        folders.append(os.path.expanduser("~/.config/containers/registries.d"))
    if override := os.environ.get("CONTAINERS_REGISTRIES_D"):
        folders = [override]
    for folder in folders:
        if not os.path.isdir(folder):
            continue
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if name.endswith((".yaml", ".yml")):
                try:
                    with open(path) as file:
                        yield path, yaml.safe_load(file) or {}
                except (OSError, yaml.YAMLError) as error:
                    raise InvalidInput(f"{path}: {error}") from None


class Lookaside(Record):
    """What registries.d says about a repository. `read` and `write` are URLs, "" for none."""

    read: str = ""
    write: str = ""
    attachments: bool = False


def lookaside(reference: Reference) -> Lookaside:
    """The configuration for the narrowest scope that covers the image."""
    from podling.config.policy import docker_scopes

    found: dict[str, Any] = {}
    scopes = docker_scopes(reference.registry, reference.repository, reference.tag, reference.digest)
    best = len(scopes)
    for path, document in _configurations():
        if not isinstance(document, dict):
            raise InvalidInput(f"{path}: not a mapping")
        if best == len(scopes) and document.get("default-docker"):
            found = document["default-docker"]
        for rank, scope in enumerate(scopes):
            if rank <= best and scope in (document.get("docker") or {}):
                best, found = rank, document["docker"][scope] or {}
                break
    read = str(found.get("lookaside") or found.get("sigstore") or "")
    write = str(found.get("lookaside-staging") or found.get("sigstore-staging") or read)
    return Lookaside(read=read, write=write, attachments=bool(found.get("use-sigstore-attachments")))


def store_path(base: str, reference: Reference, digest: str) -> str:
    return f"{base.rstrip('/')}/{reference.repository}@{digest.replace(':', '=')}"


def read_lookaside(reference: Reference, digest: str) -> list[bytes]:
    """Simple signatures of a manifest, from the store that registries.d names."""
    base = lookaside(reference).read
    if not base:
        return []
    found: list[bytes] = []
    while len(found) < _MOST:
        url = f"{store_path(base, reference, digest)}/signature-{len(found) + 1}"
        data = _fetch(url)
        if data is None:
            break
        found.append(data)
    return found


def _fetch(url: str) -> bytes | None:
    if url.startswith("file://"):
        try:
            with open(url.removeprefix("file://"), "rb") as file:
                return file.read(_LIMIT)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidInput(f"{url}: {error.strerror}") from None
    if not url.startswith(("http://", "https://")):
        raise InvalidInput(f"{url}: a lookaside store is a file, http or https URL")
    import urllib3

    try:
        response = urllib3.request("GET", url, timeout=30)
    except urllib3.exceptions.HTTPError as error:
        raise RegistryError(f"the signature store cannot be reached: {error}") from None
    if response.status == 404:
        return None
    if response.status != 200:
        raise RegistryError(f"{url}: the signature store answered {response.status}")
    return response.data[:_LIMIT]


def write_lookaside(folder: str, body: bytes) -> str:
    """Add a signature to a folder of a store; its path."""
    try:
        os.makedirs(folder, exist_ok=True)
        for number in range(1, _MOST):
            path = f"{folder}/signature-{number}"
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            except FileExistsError:
                continue
            with os.fdopen(fd, "wb") as file:
                file.write(body)
            return path
    except OSError as error:
        raise InvalidInput(f"{folder}: {error.strerror}") from None
    raise InvalidInput(f"{folder} holds {_MOST} signatures already")


# -- sigstore
def attachment_tag(digest: str) -> str:
    return f"{digest.replace(':', '-')}.sig"


def read_attachments(client: Client, remote: Reference, digest: str) -> list[bytes]:
    """Sigstore signatures beside the image, each as JSON of payload and signature, both base64."""
    from podling.oci.reference import Reference

    where = Reference(registry=remote.registry, repository=remote.repository, tag=attachment_tag(digest))
    try:
        body, _, _ = client.manifest(where)
    except NotFound:
        return []
    found = []
    for layer in json.loads(body).get("layers") or ():
        signature = (layer.get("annotations") or {}).get(COSIGN_SIGNATURE)
        if layer.get("mediaType") == _COSIGN_LAYER and signature and layer.get("size", 0) < _LIMIT:
            data = b"".join(client.blob(remote.repository, layer["digest"], layer["size"]))
            found.append(sigstore_body(data, signature))
    return found[:_MOST]


def sigstore_body(data: bytes, signature: str) -> bytes:
    """How we keep one: JSON with payload and signature, both base64."""
    return json.dumps({"payload": base64.b64encode(data).decode(), "signature": signature}).encode()


def is_sigstore(body: bytes) -> bool:
    return body.startswith(b"{")


def verify_sigstore(body: bytes, keys: list[bytes]) -> Claim:
    """InvalidInput when the payload is not signed by one of the PEM public `keys`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    try:
        document = json.loads(body)
        data, signature = base64.b64decode(document["payload"]), base64.b64decode(document["signature"])
    except (ValueError, KeyError, TypeError):
        raise InvalidInput("the signature makes no sense") from None
    for pem in keys:
        try:
            key = serialization.load_pem_public_key(pem)
        except ValueError:
            raise InvalidInput("a key of the policy is no PEM public key") from None
        try:
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            elif isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            elif isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, data)
            else:
                continue
            return read_claim(data, cosign=True)
        except InvalidSignature:
            continue
    raise InvalidInput("it is of a key that the policy does not trust")


def sign_with_sigstore(data: bytes, pem: bytes, passphrase: bytes) -> str:
    """Base64 of the signature by a private key: cosign's encrypted format, or PEM of PKCS #8."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    try:
        if b"ENCRYPTED SIGSTORE PRIVATE KEY" in pem or b"ENCRYPTED COSIGN PRIVATE KEY" in pem:
            key = serialization.load_der_private_key(_open_cosign_key(pem, passphrase), None)
        else:
            key = serialization.load_pem_private_key(pem, passphrase or None)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"the private key cannot be read: {error}", hint="is the passphrase right?") from None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(data, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    else:
        raise InvalidInput("the private key is neither ECDSA nor RSA")
    return base64.b64encode(signature).decode()


def _open_cosign_key(pem: bytes, passphrase: bytes) -> bytes:
    """The PKCS #8 key in cosign's file: scrypt and NaCl's secretbox."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    lines = [line for line in pem.decode().splitlines() if line and not line.startswith("-----")]
    document = json.loads(base64.b64decode("".join(lines)))
    try:
        kdf, cipher = document["kdf"], document["cipher"]
        if kdf["name"] != "scrypt" or cipher["name"] != "nacl/secretbox":
            raise ValueError("unknown encryption")
        numbers = kdf["params"]
        secret = Scrypt(base64.b64decode(kdf["salt"]), 32, numbers["N"], numbers["r"], numbers["p"]).derive(passphrase)
        return SecretBox(secret).decrypt(base64.b64decode(document["ciphertext"]), base64.b64decode(cipher["nonce"]))
    except CryptoError:
        raise ValueError("wrong passphrase") from None
    except KeyError as error:
        raise ValueError(f"lacks {error}") from None


def attach(client: Client, remote: Reference, digest: str, data: bytes, signature: str) -> None:
    """Add a sigstore signature beside the image, to those that are there."""
    from podling.oci.reference import Reference
    from podling.registry.upload import put_manifest, upload_small

    where = Reference(registry=remote.registry, repository=remote.repository, tag=attachment_tag(digest))
    layers: list[dict[str, Any]] = []
    try:
        body, _, _ = client.manifest(where)
        layers = json.loads(body).get("layers") or []
    except NotFound:
        pass
    upload_small(client, remote.repository, data)
    layers.append(
        {
            "mediaType": _COSIGN_LAYER, "digest": digest_of(data), "size": len(data),
            "annotations": {COSIGN_SIGNATURE: signature},
        }
    )  # fmt: skip
    config = json.dumps(
        {
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        }
    ).encode()
    upload_small(client, remote.repository, config)
    manifest = {
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)}, "layers": layers,
    }  # fmt: skip
    put_manifest(client, remote.repository, where.tag, json.dumps(manifest).encode(), OCI_MANIFEST)


def key_names(data: bytes) -> list[str]:
    """The mail addresses, or else the fingerprints, of the GPG keys in `data`."""
    code, out, _ = _gpg(["--with-colons", "--show-keys"], data)
    found = []
    for line in out.decode("utf-8", "replace").splitlines() if not code else ():
        fields = line.split(":")
        if fields[0] == "uid":
            text = fields[9]
            found.append(text[text.index("<") + 1 : text.index(">")] if "<" in text and ">" in text else text)
    return found or ["N/A"]
