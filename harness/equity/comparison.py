"""Every method against the baseline, and whether a gap closed from above or from below."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from harness.equity.pairs import Difference, Pair, difference, pairs
from harness.equity.quantities import Quantity, quantities
from harness.equity.resampling import Draws
from harness.equity.summary import TOO_FEW, singles
from harness.errors import HarnessError, did_you_mean
from harness.multiplicity import holm

COMPARISON = (
    *("method", "baseline", "quantity", "group"),
    *("difference", "low", "high", "p", "p_holm", "better", "verdict", "note"),
)
"""Columns of `compare`: difference is method minus baseline with its 95% interval; p: two-sided, unadjusted;
p_holm: adjusted over the methods of this table, within each quantity; better: True or False where p_holm is
at most 0.05, else None; verdict: on the rows of `gap`, what became of it in words."""

ALPHA = 0.05


def compare(draws: Draws, baseline: str = "erm", least_seeds: int = 1) -> pd.DataFrame:
    """Return the differences of every other method from the baseline; columns are `COMPARISON`.

    Paired by patient and seed. The p-value exchanges the two methods' scores at random for each patient
    (a permutation test) and adds the deviations by seeds, so it speaks of the methods and not of
    these trainings alone; with one seed in common it can speak of these trainings only, and the note
    says so. With fewer than `least_seeds` in common the difference has neither interval nor p-value. Raises
    HarnessError for an unknown baseline.
    """
    methods = draws.scores.methods
    if baseline not in methods:
        raise HarnessError(
            f"There is no method '{baseline}' to compare with.{did_you_mean(baseline, methods)}"
        )
    base = methods.index(baseline)
    others = [i for i in range(len(methods)) if i != base]
    paired = [i for i in others if _common(draws, i, base)]
    prepared = dict(zip(paired, pairs(draws, [(i, base) for i in paired]), strict=True)) if paired else {}
    rows = [row for i in others for row in _rows(draws, i, base, prepared.get(i), least_seeds)]
    frame = pd.DataFrame(rows, columns=list(COMPARISON))
    if frame.empty:
        return frame
    frame["p_holm"] = frame.groupby(["quantity", "group"])["p"].transform(lambda p: holm(p))
    frame["better"] = [_better(draws, row) for row in frame.itertuples()]
    return _with_verdicts(frame)


def _common(draws: Draws, one: int, other: int) -> bool:
    seeds = draws.scores.units.seeds
    return bool(np.isin(seeds[one], seeds[other]).any())


def _rows(
    draws: Draws, method: int, base: int, pair: Pair | None, least_seeds: int
) -> Iterator[dict[str, object]]:
    scores = draws.scores
    note = _note(draws, method, base, pair, least_seeds)
    for name, group, quantity in _measured(draws):
        result = Difference(math.nan, math.nan, math.nan, math.nan)
        if quantity is not None and pair is not None:
            result = difference(draws, pair, quantity, singles(draws, method, base, name))
            if pair.seeds < least_seeds:
                result = Difference(result.estimate, math.nan, math.nan, math.nan)
        yield {
            "method": scores.methods[method],
            "baseline": scores.methods[base],
            "quantity": name,
            "group": group,
            "difference": result.estimate,
            "low": result.low,
            "high": result.high,
            "p": result.p,
            "note": note if quantity is not None else TOO_FEW,
        }


def _measured(draws: Draws) -> Iterator[tuple[str, str, Quantity | None]]:
    yield "overall", "", lambda overall, groups: overall
    kept = draws.scores.kept
    for group in draws.scores.order:
        yield "group", group, _one(kept.index(group)) if group in kept else None
    for name, quantity in quantities(draws.scores.higher_is_better).items():
        yield name, "", quantity if len(kept) > 1 else None


def _one(group: int) -> Quantity:
    return lambda overall, groups: groups[..., group]


def _note(draws: Draws, method: int, base: int, pair: Pair | None, least_seeds: int) -> str:
    seeds = draws.scores.units.seeds
    if pair is None:
        return "no seed in common"
    parts = []
    if pair.seeds < max(len(seeds[method]), len(seeds[base])):
        parts.append(f"on the {pair.seeds} seeds that both have")
    if pair.seeds < 2:
        parts.append("one seed: says nothing about another training")
    elif pair.seeds < least_seeds:
        parts.append(f"fewer than {least_seeds} seeds: nothing is told apart")
    return "; ".join(parts)


_LOWER_IS_FAIRER = ("gap", "sum_gap", "spread", "skewed_error_ratio")


def _better(draws: Draws, row: object) -> bool | None:
    p, name, change = (getattr(row, key) for key in ("p_holm", "quantity", "difference"))
    if math.isnan(p) or p > ALPHA:
        return None
    higher = draws.scores.higher_is_better and name not in _LOWER_IS_FAIRER
    return bool((change > 0) == higher)


def _with_verdicts(frame: pd.DataFrame) -> pd.DataFrame:
    verdicts = {method: _verdict(rows.set_index("quantity")) for method, rows in frame.groupby("method")}
    of_gap = frame["quantity"] == "gap"
    frame["verdict"] = ""
    frame.loc[of_gap, "verdict"] = frame.loc[of_gap, "method"].map(verdicts)
    return frame


def _verdict(rows: pd.DataFrame) -> str:
    """Say what became of the gap: levelling up, levelling down, both, or nothing beyond chance.

    A gap that closed is levelled down where the best group's loss is beyond chance and the larger part.
    """
    found: dict[Any, Any] = rows[rows["group"] == ""].to_dict("index")
    gap = found["gap"]["better"]
    if found["gap"]["note"] == TOO_FEW:
        return TOO_FEW
    if math.isnan(found["gap"]["p"]):
        return ""
    if gap is None:
        return "no change of the gap beyond chance"
    better = {end: found[end]["better"] for end in ("worst_group", "best_group")}
    change = {end: found[end]["difference"] for end in better}
    ends = ", ".join(f"{end.replace('_', ' ')} {_moved(change[end], better[end])}" for end in better)
    if not gap:
        return f"gap wider: {ends}"
    if better["best_group"] is False and -change["best_group"] > change["worst_group"]:
        return f"levelling down: {ends}"
    if better["worst_group"] and change["worst_group"] >= -change["best_group"]:
        return f"levelling up: {ends}"
    return f"gap narrower: {ends}"


def _moved(change: float, better: bool | None) -> str:
    said = f"{change:+.3f}".replace("-", "−")
    return said if better is not None else f"{said} (within chance)"
