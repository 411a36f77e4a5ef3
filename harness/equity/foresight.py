"""Before anything is trained: what a test set of so many patients in each group can see."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.equity.noise import detectable
from harness.equity.options import number
from harness.equity.scores import Scores
from harness.equity.summary import TOO_FEW

FORESIGHT = ("group", "patients", "samples", "floor_95", "detectable", "note")
"""Columns of `foresee`: floor_95: the gap that chance alone exceeds in 5% of test sets like this one (group
"" only); detectable: the smallest true gap of one group from all others seen above that with probability
0.8, for each group and (group "") for whichever group is hardest to see."""

SPREAD = 0.15
"""Standard deviation of a patient's mean Dice between patients that is assumed where nothing is known."""

_DRAWS = 4_000


def foresee(
    groups: np.ndarray, patients: np.ndarray, order: Sequence[str] = (), spread: float = SPREAD
) -> pd.DataFrame:
    """Return what a test set can see of gaps between these groups; columns are `FORESIGHT`.

    groups: [N], a name or None for unknown; patients: [N]; order: all groups as they should be listed, also
    those that nobody here is of. Patients' scores are taken as independent with the standard deviation
    `spread`, whatever their group, and each weighs by its samples, as on the board: a group's mean is then
    normal with the variance spread^2 sum(m^2) / sum(m)^2, m its patients' samples. Everything is
    proportional to `spread`; the variance between trainings comes on top of it.
    """
    spread = number("spread", spread, "a standard deviation above 0", above=True)
    if all(pd.isna(group) for group in groups):
        counts = [("", len(set(patients)), len(groups)), *((group, 0, 0) for group in order)]
        return pd.DataFrame([(*row, math.nan, math.nan, TOO_FEW) for row in counts], columns=list(FORESIGHT))
    scores = Scores({"": np.zeros((1, len(groups)))}, groups, patients, order=order)
    units, kept = scores.units, len(scores.kept)
    own = [units.samples[units.stratum == g] for g in range(kept)]
    errors = np.array([spread * math.sqrt(float((m**2).sum())) / float(m.sum()) for m in own])
    dealt = np.random.default_rng(0).standard_normal((_DRAWS, kept)) * errors
    seen = dict(zip(scores.kept, detectable(dealt).tolist(), strict=True)) if kept > 1 else {}
    floor = float(np.quantile(np.ptp(dealt, axis=1), 0.95)) if kept > 1 else math.nan
    whole = (*_counts(scores, ""), floor, max(seen.values(), default=math.nan), "" if seen else TOO_FEW)
    rows: list[tuple[object, ...]] = []
    for group in scores.order:
        note = "" if group in scores.kept else TOO_FEW
        rows.append((*_counts(scores, group), math.nan, seen.get(group, math.nan), note))
    return pd.DataFrame([whole, *rows], columns=list(FORESIGHT))


def _counts(scores: Scores, group: str) -> tuple[str, int, int]:
    samples, patients = scores.counts[group]
    return group, patients, samples
