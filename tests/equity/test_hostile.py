"""Scores of any shape: no traceback or warning, no test against its interval, no claim of nothing."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.equity import (
    Scores,
    across,
    compare,
    from_frame,
    many,
    noise_floor,
    pairwise,
    rank,
    resample,
    summarise,
)
from harness.equity.tables import tables as tables_of
from harness.errors import HarnessError

KINDS = ("spread", "constant", "ties", "zero or one", "one patient apart", "like the first")


@st.composite
def cohorts(draw):
    """Two to four methods on one to four groups, some of ten or fewer, some unknown, with missing seeds."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    sizes = draw(st.lists(st.sampled_from([1, 9, 10, 11, 40]), min_size=1, max_size=4))
    groups = np.repeat([f"g{i}" for i in range(len(sizes))], sizes).astype(object)
    seeds, n = draw(st.integers(1, 4)), len(groups)
    base = rng.uniform(0.3, 1, n)
    if draw(st.booleans()):
        groups[rng.permutation(n)[: int(0.6 * n)]] = None
    rows = {}
    for i, kind in enumerate(draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=4))):
        values = np.clip(base + 0.05 * rng.standard_normal((seeds, n)), 0, 1)
        if kind == "constant":
            values = np.full((seeds, n), 0.7)
        elif kind == "ties":
            values = np.round(values, 1)
        elif kind == "zero or one":
            values = np.round(values)
        elif kind == "one patient apart":
            values = np.tile(np.where(np.arange(n) == 0, 0.0, 1.0), (seeds, 1))
        elif kind == "like the first" and rows:
            values = rows["erm"].copy()
        name = "erm" if i == 0 else f"m{i}"
        if seeds > 1 and draw(st.booleans()):
            values[rng.integers(seeds)] = np.nan
        rows[name] = values
    patients = rng.integers(0, n, n) if draw(st.booleans()) else np.arange(n)
    try:
        return Scores(rows, groups, patients)
    except HarnessError:
        return None


@settings(max_examples=15, deadline=None)
@given(cohorts())
def test_any_scores_give_tables_whose_tests_are_their_intervals(scores):
    if scores is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draws, source = resample(scores, resamples=40), many.errors(scores)
        tested = pairwise(draws, least_seeds=2)
        against = [compare(draws, least_seeds=2), many.compare(source, "erm", least_seeds=2)]
        floors = [noise_floor(draws), many.noise_floor(source)]
        summarise(draws), many.summarise(source), rank(draws, tested=tested)
        many.rank(source, tested=many.pairwise(source, least_seeds=2))
        if len(scores.kept) > 1:
            across([scores, scores], least_seeds=2)
    for table in (tested, *against):
        outside = (table["low_adjusted"] > 0) | (table["high_adjusted"] < 0)
        assert ((table["p_adjusted"] <= 0.05) == outside).all()
    same = {
        name
        for name, rows in scores.by_method.items()
        if np.array_equal(rows, scores.by_method["erm"], equal_nan=True)
    }
    for row in tested.itertuples():
        assert not ({row.one, row.other} <= same and row.better)
        assert not ({row.one, row.other} <= same and row.verdict in ("better", "worse"))
    for floor in floors:
        alike = [np.ptp(rows[~np.isnan(rows)]) == 0 for rows in scores.by_method.values()]
        for name, constant in zip(scores.methods, alike, strict=True):
            assert not (constant and (floor.loc[floor["method"] == name, "above"] == True).any())  # noqa: E712


def three(**options):
    rng = np.random.default_rng(0)
    rows = {name: rng.uniform(0.5, 0.9, (3, 60)) for name in ("erm", "a", "b")}
    return Scores(rows, np.repeat(["x", "y"], [5, 55]), np.arange(60), **options)


def test_a_board_of_many_methods_with_one_group_says_too_few(monkeypatch):
    monkeypatch.setattr(many, "MANY", 2)
    found = tables_of(three(), "erm")
    assert set(found.comparison["note"]) == {"too few"}
    assert found.comparison["p_adjusted"].isna().all()
    assert set(found.ranking["note"]) == {"too few"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"min_patients": 0}, "min_patients is 0"),
        ({"order": ("x", "x", "y")}, "names 'x' twice"),
    ],
)
def test_options_that_mean_nothing_are_refused(change, said):
    with pytest.raises(HarnessError, match=said):
        three(**change)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (np.ma.masked_less(np.full((3, 60), 0.5), 0.6), "NaN scores"),
        (np.full((3, 60), 0.5 + 0.1j), "not numbers"),
    ],
)
def test_what_is_masked_or_complex_is_no_score(scores, said):
    with pytest.raises(HarnessError, match=said):
        Scores({"erm": scores}, np.repeat(["x", "y"], 30), np.arange(60))


def test_groups_and_patients_are_one_name_a_sample():
    with pytest.raises(HarnessError, match="groups have 2 axes"):
        Scores({"erm": np.full((3, 60), 0.5)}, np.full((60, 2), "x"), np.arange(60))
    with pytest.raises(HarnessError, match="patients have 2 axes"):
        Scores({"erm": np.full((3, 60), 0.5)}, np.full(60, "x"), np.zeros((60, 2)))


@pytest.mark.parametrize("margin", [-0.01, float("nan"), float("inf"), "0.01", None])
def test_a_margin_that_is_none_is_refused(margin):
    draws = resample(three(min_patients=5), resamples=40)
    for ask in (pairwise, compare):
        with pytest.raises(HarnessError, match="The margin is"):
            ask(draws, margin=margin)


def test_within_a_margin_of_nothing_no_two_are_equivalent():
    rows = three().by_method["erm"]
    scores = Scores({"erm": rows, "same": rows}, np.repeat(["x", "y"], 30), np.arange(60))
    assert set(pairwise(resample(scores, resamples=40), margin=0)["verdict"]) == {"cannot tell"}
    assert set(pairwise(resample(scores, resamples=40), margin=0.01)["verdict"]) == {"equivalent"}


@pytest.mark.parametrize("options", [{"seed": -1}, {"seed": 1.5}, {"resamples": "many"}, {"resamples": None}])
def test_draws_that_cannot_be_made_are_refused(options):
    with pytest.raises(HarnessError, match="resample was given"):
        resample(three(), **options)


def test_a_mean_of_fractions_and_distances_is_refused():
    fractions, distances = three(min_patients=5), three(min_patients=5, higher_is_better=False)
    with pytest.raises(HarnessError, match="mix fractions and distances"):
        across([fractions, distances])
    with pytest.raises(HarnessError, match="cannot be ranked by 'es_sum'"):
        across([distances, distances])
    assert across([distances, distances], by="gap")["estimate"].is_monotonic_increasing


def frame():
    rows = [(m, s, i, "xy"[i % 2], 0.5) for m in ("erm", "a") for s in (0, "late") for i in range(4)]
    return pd.DataFrame(rows, columns=["method", "seed", "sample", "race", "dice"])


def test_seeds_may_be_numbers_and_names_and_columns_are_there_once():
    assert from_frame(frame(), score="dice", group="race").by_method["erm"].shape == (2, 4)
    with pytest.raises(HarnessError, match="two columns 'race'"):
        from_frame(pd.concat([frame(), frame()[["race"]]], axis=1), score="dice", group="race")
    with pytest.raises(HarnessError, match="given a dict"):
        from_frame(dict(frame()), score="dice", group="race")


def test_methods_without_any_noise_are_told_apart_by_what_differs_and_not_by_the_last_bits():
    groups = np.array([None, *["g0"] * 15, *["g1"] * 15], object)
    lone = np.ones((1, 31))
    lone[0, 0] = 0  # of unknown group: the overall mean differs, and within the groups nothing varies
    scores = Scores({"erm": np.full((1, 31), 0.7), "m1": lone}, groups, np.arange(31))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare(resample(scores, resamples=200), baseline="erm").set_index("quantity")
    for alike in ("gap", "spread", "skewed_error_ratio"):
        assert found.loc[alike, ["difference", "p"]].tolist() == [0, 1]
        assert found.loc[alike, "low"] <= 0 <= found.loc[alike, "high"]
    assert found.loc["worst_group", "p"] < 0.05
    assert found.loc["worst_group", "difference"] == pytest.approx(0.3)
