from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cohort_files import folder_protocol, write_folder

from harness import cohorts
from harness.cohorts import Cohort
from harness.errors import HarnessError
from harness.protocol import Protocol, ScoringSpec
from harness.running import scoring
from harness.running.basis import scored_as


def made(folder: Path, groups: str = "ffmm", **options: Any) -> tuple[Protocol, Cohort]:
    """A cohort of eight patients with two samples each, scored by patient."""
    folder.mkdir(exist_ok=True)
    rows = [
        {"patient": f"p{i // 2}", "sex": groups[i % 4], "split": "test" if i % 8 < 4 else "train"}
        for i in range(16)
    ]
    protocol = folder_protocol(attributes={"sex": {}}, **options)
    cohort = cohorts.load(protocol, write_folder(folder / "f", rows), folder / "cache")
    return protocol.model_copy(update={"scoring": ScoringSpec(unit="patient")}), cohort


def test_a_patient_is_one_row_of_scores_board_and_sizes(tmp_path: Path):
    protocol, cohort = made(tmp_path)
    labels = np.asarray(cohort.masks[cohort.rows("test")]).copy()
    labels[0] = 0
    scores = scoring.score(protocol, cohort, labels)
    assert tuple(scores["sample"]) == scoring.units(protocol, cohort) == ("p0", "p1", "p4", "p5")
    # One of a patient's two slices of 64 pixels is found: 2 * 64 / (64 + 128).
    assert scores["dice"].tolist() == [pytest.approx(2 / 3), 1, 1, 1]
    assert scoring.sizes(protocol, cohort)["tumour"].tolist() == [128] * 4
    subjects = scoring.subjects(protocol, cohort)
    assert subjects["sample"].tolist() == [f"p{i}" for i in range(8)]
    assert subjects["sex"].tolist() == list("fmfmfmfm")


def test_a_patient_in_two_groups_is_named(tmp_path: Path):
    protocol, cohort = made(tmp_path, groups="fmff")
    with pytest.raises(HarnessError, match="the patient 'p0' is in several groups of 'sex'"):
        scoring.subjects(protocol, cohort)


def test_two_boards_that_score_otherwise_share_no_record(tmp_path: Path):
    by_patient, cohort = made(tmp_path)
    plain = by_patient.model_copy(update={"scoring": ScoringSpec()})
    assert scored_as(plain, cohort) == {}
    assert set(scored_as(by_patient, cohort)) == {"patients"}
    _, in_mm = made(tmp_path / "mm", spacing=[0.5, 0.5])
    assert set(scored_as(plain, in_mm)) == {"places"}
    assert in_mm.spacing is not None
    assert (in_mm.spacing == 0.5).all()
