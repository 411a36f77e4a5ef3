"""`harness pack`, `harness verify` and `harness submit`: a method's records from hand to hand."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands import asked
from harness.commands.options import CACHE, DATA, DEVICE, METHOD, PROTOCOL, PROTOCOL_NAME, RUNS, Seed
from harness.commands.verb import Verb
from harness.commands.waiting import waiting
from harness.errors import HarnessError, did_you_mean, plain

if TYPE_CHECKING:
    from harness.protocol import Protocol
    from harness.submission.archive import Submission
    from harness.submission.findings import Finding, Report
    from harness.submission.yardstick import Yardstick

_FILE = click.argument("file", type=click.Path(path_type=Path))
_MEASURED_BY = click.option(
    "--protocol",
    type=PROTOCOL_NAME,
    help="Name of a shipped protocol, or a .toml file.  [default: the submission's, if it ships]",
)
_MARKS = {"confirmed": "green", "could not confirm": "yellow", "failed": "red"}


@click.command("pack", cls=Verb, interrupted="a submission is written whole or not at all")
@click.argument("method", type=METHOD)
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
    with waiting("Reading the protocol ...") as say:
        chosen = asked.protocol(protocol)
        (plugin,) = asked.methods([method], False, "pack", under=chosen)
        out = out or Path(f"{plugin.name}-{chosen.name}.zip")
        _check_writable(out)
        values = None if tuned is None else asked.tuned(tuned, chosen)
        say("Reading the cohort ...")
        asked.training(chosen, data, cache, "cpu")
        from harness.running.paths import Paths
        from harness.running.prepare import prepare
        from harness.submission import pack

        prepared = prepare(chosen, [method], Paths(runs, data, cache), protocol, tuned=values)
        say("Packing the records ...")
        packed = pack.pack(prepared, plugin, _run_command(method, protocol, data, tuned, runs))
        _check_same(out, packed)
        pack.write(packed, out)
    click.echo(f"Wrote {out}, {len(packed) / 1e6:.1f} MB. It holds the source, the logs and the predictions.")


@click.command("verify", cls=Verb)
@_FILE
@_MEASURED_BY
@DATA
@click.option(
    "--rerun",
    type=Seed(),
    metavar="SEED",
    help="Also train this seed again. Without --sandbox this runs the submitter's code here, as you.",
)
@click.option("--sandbox", type=click.Choice(["docker"]), help="Of --rerun: train in a container.")
@DEVICE
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
    if rerun is None and sandbox:
        raise HarnessError("--sandbox is of --rerun SEED: without it nothing of the submission is run.")
    with waiting("Reading the submission ...") as say:
        from harness.submission import archive

        submission = archive.read(file)
        chosen = _protocol_of(submission, protocol)
        _check_rerun(rerun, asked.protocol(chosen), sandbox)
        say("Reading the cohort ...")
        from harness.submission.verify import verify
        from harness.submission.yardstick import from_cohort

        yardstick = from_cohort(chosen, data, cache)
        say("Recomputing the scores ...")
        report = verify(submission, yardstick)
        say("")
        _print_findings(report.findings)
        if rerun is not None and not report.failed:
            say(f"Training seed {rerun} again ...")
            for finding in _trained_again(submission, report, yardstick, rerun, data, cache, device, sandbox):
                say("")
                report.findings.append(finding)
                _print_findings([finding])
                say(f"Training seed {rerun} again ...")
    _conclude(file, report)
    sys.exit(1 if report.failed else 0)


@click.command(
    "submit", cls=Verb, interrupted="the same command goes on, and until then nothing is on the board"
)
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
    with waiting("Reading the submission ...") as say:
        from harness.submission import archive

        submission = archive.read(file)
        say("Reading the cohort ...")
        yardstick = _yardstick(submission, protocol, data, unverified, runs, cache)
        from harness.running.paths import Paths
        from harness.submission.submit import submit
        from harness.submission.verify import verify

        say("Recomputing the scores ...")
        report = verify(submission, yardstick)
        say("")
        _print_findings(report.findings)
        if report.failed:
            _conclude(file, report)
            sys.exit(1)
        say("Adding the records ...")
        obtained = submit(submission.manifest, report, yardstick, Paths(runs, data, cache))
    mark = {"verified": "verified from predictions", "reported": "self-reported"}[obtained]
    name = submission.manifest.method
    click.echo(f"Added {len(report.parsed)} records of '{name}' to {runs}, marked: {mark}.")
    if unverified:
        click.echo("Self-reported because --unverified was given: no score was recomputed here.")
    click.echo("Its source was not run and not installed; it stands in each record.json (method.source).")
    click.echo("harness report builds the board with it.")


def _check_writable(out: Path) -> None:
    """Raise HarnessError where the file could not be written, before a cohort is read for it."""
    if out.is_dir() or not out.parent.is_dir():
        said = "a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise HarnessError(f"--out {out}: {said}; choose another place for the file.")


def _check_same(out: Path, packed: bytes) -> None:
    """Raise HarnessError where another file has the place: it may have been handed out."""
    if out.is_file() and out.read_bytes() != packed:
        raise HarnessError(
            f"{out}: holds something else, an earlier submission perhaps; move it away, or give another "
            "place with --out."
        )


def _check_rerun(seed: int | None, under: Protocol, sandbox: str | None) -> None:
    """Raise HarnessError for a seed that the protocol does not have, or without an engine to sandbox with."""
    if seed is not None and seed not in under.seeds:
        raise HarnessError(
            f"--rerun {seed}: the protocol's seeds are {', '.join(map(str, under.seeds))}; give one of them."
        )
    if sandbox:
        asked.engine()


def _trained_again(
    submission: Submission,
    report: Report,
    yardstick: Yardstick,
    seed: int,
    data: Path | None,
    cache: Path,
    device: str,
    sandbox: str | None,
) -> Iterator[Finding]:
    from harness.running.paths import Paths
    from harness.sandbox.limits import Limits
    from harness.sandbox.runs import Sandbox
    from harness.submission.rerun import rerun
    from harness.training.device import resolve_device

    place = resolve_device(device)
    box = Sandbox.here(place, cache, Limits()) if sandbox else None
    yield from rerun(submission, report, yardstick, seed, Paths(Path(), data, cache), place, box)


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
