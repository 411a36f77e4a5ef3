"""No claim is made of methods alike more often than it says, and no test contradicts its interval."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.equity import Scores, compare, many, noise_floor, pairwise, rank, resample, summarise
from harness.equity.noise import above_chance
from harness.equity.pairs import between
from harness.equity.reference import LEVELS, Family, counted, largest, p_value, threshold

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from nulls import World, draw

# A rate of 5% exceeds these counts in less than 1 of 100 runs; before, it was 12% to 35%.


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(World(methods=20, by_seed=0.03), marks=pytest.mark.slow),
        World(methods=10, by_seed=0.04, sizes=(60, 200)),
        World(methods=10, by_seed=0.02, unstable=3.0, sizes=(60, 200)),
    ],
    ids=str,
)
def test_methods_alike_share_a_letter_whatever_their_seeds_do(world):
    rng = np.random.default_rng(0)
    sources = (many.errors(draw(world, rng)) for _ in range(100))
    assert sum(bool((many.pairwise(source) <= 0.05).any()) for source in sources) <= 10


def test_methods_alike_are_not_told_apart_by_resampled_tables():
    rng, world = np.random.default_rng(1), World(methods=10, by_seed=0.02, sizes=(40, 60, 100))
    drawn = (resample(draw(world, rng), resamples=900, seed=i) for i in range(30))
    assert sum(bool((pairwise(draws)["better"] != "").any()) for draws in drawn) <= 5


def test_methods_alike_share_a_letter_where_each_lacks_another_seed():
    # Every pair has a set of seeds of its own: judged by their own variance a third were told apart.
    rng, world, told = np.random.default_rng(6), World(methods=6, seeds=6, by_seed=0.02, sizes=(30, 60)), 0
    for _ in range(60):
        scores = draw(world, rng)
        for lacking, rows in enumerate(scores.by_method.values()):
            rows[lacking] = np.nan
        source = many.errors(Scores(scores.by_method, scores.groups, scores.patients))
        found = between(source.draws, "overall", lambda overall, groups: overall)
        told += bool((many.adjusted(found, 3) <= 0.05).any())
    assert told <= 8


def test_a_gap_is_judged_by_the_least_stable_method_whatever_seeds_it_has():
    rng = np.random.default_rng(7)
    groups, patients = np.repeat(["x", "y"], 50), np.arange(100)
    score = 0.7 + 0.05 * (groups == "x") + 0.02 * rng.uniform(-1, 1, (3, 100))
    unsteady = score + np.array([0.1, -0.1, 0.0])[:, None] * (groups == "x")
    none = np.full((3, 100), np.nan)
    for together in (np.vstack([unsteady, none]), np.vstack([none, unsteady])):
        scores = Scores({"erm": np.vstack([score, none]), "m1": together}, groups, patients)
        found = above_chance(scores, np.full(2, 1e-6))
        assert not found["above"].any()
    alone = Scores({"erm": score, "m1": score + 0.001 * rng.uniform(-1, 1, (3, 100))}, groups, patients)
    assert above_chance(alone, np.full(2, 1e-6))["above"].all()


@pytest.mark.slow
def test_seeds_that_treat_groups_differently_make_no_gap_and_no_verdict():
    rng, world = np.random.default_rng(2), World(methods=5, by_group=0.04, sizes=(40, 60, 100))
    gaps = verdicts = 0
    for i in range(40):
        draws = resample(draw(world, rng), resamples=100, seed=i)
        gaps += bool(noise_floor(draws)["above"].eq(True).any())
        verdicts += bool(compare(draws).query("quantity == 'gap'")["better"].notna().any())
    assert gaps <= 6
    assert verdicts <= 6


def test_two_methods_on_whole_test_sets_are_tested_as_by_the_paired_t_test_over_seeds():
    # Every patient scores the same under a seed: only seeds vary, and theirs is Student's test with S - 1.
    rng = np.random.default_rng(3)
    one, other = rng.normal(0.80, 0.01, (2, 4))
    scores = Scores(
        {"a": np.tile(one[:, None], 40), "b": np.tile(other[:, None], 40)}, ["x", "y"] * 20, range(40)
    )
    row = pairwise(resample(scores, resamples=40), by="overall").iloc[0]
    theirs = stats.ttest_rel(one, other)
    assert (row["p"], row["p_adjusted"]) == pytest.approx((theirs.pvalue,) * 2, rel=0.03)
    assert (row["low"], row["high"]) == pytest.approx(theirs.confidence_interval(), abs=1e-6)


def test_a_method_that_collapses_does_not_blind_the_table_and_is_not_told_apart_by_luck():
    rng = np.random.default_rng(4)
    by_seed = rng.normal(0, 0.01, (6, 5))
    calm, _ = largest(by_seed)
    by_seed[0] = [0.3, -0.3, 0.2, -0.2, 0.0]
    most, aside = largest(by_seed)
    assert list(aside) == [True] + [False] * 5
    assert most < 2 * calm


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 6),
    st.integers(1, 6),
    st.sampled_from(["smooth", "zero-inflated", "one-inflated", "heavy-tailed"]),
    st.sampled_from([0.0, 0.02]),
)
@settings(max_examples=15, deadline=None)
def test_a_test_rejects_where_its_interval_excludes_nothing_and_only_there(
    seed, methods, seeds, kind, better
):
    world = World(methods, seeds, (12, 15, 40), kind, by_seed=0.01, by_group=0.01, better=better, gap=better)
    draws = resample(draw(world, np.random.default_rng(seed)), resamples=60, seed=seed)
    table = compare(draws)
    tested = [table[table["p"].notna()], *(pairwise(draws, by=by) for by in ("es_sum", "gap", "overall"))]
    for frame in tested:
        for ending, p in (("", frame["p"]), ("_adjusted", frame["p_adjusted"])):
            low, high = frame["low" + ending], frame["high" + ending]
            assert ((p <= 0.05) == ((low > 0) | (high < 0))).all()
            assert ((low <= frame["difference"]) & (frame["difference"] <= high)).all()
        told = frame["better"].isin([True, False]) if frame is tested[0] else frame["better"] != ""
        assert (told == (frame["p_adjusted"] <= 0.05)).all()


@given(
    st.floats(0, 1),
    st.floats(1e-9, 1),
    st.floats(0, 1),
    st.floats(1, 1e6),
    st.integers(2, 12),
    st.integers(2, 300),
)
@settings(deadline=None)
def test_p_values_are_where_the_threshold_is_the_difference(size, patients, seeds, freedom, count, methods):
    family = Family(methods * (methods - 1) // 2, methods, count)
    parts = tuple(np.array([value]) for value in (patients, freedom, seeds))
    limits = [float(threshold(level, family, *parts)[0]) for level in LEVELS]
    assert (np.diff(limits) >= 0).all()
    p = float(p_value(np.array([size]), family, *parts)[0])
    assert (p <= 0.05) == (size >= limits[list(LEVELS).index(0.05)])


def test_identical_methods_share_the_chance_of_being_first(make_scores):
    one = make_scores([40, 40], methods=("a",)).by_method["a"]
    scores = Scores({"a": one, "b": one, "c": one - 0.1}, ["x", "y"] * 40, np.arange(80))
    for table in (rank(resample(scores, resamples=100)), many.rank(many.errors(scores))):
        assert table.set_index("method")["p_best"].to_dict() == pytest.approx({"a": 0.5, "b": 0.5, "c": 0})


def test_equivalence_is_two_one_sided_t_tests():
    # One seed and no groups' part in the overall mean: the textbook's paired test of 90% within the margin.
    rng = np.random.default_rng(5)
    base = rng.uniform(0.6, 0.9, 100)
    for spread, shift in ((0.01, 0.0), (0.05, 0.0), (0.02, 0.0065), (0.02, 0.0072), (0.01, 0.03)):
        other = base + rng.permutation(np.linspace(-spread, spread, 100)) * np.sqrt(3) + shift
        scores = Scores({"a": base, "b": other}, ["x", "y"] * 50, np.arange(100))
        row = pairwise(resample(scores, resamples=40), by="overall", margin=0.01).iloc[0]
        difference = stats.ttest_rel(base, other)
        low, high = difference.confidence_interval(0.90)
        told = "worse" if difference.pvalue <= 0.05 else "cannot tell"
        inside = low > -0.01 and high < 0.01 and difference.pvalue > 0.05
        assert row["verdict"] == ("equivalent" if inside else told)


def test_one_patient_who_holds_most_samples_or_is_a_group_makes_no_claim():
    # Before, his own spread was taken for none: 77% of overall scores told apart, 61% of gaps above chance.
    rng, told, above = np.random.default_rng(8), 0, 0
    for _ in range(40):
        pat = np.concatenate([np.arange(40), np.full(40, 40)])
        groups = np.array([*"x" * 20, *"y" * 20, *[None] * 40], dtype=object)
        own = 0.7 + rng.normal(0, 0.05, (2, 41))
        rows = [np.clip(one[pat] + rng.normal(0, 0.02, (3, 80)), 0, 1) for one in own]
        source = many.errors(Scores({"erm": rows[0], "a": rows[1]}, groups, pat))
        found = between(source.draws, "overall", lambda overall, groups: overall)
        told += bool(found.together(1).p[0, 1] <= 0.05)
        lone = np.array([*"x" * 20, *"y" * 19, "z"], dtype=object)
        kept = Scores({"erm": rows[0][:, :40], "a": rows[1][:, :40]}, lone, pat[:40], min_patients=1)
        above += bool(above_chance(kept, np.full(2, 1e-6))["above"].any())
    assert told <= 6
    assert above <= 6


def test_the_interval_of_a_mean_holds_the_spread_of_a_patient_who_is_alone_in_his_stratum():
    rng = np.random.default_rng(9)
    pat = np.concatenate([np.arange(40), np.full(40, 40)])
    groups = np.array([*"x" * 20, *"y" * 20, *[None] * 40], dtype=object)
    own = np.append(rng.permutation(np.linspace(0.6, 0.8, 40)), 0.7)
    scores = Scores({"erm": own[pat]}, groups, pat)
    error = np.hypot(own[:40].std(ddof=1) / np.sqrt(40) / 2, own[:40].std(ddof=1) / 2)
    for table in (summarise(resample(scores, resamples=4000)), many.summarise(many.errors(scores))):
        row = table.query("quantity == 'overall'").iloc[0]
        assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_many_methods_set_aside_pay_for_each_pair_of_them():
    one, nine = (Family(190, 20, 3, aside).critical(0.05, np.array([50.0])) for aside in (1, 9))
    assert one[1] == pytest.approx(stats.t.isf(0.05 / 3 / counted(3, 20, 0.05 / 3) / 2, 2))
    assert nine[1] == pytest.approx(stats.t.isf(0.05 / 46 / counted(3, 20, 0.05 / 46) / 2, 2))
