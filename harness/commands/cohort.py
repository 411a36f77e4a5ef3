"""`harness cohort`: who is in a protocol's cohort, and what would spoil a ranking on it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands import asked
from harness.commands.as_json import JSON
from harness.commands.as_json import echo as echo_json
from harness.commands.options import CACHE, DATA, PROTOCOL_NAME
from harness.commands.remarks import print_remarks
from harness.commands.verb import Verb
from harness.commands.waiting import counted, waiting
from harness.errors import HarnessError, plain

if TYPE_CHECKING:
    from rich.console import Console

    from harness.cohorts.audit import Finding
    from harness.cohorts.cohort import Cohort
    from harness.cohorts.survey import Survey
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
@JSON
@CACHE
def cohort_command(
    protocol: str,
    data: Path | None,
    thumbnails: Path | None,
    audit: bool,
    page: Path | None,
    open_it: bool,
    spread: float,
    as_json: bool,
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

    seen = sight.sights(cohort, chosen, spread)
    if not as_json:
        _print_who(cohort, chosen, sight.said(seen, spread))
    if thumbnails is not None:
        cohorts.write_thumbnails(cohort, thumbnails)
        click.echo(f"Wrote {thumbnails}.", err=as_json)
    look, findings = _looked(cohort, chosen) if audit else (None, [])
    if as_json:
        echo_json(_table(cohort, chosen, findings if audit else None))
    elif audit:
        _print_findings(findings)
    else:
        print_remarks(cohort)
    if look is not None and (page is not None or open_it):
        from harness.commands import audit_page

        file = page or Path(f"audit-{chosen.name}.html")
        audit_page.write(file, cohort, chosen, look, findings, seen, spread)
        click.echo(f"Wrote {file}.", err=as_json)
        if open_it:
            click.launch(str(file))
    sys.exit(1 if any(finding.spoils for finding in findings) else 0)


def _check_writable(flag: str, file: Path) -> None:
    if file.is_dir() or not file.parent.is_dir():
        said = "a folder" if file.is_dir() else f"there is no folder {file.parent}"
        raise HarnessError(f"{flag} {file}: {said}; give the path of {_KINDS[flag]} file.")


def _print_who(cohort: Cohort, protocol: Protocol, seen: Iterable[str]) -> None:
    from harness.cohorts import describe
    from harness.commands.display import console as new_console

    console = new_console()
    about = f"{cohort.title}: {len(cohort.subjects)} samples, digest {cohort.digest[:12]}"
    console.print(plain(about), markup=False)
    _print_frame(console, describe(cohort, protocol))
    for line in seen:
        console.print(plain(line), markup=False)


def _looked(cohort: Cohort, protocol: Protocol) -> tuple[Survey, list[Finding]]:
    """Return what was seen of a cohort and what is wrong with it."""
    with waiting("Looking for what would spoil a ranking ...") as say:
        from harness.cohorts.audit import audit
        from harness.cohorts.survey import survey

        tell = counted(say)
        look = survey(cohort, protocol, partial(tell, "Looking at the samples"))
        return look, audit(cohort, protocol, look, partial(tell, "Checking"))


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        for line in _lines(finding):
            click.echo(plain(line))
    spoilt = sum(finding.spoils for finding in findings)
    click.echo(f"Audit: {len(findings)} findings, {spoilt} of which would spoil a ranking.")


def _table(cohort: Cohort, protocol: Protocol, findings: Sequence[Finding] | None) -> dict[str, Any]:
    """Return a cohort for a program; findings: None where it was not audited."""
    from harness.cohorts import describe

    table = {
        "title": cohort.title,
        "samples": len(cohort.subjects),
        "patients": int(cohort.subjects["patient"].nunique()),
        "digest": cohort.digest,
        "groups": describe(cohort, protocol).to_dict("records"),
        "remarks": [remark.message for remark in cohort.remarks],
    }
    if findings is not None:
        table["audit"] = [dataclasses.asdict(finding) for finding in findings]
    return table


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
