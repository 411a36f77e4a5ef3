"""Where a gap comes from: parts of variance and adjusted gaps are what was put in; chance is not found."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.formula.api as smf

from harness.equity import Scores
from harness.equity.adjust import adjusted
from harness.equity.variance import variance


def cohort(rng, n=160, slope=0.0, gap=0.0, moved=0.8):
    """Scores that fall with a number which the second group has less of."""
    groups = np.resize(["a", "b"], n)
    number = rng.normal(0, 1, n) - moved * (groups == "b")
    values = 0.7 + slope * number - gap * (groups == "b") + rng.normal(0, 0.05, n)
    return Scores({"m": values.clip(0, 1)}, groups, np.arange(n)), number


def test_a_gap_that_is_the_numbers_goes_away_and_another_stays():
    rng = np.random.default_rng(0)
    scores, number = cohort(rng, n=600, slope=0.05)
    row = adjusted(scores, {"size": number}).iloc[0]
    assert row["raw"] > 0.03
    assert row["adjusted"] < 0.012
    assert row["p"] > 0.05
    scores, number = cohort(rng, n=600, slope=0.05, gap=0.03)
    row = adjusted(scores, {"size": number}).iloc[0]
    assert row["low"] > 0.015
    assert row["low"] <= row["adjusted"] <= row["high"]
    assert row["p"] < 0.01
    assert row["explained"] == pytest.approx(row["raw"] - row["adjusted"], abs=1e-15)


def test_the_adjusted_gap_is_that_of_a_regression():
    import pandas as pd

    scores, number = cohort(np.random.default_rng(1), slope=0.04, gap=0.02)
    frame = pd.DataFrame({"y": scores.by_method["m"][0], "g": scores.groups, "x": number})
    fitted = smf.ols("y ~ C(g) + x + I(x**2)", frame).fit()
    row = adjusted(scores, {"x": number}).iloc[0]
    assert row["adjusted"] == pytest.approx(abs(fitted.params["C(g)[T.b]"]), abs=1e-9)
    # The bootstrap's interval is as wide as the regression's own.
    low, high = fitted.conf_int().loc["C(g)[T.b]"]
    assert row["high"] - row["low"] == pytest.approx(high - low, rel=0.25)


def test_without_a_true_gap_chance_is_called_more_in_one_of_twenty():
    rng, hits, covered = np.random.default_rng(2), 0, 0
    for _ in range(150):
        scores, number = cohort(rng, n=80, slope=0.05)
        row = adjusted(scores, {"size": number}, draws=200).iloc[0]
        hits += row["p"] <= 0.05
        covered += row["low"] <= 1e-9
    assert hits <= 15  # 7.5 are due; beyond 15 has a probability of 0.4%
    assert covered >= 134


def test_what_cannot_be_made_alike_says_so():
    groups = np.resize(["a", "b"], 80)
    number = (groups == "b") * 10.0 + np.random.default_rng(0).normal(0, 0.1, 80)
    scores = Scores({"m": np.full(80, 0.5)}, groups, np.arange(80))
    assert adjusted(scores, {"x": number}).iloc[0]["note"] == "groups have nothing in common in what is given"
    few = Scores({"m": np.full(24, 0.5)}, np.resize(["a", "b"], 24), np.arange(24))
    ten = {f"x{i}": np.random.default_rng(i).normal(size=24) for i in range(4)}
    assert adjusted(few, ten).iloc[0]["note"] == "too few patients for as many numbers"


def simulated(rng, methods=4, seeds=4, patients=240, **spread):
    """Scores with the spread of each part as given, far from 0 and 1."""
    group = np.resize([0, 1, 2], patients)

    def drawn(name, *shape):
        return rng.normal(0, spread.get(name, 0.0), shape)

    values = (
        0.5 + drawn("group", 3)[group] + drawn("patient", patients) + drawn("method", methods, 1, 1)
        + drawn("seed", methods, seeds, 1) + drawn("method by group", methods, 1, 3)[:, :, group]
        + drawn("method by patient", methods, 1, patients) + drawn("rest", methods, seeds, patients)
    )  # fmt: skip
    by_method = {f"m{i}": own.clip(0, 1) for i, own in enumerate(values)}
    return Scores(by_method, np.array(["a", "b", "c"])[group], np.arange(patients))


PARTS = {"group": 0.03, "patient": 0.05, "method": 0.02, "seed": 0.015, "method by group": 0.02,
         "method by patient": 0.03, "rest": 0.025}  # fmt: skip


def test_each_part_of_the_variance_is_found_on_average():
    rng = np.random.default_rng(5)
    found = [variance(simulated(rng, **PARTS), draws=2).set_index("part")["variance"] for _ in range(60)]
    for part, spread in PARTS.items():
        values = np.array([one[part] for one in found])
        error = values.std(ddof=1) / np.sqrt(len(values))
        # A part that came out below 0 counts as 0, which moves those of few by a little.
        assert abs(values.mean() - spread**2) < 4 * error + 2e-5, part


@pytest.mark.slow
def test_a_patients_share_is_covered_by_its_interval():
    rng, held = np.random.default_rng(6), 0
    for _ in range(60):
        row = variance(simulated(rng, 1, 1, 120, patient=0.05), draws=80).set_index("part")
        held += row.loc["group", "low"] <= 0.02
    assert held >= 55


@pytest.mark.slow
def test_without_groups_that_differ_chance_is_called_more_in_one_of_twenty():
    rng, hits = np.random.default_rng(7), 0
    for _ in range(150):
        table = variance(simulated(rng, 1, 1, 90, patient=0.05), draws=39)
        hits += table.set_index("part").loc["group", "p"] <= 0.05
    assert hits <= 15


def test_one_model_of_one_training_has_two_parts_and_says_what_is_in_them():
    table = variance(simulated(np.random.default_rng(8), 1, 1, 90, patient=0.05, group=0.02), draws=50)
    assert table["part"].tolist() == ["group", "patient"]
    assert table["share"].sum() == pytest.approx(1)
    assert "single training" in table.set_index("part").loc["patient", "note"]
