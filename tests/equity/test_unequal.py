"""Methods that are as fair are told apart no more often where one's scores spread more than the other's."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.equity import Scores, many
from harness.equity.across import contrasts_of_mean
from harness.equity.contrasts import layouts
from harness.equity.pairs import between
from harness.equity.quantities import gap, quantities
from harness.equity.unequal import moved

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from nulls import World, draw

CALM = World(methods=2, sizes=(40,) * 5, calm=0.0)


def told(scores: Scores, name: str) -> dict[str, bool]:
    """Whether the two are told apart: on a board, on one of very many methods, on a mean, and before."""
    draws, quantity = many.errors(scores).draws, quantities(True)[name]
    linear = between(draws, name, quantity, drawn=False)
    found = {
        "board": between(draws, name, quantity),
        "closed form": linear,
        "mean": contrasts_of_mean([scores], name),
        "before": replace(linear, bend=None),
    }
    return {key: bool(one.together(1).p[0, 1] <= 0.05) for key, one in found.items()}


@pytest.mark.parametrize("name", ["es_sum", "gap"])
def test_a_method_whose_scores_are_all_the_same_is_no_fairer_for_it(name):
    # Its gap is 0 and noise makes the other's: before, a quarter of such cohorts were told apart and with
    # the exchange of the two more than half. 5% of 60 is 3, and more than 8 come in 1 of 200 runs.
    found = [told(draw(CALM, np.random.default_rng(cohort)), name) for cohort in range(60)]
    counts = {key: sum(one[key] for one in found) for key in found[0]}
    assert max(counts[key] for key in ("board", "closed form", "mean")) <= 8 < counts["before"], counts


def test_noise_moves_a_gap_by_what_it_makes_where_there_is_none():
    # The expected range of two normal numbers is 2 / sqrt(pi) times their deviation.
    rng = np.random.default_rng(2)
    groups = np.repeat(["a", "b"], 100)
    rows = {"erm": 0.5 + 0.1 * rng.uniform(-1, 1, (1, 200)), "all alike": np.full((1, 200), 0.5)}
    scores = Scores(rows, groups, np.arange(200))
    ((layout, _),) = layouts(scores)
    error = [scores.by_method["erm"][0][groups == g].std(ddof=1) / 10 for g in "ab"]
    expected = np.hypot(*error) * np.sqrt(2 / np.pi)
    found = moved(gap, layout, np.array([0.5, 0.5, 0.0]), rng)
    assert found == pytest.approx([expected, 0], rel=0.05, abs=1e-12)
