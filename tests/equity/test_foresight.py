"""What a test set can see is what the board's noise floor would say of simulated scores."""

import numpy as np
import pytest

from harness.equity import Scores, noise_floor, resample
from harness.equity.foresight import foresee

SPREAD = 0.1


def test_floor_and_detectable_gap_are_those_of_scores_with_that_spread():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.array(["a", "b", "c"], dtype=object), [240, 80, 60])
    patients = np.arange(380) // 2  # two samples a patient, alike
    dice = np.clip(0.7 + SPREAD * rng.standard_normal(190)[patients], 0, 1)
    table = noise_floor(resample(Scores({"m": dice[None]}, groups, patients), resamples=2000))
    table = table[table["quantity"] == "gap"].set_index("group")
    seen = foresee(groups, patients, spread=float(dice[::2].std())).set_index("group")
    assert seen.loc["", "floor_95"] == pytest.approx(table.loc["", "floor_95"], rel=0.06)
    for group in ("", "a", "b", "c"):
        assert seen.loc[group, "detectable"] == pytest.approx(table.loc[group, "detectable"], rel=0.06)


def test_everything_is_proportional_to_the_spread():
    groups, patients = np.array(["a", "b"] * 30, dtype=object), np.arange(60)
    one, two = (foresee(groups, patients, spread=s)["detectable"].to_numpy() for s in (0.1, 0.2))
    assert two == pytest.approx(2 * one, rel=1e-3)


def test_more_samples_of_one_patient_show_no_smaller_gap():
    groups = np.array(["a", "b"] * 12, dtype=object)
    once = foresee(groups, np.arange(24)).set_index("group")
    often = foresee(np.repeat(groups, 5), np.repeat(np.arange(24), 5)).set_index("group")
    assert often.loc["a", "samples"] == 60
    assert often.loc["", "detectable"] == once.loc["", "detectable"]


def test_groups_with_fewer_than_ten_patients_say_too_few():
    groups = np.array(["a"] * 30 + ["b"] * 30 + ["c"] * 9, dtype=object)
    seen = foresee(groups, np.arange(69), order=("a", "b", "c", "d")).set_index("group")
    assert seen["note"].tolist() == ["", "", "", "too few", "too few"]
    assert seen["patients"].tolist() == [69, 30, 30, 9, 0]
    assert seen.loc["c":, "detectable"].isna().all()


@pytest.mark.parametrize("groups", [["a"] * 20, [None] * 20, ["a", "b"] * 5])
def test_where_no_two_groups_are_left_nothing_is_foreseen(groups):
    seen = foresee(np.array(groups, dtype=object), np.arange(len(groups)), order=("a", "b"))
    assert seen["floor_95"].isna().all()
    assert seen["detectable"].isna().all()
    assert seen["note"].iloc[0] == "too few"
