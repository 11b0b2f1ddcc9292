"""Help texts in Podman's layout."""

from __future__ import annotations

from podling.cli import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.command import Command
    from podling.cli.flags import Flag

_VALUES = {"string": "string", "int": "int", "float": "float", "list": "stringArray", "slice": "strings"}
_HIDDEN = {"container cleanup"}


def _wrapped(lines: list[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in lines) + 3
    return "\n".join(f"{left.ljust(width)}{right}".rstrip() for left, right in lines)


def _flag_lines(flags: tuple[Flag, ...]) -> list[tuple[str, str]]:
    lines = []
    for flag in sorted((flag for flag in flags if not flag.hidden), key=lambda flag: flag.name):
        left = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
        if flag.kind in _VALUES:
            left += f" {flag.value or _VALUES[flag.kind]}"
        shown = (
            "" if flag.default in (None, "", 0, 0.0, False, -1) or flag.default == [] else f" (default {flag.default})"
        )
        lines.append((left, flag.help + shown))
    return lines


def command_help(path: str, command: Command) -> str:
    summary = table.COMMANDS[path][2]
    parts = [
        summary,
        "",
        "Description:",
        f"  {command.description}",
        "",
        "Usage:",
        f"  podling {path} {command.usage}".rstrip(),
        "",
    ]
    if command.examples:
        parts += ["Examples:", *(f"  podling {example}" for example in command.examples), ""]
    parts += ["Options:", _wrapped(_flag_lines(command.flags)), ""]
    return "\n".join(parts)


def group_help(path: str) -> str:
    """The commands of a group, or of the whole program."""
    if path:
        title, usage = table.GROUPS[path], f"podling {path} [command]"
        start = len(path) + 1
        names = {
            name[start:]: entry
            for name, entry in table.COMMANDS.items()
            if name.startswith(path + " ") and " " not in name[start:] and name not in _HIDDEN
        }
        inner = {name[start:]: summary for name, summary in table.GROUPS.items() if name.startswith(path + " ")}
        names.update({name: ("", "", summary) for name, summary in inner.items()})
    else:
        title, usage = "Manage containers and images without a daemon", "podling [options] [command]"
        names = {name: entry for name, entry in table.COMMANDS.items() if " " not in name}
        names.update({name: ("", "", summary) for name, summary in table.GROUPS.items() if " " not in name})
    commands = [(f"  {name}", names[name][2]) for name in sorted(names)]
    parts = [title, "", "Usage:", f"  {usage}", "", "Available Commands:", _wrapped(commands), ""]
    if not path:
        parts += ["Options:", _wrapped(_flag_lines(table.GLOBAL_FLAGS)), ""]
    return "\n".join(parts)


def unknown_command(path: str, name: str) -> str:
    import difflib

    prefix = f"{path} " if path else ""
    if name.startswith("-"):
        return f"Error: unknown flag: {name}\nSee 'podling {prefix}--help'\n"
    known = [
        command.removeprefix(prefix) for command in (*table.COMMANDS, *table.ALIASES) if command.startswith(prefix)
    ]
    known = [command for command in known if " " not in command] + ([] if path else list(table.GROUPS))
    close = difflib.get_close_matches(name, known, 3, 0.6)
    text = f"Error: unrecognized command `podling {prefix}{name}`\n"
    if close:
        text += "\nDid you mean this?\n" + "".join(f"\t{command}\n" for command in dict.fromkeys(close)) + "\n"
    return text + f"Try 'podling {prefix}--help' for more information\n"
