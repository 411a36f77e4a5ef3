"""`harness cohort` says what a test set can see, and which split or merge would help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cohort_files import folder_protocol, write_folder
from PIL import Image

from harness import cohorts
from harness.commands import sight
from harness.protocol import ScoringSpec


def looked(tmp_path: Path, counts: dict[str, int], **protocol: Any) -> sight.Sight:
    """What is seen of a cohort with so many patients of each value of "sex"."""
    rows = [{"sex": value} for value, count in counts.items() for _ in range(count)]
    chosen = folder_protocol(attributes={"sex": {}}, **protocol)
    cohort = cohorts.load(chosen, write_folder(tmp_path / "data", rows), tmp_path / "cache")
    (found,) = sight.sights(cohort, chosen)
    return found


def test_a_group_that_is_large_enough_in_all_asks_for_a_larger_test_set(tmp_path):
    found = looked(tmp_path, {"female": 80, "male": 25})
    assert found.few == ["male"]
    (advice,) = found.advice
    # 10 of 25 men are 40 %.
    assert "'male': [split] test = 0.4 would test 10 or more of them; so would [split] folds = 5" in advice


def test_a_group_that_is_small_in_all_asks_to_be_merged_with_the_next(tmp_path):
    found = looked(tmp_path, {"a": 40, "b": 40, "c": 6, "d": 5})
    assert found.few == ["c", "d"]
    assert 'merge = { other = ["d", "c"] }' in found.advice[0]
    assert "makes one group of 11" in found.advice[0]


def test_two_groups_of_which_one_is_rare_cannot_be_merged(tmp_path):
    (advice,) = looked(tmp_path, {"a": 60, "b": 4}).advice
    assert "'b' (4) has fewer than 10 patients in all: no merge leaves two groups" in advice


def test_where_all_is_enough_folds_are_said_to_see_more(tmp_path):
    found = looked(tmp_path, {"a": 60, "b": 60})
    (advice,) = found.advice
    now, then = (float(table["detectable"].iloc[0]) for table in (found.table, found.whole))
    # Four times the patients: half the gap.
    assert 0.45 < then / now < 0.55
    assert f"folds = 5 every patient is tested once: a gap of {then:.3f}" in advice


def test_what_is_said_names_floor_groups_and_gaps(tmp_path):
    found = looked(tmp_path, {"a": 60, "b": 60, "c": 6})
    lines = list(sight.said([found], 0.15))
    assert f"  sex: noise floor {found.floor:.3f}" in lines[1]
    assert "15 test patients, a gap of" in lines[2]
    assert "c: " in lines[4]
    assert "too few for a number (at least 10)" in lines[4]


def test_where_many_truths_are_empty_those_with_the_structure_count(tmp_path):
    rows = [{"sex": "fm"[i % 2]} for i in range(160)]
    (tmp_path / "data").mkdir()
    for i in range(0, 160, 4):  # every second woman has nothing to be found
        rows[i]["mask"] = f"empty{i}.png"
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "data" / rows[i]["mask"])
    chosen = folder_protocol(attributes={"sex": {}})
    cohort = cohorts.load(chosen, write_folder(tmp_path / "data", rows), tmp_path / "cache")
    (found,) = sight.sights(cohort, chosen)
    assert found.whole["patients"].tolist() == [120, 40, 80]
    (whole,) = sight.sights(cohort, chosen.model_copy(update={"scoring": ScoringSpec(rank="all")}))
    assert whole.whole["patients"].tolist() == [160, 80, 80]


def test_scored_by_patient_many_samples_of_one_weigh_as_one(tmp_path):
    rows = [{"sex": "fm"[i % 2], "patient": f"p{i}"} for i in range(80) for _ in range(1 if i > 4 else 9)]
    folder = write_folder(tmp_path / "data", rows)
    by_sample = folder_protocol(attributes={"sex": {}})
    by_patient = by_sample.model_copy(update={"scoring": ScoringSpec(unit="patient")})
    cohort = cohorts.load(by_sample, folder, tmp_path / "cache")
    one, other = (sight.sights(cohort, chosen)[0].whole for chosen in (by_sample, by_patient))
    assert other["samples"].tolist() == [80, 40, 40]
    assert other["detectable"].iloc[0] < 0.9 * one["detectable"].iloc[0]
