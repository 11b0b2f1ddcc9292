"""container runlabel: the command that an image carries in a label."""

from __future__ import annotations

import os

from podling.cli.command import Command
from podling.cli.flags import Flag
from podling.engine.catalogue import images as ops
from podling.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args


def _runlabel(app: App, args: Args) -> int:
    label, image, *extra = args.rest
    app.quiet = args.quiet
    policy = "always" if args.pull and "pull" in args.given else "missing"
    app.engine.call(
        ops.PullImage(
            name=image, policy=policy, signature_policy=args.signature_policy, creds=args.creds, authfile=args.authfile,
            cert_dir=args.cert_dir, tls_verify=args.tls_verify,
        )
    )  # fmt: skip
    document = app.engine.call(ops.InspectImage(name=image))
    text = (document["Config"].get("Labels") or {}).get(label)
    if not text:
        raise NotFound(f"cannot find the value of label: {label} in image: {image}")
    name = args.name or document["RepoTags"][0].rpartition("/")[2].partition(":")[0]
    opts = {f"OPT{number}": args.__dict__[f"opt{number}"] for number in (1, 2, 3)}
    words = _words(text, image=image, name=name, extra=extra, opts=opts)
    if args.replace and "run" in words[:3]:
        words.insert(words.index("run") + 1, "--replace")
    if args.display or not args.quiet:
        app.out("command: " + " ".join(words))
    if args.display:
        return 0
    argv = _own(words)
    app.close()
    try:
        os.execvpe(argv[0], argv, {**os.environ, "NAME": name, "IMAGE": image, "PODMAN_RUNLABEL_NESTED": "1"})
    except OSError as error:
        raise NotFound(f"the label {label} runs {argv[0]}: {error.strerror}") from None


def _words(text: str, *, image: str, name: str, extra: list[str], opts: dict[str, str]) -> list[str]:
    """The label's command, with IMAGE, NAME and variables replaced."""
    import shlex
    import string

    values = {
        **os.environ,
        **opts,
        "IMAGE": image,
        "NAME": name,
        "PWD": os.getcwd(),
        "LOGNAME": os.environ.get("USER", ""),
    }
    words = [string.Template(word).safe_substitute(values) for word in shlex.split(text)]
    plain = {"IMAGE": image, "<image>": image, "NAME": name, "<name>": name}
    words = [plain.get(word, word) for word in words]
    return words + extra


def _own(words: list[str]) -> list[str]:
    """A command of podman's or docker's is ours."""
    import sys

    if os.path.basename(words[0]) in ("podman", "docker", "podling"):
        return [sys.executable, "-m", "podling", *words[1:]]
    return words


RUNLABEL = Command(
    _runlabel, "[options] LABEL IMAGE [ARG...]", "Runs the command that an image carries in a label.",
    Flag("authfile", "", "string", "Path of the authentication file", value="path"),
    Flag("cert-dir", "", "string", "Folder with certificates of the registry", value="path"),
    Flag("creds", "", "string", "Credentials: USER[:PASSWORD]"),
    Flag("display", "", "bool", "Show the command, and do not run it"),
    Flag("name", "n", "string", "What NAME in the command stands for"),
    *(Flag(f"opt{number}", "", "string", "What $OPT in the command stands for", hidden=True) for number in (1, 2, 3)),
    Flag("pull", "p", "bool", "Fetch the image first", True, hidden=True),
    Flag("quiet", "q", "bool", "Show neither the command nor how the image is fetched"),
    Flag("replace", "", "bool", "Replace a container that has the name"),
    Flag("signature-policy", "", "string", "Path of a signature policy", hidden=True),
    Flag("tls-verify", "", "tristate", "Check the registry's certificate"),
    least=2, stop_at_argument=True, examples=("container runlabel install localhost/tool",),
)  # fmt: skip
