"""`harness cohort`: who is in a protocol's cohort, and what would spoil a ranking on it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands import asked
from harness.commands.options import CACHE, DATA, PROTOCOL_NAME
from harness.commands.remarks import print_remarks
from harness.commands.verb import Verb
from harness.commands.waiting import waiting
from harness.errors import HarnessError, plain

if TYPE_CHECKING:
    from rich.console import Console

    from harness.cohorts.cohort import Cohort
    from harness.protocol import Protocol


@click.command("cohort", cls=Verb)
@click.argument("protocol", default="quick", type=PROTOCOL_NAME)
@DATA
@click.option("--thumbnails", type=click.Path(path_type=Path), help="Also write a PNG with a few samples.")
@click.option(
    "--audit", is_flag=True, help="Also look for what would spoil a ranking: leaks, wrong labels, drift."
)
@CACHE
def cohort_command(
    protocol: str, data: Path | None, thumbnails: Path | None, audit: bool, cache: Path
) -> None:
    """Show who is in a protocol's cohort: samples and patients per group and split."""
    with waiting("Reading the protocol ...") as say:
        chosen = asked.protocol(protocol)
        if thumbnails is not None:
            _check_writable(thumbnails)
        say("Reading the cohort ...")
        from harness import cohorts

        cohort = cohorts.load(
            chosen, data, cache, progress=lambda *done: say("{}: {} of {} ...".format(*done))
        )
    from harness.commands.display import console as new_console

    console = new_console()
    about = f"{cohort.title}: {len(cohort.subjects)} samples, digest {cohort.digest[:12]}"
    console.print(plain(about), markup=False)
    _print_frame(console, cohorts.describe(cohort, chosen))
    if thumbnails is not None:
        cohorts.write_thumbnails(cohort, thumbnails)
        console.print(f"Wrote {thumbnails}.", markup=False)
    if audit:
        sys.exit(_audit(cohort, chosen))
    print_remarks(cohort)


def _check_writable(file: Path) -> None:
    if file.is_dir() or not file.parent.is_dir():
        said = "a folder" if file.is_dir() else f"there is no folder {file.parent}"
        raise HarnessError(f"--thumbnails {file}: {said}; give the path of a PNG file.")


def _audit(cohort: Cohort, protocol: Protocol) -> int:
    """Print what is wrong with a cohort; return 1 where a ranking on it could not be trusted."""
    with waiting("Looking for what would spoil a ranking ..."):
        from harness.cohorts.audit import audit

        findings = audit(cohort, protocol)
    for finding in findings:
        click.echo(f"{'spoils' if finding.spoils else 'look  '}  {finding.check:9}  {plain(finding.message)}")
    spoilt = sum(finding.spoils for finding in findings)
    click.echo(f"Audit: {len(findings)} findings, {spoilt} of which would spoil a ranking.")
    return 1 if spoilt else 0


def _print_frame(console: Console, frame: Any) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*map(str, frame.columns))
    for row in frame.itertuples(index=False):
        table.add_row(*(escape(plain(str(value))) for value in row))
    console.print(table)
