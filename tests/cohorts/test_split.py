from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.cohorts.split import _strata, deal, make_split
from harness.errors import HarnessError
from harness.protocol import SplitSpec


def make_samples(
    patients: int, per_patient: int = 1, seed: int = 0, **shares: dict[str | None, float]
) -> pd.DataFrame:
    """Patients whose groups are drawn independently with the given shares."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"patient": [f"p{i:04d}" for i in range(patients)]}, dtype=object)
    for name, share in shares.items():
        codes = rng.choice(len(share), patients, p=list(share.values()))
        frame[name] = pd.Series([list(share)[code] for code in codes], dtype=object)
    frame = frame.loc[frame.index.repeat(per_patient)].reset_index(drop=True)
    frame["sample"] = [f"s{i:05d}" for i in range(len(frame))]
    frame["split"] = None
    return frame


def groups_of(samples: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    names = [c for c in samples if c not in ("sample", "patient", "split")]
    return {name: tuple(sorted(samples[name].dropna().unique())) for name in names}


def split(samples: pd.DataFrame, **spec: Any) -> pd.Series:
    return pd.Series(make_split(samples, groups_of(samples), SplitSpec(**spec)), index=samples["sample"])


GENDER = {"female": 0.58, "male": 0.4, None: 0.02}
RACE = {"Asian": 0.08, "Black": 0.12, "White": 0.8}


def test_no_patient_is_torn_apart():
    samples = make_samples(60, per_patient=5, gender=GENDER)
    assigned = split(samples, test=0.25, validation=0.2)
    assert set(assigned) == {"train", "validation", "test"}
    assert samples.assign(now=assigned.to_numpy()).groupby("patient")["now"].nunique().max() == 1


@pytest.mark.parametrize("seed", range(5))
def test_every_group_and_the_unknown_come_to_their_share_of_the_test_set(seed: int):
    samples = make_samples(400, seed=seed, gender=GENDER, race=RACE, age={"<60": 0.5, ">=60": 0.5})
    test = split(samples, test=0.25, seed=seed).to_numpy() == "test"
    assert abs(test.sum() - 100) <= 2
    for name in groups_of(samples):
        for group in samples[name].unique():
            inside = samples[name].isna() if group is None else samples[name] == group
            # Rounded to whole patients a share cannot come closer than 1; twice that where groups compete.
            assert abs((inside & test).sum() - 0.25 * inside.sum()) <= 2, (name, group)


def test_combinations_of_attributes_come_to_their_share_too():
    samples = make_samples(400, gender={"female": 0.5, "male": 0.5}, race={"Black": 0.5, "White": 0.5})
    test = split(samples, test=0.25).to_numpy() == "test"
    for _, rows in samples.groupby(["gender", "race"]).groups.items():
        assert abs(test[rows].sum() - 0.25 * len(rows)) <= 2


@pytest.mark.parametrize("seed", range(20))
def test_ten_patients_of_110_leave_at_least_two_in_the_test_set(seed: int):
    rng = np.random.default_rng(seed)
    samples = make_samples(110, seed=seed, gender={"female": 0.5, "male": 0.49, None: 0.01})
    samples["race"] = pd.Series(["White"] * 98 + ["Black"] * 10 + [None] * 2, dtype=object)
    samples["race"] = samples["race"].to_numpy()[rng.permutation(110)]
    test = split(samples, test=0.25, seed=seed).to_numpy() == "test"
    assert ((samples["race"] == "Black") & test).sum() in (2, 3)


def test_order_of_rows_and_attributes_does_not_matter():
    samples = make_samples(100, per_patient=2, gender=GENDER, race=RACE)
    first = split(samples, test=0.3, validation=0.1)
    shuffled = samples.sample(frac=1, random_state=1)[["split", "race", "gender", "sample", "patient"]]
    assert first.sort_index().equals(split(shuffled, test=0.3, validation=0.1).sort_index())


def test_another_seed_is_another_split_of_the_same_sizes():
    samples = make_samples(200, gender=GENDER)
    one, two = split(samples, seed=1), split(samples, seed=2)
    assert (one != two).sum() > 20
    assert abs((one == "test").sum() - (two == "test").sum()) <= 2


def test_validation_is_cut_from_training_patients_and_leaves_the_test_set_alone():
    samples = make_samples(200, gender=GENDER)
    without, with_validation = split(samples, test=0.25), split(samples, test=0.25, validation=0.2)
    assert ((without == "test") == (with_validation == "test")).all()
    assert abs((with_validation == "validation").sum() - 0.2 * (without == "train").sum()) <= 1


def test_the_sources_own_split_stands_and_validation_comes_out_of_its_training_part():
    samples = make_samples(100, gender=GENDER)
    samples["split"] = ["train"] * 70 + ["test"] * 30
    assert split(samples, test=0.5).tolist() == samples["split"].tolist()
    assigned = split(samples, validation=0.1)
    assert (assigned.to_numpy()[70:] == "test").all()
    assert (assigned == "validation").sum() == 7


def test_a_patient_in_two_splits_is_named():
    samples = make_samples(20, per_patient=2, gender={"female": 0.5, "male": 0.5})
    samples["split"] = ["train"] * 21 + ["test"] * 19
    with pytest.raises(HarnessError, match=r"The patient 'p0010' is in both test and train \(1 such"):
        split(samples)


@pytest.mark.parametrize(
    ("value", "said"), [("tset", r"has the split 'tset'.*mean 'test'"), (None, "has no split")]
)
def test_an_unfit_split_is_named_with_its_sample(value: str | None, said: str):
    samples = make_samples(20, gender={"female": 0.5, "male": 0.5})
    samples["split"] = ["train"] * 10 + ["test"] * 10
    samples.loc[3, "split"] = value
    with pytest.raises(HarnessError, match=f"The sample 's00003' {said}"):
        split(samples)


@pytest.mark.parametrize(("part", "word"), [("train", "training"), ("test", "test")])
def test_a_group_without_training_or_test_samples_is_named_with_the_fix(part: str, word: str):
    samples = make_samples(20, gender={"female": 1.0})
    samples["split"] = ["train"] * 10 + ["test"] * 10
    samples.loc[(samples["split"] != part) & (samples.index % 2 == 0), "gender"] = "male"
    with pytest.raises(HarnessError) as error:
        split(samples)
    assert str(error.value) == (
        f"The group 'male' of the attribute 'gender' has no {word} samples (5 patients in all): merge it "
        "with another in [attributes.gender], or mend the source's own split."
    )


def test_a_group_of_one_patient_is_refused():
    samples = make_samples(20, gender={"female": 1.0})
    samples.loc[0, "gender"] = "male"
    with pytest.raises(HarnessError, match=r"'male' .* has no .* samples \(1 patient in all\)"):
        split(samples)


def in_folds(counts: dict[str, int], folds: int, samples: int = 2) -> tuple[pd.DataFrame, dict[str, int]]:
    """A table of patients by group, some samples each, and each patient's fold under seed 0."""
    groups = [group for group, count in counts.items() for _ in range(count)]
    table = pd.DataFrame(
        {
            "sample": [f"s{i:04d}" for i in range(samples * len(groups))],
            "patient": [f"p{i // samples:03d}" for i in range(samples * len(groups))],
            "split": None,
            "sex": [group for group in groups for _ in range(samples)],
        }
    )
    return table, deal(_strata(table, ["sex"]), folds, 0)


@pytest.mark.parametrize("counts", [{"a": 60, "b": 30}, {"a": 23, "b": 7, "c": 3}, {"a": 11, "b": 11}])
@pytest.mark.parametrize("folds", [2, 5, 10])
def test_groups_are_spread_over_folds_as_evenly_as_they_can_be(counts: dict[str, int], folds: int):
    table, dealt = in_folds(counts, folds)
    sizes = np.bincount(list(dealt.values()), minlength=folds)
    assert sizes.max() - sizes.min() <= 2
    for group in counts:
        own = set(table.loc[table["sex"] == group, "patient"])
        there = np.bincount([dealt[patient] for patient in own], minlength=folds)
        assert there.max() - there.min() <= 1


def test_every_patient_is_tested_once_a_seed_and_never_trained_on_then():
    table, _ = in_folds({"a": 40, "b": 23}, 5)
    groups, tested = {"sex": ("a", "b")}, []
    for fold in range(5):
        split = make_split(table, groups, SplitSpec(folds=5, fold=(0, fold)))
        there = {part: set(table["patient"][split == part]) for part in ("train", "test")}
        assert not there["train"] & there["test"]
        assert there["train"] | there["test"] == set(table["patient"])
        tested += there["test"]
    assert sorted(tested) == sorted(set(table["patient"]))
    assert set(make_split(table, groups, SplitSpec(folds=5))) == {"test"}


def test_each_seed_deals_the_patients_anew():
    table, _ = in_folds({"a": 40, "b": 40}, 5)
    groups = {"sex": ("a", "b")}
    first, other = (make_split(table, groups, SplitSpec(folds=5, fold=(seed, 0))) for seed in (0, 1))
    same = len(set(table["patient"][first == "test"]) & set(table["patient"][other == "test"]))
    assert same < 10  # of 16, by chance 3.2


def test_rows_and_their_order_do_not_decide_a_patients_fold():
    table, dealt = in_folds({"a": 30, "b": 12}, 5)
    assert deal(_strata(table.sample(frac=1, random_state=3), ["sex"]), 5, 0) == dealt


@pytest.mark.parametrize(
    ("counts", "spec", "said"),
    [
        ({"a": 20, "b": 1}, SplitSpec(folds=5), "'b' of the attribute 'sex' has one patient"),
        ({"a": 2, "b": 2}, SplitSpec(folds=5), "take fewer folds"),
        ({"a": 20, "b": 20}, SplitSpec(folds=5, tuning=0.2), "tune under a protocol without folds"),
    ],
)
def test_folds_that_cannot_be_dealt_are_refused(counts: dict[str, int], spec: SplitSpec, said: str):
    table, _ = in_folds(counts, 2)
    with pytest.raises(HarnessError, match=said):
        make_split(table, {"sex": ("a", "b")}, spec)


def test_folds_and_a_split_of_the_sources_own_exclude_each_other():
    table, _ = in_folds({"a": 20, "b": 20}, 2)
    table["split"] = "train"
    with pytest.raises(HarnessError, match="take its column 'split' out, or folds"):
        make_split(table, {"sex": ("a", "b")}, SplitSpec(folds=5))
