import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from harness.equity import Scores, from_frame, resample, summarise
from harness.errors import HarnessError


def test_a_tidy_frame_gives_the_scores_it_holds():
    frame = pd.DataFrame(
        {
            "method": ["erm"] * 4 + ["adv"] * 2,
            "seed": [0, 0, 1, 1, 1, 1],
            "sample": ["x", "y", "y", "x", "x", "y"],
            "patient": ["p", "q", "q", "p", "p", "q"],
            "race": ["Black", None, None, "Black", "Black", None],
            "dice": [0.1, 0.2, 0.4, 0.3, 0.5, 0.6],
        }
    )
    scores = from_frame(frame, score="dice", group="race")
    np.testing.assert_array_equal(scores.by_method["erm"], [[0.1, 0.2], [0.3, 0.4]])
    # adv has no seed 0: its row is missing, so that seed 1 stays paired with erm's.
    np.testing.assert_array_equal(scores.by_method["adv"], [[np.nan, np.nan], [0.5, 0.6]])
    assert list(scores.groups) == ["Black", None]
    assert list(scores.patients) == ["p", "q"]


def test_a_frame_without_method_seed_or_patient_is_one_of_each():
    frame = pd.DataFrame({"sample": ["x", "y"], "dice": [0.1, 0.2], "sex": ["F", "M"]})
    scores = from_frame(frame, score="dice", group="sex", min_patients=1)
    assert scores.methods == ("method",)
    assert scores.counts == {"": (2, 2), "F": (1, 1), "M": (1, 1)}


def test_groups_of_too_few_patients_say_so_and_stay_out_of_gaps(make_scores):
    scores = make_scores([60, 60, 9], shifts={"erm": {"g2": -0.5}}, methods=("erm",))
    table = summarise(resample(scores, resamples=400)).set_index(["quantity", "group"])
    assert table.loc[("group", "g2"), "note"] == "too few"
    assert table.loc[("group", "g2"), ["estimate", "low", "high"]].isna().all()
    assert table.loc[("gap", ""), "estimate"] < 0.1
    assert "without g2" in table.loc[("gap", ""), "note"]
    assert table.loc[("overall", ""), "samples"] == 129


def test_many_samples_of_few_patients_are_few():
    scores = Scores({"erm": np.full(200, 0.8)}, ["a"] * 100 + ["b"] * 100, np.arange(200) // 20)
    assert scores.kept == ()
    notes = summarise(resample(scores, resamples=40)).query("quantity == 'gap'")["note"]
    assert set(notes) == {"too few"}


def test_an_unknown_group_counts_overall_and_in_no_group():
    scores = Scores({"erm": [0.5, 0.7, 0.9]}, ["a", "b", float("nan")], [1, 2, 3], min_patients=1)
    table = summarise(resample(scores, resamples=40)).set_index(["quantity", "group"])["estimate"]
    assert table["overall", ""] == pytest.approx(0.7)
    assert set(table["group"].index) == {"a", "b"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"by_method": {"erm": [[0.1, 0.2]]}}, r"'erm' has scores of shape \(1, 2\).*\[seeds, 3\]"),
        ({"by_method": {"erm": [0.1, 0.2, np.nan]}}, "NaN scores"),
        ({"by_method": {"erm": [np.nan] * 3}}, "NaN scores"),
        ({"by_method": {"erm": [0.1, "good", 0.3]}}, "'erm' has scores that are not numbers"),
        ({"by_method": {"erm": [[0.1, 0.2, 0.3], [0.1, 0.2]]}}, "rows of different lengths"),
        ({"by_method": {"erm": [0.1, 0.2, np.inf]}}, "infinite"),
        ({"by_method": {"erm": [81.0, 85.0, 79.0]}}, "divide percentages by 100"),
        ({"by_method": {}}, "at least one method"),
        ({"patients": [1, 2]}, "3 groups but 2 patients"),
        ({"groups": [None, None, None]}, "group is unknown"),
        ({"order": ("a", "c")}, "Group 'b' is not in the order"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(change, words):
    good = {"by_method": {"erm": [0.1, 0.2, 0.3]}, "groups": ["a", "b", "b"], "patients": [1, 2, 3]}
    with pytest.raises(HarnessError, match=words):
        Scores(**(good | change))


def test_a_frame_that_does_not_fit_is_refused():
    frame = pd.DataFrame({"sample": ["x", "x"], "dice": [0.1, 0.2], "sex": ["F", "M"]})
    with pytest.raises(HarnessError, match=r"no column 'dce'\. Did you mean 'dice'"):
        from_frame(frame, score="dce", group="sex")
    with pytest.raises(HarnessError, match="'x' is there twice"):
        from_frame(frame, score="dice", group="sex")
    with pytest.raises(HarnessError, match="Column 'dice' holds .* and not numbers"):
        from_frame(frame.assign(dice=["good", "bad"], sample=["x", "y"]), score="dice", group="sex")
    rows = [("erm", "x", 0.1), ("erm", "y", 0.2), ("adv", "x", 0.1)]
    short = pd.DataFrame(rows, columns=["method", "sample", "dice"]).assign(sex=["F", "M", "F"])
    with pytest.raises(HarnessError, match=r"'adv', seed 0 has no score for 1 of 2 samples \('y' first\)"):
        from_frame(short, score="dice", group="sex")


@pytest.mark.parametrize("resamples", [0, 1, 39])
def test_too_few_resamples_for_an_interval_are_refused(resamples):
    scores = Scores({"erm": [0.1, 0.2, 0.3]}, ["a", "b", "b"], np.arange(3))
    with pytest.raises(HarnessError, match=f"resamples={resamples}; give 40 or more"):
        resample(scores, resamples=resamples)


def test_equity_needs_no_torch():
    code = "import harness.equity, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_patient_an_empty_group_and_a_sample_of_two_groups_are_refused():
    dice = np.full((1, 4), 0.5)
    with pytest.raises(HarnessError, match="patient is missing"):
        Scores({"erm": dice}, ["a", "a", "b", "b"], np.array([0, 1, None, 3], object))
    with pytest.raises(HarnessError, match="name is empty"):
        Scores({"erm": dice}, ["", "", "b", "b"], np.arange(4))
    frame = pd.DataFrame({"method": ["erm", "adv"], "sample": "s", "dice": 0.5, "race": ["a", "b"]})
    with pytest.raises(HarnessError, match="two values in column 'race'"):
        from_frame(frame, score="dice", group="race")


def test_patients_in_a_column_of_another_name_are_not_overlooked():
    columns = {"sample": range(6), "dice": [0.5] * 6, "sex": ["f", "m"] * 3, "PatientID": list("aabbcc")}
    frame = pd.DataFrame(columns)
    with pytest.raises(HarnessError, match="'PatientID' looks like it: give patient='PatientID'"):
        from_frame(frame, score="dice", group="sex")
    assert from_frame(frame, score="dice", group="sex", patient="PatientID").counts[""] == (6, 3)
    assert from_frame(frame, score="dice", group="sex", patient="sample").counts[""] == (6, 6)
    # One that has each sample by itself says nothing else than the samples do.
    alone = frame.assign(PatientID=list("abcdef"))
    assert from_frame(alone, score="dice", group="sex").counts[""] == (6, 6)
