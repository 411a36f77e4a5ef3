"""`harness pack --predictions`, `harness submit --predictions`: a row of a model trained elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import click

from harness.commands import asked
from harness.commands.waiting import counted, waiting
from harness.errors import HarnessError, plain


def pack_them(
    method: str,
    title: str,
    namespace: str,
    protocol: str,
    data: Path | None,
    cache: Path,
    places: tuple[str, ...],
    pair: str | None,
    out: Path | None,
    key: Path | None,
) -> None:
    """Write the file of predictions. Raises HarnessError, one sentence, for what does not fit."""
    from harness.commands.submission import check_same, check_writable
    from harness.plugin import naming

    naming.check_name(method)
    for place in places:
        if not os.path.lexists(place):
            raise HarnessError(
                f"--predictions {place}: there is no such folder; give label maps that are there."
            )
    with waiting("Reading the protocol ...") as say:
        chosen = asked.protocol(protocol)
        file = out or Path(f"{method}-{chosen.name}-predictions.zip")
        check_writable(file)
        say("Reading the cohort ...")
        from harness.predictions import protocols
        from harness.predictions.make import Given
        from harness.submission import pack, predicted, signature, yardstick

        measured = yardstick.from_cohort(protocol, data, cache, counted(say))
        given = Given(places, places, pair=pair)
        if measured.cohort is None:
            raise HarnessError("Packing predictions needs the cohort; give its files with --data.")
        say("Reading the predictions ...")
        labels = [protocols.predicted(place, given, chosen, measured.cohort)[0] for place in places]
        packed = predicted.pack(method, title, namespace, measured, labels)
        check_same(file, packed)
        pack.write(packed, file)
        if key is not None:
            say("")
            pack.write(signature.sign(packed, key), signature.place(file))
    click.echo(f"Wrote {file}, {len(packed) / 1e6:.1f} MB. It holds predictions and nothing else.")
    if key is not None:
        click.echo(f"Wrote {signature.place(file)}, its signature; give both away.")


def submit_them(
    file: Path,
    protocol: str | None,
    data: Path | None,
    cache: Path,
    runs: Path,
    signers: Path | None,
    corrects: str,
    who: str,
) -> int:
    """Score the predictions of a file and add them to the board; return the exit status."""
    from harness.commands.submission import print_findings, protocol_of

    with waiting("Reading the predictions ...") as say:
        from harness.submission import predicted

        given = predicted.read(file)
        say("Reading the cohort ...")
        from harness.submission import predictions, signature, yardstick

        chosen = protocol_of(given.manifest.protocol, protocol)
        measured = yardstick.from_cohort(chosen, data, cache, counted(say))
        from harness.running.paths import Paths
        from harness.store import Store
        from harness.submission.submit import Signed, duplicates, name_of, submit

        say("Computing the scores ...")
        manifest, report = predictions.verify(given, measured, counted(say))
        found, key = signature.finding(file, given.raw, signers)
        report.findings.append(found)
        say("")
        print_findings(report.findings)
        if report.failed:
            click.echo(plain(f"{file}: not added; {report.failed[0].why}."))
            return 1
        alike = duplicates(Store(runs), manifest, report, measured)
        by = Signed(key, corrects, who)
        submit(manifest, report, measured, Paths(runs, data, cache), by, predictions_only=True)
    trainings = len(report.parsed)
    click.echo(f"Added {trainings} records of '{name_of(manifest)}' to {runs}, marked: predictions only.")
    if trainings < 3:
        click.echo("It is shown and not ranked: fewer than three trainings tell no two methods apart.")
    for one in alike:
        click.echo(plain(f"Look twice: {one}."))
    click.echo("harness report builds the board with it.")
    return 0
