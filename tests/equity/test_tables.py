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


def test_one_call_gives_what_the_single_calls_give_on_the_same_draws(scores, found):
    draws = resample(scores)
    same(found.summary, summarise(draws))
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
    same(found.summary, many.summarise(source))
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
