"""pull, push, search, login, logout; image sign, scp, trust."""

from __future__ import annotations

import os

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import Format, print_rows, table
from podling.engine.catalogue import images as ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.trust import Trust
    from podling.registry.listing import Found

AUTHFILE = Flag("authfile", "", "string", "Path of the authentication file", value="path")
CERT_DIR = Flag("cert-dir", "", "string", "Folder with certificates for the registry", value="path")
CREDS = Flag("creds", "", "string", "USER:PASSWORD for the registry")
TLS_VERIFY = Flag("tls-verify", "", "tristate", "Check the registry's certificate")
RETRY = Flag("retry", "", "int", "How often to try again after a failure", 3)
RETRY_DELAY = Flag("retry-delay", "", "string", "How long to wait between attempts, such as 2s")
#: Docker's: what it verifies there, the signature policy verifies here
CONTENT_TRUST = Flag("disable-content-trust", "", "bool", "Accepted for Docker's sake", hidden=True)
SIGNATURE_POLICY = Flag("signature-policy", "", "string", "Path of another signature policy", value="path", hidden=True)
INSECURE = Flag("insecure", "", "bool", "Docker's word for --tls-verify=false", hidden=True)
QUIET = Flag("quiet", "q", "bool", "Do not show what is being done")
SIGNING = (
    Flag("sign-by", "", "string", "Sign with this GPG key", value="key"),
    Flag("sign-by-sigstore", "", "string", "Sign as this sigstore parameter file says", value="path"),
    Flag("sign-by-sigstore-private-key", "", "string", "Sign with this sigstore private key", value="path"),
    Flag("sign-passphrase-file", "", "string", "File with the passphrase of the signing key", value="path"),
)
WRITING = (
    Flag("compression-format", "", "string", "Compress layers with gzip, zstd or zstd:chunked"),
    Flag("compression-level", "", "int", "How hard to compress: 0 to 9 for gzip, 1 to 20 for zstd", -1),
    Flag("force-compression", "", "bool", "Compress again what the destination has in another compression"),
)


def access(args: Args) -> dict[str, Any]:
    """The fields of a registry operation, from those of its flags that the command has."""
    if vars(args).get("insecure"):
        vars(args)["tls_verify"] = False
    fields = {"creds": "creds", "authfile": "authfile", "tls_verify": "tls_verify", "cert_dir": "cert_dir"}
    fields |= {"retry": "retries", "retry_delay": "retry_delay"}
    return {field: getattr(args, name) for name, field in fields.items() if name in vars(args)}


def signing(args: Args) -> dict[str, Any]:
    """Who signs; the parameter file of --sign-by-sigstore is read here."""
    key, passphrase = args.sign_by_sigstore_private_key, args.sign_passphrase_file
    if args.sign_by_sigstore:
        if key:
            raise UsageError("--sign-by-sigstore and --sign-by-sigstore-private-key exclude each other")
        key, passphrase = _parameter_file(args.sign_by_sigstore)
    if args.sign_by and key:
        raise UsageError("--sign-by and sigstore signing exclude each other")
    return {"sign_by": args.sign_by, "sign_by_sigstore": key, "sign_passphrase_file": passphrase}


def _parameter_file(path: str) -> tuple[str, str]:
    """(private key, passphrase file) of containers-sigstore-signing-params.yaml(5)."""
    import yaml

    try:
        with open(path) as file:
            document = yaml.safe_load(file)
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"--sign-by-sigstore {path}: {error}") from None
    if not isinstance(document, dict) or not document.get("privateKeyFile"):
        raise UsageError(f"--sign-by-sigstore {path}: only privateKeyFile is supported, and it is not there")
    if unknown := set(document) - {"privateKeyFile", "privateKeyPassphraseFile"}:
        raise UsageError(f"--sign-by-sigstore {path}: {sorted(unknown)[0]} is not supported")
    return str(document["privateKeyFile"]), str(document.get("privateKeyPassphraseFile") or "")


def level(args: Args) -> int | None:
    return None if args.compression_level < 0 else int(args.compression_level)


# -- pull, push
def _pull(app: App, args: Args) -> int:
    app.quiet = args.quiet
    if args.all_tags and args.policy == "never":
        raise UsageError("--all-tags and --policy=never exclude each other")
    errors: list[Exception] = []
    for name in args.rest:
        try:
            for id in app.engine.call(
                ops.PullImage(
                    name=name, policy=args.policy, platform=chosen_platform(args), decryption_keys=args.decryption_key,
                    all_tags=args.all_tags, signature_policy=args.signature_policy, **access(args),
                )
            ):  # fmt: skip
                app.out(id)
        except Exception as error:
            from podling.errors import PodlingError

            if not isinstance(error, PodlingError) or len(args.rest) == 1:
                raise
            errors.append(error)
    return app.report([], errors)


def chosen_platform(args: Args) -> str:
    """What --platform, or --os, --arch and --variant, ask for."""
    if args.platform and (args.os or args.arch or args.variant):
        raise UsageError("--platform cannot be used with --os, --arch and --variant")
    if not (args.os or args.arch or args.variant):
        text: str = args.platform
        return text
    from podling.oci.image import host_platform

    host = host_platform()
    parts = [args.os or host.os, args.arch or host.architecture, args.variant]
    return "/".join(part for part in parts if part)


def _push(app: App, args: Args) -> int:
    app.quiet = args.quiet
    layers = []
    for text in args.encrypt_layer:
        if not text.lstrip("-").isdigit():
            raise UsageError(f"--encrypt-layer {text!r}: not a number")
        layers.append(int(text))
    digest = app.engine.call(
        ops.PushImage(
            name=args.rest[0], target=args.rest[1] if len(args.rest) > 1 else "", format=args.format,
            compression=args.compression_format, compression_level=level(args), force_compression=args.force_compression,
            compress=args.compress, encryption_keys=args.encryption_key, encrypt_layers=layers,
            remove_signatures=args.remove_signatures, **signing(args), **access(args),
        )
    )  # fmt: skip
    write_digest(args.digestfile, digest)
    return 0


def write_digest(path: str, digest: str) -> None:
    if path:
        try:
            with open(path, "w") as file:
                file.write(digest)
        except OSError as error:
            raise UsageError(f"--digestfile {path}: {error.strerror}") from None


# -- search
_SEARCH_HEADERS = {
    "Index": "INDEX", "Name": "NAME", "Description": "DESCRIPTION", "Stars": "STARS", "Official": "OFFICIAL",
    "Automated": "AUTOMATED", "Tag": "TAG",
}  # fmt: skip


def _search(app: App, args: Args) -> int:
    found: list[Found] = app.engine.call(
        ops.SearchImages(
            term=args.rest[0], limit=args.limit, filters=args.filter, list_tags=args.list_tags, **access(args)
        )
    )
    if args.list_tags and args.filter:
        raise UsageError("--filter cannot be used with --list-tags")
    if args.format and Format(args.format).is_json:
        print_rows(app, "json", _search_json(found, list_tags=args.list_tags), {})
        return 0
    rows = [
        {
            "Index": item.index, "Name": item.name, "Stars": item.stars, "Tag": item.tag,
            "Description": item.description if args.no_trunc or len(item.description) <= 44 else item.description[:44] + "...",
            "Official": "[OK]" if item.official else "", "Automated": "[OK]" if item.automated else "",
        }
        for item in found
    ]  # fmt: skip
    if args.format:
        print_rows(app, args.format, rows, _SEARCH_HEADERS)
        return 0
    columns = ["Name", "Tag"] if args.list_tags else ["Name", "Description"]
    if args.compatible and not args.list_tags:
        columns = ["Name", "Description", "Stars", "Official", "Automated"]
    if rows or not args.list_tags:
        app.out(table([[_SEARCH_HEADERS[c] for c in columns], *([str(row[c]) for c in columns] for row in rows)]))
    return 0


def _search_json(found: list[Found], *, list_tags: bool) -> list[dict[str, Any]]:
    if list_tags:
        groups: dict[str, list[str]] = {}
        for item in found:
            groups.setdefault(item.name, []).append(item.tag)
        return [{"Name": name, "Tags": tags} for name, tags in groups.items()]
    return [
        {
            "Index": item.index, "Name": item.name, "Description": item.description, "Stars": item.stars,
            "Official": "[OK]" if item.official else "", "Automated": "[OK]" if item.automated else "", "Tag": "",
        }
        for item in found
    ]  # fmt: skip


# -- login, logout
def _login(app: App, args: Args) -> int:
    registry = args.rest[0] if args.rest else ""
    if args.get_login:
        app.out(app.engine.call(ops.LoginName(registry=registry, authfile=args.authfile)))
        return 0
    if sum((bool(args.password), args.password_stdin, bool(args.secret))) > 1:
        raise UsageError("--password, --password-stdin and --secret exclude each other")
    user, password = args.username, args.password
    if args.secret:
        from podling.engine.catalogue.storage import InspectSecret

        secret, data = app.engine.call(InspectSecret(name=args.secret, reveal=True))
        user, password = user or secret.name, data.decode("utf-8", "replace").rstrip("\r\n")
    if args.password:
        app.warn("a password on the command line can be seen by others: use --password-stdin")
    if args.password_stdin:
        if not user:
            raise UsageError("must provide --username with --password-stdin")
        password = os.fdopen(os.dup(0), "rb").read().decode("utf-8", "replace").rstrip("\r\n")
    if not user:
        user = _prompt("Username: ")
    if not password:
        password = _prompt("Password: ", secret=True)
    key, where = app.engine.call(
        ops.Login(
            registry=registry, username=user, password=password, authfile=args.authfile, tls_verify=args.tls_verify,
            cert_dir=args.cert_dir, compat_auth_file=args.compat_auth_file,
        )
    )  # fmt: skip
    if args.verbose:
        app.out(f"Used: {where}")
    app.out("Login Succeeded!" if registry else f"Login Succeeded! ({key})")
    return 0


def _prompt(text: str, *, secret: bool = False) -> str:
    if not os.isatty(0):
        raise UsageError(
            "there is no terminal to ask for the user name and the password", hint="--username NAME --password-stdin"
        )
    if secret:
        import getpass

        return getpass.getpass(text)
    return input(text).strip()


def _logout(app: App, args: Args) -> int:
    if args.all and args.rest:
        raise UsageError("--all takes no arguments")
    registry = app.engine.call(
        ops.Logout(
            registry=args.rest[0] if args.rest else "", authfile=args.authfile, compat_auth_file=args.compat_auth_file,
            all=args.all,
        )
    )  # fmt: skip
    app.out("Removed login credentials for all registries" if args.all else f"Removed login credentials for {registry}")
    return 0


# -- trust, sign, scp
def _sign(app: App, args: Args) -> int:
    if not args.sign_by:
        raise UsageError("no identity provided: --sign-by names the GPG key")
    app.engine.call(
        ops.SignImages(
            names=[name.removeprefix("docker://") for name in args.rest], sign_by=args.sign_by, directory=args.directory,
            all=args.all, **access(args),
        )
    )  # fmt: skip
    return 0


def _show_trust(app: App, args: Args) -> int:
    from podling.oci import json

    raw, lines = app.engine.call(
        ops.ShowTrust(
            registry=args.rest[0] if args.rest else "", policy_path=args.policypath, registries_path=args.registrypath
        )
    )
    if args.raw:
        app.out(json.pretty(raw, 4))
    elif args.json:
        app.out(json.pretty([_trust_json(line) for line in lines], 2))
    else:
        rows = [[line.transport, line.name, line.type, ", ".join(line.ids), line.store] for line in lines]
        heading = [] if args.noheading else [["TRANSPORT", "NAME", "TYPE", "ID", "STORE"]]
        app.out(table([*heading, *rows]))
    return 0


def _trust_json(line: Trust) -> dict[str, Any]:
    document: dict[str, Any] = {"transport": line.transport, "name": line.name, "type": line.type}
    if line.name != "default":
        document["repo_name"] = line.name
    if line.store:
        document["sigstore"] = line.store
    if line.ids:
        document["gpg_id"] = ", ".join(line.ids)
    return document


def _set_trust(app: App, args: Args) -> None:
    app.engine.call(
        ops.SetTrust(registry=args.rest[0], type=args.type, keys=args.pubkeysfile, policy_path=args.policypath)
    )


def _scp(app: App, args: Args) -> int:
    app.quiet = args.quiet
    name = app.engine.call(ops.CopyImage(source=args.rest[0], target=args.rest[1] if len(args.rest) > 1 else ""))
    if not args.quiet:
        app.out(f"Loaded image: {name}")
    return 0


PULL = Command(
    _pull,
    "[options] IMAGE [IMAGE...]",
    "Fetches images from registries, or by transport from files and other stores, and prints their ids.",
    Flag("all-tags", "a", "bool", "Fetch every tag of the repository"),
    Flag("arch", "", "string", "Choose the image of this architecture"),
    AUTHFILE,
    CERT_DIR,
    CREDS,
    Flag("decryption-key", "", "list", "Private key for encrypted layers: PATH[:PASSWORD]", value="key"),
    Flag("os", "", "string", "Choose the image of this operating system"),
    Flag("platform", "", "string", "Choose the image of this platform, such as linux/arm64"),
    Flag("policy", "", "string", "When to fetch: always, missing, never, newer", "always"),
    Flag("quiet", "q", "bool", "Print the id only"),
    RETRY,
    RETRY_DELAY,
    CONTENT_TRUST,
    SIGNATURE_POLICY,
    TLS_VERIFY,
    Flag("variant", "", "string", "Choose the image of this variant"),
    least=1,
    examples=(
        "pull docker.io/library/alpine:3", "pull --platform linux/arm64 alpine", "pull oci-archive:alpine.tar",
        "pull containers-storage:alpine",
    ),
)  # fmt: skip
PUSH = Command(
    _push,
    "[options] IMAGE [DESTINATION]",
    "Sends an image to a registry, or by transport to a file or a folder.",
    AUTHFILE,
    CERT_DIR,
    Flag("compress", "", "bool", "Compress the layers of a dir: destination"),
    *WRITING,
    CREDS,
    Flag("digestfile", "", "string", "Write the digest of the manifest to this file", value="path"),
    Flag("encrypt-layer", "", "slice", "Encrypt only these layers: 0 is the lowest, -1 the highest"),
    Flag("encryption-key", "", "list", "Encrypt layers for this recipient: jwe:PATH of a public key", value="key"),
    Flag("format", "f", "string", "Manifest as oci or v2s2, instead of as it is"),
    QUIET,
    Flag("remove-signatures", "", "bool", "Leave signatures behind that the image came with"),
    RETRY,
    RETRY_DELAY,
    *SIGNING,
    CONTENT_TRUST,
    SIGNATURE_POLICY,
    TLS_VERIFY,
    least=1,
    most=2,
    examples=("push localhost/app registry.example.com/team/app:1", "push alpine oci-archive:alpine.tar:3"),
)
SEARCH = Command(
    _search,
    "[options] TERM",
    "Looks for repositories in registries, or with --list-tags for the tags of one.",
    AUTHFILE,
    CERT_DIR,
    Flag("compatible", "", "bool", "Show stars and the official mark too"),
    CREDS,
    Flag("filter", "f", "list", "Show only what matches KEY=VALUE: stars, is-official, is-automated"),
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("limit", "", "int", "At most so many results from each registry"),
    Flag("list-tags", "", "bool", "List the tags of the repository TERM"),
    Flag("no-trunc", "", "bool", "Do not cut descriptions"),
    TLS_VERIFY,
    least=1,
    most=1,
    examples=("search docker.io/alpine", "search --list-tags registry.example.com/team/app"),
)
LOGIN = Command(
    _login,
    "[options] [REGISTRY]",
    "Tries a user name and a password at a registry, and keeps them for later commands.",
    AUTHFILE,
    CERT_DIR,
    Flag("compat-auth-file", "", "string", "Path of a Docker configuration file to keep them in", value="path"),
    Flag("get-login", "", "bool", "Print who is logged in"),
    Flag("password", "p", "string", "Password; --password-stdin is safer"),
    Flag("password-stdin", "", "bool", "Read the password from standard input"),
    Flag("secret", "", "string", "Take the password from a secret"),
    TLS_VERIFY,
    Flag("username", "u", "string", "User name"),
    Flag("verbose", "v", "bool", "Show where the credentials are kept"),
    most=1,
    examples=("login registry.example.com", "login -u ann --password-stdin registry.example.com < password"),
)
LOGOUT = Command(
    _logout,
    "[options] [REGISTRY]",
    "Forgets the user name and the password for a registry.",
    Flag("all", "a", "bool", "Forget all"),
    AUTHFILE,
    Flag("compat-auth-file", "", "string", "Path of a Docker configuration file that has them", value="path"),
    most=1,
    examples=("logout registry.example.com", "logout --all"),
)
SIGN = Command(
    _sign,
    "[options] IMAGE [IMAGE...]",
    "Signs images that a registry holds, with a GPG key; signatures go to a folder or the store that registries.d names.",
    Flag("all", "a", "bool", "Sign every image of a manifest list"),
    AUTHFILE,
    CERT_DIR,
    Flag("directory", "d", "string", "Folder for the signatures", value="path"),
    Flag("sign-by", "", "string", "Name of the GPG key", value="key"),
    TLS_VERIFY,
    least=1,
    examples=("image sign --sign-by ann@example.com registry.example.com/team/app:1",),
)
TRUST_SHOW = Command(
    _show_trust,
    "[options] [REGISTRY]",
    "Shows the signature policy: all of it, or what it says of one registry.",
    Flag("json", "j", "bool", "Print as JSON"),
    Flag("noheading", "n", "bool", "Leave the table's heading out"),
    Flag("policypath", "", "string", "Path of the policy", value="path"),
    Flag("raw", "", "bool", "Print the policy as it is"),
    Flag("registrypath", "", "string", "Folder of the registries' signature stores", value="path"),
    most=1,
    examples=("image trust show", "image trust show --json registry.example.com"),
)
TRUST_SET = Command(
    _set_trust,
    "[options] REGISTRY",
    "Writes what the signature policy says of a registry, a namespace, an image, or `default`.",
    Flag("policypath", "", "string", "Path of the policy", value="path"),
    Flag("pubkeysfile", "f", "list", "Public key that images must be signed with", value="path"),
    Flag("type", "t", "string", "accept, reject, signedBy or sigstoreSigned", "signedBy"),
    least=1,
    most=1,
    examples=("image trust set -t reject default", "image trust set -t signedBy -f key.gpg registry.example.com"),
)
SCP = Command(
    _scp,
    "[options] IMAGE [HOST::]",
    "Copies an image between this store and a host's, over ssh, or another user's.",
    QUIET,
    least=1,
    most=2,
    examples=("image scp alpine ann@server::", "image scp server::alpine", "image scp alpine bob@localhost::"),
)
