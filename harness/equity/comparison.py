"""Every method against the baseline, and whether a gap closed from above or from below."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from harness.equity.contrasts import Contrasts, unknown
from harness.equity.options import made, text
from harness.equity.pairs import between
from harness.equity.quantities import Quantity, quantities
from harness.equity.reference import ALPHA as ALPHA
from harness.equity.reference import MARGIN, checked, least_common
from harness.equity.resampling import Draws
from harness.equity.summary import TOO_FEW
from harness.errors import HarnessError, did_you_mean

RANKED = "es_sum"
"""The quantity that ranks: methods are compared in it under the adjustment of their ranks and letters."""

COMPARISON = (
    *("method", "baseline", "quantity", "group", "difference", "low", "high", "p"),
    *("low_adjusted", "high_adjusted", "p_adjusted", "better", "verdict", "note"),
)
"""Columns of `compare`: difference is method minus baseline; low, high, p: 95% interval and two-sided
p-value of this difference read by itself; low_adjusted, high_adjusted, p_adjusted: the same adjusted over
the methods of this table, within each quantity, and of es_sum over all pairs of them; better: True or False
where p_adjusted is at most 0.05, which is where the adjusted interval excludes 0, else None; verdict: on the
rows of `gap`, what became of it in words, on those of `es_sum` "better", "worse", "equivalent" (the adjusted
90% interval lies within the margin) or "cannot tell"."""

_WORDS = frozenset({"method", "baseline", "quantity", "group", "better", "verdict", "note"})


def compare(
    draws: Draws, baseline: str = "erm", least_seeds: int = 1, margin: float = MARGIN
) -> pd.DataFrame:
    """Return the differences of every other method from the baseline; columns are `COMPARISON`.

    Paired by patient and seed. Test and interval are one (`harness.equity.reference`), and speak of
    the methods and not of these trainings alone; with one seed in common they can speak of these trainings
    only, and the note says so. With fewer than `least_seeds` in common the difference has neither interval
    nor p-value. Raises HarnessError for an unknown baseline,
    a margin below 0 and what is no number of seeds.
    """
    made("draws", draws, Draws, "what `resample` returns")
    methods, margin, least_seeds = draws.scores.methods, checked(margin), least_common(least_seeds)
    base = place_of(baseline, methods)
    notes = [_note(draws, method, base, least_seeds) for method in range(len(methods)) if method != base]
    parts = []
    for name, group, quantity in _measured(draws):
        found = unknown(len(methods)) if quantity is None else between(draws, name, quantity, base)
        part = _against(found, methods, base, least_seeds, margin if name == RANKED else None)
        note = [TOO_FEW] * len(notes) if quantity is None else notes
        parts.append(part | {"quantity": [name] * len(note), "group": [group] * len(note), "note": note})
    # A frame is made once, of columns in the methods' order: one a quantity takes longer than its tests.
    order = np.arange(len(parts) * len(notes)).reshape(len(parts), -1).T.ravel()
    columns = {
        name: np.concatenate([np.asarray(part[name], _kind(name)) for part in parts])[order].tolist()
        for name in parts[0]
    }
    columns["better"] = _sides(columns, draws.scores.higher_is_better)
    columns["verdict"] = _with_verdicts(columns)
    return _frame(columns)


def _kind(name: str) -> type:
    return object if name in _WORDS else float


def _frame(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    frame = pd.DataFrame({name: columns[name] for name in COMPARISON if name != "better"})
    frame.insert(COMPARISON.index("better"), "better", pd.Series(columns["better"], dtype=object))
    return frame


def place_of(baseline: str, methods: Sequence[str]) -> int:
    """Return the position of the method to compare with. Raises HarnessError where there is none such."""
    if text("baseline", baseline, "a method's name") not in methods:
        raise HarnessError(
            f"There is no method '{baseline}' to compare with.{did_you_mean(baseline, methods)}"
        )
    return methods.index(baseline)


def against(
    found: Contrasts, methods: Sequence[str], base: int, least_seeds: int, margin: float | None
) -> pd.DataFrame:
    """Return every other method's difference from one, alone and adjusted.

    Adjusted over these, or over all pairs where there is a `margin`: then with the verdict that goes with it.
    """
    return pd.DataFrame(_against(found, methods, base, least_seeds, margin))


def _against(
    found: Contrasts, methods: Sequence[str], base: int, least_seeds: int, margin: float | None
) -> dict[str, Any]:
    others = [i for i in range(len(methods)) if i != base]
    enough = found.common >= max(least_seeds, 1)
    tested = enough[others, base]
    number = int(np.triu(enough, 1).sum()) if margin is not None else int(tested.sum())
    columns = {"difference": found.difference[others, base]}
    # Of a thousand methods there are half a million pairs, of which these need the thousand with the base.
    mine = np.arange(len(methods)) == base
    found = replace(found, common=np.where(mine[:, None] | mine, found.common, 0))
    together = found.together(number)
    for tests, ending in ((found.alone, ""), (together, "_adjusted")):
        ends = tests.interval()
        for name, values in (("low", ends[0]), ("high", ends[1]), ("p", tests.p)):
            columns[name + ending] = np.where(tested, values[others, base], np.nan)
    verdict = np.full(len(others), "", object)
    if margin is not None:
        same = together.within(margin)[others, base]
        unsure = np.where(same, "equivalent", "cannot tell")
        sure = columns["p_adjusted"] <= ALPHA
        told = np.where(sure, np.where(columns["difference"] > 0, "better", "worse"), unsure)
        verdict = np.where(tested, told, "").astype(object)
    names = {"method": [methods[i] for i in others], "baseline": [methods[base]] * len(others)}
    return names | columns | {"verdict": verdict}


def _measured(draws: Draws) -> Iterator[tuple[str, str, Quantity | None]]:
    yield "overall", "", lambda overall, groups: overall
    kept = draws.scores.kept
    for group in draws.scores.order:
        yield "group", group, _one(kept.index(group)) if group in kept else None
    for name, quantity in quantities(draws.scores.higher_is_better).items():
        yield name, "", quantity if len(kept) > 1 else None


def _one(group: int) -> Quantity:
    return lambda overall, groups: groups[..., group]


def _note(draws: Draws, method: int, base: int, least_seeds: int) -> str:
    seeds = draws.scores.units.seeds
    common = int(np.isin(seeds[method], seeds[base]).sum())
    if common == 0:
        return "no seed in common"
    parts = []
    if common < max(len(seeds[method]), len(seeds[base])):
        shared = "the one seed" if common == 1 else f"the {common} seeds"
        parts.append(f"on {shared} that both have")
    if common < 2:
        parts.append("one seed: says nothing about another training")
    elif common < least_seeds:
        parts.append(f"fewer than {least_seeds} seeds: nothing is told apart")
    return "; ".join(parts)


_LOWER_IS_FAIRER = ("gap", "sum_gap", "spread", "skewed_error_ratio")


def sides(frame: pd.DataFrame, higher_is_better: bool) -> pd.Series:
    """Return whether each row is better, by the side of 0 where the adjusted interval lies, else None."""
    columns = {name: frame[name].tolist() for name in ("quantity", "low_adjusted", "p_adjusted")}
    return pd.Series(_sides(columns, higher_is_better), index=frame.index, dtype=object)


def _sides(columns: Mapping[str, Sequence[Any]], higher_is_better: bool) -> list[bool | None]:
    rows = zip(*(columns[name] for name in ("quantity", "low_adjusted", "p_adjusted")), strict=True)
    return [
        bool((low > 0) == (higher_is_better and quantity not in _LOWER_IS_FAIRER)) if p <= ALPHA else None
        for quantity, low, p in rows
    ]


def _with_verdicts(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the verdicts, those on the gap said of all rows of its method."""
    names = ("method", "quantity", "group", "difference", "p", "better", "note")
    rows = [dict(zip(names, values, strict=True)) for values in zip(*map(columns.get, names), strict=True)]
    own: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["group"] == "":
            own.setdefault(row["method"], {})[row["quantity"]] = row
    return [
        _verdict(own[row["method"]]) if row["quantity"] == "gap" else verdict
        for row, verdict in zip(rows, columns["verdict"], strict=True)
    ]


def _verdict(found: Mapping[str, Any]) -> str:
    """Say what became of the gap: levelling up, levelling down, both, or nothing beyond chance.

    A gap that closed is levelled down where the best group's loss is beyond chance and the larger part.
    """
    gap = found["gap"]["better"]
    if found["gap"]["note"] == TOO_FEW:
        return TOO_FEW
    if math.isnan(found["gap"]["p"]):
        return ""
    if gap is None:
        return "no change of the gap beyond chance"
    better = {end: found[end]["better"] for end in ("worst_group", "best_group")}
    change = {end: found[end]["difference"] for end in better}
    alone = any(side is not None for side in better.values())
    ends = ", ".join(f"{end.replace('_', ' ')} {_moved(change[end], better[end], alone)}" for end in better)
    if not alone:
        return f"gap {'narrower' if gap else 'wider'}, by neither end alone beyond chance: {ends}"
    if not gap:
        return f"gap wider: {ends}"
    if better["best_group"] is False and -change["best_group"] > change["worst_group"]:
        return f"levelling down: {ends}"
    if better["worst_group"] and change["worst_group"] >= -change["best_group"]:
        return f"levelling up: {ends}"
    return f"gap narrower: {ends}"


def _moved(change: float, better: bool | None, alone: bool) -> str:
    said = f"{change:+.3f}".replace("-", "−")
    return said if better is not None or not alone else f"{said} (within chance)"
