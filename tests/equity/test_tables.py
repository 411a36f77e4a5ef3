import numpy as np
import pandas as pd
import pytest

from harness.equity import (
    COMPARISON,
    FEWER,
    RANKING,
    TIDY,
    Scores,
    compare,
    many,
    noise_floor,
    pairwise,
    rank,
    resample,
    summarise,
    tables,
)

SHIFTS = {"erm": {"g0": -0.06}, "fair": {"g0": -0.01}, "same": {"g0": -0.06}}


@pytest.fixture(scope="module")
def scores(make_scores):
    return make_scores((60, 90, 250), shifts=SHIFTS, methods=tuple(SHIFTS), seeds=3)


@pytest.fixture(scope="module")
def found(scores):
    return tables(scores, "erm")


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other)


def without_medians(found) -> pd.DataFrame:
    return found.summary.query("quantity != 'median'")


def test_one_call_gives_what_the_single_calls_give_on_the_same_draws(scores, found):
    draws = resample(scores)
    same(without_medians(found), summarise(draws))
    same(found.noise, noise_floor(draws))
    tested = pairwise(draws, least_seeds=3)
    same(found.ranking, rank(draws, tested=tested))
    alone = compare(draws, baseline="erm", least_seeds=3)
    of_es = alone["quantity"] == "es_sum"
    same(found.comparison[~of_es].drop(columns="better"), alone[~of_es].drop(columns="better"))
    assert found.comparison["better"].map(repr).tolist() == alone["better"].map(repr).tolist()


def test_es_against_the_baseline_is_adjusted_for_all_pairs(scores, found):
    tested = pairwise(resample(scores), least_seeds=3)
    es = found.comparison.query("quantity == 'es_sum'").set_index("method")
    for method in ("fair", "same"):
        (pair,) = tested[
            (tested["one"] == "erm") & (tested["other"] == method)
            | (tested["one"] == method) & (tested["other"] == "erm")
        ].to_dict("records")
        assert es.loc[method, "p_adjusted"] == pytest.approx(pair["p_adjusted"], rel=1e-9)
    letters = found.ranking.set_index("method")["letters"]
    for method in ("fair", "same"):
        assert (es.loc[method, "better"] is None) == bool(set(letters[method]) & set(letters["erm"]))
    assert es.loc["fair", "better"] is True


def test_what_is_not_ranked_has_fewer_resamples_and_no_order(scores):
    beside = tables(scores, "erm", ranked=False)
    same(beside.summary, summarise(resample(scores, resamples=FEWER)))
    assert beside.ranking.empty
    assert beside.comparison.empty
    assert (tuple(beside.ranking), tuple(beside.comparison)) == (RANKING, COMPARISON)


@pytest.mark.parametrize(("baseline", "methods"), [("nobody", ("erm", "adv")), ("erm", ("erm",))])
def test_without_the_baseline_or_anything_beside_it_nothing_is_compared(make_scores, baseline, methods):
    alone = tables(make_scores((40, 40), methods=methods), baseline)
    assert alone.comparison.empty
    assert len(alone.ranking) == len(methods)
    assert "difference" not in alone.tidy


def test_on_fewer_seeds_than_asked_no_two_are_told_apart(scores, found):
    assert set("".join(found.ranking["letters"])) == {"a", "b"}
    asked = tables(scores, "erm", least_seeds=4)
    assert set(asked.ranking["letters"]) == {"a"}
    assert asked.comparison["p_adjusted"].isna().all()


def test_very_many_methods_take_the_tables_made_for_them():
    rng = np.random.default_rng(0)
    groups, names = np.repeat(["a", "b"], 40), ("erm", *(f"m{i}" for i in range(many.MANY)))
    by_method = {name: np.clip(rng.normal(0.8, 0.05, (3, 80)), 0, 1) for name in names}
    scores = Scores(by_method, groups, np.arange(80))
    found, source = tables(scores, "erm"), many.errors(scores)
    same(without_medians(found), many.summarise(source))
    same(found.ranking, many.rank(source, tested=many.pairwise(source, least_seeds=3)))
    p = many.pairwise(source, least_seeds=3)[0, 1:]
    theirs = found.comparison.query("quantity == 'es_sum'")["p_adjusted"].astype(float)
    np.testing.assert_allclose(theirs, p, rtol=1e-9)


def test_tidy_holds_every_table_once(found):
    tidy = found.tidy
    assert set(tidy) <= set(TIDY)
    assert not tidy.duplicated(["method", "quantity", "group"]).any()
    for method, line in found.ranking.set_index("method").iterrows():
        (own,) = tidy[(tidy["method"] == method) & tidy["rank"].notna()].to_dict("records")
        assert (own["quantity"], own["rank"], own["letters"]) == ("es_sum", line["rank"], line["letters"])
    gaps = found.noise.query("quantity == 'gap' and group == ''").set_index("method")["floor_95"]
    kept = tidy.query("quantity == 'gap' and group == ''").set_index("method")["floor_95"]
    pd.testing.assert_series_equal(gaps, kept)


def medians(found):
    return found.summary.query("quantity == 'median'").set_index("method")


def test_the_median_is_that_of_all_samples_and_seeds_and_is_there_for_any_number_of_methods(scores, found):
    for method, rows in scores.by_method.items():
        row = medians(found).loc[method]
        assert row["estimate"] == np.median(rows)
        assert row["low"] < row["estimate"] < row["high"]
        assert {row["low"], row["high"]} <= set(rows.ravel())
    (overall,) = found.summary.query("quantity == 'overall' and method == 'fair'").to_dict("records")
    assert medians(found).loc["fair", ["samples", "patients"]].tolist() == [
        overall["samples"],
        overall["patients"],
    ]


def test_the_medians_interval_is_that_of_medians_of_resampled_patients(make_scores):
    # One seed: patients alone, so that drawing them and taking the median each time says the same.
    scores = make_scores((60, 90, 250), methods=("erm",), seeds=1)
    rng, rows = np.random.default_rng(1), scores.by_method["erm"][0]
    strata = [np.flatnonzero(scores.groups == group) for group in scores.kept]
    drawn = [
        np.median(rows[np.concatenate([rng.choice(mine, len(mine)) for mine in strata])]) for _ in range(2000)
    ]
    row = medians(tables(scores, "erm")).loc["erm"]
    width = np.subtract(*np.quantile(drawn, [0.975, 0.025]))
    for end, quantile in (("low", 0.025), ("high", 0.975)):
        assert row[end] == pytest.approx(np.quantile(drawn, quantile), abs=0.15 * width)


def test_samples_of_one_patient_and_other_trainings_widen_the_medians_interval(make_scores):
    alone = make_scores((60, 90, 250), methods=("erm",), seeds=3)
    four_each = Scores(
        {"erm": np.repeat(alone.by_method["erm"], 4, axis=1)},
        np.repeat(alone.groups, 4),
        np.repeat(alone.patients, 4),
    )
    moved = np.clip(alone.by_method["erm"] + [[-0.02], [0.0], [0.02]], 0, 1)
    apart = Scores({"erm": moved}, alone.groups, alone.patients)
    one, same, wide = (medians(tables(s, "erm")).loc["erm"] for s in (alone, four_each, apart))
    width = one["high"] - one["low"]
    assert same["high"] - same["low"] == pytest.approx(width, rel=0.1)
    assert wide["high"] - wide["low"] > 2 * width


def test_medians_of_very_many_methods_have_the_intervals_of_few(make_scores):
    few = make_scores((60, 90, 250), methods=("erm", "fair"), seeds=3)
    copies = {f"m{i}": few.by_method["fair"] for i in range(many.MANY)}
    crowd = Scores(dict(few.by_method) | copies, few.groups, few.patients)
    one, other = (medians(tables(s, "erm")).loc["erm"] for s in (few, crowd))
    assert one["estimate"] == other["estimate"]
    width = one["high"] - one["low"]
    for end in ("low", "high"):
        assert other[end] == pytest.approx(one[end], abs=0.2 * width)


@pytest.mark.parametrize("tied", [0.0, 1.0])
def test_a_median_tied_with_most_scores_reaches_only_where_the_others_may_be(tied):
    # 58% of 100 patients score the same extreme: 50% is within what chance makes of such a share.
    rows = np.where(np.arange(100) < 58, tied, 0.5)[None]
    scores = Scores({"erm": rows}, np.array(["a", "b"] * 50), np.arange(100))
    row = medians(tables(scores, "erm")).loc["erm"]
    assert row["estimate"] == tied
    assert sorted((row["low"], row["high"])) == sorted((tied, 0.5))


def test_a_seed_that_a_method_lacks_is_no_score_of_its_median(make_scores):
    whole = make_scores((60, 90, 250), methods=("erm", "adv"), seeds=3)
    less = dict(whole.by_method) | {"adv": whole.by_method["adv"] + [[0], [0], [np.nan]]}
    row = medians(tables(Scores(less, whole.groups, whole.patients), "erm")).loc["adv"]
    assert row["estimate"] == np.median(less["adv"][:2])
