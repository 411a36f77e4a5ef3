import numpy as np
import pytest

from harness.equity import Scores, resample, summarise
from harness.equity.standardise import standardised, strata
from harness.errors import HarnessError


def gap_of(scores: Scores) -> tuple[float, float]:
    table = summarise(resample(scores, resamples=500))
    row = table[table.quantity == "gap"].iloc[0]
    return row.estimate, row.low


def cohort(by_group: float) -> tuple[Scores, np.ndarray]:
    """Two groups, one with larger structures; Dice grows with size, and differs by group if told."""
    rng = np.random.default_rng(0)
    groups = np.repeat(["a", "b"], 300)
    size = rng.integers(0, 3, 600) * 100.0
    size[:300] = np.repeat([0.0, 100.0, 200.0], [200, 70, 30])
    dice = 0.6 + 0.001 * size - by_group * (groups == "a") + rng.normal(0, 0.01, 600)
    return Scores({"erm": dice.clip(0, 1)}, groups, np.arange(600)), size


def test_a_gap_that_is_only_size_goes_away():
    scores, size = cohort(0.0)
    assert gap_of(scores)[1] > 0.03
    level = standardised(scores, size)
    estimate, low = gap_of(level)
    assert estimate < 0.005
    assert low == 0


def test_a_gap_that_is_more_than_size_stays():
    scores, size = cohort(0.05)
    estimate, low = gap_of(standardised(scores, size))
    assert estimate == pytest.approx(0.05, abs=0.005)
    assert low > 0.02


def test_group_means_are_those_of_a_hand_calculation():
    groups = np.array(["a", "a", "a", "b", "b", "b"])
    size = np.array([1.0, 1.0, 2.0, 1.0, 2.0, 2.0])
    dice = np.array([0.2, 0.4, 0.9, 0.3, 0.8, 0.6])
    level = standardised(Scores({"m": dice}, groups, np.arange(6), min_patients=1), size)
    rows = level.by_method["m"][0]
    # Half of all samples are small: a = (0.3 + 0.9) / 2, b = (0.3 + 0.7) / 2.
    assert rows[:3].mean() == pytest.approx(0.6)
    assert rows[3:].mean() == pytest.approx(0.5)


def test_a_group_that_lacks_a_size_cannot_be_compared():
    groups = np.repeat(["a", "b"], 20)
    size = np.repeat([1.0, 5.0], 20)
    assert standardised(Scores({"m": np.full(40, 0.5)}, groups, np.arange(40)), size) is None


def test_equal_sizes_are_never_parted():
    assert len(set(strata(np.array([5.0] * 10 + [7.0] * 2))[:10])) == 1


def test_sizes_that_do_not_fit_are_refused():
    scores, size = cohort(0.0)
    with pytest.raises(HarnessError, match="give a finite size for each"):
        standardised(scores, size[:-1])
