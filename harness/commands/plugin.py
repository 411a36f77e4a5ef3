"""`harness new` and `harness check`: a method from its first line to something worth running."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from harness.errors import plain

_MARKS = {"ok": "green", "failed": "red", "skipped": "yellow"}


@click.command("new")
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
    from harness.plugin.new import write_method

    plugin, test = write_method(name, folder)
    # A clone's own folder is searched by name; anything else is given by its path.
    called = name if (folder / "__init__.py").is_file() else str(plugin)
    click.echo(f"Wrote {plugin} and {test}. Fill in the card, change the loss, then:")
    click.echo(f"  harness check {called}")
    click.echo(f"  harness run {called} --seeds 0")


@click.command("check")
@click.argument("method")
def check_command(method: str) -> None:
    """Tell whether METHOD (a name or a .py file) is a valid, deterministic, well-behaved plugin.

    It trains on a tiny cohort several times, which takes a minute or two, and ends with a status that
    is not zero if a check failed.
    """
    from harness import check
    from harness.plugin import discovery

    began, counts = time.monotonic(), {"ok": 0, "failed": 0, "skipped": 0}
    for line in check.run(discovery.find(method)):
        counts[line.status] += 1
        mark = click.style(f"{line.status:8}", fg=_MARKS[line.status])
        click.echo(f"{mark}{line.name:24} {plain(line.text)}".rstrip())
    said = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    click.echo(f"{said}, in {time.monotonic() - began:.0f} s.")
    sys.exit(1 if counts["failed"] else 0)
