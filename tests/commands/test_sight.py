"""`harness cohort` says what a test set can see, and which split or merge would help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cohort_files import folder_protocol, write_folder

from harness import cohorts
from harness.commands import sight


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
