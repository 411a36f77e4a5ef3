from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cohort_files import EVERY_ATTRIBUTE, make_protocol
from scipy import ndimage, stats

from harness.cohorts import load, synthetic
from harness.cohorts.fundus import CUP, RIM
from harness.cohorts.source import Source


def open_source(size: int = 64, **options: Any) -> Source:
    return synthetic.open_source(synthetic.Options(**options), size, None)


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """Who 2,000 patients are, with the share of the disc that the cup takes up."""
    return look_at(2000)


def look_at(samples: int, **options: Any) -> pd.DataFrame:
    source = open_source(24, samples=samples, **options)
    rows = []
    for row in range(samples):
        sample = source.read(row)
        rows.append(sample.columns | {"cup": (sample.mask == CUP).sum() / (sample.mask > 0).sum()})
    return pd.DataFrame(rows).astype({"age": float})


def shares(people: pd.DataFrame, column: str) -> dict[str, float]:
    return (
        people[column]
        .astype(object)
        .where(people[column].notna(), "unknown")
        .value_counts(normalize=True)
        .to_dict()
    )


# Shares and correlations as the shared notes on Harvard-FairSeg give them.
@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("race", {"White": 0.802, "Black": 0.122, "Asian": 0.076}),
        ("gender", {"female": 0.583, "male": 0.417}),
        ("ethnicity", {"non-Hispanic": 0.901, "Hispanic": 0.037, "unknown": 0.062}),
        ("language", {"English": 0.929, "other": 0.048, "Spanish": 0.015, "unknown": 0.008}),
        (
            "maritalstatus",
            {
                "married or partnered": 0.579,
                "single": 0.279,
                "divorced": 0.066,
                "widowed": 0.045,
                "unknown": 0.023,
                "legally separated": 0.007,
            },
        ),
    ],
)
def test_groups_have_the_proportions_of_harvard_fairseg(
    people: pd.DataFrame, column: str, expected: dict[str, float]
):
    assert shares(people, column) == pytest.approx(expected, abs=0.006)


def test_a_small_cohort_has_the_proportions_too():
    assert shares(look_at(250), "race") == pytest.approx(
        {"White": 0.802, "Black": 0.122, "Asian": 0.076}, abs=0.01
    )


def test_language_ethnicity_and_age_go_with_race(people: pd.DataFrame):
    by_race = people.groupby("race")
    english = by_race["language"].agg(lambda language: (language == "English").mean())
    assert english.to_dict() == pytest.approx({"Asian": 0.78, "Black": 0.89, "White": 0.95}, abs=0.04)
    hispanic = by_race["ethnicity"].agg(lambda ethnicity: (ethnicity == "Hispanic").mean())
    assert hispanic.to_dict() == pytest.approx({"Asian": 0.005, "Black": 0.026, "White": 0.042}, abs=0.015)
    # Three standard errors of the mean of 152 Asian patients are 3.9 years.
    assert by_race["age"].mean().to_dict() == pytest.approx(
        {"Asian": 54.7, "Black": 55.7, "White": 59.5}, abs=3.9
    )
    assert people["age"].std() == pytest.approx(16.2, abs=0.8)
    assert people["age"].between(12, 96).all()


def test_disease_goes_with_race_and_enlarges_the_cup(people: pd.DataFrame):
    cup = people.groupby("race")["cup"].mean()
    assert cup["Asian"] > cup["White"] + 0.02
    assert cup["Black"] > cup["White"] + 0.02


def test_on_the_null_cohort_the_cup_does_not_go_with_any_group():
    people = look_at(1500, shift=0)
    for column in ("race", "gender", "language", "ethnicity", "maritalstatus"):
        groups = [part["cup"].to_numpy() for _, part in people.groupby(column)]
        assert stats.f_oneway(*groups).pvalue > 0.01, column
    assert stats.pearsonr(people["age"], people["cup"]).pvalue > 0.01


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_only_with_a_shift_would_a_patient_look_otherwise_in_another_group(
    shift: float, monkeypatch: pytest.MonkeyPatch
):
    source = open_source(samples=20, shift=shift)
    before = [source.read(row).image for row in range(20)]
    monkeypatch.setattr(synthetic, "_RACE", {"Black": 1.0})
    monkeypatch.setattr(synthetic, "_GENDER", {"male": 1.0})
    changed = [not np.array_equal(source.read(row).image, image) for row, image in enumerate(before)]
    assert any(changed) == (shift > 0)


def test_harder_groups_have_fainter_cups():
    source = open_source(samples=600, shift=1.0)
    rows = []
    for row in range(600):
        sample = source.read(row)
        contrast = sample.image[sample.mask == CUP].mean() - sample.image[sample.mask == RIM].mean()
        rows.append(sample.columns | {"contrast": contrast})
    contrast = pd.DataFrame(rows).groupby("race")["contrast"].mean()
    assert contrast["Black"] < contrast["Asian"] < contrast["White"]


def test_masks_are_a_cup_within_a_disc_with_rim_all_around():
    source = open_source(128, samples=40)
    for row in range(40):
        mask = source.read(row).mask
        assert set(np.unique(mask)) == {0, RIM, CUP}
        assert ndimage.label(mask > 0)[1] == 1
        assert ndimage.label(mask == CUP)[1] == 1
        assert not (ndimage.binary_dilation(mask == CUP) & (mask == 0)).any()
        width = (mask > 0).any(axis=0).mean()
        assert 0.2 < width < 0.4  # about a quarter to a third of the image
        assert not mask[[0, -1]].any()
        assert not mask[:, [0, -1]].any()


def test_a_sample_does_not_depend_on_how_many_there_are_or_on_their_order():
    few, many = open_source(samples=3), open_source(samples=300)
    for row in (2, 0, 1):
        one, other = few.read(row), many.read(row)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.mask, other.mask)
        assert one.columns == other.columns


def test_seeds_give_other_people_and_other_images():
    one, two = (open_source(samples=50, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.read(0).image, two.read(0).image)
    assert [one.read(row).columns for row in range(50)] != [two.read(row).columns for row in range(50)]


def test_pixels_are_the_same_on_every_machine():
    # Pinned, so that a library or platform that draws otherwise shows; change it only with the drawing.
    source = open_source(samples=4)
    sha = hashlib.sha256()
    for row in range(4):
        sample = source.read(row)
        sha.update(sample.image.tobytes() + sample.mask.tobytes() + str(sample.columns).encode())
    assert sha.hexdigest()[:16] == "7300c43e62deb01f"


def test_every_attribute_is_there_and_images_may_be_published(tmp_path):
    cohort = load(make_protocol(samples=200, attributes=EVERY_ATTRIBUTE), None, tmp_path)
    assert set(cohort.groups) == set(EVERY_ATTRIBUTE)
    assert cohort.publish_images
