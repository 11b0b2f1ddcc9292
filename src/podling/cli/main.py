"""The entry point: find the command, parse its flags, run it, turn errors into text and exit codes."""

from __future__ import annotations

import gc
import os
import sys

from podling import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from podling.cli.app import App
    from podling.cli.command import Command
    from podling.cli.flags import Args


def main() -> NoReturn:
    """Run the command line in `sys.argv` and exit."""
    gc.set_threshold(20_000)  # 700, the default, has a short command look for cycles a dozen times: a ms for nothing
    argv = sys.argv[1:]
    if argv in (["--version"], ["-v"]):  # before anything is imported
        os.write(1, f"podling version {__version__}\n".encode())
        os._exit(0)
    code = run(argv)
    _flush()
    os._exit(code)  # skips the interpreter's own tidying up: a few ms, and nothing here needs it


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                pass


def run(argv: list[str]) -> int:
    """Run one command line; its exit code."""
    from podling.cli.app import App, describe, to_syslog, write
    from podling.errors import PodlingError

    options: Args | None = None
    app: App | None = None
    try:
        from podling.cli import table
        from podling.cli.flags import UsageError, parse

        if argv[:1] in (
            ["__complete"],
            ["__completeNoDesc"],
        ):  # its words are another command line: none is an option of ours
            from podling.cli.commands.completion import answer

            return answer(argv[1:], described=argv[0] == "__complete")
        options = parse(argv, table.GLOBAL_FLAGS, stop_at_argument=True)
        table.check_globals(options)
        if options.version:
            write(1, f"podling version {__version__}\n")
            return 0
        path, rest = table.resolve(options.rest)
        if options.help and path in table.COMMANDS:
            rest = ["--help"]
        if path not in table.COMMANDS:
            return _group(path, rest, options.help or not rest)
        command = table.load(path)
        try:
            args = parse(
                rest, command.flags, stop_at_argument=command.stop_at_argument, outer=(table.GLOBAL_FLAGS, options)
            )
            table.check_globals(options)
            if args.help:
                from podling.cli.help import command_help

                write(1, command_help(path, command))
                return 0
            command.check(path, args)
        except UsageError as error:
            write(2, describe(error) + f"See 'podling {path} --help'\n")
            return 125
        if options.noout or options.out:
            _redirect(options.out)
        app = App(options, path, argv)
        if options.cpu_profile or options.memory_profile:
            return _profiled(command, app, args)
        return command.run(app, args) or 0
    except PodlingError as error:
        if options is not None and options.log_level in ("debug", "trace"):
            import traceback

            traceback.print_exc()
        if options is not None and options.syslog:
            to_syslog(str(error))
        write(2, describe(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except OSError as error:
        if options is not None and options.log_level in ("debug", "trace"):
            raise
        return _system_error(error)
    except Exception as error:  # a fault of ours: a person gets one line, and the way to the rest
        if options is not None and options.log_level in ("debug", "trace"):
            raise
        write(
            2,
            f"Error: internal fault: {type(error).__name__}: {error}\nHint: please report it with what --log-level=debug prints\n",
        )
        return 125
    finally:
        if app is not None:
            app.close()


def _profiled(command: Command, app: App, args: Args) -> int:
    """--cpu-profile, --memory-profile: what the standard library's profilers saw, for `python -m pstats` and for reading."""
    options = app.options
    if options.memory_profile:
        import tracemalloc

        tracemalloc.start()
    try:
        if not options.cpu_profile:
            return command.run(app, args) or 0
        import cProfile

        profile = cProfile.Profile()
        try:
            return profile.runcall(command.run, app, args) or 0
        finally:
            profile.dump_stats(options.cpu_profile)
    finally:
        if options.memory_profile:
            with open(options.memory_profile, "w") as file:
                file.writelines(f"{entry}\n" for entry in tracemalloc.take_snapshot().statistics("lineno"))


def _redirect(path: str) -> None:
    """--out FILE, --noout: standard output goes there, of this process and of those that it starts."""
    try:
        file = os.open(path or "/dev/null", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except OSError as error:
        from podling.cli.flags import UsageError

        raise UsageError(f"--out {path}: {error.strerror}") from None
    os.dup2(file, 1)
    os.close(file)


def _system_error(error: OSError) -> int:
    """The kernel refused something that no part of the engine had reckoned with."""
    import errno

    from podling.cli.app import write

    hint = (
        "free some space on that file system"
        if error.errno in (errno.ENOSPC, errno.EDQUOT)
        else "--log-level=debug shows where"
    )
    name = f" {error.filename}" if error.filename else ""
    write(2, f"Error: {error.strerror or error}{':' if name else ''}{name}\nHint: {hint}\n")
    return 125


def _group(path: str, rest: list[str], wants_help: bool) -> int:
    """A command group without a command: its help; with an unknown one: the nearest."""
    from podling.cli.app import write
    from podling.cli.help import group_help, unknown_command

    if wants_help or rest[0] in ("--help", "-h", "help"):
        write(1, group_help(path))
        return 0
    write(2, unknown_command(path, rest[0]))
    return 125
