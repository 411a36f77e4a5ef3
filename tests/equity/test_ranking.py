import numpy as np
import pytest

from harness.equity import Scores, compare, many, pairwise, rank, resample
from harness.equity.ranking import grouped_by_letter
from harness.errors import HarnessError


def test_methods_that_differ_clearly_have_a_rank_each(make_scores):
    worse = {f"m{i}": {"g0": -0.05 * i, "g1": -0.05 * i} for i in range(3)}
    table = rank(resample(make_scores([200, 200], methods=tuple(worse), shifts=worse), resamples=2000))
    assert list(table["method"]) == ["m0", "m1", "m2"]
    assert list(table["rank_low"]) == list(table["rank_high"]) == [1, 2, 3]
    assert list(table["letters"]) == ["a", "b", "c"]
    assert table["p_best"].to_list() == [1, 0, 0]


def test_methods_that_cannot_be_told_apart_share_a_letter_and_every_rank(make_scores):
    table = rank(resample(make_scores([60, 60], methods=("a", "b", "c", "d")), resamples=2000))
    assert set(table["letters"]) == {"a"}
    assert set(table["rank_low"]) == {1}
    assert set(table["rank_high"]) == {4}
    assert table["p_best"].sum() == pytest.approx(1)
    assert table["estimate"].is_monotonic_decreasing


@pytest.mark.parametrize(("least", "apart"), [(3, True), (4, False)])
def test_methods_on_too_few_common_seeds_are_not_told_apart(make_scores, least, apart):
    worse = {"erm": {"g0": -0.1, "g1": -0.1}, "fair": {}}
    scores = make_scores([200, 200], methods=tuple(worse), shifts=worse, seeds=3)
    draws, source = resample(scores, resamples=1000), many.errors(scores)
    tables = [
        rank(draws, tested=pairwise(draws, least_seeds=least)),
        many.rank(source, tested=many.pairwise(source, least_seeds=least)),
    ]
    assert {table["letters"].nunique() == 2 for table in tables} == {apart}
    assert {bool((table["rank_high"] == 1).any()) for table in tables} == {apart}
    compared = [compare(draws, least_seeds=least), many.compare(source, "erm", least_seeds=least)]
    found = [table.set_index("quantity").loc["es_sum", "better"] for table in compared]
    assert found == ([True, True] if apart else [None, None])


def test_pairs_are_adjusted_over_all_of_them(make_scores):
    worse = {f"m{i}": {"g0": -0.01 * i, "g1": -0.01 * i} for i in range(4)}
    scores = make_scores([80, 80], methods=tuple(worse), shifts=worse, seeds=1)
    table = pairwise(resample(scores, resamples=2000), by="overall")
    assert len(table) == 6
    expected = np.minimum(6 * table["p"], 1)  # one seed leaves patients alone, and Bonferroni
    np.testing.assert_allclose(table["p_adjusted"], np.maximum(expected, 6e-9), rtol=0.04, atol=1e-8)
    sure = table["p_adjusted"] <= 0.05
    assert sure.any()
    assert (table["better"][sure] == table["one"][sure]).all()
    assert set(table["better"][~sure]) <= {""}


def test_letters_are_the_largest_sets_without_a_difference():
    # a and c differ, b is like both: two letters, b has both.
    apart = np.zeros((3, 3), bool)
    apart[0, 2] = apart[2, 0] = True
    assert grouped_by_letter(apart, np.arange(3)) == ["a", "ab", "b"]
    # Four in a row, each like its neighbours only.
    apart = np.abs(np.subtract.outer(range(4), range(4))) > 1
    assert grouped_by_letter(apart, np.arange(4)) == ["a", "ab", "bc", "c"]
    assert grouped_by_letter(~np.eye(3, dtype=bool), np.array([2, 0, 1])) == ["b", "c", "a"]


def test_smaller_gaps_rank_first(make_scores):
    shifts = {"wide": {"g0": -0.1}, "narrow": {}}
    draws = resample(make_scores([100, 100], methods=tuple(shifts), shifts=shifts), resamples=500)
    assert list(rank(draws, by="gap")["method"]) == ["narrow", "wide"]
    assert list(rank(draws, by="worst_group")["method"]) == ["narrow", "wide"]


def test_distances_rank_from_below():
    rng = np.random.default_rng(0)
    near = 2 + rng.gamma(4, 1, 80)
    scores = Scores({"far": near + 3, "near": near}, ["a", "b"] * 40, np.arange(80), higher_is_better=False)
    assert list(rank(resample(scores, resamples=500), by="worst_group")["method"]) == ["near", "far"]


def test_too_few_patients_are_not_ranked(make_scores):
    table = rank(resample(make_scores([50, 5]), resamples=50))
    assert set(table["note"]) == {"too few"}


def test_a_misspelt_quantity_is_suggested(make_scores):
    with pytest.raises(HarnessError, match="Did you mean 'es_sum'"):
        rank(resample(make_scores([20, 20]), resamples=40), by="es_sm")
