from __future__ import annotations

import tomllib
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cohorts.columns import one_spelling, remarks
from harness.cohorts.groups import known, make_groups
from harness.cohorts.split import make_split
from harness.protocol import AttributeSpec, SplitSpec
from harness.spelling import is_patient_column, normal, normal_id, spellings


def table(**columns: list[Any]) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    own = {"sample": [f"s{i}" for i in range(count)], "patient": [f"p{i}" for i in range(count)]}
    return pd.DataFrame(own | {"split": [None] * count} | columns, dtype=object)


def said(frame: pd.DataFrame, **attributes: dict[str, Any]) -> list[Any]:
    specs = {name: AttributeSpec.model_validate(spec) for name, spec in attributes.items()}
    return list(remarks(frame, specs, lambda row: f"line {row + 2}"))


words = st.text(st.characters(categories=("Lu", "Ll", "Nd")), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(words, words, st.sampled_from([" {} ", "{}\t", "\u00a0{}", "{}\u200b", "\ufeff{}"]))
def test_case_blanks_and_marks_that_are_not_seen_make_no_other_value(one: str, other: str, blank: str):
    value = f"{one} {other}"
    assert normal(blank.format(value.upper())) == normal(blank.format(value).upper()) == normal(value.upper())
    assert normal_id(blank.format(value)) == normal_id(value)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0"), ("1", "01"), ("1,50", "1.5"), ("-0", "0"), ("non-Hispanic", "Non Hispanic"), ("Ａ", "a"),
     ("café", "cafe\u0301"), ("White / Caucasian", "white/caucasian"), ("30-40", "30 - 40")],
)  # fmt: skip
def test_spellings_of_one_value(one: str, other: str):
    assert spellings([one, other]) == [tuple(sorted([one, other]))]


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "-1"), ("1", "10"), ("0.5", "5"), ("I", "II"), ("A", "AB"), ("T1", "T2"), ("<60", ">60")],
)
def test_values_that_are_two(one: str, other: str):
    assert spellings([one, other]) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("003", "3", True), ("P1", "p1", True), ("P-003", "p3", True), ("12.0", "12", True), (" P1", "P1", True),
     ("1.10", "1.1", False), ("12-3", "123", False), ("P1", "P10", False), ("a01b1c", "a1b01c", False)],
)  # fmt: skip
def test_ids_are_compared_without_their_writing(one: str, other: str, same: bool):
    assert (normal_id(one) == normal_id(other)) == same


@pytest.mark.parametrize(
    "name", ["PatientID", "patient_id", "Subject", "subject-no", "MRN", "Pat.-Nr.", "caseId"]
)
def test_columns_of_patients_are_known_by_name(name: str):
    assert is_patient_column(name)


@pytest.mark.parametrize("name", ["patient_age", "inpatient", "patients_sex", "id", "case_control"])
def test_columns_that_only_speak_of_patients_are_not(name: str):
    assert not is_patient_column(name)


def test_spellings_come_with_the_line_that_merges_them():
    frame = table(sex=["female", "Female", "F", "f", "female", "male", "M", "male"])
    (remark,) = said(frame, sex={})
    assert (remark.kind, remark.spoils, len(remark.samples)) == ("spelling", True, 8)
    merge = tomllib.loads(remark.fix.split("] ", 1)[1])
    specs = {"sex": AttributeSpec.model_validate(merge)}
    assert make_groups(frame, specs, {})[1] == {"sex": ("female", "male")}
    assert said(frame, sex=merge) == []


@pytest.mark.parametrize(
    "text", ["-", "?", "None", "missing", "N/A", "", " ", "--", "Not Reported", "<NA>", "…"]
)
def test_the_usual_spellings_of_unknown_are_unknown(text: str):
    assert known(text) is None


@pytest.mark.parametrize("text", ["+", "<60", "0", "no", "other", "Nona", "X"])
def test_what_only_looks_like_unknown_is_a_value(text: str):
    assert known(text) == text


def test_unknowns_are_counted_and_a_merge_makes_one_a_group():
    frame = table(smoking=["None", "None", "some", "-"])
    (remark,) = said(frame, smoking={})
    assert remark.message.startswith("3 samples have 'None' (2), '-' (1) for 'smoking', which is read as")
    spec = AttributeSpec.model_validate({"merge": {"never": ["None"]}})
    groups, _ = make_groups(frame, {"smoking": spec}, {})
    assert groups["smoking"].tolist() == ["never", "never", "some", None]


def test_codes_that_may_be_unknown_are_named_and_can_be_declared():
    frame = table(race=["1", "2", "-1", "1"])
    (remark,) = said(frame, race={})
    assert remark.fix == '[attributes.race] unknown = ["-1"]'
    assert said(frame, race={"unknown": ["-1"]})[0].spoils is False


def test_ages_that_cannot_be_are_unknown_and_named_by_row():
    frame = table(age=["-1", "999", "0", "63", "40", "121"])
    specs = {"age": AttributeSpec(bins=(50,))}
    assert make_groups(frame, specs, {})[0]["age"].tolist() == [None, None, "<50", ">=50", "<50", None]
    impossible, zero = said(frame, age={"bins": [50]})
    assert "-1 (line 2), 999 (line 3), 121 (line 7)" in impossible.message
    assert "the age 0 and nobody else is under 40" in zero.message


@pytest.mark.parametrize("name", ["stage", "language", "dosage", "age_days"])
def test_other_numbers_are_no_ages(name: str):
    frame = table(**{name: ["500", "1"]})
    groups, _ = make_groups(frame, {name: AttributeSpec(bins=(50,))}, {})
    assert groups[name].tolist() == [">=50", "<50"]


def test_patients_written_in_two_ways_are_named_and_stay_in_one_split():
    patients = [f"{i:03d}" for i in range(20)] + [str(i) for i in range(20)]
    frame = table(sex=["f", "m"] * 20, patient=patients)
    (remark,) = said(frame, sex={})
    assert "'0' and '000' differ by case, zeros or separators alone (20 such)" in remark.message
    assert "(line 22 and line 2)" in remark.message
    split = make_split(frame.assign(patient=one_spelling(frame["patient"])), {"sex": ("f", "m")}, SplitSpec())
    assert (split[:20] == split[20:]).all()


def test_a_column_of_patients_that_is_not_used_is_named():
    frame = table(sex=["f", "m"] * 3, PatientID=["a", "a", "b", "b", "c", "c"])
    (remark,) = said(frame, sex={})
    said_of_it = "The column 'PatientID' looks like a patient's id and is not used: 3 of its values"
    assert remark.message.startswith(said_of_it)
    assert said(frame.assign(PatientID=[f"x{i}" for i in range(6)]), sex={}) == []
