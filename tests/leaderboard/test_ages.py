import numpy as np
import pytest
from make_records import World, make_store

import leaderboard
from harness.equity import MIN_PATIENTS
from leaderboard.compute import ages


def test_the_curve_follows_a_straight_line_and_the_band_holds_it():
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 90, 600)
    dice = 0.9 - 0.002 * age + rng.normal(0, 0.03, 600)
    points = np.array(ages.smooth(age, dice, np.arange(600).astype(str)))
    inner = points[5:-5]
    truth = 0.9 - 0.002 * inner[:, 0]
    np.testing.assert_allclose(inner[:, 1], truth, atol=0.012)
    assert ((inner[:, 2] <= truth) & (truth <= inner[:, 3])).mean() > 0.8


def test_samples_of_one_patient_are_one_draw():
    rng = np.random.default_rng(0)
    age = np.repeat(rng.uniform(20, 90, 60), 10)
    dice = np.repeat(rng.normal(0.8, 0.05, 60), 10)
    patients = np.repeat(np.arange(60), 10).astype(str)
    together = np.array(ages.smooth(age, dice, patients))
    alone = np.array(ages.smooth(age, dice, np.arange(600).astype(str)))
    width = [float((p[:, 3] - p[:, 2]).mean()) for p in (together, alone)]
    assert width[0] > 1.5 * width[1]


def test_too_few_patients_give_no_curve():
    few = MIN_PATIENTS - 1
    assert ages.smooth(np.arange(few) * 1.0, np.full(few, 0.5), np.arange(few).astype(str)) == []


@pytest.mark.parametrize("numeric", [True, False])
def test_a_method_page_has_the_curve_where_the_attribute_has_numbers(tmp_path, numeric):
    store = make_store(tmp_path / "runs", World(methods=("erm",), attributes=("age",), structures=("cup",)))
    if numeric:
        path = store.root / "protocols" / "quick" / "subjects.parquet"
        subjects = store.subjects("quick")
        subjects["age_value"] = np.where(subjects["age"] == "<60", 45.0, 70.0) + np.arange(len(subjects)) % 10
        subjects.to_parquet(path, index=False)
    leaderboard.build(store.root, tmp_path / "site")
    page = (tmp_path / "site" / "quick" / "erm.html").read_text()
    assert ("Dice along age" in page) == numeric
