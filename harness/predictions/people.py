"""The table beside the predictions: whose each case is, and of which groups."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from harness.cohorts import columns as looks
from harness.cohorts.groups import is_age, is_impossible, known, make_groups
from harness.errors import HarnessError, did_you_mean
from harness.predictions.files import check_regular, suffix_of
from harness.predictions.ids import as_id, check_distinct, listed, match
from harness.protocol import AttributeSpec
from harness.spelling import is_patient_column

_ID_NAMES = ("id", "sample", "case", "case_id", "sample_id", "image", "image_id", "file", "filename", "name")
_MOST_GROUPS = 8
_FEW = 8
"""A numeric column of at most so many values is one of codes, not of quantities."""
_SEPARATORS = ",;\t|"
_TOLD = re.compile(r'"?sep=(.)"?')
"""The first line of some spreadsheets' files, which names the separator."""
_DATE = re.compile(
    r"\d{1,2}[-. ][A-Za-z]{3,9}([-. ]\d{2,4})?|[A-Za-z]{3,9}[-. ]\d{2,4}|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}"
)
"""What a spreadsheet makes of ids such as 1-2 and MAR3."""
_SIDE = re.compile(r"[_\-. ]?(l|r|le|re|od|os|left|right)$", re.IGNORECASE)
"""How ids end that are of one of two eyes, or sides."""


@dataclass(frozen=True)
class People:
    """Who the cases are, a row each in the order of the cases' ids.

    table: `sample`, `patient`, a column of group names for each attribute, None where unknown; groups:
    attribute to its groups in order; numbers: name to a value for each case, NaN where unknown; notes: what a
    reader has to know of the table.
    """

    table: pd.DataFrame
    groups: dict[str, tuple[str, ...]]
    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """What of a table is meant; each is found by its content where nothing is said.

    attributes: NAME, or NAME:40,60 for groups of a numeric column by its edges.
    """

    id: str | None = None
    patient: str | None = None
    attributes: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


def read(file: Path) -> pd.DataFrame:
    """Return a table of texts as a CSV file has them, no cell interpreted. Raises HarnessError."""
    check_regular(file)
    if file.suffix.lower() in (".xlsx", ".xls", ".ods"):
        raise HarnessError(f"{file}: a spreadsheet; save it as CSV in UTF-8.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{file}: not a CSV file in UTF-8 ({error}); save it as one.") from None
    lines = text.splitlines()
    if not lines:
        raise HarnessError(f"{file}: is empty; give a table with a row for each case.")
    told = _TOLD.fullmatch(lines[0])
    lines = lines[1:] if told else lines
    if not lines:
        raise HarnessError(f"{file}: is empty; give a table with a row for each case.")
    separator = told[1] if told else max(_SEPARATORS, key=lines[0].count)
    try:
        rows = [
            row for row in csv.reader(lines, delimiter=separator, strict=True) if any(map(str.strip, row))
        ]
    except csv.Error as error:
        raise HarnessError(f"{file}: not a CSV file ({error}); save it as one.") from None
    return _framed(rows, file)


def _framed(rows: list[list[str]], file: Path) -> pd.DataFrame:
    header = [name.strip() for name in rows[0]]
    while header and not header[-1] and not any("".join(row[len(header) - 1 :]).strip() for row in rows):
        # A spreadsheet writes columns that were once used.
        header, rows = header[:-1], [row[: len(header) - 1] for row in rows]
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise HarnessError(f"{file}: the column '{twice[0]}' stands twice; name each column once.")
    odd = next((i for i, row in enumerate(rows) if len(row) != len(header)), None)
    if odd is not None:
        raise HarnessError(
            f"{file}: row {odd + 1} has {len(rows[odd])} cells and the header {len(header)}; quote cells "
            f"that "
            "hold a separator."
        )
    return pd.DataFrame(rows[1:], columns=header, dtype=object)


def of_cases(
    frame: pd.DataFrame, cases: Sequence[str], ask: Ask, where: str, patients: Sequence[str] = ()
) -> People:
    """Return who the cases are, from the table's rows. `patients`: of each case, where its name says so.

    Raises HarnessError where a column is missing, a case has no row or two, or an id can be read in two ways.
    """
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise HarnessError(f"{where}: the column '{twice[0]}' stands twice; name each column once.")
    for name in (ask.id, ask.patient, *ask.numbers):
        if name is not None:
            _check_column(frame, name, where)
    wanted = list(patients) if any(patients) else list(cases)
    column, row_of, notes = _rows(frame, wanted, ask, where)
    own = frame.iloc[[row_of[name] for name in wanted]].reset_index(drop=True)
    patient, told = _patients(own, column, ask, list(patients) if any(patients) else [], where)
    notes += told
    raw = own.map(_cell).assign(sample=list(cases), patient=patient)
    specs = _attributes(own, ask, {column, ask.patient}, where)
    numbers = _numbers(raw, ask, {column, ask.patient, *specs}, where)
    table = raw[["sample", "patient"]]
    groups: dict[str, tuple[str, ...]] = {}
    if specs:
        made, groups = make_groups(raw, specs, {}, lambda row: f"{where}, case '{cases[row]}',")
        table = pd.concat([table, made[list(specs)]], axis=1)
        numbers |= {n: made[f"{n}_value"].to_numpy(float) for n, spec in specs.items() if spec.bins}
        notes += [one.message for one in looks.remarks(raw, specs, lambda row: f"case '{cases[row]}'")]
    notes += _changing(table, groups)
    return People(table, groups, numbers, tuple(notes))


def plain(cases: Sequence[str], patients: Sequence[str] = ()) -> People:
    """Return people of whom nothing is known but that each case is of one."""
    table = pd.DataFrame({"sample": list(cases), "patient": list(patients) or list(cases)}, dtype=object)
    return People(table, {}, {}, ("No table was given: nothing can be said of groups.",))


def _cell(value: object) -> object:
    missing = (
        value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA or value is pd.NaT
    )
    return None if missing else str(value)


def _check_column(frame: pd.DataFrame, name: str, where: str) -> None:
    if name not in frame.columns:
        raise HarnessError(f"{where}: has no column '{name}'.{did_you_mean(name, map(str, frame.columns))}")


def _rows(
    frame: pd.DataFrame, wanted: Sequence[str], ask: Ask, where: str
) -> tuple[str, dict[str, int], list[str]]:
    """Return the column of ids, the row of each wanted name, and what is to be said of it."""
    given = [ask.id] if ask.id is not None else _candidates(frame, wanted, where)
    column = str(given[0])
    ids = [_row_id(value, where) for value in frame[column]]
    distinct = list(dict.fromkeys(wanted))
    found = match(distinct, list(dict.fromkeys(ids)), f"{where}, column '{column}'")
    if found.missing:
        dates = [name for name in found.unused if _DATE.fullmatch(name)]
        if dates:
            raise HarnessError(
                f"{where}: {len(found.missing)} of {len(distinct)} cases have no row "
                f"({listed(found.missing)}), and the column '{column}' has dates ({listed(dates, 2)}) that a "
                "spreadsheet may have made of ids; format it as text and save the table again."
            )
        raise HarnessError(
            f"{where}: {len(found.missing)} of {len(distinct)} cases have no row "
            f"({listed(found.missing)}) in "
            f"the column '{column}'; add them, or name the column of ids with --id."
        )
    used = set(found.pairs.values())
    check_distinct([one for one in ids if one in used], f"{where}, column '{column}'")
    at = {one: row for row, one in enumerate(ids)}
    notes = [f"The column '{column}' of the table was taken for the ids."] if ask.id is None else []
    if found.loosely:
        one, other = found.loosely[0]
        notes.append(
            f"{len(found.loosely)} ids are written otherwise in the table (such as '{one}' there "
            f"'{other}') and "
            "were matched without case, zeros and separators."
        )
    if found.unused:
        notes.append(f"{len(found.unused)} rows of the table are of no case ({listed(found.unused)}).")
    return column, {name: at[other] for name, other in found.pairs.items()}, notes


def _row_id(value: object, where: str) -> str:
    """Return a cell of the column of ids; a file's name there is that of its case."""
    name = as_id(value, where)
    last = name.replace("\\", "/").rpartition("/")[2]
    suffix = suffix_of(Path(last)) if last else ""
    return last[: len(last) - len(suffix)] if suffix else name


def _candidates(frame: pd.DataFrame, wanted: Sequence[str], where: str) -> list[str]:
    """Return the column in which most of the wanted names are. Raises HarnessError where none is clear."""
    counts = {}
    for column in map(str, frame.columns):
        try:
            ids = {_row_id(value, where) for value in frame[column]}
            counts[column] = len(match(list(dict.fromkeys(wanted)), sorted(ids - {""}), where).pairs)
        except HarnessError:
            counts[column] = 0
    most = max(counts.values(), default=0)
    best = [column for column, count in counts.items() if count == most]
    named = [one for one in best if _is_named(one)]
    if most == 0:
        # What the likeliest column says of itself is a better answer than that none fits.
        likely = [one for one in map(str, frame.columns) if _is_named(one)]
        if likely:
            return likely
        raise HarnessError(
            f"{where}: no column has the cases' ids ({listed(wanted, 2)}); name the one that has with --id."
        )
    _check_rivals(counts, best, where)
    same = {tuple(_row_id(value, where) for value in frame[column]) for column in best}
    if len(same) == 1:  # either says the same of every row
        return sorted(best, key=lambda column: column.lower() not in _ID_NAMES)[:1]
    if len(best) > 1 and len(named) != 1:
        raise HarnessError(f"{where}: {listed(best)} could be the column of ids; name it with --id.")
    return named if len(best) > 1 else best


def _check_rivals(counts: dict[str, int], best: Sequence[str], where: str) -> None:
    """Raise HarnessError where a column that is called an id has most cases, and another has more.

    A number of the row has every id where cases are numbered, whoever they are.
    """
    if any(_is_named(column) for column in best):
        return
    most = max(counts.values())
    rival = next((one for one, count in counts.items() if _is_named(one) and 2 * count > most), None)
    if rival is not None:
        raise HarnessError(
            f"{where}: the column '{rival}' has {counts[rival]} of the cases' ids and '{best[0]}' has "
            f"{most}; say with --id which it is, or mend the ids."
        )


def _is_named(column: str) -> bool:
    return column.lower() in _ID_NAMES or is_patient_column(column)


def _one_of_two(ids: Sequence[str]) -> str:
    """Return two ids that read like two eyes of one patient, where most do; "" where they do not."""
    bare: dict[str, list[str]] = {}
    for name in ids:
        if _SIDE.search(name):
            bare.setdefault(_SIDE.sub("", name), []).append(name)
    pairs = [own for stem, own in bare.items() if stem and len(own) > 1]
    return " and ".join(f"'{one}'" for one in pairs[0][:2]) if 2 * sum(map(len, pairs)) > len(ids) else ""


def _patients(
    own: pd.DataFrame, column: str, ask: Ask, by_name: list[str], where: str
) -> tuple[list[str], list[str]]:
    if by_name:
        return by_name, []
    likely = [c for c in map(str, own.columns) if is_patient_column(c) and c != column]
    # 'case' may be either: beside a column of patients it is none.
    named = [c for c in likely if not c.lower().startswith("case")] or likely
    if ask.patient is None and len(named) > 1:
        raise HarnessError(f"{where}: {listed(named)} could be the patient; name it with --patient.")
    chosen = ask.patient or (named[0] if named else column if is_patient_column(column) else None)
    if chosen is None:
        note = "Each case is taken for a patient of its own: where people have several, name --patient."
        ids = [as_id(value, where) for value in own[column]]
        if pair := _one_of_two(ids):
            note += f" {pair} read like one person's: if they are, every interval here is too narrow."
        return ids, [note]
    patients = [as_id(value, where) for value in own[chosen]]
    if not all(patients):
        raise HarnessError(f"{where}: {patients.count('')} cases have no '{chosen}'; fill the column.")
    spelt = looks.one_spelling(pd.Series(patients, dtype=object)).tolist()
    notes = [] if ask.patient else [f"The column '{chosen}' was taken for the patients."]
    if spelt != patients:
        notes.append(
            f"Patients whose '{chosen}' differs by case, zeros or separators alone are taken for one."
        )
    return spelt, notes


def _attributes(
    own: pd.DataFrame, ask: Ask, used: Iterable[str | None], where: str
) -> dict[str, AttributeSpec]:
    if not ask.attributes:
        return {name: AttributeSpec() for name in _likely(own, {one for one in used if one})}
    specs = {}
    for given in ask.attributes:
        name, sign, edges = given.rpartition(":")
        if given in own.columns or not sign:
            name, edges = given, ""
        _check_column(own, name, f"{where}: --attribute")
        if name in specs:
            raise HarnessError(f"--attribute {given}: stands twice; name each once.")
        specs[name] = AttributeSpec(bins=_edges(given, edges))
        if not edges and own[name].map(_known).nunique() > 4 * _MOST_GROUPS:
            raise HarnessError(
                f"--attribute {given}: has {own[name].map(_known).nunique()} values; where it is a "
                f"number, give "
                f"the edges of its groups, as in --attribute {name}:40,60."
            )
    return specs


def _edges(given: str, edges: str) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in edges.split(",")) if edges else ()
    except ValueError:
        raise HarnessError(f"--attribute {given}: edges are numbers with commas, as in age:40,60.") from None


def _known(value: object) -> str | None:
    return known(_cell(value))


def _likely(own: pd.DataFrame, used: set[str]) -> list[str]:
    """Return the columns that read like attributes: a few groups, each of several people."""
    found = []
    for column in map(str, own.columns):
        values = own[column].map(_known).dropna()
        counts = values.value_counts()
        few = 2 <= len(counts) <= _MOST_GROUPS and counts.iloc[1] > 1
        if column not in used and few and not is_patient_column(column) and column.lower() not in _ID_NAMES:
            found.append(column)
    return found


def _numbers(raw: pd.DataFrame, ask: Ask, used: set[str | None], where: str) -> dict[str, np.ndarray]:
    """Return the columns of quantities: those asked for, else those that are numbers throughout."""
    found = {}
    for column in ask.numbers or [
        one for one in map(str, raw.columns) if one not in used | {"sample", "patient"}
    ]:
        texts = raw[column].map(_known)
        values = pd.to_numeric(texts, errors="coerce").astype(float)
        wrong = texts.notna() & ~np.isfinite(values)
        if wrong.any():
            if column in ask.numbers:
                raise HarnessError(f"{where}: '{column}' has '{texts[wrong].iloc[0]}', which is no number.")
            continue
        if is_age(column, AttributeSpec()):
            values = values.mask(is_impossible(values))
        if values.nunique() > _FEW or (column in ask.numbers and values.nunique() > 1):
            found[column] = values.to_numpy(float)
    return found


def _changing(table: pd.DataFrame, groups: Iterable[str]) -> Iterator[str]:
    """Say whose group changes from case to case: right for an age or a scanner, an error for most others."""
    for attribute in groups:
        several = table.groupby("patient")[attribute].nunique(dropna=True) > 1
        if several.any():
            yield (
                f"{int(several.sum())} patients have several values of '{attribute}' ("
                f"{listed(several.index[several])}) and count in each of these groups."
            )
