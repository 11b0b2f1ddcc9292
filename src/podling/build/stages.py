"""The stages of a Containerfile, and which of them a target needs."""

from __future__ import annotations

from podling.build.containerfile import BuildError, Containerfile, Instruction
from podling.build.expand import expand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Stage:
    """From a FROM to the next. `base` is what FROM names, with its variables replaced; `name` is that of AS, or ""."""

    def __init__(self, index: int, base: str, name: str, platform: str, origin: Instruction) -> None:
        self.index, self.base, self.name, self.platform, self.origin = index, base, name, platform, origin
        self.instructions: list[Instruction] = []

    def is_called(self, text: str) -> bool:
        return text.lower() == self.name.lower() if self.name else text == str(self.index)

    @property
    def shown(self) -> str:
        return self.name or str(self.index)


def split(
    file: Containerfile, given: Mapping[str, str], platform_args: Mapping[str, str]
) -> tuple[dict[str, str], list[Stage]]:
    """(the ARGs before the first FROM, the stages). `given` are the values of --build-arg.

    Raises:
        BuildError: an instruction before FROM, or a FROM that makes no sense.
    """
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for instruction in file.instructions:
        if instruction.name == "FROM":
            stages.append(_stage(len(stages), instruction, {**platform_args, **arguments}, file.escape))
        elif stages:
            stages[-1].instructions.append(instruction)
        elif instruction.name == "ARG":
            from podling.build.expand import split as words

            for word in words(instruction.text, file.escape):
                name, equals, value = word.partition("=")
                if name in given:
                    arguments[name] = given[name]
                elif equals:
                    arguments[name] = expand(value, {**platform_args, **arguments}, file.escape)
        else:
            raise instruction.error("no build stage in current context: FROM comes first")
    if not stages:
        raise BuildError("the Containerfile has no FROM")
    return arguments, stages


def _stage(index: int, instruction: Instruction, variables: Mapping[str, str], escape: str) -> Stage:
    words = instruction.text.split()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise instruction.error("it takes an image, and AS with a name: FROM IMAGE [AS NAME]")
    platform = ""
    for key, value in instruction.flags:
        if key != "platform" or not value:
            raise instruction.error(f"unknown flag: --{key}", hint="FROM has --platform=OS/ARCHITECTURE")
        platform = expand(value, variables, escape)
    base = expand(words[0], variables, escape)
    if not base:
        raise instruction.error(
            f"base name ({words[0]}) should not be blank", hint="an ARG before it, or --build-arg, gives it a value"
        )
    return Stage(index, base, words[2] if len(words) == 3 else "", platform, instruction)


def chosen(stages: list[Stage], target: str) -> Stage:
    """The stage that --target names; the last one without it.

    Raises:
        BuildError: there is no such stage.
    """
    if not target:
        return stages[-1]
    for stage in stages:
        if stage.is_called(target) or target == str(stage.index):
            return stage
    names = ", ".join(stage.shown for stage in stages)
    raise BuildError(
        f"the target {target!r} was not found in the provided Containerfile", hint=f"the stages are {names}"
    )


def before(stages: list[Stage], stage: Stage, text: str) -> Stage | None:
    """The earlier stage that `text` names."""
    for other in reversed(stages[: stage.index]):
        if other.is_called(text) or text == str(other.index):
            return other
    return None


def needed(stages: list[Stage], target: Stage) -> list[Stage]:
    """The target and what it is made of, in order."""
    wanted: set[int] = set()

    def want(stage: Stage) -> None:
        if stage.index in wanted:
            return
        wanted.add(stage.index)
        for text in _sources(stage):
            other = before(stages, stage, text)
            if other:
                want(other)

    want(target)
    return [stage for stage in stages if stage.index in wanted]


def _sources(stage: Stage) -> list[str]:
    found = [stage.base]
    for instruction in stage.instructions:
        for key, value in instruction.flags:
            if key == "from" and value:
                found.append(value)
            elif key == "mount" and value:
                found += [part.partition("=")[2] for part in value.split(",") if part.startswith("from=")]
    return found
