"""`harness pack`, `harness verify` and `harness submit`: a method's records from hand to hand."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands import asked, packed_predictions
from harness.commands.as_json import JSON
from harness.commands.as_json import echo as echo_json
from harness.commands.options import CACHE, DATA, DEVICE, METHOD, PROTOCOL, PROTOCOL_NAME, RUNS, Seed
from harness.commands.verb import Verb
from harness.commands.waiting import counted, waiting
from harness.errors import HarnessError, did_you_mean, plain

if TYPE_CHECKING:
    from harness.cohorts.source import Progress
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
_SIGNERS = click.option(
    "--signers",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Who may have signed it: a file of SSH's allowed signers.",
)
_RELABEL = click.option(
    "--relabel", help="Of predictions: what their labels are in the truth, '1=2,2=1'; '1=1' says as they are."
)
_RESAMPLE = click.option(
    "--resample",
    type=click.Choice(["nearest"]),
    help="Of predictions: take another size than the protocol's, by nearest pixel.",
)
_MARKS = {"confirmed": "green", "could not confirm": "yellow", "failed": "red"}


@click.command("pack", cls=Verb, interrupted="a submission is written whole or not at all")
@click.argument("method", type=METHOD)
@PROTOCOL
@DATA
@click.option("--tuned", type=click.Path(path_type=Path), help="The file that harness run --tuned was given.")
@click.option("--out", type=click.Path(path_type=Path), help="The file.  [default: METHOD-PROTOCOL.zip]")
@click.option("--namespace", default="guest", show_default=True, help="Yours: it stands before the name.")
@click.option(
    "--sign", "key", type=click.Path(path_type=Path), help="Sign it with this SSH key: the file and FILE.sig."
)
@click.option(
    "--predictions",
    multiple=True,
    help="Pack these predictions of the test samples instead, METHOD their name; once for each training.",
)
@click.option("--title", default="", help="Of --predictions: what the row is called.  [default: METHOD]")
@click.option("--pair", help="Of --predictions: how files are named, as in '{id}_pred.png'.")
@_RELABEL
@_RESAMPLE
@RUNS
@CACHE
def pack_command(
    method: str,
    protocol: str,
    data: Path | None,
    tuned: Path | None,
    out: Path | None,
    namespace: str,
    key: Path | None,
    predictions: tuple[str, ...],
    title: str,
    pair: str | None,
    relabel: str | None,
    resample: str | None,
    runs: Path,
    cache: Path,
) -> None:
    """Put METHOD's source and all its records under a protocol into one file.

    With --predictions: the label maps of a model that was trained elsewhere, for a row without training.
    """
    _check_namespace(namespace)
    reading = packed_predictions.Reading(pair, relabel, resample)
    if predictions:
        if tuned is not None:
            raise HarnessError("--tuned and --predictions exclude each other: nothing is known of a tuning.")
        packed_predictions.pack_them(
            method, title, namespace, protocol, data, cache, predictions, reading, out, key
        )
        return
    for option, value in {"title": title, **vars(reading)}.items():
        if value:
            raise HarnessError(f"--{option} is of --predictions DIR.")
    with waiting("Reading the protocol ...") as say:
        chosen = asked.protocol(protocol)
        (plugin,) = asked.methods([method], False, "pack", under=chosen)
        out = out or Path(f"{plugin.name}-{chosen.name}.zip")
        check_writable(out)
        values = None if tuned is None else asked.tuned(tuned, chosen)
        say("Reading the cohort ...")
        asked.training(chosen, data, cache, "cpu")
        from harness.running.paths import Paths
        from harness.running.prepare import prepare
        from harness.submission import pack, signature

        prepared = prepare(chosen, [method], Paths(runs, data, cache), protocol, tuned=values)
        say("Packing the records ...")
        packed = pack.pack(prepared, plugin, _run_command(method, protocol, data, tuned, runs), namespace)
        check_same(out, packed)
        pack.write(packed, out)
        if key is not None:
            say("")
            pack.write(signature.sign(packed, key), signature.place(out))
    click.echo(f"Wrote {out}, {len(packed) / 1e6:.1f} MB. It holds the source, the logs and the predictions.")
    if key is not None:
        click.echo(f"Wrote {signature.place(out)}, its signature; give both away.")


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
@JSON
@_SIGNERS
@DEVICE
@CACHE
def verify_command(
    file: Path,
    protocol: str | None,
    data: Path | None,
    rerun: int | None,
    sandbox: str | None,
    as_json: bool,
    signers: Path | None,
    device: str,
    cache: Path,
) -> None:
    """Recompute every score of a submission FILE and say what can be confirmed of it.

    Executes nothing that is in the file, unless --rerun asks for it. FILE.sig is its signature.
    """
    if rerun is None and sandbox:
        raise HarnessError("--sandbox is of --rerun SEED: without it nothing of the submission is run.")
    with waiting("Reading the submission ...") as say:
        from harness.submission import archive

        submission = archive.read(file)
        chosen = protocol_of(submission.manifest.protocol, protocol)
        _check_rerun(rerun, asked.protocol(chosen), sandbox)
        say("Reading the cohort ...")
        from harness.submission.verify import verify
        from harness.submission.yardstick import from_cohort

        yardstick = from_cohort(chosen, data, cache, counted(say))
        say("Recomputing the scores ...")
        report = verify(submission, yardstick, counted(say))
        _name_key(report, file, submission, signers)
        show = _nothing if as_json else print_findings
        say("")
        show(report.findings)
        if rerun is not None and not report.failed:
            say(f"Training seed {rerun} again ...")
            again = _trained_again(
                submission, report, yardstick, rerun, data, cache, device, sandbox, counted(say)
            )
            for finding in again:
                say("")
                report.findings.append(finding)
                show([finding])
                say(f"Training seed {rerun} again ...")
    if as_json:
        found = [dataclasses.asdict(finding) for finding in report.findings]
        echo_json({"verified": not report.failed, "findings": found})
    else:
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
@click.option(
    "--predictions",
    is_flag=True,
    help="FILE is what harness pack --predictions made, or a folder of label maps (with --protocol).",
)
@click.option("--name", default="", help="Of a folder: its name on the board.  [default: the folder's]")
@click.option("--title", default="", help="Of a folder: what the row is called.  [default: the name]")
@click.option("--pair", help="Of a folder: how files are named, as in '{id}_pred.png'.")
@_RELABEL
@_RESAMPLE
@click.option("--corrects", metavar="WHY", default="", help="It replaces its earlier rows; a public line.")
@click.option("--who", default="", help="In whose name it corrects.  [default: the key that signed]")
@_SIGNERS
@RUNS
@CACHE
def submit_command(
    file: Path,
    protocol: str | None,
    data: Path | None,
    unverified: bool,
    predictions: bool,
    name: str,
    title: str,
    pair: str | None,
    relabel: str | None,
    resample: str | None,
    corrects: str,
    who: str,
    signers: Path | None,
    runs: Path,
    cache: Path,
) -> None:
    """Verify a submission FILE and add its records to the board, marked."""
    folder = packed_predictions.Folder(name, title, packed_predictions.Reading(pair, relabel, resample))
    packed_predictions.check_folder(file, predictions, folder)
    if predictions:
        if unverified:
            raise HarnessError(
                "--unverified and --predictions exclude each other: their scores are made here."
            )
        sys.exit(
            packed_predictions.submit_them(file, folder, protocol, data, cache, runs, signers, corrects, who)
        )
    with waiting("Reading the submission ...") as say:
        from harness.submission import archive

        submission = archive.read(file)
        say("Reading the cohort ...")
        yardstick = _yardstick(submission, protocol, data, unverified, runs, cache, counted(say))
        from harness.running.paths import Paths
        from harness.store import Store
        from harness.submission.submit import Signed, duplicates, name_of, submit
        from harness.submission.verify import verify

        say("Recomputing the scores ...")
        report = verify(submission, yardstick, counted(say))
        key = _name_key(report, file, submission, signers)
        say("")
        print_findings(report.findings)
        if report.failed:
            _conclude(file, report)
            sys.exit(1)
        say("Adding the records ...")
        alike = duplicates(Store(runs), submission.manifest, report, yardstick)
        by = Signed(key, corrects, who)
        obtained = submit(submission.manifest, report, yardstick, Paths(runs, data, cache), by)
    mark = {"verified": "verified from predictions", "reported": "self-reported"}[obtained]
    name = name_of(submission.manifest)
    click.echo(f"Added {len(report.parsed)} records of '{name}' to {runs}, marked: {mark}.")
    for one in alike:
        click.echo(plain(f"Look twice: {one}."))
    if unverified:
        click.echo("Self-reported because --unverified was given: no score was recomputed here.")
    click.echo("Its source was not run and not installed; it stands in each record.json (method.source).")
    click.echo("harness report builds the board with it.")


def _check_namespace(namespace: str) -> None:
    """Raise HarnessError for what is no name of a submitter."""
    from harness.plugin import naming

    if not re.fullmatch(naming.NAMESPACE, namespace):
        raise HarnessError(
            f"--namespace {namespace[:60]}: give up to 39 letters a to z, digits and '-', the first of them "
            "a letter or a digit."
        )


def _name_key(report: Report, file: Path, submission: Submission, signers: Path | None) -> str:
    """Add what the file's signature says to a report; return the key's fingerprint, "" without one."""
    from harness.submission import signature

    found, key = signature.finding(file, submission.raw, signers)
    report.findings.append(found)
    return key


def check_writable(out: Path) -> None:
    """Raise HarnessError where the file could not be written, before a cohort is read for it."""
    if out.is_dir() or not out.parent.is_dir():
        said = "a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise HarnessError(f"--out {out}: {said}; choose another place for the file.")


def check_same(out: Path, packed: bytes) -> None:
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
    progress: Progress,
) -> Iterator[Finding]:
    from harness.running.paths import Paths
    from harness.sandbox.limits import Limits
    from harness.sandbox.runs import Sandbox
    from harness.submission.rerun import rerun
    from harness.training.device import cards, resolve_device

    if cards(device):
        raise HarnessError(f"--device {device}: a rerun trains on one GPU; name one.")
    place = resolve_device(device)
    box = Sandbox.here(place, cache, Limits()) if sandbox else None
    paths = Paths(Path(), data, cache)
    yield from rerun(submission, report, yardstick, seed, paths, place, box, progress)


def _yardstick(
    submission: Submission,
    protocol: str | None,
    data: Path | None,
    unverified: bool,
    runs: Path,
    cache: Path,
    progress: Progress,
) -> Yardstick:
    from harness.protocol import load
    from harness.store import Store
    from harness.submission import yardstick

    if unverified:
        name = submission.manifest.protocol if protocol is None else load(protocol).name
        return yardstick.from_board(Store(runs), name)
    chosen = protocol_of(submission.manifest.protocol, protocol)
    return yardstick.from_cohort(chosen, data, cache, progress)


def protocol_of(name: str, given: str | None) -> str:
    """Return the protocol to measure by; a name from the file is only ever looked up, never opened."""
    from harness.protocol import shipped

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


def print_findings(findings: list[Finding]) -> None:
    """Print a line for each finding, its verdict in colour."""
    for finding in findings:
        mark = click.style(f"{finding.verdict:18}", fg=_MARKS[finding.verdict])
        click.echo(f"{mark} {finding.what:11} {plain(finding.why)}")


def _nothing(findings: list[Finding]) -> None:
    """Print nothing yet: a program is given all at once."""


def _conclude(file: Path, report: Report) -> None:
    if report.failed:
        click.echo(plain(f"{file}: not verified; {len(report.failed)} checks failed."))
        return
    trained = any(f.what == "rerun" and f.verdict == "confirmed" for f in report.findings)
    click.echo(plain(f"{file}: verified; the scores follow from the predictions."))
    if not trained:
        click.echo("Whether the predictions come from training this source, only --rerun SEED can tell.")
