"""secret create, ls, inspect, rm, exists."""

from __future__ import annotations

import os
import time

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError
from podling.cli.output import Format, print_rows, table
from podling.engine import shapes
from podling.engine.catalogue import storage as ops
from podling.engine.shapes import ago

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.secrets import Secret

_HEADERS = {"ID": "ID", "Name": "NAME", "Driver": "DRIVER", "CreatedAt": "CREATED", "UpdatedAt": "UPDATED"}


def _create(app: App, args: Args) -> int:
    name, source = args.rest
    if args.env:
        if source not in os.environ:
            raise UsageError(f"cannot create store secret data: environment variable {source} is not set")
        data = os.environb[source.encode()]
    elif source == "-":
        if os.isatty(0):
            raise UsageError(
                "a secret is not read from a terminal", hint="pipe it: printf %s … | podling secret create NAME -"
            )
        data = os.fdopen(os.dup(0), "rb").read()
    else:
        try:
            with open(source, "rb") as file:
                data = file.read()
        except OSError as error:
            raise UsageError(f"{source}: {error.strerror}") from None
    options = ops.SecretOptions(
        driver=args.driver, options=args.driver_opts, labels=args.label, replace=args.replace, ignore=args.ignore
    )
    app.out(app.engine.call(ops.CreateSecret(name=name, data=data, options=options)))
    return 0


def _ls(app: App, args: Args) -> int:
    found: list[Secret] = app.engine.call(ops.ListSecrets(filters=args.filter))
    if args.quiet:
        if found:
            app.out("\n".join(secret.id for secret in found))
        return 0
    now = time.time_ns()
    rows: list[dict[str, Any]] = [
        {
            "ID": secret.id, "Name": secret.name, "Driver": secret.driver, "CreatedAt": ago(secret.created, now),
            "UpdatedAt": ago(secret.updated, now),
        }
        for secret in found
    ]  # fmt: skip
    if args.format:
        print_rows(app, args.format, rows, _HEADERS, heading=not args.noheading)
        return 0
    heading = [] if args.noheading else [list(_HEADERS.values())]
    lines = [*heading, *([row[column] for column in _HEADERS] for row in rows)]
    if lines:
        app.out(table(lines))
    return 0


def _inspect(app: App, args: Args) -> int:
    errors: list[Exception] = []
    documents = []
    for name in args.rest:
        try:
            secret, data = app.engine.call(ops.InspectSecret(name=name, reveal=args.showsecret))
            documents.append(shapes.secret(secret, data if args.showsecret else None))
        except Exception as error:
            from podling.errors import PodlingError

            if not isinstance(error, PodlingError):
                raise
            errors.append(error)
    if args.pretty:
        if args.format:
            raise UsageError("--format and --pretty exclude each other")
        for document in documents:
            app.out(_pretty(document))
    elif args.format and not Format(args.format).is_json:
        print_rows(app, args.format, documents, {}, shape="secret")
    elif documents or not errors:
        from podling.oci import json

        app.out(json.pretty(documents, 4))
    return app.report([], errors)


def _pretty(document: dict[str, Any]) -> str:
    spec = document["Spec"]
    rows = [
        ["ID:", document["ID"]], ["Name:", spec["Name"]], ["Labels:", " ".join(f"{k}={v}" for k, v in spec["Labels"].items())],
        ["Driver:", spec["Driver"]["Name"]], ["Created:", document["CreatedAt"]], ["Updated:", document["UpdatedAt"]],
    ]  # fmt: skip
    if "SecretData" in document:
        rows.append(["Secret:", document["SecretData"]])
    return table(rows)


def _rm(app: App, args: Args) -> int:
    if bool(args.rest) == args.all:
        raise UsageError("name one or more secrets, or --all")
    report = app.engine.call(ops.RemoveSecrets(names=args.rest, all=args.all, ignore=args.ignore))
    return app.report(report.done, report.errors)


def _exists(app: App, args: Args) -> int:
    from podling.errors import NotFound

    try:
        app.engine.call(ops.InspectSecret(name=args.rest[0]))
    except NotFound:
        return 1
    return 0


CREATE = Command(
    _create,
    "[options] NAME FILE|-",
    "Keeps a secret, from a file, standard input, or with --env a variable; prints its id.",
    Flag("driver", "d", "string", "Driver: file, pass, or shell", "file"),
    Flag("driver-opts", "", "slice", "Options of the driver (KEY=VALUE)"),
    Flag("env", "", "bool", "FILE is the name of an environment variable"),
    Flag("ignore", "", "bool", "It is no error when the secret exists"),
    Flag("label", "l", "list", "Add a label (KEY=VALUE)"),
    Flag("replace", "", "bool", "Replace a secret of that name"),
    least=2,
    most=2,
    examples=("secret create token token.txt", "printf %s $TOKEN | podling secret create token -"),
)
LS = Command(
    _ls,
    "[options]",
    "Lists secrets.",
    Flag("filter", "f", "list", "Only secrets that match KEY=VALUE: name, id"),
    Flag("format", "", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("noheading", "n", "bool", "Leave the table's heading out"),
    Flag("quiet", "q", "bool", "Print the ids only"),
    most=0,
    examples=("secret ls",),
)
INSPECT = Command(
    _inspect,
    "[options] SECRET [SECRET...]",
    "Shows what is known of secrets, with --showsecret also what they say.",
    Flag("format", "f", "string", 'Print as JSON ("json") or with a Go template'),
    Flag("pretty", "", "bool", "Print for people"),
    Flag("showsecret", "", "bool", "Show what the secret says"),
    least=1,
    examples=("secret inspect token",),
)
RM = Command(
    _rm,
    "[options] SECRET [SECRET...]",
    "Removes secrets.",
    Flag("all", "a", "bool", "Remove all secrets"),
    Flag("ignore", "i", "bool", "It is no error when a secret does not exist"),
    examples=("secret rm token",),
)
EXISTS = Command(_exists, "SECRET", "Ends with 0 when the secret exists, else with 1.", least=1, most=1)
