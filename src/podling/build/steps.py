"""The instructions of a stage, one function each. Those that only change the configuration are here; files.py and run.py make layers."""

from __future__ import annotations

import posixpath

from podling.build.containerfile import Instruction, parse
from podling.build.expand import expand, pairs, split
from podling.oci import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podling.build.builder import Builder, Performer
    from podling.build.state import State

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def perform(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    """Do one instruction.

    Raises:
        BuildError: it makes no sense, or its command failed.
    """
    if instruction.flags and instruction.name == "FROM":
        raise instruction.error("it takes no flags here")
    _STEPS[instruction.name](builder, state, instruction, performer)


def _words(state: State, instruction: Instruction, escape: str) -> list[str]:
    """The arguments, from a JSON list or separated by blanks, with their variables replaced."""
    listed = instruction.as_list()
    words = listed if listed is not None else split(instruction.text, escape)
    return [expand(word, state.variables, escape) for word in words]


def _command(state: State, instruction: Instruction) -> list[str]:
    listed = instruction.as_list()
    return listed if listed is not None else [*state.shell, instruction.text]


# -- variables
def _arg(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    for word in split(instruction.text, builder.escape):
        name, equals, value = word.partition("=")
        name = expand(name, state.variables, builder.escape)
        if name in builder.arguments:
            builder.used.add(name)
            state.arguments[name] = builder.arguments[name]
        elif equals:
            state.arguments[name] = expand(value, state.variables, builder.escape)
        elif name in builder.global_arguments:
            state.arguments[name] = builder.global_arguments[name]
        elif name in builder.platform_arguments:
            state.arguments[name] = builder.platform_arguments[name]
        else:
            state.arguments.pop(name, None)
    performer.note(state, instruction.shown)


def _env(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    found = pairs(instruction.text, state.variables, builder.escape)
    for name, value in found:
        if not name:
            raise instruction.error("a name is missing")
        state.set_env(name, value)
    performer.note(state, "ENV " + " ".join(f"{name}={value}" for name, value in found))


def _label(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    found = pairs(instruction.text, state.variables, builder.escape)
    state.config["Labels"] = {**(state.config.get("Labels") or {}), **dict(found)}
    performer.note(state, "LABEL " + " ".join(f"{name}={value}" for name, value in found))


# -- what runs
def _cmd(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    state.config["Cmd"] = _command(state, instruction)
    state.command_is_own = True
    performer.note(state, f"CMD {json.dumps(state.config['Cmd'])}")


def _entrypoint(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    state.config["Entrypoint"] = _command(state, instruction)
    if not state.command_is_own:
        state.config.pop("Cmd", None)
    performer.note(state, f"ENTRYPOINT {json.dumps(state.config['Entrypoint'])}")


def _shell(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    words = instruction.as_list()
    if not words:
        raise instruction.error('it takes a JSON list: SHELL ["executable", "parameter"]')
    state.shell = words
    if builder.options.format == "docker":
        state.config["Shell"] = words
    else:
        builder.warn_once(
            "SHELL is not part of the OCI image format: it counts in this build only (--format docker keeps it)"
        )
    performer.note(state, f"SHELL {json.dumps(words)}")


def _user(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    state.config["User"] = expand(instruction.text, state.variables, builder.escape)
    performer.note(state, f"USER {state.config['User']}")


def _stopsignal(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    from podling.core.parse import signal_number

    value = expand(instruction.text, state.variables, builder.escape)
    signal_number(value)
    state.config["StopSignal"] = value
    performer.note(state, f"STOPSIGNAL {value}")


def _healthcheck(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    kind, _, rest = instruction.text.partition(" ")
    if kind.upper() == "NONE":
        if rest.strip() or instruction.flags:
            raise instruction.error("HEALTHCHECK NONE takes no arguments")
        check: dict[str, Any] = {"Test": ["NONE"]}
    elif kind.upper() == "CMD":
        inner = Instruction("CMD", rest.strip(), instruction.line)
        listed = inner.as_list()
        if not inner.text:
            raise instruction.error("missing command after HEALTHCHECK CMD")
        check = {"Test": ["CMD", *listed] if listed is not None else ["CMD-SHELL", inner.text]}
    else:
        raise instruction.error(f"unknown type {kind!r} (try CMD or NONE)")
    names = {
        "interval": "Interval",
        "timeout": "Timeout",
        "start-period": "StartPeriod",
        "start-interval": "StartInterval",
    }
    for key, value in instruction.flags:
        if key == "retries" and value and value.isdigit() and int(value) >= 1:
            check["Retries"] = int(value)
        elif key in names:
            check[names[key]] = _duration(instruction, key, value or "")
        else:
            raise instruction.error(
                f"--{key}={value}: unknown, or not a number",
                hint="--interval, --timeout, --start-period, --start-interval, --retries",
            )
    if builder.options.format == "docker":
        state.config["Healthcheck"] = check
    else:
        builder.warn_once("HEALTHCHECK is not part of the OCI image format and will be ignored: use --format docker")
    performer.note(state, instruction.shown)


def _duration(instruction: Instruction, key: str, text: str) -> int:
    import re

    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise instruction.error(f"--{key}={text}: not a duration, such as 30s or 1m30s")
    return int(sum(float(number) * _UNITS[unit] for number, unit in parts))


# -- what is said of the image
def _expose(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    ports = dict(state.config.get("ExposedPorts") or {})
    for word in [item for text in _words(state, instruction, builder.escape) for item in text.split()]:
        port, _, protocol = word.partition("/")
        first, _, last = port.rpartition(":")[2].partition("-")
        if not first.isdigit() or (last and not last.isdigit()) or not 0 < int(first) <= int(last or first) < 65536:
            raise instruction.error(f"invalid port: {word}")
        for number in range(int(first), int(last or first) + 1):
            ports[f"{number}/{(protocol or 'tcp').lower()}"] = {}
    state.config["ExposedPorts"] = ports
    performer.note(state, instruction.shown)


def _volume(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    volumes = dict(state.config.get("Volumes") or {})
    for word in _words(state, instruction, builder.escape):
        if not word:
            raise instruction.error("VOLUME specified can not be an empty string")
        volumes[word] = {}
    state.config["Volumes"] = volumes
    performer.note(state, instruction.shown)


def _maintainer(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    state.document["author"] = instruction.text
    performer.note(state, instruction.shown)


def _onbuild(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    trigger = parse(_with_heredocs(instruction)).instructions[0]
    if trigger.name in ("ONBUILD", "FROM", "MAINTAINER"):
        raise instruction.error(f"{trigger.name} isn't allowed as an ONBUILD trigger")
    if builder.options.format == "docker":
        state.config["OnBuild"] = [*(state.config.get("OnBuild") or []), _with_heredocs(instruction)]
    else:
        builder.warn_once("ONBUILD is not part of the OCI image format and will be ignored: use --format docker")
    performer.note(state, instruction.shown)


def _with_heredocs(instruction: Instruction) -> str:
    return "\n".join([instruction.text, *(f"{doc.content}{doc.name}" for doc in instruction.heredocs)])


# -- what makes layers
def _workdir(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    from podling.build import files

    path = expand(instruction.text, state.variables, builder.escape)
    state.config["WorkingDir"] = posixpath.normpath(posixpath.join(state.workdir, path))
    files.make_folder(builder, state, state.workdir, f"WORKDIR {state.workdir}", performer)


def _copy(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    from podling.build import files

    files.copy(builder, state, instruction, performer)


def _run(builder: Builder, state: State, instruction: Instruction, performer: Performer) -> None:
    from podling.build import run

    run.run(builder, state, instruction, performer)


_STEPS: dict[str, Callable[[Builder, State, Instruction, Performer], None]] = {
    "ADD": _copy, "ARG": _arg, "CMD": _cmd, "COPY": _copy, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck, "LABEL": _label, "MAINTAINER": _maintainer, "ONBUILD": _onbuild, "RUN": _run, "SHELL": _shell,
    "STOPSIGNAL": _stopsignal, "USER": _user, "VOLUME": _volume, "WORKDIR": _workdir,
}  # fmt: skip
