"""`harness cohort`: who is in a protocol's cohort, and what would spoil a ranking on it."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands import asked
from harness.commands.options import CACHE, DATA, PROTOCOL_NAME
from harness.commands.remarks import print_remarks
from harness.commands.verb import Verb
from harness.commands.waiting import counted, waiting
from harness.errors import HarnessError, plain

if TYPE_CHECKING:
    from rich.console import Console

    from harness.cohorts.audit import Finding
    from harness.cohorts.cohort import Cohort
    from harness.commands.sight import Sight
    from harness.protocol import Protocol

_KINDS = {"--thumbnails": "a PNG", "--page": "an HTML"}


@click.command("cohort", cls=Verb)
@click.argument("protocol", default="quick", type=PROTOCOL_NAME)
@DATA
@click.option("--thumbnails", type=click.Path(path_type=Path), help="Also write a PNG with a few samples.")
@click.option(
    "--audit", is_flag=True, help="Also look for what would spoil a ranking: leaks, wrong labels, drift."
)
@click.option(
    "--page", type=click.Path(path_type=Path), help="With --audit: also write what was seen as one HTML page."
)
@click.option("--open", "open_it", is_flag=True, help="With --audit: open that page in a browser.")
@click.option(
    "--spread",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.15,
    show_default=True,
    help="Standard deviation of Dice between patients, for what the test set can see.",
)
@CACHE
def cohort_command(
    protocol: str,
    data: Path | None,
    thumbnails: Path | None,
    audit: bool,
    page: Path | None,
    open_it: bool,
    spread: float,
    cache: Path,
) -> None:
    """Show who is in a protocol's cohort, what its test set can see, and what is wrong with it."""
    if (page is not None or open_it) and not audit:
        raise HarnessError(f"{'--open' if open_it else '--page'}: the page is the audit's; add --audit.")
    with waiting("Reading the protocol ...") as say:
        chosen = asked.protocol(protocol)
        for flag, file in (("--thumbnails", thumbnails), ("--page", page)):
            if file is not None:
                _check_writable(flag, file)
        say("Reading the cohort ...")
        from harness import cohorts

        cohort = cohorts.load(chosen, data, cache, progress=counted(say))
    from harness.commands import sight
    from harness.commands.display import console as new_console

    console = new_console()
    about = f"{cohort.title}: {len(cohort.subjects)} samples, digest {cohort.digest[:12]}"
    console.print(plain(about), markup=False)
    _print_frame(console, cohorts.describe(cohort, chosen))
    seen = sight.sights(cohort, chosen, spread)
    for line in sight.said(seen, spread):
        console.print(plain(line), markup=False)
    if thumbnails is not None:
        cohorts.write_thumbnails(cohort, thumbnails)
        console.print(f"Wrote {thumbnails}.", markup=False)
    if audit:
        sys.exit(_audit(cohort, chosen, seen, spread, page, open_it))
    print_remarks(cohort)


def _check_writable(flag: str, file: Path) -> None:
    if file.is_dir() or not file.parent.is_dir():
        said = "a folder" if file.is_dir() else f"there is no folder {file.parent}"
        raise HarnessError(f"{flag} {file}: {said}; give the path of {_KINDS[flag]} file.")


def _audit(
    cohort: Cohort, protocol: Protocol, seen: list[Sight], spread: float, page: Path | None, open_it: bool
) -> int:
    """Print what is wrong with a cohort; return 1 where a ranking on it could not be trusted."""
    with waiting("Looking for what would spoil a ranking ...") as say:
        from harness.cohorts.audit import audit
        from harness.cohorts.survey import survey

        tell = counted(say)
        look = survey(cohort, protocol, partial(tell, "Looking at the samples"))
        findings = audit(cohort, protocol, look, partial(tell, "Checking"))
    for finding in findings:
        for line in _lines(finding):
            click.echo(plain(line))
    spoilt = sum(finding.spoils for finding in findings)
    click.echo(f"Audit: {len(findings)} findings, {spoilt} of which would spoil a ranking.")
    if page is not None or open_it:
        from harness.commands import audit_page

        file = page or Path(f"audit-{protocol.name}.html")
        audit_page.write(file, cohort, protocol, look, findings, seen, spread)
        click.echo(f"Wrote {file}.")
        if open_it:
            click.launch(str(file))
    return 1 if spoilt else 0


def _lines(finding: Finding) -> list[str]:
    """Return a finding as it is printed: what is wrong, where, what it does and what to do."""
    margin = " " * 19
    more = (
        f" and {finding.count - len(finding.examples)} more" if finding.count > len(finding.examples) else ""
    )
    return [
        f"{'spoils' if finding.spoils else 'look  '}  {finding.check:9}  {finding.message}",
        *([f"{margin}{finding.count}: {', '.join(finding.examples)}{more}"] if finding.examples else []),
        f"{margin}Does: {finding.effect}",
        f"{margin}Fix: {finding.fix}",
    ]


def _print_frame(console: Console, frame: Any) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*map(str, frame.columns))
    for row in frame.itertuples(index=False):
        table.add_row(*(escape(plain(str(value))) for value in row))
    console.print(table)
