"""`harness pack`, `harness verify` and `harness submit`: a method's records from hand to hand."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import CACHE, DATA, PROTOCOL, RUNS
from harness.errors import HarnessError, did_you_mean, plain

if TYPE_CHECKING:
    from harness.submission.archive import Submission
    from harness.submission.findings import Finding, Report
    from harness.submission.yardstick import Yardstick

_FILE = click.argument("file", type=click.Path(path_type=Path))
_MEASURED_BY = click.option(
    "--protocol",
    help="Name of a shipped protocol, or a .toml file.  [default: the submission's, if it ships]",
)
_MARKS = {"confirmed": "green", "could not confirm": "yellow", "failed": "red"}


@click.command("pack")
@click.argument("method")
@PROTOCOL
@DATA
@click.option("--tuned", type=click.Path(path_type=Path), help="The file that harness run --tuned was given.")
@click.option("--out", type=click.Path(path_type=Path), help="The file.  [default: METHOD-PROTOCOL.zip]")
@RUNS
@CACHE
def pack_command(
    method: str,
    protocol: str,
    data: Path | None,
    tuned: Path | None,
    out: Path | None,
    runs: Path,
    cache: Path,
) -> None:
    """Put METHOD's source and all its records under a protocol into one file."""
    from harness.plugin import discovery
    from harness.protocol import load
    from harness.running.prepare import prepare
    from harness.running.trial import Paths
    from harness.running.tune import read_for
    from harness.submission import pack

    chosen, plugin = load(protocol), discovery.find(method)
    values = None if tuned is None else read_for(tuned, chosen)
    prepared = prepare(chosen, [method], Paths(runs, data, cache), protocol, tuned=values)
    packed = pack.pack(prepared, plugin, _run_command(method, protocol, data, tuned, runs))
    out = out or Path(f"{plugin.name}-{chosen.name}.zip")
    pack.write(packed, out)
    click.echo(f"Wrote {out}, {len(packed) / 1e6:.1f} MB. It holds the source, the logs and the predictions.")


@click.command("verify")
@_FILE
@_MEASURED_BY
@DATA
@click.option(
    "--rerun",
    type=int,
    metavar="SEED",
    help="Also train this seed again. Without --sandbox this runs the submitter's code here, as you.",
)
@click.option("--sandbox", type=click.Choice(["docker"]), help="Of --rerun: train in a container.")
@click.option("--device", default="auto", show_default=True, help="Of --rerun: auto, cpu, cuda or cuda:N.")
@CACHE
def verify_command(
    file: Path,
    protocol: str | None,
    data: Path | None,
    rerun: int | None,
    sandbox: str | None,
    device: str,
    cache: Path,
) -> None:
    """Recompute every score of a submission FILE and say what can be confirmed of it.

    Executes nothing that is in the file, unless --rerun asks for it.
    """
    from harness.running.trial import Paths
    from harness.sandbox.limits import Limits
    from harness.sandbox.runs import Sandbox
    from harness.submission import archive
    from harness.submission.rerun import rerun as train_again
    from harness.submission.verify import verify
    from harness.submission.yardstick import from_cohort

    submission = archive.read(file)
    yardstick = from_cohort(_protocol_of(submission, protocol), data, cache)
    report = verify(submission, yardstick)
    _print_findings(report.findings)
    if rerun is not None and not report.failed:
        box = Sandbox.here(device, cache, Limits()) if sandbox else None
        paths = Paths(Path(), data, cache)
        for finding in train_again(submission, report, yardstick, rerun, paths, device, box):
            report.findings.append(finding)
            _print_findings([finding])
    _conclude(file, report)
    sys.exit(1 if report.failed else 0)


@click.command("submit")
@_FILE
@_MEASURED_BY
@DATA
@click.option(
    "--unverified",
    is_flag=True,
    help="Take its scores as they are, where this machine lacks the cohort; marked self-reported.",
)
@RUNS
@CACHE
def submit_command(
    file: Path, protocol: str | None, data: Path | None, unverified: bool, runs: Path, cache: Path
) -> None:
    """Verify a submission FILE and add its records to the board, marked."""
    from harness.running.trial import Paths
    from harness.submission import archive
    from harness.submission.submit import submit
    from harness.submission.verify import verify

    submission = archive.read(file)
    yardstick = _yardstick(submission, protocol, data, unverified, runs, cache)
    report = verify(submission, yardstick)
    _print_findings(report.findings)
    if report.failed:
        _conclude(file, report)
        sys.exit(1)
    obtained = submit(submission.manifest, report, yardstick, Paths(runs, data, cache))
    mark = {"verified": "verified from predictions", "reported": "self-reported"}[obtained]
    name = submission.manifest.method
    click.echo(f"Added {len(report.parsed)} records of '{name}' to {runs}, marked: {mark}.")
    if unverified:
        click.echo("Self-reported because --unverified was given: no score was recomputed here.")
    click.echo("Its source was not run and not installed; it stands in each record.json (method.source).")
    click.echo("harness report builds the board with it.")


def _yardstick(
    submission: Submission, protocol: str | None, data: Path | None, unverified: bool, runs: Path, cache: Path
) -> Yardstick:
    from harness.protocol import load
    from harness.store import Store
    from harness.submission import yardstick

    if unverified:
        name = submission.manifest.protocol if protocol is None else load(protocol).name
        return yardstick.from_board(Store(runs), name)
    return yardstick.from_cohort(_protocol_of(submission, protocol), data, cache)


def _protocol_of(submission: Submission, given: str | None) -> str:
    """Return the protocol to measure by; a name from the file is only ever looked up, never opened."""
    from harness.protocol import shipped

    name = submission.manifest.protocol
    if given is not None:
        return given
    if name not in shipped():
        raise HarnessError(
            f"The submission is of protocol {name[:80]!r}, which does not ship with the harness; give its "
            f"file with --protocol.{did_you_mean(name[:80], shipped())}"
        )
    return name


def _run_command(method: str, protocol: str, data: Path | None, tuned: Path | None, runs: Path) -> str:
    parts = ["harness", "run", method, "--protocol", protocol]
    parts += ["--data", str(data)] if data else []
    parts += ["--tuned", str(tuned)] if tuned else []
    parts += ["--runs", str(runs)] if runs != Path("runs") else []
    return shlex.join(parts)


def _print_findings(findings: list[Finding]) -> None:
    for finding in findings:
        mark = click.style(f"{finding.verdict:18}", fg=_MARKS[finding.verdict])
        click.echo(f"{mark} {finding.what:11} {plain(finding.why)}")


def _conclude(file: Path, report: Report) -> None:
    if report.failed:
        click.echo(f"{file}: not verified; {len(report.failed)} checks failed.")
        return
    trained = any(f.what == "rerun" and f.verdict == "confirmed" for f in report.findings)
    click.echo(f"{file}: verified; the scores follow from the predictions.")
    if not trained:
        click.echo("Whether the predictions come from training this source, only --rerun SEED can tell.")
