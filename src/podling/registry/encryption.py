"""Encrypted layers (ocicrypt): AES-256-CTR with HMAC-SHA256, the key wrapped in JWE (RFC 7516) for RSA keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from podling.errors import AccessDenied, DigestMismatch, InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

KEYS = "org.opencontainers.image.enc.keys.jwe"
OPTIONS = "org.opencontainers.image.enc.pubopts"
_CIPHER = "AES_256_CTR_HMAC_SHA256"


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None


def _b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _oaep() -> padding.OAEP:
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # RSA-OAEP of RFC 7518


# -- wrapping keys
def _public_key(text: str) -> rsa.RSAPublicKey:
    """The recipient in `jwe:PATH`."""
    protocol, colon, path = text.partition(":")
    if not colon or protocol != "jwe":
        raise InvalidInput(
            f"--encryption-key {text!r}: only jwe: with an RSA key is supported",
            hint="--encryption-key jwe:/path/public.pem",
        )
    pem = _read(path)
    key: object
    try:
        if b"CERTIFICATE" in pem:
            from cryptography.x509 import load_pem_x509_certificate

            key = load_pem_x509_certificate(pem).public_key()
        else:
            key = serialization.load_pem_public_key(pem)
    except ValueError:
        raise InvalidInput(f"{path} is no PEM public key") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidInput(f"{path} is no RSA key")
    return key


def _private_key(text: str) -> rsa.RSAPrivateKey:
    """`PATH[:PASSWORD]`; the password as `pass=TEXT`, `file=PATH`, `fd=N` or plain."""
    path, _, secret = text.removeprefix("jwe:").partition(":")
    kind, equals, value = secret.partition("=")
    if equals and kind == "pass":
        password = value.encode()
    elif equals and kind in ("file", "filepath"):
        password = _read(value).rstrip(b"\n")
    elif equals and kind == "fd":
        password = os.read(int(value), 4096).rstrip(b"\n")
    else:
        password = secret.encode()
    try:
        key = serialization.load_pem_private_key(_read(path), password or None)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"--decryption-key {path}: {error}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InvalidInput(f"--decryption-key {path} is no RSA key")
    return key


def _wrap(data: bytes, recipients: list[rsa.RSAPublicKey]) -> bytes:
    content_key, iv = os.urandom(32), os.urandom(12)
    header: dict[str, str] = {"enc": "A256GCM"}
    if len(recipients) == 1:
        header["alg"] = "RSA-OAEP"
    protected = _b64url(json.dumps(header, separators=(",", ":")).encode())
    sealed = AESGCM(content_key).encrypt(iv, data, protected.encode())
    document: dict[str, Any] = {
        "protected": protected, "iv": _b64url(iv), "ciphertext": _b64url(sealed[:-16]), "tag": _b64url(sealed[-16:]),
    }  # fmt: skip
    keys = [_b64url(key.encrypt(content_key, _oaep())) for key in recipients]
    if len(keys) == 1:
        document["encrypted_key"] = keys[0]
    else:
        document["recipients"] = [{"header": {"alg": "RSA-OAEP"}, "encrypted_key": key} for key in keys]
    return json.dumps(document, separators=(",", ":")).encode()


def _unwrap(data: bytes, keys: list[rsa.RSAPrivateKey]) -> bytes | None:
    try:
        document = json.loads(data)
        protected = json.loads(_unb64url(document["protected"]))
        recipients = document.get("recipients") or [{"encrypted_key": document["encrypted_key"], "header": protected}]
        sealed = _unb64url(document["ciphertext"]) + _unb64url(document["tag"])
        iv, bound = _unb64url(document["iv"]), document["protected"].encode()
        if protected.get("enc") != "A256GCM":
            return None
    except (ValueError, KeyError, TypeError):
        raise InvalidInput("an encrypted layer's key is not as it should be") from None
    for recipient in recipients:
        if {**protected, **(recipient.get("header") or {})}.get("alg") != "RSA-OAEP":
            continue
        for key in keys:
            try:
                content_key = key.decrypt(_unb64url(recipient["encrypted_key"]), _oaep())
                return AESGCM(content_key).decrypt(iv, sealed, bound)
            except Exception:  # another recipient's key: the library raises several classes
                continue
    return None


# -- layers
class Encryptor:
    """Encrypts one layer for `recipients`, as --encryption-key names them; `annotations` are there when it has been read."""

    def __init__(self, recipients: list[str]) -> None:
        self._recipients = [_public_key(text) for text in recipients]
        self.annotations: dict[str, str] = {}

    def encrypt(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        key, nonce = os.urandom(32), os.urandom(16)
        cipher = Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor()
        checksum, plain = hmac.new(key, digestmod="sha256"), hashlib.sha256()
        for chunk in chunks:
            plain.update(chunk)
            data = cipher.update(chunk)
            checksum.update(data)
            yield data
        secret = {
            "symkey": base64.b64encode(key).decode(), "digest": "sha256:" + plain.hexdigest(),
            "cipheroptions": {"nonce": base64.b64encode(nonce).decode()},
        }  # fmt: skip
        public = {
            "cipher": _CIPHER, "hmac": base64.b64encode(checksum.digest()).decode(), "cipheroptions": {},
        }  # fmt: skip
        self.annotations = {
            KEYS: base64.b64encode(_wrap(json.dumps(secret).encode(), self._recipients)).decode(),
            OPTIONS: base64.b64encode(json.dumps(public).encode()).decode(),
        }


def decrypt(chunks: Iterator[bytes], annotations: dict[str, str], keys: list[str]) -> Iterator[bytes]:
    """The layer in the clear; its checksum is compared at the end.

    Raises:
        AccessDenied: none of `keys` opens it. DigestMismatch: it was tampered with.
    """
    if not keys:
        raise AccessDenied("the image is encrypted", hint="give the key with --decryption-key")
    opened = [_private_key(text) for text in keys]
    secret = None
    for part in annotations.get(KEYS, "").split(","):
        if part and (secret := _unwrap(base64.b64decode(part), opened)) is not None:
            break
    if secret is None:
        raise AccessDenied("the image is encrypted for other keys", hint="give the right key with --decryption-key")
    try:
        private, public = json.loads(secret), json.loads(base64.b64decode(annotations[OPTIONS]))
        key = base64.b64decode(private["symkey"])
        nonce = base64.b64decode(private["cipheroptions"]["nonce"])
        wanted = base64.b64decode(public["hmac"])
        if public["cipher"] != _CIPHER:
            raise InvalidInput(f"a layer is encrypted with {public['cipher']}, which is not supported")
    except (ValueError, KeyError, TypeError):
        raise InvalidInput("an encrypted layer's options are not as they should be") from None
    cipher = Cipher(algorithms.AES(key), modes.CTR(nonce)).decryptor()
    checksum = hmac.new(key, digestmod="sha256")
    for chunk in chunks:
        checksum.update(chunk)
        yield cipher.update(chunk)
    if not hmac.compare_digest(checksum.digest(), wanted):
        raise DigestMismatch("an encrypted layer was tampered with", hint="pull it from another place")
