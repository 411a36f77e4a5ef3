"""`harness merge`: what another machine or person ran comes to the records here."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from harness.commands.as_json import JSON
from harness.commands.as_json import echo as echo_json
from harness.commands.options import RUNS, Folder
from harness.commands.verb import Verb
from harness.commands.waiting import waiting
from harness.errors import plain


@click.command("merge", cls=Verb, interrupted="each record is here whole or not; the same command goes on")
@click.argument("other", type=Folder("give the folder of the other records", must_exist=True))
@JSON
@RUNS
def merge_command(other: Path, as_json: bool, runs: Path) -> None:
    """Bring the records and boards of OTHER, a folder of runs, to those here.

    Nothing here is overwritten. The status is 1 where something is another there.
    """
    with waiting("Reading the records ..."):
        from harness.running.merging import merge
        from harness.store import Store

        found = merge(Store(runs), Store(other))
    if as_json:
        echo_json(dataclasses.asdict(found))
        sys.exit(1 if found.conflicts else 0)
    click.echo(
        f"{len(found.added)} records came, {len(found.already)} were here, {len(found.twice)} were run at "
        "both places with the same predictions (the one here stays)."
    )
    for key in found.boards:
        click.echo(plain(f"The board '{key}' has what was there."))
    for one in found.conflicts:
        click.echo(plain(f"conflict  {one}"), err=True)
    if found.conflicts:
        click.echo(f"{len(found.conflicts)} conflicts; nothing of them was changed here.", err=True)
        sys.exit(1)
