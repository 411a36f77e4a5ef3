from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cohort_files import make_protocol
from PIL import Image

from harness.cohorts import Cohort, load
from harness.cohorts import audit as audits
from harness.cohorts.audit import audit
from harness.cohorts.survey import survey
from harness.protocol import Protocol


@pytest.fixture(scope="module")
def wanted() -> Protocol:
    return make_protocol(size=96, samples=150, attributes={"gender": {}, "race": {}})


@pytest.fixture(scope="module")
def sound(wanted: Protocol, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return load(wanted, None, tmp_path_factory.mktemp("sound"))


def changed(
    cohort: Cohort, row: int, images: np.ndarray | None = None, masks: np.ndarray | None = None
) -> Cohort:
    """The cohort with one image or mask replaced."""
    parts: dict[str, Any] = {}
    for name, value in (("images", images), ("masks", masks)):
        if value is not None:
            parts[name] = np.array(getattr(cohort, name))
            parts[name][row] = value
    return replace(cohort, **parts)


def test_a_sound_cohort_has_no_findings(sound: Cohort, wanted: Protocol):
    assert audit(sound, wanted) == []


def test_a_patient_in_two_splits_is_found(sound: Cohort, wanted: Protocol):
    one, other = sound.rows("train")[0], sound.rows("test")[0]
    subjects = sound.subjects.copy()
    subjects.loc[other, "patient"] = subjects.loc[one, "patient"]
    (finding,) = audit(replace(sound, subjects=subjects), wanted)
    assert finding.check == "patient"
    assert finding.spoils
    assert set(finding.samples) == set(subjects["sample"][[one, other]])
    assert f"The patient '{subjects['patient'][one]}' is in train and test" in finding.message


def _noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 8, image.shape[:2])[..., None]
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _brighter(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 1.15 + 5, 0, 255).astype(np.uint8)


def _resized(image: np.ndarray) -> np.ndarray:
    small = Image.fromarray(np.asarray(image)).resize((60, 60))
    return np.asarray(small.resize((96, 96)))


@pytest.mark.parametrize("copy", [np.array, _noisy, _brighter, _resized])
def test_an_image_that_is_also_in_another_split_is_found(copy: Any, sound: Cohort, wanted: Protocol):
    one, other = sound.rows("train")[5], sound.rows("test")[3]
    (finding,) = audit(changed(sound, other, images=copy(sound.images[one])), wanted)
    assert finding.check == "duplicate"
    assert set(finding.samples) == set(sound.subjects["sample"][[one, other]])


def test_the_same_image_twice_in_one_split_is_no_leak(sound: Cohort, wanted: Protocol):
    one, other = sound.rows("train")[:2]
    assert audit(changed(sound, other, images=sound.images[one]), wanted) == []


def test_empty_masks_are_found(sound: Cohort, wanted: Protocol):
    (finding,) = audit(changed(sound, 4, masks=np.zeros((96, 96))), wanted)
    assert (finding.check, finding.spoils) == ("empty", False)
    assert finding.samples == (sound.subjects["sample"][4],)
    assert "1 of 150 masks are empty" in finding.message


def _swap(masks: np.ndarray) -> np.ndarray:
    return np.array([0, 2, 1], dtype=np.uint8)[np.asarray(masks)]


def test_a_mask_with_cup_and_rim_swapped_is_found(sound: Cohort, wanted: Protocol):
    (finding,) = audit(changed(sound, 9, masks=_swap(sound.masks[9])), wanted)
    assert finding.check == "swapped"
    assert finding.samples == (sound.subjects["sample"][9],)


def test_a_cohort_with_every_cup_and_rim_swapped_is_found(sound: Cohort, wanted: Protocol):
    (finding,) = audit(replace(sound, masks=_swap(sound.masks)), wanted)
    assert "In 150 of 150 masks 'cup' lies around the rest of 'disc' instead of inside" in finding.message


def test_structures_of_other_names_are_compared_with_most_of_the_samples(sound: Cohort):
    renamed = make_protocol(size=96, structures={"core": [2], "whole": [1, 2]}, attributes={"gender": {}})
    assert audit(sound, renamed) == []
    (finding,) = audit(changed(sound, 9, masks=_swap(sound.masks[9])), renamed)
    assert "In 1 of 150 masks 'core' lies around the rest of 'whole'" in finding.message


def test_groups_that_differ_between_splits_are_found(sound: Cohort, wanted: Protocol):
    # 12 of 60 against 40 of 90 women: chi-square 8.4 with Yates's correction, p = 0.0037; 0.0073 by Holm.
    subjects = sound.subjects.copy()
    subjects["split"] = ["test"] * 60 + ["train"] * 90
    subjects["gender"] = ["female"] * 12 + ["male"] * 48 + ["female"] * 40 + ["male"] * 50
    subjects["race"] = ["White", "Black"] * 75
    (finding,) = audit(replace(sound, subjects=subjects), wanted)
    assert (finding.check, finding.spoils) == ("drift", False)
    assert "'gender' is not the same in all splits (chi-square, p = 0.0073 after Holm)" in finding.message
    assert (
        "is 44% of train, 20% of test" in finding.message or "is 56% of train, 80% of test" in finding.message
    )


def test_drift_counts_patients_and_not_their_samples(tmp_path: Path, sound: Cohort, wanted: Protocol):
    # Ten patients of 15 samples each; by sample the same difference would be beyond doubt.
    subjects = sound.subjects.copy()
    subjects["patient"] = [f"p{row // 15}" for row in range(150)]
    subjects["split"] = ["train"] * 75 + ["test"] * 75
    women = pd.Series([0, 1, 2, 5], dtype=int) * 15
    subjects["gender"] = "male"
    for start in women:
        subjects.loc[start : start + 14, "gender"] = "female"
    subjects["race"] = ["White"] * 15 * 2 + ["Black"] * 15 * 3 + ["White"] * 15 * 2 + ["Black"] * 15 * 3
    assert audit(replace(sound, subjects=subjects), wanted) == []


def test_images_of_one_grey_are_named_once_and_are_no_copies_of_each_other(sound: Cohort, wanted: Protocol):
    images = np.array(sound.images)
    grey = [*sound.rows("train")[:3], *sound.rows("test")[:2]]
    images[grey] = 90
    (finding,) = audit(replace(sound, images=images), wanted)
    assert (finding.check, finding.spoils, finding.count) == ("constant", False, 5)
    assert set(finding.samples) == set(sound.subjects["sample"].iloc[grey])
    assert len(finding.examples) == 3


def test_two_level_thumbnails_are_like_nothing():
    one, other = audits._standardised(np.full((2, 16, 17), 90, np.uint8))
    assert one @ other == 0
    slope = np.tile(np.arange(17, dtype=np.uint8), (16, 1))
    one, other = audits._standardised(np.stack([slope, 2 * slope + 7]))
    assert one @ other == pytest.approx(1)


def test_many_leaking_patients_are_one_finding_with_three_examples(sound: Cohort, wanted: Protocol):
    subjects = sound.subjects.copy()
    for one, other in zip(sound.rows("train")[:5], sound.rows("test")[:5], strict=True):
        subjects.loc[other, "patient"] = subjects.loc[one, "patient"]
    (finding,) = audit(replace(sound, subjects=subjects), wanted)
    assert (finding.check, finding.count, len(finding.examples)) == ("patient", 5, 3)
    assert len(finding.samples) == 10
    assert finding.effect
    assert finding.fix


def test_a_declared_structure_that_is_never_there_is_found(sound: Cohort):
    structures = {"cup": [2], "disc": [1, 2], "necrosis": [7]}
    (finding,) = audit(sound, make_protocol(size=96, structures=structures, attributes={"gender": {}}))
    assert (finding.check, finding.spoils) == ("never", False)
    assert "'necrosis' is in none of 150 masks" in finding.message


def test_a_structure_that_no_test_mask_has_is_found(sound: Cohort, wanted: Protocol):
    masks = np.array(sound.masks)
    masks[sound.rows("test")] = np.where(masks[sound.rows("test")] == 2, 1, masks[sound.rows("test")])
    found = {one.check: one for one in audit(replace(sound, masks=masks), wanted)}
    assert found["never"].spoils  # the cup ranks the board
    assert "'cup' is in no test mask" in found["never"].message


def test_masks_that_are_all_empty_spoil_a_ranking(sound: Cohort, wanted: Protocol):
    (finding,) = audit(replace(sound, masks=np.zeros_like(sound.masks)), wanted)
    assert (finding.check, finding.spoils, finding.count) == ("empty", True, 150)


def test_a_test_set_of_four_patients_is_too_few_and_five_are_not(sound: Cohort, wanted: Protocol):
    subjects = sound.subjects.copy()
    for patients, checks in ((4, ["few"]), (5, [])):
        subjects["split"] = "train"
        subjects.loc[subjects.index[:patients], "split"] = "test"
        assert [one.check for one in audit(replace(sound, subjects=subjects), wanted)] == checks


def test_the_most_harmful_findings_come_first(sound: Cohort, wanted: Protocol):
    masks, images, subjects = np.array(sound.masks), np.array(sound.images), sound.subjects.copy()
    masks[4], images[5] = 0, 90
    subjects.loc[sound.rows("test")[0], "patient"] = subjects.loc[sound.rows("train")[0], "patient"]
    spoilt = replace(sound, masks=masks, images=images, subjects=subjects)
    assert [one.check for one in audit(spoilt, wanted)] == ["patient", "empty", "constant"]


def test_a_survey_looks_at_each_sample_once_and_says_how_far_it_is(sound: Cohort, wanted: Protocol):
    said: list[tuple[int, int]] = []
    seen = survey(sound, wanted, lambda done, total: said.append((done, total)))
    assert said == [(128, 150), (150, 150)]
    row = 17
    grey = np.asarray(Image.fromarray(np.asarray(sound.images[row])).convert("L"))
    assert seen.brightness[row] == pytest.approx(grey.mean())
    assert seen.pixels[row].tolist() == [(np.asarray(sound.masks[row]) == c).sum() for c in range(3)]
    assert seen.size(wanted, "disc")[row] == (np.asarray(sound.masks[row]) > 0).sum()


def test_in_folds_the_same_image_of_two_patients_is_a_leak(sound: Cohort):
    folds = make_protocol(size=96, samples=150, attributes={"gender": {}}, split={"folds": 5})
    whole = replace(sound, subjects=sound.subjects.assign(split="test"))
    assert audit(whole, folds) == []
    (finding,) = audit(changed(whole, 7, images=_noisy(sound.images[3])), folds)
    assert (finding.check, finding.count) == ("duplicate", 1)
    assert "give both one patient" in finding.message
    same = whole.subjects.copy()
    same.loc[7, "patient"] = same.loc[3, "patient"]
    assert audit(changed(replace(whole, subjects=same), 7, images=sound.images[3]), folds) == []
