"""From what was given to an evaluation: folders, files of scores, a protocol's own cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from harness.cohorts import source
from harness.errors import HarnessError
from harness.metrics.surface import TOLERANCE
from harness.predictions import coding, gather, people, reported
from harness.predictions.evaluation import MEASURED, REPORTED, Evaluation, checked
from harness.predictions.ids import listed
from harness.predictions.people import Ask, People
from harness.predictions.scored import Options, Progress

if TYPE_CHECKING:
    from harness.cohorts.cohort import Cohort
    from harness.predictions.overlays import Picture
    from harness.protocol import Protocol

_SILENT: Progress = lambda done, total: None  # noqa: E731


@dataclass(frozen=True)
class Given:
    """What a user gave: places of predictions with a name each; one that is there twice has two trainings."""

    places: tuple[str, ...]
    names: tuple[str, ...]
    truth: str | None = None
    table: pd.DataFrame | None = None
    table_file: str = "the table"
    pair: str | None = None
    pair_truth: str | None = None
    structures: str | None = None
    ask: Ask = field(default_factory=Ask)
    resample: str | None = None
    relabel: str | None = None
    spacing: tuple[float, ...] | None = None
    tolerance: float = TOLERANCE


def evaluation(given: Given, progress: Progress = _SILENT) -> Evaluation:
    """Return the evaluation of what was given. Raises HarnessError, one sentence, for what does not fit."""
    kinds = {reported.is_reported(place) for place in given.places}
    if len(kinds) > 1:
        raise HarnessError("Give folders of predictions or files of scores; both together are not one table.")
    return _from_scores(given) if kinds == {True} else _from_maps(given, progress)


def _from_maps(given: Given, progress: Progress) -> Evaluation:
    if given.truth is None:
        raise HarnessError("--truth: give the folder of the true masks, or --protocol with its own cohort.")
    rules = (given.pair, given.pair_truth)
    sets, truths, names = gather.folders(given.places, given.truth, rules, given.structures)
    relabel = coding.relabelled(given.relabel) if given.relabel else {}
    options = Options(names, given.resample, relabel, given.tolerance, given.spacing)
    pairs = [gather.paired(one, truths) for one in sets]
    _check_same(given, [list(one.cases) for one in pairs])
    cases = list(pairs[0].cases)
    patients = [pairs[0].cases[name][0].patient or pairs[0].cases[name][1].patient for name in cases]
    # The table first: it is cheap, and a wrong one would be found after hours of scoring.
    who = _people(given, cases, patients, pairs[0].tail)
    found = [
        gather.gathered(one, options, place, progress) for one, place in zip(pairs, given.places, strict=True)
    ]
    scores = _labelled([one.scores for one in found], given.names)
    calibration = _labelled([one.calibration for one in found], given.names)
    mm = given.spacing is not None or _has_spacing(truths.cases[cases[0]].maps)
    return Evaluation(
        checked(scores, given.places[0]), who, tuple(names.structures), MEASURED, calibration,
        tolerance=given.tolerance, unit="mm" if mm else "pixels",
        errors={name: one.errors for name, one in zip(given.names, found, strict=True)},
        notes=tuple(dict.fromkeys(note for one in found for note in one.said)) + who.notes,
        unpaired=tuple(dict.fromkeys(name for one in pairs for name in one.unpaired)),
    )  # fmt: skip


def _has_spacing(maps: dict[str, Path]) -> bool:
    from harness.predictions.files import suffix_of

    return any(suffix_of(file) in (".nii", ".nii.gz") for file in maps.values())


def _from_scores(given: Given) -> Evaluation:
    if given.table is None:
        raise HarnessError("--table: give the table that says of which group each case is.")
    names = coding.of_text(given.structures) if given.structures is not None else None
    sets, notes = [], []
    for place in given.places:
        beside = coding.beside(Path(place).parent) if names is None else None
        found = reported.read(Path(place), coding.of_dataset(beside) if beside else names)
        sets.append(found.scores)
        notes += [*found.notes, f"Scores are those of {found.kind}, taken as they are."]
    cases = sorted(sets[0]["sample"].unique())
    reported.aligned(dict(zip(map(str, given.places), sets, strict=True)), cases)
    who = _people(given, cases, [])
    structures = tuple(dict.fromkeys(sets[0]["structure"]))
    scores = checked(_labelled(sets, given.names), given.places[0])
    _check_complete(scores, cases, structures, given.places[0])
    return Evaluation(
        scores,
        who,
        structures,
        REPORTED,
        notes=tuple(dict.fromkeys(notes)) + who.notes,
        unit="the file's unit",
    )


def of_protocol(
    given: Given, protocol: Protocol, cohort: Cohort, progress: source.Progress = source.silent
) -> Evaluation:
    """Return the evaluation of predictions of a protocol's test samples, as its board has them.

    The same cohort, scores (`running.scoring`), samples that count and statistics. Raises HarnessError where
    a test sample has no prediction.
    """
    from harness.predictions.protocols import predicted
    from harness.running import scoring

    frames: list[pd.DataFrame] = []
    notes: list[str] = []
    for place in given.places:
        labels, said = predicted(place, given, protocol, cohort)
        notes += said
        what = f"Scoring {len(frames) + 1} of {len(given.places)}, samples"
        frames.append(scoring.score(protocol, cohort, labels, partial(progress, what)))
    sizes = scoring.sizes(protocol, cohort).melt("sample", var_name="structure", value_name="size")
    scores = _labelled(frames, given.names).merge(sizes, on=["sample", "structure"], how="left")
    first = protocol.ranked_by
    return Evaluation(
        checked(scores, given.places[0]), _tested(protocol, cohort),
        (first, *(name for name in protocol.structures if name != first)),
        rank=protocol.scoring.rank, margin=protocol.claims.equivalence_margin,
        tolerance=protocol.scoring.tolerance, unit="pixels" if cohort.spacing is None else "mm",
        notes=tuple(dict.fromkeys(notes)), title=protocol.title,
    )  # fmt: skip


def _tested(protocol: Protocol, cohort: Cohort) -> People:
    """Return who is tested, in the order in which a board has them: by sample."""
    from harness.running import scoring

    subjects = scoring.subjects(protocol, cohort)
    own = subjects[subjects["split"] == "test"].sort_values("sample").reset_index(drop=True)
    numbers = {
        name: own[f"{name}_value"].to_numpy(float) for name in protocol.attributes if f"{name}_value" in own
    }
    notes = tuple(one.message for one in cohort.remarks)
    return People(own[["sample", "patient", *protocol.attributes]], dict(cohort.groups), numbers, notes)


def _people(given: Given, cases: list[str], patients: list[str], tail: str = "") -> People:
    """Return who the cases are. `tail`: what all their files' names end in, which may be in the table too."""
    if given.table is None:
        if given.ask.attributes:
            raise HarnessError("--attribute: groups are read from a table; give it with --table.")
        return people.plain(cases, patients if any(patients) else ())
    if tail and not any(patients):
        try:
            who = people.of_cases(given.table, [case + tail for case in cases], given.ask, given.table_file)
            return replace(who, table=who.table.assign(sample=cases))
        except HarnessError:
            pass  # what is wrong with the names without it is said below
    return people.of_cases(given.table, cases, given.ask, given.table_file, patients)


def _labelled(frames: Sequence[pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """Return frames as one, with `model` and `seed`: how often a name came before."""
    seen: dict[str, int] = {}
    found = []
    for name, frame in zip(names, frames, strict=True):
        found.append(frame.assign(model=name, seed=seen.get(name, 0)))
        seen[name] = seen.get(name, 0) + 1
    if len(set(seen.values())) > 1:
        raise HarnessError(
            f"--name: {listed(n for n, count in seen.items() if count == min(seen.values()))} has fewer "
            f"trainings "
            "than another; give the same number of folders for each name."
        )
    return pd.concat(found, ignore_index=True)


def _check_same(given: Given, cases: list[list[str]]) -> None:
    for place, own in zip(given.places, cases, strict=True):
        if own != cases[0]:
            apart = sorted(set(own) ^ set(cases[0]))
            raise HarnessError(
                f"{place}: has other cases than {given.places[0]} ({listed(apart)}); compare models on "
                f"the same ones."
            )


def _check_complete(scores: pd.DataFrame, cases: list[str], structures: Sequence[str], where: str) -> None:
    for (model, _), own in scores.groupby(["model", "seed"]):
        if len(own) != len(cases) * len(structures):
            raise HarnessError(
                f"{where}: '{model}' lacks scores of some case or structure; give all of them."
            )


def illustrated(
    found: Evaluation, given: Given, images: str, rule: str | None = None
) -> tuple[Evaluation, list[Picture]]:
    """Return pictures of the worst cases of the first set of predictions, and what has no image listed.

    rule: how images are named, as `find` takes it. Raises HarnessError for an image that does not fit.
    """
    from harness.predictions import overlays, page

    if given.truth is None:
        raise HarnessError("--images: outlines are drawn of predictions and --truth; give their folders.")
    rules = (given.pair, given.pair_truth)
    sets, truths, names = gather.folders(given.places[:1], given.truth, rules, given.structures)
    relabel = coding.relabelled(given.relabel) if given.relabel else {}
    options = Options(names, given.resample, relabel, given.tolerance, given.spacing)
    cases = gather.paired(sets[0], truths).cases
    pairs = overlays.paired(images, rule, list(cases))
    worst = page.rows(found.worst[found.worst["model"] == found.models[0]])
    drawn = overlays.pictures(worst, cases, pairs, options, found.metric)
    return replace(found, unpaired=(*found.unpaired, *pairs.unpaired)), drawn
