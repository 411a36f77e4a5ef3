"""Ids: what is one case under two spellings is found, what could be either is refused."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.predictions.ids import as_id, match
from harness.predictions.people import Ask, of_cases

NAMES = [f"{i:03d}" for i in range(30)]


def people(ids, cases=NAMES, **columns):
    frame = pd.DataFrame({"id": ids, "sex": np.resize(["F", "M"], len(ids))} | columns)
    return of_cases(frame, list(cases), Ask(attributes=("sex",)), "table")


SPELT = {
    "whole numbers": list(range(30)),
    "floats of pandas": [float(i) for i in range(30)],
    "texts of floats": [f"{i}.0" for i in range(30)],
    "numpy integers": list(np.arange(30)),
    "blanks at their ends": [f" {name} " for name in NAMES],
    "no-break spaces": [f"{name}\u00a0" for name in NAMES],
    "other zeros": [f"{i:06d}" for i in range(30)],
    "names of files": [f"scans/{name}.nii.gz" for name in NAMES],
    "names of files in Windows": [f"C:\\scans\\{name}.png" for name in NAMES],
}


@pytest.mark.parametrize("how", SPELT)
def test_an_id_is_the_same_case_however_it_is_written(how):
    found = people(SPELT[how]).table
    assert found["sample"].tolist() == NAMES
    assert found["sex"].tolist() == ["F", "M"] * 15


def test_the_order_of_the_table_is_nobodys():
    order = np.random.default_rng(0).permutation(30)
    found = people([NAMES[i] for i in order], sex=[["F", "M"][i % 2] for i in order])
    assert found.table["sex"].tolist() == ["F", "M"] * 15


def test_composed_and_decomposed_letters_and_case_are_one_name():
    cases = [unicodedata.normalize("NFC", f"Zoë{i}") for i in range(12)]
    ids = [unicodedata.normalize("NFD", name) for name in cases]
    assert people(ids, cases).table["sample"].tolist() == cases
    assert people([name.upper() for name in ids], cases).table["sample"].tolist() == cases


def test_an_exact_name_wins_over_another_spelling_that_is_there_too():
    found = match(["7", "007"], ["007", "7"], "table")
    assert found.pairs == {"7": "7", "007": "007"}
    assert found.loosely == ()


@pytest.mark.parametrize(
    ("wanted", "known", "said"),
    [
        (["07"], ["7", "007"], "could be '7' or '007'"),
        (["7", "07"], ["007"], "'7' or '07' are both '007'"),
        (["a"], ["1.2E+11"], "shortened by a spreadsheet"),
    ],
)
def test_what_could_be_either_is_refused(wanted, known, said):
    with pytest.raises(HarnessError, match=said):
        match(wanted, known, "table")


@pytest.mark.parametrize("value", [1.5, 2.0**53, 1e20])
def test_a_number_that_is_no_id_any_more_is_refused(value):
    with pytest.raises(HarnessError):
        as_id(value, "table")


@given(st.lists(st.text("ab01-_ .", min_size=1, max_size=5), max_size=6, unique=True),
       st.lists(st.text("ab01-_ .", min_size=1, max_size=5), max_size=6, unique=True))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_no_two_names_ever_become_one(wanted, known):
    try:
        found = match(wanted, known, "table")
    except HarnessError:
        return
    assert len(set(found.pairs.values())) == len(found.pairs)
    assert all(found.pairs[name] == name for name in wanted if name in known)
    assert {*found.pairs, *found.missing} == set(wanted)
    assert {*found.pairs.values(), *found.unused} == set(known)


def test_the_patients_are_another_column_than_the_cases_where_there_is_one():
    found = people(NAMES, patient=[f"p{i // 3}" for i in range(30)]).table
    assert found["patient"].nunique() == 10


def test_patients_that_differ_by_zeros_alone_are_one_person_and_it_is_said():
    patients = [("7", "007", "p-7")[i % 2] if i < 4 else f"x{i}" for i in range(30)]
    found = people(NAMES, patient=patients)
    assert found.table["patient"].nunique() == 27
    assert any("taken for one" in note for note in found.notes)


def test_two_spellings_of_a_group_are_said():
    found = people(NAMES, sex=["F", "f ", "M"] * 10)
    assert any("spellings of one value" in note for note in found.notes)
