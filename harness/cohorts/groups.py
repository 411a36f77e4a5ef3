"""Turn a cohort's columns into the groups of a protocol's attributes: bins, merges, and checks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from harness.cohorts.cohort import RESERVED
from harness.errors import HarnessError, did_you_mean
from harness.protocol import AttributeSpec
from harness.spelling import clean

BLANK = {"", "na", "n/a", "nan", "null", "unknown"}
_UNKNOWN = BLANK | {
    *(
        "none",
        "nil",
        "missing",
        "unk",
        "unknown/missing",
        "unkown",
        "not known",
        "not available",
        "not reported",
    ),
    *(
        "not recorded",
        "not specified",
        "not stated",
        "not given",
        "not disclosed",
        "not applicable",
        "no data",
    ),
    *(
        "no answer",
        "unspecified",
        "undisclosed",
        "undetermined",
        "declined",
        "refused",
        "tbd",
        "n.a.",
        "n.a",
        "na.",
    ),
    *("n/k", "nk", "n.k.", "n/r", "nr", "n/d", "<na>", "#n/a", "#na", "#n/d", "#value!", "nat", "<unknown>"),
    *("prefer not to say", "prefer not to answer", "declined to answer", "patient refused", "do not know"),
    *(
        "don't know",
        "unbekannt",
        "inconnu",
        "desconocido",
        "[unknown]",
        "(unknown)",
        "(blank)",
        "[not available]",
    ),
}
_OLDEST = 120


def known(value: object, spec: AttributeSpec | None = None) -> str | None:
    """Return a cell as text, None for what means unknown: empty, NA, "-", "?", "not reported" and the like.

    What a protocol's `merge` names is a group all the same, and what its `unknown` names is none.
    """
    text = "" if value is None else clean(str(value))
    if spec is not None and any(text in merged for merged in spec.merge.values()):
        return text
    if spec is not None and text in spec.unknown:
        return None
    # Dashes, dots, question marks and the like alone say nothing.
    said = any(c.isalnum() or c in "+<>=" for c in text)
    return text if said and " ".join(text.lower().split()) not in _UNKNOWN else None


def is_age(name: str, spec: AttributeSpec) -> bool:
    """Tell by its name whether an attribute is an age in years."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", f"{name} {spec.column or ''}").lower()
    words = set(re.split("[^a-z]+", text))
    return bool({"age", "ages", "alter", "edad"} & words) and not {"days", "months", "weeks"} & words


def is_impossible(ages: pd.Series) -> pd.Series:
    """Return which ages in years nobody has: bool [N]; missing ones are not among them."""
    return (ages < 0) | (ages > _OLDEST)


def make_groups(
    table: pd.DataFrame,
    attributes: Mapping[str, AttributeSpec],
    values: Mapping[str, tuple[str, ...]],
    place: Callable[[int], str] = lambda row: "",
) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """Return one column per attribute (group name, None unknown) and each attribute's groups in order.

    `table` has the raw columns, text or None; `values` names the whole coding of columns that
    have a fixed one; `place` says where a row of the table is to be mended. Groups of a binned
    attribute stand by their edges, others by name; a binned attribute also gets the column
    `<attribute>_value`, the number before binning (float64).
    Raises HarnessError for a column that is missing or all unknown, a bin of something that is
    not a number, a merge of a value that does not occur, an attribute with one group only.
    """
    columns: dict[str, pd.Series] = {}
    groups: dict[str, tuple[str, ...]] = {}
    for name, spec in attributes.items():
        raw = _column(table, name, spec)
        if spec.bins:
            numbers = _numbers(raw, name, place)
            if is_age(name, spec):  # refused by row: `columns.remarks` names them
                numbers = numbers.mask(is_impossible(numbers))
            columns[f"{name}_value"] = numbers
            raw, order = _binned(columns[f"{name}_value"], spec.bins, name)
            coding = order
        else:
            order = tuple(sorted(raw.dropna().unique()))
            coding = tuple(values.get(spec.column or name, ())) + order
        renamed = _merges(name, spec, coding)
        columns[name] = raw.map(lambda value, renamed=renamed: renamed.get(value, value)).astype(object)
        merged = tuple(dict.fromkeys(renamed.get(value, value) for value in order))
        groups[name] = merged if spec.bins else tuple(sorted(merged))
        if len(groups[name]) < 2:
            raise HarnessError(
                f"The attribute '{name}' has one group only, '{groups[name][0]}', so there is "
                f"nothing to compare; mend [attributes.{name}] or leave it out."
            )
    frame = pd.DataFrame(columns, index=table.index)
    texts = list(attributes)
    frame[texts] = frame[texts].astype(object).where(frame[texts].notna(), None)
    return frame, groups


def _column(table: pd.DataFrame, name: str, spec: AttributeSpec) -> pd.Series:
    column = spec.column or name
    if name in RESERVED:
        raise HarnessError(
            f"[attributes.{name}]: '{name}' is taken; name the attribute otherwise and set 'column'."
        )
    if column not in table.columns:
        key = f"[attributes.{name}]" + (" column" if spec.column else "")
        raise HarnessError(
            f"{key}: the cohort has no column '{column}'.{did_you_mean(column, table.columns)}"
        )
    raw = table[column].map(lambda value: known(value, spec)).astype(object)
    if raw.isna().all():
        raise HarnessError(
            f"The attribute '{name}' is unknown for every sample: the column '{column}' is empty; "
            f"fill it or leave [attributes.{name}] out."
        )
    return raw


def _numbers(raw: pd.Series, name: str, place: Callable[[int], str]) -> pd.Series:
    numbers = pd.to_numeric(raw, errors="coerce").astype(np.float64)
    wrong = np.flatnonzero(raw.notna() & ~np.isfinite(numbers))
    if len(wrong):
        more = f" (and {len(wrong) - 1} more such values)" if len(wrong) > 1 else ""
        raise HarnessError(
            f"[attributes.{name}]: bins need numbers, but {place(int(wrong[0])) or 'the cohort'} has "
            f"'{raw.iloc[wrong[0]]}'{more}; mend the value or use merge instead of bins."
        )
    return numbers


def _binned(numbers: pd.Series, edges: tuple[float, ...], name: str) -> tuple[pd.Series, tuple[str, ...]]:
    if list(edges) != sorted(set(edges)):
        raise HarnessError(
            f"[attributes.{name}]: bins must rise, got {list(edges)}; sort the edges, each once."
        )
    texts = [f"{edge:g}" for edge in edges]
    middle = [f"{low} to <{high}" for low, high in itertools.pairwise(texts)]
    names = (f"<{texts[0]}", *middle, f">={texts[-1]}")
    codes = np.searchsorted(edges, numbers.to_numpy(), side="right")  # an edge belongs to the bin above it
    binned = [names[code] if known else None for code, known in zip(codes, numbers.notna(), strict=True)]
    return pd.Series(binned, index=numbers.index, dtype=object), names


def _merges(name: str, spec: AttributeSpec, coding: tuple[str, ...]) -> dict[str, str]:
    renamed: dict[str, str] = {}
    for group, merged in spec.merge.items():
        for value in merged:
            if value not in coding:
                raise HarnessError(
                    f"[attributes.{name}] merge: no sample has the value '{value}'."
                    f"{did_you_mean(value, coding)}"
                )
            if value in renamed:
                raise HarnessError(
                    f"[attributes.{name}] merge: '{value}' goes to both '{renamed[value]}' and '{group}'; "
                    "keep one."
                )
            renamed[value] = group
    return renamed
