import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.equity import Scores, across, many
from harness.equity.across import contrasts_of_mean
from harness.equity.pieces import Pairs, least_reach, pieces_of
from harness.equity.stacked import _Sums, stack

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from nulls import World, draw_views

NAMES = ("es_sum", "gap", "worst_group")


def sums(views, quantity: str, patients: float = 2.0, seeds: float = 0.0) -> _Sums:
    methods = len(views[0].methods)
    one, other = np.triu_indices(methods, 1)
    found = stack(views, np.arange(methods), [0, 1, 2])
    each = np.ones(len(one))
    return _Sums(found, pieces_of(quantity, True), one, other, patients * each, seeds * each)


@pytest.mark.parametrize("quantity", NAMES)
def test_one_view_must_stand_as_far_as_it_must_on_its_own(quantity):
    for cohort in range(5):
        views = draw_views(World(methods=4, sizes=(60, 60), turned=0.02), np.random.default_rng(cohort))
        mine = sums(views, quantity)
        (layout,), (weights,) = mine.of.layouts, mine.of.weights
        pairs = Pairs(layout, mine.one, mine.other, mine.patients, mine.seeds)
        expected = least_reach(pieces_of(quantity, True), weights, pairs)
        assert mine.least_reach() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(NAMES), st.sampled_from([1.0, 3.0]))
def test_no_sum_of_pieces_asks_for_more_than_the_one_found(seed, quantity, patients):
    rng = np.random.default_rng(seed)
    world = World(methods=3, sizes=tuple(rng.integers(12, 80, rng.integers(2, 4))), turned=0.03, views=3)
    mine = sums(draw_views(world, rng), quantity, patients)
    shown, (every, some) = mine.shown, mine.sides
    size = np.abs(mine._value(every, shown[every]) - mine._value(some, shown[some]))
    expected = np.zeros(len(every))
    for pieces in itertools.product(*(range(values.shape[1]) for values, _ in mine.linear)):
        reach = mine.reach(np.where(mine.asked, pieces, shown[every]))
        expected = np.maximum(expected, np.where(reach > size, reach, 0))
    expected = np.where(mine.asked.any(axis=1), expected, 0)
    assert mine.least_reach() == pytest.approx(expected, rel=1e-9)
    # The search exchanges one view's piece at a time, and may end beside the very worst sum.
    searched = np.where(expected > 0, np.max(mine._search(), axis=0), 0)
    assert (searched <= expected * (1 + 1e-9)).all()
    assert searched == pytest.approx(expected, rel=0.2)


def test_the_error_of_a_mean_over_views_is_that_of_each_patients_own_mean():
    # Where nothing bends: one group's mean in every view is linear, so its error is that of patients' sums.
    rng = np.random.default_rng(3)
    patients = np.arange(90)
    score = {name: rng.uniform(0.4, 0.9, (1, 90)) - 0.2 * (patients < 30) for name in ("a", "b")}
    by = [np.where(patients < 30, "x", "y"), np.where(patients % 3 == 0, "x", "y")]
    views = [Scores({m: s.clip(0, 1) for m, s in score.items()}, own, patients) for own in by]
    found = stack(views, np.arange(2), [0]).contrasts(lambda overall, groups: groups[..., 0])
    parts = np.zeros(90)
    for own in by:
        mine = own == "x"
        apart = (views[0].by_method["a"] - views[0].by_method["b"])[0]
        residual = np.where(mine, apart - apart[mine].mean(), 0)
        parts += residual / mine.sum() * np.sqrt(mine.sum() / (mine.sum() - 1)) / 2
    assert found.patients[0, 1] == pytest.approx((parts**2).sum())


def test_methods_that_fail_different_groups_are_not_told_apart_on_the_mean():
    # 5 of 100 are allowed, and more than 10 come by chance in 1 of 90; linear in what is seen, 20 are told.
    world = World(methods=2, seeds=5, sizes=(250, 250), turned=0.005, views=1)
    told = {"as it is": 0, "linear": 0}
    for cohort in range(100):
        found = contrasts_of_mean(draw_views(world, np.random.default_rng([cohort, 7])), "es_sum")
        for name, one in (("as it is", found), ("linear", replace(found, bend=None))):
            told[name] += bool((many.adjusted(one) <= 0.05).any())
    assert told["as it is"] <= 10 < told["linear"], told


def test_a_method_that_is_better_in_every_view_is_told():
    world = World(methods=2, seeds=5, sizes=(60, 200), better=0.05, views=4)
    told = sum(
        across(draw_views(world, np.random.default_rng(cohort)))["letters"].nunique() > 1
        for cohort in range(10)
    )
    assert told == 10


def test_a_gap_in_every_view_is_told_where_groups_are_large():
    world = World(methods=2, seeds=5, sizes=(150, 600), gap=0.05, views=2)
    for cohort in range(3):
        views = draw_views(world, np.random.default_rng(cohort))
        assert across(views)["method"].tolist() == ["erm", "m1"]
        assert list(across(views)["letters"]) == ["a", "b"]
