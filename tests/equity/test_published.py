"""The numbers that our field notes print of Harvard-FairSeg's test set, from the definitions in use here.

docs/published.md says what is not among them: the FairSeg paper's own tables.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.equity import Scores, es_sum, gap, noise_floor, resample, sum_gap

LEVEL, SPREAD, COHORTS = 0.85, 0.08, 40_000
ROWS = pd.read_csv(Path(__file__).with_name("published.csv"))


def chance(sizes: list[int], unknown: int) -> tuple[np.ndarray, np.ndarray]:
    """Overall and groups' means of cohorts without any disparity: float [COHORTS], [COHORTS, G]."""
    rng = np.random.default_rng(0)
    every = np.array([*sizes, unknown])
    means = LEVEL + SPREAD / np.sqrt(np.maximum(every, 1)) * rng.standard_normal((COHORTS, len(every)))
    return means @ every / every.sum(), means[:, :-1]


@pytest.mark.parametrize("row", list(ROWS.itertuples()), ids=(ROWS.what + " " + ROWS.quantity).tolist())
def test_what_chance_makes_of_fairsegs_test_groups(row):
    overall, groups = chance([int(size) for size in row.sizes.split()], row.unknown)
    found = {
        "es_sum": es_sum(overall, groups).mean(),
        "sum_gap": sum_gap(overall, groups).mean(),
        "gap_95": np.quantile(gap(overall, groups), 0.95),
    }
    assert found[row.quantity] == pytest.approx(row.expected, abs=row.within)


def test_the_noise_floor_of_one_such_cohort_is_what_its_spread_makes_of_the_printed_gap():
    # The chance gap is proportional to the spread; clipped at 1, this cohort's own is 0.071 and not 0.08.
    rng = np.random.default_rng(1)
    groups = np.repeat(["a", "b", "c"], [40, 60, 400])
    dice = np.clip(rng.normal(LEVEL, SPREAD, 500), 0, 1)
    table = noise_floor(resample(Scores({"erm": dice}, groups, np.arange(500)), seed=0, resamples=2_000))
    row = table[(table.quantity == "gap") & (table.group == "")].iloc[0]
    _, means = chance([40, 60, 400], 0)
    expected = np.quantile(gap(np.array(LEVEL), means), 0.95) * dice.std() / SPREAD
    assert row.floor_95 == pytest.approx(expected, rel=0.04)


def test_percent_instead_of_fractions_gives_another_score():
    # 0.85 with groups 0.02 above and below it: 0.85 / 1.04; on percent 85 / (1 + 4).
    assert es_sum(np.array(0.85), np.array([0.87, 0.83])) == pytest.approx(0.817, abs=5e-4)
    assert es_sum(np.array(85.0), np.array([87.0, 83.0])) == pytest.approx(17.0)
