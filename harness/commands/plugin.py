"""`harness new` and `harness check`: a method from its first line to something worth running."""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from pathlib import Path

import click

from harness.commands.as_json import JSON
from harness.commands.as_json import echo as echo_json
from harness.commands.options import METHOD
from harness.commands.verb import Verb
from harness.commands.waiting import waiting
from harness.errors import plain

_MARKS = {"ok": "green", "failed": "red", "skipped": "yellow"}


@click.command("new", cls=Verb, interrupted="look whether both files are there")
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("methods"),
    show_default=True,
    help="Where the method's file goes; its test goes to tests/methods beside it.",
)
def new_command(name: str, folder: Path) -> None:
    """Write a method NAME that works at once (it is ERM), and a test of it."""
    from harness.plugin.new import is_found, spelt, write_method

    plugin, test = write_method(spelt(name), folder)
    # The methods folder is searched by name; anything else is given by its path.
    called = spelt(name) if is_found(plugin) else shlex.quote(str(plugin))
    if spelt(name) != name:
        click.echo(f"A method's name is in small letters with hyphens: '{name}' is '{spelt(name)}'.")
    click.echo(f"Wrote {plugin} and {test}. Fill in the card, change the loss, then:")
    click.echo(f"  harness check {called}")
    click.echo(f"  harness run {called} --seeds 0")


@click.command("check", cls=Verb)
@click.argument("method", type=METHOD)
@JSON
def check_command(method: str, as_json: bool) -> None:
    """Tell whether METHOD (a name or a .py file) is a valid, deterministic, well-behaved plugin.

    It trains on a tiny cohort several times, which takes a minute or two, and ends with a status that
    is not zero if a check failed.
    """
    from harness.plugin import discovery

    found = discovery.find(method)
    began, counts = time.monotonic(), {"ok": 0, "failed": 0, "skipped": 0}
    with waiting(f"Checking {found.file.name} ...") as say:
        from harness import check

        lines = []
        for line in check.run(found):
            counts[line.status] += 1
            say(f"{sum(counts.values())} checks done, {time.monotonic() - began:.0f} s ...")
            if as_json:
                lines.append(dataclasses.asdict(line))
                continue
            mark = click.style(f"{line.status:8}", fg=_MARKS[line.status])
            say("")
            click.echo(f"{mark}{line.name:24} {plain(line.text)}".rstrip())
            say(f"{sum(counts.values())} checks done, {time.monotonic() - began:.0f} s ...")
    if as_json:
        echo_json(lines)
        sys.exit(1 if counts["failed"] else 0)
    said = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    click.echo(f"{said}, in {time.monotonic() - began:.0f} s.")
    sys.exit(1 if counts["failed"] else 0)
