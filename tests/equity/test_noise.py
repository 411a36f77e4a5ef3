import numpy as np
import pytest
from scipy import stats

from harness.equity import Scores, es_sum, noise_floor, resample
from harness.equity.noise import relabelled


def row(scores, quantity="gap", group="", resamples=10_000):
    table = noise_floor(resample(scores, resamples=resamples))
    return table.query("quantity == @quantity and group == @group").iloc[0]


def test_p_value_is_that_of_scipys_permutation_test():
    rng = np.random.default_rng(2)
    a, b = 0.82 + 0.08 * rng.uniform(-1, 1, 30), 0.85 + 0.08 * rng.uniform(-1, 1, 70)
    theirs = stats.permutation_test(
        (a, b), lambda x, y: abs(x.mean() - y.mean()), alternative="greater", n_resamples=20_000, rng=rng
    )
    ours = row(Scores({"erm": np.r_[a, b]}, ["a"] * 30 + ["b"] * 70, np.arange(100)))
    assert 0.001 < theirs.pvalue < 0.5  # a case that could tell
    assert ours["p"] == pytest.approx(theirs.pvalue, abs=0.012)  # 3 standard errors of either simulation
    assert ours["floor_95"] == pytest.approx(np.quantile(theirs.null_distribution, 0.95), rel=0.03)


def test_chance_alone_makes_the_gaps_of_the_field_survey():
    # Scores of mean 0.85 and deviation 0.08 in groups of 40, 60 and 400 with no true gap: chance
    # gaps reach 0.034 (0.0332 by a simulation of 200,000), and mean ES is 0.834 where 0.850 is true.
    values = 0.85 + 0.08 * np.random.default_rng(0).permutation(np.repeat([-1, 1], 250))
    scores = Scores({"erm": values}, ["a"] * 40 + ["b"] * 60 + ["c"] * 400, np.arange(500))
    assert row(scores)["floor_95"] == pytest.approx(0.0335, abs=0.0007)
    dealt = relabelled(resample(scores))[:, 0]
    overall = np.full(len(dealt), scores.by_method["erm"].mean())
    assert es_sum(overall, dealt).mean() == pytest.approx(0.834, abs=0.001)


def test_patients_keep_their_samples_together():
    rng = np.random.default_rng(0)
    patient = 0.8 + 0.05 * rng.uniform(-1, 1, 60)
    groups = np.array(["a", "b"]).repeat(30)
    once = row(Scores({"erm": patient}, groups, np.arange(60)))
    often = row(Scores({"erm": patient.repeat(5)}, groups.repeat(5), np.arange(60).repeat(5)))
    assert often["floor_95"] == pytest.approx(once["floor_95"], rel=1e-4)


def test_smaller_groups_hide_larger_gaps(make_scores):
    scores = make_scores([20, 80, 400], methods=("erm",))
    table = noise_floor(resample(scores, resamples=4000)).set_index("group")["detectable"]
    by_group = table[["g0", "g1", "g2"]]
    assert by_group["g0"] > by_group["g1"] > by_group["g2"]
    whole = noise_floor(resample(scores, resamples=4000)).query("quantity == 'gap' and group == ''")
    assert whole["detectable"].item() == by_group["g0"]


def test_detectable_gap_of_two_groups_is_the_textbooks():
    # Power 0.8 of a two-sided 0.05 test of two means: (1.960 + 0.842) standard errors.
    values = 0.8 + 0.05 * stats.norm.ppf((np.random.default_rng(1).permutation(400) + 0.5) / 400)
    found = row(Scores({"erm": values}, ["a"] * 100 + ["b"] * 300, np.arange(400)))["detectable"]
    error = values.std() * np.sqrt(1 / 100 + 1 / 300)
    assert found == pytest.approx((1.960 + 0.842) * error, rel=0.04)


def test_the_es_penalty_has_the_p_value_of_the_sum_of_gaps(make_scores):
    table = noise_floor(resample(make_scores([40, 60, 100]), resamples=1000)).query("method == 'erm'")
    p = table.set_index(["quantity", "group"])["p"]
    assert (
        p["es_penalty", ""] == p["sum_gap", ""]
    )  # the overall score does not change, so neither does the order


def test_a_true_gap_is_above_its_floor_and_no_gap_is_not(make_scores):
    real = row(make_scores([60, 60, 400], shifts={"erm": {"g0": -0.06}}, methods=("erm",)))
    none = row(make_scores([60, 60, 400], methods=("erm",)))
    assert real["observed"] > real["floor_95"]
    assert real["p"] < 0.001
    assert none["observed"] < none["floor_95"]
