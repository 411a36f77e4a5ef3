"""How a command answers what it does not know: with what was meant; and Ctrl-C: with what is true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from harness.commands import interrupts, meaning
from harness.commands.interrupts import Interrupted


class Verb(click.Command):
    """A command. `interrupted` is what is true when it is stopped, unless it says so itself."""

    def __init__(self, *args: Any, interrupted: str = "nothing was changed", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.interrupted = interrupted

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; an option that does not exist is answered with what does it."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(_no_option(ctx, error.option_name), ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what stops it says what is true then."""
        try:
            return super().invoke(ctx)
        except (click.Abort, KeyboardInterrupt) as error:
            status = interrupts.status_of(error)
            raise Interrupted(f"Interrupted; {self.interrupted}.", status) from None


class Verbs(click.Group):
    """Commands in the order of the tour; one that does not exist is answered with the one that does it."""

    command_class = Verb

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands as they were added."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; an option that belongs to a command is told to stand behind it."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(_no_option(ctx, error.option_name), ctx) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command named by the first argument."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(f"There is no command '{args[0]}'.{self._hint(args[0])}")
        return super().resolve_command(ctx, args)

    def _hint(self, word: str) -> str:
        known = {name: name for name in self.commands}
        for name, command in self.commands.items():
            if isinstance(command, click.Group):
                known |= {f"{name} {inner}": inner for inner in command.commands}
        found = meaning.meant(word, self.commands, meaning.COMMANDS)
        if not found:
            inner = [whole for whole, last in known.items() if last == word and whole != word]
            found = inner[0] if inner else ""
        return f" Did you mean '{found}'?" if found else f" Known: {', '.join(sorted(self.commands))}."


def _no_option(ctx: click.Context, option: str) -> str:
    """Return the sentence about an option that a command does not have."""
    own = list(_options(ctx.command))
    found = meaning.meant(option, own, meaning.OPTIONS)
    if found:
        return f"There is no option '{option}'. Did you mean '{found}'?"
    others = _commands_with(option, ctx.find_root())
    if others:
        if isinstance(ctx.command, click.Group):
            return f"Options come after the command, as in `{others[0]} {option} ...`."
        return f"`{ctx.command_path}` has no option '{option}'; `{others[0]}` has it."
    said = meaning.instead(option)
    help_ = f"`{ctx.command_path} --help` lists what there is."
    return f"There is no option '{option}'. {said or help_}"


def _options(command: click.Command) -> Iterator[str]:
    for param in command.params:
        if isinstance(param, click.Option):
            yield from param.opts
    yield "--help"


def _commands_with(option: str, ctx: click.Context) -> list[str]:
    """Return the commands that have an option, or one that does the same, by how they are called."""
    return [path for path, command in _walk(ctx.command, "harness") if option in _options(command)]


def _walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _walk(inner, f"{path} {name}")
    else:
        yield path, command
