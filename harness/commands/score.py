"""`harness score`: what can be said of the equity of a model that was trained elsewhere."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands import asked
from harness.commands.options import CACHE, DATA, PROTOCOL_NAME, Number
from harness.commands.verb import Verb
from harness.commands.waiting import counted, waiting
from harness.errors import HarnessError, plain

if TYPE_CHECKING:
    from harness.predictions.evaluation import Evaluation
    from harness.predictions.make import Given
    from harness.predictions.overlays import Picture

_SCORES = (".json", ".csv", ".tsv")


@click.command("score", cls=Verb, interrupted="what was scored is not kept; the same command begins anew")
@click.argument("predictions", nargs=-1, required=True)
@click.option("--truth", help="Folder or pattern of the true masks.")
@click.option("--table", type=click.Path(path_type=Path), help="CSV file with a row a case.")
@click.option(
    "--name", "names", multiple=True, help="Of the model; one for each folder, a name twice is two trainings."
)
@click.option(
    "--attribute", "attributes", multiple=True, help="Column of groups; age:40,60 makes groups of a number."
)
@click.option("--number", "numbers", multiple=True, help="Column that scores are shown along.")
@click.option("--patient", help="Column of the patients.")
@click.option("--id", "id_column", help="Column of the cases' ids.")
@click.option("--pair", help="How predictions are named: '{id}_pred.nii.gz', '{id}_{structure}.png'.")
@click.option("--pair-truth", help="How true masks are named, likewise.")
@click.option("--structures", help="Labels by name, 'disc=1,2;cup=2', or a dataset.json.")
@click.option("--protocol", type=PROTOCOL_NAME, help="Score the test samples of a protocol, with its cohort.")
@click.option(
    "--resample", type=click.Choice(["nearest"]), help="Take predictions of another size, by nearest pixel."
)
@click.option("--relabel", help="What labels of the predictions are in the truth: '1=2,2=1'.")
@click.option("--spacing", help="Millimetres along the axes, where no header says them: '0.5,0.5'.")
@click.option(
    "--tolerance",
    type=Number(0, min_open=True),
    default=2.0,
    show_default=True,
    help="Of the surface Dice, in mm or pixels.",
)
@click.option("--images", help="Folder of the images: the worst cases are drawn with both outlines.")
@click.option("--pair-images", help="How images are named, likewise.")
@click.option("--publish-images", is_flag=True, help="The images may be on the page: without it none is.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print groups and gaps as CSV.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the page, and every table as CSV and JSON."
)
@click.option("--open", "open_it", is_flag=True, help="Open the page in a browser.")
@DATA
@CACHE
def score_command(
    predictions: tuple[str, ...],
    truth: str | None,
    table: Path | None,
    names: tuple[str, ...],
    attributes: tuple[str, ...],
    numbers: tuple[str, ...],
    patient: str | None,
    id_column: str | None,
    pair: str | None,
    pair_truth: str | None,
    structures: str | None,
    protocol: str | None,
    resample: str | None,
    relabel: str | None,
    spacing: str | None,
    tolerance: float,
    images: str | None,
    pair_images: str | None,
    publish_images: bool,
    as_json: bool,
    as_csv: bool,
    out: Path | None,
    open_it: bool,
    data: Path | None,
    cache: Path,
) -> None:
    """Say how equitable PREDICTIONS are: folders of label maps, or files of scores by case."""
    _check_places(predictions, truth, images)
    _check_images(predictions, images, pair_images, publish_images, out is not None or open_it)
    _check_protocol(
        protocol, {"--truth": truth, "--table": table, "--structures": structures, "--spacing": spacing,
         "--images": images},
    )  # fmt: skip
    _check_outputs(out, as_json, as_csv, table)
    with waiting("Reading the table ...") as say:
        from harness.predictions import people
        from harness.predictions.people import Ask

        called = _names(predictions, names)
        apart = _spacing(spacing)
        frame = None if table is None else people.read(table)
        under = None if protocol is None else asked.protocol(protocol)
        from harness.predictions.make import Given

        given = Given(
            predictions, called, truth, frame, str(table), pair, pair_truth, structures,
            Ask(id_column, patient, attributes, numbers), resample, relabel, apart, tolerance,
        )  # fmt: skip
        found = _evaluated(given, under, data, cache, say)
        pictures: list[Picture] = []
        if images is not None:
            from harness.predictions import make

            say("Drawing the worst cases ...")
            found, pictures = make.illustrated(found, given, images, pair_images)
        say("Computing intervals ...")
        _give(found, pictures, (as_json, as_csv), out, open_it, say)


def _evaluated(
    given: Given, under: object, data: Path | None, cache: Path, say: Callable[[str], None]
) -> Evaluation:
    from harness.predictions import make
    from harness.protocol import Protocol

    if isinstance(under, Protocol):
        from harness import cohorts

        say("Reading the cohort ...")
        cohort = cohorts.load(under, data, cache, counted(say))
        return make.of_protocol(given, under, cohort, counted(say))
    return make.evaluation(given, partial(counted(say), "Scoring"))


def _give(
    found: Evaluation,
    pictures: list[Picture],
    printed: tuple[bool, bool],
    out: Path | None,
    open_it: bool,
    say: Callable[[str], None],
) -> None:
    from harness.predictions import export

    text = export.as_json(found) if printed[0] else export.as_csv(found) if printed[1] else ""
    page = None
    if out is not None or open_it:
        say("Writing the page ...")
        where = out or Path(
            "score-" + re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(found.models)).strip("-.").lower()
        )
        page = export.write(where, export.contents(found, pictures))
    say("")
    if text:
        click.echo(text, nl=False)
    else:
        for line in _lines(found):
            click.echo(plain(line))
    if page is not None:
        click.echo(f"Wrote {page}; print it for a PDF.", err=bool(text))
        if open_it:
            click.launch(str(page))


def _lines(found: Evaluation) -> list[str]:
    """Return what a terminal shows: who, the groups, what each gap says, and how the data were read."""
    from harness.predictions import words
    from harness.predictions.page import rows

    lines = [f"{' and '.join(found.models)} ({found.obtained}). {words.standing(found)}", ""]
    metric = found.metric
    for (attribute, structure, model), own in (
        found.groups.groupby(["attribute", "structure", "model"], sort=False) if len(found.groups) else ()
    ):
        lines.append(f"{attribute}, {structure}, {model}: mean {words.METRIC_NAMES[metric]} [95% interval]")
        for row in rows(own):
            shown = f"{words.number(row['estimate'], metric):>7}  [{words.interval(row, metric)}]"
            lines.append(f"  {row['group'] or 'everybody'!s:24} {row['patients']:6} patients {shown}")
        gaps = found.gaps.query("attribute == @attribute and structure == @structure and model == @model")
        lines += [f"  {words.gap(row, metric)}" for row in rows(gaps)]
    if len(found.comparison):
        overall = rows(found.comparison.query("quantity in ('es_sum', 'gap')"))
        lines += [
            f"{row['attribute']}, {row['structure']}: {row['model']}, "
            f"{'gap' if row['quantity'] == 'gap' else 'equity-scaled Dice'} {words.difference(row, metric)}."
            for row in overall
        ]
    lines += [f"note  {note}" for note in found.notes]
    return lines + [f"not scored  {one}" for one in found.unpaired]


def _check_places(predictions: tuple[str, ...], truth: str | None, images: str | None) -> None:
    """Raise HarnessError for what is not there, before anything heavy is imported."""
    for place in (*predictions, truth, images):
        if (
            place is not None
            and not os.path.lexists(place)
            and not (glob.has_magic(place) and glob.glob(place))
        ):
            raise HarnessError(f"{place}: there is no such file or folder; give predictions that are there.")


def _check_images(
    predictions: tuple[str, ...], images: str | None, pair: str | None, publish: bool, page: bool
) -> None:
    """Raise HarnessError for images that may not be shown, or that nothing would be drawn on."""
    if images is None:
        if publish or pair is not None:
            option = "--publish-images" if publish else "--pair-images"
            raise HarnessError(f"{option}: of which images? Give their folder with --images.")
        return
    if not publish:
        raise HarnessError(
            "--images: the worst cases would be on the page; add --publish-images if they may."
        )
    if not page:
        raise HarnessError("--images: are shown on the page; add --out DIR or --open.")
    if any(place.endswith(_SCORES) for place in predictions):
        raise HarnessError("--images: files of scores have no outlines to draw; give folders of predictions.")


def _check_protocol(protocol: str | None, others: dict[str, object]) -> None:
    if protocol is not None:
        both = next((option for option, value in others.items() if value is not None), None)
        if both is not None:
            raise HarnessError(f"{both} and --protocol exclude each other: the protocol's cohort says that.")
    elif others["--truth"] is None and others["--table"] is None:
        raise HarnessError("Give --truth with the true masks and --table with the groups, or --protocol.")


def _check_outputs(out: Path | None, as_json: bool, as_csv: bool, table: Path | None) -> None:
    if as_json and as_csv:
        raise HarnessError("--json and --csv exclude each other; --out DIR writes both.")
    if out is not None and out.is_file():
        raise HarnessError(f"--out {out}: a file; give a folder for the page and its tables.")
    if table is not None and not table.exists():
        raise HarnessError(f"--table {table}: there is no such file; give a CSV file with a row a case.")


def _names(places: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a name for each place: as given, else that of its folder or file."""
    found = names or tuple(_name_of(place) for place in places)
    if len(found) != len(places):
        raise HarnessError(
            f"--name: {len(names)} names for {len(places)} sets of predictions; give one for each."
        )
    if not names and len(set(found)) < len(found):
        raise HarnessError(f"Two sets of predictions are called '{found[0]}'; give each a --name.")
    if any(not name.strip() for name in found):
        raise HarnessError("--name: is empty; give the model a name.")
    return found


def _name_of(place: str) -> str:
    path = Path(place.split("*")[0].rstrip("/") or ".").resolve()
    return path.stem if path.suffix in _SCORES else path.name


def _spacing(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not 2 <= len(found) <= 3 or not all(0 < one < 1e6 for one in found):
        raise HarnessError(f"--spacing {text}: give two or three numbers of mm above 0, as in 0.5,0.5.")
    return found
