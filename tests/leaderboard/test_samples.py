"""Every test case of a method as a point: which of very many are drawn."""

import numpy as np
import pytest

from leaderboard.draw.samples import MOST_POINTS, drawn_of


def test_no_case_is_left_out_of_a_figure_that_holds_them_all():
    cases = np.array([1, 4, 7])
    assert drawn_of(cases, np.full(9, 0.5)) == [1, 4, 7]


@pytest.mark.parametrize("many", [MOST_POINTS + 1, 2_000, 2_999, 10_007])
def test_of_very_many_cases_the_worst_are_drawn_and_the_others_evenly(many):
    dice = np.random.default_rng(many).permutation(many) / many
    drawn = drawn_of(np.arange(many), dice)
    assert len(set(drawn)) == len(drawn) <= MOST_POINTS
    found = np.sort(dice[drawn])
    worst = MOST_POINTS // 3
    assert found[:worst] == pytest.approx(np.arange(worst) / many)
    # No stretch of the others' ranks is passed over.
    steps = np.unique(np.rint(np.diff(found[worst:]) * many))
    assert len(steps) == 1
