import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.equity import Scores, compare, many, noise_floor, rank, resample, summarise
from harness.equity.intervals import extreme


def interval(scores, quantity, group="", method="erm", resamples=10_000):
    table = summarise(resample(scores, resamples=resamples))
    row = table.query("method == @method and quantity == @quantity and group == @group").iloc[0]
    return row["low"], row["high"]


@pytest.fixture
def skewed():
    """One seed, one method; Dice with a long tail downwards, 60 patients a group."""
    rng = np.random.default_rng(3)
    values = 1 - rng.gamma(3.5, 0.043, 120)
    return Scores({"erm": values}, ["a"] * 60 + ["b"] * 60, np.arange(120))


def test_a_groups_interval_is_scipys_studentised_one(skewed):
    # scipy has BCa; for a mean both are second-order accurate, so they agree to a few percent of the width.
    values = skewed.by_method["erm"][0, :60]
    rng = np.random.default_rng(0)
    theirs = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=10_000, rng=rng
    ).confidence_interval
    low, high = interval(skewed, "group", "a")
    width = theirs.high - theirs.low
    assert abs(low - theirs.low) < 0.08 * width
    assert abs(high - theirs.high) < 0.08 * width


def test_a_symmetric_groups_interval_is_students():
    values = 0.8 + 0.05 * stats.norm.ppf((np.arange(40) + 0.5) / 40)
    scores = Scores({"erm": np.tile(values, 2)}, ["a"] * 40 + ["b"] * 40, np.arange(80))
    expected = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert interval(scores, "group", "a") == pytest.approx(expected, abs=0.0006)  # 4% of the half-width


def test_two_groups_gap_excludes_zero_when_a_t_test_does():
    base = 0.8 + 0.05 * stats.norm.ppf((np.arange(50) + 0.5) / 50)
    for shift in (0.015, 0.025):
        p = stats.ttest_ind(base, base - shift).pvalue
        scores = Scores({"erm": np.r_[base, base - shift]}, ["a"] * 50 + ["b"] * 50, np.arange(100))
        assert (interval(scores, "gap")[0] > 0) == (p < 0.05)


def test_a_large_gaps_interval_is_that_of_the_difference():
    # Far from 0 a gap of two groups is a plain difference of means: Welch's interval.
    rng = np.random.default_rng(0)
    a, b = 0.9 + 0.04 * rng.uniform(-1, 1, 80), 0.6 + 0.06 * rng.uniform(-1, 1, 50)
    scores = Scores({"erm": np.r_[a, b]}, ["a"] * 80 + ["b"] * 50, np.arange(130))
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    low, high = interval(scores, "gap")
    assert (low, high) == pytest.approx(
        (expected.low, expected.high), abs=0.05 * (expected.high - expected.low)
    )


def test_patients_are_resampled_with_all_their_samples():
    rng = np.random.default_rng(0)
    patient = 0.8 + 0.05 * rng.uniform(-1, 1, 60)
    groups = np.array(["a", "b"]).repeat(30)
    once = Scores({"erm": patient}, groups, np.arange(60))
    # Five identical samples of each patient hold nothing new, so the interval must not shrink.
    often = Scores({"erm": patient.repeat(5)}, groups.repeat(5), np.arange(60).repeat(5))
    assert interval(often, "overall") == pytest.approx(interval(once, "overall"), abs=1e-6)
    assert interval(often, "gap") == pytest.approx(interval(once, "gap"), abs=1e-6)


def test_seeds_that_differ_widen_the_interval(make_scores):
    scores = make_scores([200, 200], methods=("erm",))
    rows = scores.by_method["erm"] - 0.15
    apart = rows + np.array([[-0.02], [0.0], [0.02]])
    wider = interval(Scores({"erm": apart}, scores.groups, scores.patients), "overall")
    same = interval(Scores({"erm": rows}, scores.groups, scores.patients), "overall")
    assert wider[1] - wider[0] > 4 * (same[1] - same[0])
    # With next to nothing from patients it is Student's interval of 3 seed means, 2 degrees of freedom.
    flat = np.full((3, 400), 0.7) + np.array([[-0.02], [0.0], [0.02]])
    only_seeds = interval(Scores({"erm": flat}, scores.groups, scores.patients), "overall")
    expected = stats.t.interval(0.95, 2, 0.7, 0.02 / np.sqrt(3))
    assert only_seeds == pytest.approx(expected, rel=0.02)


def test_one_seed_is_said():
    scores = Scores({"erm": np.linspace(0.7, 0.9, 40)}, ["a", "b"] * 20, np.arange(40))
    assert summarise(resample(scores, resamples=50))["note"].str.contains("one seed").all()


def test_corrected_values_lie_within_their_interval(make_scores):
    table = summarise(resample(make_scores([40, 60, 400]), resamples=1000))
    assert (table["low"] <= table["corrected"] + 1e-9).all()
    assert (table["corrected"] <= table["high"] + 1e-9).all()


def test_an_es_that_noise_pushed_below_its_interval_says_so():
    # Twelve groups of 50 without a true gap: even the small chance gaps of this draw take more off the plain
    # ES (0.85 / 1.04) than is compatible with what such groups show when there is a gap.
    values = 0.85 + 0.08 * np.random.default_rng(1).uniform(-1, 1, 600)
    scores = Scores({"erm": values}, np.arange(600) % 12, np.arange(600))
    row = summarise(resample(scores, resamples=2000)).set_index("quantity").loc["es_sum"]
    assert row["estimate"] < row["low"] <= values.mean() <= row["high"]
    assert "see corrected" in row["note"]


def test_scores_that_are_all_equal_give_an_interval_of_no_width():
    scores = Scores({"erm": np.full((2, 60), 0.8)}, ["a", "b"] * 30, np.arange(60))
    table = summarise(resample(scores, resamples=100)).set_index("quantity")
    assert table.loc["es_sum", ["estimate", "low", "high"]].to_list() == pytest.approx([0.8, 0.8, 0.8])
    assert table.loc["gap", ["estimate", "low", "high"]].to_list() == pytest.approx([0, 0, 0], abs=1e-6)


@pytest.mark.parametrize("n_groups", [2, 5])
def test_the_worst_groups_interval_covers_with_ties_and_without(n_groups):
    # Normal errors of deviation 1; the truth is 0 for all groups, or 0 for one and 9 for the rest.
    rng = np.random.default_rng(0)
    deviations = rng.standard_normal((4000, n_groups))
    for truth in (np.zeros(n_groups), np.r_[0, np.full(n_groups - 1, 9.0)]):
        found = [
            extreme(truth + rng.standard_normal(n_groups), deviations.T, lowest=True, corrected=0.0)
            for _ in range(2000)
        ]
        covered = np.mean([each.low <= 0 <= each.high for each in found])
        assert covered == pytest.approx(0.955, abs=0.02)  # 4 standard errors around 95% to 96%


def test_the_best_groups_interval_mirrors_the_worsts():
    rng = np.random.default_rng(0)
    estimates, deviations = rng.standard_normal(3), rng.standard_normal((500, 3))
    worst = extreme(estimates, deviations.T, lowest=True, corrected=0.0)
    best = extreme(-estimates, -deviations.T, lowest=False, corrected=0.0)
    assert (best.low, best.high, best.estimate) == pytest.approx((-worst.high, -worst.low, -worst.estimate))


def test_distances_have_gap_and_worst_group_and_no_es():
    rng = np.random.default_rng(0)
    distances = np.r_[rng.gamma(4, 1, 50), 3 + rng.gamma(4, 1, 50)]
    scores = Scores({"erm": distances}, ["a"] * 50 + ["b"] * 50, np.arange(100), higher_is_better=False)
    table = summarise(resample(scores, resamples=500)).set_index("quantity")
    assert set(table.index) == {"overall", "group", "worst_group", "best_group", "gap"}
    assert table.loc["worst_group", "estimate"] == pytest.approx(distances[50:].mean())
    assert table.loc["best_group", "estimate"] == pytest.approx(distances[:50].mean())
    assert set(noise_floor(resample(scores, resamples=500))["quantity"]) == {"gap"}


def test_same_seed_gives_the_same_tables_and_another_seed_others(make_scores):
    def tables(seed):
        draws = resample(make_scores([40, 60]), resamples=300, seed=seed)
        return [f(draws) for f in (summarise, noise_floor, compare, rank)]

    for one, two in zip(tables(1), tables(1), strict=True):
        pd.testing.assert_frame_equal(one, two)
    assert not tables(1)[0].equals(tables(2)[0])


def test_a_further_method_changes_no_other_methods_numbers(make_scores):
    few = make_scores([40, 60], methods=("erm", "adv"))
    more = make_scores([40, 60], methods=("erm", "adv", "febs"))
    for table in (summarise, noise_floor):
        before, after = (table(resample(scores, resamples=300)) for scores in (few, more))
        pd.testing.assert_frame_equal(before, after[after["method"] != "febs"], rtol=1e-5)


def test_intervals_of_fractions_stay_among_fractions():
    # Two seeds near the top, far apart: Student's t with one degree of freedom reaches beyond 1.
    rng = np.random.default_rng(3)
    groups = np.repeat(["a", "b", "c"], 100)
    dice = (0.93 + rng.normal(0, 0.03, 300) + rng.normal(0, 0.03, (2, 1))).clip(0, 1)
    table = summarise(resample(Scores({"erm": dice}, groups, np.arange(300)), resamples=1000))
    fractions = table[~table["quantity"].isin(["skewed_error_ratio"])]
    assert fractions["high"].max() <= 1
    assert fractions["low"].min() >= 0


@pytest.mark.parametrize("level", [[0.5, 0.9], [0.7, 0.7], [0.61, 0.6100001]])
def test_what_does_not_vary_has_itself_as_its_interval(level):
    # Nothing but rounding distinguishes the draws: a true ES outside the estimate is out of the question.
    values = np.tile(np.repeat(level, 20), (3, 1))
    scores = Scores({"erm": values}, np.repeat(["a", "b"], 20), np.arange(40))
    table = summarise(resample(scores, resamples=200)).query("group == ''")
    for column in ("low", "high", "corrected"):
        assert table[column].to_numpy() == pytest.approx(table["estimate"].to_numpy(), abs=1e-9), column


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(10, 40), min_size=2, max_size=4),
    level=st.floats(0.2, 0.98),
    spread=st.floats(0.0, 0.3),
    apart=st.floats(0.0, 0.2),
    seeds=st.integers(1, 4),
)
def test_es_is_never_said_to_be_above_the_score_that_it_scales(seed, sizes, level, spread, apart, seeds):
    rng = np.random.default_rng(seed)
    groups = np.repeat([f"g{i}" for i in range(len(sizes))], sizes)
    means = level + apart * rng.uniform(-1, 1, len(sizes)).repeat(sizes)
    shape = (seeds, len(groups))
    values = (means + spread * rng.standard_normal(shape[1]) + 0.02 * rng.standard_normal(shape)).clip(0, 1)
    scores = Scores({"erm": values, "other": values[:, ::-1]}, groups, np.arange(len(groups)))
    for table in (summarise(resample(scores, resamples=200)), many.summarise(many.errors(scores))):
        ends = table.query("group == ''").set_index(["quantity", "method"])
        for scaled in ("es_sum", "es_std"):
            for end in ("low", "high"):
                assert (ends.loc[scaled, end] <= ends.loc["overall", end] + 1e-12).all(), (scaled, end)
            assert (ends.loc[scaled, "low"] <= ends.loc[scaled, "high"]).all()
