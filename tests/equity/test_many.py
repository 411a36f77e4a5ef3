import numpy as np
import pandas as pd
import pytest

from harness.equity import Scores, across, compare, many, noise_floor, rank, resample, summarise

KEYS = ["method", "quantity", "group"]


@pytest.fixture(scope="module", params=[10, 0], ids=["some unknown", "all known"])
def both(make_scores, request):
    lower = {"g0": -0.06}
    shifts = {"erm": lower, "fair": {"g0": -0.01}, "same": lower}
    scores = make_scores((60, 90, 250), shifts=shifts, methods=tuple(shifts), unknown=request.param)
    return resample(scores, resamples=4000, seed=0), many.errors(scores)


def joined(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    assert len(one) == len(other)
    return one.merge(other, on=KEYS, suffixes=("", "_many"), validate="one_to_one")


def test_estimates_are_those_of_the_resampled_tables(both):
    draws, source = both
    table = joined(summarise(draws), many.summarise(source))
    assert len(table) == len(summarise(draws))
    np.testing.assert_allclose(table["estimate"], table["estimate_many"], atol=1e-12)


def test_intervals_of_means_are_as_wide_as_the_resampled_ones(both):
    draws, source = both
    table = joined(summarise(draws), many.summarise(source)).query("quantity in ('overall', 'group')")
    ratio = (table["high_many"] - table["low_many"]) / (table["high"] - table["low"])
    assert ratio.between(0.85, 1.15).all()


def test_intervals_of_gaps_and_es_end_where_the_resampled_ones_do(both):
    draws, source = both
    table = joined(summarise(draws), many.summarise(source)).query("quantity not in ('overall', 'group')")
    assert len(table) == 3 * 8
    width = table["high"] - table["low"]
    for end in ("low", "high", "corrected"):
        assert ((table[f"{end}_many"] - table[end]).abs() < 0.15 * width).all(), end


def test_a_gap_that_is_noise_reaches_zero_and_its_es_the_overall_score():
    # Linear about the estimate, they excluded the truth for a fourth of such methods.
    rng, groups = np.random.default_rng(5), np.repeat(list("abcde"), 40)
    methods = {
        f"m{i}": np.clip(rng.normal(0.8, 0.08, 200) + rng.normal(0, 0.01, (3, 200)), 0, 1) for i in range(100)
    }
    table = many.summarise(many.errors(Scores(methods, groups, np.arange(200))))
    gap, es = (table.query("quantity == @name") for name in ("gap", "es_sum"))
    assert (gap["low"] < 0.001).mean() > 0.9
    assert ((es["low"] <= 0.8) & (es["high"] >= 0.8)).mean() > 0.9


def test_noise_floor_is_that_of_the_relabelling(both):
    draws, source = both
    slow = noise_floor(draws).query("quantity == 'gap' and group == ''").set_index("method")
    fast = many.noise_floor(source).set_index("method").loc[slow.index]
    np.testing.assert_allclose(fast["observed"], slow["observed"], atol=1e-12)
    np.testing.assert_allclose(fast["floor_95"], slow["floor_95"], rtol=0.15)


def test_the_same_methods_differ_from_the_baseline(both):
    draws, source = both
    slow = compare(draws).query("quantity == 'es_sum'").set_index("method")
    fast = many.compare(source, "erm").query("quantity == 'es_sum'").set_index("method").loc[slow.index]
    np.testing.assert_allclose(fast["difference"], slow["difference"], atol=1e-12)
    assert list(fast["better"]) == list(slow["better"]) == [True, None]


def test_the_order_and_the_first_are_the_same(both):
    draws, source = both
    slow, fast = rank(draws), many.rank(source)
    assert fast["method"].iloc[0] == slow["method"].iloc[0] == "fair"
    assert fast["p_best"].iloc[0] > 0.95
    assert (fast["rank_low"].iloc[0], fast["rank_high"].iloc[0]) == (1, 1)
    assert list(fast["letters"]) == ["a", "", ""]


def test_methods_trained_on_other_seeds_have_none_in_common():
    rng, groups = np.random.default_rng(1), np.repeat(["a", "b"], 100)
    one, other = np.full((6, 200), np.nan), np.full((6, 200), np.nan)
    one[:3], other[3:] = rng.normal(0.8, 0.01, (3, 200)), rng.normal(0.7, 0.01, (3, 200))
    scores = Scores({"erm": one, "adv": other}, groups, np.arange(200))
    assert np.isnan(many.pairwise(many.errors(scores), least_seeds=3)[0, 1])
    assert set(across([scores], least_seeds=3)["letters"]) == {"a"}
    assert set(rank(resample(scores, resamples=100))["letters"]) == {"a"}
