"""`harness pack --predictions`, `harness submit --predictions`: a row of a model trained elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands import asked
from harness.commands.waiting import counted, waiting
from harness.errors import HarnessError, plain

if TYPE_CHECKING:
    from harness.submission.predicted import Predictions
    from harness.submission.yardstick import Yardstick

Say = Callable[[str], None]


@dataclass(frozen=True)
class Reading:
    """How label maps are read, in the words of `harness score`; None where nothing is said."""

    pair: str | None = None
    relabel: str | None = None
    resample: str | None = None


def pack_them(
    method: str,
    title: str,
    namespace: str,
    protocol: str,
    data: Path | None,
    cache: Path,
    places: tuple[str, ...],
    reading: Reading,
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
        from harness.submission import pack, signature, yardstick

        measured = yardstick.from_cohort(protocol, data, cache, counted(say))
        say("Reading the predictions ...")
        packed, notes = _packed(places, method, title, namespace, reading, measured)
        check_same(file, packed)
        pack.write(packed, file)
        if key is not None:
            say("")
            pack.write(signature.sign(packed, key), signature.place(file))
    for note in notes:
        click.echo(plain(f"note  {note}"))
    click.echo(f"Wrote {file}, {len(packed) / 1e6:.1f} MB. It holds predictions and nothing else.")
    if key is not None:
        click.echo(f"Wrote {signature.place(file)}, its signature; give both away.")


def _packed(
    places: tuple[str, ...],
    method: str,
    title: str,
    namespace: str,
    reading: Reading,
    measured: Yardstick,
) -> tuple[bytes, list[str]]:
    """Return the file of predictions of label maps, and what is to be said of how they were read."""
    from harness.predictions import protocols
    from harness.predictions.make import Given
    from harness.submission import predicted

    if measured.cohort is None:
        raise HarnessError("Packing predictions needs the cohort; give its files with --data.")
    given = Given(places, places, pair=reading.pair, relabel=reading.relabel, resample=reading.resample)
    read = [protocols.predicted(place, given, measured.protocol, measured.cohort) for place in places]
    packed = predicted.pack(method, title, namespace, measured, [labels for labels, _ in read])
    return packed, list(dict.fromkeys(note for _, notes in read for note in notes))


@dataclass(frozen=True)
class Folder:
    """What is said of a folder of label maps that a packed file says itself."""

    name: str = ""
    title: str = ""
    reading: Reading = Reading()


def check_folder(file: Path, predictions: bool, folder: Folder) -> None:
    """Raise HarnessError for what is said of a folder where there is none, or where none can be meant."""
    said = {"name": folder.name, "title": folder.title, **vars(folder.reading)}
    for option, value in said.items():
        if value and not (predictions and file.is_dir()):
            raise HarnessError(f"--{option}: is of a folder of label maps; a file says it itself.")
    if file.is_dir() and not predictions:
        raise HarnessError(f"{file}: a folder; add --predictions if it holds a model's label maps.")


def submit_them(
    file: Path,
    folder: Folder,
    protocol: str | None,
    data: Path | None,
    cache: Path,
    runs: Path,
    signers: Path | None,
    corrects: str,
    who: str,
) -> int:
    """Score the predictions of a file and add them to the board; return the exit status."""
    from harness.commands.submission import print_findings

    with waiting("Reading the predictions ...") as say:
        if file.is_dir():
            given, measured, notes = _of_folder(file, folder, protocol, data, cache, say)
        else:
            given, measured, notes = _of_file(file, protocol, data, cache, say)
        from harness.running.paths import Paths
        from harness.store import Store
        from harness.submission import predictions, signature
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
    for note in notes:
        click.echo(plain(f"note  {note}"))
    trainings = len(report.parsed)
    click.echo(f"Added {trainings} records of '{name_of(manifest)}' to {runs}, marked: predictions only.")
    if trainings < 3:
        click.echo("It is shown and not ranked: fewer than three trainings tell no two methods apart.")
    for one in alike:
        click.echo(plain(f"Look twice: {one}."))
    click.echo("harness report builds the board with it.")
    return 0


def _of_file(
    file: Path, protocol: str | None, data: Path | None, cache: Path, say: Say
) -> tuple[Predictions, Yardstick, list[str]]:
    from harness.commands.submission import protocol_of
    from harness.submission import predicted

    given = predicted.read(file)
    say("Reading the cohort ...")
    from harness.submission import yardstick

    chosen = protocol_of(given.manifest.protocol, protocol)
    return given, yardstick.from_cohort(chosen, data, cache, counted(say)), []


def _of_folder(
    file: Path, folder: Folder, protocol: str | None, data: Path | None, cache: Path, say: Say
) -> tuple[Predictions, Yardstick, list[str]]:
    """Return a folder of label maps as the file that `harness pack --predictions` makes of it."""
    from harness.plugin import naming

    if protocol is None:
        raise HarnessError(f"{file}: a folder does not say of which protocol it is; give --protocol.")
    name = folder.name or file.resolve().name
    naming.check_name(name)
    say("Reading the cohort ...")
    from harness.submission import predicted, yardstick

    measured = yardstick.from_cohort(protocol, data, cache, counted(say))
    say("Reading the predictions ...")
    packed, notes = _packed((str(file),), name, folder.title, naming.GUEST, folder.reading, measured)
    return predicted.parsed(packed, str(file)), measured, notes
