import numpy as np
import pytest
from scipy import stats

from harness.equity import UNKNOWN, Scores, unknown


def test_the_difference_of_those_of_unknown_group_is_welchs():
    # One seed and one method: two independent means, with Welch's degrees of freedom.
    rng = np.random.default_rng(0)
    values = rng.uniform(0.6, 0.9, 100)
    groups = np.array(["a"] * 50 + ["b"] * 20 + [None] * 30, dtype=object)
    values[groups == None] -= 0.04  # noqa: E711
    (row,) = unknown(Scores({"erm": values}, groups, np.arange(100))).to_dict("records")
    theirs = stats.ttest_ind(values[70:], values[:70], equal_var=False)
    assert (row["samples"], row["patients"]) == (30, 30)
    assert row["difference"] == pytest.approx(values[70:].mean() - values[:70].mean())
    assert (row["low"], row["high"]) == pytest.approx(theirs.confidence_interval(), abs=2e-4)
    assert row["p"] == pytest.approx(theirs.pvalue, rel=0.03)


def test_the_bounds_are_the_gaps_were_all_of_unknown_group_of_one_group():
    values = np.repeat([0.9, 0.8, 0.5], [20, 30, 10])
    groups = np.array(["a"] * 20 + ["b"] * 30 + [None] * 10, dtype=object)
    (row,) = unknown(Scores({"erm": values}, groups, np.arange(60))).to_dict("records")
    # In a: (20 x 0.9 + 10 x 0.5) / 30 = 0.7667, 0.0333 below b; in b: (30 x 0.8 + 5) / 40 = 0.725.
    assert row["gap"] == pytest.approx(0.1)
    assert (row["gap_low"], row["all_in_low"]) == (pytest.approx(0.1 / 3), "a")
    assert (row["gap_high"], row["all_in_high"]) == (pytest.approx(0.175), "b")


@pytest.mark.parametrize(("hidden", "rows"), [(0, 0), (9, 1)])
def test_nobody_or_too_few_of_unknown_group_have_no_numbers(make_scores, hidden, rows):
    found = unknown(make_scores([40, 40], methods=("erm",), unknown=hidden))
    assert (tuple(found.columns), len(found)) == (UNKNOWN, rows)
    assert found["difference"].isna().all()


def test_people_like_the_others_are_seldom_called_different(make_scores):
    told = [
        unknown(make_scores([40, 60], methods=("a", "b", "c"), unknown=30, seed=seed))["p"].min() <= 0.05
        for seed in range(60)
    ]
    assert sum(told) <= 8  # a rate of 5% exceeds it in less than 1 of 100 runs
