"""What a cohort's test set can see, before anything is trained: by attribute, and what would help."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.equity import MIN_PATIENTS
from harness.equity.foresight import SPREAD, foresee
from harness.equity.presence import ranks_present

if TYPE_CHECKING:
    from harness.cohorts.cohort import Cohort
    from harness.protocol import Protocol

MOST_TESTED = 0.5
"""The largest share of the patients that is proposed as a test set: the others are trained on."""

_WORTH = 0.8
"""Folds are proposed where they would see a gap this many times as large as now, or smaller."""


@dataclass(frozen=True)
class Sight:
    """What the test set sees of one attribute.

    table: as `foresee` gives it, the row of all groups first; whole: the same where every patient of the
    cohort is tested once; advice: what split or merge would help, a sentence each.
    """

    attribute: str
    table: pd.DataFrame
    whole: pd.DataFrame
    advice: tuple[str, ...]

    @property
    def floor(self) -> float:
        """The gap that chance alone exceeds in 5% of such test sets, NaN where none can be told."""
        return float(self.table["floor_95"].iloc[0])

    @property
    def few(self) -> list[str]:
        """The groups with too few test patients."""
        rows = self.table.iloc[1:]
        return list(rows.loc[rows["note"] != "", "group"])


def sights(cohort: Cohort, protocol: Protocol, spread: float = SPREAD) -> list[Sight]:
    """Return what the cohort's test set sees, an attribute each in the protocol's order."""
    return [_sight(cohort, protocol, attribute, spread) for attribute in protocol.attributes]


def _sight(cohort: Cohort, protocol: Protocol, attribute: str, spread: float) -> Sight:
    order, scored = cohort.groups[attribute], _scored(cohort, protocol)
    table, whole = (
        foresee(part[attribute].to_numpy(object), part["patient"].to_numpy(), order, spread)
        for part in (scored[scored["split"] == "test"], scored)
    )
    return Sight(attribute, table, whole, tuple(_advice(protocol, attribute, table, whole)))


def _scored(cohort: Cohort, protocol: Protocol) -> pd.DataFrame:
    """Return the subjects that the ranking score is of: where the structure is, and once a patient, if so."""
    subjects, by_patient = cohort.subjects, protocol.scoring.unit == "patient"
    if cohort.areas is not None:
        size = pd.Series(cohort.areas[:, list(protocol.classes(protocol.ranked_by))].sum(axis=1))
        size = size.groupby(subjects["patient"].to_numpy()).transform("sum") if by_patient else size
        if ranks_present(protocol.scoring.rank, size.to_numpy(float)[cohort.rows("test")]):
            subjects = subjects[size.to_numpy() > 0]
    return subjects.drop_duplicates("patient") if by_patient else subjects


def _advice(protocol: Protocol, attribute: str, table: pd.DataFrame, whole: pd.DataFrame) -> Iterator[str]:
    in_all = dict(zip(whole["group"][1:], whole["patients"][1:], strict=True))
    few = [group for group, note in zip(table["group"][1:], table["note"][1:], strict=True) if note]
    rare = [group for group in few if in_all[group] < MIN_PATIENTS]
    spare = [group for group in few if group not in rare]
    if spare:
        yield _more_tested(spare, in_all, protocol)
    if rare:
        yield _merged(rare, in_all, attribute, protocol)
    if not few and protocol.split.folds == 1:
        now, then = (float(one["detectable"].iloc[0]) for one in (table, whole))
        if then <= _WORTH * now:
            yield f"With [split] folds = 5 every patient is tested once: a gap of {then:.3f} would be seen."


def _more_tested(groups: list[str], in_all: dict[str, int], protocol: Protocol) -> str:
    """Say which larger test set has enough of groups that have enough patients in all."""
    share = max(MIN_PATIENTS / in_all[group] for group in groups)
    named = " and ".join(f"'{group}'" for group in groups[:3])
    folds = "[split] folds = 5, where every patient is tested once,"
    if share <= MOST_TESTED:
        test = min(MOST_TESTED, -(-share * 20 // 1) / 20)
        enough = f"would test {MIN_PATIENTS} or more of them"
        return f"{named}: [split] test = {test:g} {enough}; so would {folds[:-1]}."
    return f"{named}: {folds} would test {MIN_PATIENTS} or more of them."


def _merged(groups: list[str], in_all: dict[str, int], attribute: str, protocol: Protocol) -> str:
    """Say which groups together have enough patients, the smallest first."""
    by_size = sorted(in_all, key=lambda group: in_all[group])
    spec = protocol.attributes[attribute]
    named = " and ".join(f"'{group}' ({in_all[group]})" for group in groups[:3])
    lead = f"{named} {'has' if len(groups) == 1 else 'have'} fewer than {MIN_PATIENTS} patients in all: "
    if spec.bins:
        return f"{lead}take an edge out of bins in [attributes.{attribute}]."
    joined: list[str] = []
    patients = 0
    for group in by_size:
        joined, patients = [*joined, group], patients + in_all[group]
        if patients >= MIN_PATIENTS and set(groups) <= set(joined) and len(joined) > 1:
            break
    if len(joined) == len(in_all):
        return f"{lead}no merge leaves two groups; more patients alone would help."
    listed = ", ".join(f'"{group}"' for group in joined)
    return (
        f"{lead}if they belong together, `merge = {{ other = [{listed}] }}` in [attributes.{attribute}] "
        f"makes one group of {patients}; else they stay without a number."
    )


def said(seen: list[Sight], spread: float) -> Iterator[str]:
    """Yield what the test set can see, a line each; before any training, so from an assumed spread."""
    yield (
        f"What this test set can see, if Dice differs between patients by {spread:g} (standard deviation; "
        "--spread sets it) and trainings by nothing:"
    )
    for one in seen:
        few = f"no gap, because fewer than two groups have {MIN_PATIENTS} test patients"
        floor = f"noise floor {one.floor:.3f}, the gap that chance alone stays below in 95% of test sets"
        yield f"  {one.attribute}: {few if math.isnan(one.floor) else floor}"
        for row in one.table.iloc[1:].to_dict("records"):
            yield f"    {row['group']}: {_counted(row)}"
        yield from (f"    -> {sentence}" for sentence in one.advice)


def _counted(row: dict[Any, Any]) -> str:
    patients = f"{row['patients']} test patient{'s' if row['patients'] != 1 else ''}"
    if row["note"]:
        return f"{patients}, too few for a number (at least {MIN_PATIENTS})"
    if math.isnan(row["detectable"]):
        return patients
    return f"{patients}, a gap of {row['detectable']:.3f} is seen with probability 0.8"
