"""What a cohort's table says in two ways, or cannot mean: spellings, unknowns, ages, ids of patients."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from harness.cohorts.cohort import RESERVED, Remark
from harness.cohorts.groups import BLANK, is_age, is_impossible, known
from harness.protocol import AttributeSpec
from harness.spelling import clean, is_patient_column, normal_id, spellings

_CODES = {"-1", "-9", "-99", "-999", "99", "999", "9999", "u", "un"}
"""What stands for unknown in some tables and for itself in others."""


def remarks(
    table: pd.DataFrame, attributes: Mapping[str, AttributeSpec], place: Callable[[int], str]
) -> Iterator[Remark]:
    """Yield what is to be said of a cohort's raw table, text or None; `place` names a row."""
    yield from _patients(table, place)
    yield from _unused_ids(table, attributes)
    for name, spec in attributes.items():
        raw = table[spec.column or name]
        yield from _unknowns(raw, name, spec, table["sample"])
        values = raw.map(lambda value, spec=spec: known(value, spec)).astype(object)
        if spec.bins:
            yield from _ages(values, name, spec, table["sample"], place)
        else:
            yield from _spellings(values, name, spec, table["sample"])


def variants(values: pd.Series, spec: AttributeSpec) -> list[tuple[str, ...]]:
    """Return the groups of an attribute that are spellings of one, after the protocol's merges."""
    renamed = {value: group for group, merged in spec.merge.items() for value in merged}
    return spellings(renamed.get(value, value) for value in values.dropna())


def one_spelling(patients: pd.Series) -> pd.Series:
    """Return the patients with each id as it is first written, where two differ by spelling alone."""
    first: dict[str, str] = {}
    return patients.map(lambda one: first.setdefault(normal_id(one), one)).astype(object)


def _patients(table: pd.DataFrame, place: Callable[[int], str]) -> Iterator[Remark]:
    written: dict[str, list[str]] = defaultdict(list)
    for patient in table["patient"].drop_duplicates():
        written[normal_id(patient)].append(str(patient))
    twice = sorted(sorted(names) for names in written.values() if len(names) > 1)
    if not twice:
        return
    rows = [int(np.flatnonzero(table["patient"] == name)[0]) for name in twice[0][:2]]
    where = " and ".join(filter(None, map(place, rows)))
    message = (
        f"The patients {' and '.join(repr(name) for name in twice[0])} differ by case, zeros or "
        "separators alone "
        f"({len(twice)} such): one person would count as two, and may be trained on and tested. Write one id "
        f"throughout{f' ({where})' if where else ''}."
    )
    inside = table["patient"].isin({name for names in twice for name in names})
    yield Remark("patient", message, tuple(table.loc[inside, "sample"]), True)


def _unused_ids(table: pd.DataFrame, attributes: Mapping[str, AttributeSpec]) -> Iterator[Remark]:
    used = {spec.column or name for name, spec in attributes.items()} | set(RESERVED)
    for column in table.columns:
        if column in used or not is_patient_column(str(column)):
            continue
        there = table[column].map(known).notna()
        ids = table.loc[there, column].map(normal_id)
        together = table.loc[there, "patient"].groupby(ids).nunique() > 1
        if together.any():
            message = (
                f"The column '{column}' looks like a patient's id and is not used: {int(together.sum())} "
                "of its "
                "values are of several values of 'patient'. If it names people, put it into 'patient'; "
                "else a "
                "person is trained on and tested, and intervals are too narrow."
            )
            samples = tuple(table.loc[there, "sample"][ids.isin(together.index[together])])
            yield Remark("patient", message, samples, True)


def _unknowns(raw: pd.Series, name: str, spec: AttributeSpec, samples: pd.Series) -> Iterator[Remark]:
    """Count what is read as unknown and is not left blank, and name what may be."""
    cells = raw.map(lambda value: "" if value is None else clean(str(value)))
    gone = raw.map(lambda value: known(value, spec) is None) & ~cells.str.lower().isin(BLANK)
    if gone.any():
        counted = ", ".join(f"'{value}' ({count})" for value, count in Counter(cells[gone]).most_common(8))
        message = (
            f"{int(gone.sum())} samples have {counted} for '{name}', which is read as unknown; where it "
            "is a group, "
            "name it in merge."
        )
        yield Remark("unknown", message, tuple(samples[gone]))
    maybe = cells.str.lower().isin(_CODES) & ~gone & ~cells.isin(_merged(spec))
    numbers = pd.to_numeric(cells[~maybe & (cells != "")], errors="coerce").dropna()
    if maybe.any() and not (spec.bins and is_age(name, spec)):
        value = Counter(cells[maybe]).most_common(1)[0][0]
        code = pd.to_numeric(value, errors="coerce")
        if spec.bins and (not len(numbers) or numbers.min() <= code <= 3 * numbers.max()):
            return
        message = (
            f"{int(maybe.sum())} samples have '{value}' for '{name}', which stands for unknown in many "
            "tables and is "
            "read as a value here."
        )
        fix = f'[attributes.{name}] unknown = ["{value}"]'
        yield Remark("unknown", message, tuple(samples[maybe]), True, fix)


def _ages(
    values: pd.Series, name: str, spec: AttributeSpec, samples: pd.Series, place: Callable[[int], str]
) -> Iterator[Remark]:
    if not is_age(name, spec):
        return
    ages = pd.to_numeric(values, errors="coerce")
    wrong = is_impossible(ages)
    if wrong.any():
        rows = np.flatnonzero(wrong)
        named = ", ".join(f"{values.iloc[row]} ({place(int(row)) or samples.iloc[row]})" for row in rows[:3])
        message = (
            f"{len(rows)} samples have an age that cannot be, read as unknown: {named}"
            f"{f' and {len(rows) - 3} more' if len(rows) > 3 else ''}."
        )
        yield Remark("age", message, tuple(samples[wrong]), True)
    zero, others = ages == 0, ages[(ages > 0) & ~wrong]
    if zero.any() and len(others) and others.min() >= 10:
        message = (
            f"{int(zero.sum())} samples have the age 0 and nobody else is under {others.min():g}: where "
            "it stands "
            "for unknown, say so."
        )
        fix = f'[attributes.{name}] unknown = ["{values[zero].iloc[0]}"]'
        yield Remark("age", message, tuple(samples[zero]), True, fix)


def _spellings(values: pd.Series, name: str, spec: AttributeSpec, samples: pd.Series) -> Iterator[Remark]:
    found = variants(values, spec)
    if found:
        said = "; ".join(" = ".join(f"'{value}'" for value in group) for group in found[:4])
        message = f"The attribute '{name}' has spellings of one value as groups of their own: {said}."
        inside = values.isin({value for group in found for value in group})
        yield Remark("spelling", message, tuple(samples[inside]), True, merge_line(name, spec, found))


def merge_line(name: str, spec: AttributeSpec, groups: Sequence[tuple[str, ...]]) -> str:
    """Return the line of TOML that makes one group of each spelling."""
    merged = {group: list(values) for group, values in spec.merge.items()}
    for first, *rest in groups:
        own = [value for one in rest for value in merged.pop(one, [one])]
        merged[first] = list(dict.fromkeys([*merged.get(first, []), *own]))
    table = ", ".join(f"{_quoted(key)} = [{', '.join(map(_quoted, own))}]" for key, own in merged.items())
    return f"[attributes.{name}] merge = {{ {table} }}"


def _merged(spec: AttributeSpec) -> set[str]:
    return {value for values in spec.merge.values() for value in values}


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
