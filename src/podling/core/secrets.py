"""Secrets: small texts for containers, kept where their driver keeps them; never in the database, in logs or in `inspect`.

Drivers: file (a file of mode 0600 in the store), pass (the program of that name), shell (commands of the user's).
"""

from __future__ import annotations

import os

from podling.config import containers
from podling.core.store_options import SecretOptions
from podling.errors import InvalidInput, NameInUse, NotFound, PodlingError
from podling.oci import json
from podling.oci.record import Record
from podling.state.database import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.core.context import Context

DRIVERS = ("file", "pass", "shell")
_LIMIT = 512_000
_FIELDS = "id, name, driver, options, labels, created, updated"


class NoSuchSecret(NotFound):
    reference = "no-such-secret"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no secret with name or id {name!r}: no such secret", hint="`podling secret ls` lists the secrets",
            cause="no such secret",
        )  # fmt: skip


class Secret(Record):
    """What is known of a secret; times in nanoseconds."""

    id: str
    name: str
    driver: str
    options: dict[str, str]
    labels: dict[str, str]
    created: int
    updated: int


def _secret(row: tuple[Any, ...]) -> Secret:
    return Secret(
        id=row[0], name=row[1], driver=row[2], options=json.loads(row[3]), labels=json.loads(row[4]), created=row[5], updated=row[6]
    )  # fmt: skip


def find(ctx: Context, name: str) -> Secret:
    """The secret of that name, id, or beginning of an id.

    Raises:
        NoSuchSecret, InvalidInput: several ids begin so.
    """
    rows = ctx.db.rows(f"SELECT {_FIELDS} FROM secrets WHERE name=? OR id=?", name, name)
    if not rows and len(name) >= 3:
        rows = ctx.db.rows(f"SELECT {_FIELDS} FROM secrets WHERE substr(id, 1, ?)=?", len(name), name)
    if len(rows) > 1:
        raise InvalidInput(f"several secrets begin with {name!r}", hint="give more of the id")
    if not rows:
        raise NoSuchSecret(name)
    return _secret(rows[0])


def list_secrets(ctx: Context, filters: list[str]) -> list[Secret]:
    """Secrets by name."""
    import re

    from podling.core.filters import split

    wanted = split(filters, ("name", "id"))
    found = [_secret(row) for row in ctx.db.rows(f"SELECT {_FIELDS} FROM secrets ORDER BY name")]
    return [
        secret
        for secret in found
        if ("name" not in wanted or any(re.search(value, secret.name) for value in wanted["name"]))
        and ("id" not in wanted or any(secret.id.startswith(value) for value in wanted["id"]))
    ]


def create(ctx: Context, name: str, data: bytes, wanted: SecretOptions) -> str:
    """Keep a secret; its id.

    Raises:
        NameInUse, InvalidInput. PodlingError: the driver failed; nothing is kept then.
    """
    from podling.core.parse import pairs

    if not name or len(name) > 253 or any(letter in name for letter in "/,=\0") or name.strip() != name:
        raise InvalidInput(
            f"secret name {name!r} can not include '=', '/', ',', or the NULL byte, and be at most 253 characters"
        )
    if not 0 < len(data) < _LIMIT:
        raise InvalidInput(f"a secret has between 1 and {_LIMIT - 1} bytes")
    if wanted.driver == "file" and not wanted.options:
        wanted.driver = containers.load().text("secrets", "driver", "file")
        wanted.options = [f"{key}={value}" for key, value in (containers.load().get("secrets", "opts") or {}).items()]
    if wanted.driver not in DRIVERS:
        raise InvalidInput(
            f"secret driver {wanted.driver!r} is not known", hint=f"the drivers are {', '.join(DRIVERS)}"
        )
    options = pairs([part for text in wanted.options for part in text.split(",")], "--driver-opts")
    labels = pairs(wanted.labels, "--label")
    old = ctx.db.row(f"SELECT {_FIELDS} FROM secrets WHERE name=?", name)
    if old and wanted.ignore:
        return str(old[0])
    if old and not wanted.replace:
        raise NameInUse(f"{name}: secret name in use", hint="choose another name, --replace or --ignore")
    id = os.urandom(13).hex()[:25]
    _keep(ctx, wanted.driver, options, id, data)
    try:
        with ctx.db.write() as tx:
            if old:
                tx.run("DELETE FROM secrets WHERE id=?", old[0])
            tx.run(
                f"INSERT INTO secrets ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                id, name, wanted.driver, json.dumps(options), json.dumps(labels), now(), now(),
            )  # fmt: skip
            tx.event("secret", "create", id, name)
    except BaseException:
        _forget(ctx, wanted.driver, options, id)
        raise
    if old:
        previous = _secret(old)
        _forget(ctx, previous.driver, previous.options, previous.id)
    return id


def remove(ctx: Context, name: str) -> str:
    """Remove a secret; its id."""
    secret = find(ctx, name)
    with ctx.db.write() as tx:
        tx.run("DELETE FROM secrets WHERE id=?", secret.id)
        tx.event("secret", "remove", secret.id, secret.name)
    _forget(ctx, secret.driver, secret.options, secret.id)
    return secret.id


def reveal(ctx: Context, secret: Secret) -> bytes:
    """What the secret says."""
    if secret.driver == "file":
        try:
            with open(_path(ctx, secret.id), "rb") as file:
                return file.read()
        except OSError as error:
            raise PodlingError(
                f"secret {secret.name}: {error.strerror}", hint="create it anew with --replace"
            ) from None
    if secret.driver == "pass":
        return _pass(secret.options, ["show", _pass_name(secret.options, secret.id)], b"")
    return _shell(secret.options, "lookup", secret.id, b"")


# -- drivers
def _path(ctx: Context, id: str) -> str:
    return f"{ctx.settings.root}/secrets/{id}"


def _keep(ctx: Context, driver: str, options: dict[str, str], id: str, data: bytes) -> None:
    if driver == "pass":
        _pass(options, ["insert", "--multiline", "--force", _pass_name(options, id)], data)
    elif driver == "shell":
        _shell(options, "store", id, data)
    else:
        os.makedirs(f"{ctx.settings.root}/secrets", 0o700, exist_ok=True)
        fd = os.open(_path(ctx, id), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)


def _forget(ctx: Context, driver: str, options: dict[str, str], id: str) -> None:
    if driver == "pass":
        _pass(options, ["rm", "--force", _pass_name(options, id)], b"")
    elif driver == "shell":
        _shell(options, "delete", id, b"")
    else:
        try:
            os.unlink(_path(ctx, id))
        except FileNotFoundError:
            pass


def _pass_name(options: dict[str, str], id: str) -> str:
    return f"{options['root']}/{id}" if options.get("root") and not options["root"].startswith("/") else id


def _pass(options: dict[str, str], arguments: list[str], data: bytes) -> bytes:
    import shutil
    import subprocess

    program = shutil.which("pass")
    if not program:
        from podling.errors import ProgramMissing

        raise ProgramMissing("pass is not installed, and the secret driver pass needs it", hint="apt install pass")
    env = dict(os.environ)
    if options.get("root", "").startswith("/"):
        env["PASSWORD_STORE_DIR"] = options["root"]
    if options.get("gpghomedir"):
        env["GNUPGHOME"] = options["gpghomedir"]
    done = subprocess.run([program, *arguments], input=data, capture_output=True, env=env)
    if done.returncode:
        raise PodlingError(f"pass {arguments[0]}: {done.stderr.decode('utf-8', 'replace').strip()[-300:]}")
    return done.stdout


def _shell(options: dict[str, str], action: str, id: str, data: bytes) -> bytes:
    """The user's command for an action, with SECRET_ID in its environment and the secret on standard input."""
    import subprocess

    command = options.get(action)
    if not command:
        raise InvalidInput(
            f"the secret driver shell needs the option {action}", hint="list, lookup, store and delete are commands"
        )
    done = subprocess.run(
        ["/bin/sh", "-c", command], input=data, capture_output=True, env={**os.environ, "SECRET_ID": id}
    )
    if done.returncode:
        raise PodlingError(f"the {action} command of a secret failed with code {done.returncode}")
    return done.stdout
