"""unshare, doctor; system check, reset and migrate."""

from __future__ import annotations

import os

from podling.cli.command import Command
from podling.cli.flags import Flag
from podling.engine.catalogue import system as ops
from podling.errors import PodlingError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args
    from podling.core.check import Damage
    from podling.core.doctor import Finding


def _unshare(app: App, args: Args) -> int:
    app.engine.call(ops.EnterNamespace())
    argv = args.rest or [os.environ.get("SHELL") or "/bin/sh"]
    child = os.fork() if args.rootless_netns else 0
    if child:  # who waits here is not in that namespace, and can let it go afterwards
        while True:
            try:
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                break
            except KeyboardInterrupt:  # the command got it too
                continue
        app.engine.call(ops.LeaveNetwork(pid=child))
        return code if code >= 0 else 128 - code
    if args.rootless_netns:
        try:
            app.engine.call(ops.EnterNamespace(network=True))
        except PodlingError as error:
            app.error(error)
            os._exit(error.exit_code)
    else:
        app.close()
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        app.error(OSError(f"{argv[0]}: {error.strerror}"))
        return 127 if isinstance(error, FileNotFoundError) else 126


def _reset(app: App, args: Args) -> int:
    if not args.force:
        settings = app.engine.context.settings
        what = ("all containers", "all pods", "all images", "all networks", "all volumes", "all secrets")
        lines = [f"        - {item}" for item in what]
        lines += [f"        - the folder {settings.root}", f"        - the folder {settings.runroot}"]
        if not app.confirm("\n".join(["WARNING! This will remove:", *lines])):
            return 0
    app.engine.call(ops.ResetSystem())
    return 0


def _migrate(app: App, args: Args) -> int:
    for id in app.engine.call(ops.MigrateSystem(runtime=args.new_runtime)):
        app.out(f"stopped {id}")
    return 0


def _check(app: App, args: Args) -> int:
    found: list[Damage] = app.engine.call(
        ops.CheckSystem(content=not args.quick, repair=args.repair or args.force, force=args.force, max_age=args.max)
    )
    for damage in found:
        app.out(f"{damage.kind} {damage.id}: {damage.problem}" + (" (repaired)" if damage.repaired else ""))
    left = [damage for damage in found if not damage.repaired]
    if left:
        raise StateError(
            f"damage detected in local storage: {len(left)} of {len(found)} things are not repaired",
            hint="--force repairs containers too" if args.repair else "--repair removes what is damaged",
        )
    return 0


def _locks(app: App, args: Args) -> int:
    held = app.engine.call(ops.ListLocks())
    for kind, name in held:
        app.out(f"{kind} {name}: a command works on it")
    app.out("\nNo lock conflicts have been detected." if held else "No lock conflicts have been detected.")
    return 0


def _renumber(app: App, args: Args) -> int:
    return 0


def _doctor(app: App, args: Args) -> int:
    findings: list[Finding] = app.engine.examine()
    if args.json:
        from podling.oci import json

        app.out(json.pretty([finding.to_json() for finding in findings], 2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            app.out(f"{finding.state:<5} {finding.name:<{width}}  {finding.found}".rstrip())
            if finding.fix:
                app.out(f"      {'':<{width}}  fix: {finding.fix}")
    return 1 if any(finding.state == "fix" for finding in findings) else 0


LOCKS = Command(
    _locks, "", "Shows which containers, pods and volumes a command works on at this moment. Every object's lock is its own: conflicts\n"
    "cannot be.", most=0, examples=("system locks",),
)  # fmt: skip
RENUMBER = Command(
    _renumber, "", "Does nothing: a lock's number is the key of its object, so there are none to give anew. It is here for\n"
    "scripts that call it after an upgrade.", most=0, examples=("system renumber",),
)  # fmt: skip
UNSHARE = Command(
    _unshare, "[options] [COMMAND [ARG...]]",
    "Runs a command, or a shell, as root of the user namespace that this user's containers live in.",
    Flag("rootless-netns", "", "bool", "Be in the network namespace of this user's bridges too"), stop_at_argument=True,
    examples=("unshare", "unshare ls -l ~/.local/share/podling", "unshare cat /proc/self/uid_map"),
)  # fmt: skip
RESET = Command(
    _reset, "[options]", "Removes everything that this store has: containers, images, volumes, networks, secrets.",
    Flag("force", "f", "bool", "Do not ask"), most=0, examples=("system reset --force",),
)  # fmt: skip
CHECK = Command(
    _check, "[options]", "Compares database and files: layers by their content, images, containers, volumes.",
    Flag("force", "f", "bool", "Repair, and remove containers of damaged images too"),
    Flag("max", "m", "string", "Age of layers that nothing refers to, from which on they count", "24h", value="duration"),
    Flag("quick", "q", "bool", "Do not read the content of layers"),
    Flag("repair", "r", "bool", "Remove damaged images, and what nothing refers to"), most=0,
    examples=("system check", "system check --quick", "system check --repair"),
)  # fmt: skip
MIGRATE = Command(
    _migrate, "[options]",
    "Stops all containers, and has the next command make a user's namespace anew: after /etc/subuid was changed.",
    Flag("new-runtime", "", "string", "Give all containers another OCI runtime", value="runtime"), most=0,
    examples=("system migrate", "system migrate --new-runtime runc"),
)  # fmt: skip
DOCTOR = Command(
    _doctor, "[options]", "Checks what an engine needs of this host, and says what to do about what is missing.",
    Flag("json", "", "bool", "Print as JSON"), most=0, examples=("doctor", "doctor --json"),
)  # fmt: skip
