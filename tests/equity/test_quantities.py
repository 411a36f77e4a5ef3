import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame

from harness.equity import (
    Scores,
    es_penalty,
    es_std,
    es_sum,
    gap,
    resample,
    skewed_error_ratio,
    spread,
    sum_gap,
    summarise,
)


def test_es_of_a_hand_worked_cohort():
    # A scores 0.8 and 0.9, B 0.7, one of unknown group 0.6: I = 3.0 / 4 = 0.75, I_A = 0.85, I_B = 0.7, so
    # the sum of gaps is 0.10 + 0.05, ES = 0.75 / 1.15, and over groups the deviation is 0.075.
    scores = Scores({"erm": [[0.8, 0.9, 0.7, 0.6]]}, ["A", "A", "B", None], [1, 2, 3, 4], min_patients=1)
    table = summarise(resample(scores, resamples=50)).set_index(["quantity", "group"])["estimate"]
    assert table["overall", ""] == pytest.approx(0.75)
    assert table["group", "A"] == pytest.approx(0.85)
    assert table["sum_gap", ""] == pytest.approx(0.15)
    assert table["es_sum", ""] == pytest.approx(0.75 / 1.15)
    assert table["es_std", ""] == pytest.approx(0.75 / 1.075)
    assert table["gap", ""] == pytest.approx(0.15)
    assert table["worst_group", ""] == pytest.approx(0.7)
    assert table["best_group", ""] == pytest.approx(0.85)
    assert table["spread", ""] == pytest.approx(0.075)
    assert table["skewed_error_ratio", ""] == pytest.approx(0.3 / 0.15)


@pytest.mark.parametrize(("n_groups", "expected"), [(2, 0.833), (3, 0.825), (5, 0.809), (8, 0.787)])
def test_es_by_sum_falls_with_the_number_of_groups_and_es_by_deviation_does_not(n_groups, expected):
    # Groups alternating 0.01 above and below 0.85, overall 0.85: 0.85 / (1 + 0.01 n), cut to 3 digits.
    groups = 0.85 + 0.01 * np.where(np.arange(n_groups) % 2 == 0, 1, -1)
    assert es_sum(np.array(0.85), groups) == pytest.approx(expected, abs=6e-4)
    assert 0.839 < es_std(np.array(0.85), groups) < 0.8425


def test_every_definition_works_over_leading_axes():
    rng = np.random.default_rng(0)
    overall, groups = rng.random((4, 5)), rng.random((4, 5, 3))
    for quantity in (es_sum, es_std, es_penalty, gap, sum_gap, spread, skewed_error_ratio):
        together = quantity(overall, groups)
        assert together.shape == (4, 5)
        assert together[2, 3] == pytest.approx(float(quantity(overall[2, 3], groups[2, 3])))


def test_groups_are_aggregated_as_fairlearn_does():
    rng = np.random.default_rng(1)
    values, groups = rng.random(300), rng.choice(["a", "b", "c"], 300)
    frame = MetricFrame(
        metrics=lambda truth, score: score.mean(), y_true=values, y_pred=values, sensitive_features=groups
    )
    scores = Scores({"erm": values}, groups, np.arange(300))
    table = summarise(resample(scores, resamples=50)).set_index(["quantity", "group"])["estimate"]
    assert table["overall", ""] == pytest.approx(frame.overall)
    pd.testing.assert_series_equal(table["group"], frame.by_group, check_names=False)
    assert table["gap", ""] == pytest.approx(frame.difference())
    assert table["worst_group", ""] == pytest.approx(frame.group_min())
    assert table["best_group", ""] == pytest.approx(frame.group_max())
