"""A command: its flags, its help, the function that runs it."""

from __future__ import annotations

from podling.cli.flags import Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podling.cli.app import App
    from podling.cli.flags import Args


class Command:
    """`usage` is what follows the command's name in the usage line; `least` and `most` count arguments (-1: any number)."""

    def __init__(
        self, run: Callable[[App, Args], int | None], usage: str, description: str, *flags: Flag, least: int = 0, most: int = -1,
        stop_at_argument: bool = False, examples: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.run = run
        self.usage = usage
        self.description = description
        self.flags = (*flags, HELP if all(flag.short != "h" for flag in flags) else LONG_HELP)
        self.least, self.most = least, most
        self.stop_at_argument = stop_at_argument
        self.examples = examples

    def check(self, path: str, args: Args) -> None:
        """The number of arguments.

        Raises:
            UsageError: too few, too many.
        """
        count = len(args.rest)
        if count < self.least:
            plural = "s" if self.least > 1 else ""
            raise UsageError(f"`podling {path}` requires at least {self.least} argument{plural}, only received {count}")
        if 0 <= self.most < count:
            if not self.most:
                raise UsageError(f"`podling {path}` takes no arguments")
            raise UsageError(
                f"`podling {path}` accepts at most {self.most} argument{'s' if self.most > 1 else ''}, received {count}"
            )


HELP = Flag("help", "h", "bool", "Show this help")
LONG_HELP = Flag("help", "", "bool", "Show this help")
