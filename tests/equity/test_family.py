"""What stands over all tables of a board is what a test at 5% over their number tells."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.equity import FAMILY, many, tables
from harness.equity.family import of_pairs, over_views

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from nulls import World, draw

VIEWS = 3


@pytest.fixture(scope="module")
def scores():
    """Four methods, each 0.03 better than the one before."""
    alike = draw(World(methods=4, sizes=(60, 90)), np.random.default_rng(0))
    steps = {name: (own + 0.03 * i - 0.1).clip(0, 1) for i, (name, own) in enumerate(alike.by_method.items())}
    return replace(alike, by_method=steps)


def test_one_table_alone_is_its_own_family(scores):
    found = tables(scores, "erm")
    family = found.family[found.family["quantity"] == "es_sum"].set_index("method")
    ranking = found.ranking.set_index("method")
    for name in ("rank_low", "rank_high", "letters"):
        assert (family[f"{name}_views"] == ranking[name]).all()


def test_a_claim_of_many_tables_asks_for_a_smaller_p_value_than_one_of_a_single_table(scores):
    found = {views: tables(scores, "erm", views=views) for views in (1, VIEWS)}
    pairs = found[1].pairs
    told = pairs["p_adjusted"] * VIEWS <= 0.05
    assert 0 < told.sum() < (pairs["p_adjusted"] <= 0.05).sum()  # else nothing is tested here
    letters = found[VIEWS].family.query("quantity == 'es_sum'").set_index("method")["letters_views"]
    for one, other, apart in zip(pairs["one"], pairs["other"], told, strict=True):
        assert apart != bool(set(letters[one]) & set(letters[other]))
    by_hand = np.minimum(found[1].comparison.query("quantity == 'gap'")["p_adjusted"] * VIEWS, 1)
    gaps = found[VIEWS].family.query("quantity == 'gap'").set_index("method")["p_views"].dropna()
    assert gaps.sort_index().to_list() == pytest.approx(by_hand.to_list())
    assert (found[VIEWS].pairs["p_adjusted"] == pairs["p_adjusted"]).all()  # the table's own word stays


def test_boards_of_many_methods_have_the_same_family(scores):
    source = many.errors(scores)
    ranking, p = many.rank(source), many.pairwise(source)
    order = [scores.methods.index(method) for method in ranking["method"]]
    noise, comparison = many.noise_floor(source), many.compare(source, "erm")
    family = over_views(ranking, p[np.ix_(order, order)], noise, comparison, VIEWS)
    beaten = (p * VIEWS <= 0.05).sum() // 2
    own = family.query("quantity == 'es_sum'")
    assert tuple(family.columns) == FAMILY
    assert (own["rank_low_views"] - 1).sum() == (4 - own["rank_high_views"]).sum() == beaten > 0


def test_pairs_that_were_not_tested_stay_untested():
    tested = tables(draw(World(methods=3, seeds=2, sizes=(30, 30)), np.random.default_rng(1)), "erm").pairs
    assert np.isnan(of_pairs(tested, ["erm", "m1", "m2"])).all()
