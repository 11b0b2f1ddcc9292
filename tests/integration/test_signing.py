"""The signature policy: GPG signatures of ours and of skopeo, sigstore's, and what is refused."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Podling
from .registry import Registry

INSECURE = "--tls-verify=false"


class Setting:
    """A registry, a lookaside store, keys of Ann and Bob, and policies on demand."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder, self.registry = folder, registry
        self.env = {"GNUPGHOME": str(folder / "gpg"), "CONTAINERS_REGISTRIES_D": str(folder / "d")}
        (folder / "gpg").mkdir(mode=0o700)
        (folder / "d").mkdir()
        (folder / "d/x.yaml").write_text(
            f"docker:\n  {registry.host}:\n    lookaside: file://{folder}/sigs\n    use-sigstore-attachments: true\n"
        )
        for name in ("ann", "bob"):
            batch = f"%no-protection\nKey-Type: RSA\nKey-Length: 2048\nName-Real: {name}\nName-Email: {name}@example.com\nExpire-Date: 0\n%commit\n"
            self._run("gpg", "--batch", "--gen-key", input=batch.encode())
            (folder / f"{name}.gpg").write_bytes(self._run("gpg", "--export", f"{name}@example.com"))
            self._run(
                "openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(folder / f"{name}.pem")
            )
            self._run(
                "openssl", "ec", "-in", str(folder / f"{name}.pem"), "-pubout", "-out", str(folder / f"{name}.pub")
            )

    def _run(self, *argv: str, input: bytes = b"") -> bytes:
        done = subprocess.run(argv, input=input, capture_output=True, env={**os.environ, **self.env})
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def policy(self, *requirements: dict[str, object], scope: str = "") -> str:
        path = self.folder / f"policy{len(list(self.folder.glob('policy*')))}.json"
        scoped = {"docker": {scope or self.registry.host: list(requirements)}}
        path.write_text(json.dumps({"default": [{"type": "reject"}], "transports": scoped}))
        return str(path)

    def signed_by(self, name: str, **more: object) -> dict[str, object]:
        return {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(self.folder / f"{name}.gpg"), **more}


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("signing")
    (folder / "registry").mkdir()
    registry = Registry(folder / "registry")
    yield Setting(folder, registry)
    registry.stop()
    subprocess.run(["gpgconf", "--homedir", folder / "gpg", "--kill", "all"], check=False)


@pytest.fixture
def engine(fresh: Podling, setting: Setting) -> Podling:
    fresh.env.update(setting.env)
    fresh.ok("pull", "-q", "localhost/busybox")
    return fresh


def pull(engine: Podling, name: str, policy: str) -> str:
    return engine.ok("pull", "-q", INSECURE, "--signature-policy", policy, name)


def refused(engine: Podling, name: str, policy: str) -> str:
    return engine.fails(125, "pull", "-q", INSECURE, "--signature-policy", policy, name)


def test_what_we_signed(engine: Podling, setting: Setting, tmp_path: Path) -> None:
    name = f"{setting.registry.host}/signed:1"
    engine.ok("push", "-q", INSECURE, "--sign-by", "ann@example.com", "localhost/busybox", name)
    engine.ok("push", "-q", INSECURE, "localhost/busybox", f"{setting.registry.host}/signed:other")
    good = setting.policy(setting.signed_by("ann"))
    pull(engine, name, good)
    assert "does not trust" in refused(engine, name, setting.policy(setting.signed_by("bob")))
    # the same image under another tag: the signature is for :1
    assert "a signature is for" in refused(engine, f"{setting.registry.host}/signed:other", good)
    anywhere = setting.signed_by("ann", signedIdentity={"type": "matchRepository"})
    pull(engine, f"{setting.registry.host}/signed:other", setting.policy(anywhere))
    exact = setting.signed_by("ann", signedIdentity={"type": "exactReference", "dockerReference": name})
    pull(engine, f"{setting.registry.host}/signed:other", setting.policy(exact))
    data = base64.b64encode((setting.folder / "ann.gpg").read_bytes()).decode()
    pull(engine, name, setting.policy({"type": "signedBy", "keyType": "GPGKeys", "keyData": data}))
    # skopeo comes to the same judgement
    for policy, code in ((good, 0), (setting.policy(setting.signed_by("bob")), 1)):
        done = subprocess.run(
            ["skopeo", "--policy", policy, "--registries.d", setting.folder / "d", "copy", "--src-tls-verify=false", f"docker://{name}",
             f"dir:{tmp_path}/{code}"],
            capture_output=True,
        )  # fmt: skip
        assert done.returncode == code, done.stderr


def test_what_skopeo_signed(engine: Podling, setting: Setting, tmp_path: Path) -> None:
    engine.ok("push", "-q", "localhost/busybox", f"dir:{tmp_path}/d")
    name = f"{setting.registry.host}/skopeo:1"
    subprocess.run(
        ["skopeo", "--registries.d", setting.folder / "d", "copy", "--dest-tls-verify=false", "--sign-by", "ann@example.com",
         f"dir:{tmp_path}/d", f"docker://{name}"],
        check=True, capture_output=True, env={**os.environ, **setting.env},
    )  # fmt: skip
    pull(engine, name, setting.policy(setting.signed_by("ann")))
    refused(engine, name, setting.policy(setting.signed_by("ann"), setting.signed_by("bob")))


def test_a_forged_signature(engine: Podling, setting: Setting) -> None:
    name = f"{setting.registry.host}/forged:1"
    engine.ok("push", "-q", INSECURE, "--sign-by", "ann@example.com", "localhost/busybox", name)
    (path,) = (setting.folder / "sigs").glob("forged@*/signature-1")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert "does not count" in refused(engine, name, setting.policy(setting.signed_by("ann")))
    assert engine("image", "exists", name).returncode == 1


def test_unsigned_rejected_and_scopes(engine: Podling, setting: Setting) -> None:
    host = setting.registry.host
    engine.ok("push", "-q", INSECURE, "localhost/busybox", f"{host}/plain:1")
    assert "there is no signature of it" in refused(engine, f"{host}/plain:1", setting.policy(setting.signed_by("ann")))
    assert "is rejected by policy" in refused(engine, f"{host}/plain:1", setting.policy({"type": "reject"}))
    pull(engine, f"{host}/plain:1", setting.policy({"type": "insecureAcceptAnything"}, scope=f"{host}/plain"))
    refused(engine, f"{host}/plain:1", setting.policy({"type": "insecureAcceptAnything"}, scope=f"{host}/other"))
    broken = setting.folder / "broken.json"
    broken.write_text("{")
    assert "not JSON" in refused(engine, f"{host}/plain:1", str(broken))


def test_files_are_judged_too(engine: Podling, setting: Setting, tmp_path: Path) -> None:
    engine.ok("push", "-q", "localhost/busybox", f"oci:{tmp_path}/o:1")
    policy = setting.policy({"type": "reject"})
    assert "is rejected by policy" in refused(engine, f"oci:{tmp_path}/o:1", policy)


def test_sigstore(engine: Podling, setting: Setting) -> None:
    name = f"{setting.registry.host}/cosigned:1"
    engine.ok(
        "push",
        "-q",
        INSECURE,
        "--sign-by-sigstore-private-key",
        str(setting.folder / "ann.pem"),
        "localhost/busybox",
        name,
    )

    def policy(key: str) -> str:
        return setting.policy({"type": "sigstoreSigned", "keyPath": str(setting.folder / f"{key}.pub")})

    pull(engine, name, policy("ann"))
    assert "does not trust" in refused(engine, name, policy("bob"))
    # openssl agrees about the signature
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", INSECURE, f"docker://{name}"], capture_output=True, check=True
    ).stdout
    import hashlib

    tag = f"sha256-{hashlib.sha256(raw).hexdigest()}.sig"
    attached = json.loads(
        subprocess.run(
            ["skopeo", "inspect", "--raw", INSECURE, f"docker://{setting.registry.host}/cosigned:{tag}"],
            capture_output=True,
            check=True,
        ).stdout
    )
    (entry,) = attached["layers"]
    (setting.folder / "sig").write_bytes(base64.b64decode(entry["annotations"]["dev.cosignproject.cosign/signature"]))
    value = entry["digest"].partition(":")[2]
    payload = next((setting.folder / "registry/data").rglob(f"{value}/data"))
    subprocess.run(
        [
            "openssl",
            "dgst",
            "-sha256",
            "-verify",
            setting.folder / "ann.pub",
            "-signature",
            setting.folder / "sig",
            payload,
        ],
        check=True,
    )
    params = setting.folder / "params.yaml"
    params.write_text(f"privateKeyFile: {setting.folder}/bob.pem\n")
    engine.ok("push", "-q", INSECURE, "--sign-by-sigstore", str(params), "localhost/busybox", name)
    pull(engine, name, policy("bob"))
    pull(engine, name, policy("ann"))
    params.write_text("fulcio:\n  fulcioURL: https://x\n")
    engine.fails(125, "push", "-q", INSECURE, "--sign-by-sigstore", str(params), "localhost/busybox", name)


def test_an_encrypted_cosign_key(engine: Podling, setting: Setting) -> None:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    from nacl.secret import SecretBox

    der = subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", setting.folder / "ann.pem", "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout
    salt, nonce = os.urandom(32), os.urandom(24)
    secret = Scrypt(salt, 32, 2**14, 8, 1).derive(b"pw")
    sealed = SecretBox(secret).encrypt(der, nonce).ciphertext
    document = {
        "kdf": {"name": "scrypt", "params": {"N": 2**14, "r": 8, "p": 1}, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(sealed).decode(),
    }
    text = base64.b64encode(json.dumps(document).encode()).decode()
    key = setting.folder / "cosign.key"
    key.write_text(
        f"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{text}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
    )
    (setting.folder / "pass").write_text("pw\n")
    name = f"{setting.registry.host}/cosign-key:1"
    flags = ["push", "-q", INSECURE, "--sign-by-sigstore-private-key", str(key)]
    engine.ok(*flags, "--sign-passphrase-file", str(setting.folder / "pass"), "localhost/busybox", name)
    pull(engine, name, setting.policy({"type": "sigstoreSigned", "keyPath": str(setting.folder / "ann.pub")}))
    (setting.folder / "pass").write_text("wrong\n")
    assert "cannot be read" in engine.fails(
        125, *flags, "--sign-passphrase-file", str(setting.folder / "pass"), "localhost/busybox", name
    )


def test_run_is_judged_again(engine: Podling, setting: Setting) -> None:
    host = setting.registry.host
    name = f"{host}/judged:1"
    engine.ok("push", "-q", INSECURE, "--sign-by", "ann@example.com", "localhost/busybox", name)
    home = setting.folder / "home"
    config = home / ".config/containers/policy.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    engine.env["HOME"] = str(home)
    config.write_text(Path(setting.policy(setting.signed_by("ann"))).read_text())
    engine.ok("rmi", "-f", "-a")
    engine.ok("pull", "-q", INSECURE, name)
    command = ("run", "--rm", "--network=none", name, "echo", "ok")
    assert engine.ok(*command) == "ok"
    config.write_text(Path(setting.policy(setting.signed_by("bob"))).read_text())
    assert "not signed as the policy wants it" in engine.fails(125, *command)
    config.write_text(Path(setting.policy({"type": "reject"})).read_text())
    assert "rejected by policy" in engine.fails(125, *command)
    # what was made here needs no signature
    config.write_text(Path(setting.policy({"type": "insecureAcceptAnything"})).read_text())
    engine.ok("create", "--name", "made", "--network=none", name)
    engine.ok("commit", "-q", "made", "local:1")
    config.write_text(Path(setting.policy({"type": "reject"})).read_text())
    assert engine.ok("run", "--rm", "--network=none", "local:1", "echo", "ok") == "ok"


def test_signatures_travel_in_a_folder(engine: Podling, setting: Setting, tmp_path: Path) -> None:
    name = f"{setting.registry.host}/travel:1"
    engine.ok("push", "-q", INSECURE, "--sign-by", "ann@example.com", "localhost/busybox", name)
    engine.ok("rmi", "-f", "-a")
    pull(engine, name, setting.policy(setting.signed_by("ann")))
    engine.ok("push", "-q", name, f"dir:{tmp_path}/a", "--compress")
    assert (tmp_path / "a/signature-1").exists() == (
        json.loads((tmp_path / "a/manifest.json").read_text())["layers"][0]["mediaType"].endswith("gzip")
        and len(list((tmp_path / "a").glob("signature-*"))) == 1
    )
    engine.ok("push", "-q", "--remove-signatures", name, f"dir:{tmp_path}/b", "--compress")
    assert not list((tmp_path / "b").glob("signature-*"))


def test_image_sign_and_trust(engine: Podling, setting: Setting, tmp_path: Path) -> None:
    name = f"{setting.registry.host}/later:1"
    engine.ok("push", "-q", INSECURE, "localhost/busybox", name)
    policy = setting.policy(setting.signed_by("ann"))
    refused(engine, name, policy)
    engine.ok("image", "sign", INSECURE, "--sign-by", "ann@example.com", f"docker://{name}")
    pull(engine, name, policy)
    assert "no identity" in engine.fails(125, "image", "sign", name)
    assert "signing with the key nobody failed" in engine.fails(
        125, "image", "sign", INSECURE, "--sign-by", "nobody", name
    )
    path = str(tmp_path / "policy.json")
    engine.ok("image", "trust", "set", "--policypath", path, "-t", "reject", "default")
    engine.ok("image", "trust", "set", "--policypath", path, "-t", "accept", "x.io")
    engine.ok(
        "image", "trust", "set", "--policypath", path, "-f", str(setting.folder / "ann.gpg"), setting.registry.host
    )
    rows = engine.ok("image", "trust", "show", "--policypath", path, "-n").splitlines()
    assert [row.split()[:3] for row in rows] == [
        ["all", "default", "reject"], ["repository", "x.io", "accept"], ["repository", setting.registry.host, "signed"],
    ]  # fmt: skip
    assert "ann@example.com" in rows[2] and f"file://{setting.folder}/sigs" in rows[2]
    assert json.loads(engine.ok("image", "trust", "show", "--policypath", path, "--raw"))["default"] == [
        {"type": "reject"}
    ]
    pull(engine, name, path)
    assert "needs the public key" in engine.fails(125, "image", "trust", "set", "--policypath", path, "y.io")
