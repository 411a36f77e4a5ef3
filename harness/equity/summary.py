"""Every quantity of every method with its interval, as one tidy table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from functools import partial

import numpy as np
import pandas as pd

from harness.equity.contrasts import slopes_of
from harness.equity.intervals import Interval, at_most, extreme, invert, linear
from harness.equity.options import made
from harness.equity.quantities import BOUNDED, SCALED, quantities
from harness.equity.resampling import Draws, Parts, tails

SUMMARY = (
    "method",
    "quantity",
    "group",
    "patients",
    "samples",
    "estimate",
    "low",
    "high",
    "corrected",
    "note",
)
"""Columns of `summarise`: group is "" except in the rows of quantity "group"; low, high: 95% interval of the
true value; corrected: the estimate freed of the bias that noise gives gaps and ES; note: why a number
is missing or how to read it, else empty."""

TOO_FEW = "too few"
BIASED = "noise alone moves the estimate out of its interval; see corrected"
CAUTION = 2.5
"""How often the seeds' share of a variance counts in its degrees of freedom (`freedom` says why)."""


def summarise(draws: Draws) -> pd.DataFrame:
    """Return one row a method and quantity, and a method and group; columns are `SUMMARY`.

    Quantities: `overall` (all samples, unknown group included), `group`, and as `quantities` defines them
    es_sum, es_std, worst_group, best_group, gap, sum_gap, spread and skewed_error_ratio (distances have
    worst_group, best_group and gap). They are the method's, averaged over its seeds. A group with
    fewer than `scores.min_patients` patients has "too few" instead of numbers and is left out
    of the others, whose note names it.
    """
    made("draws", draws, Draws, "what `resample` returns")
    each = range(len(draws.scores.methods))
    names, means = _names(draws), list(_means(draws))
    found = draws.keep(f"{__name__}.summarise", [_read(draws, m) for m in each], partial(_intervals, draws))
    rows: list[dict[str, object]] = []
    for method, numbers in zip(each, found, strict=True):
        own = [Interval(*ends) for ends in numbers.tolist()]
        draws.found.update(((method, name), one) for name, one in zip(names, own[len(means) :], strict=True))
        rows += _rows(draws, method, dict(zip(means, own[: len(means)], strict=True)))
    return pd.DataFrame(rows, columns=list(SUMMARY))


def _names(draws: Draws) -> list[str]:
    """Return the quantities that there are of all groups."""
    return list(quantities(draws.scores.higher_is_better)) if draws.n_groups > 1 else []


def _means(draws: Draws) -> dict[str, np.ndarray]:
    """Return the weights of the strata in each mean: overall as "", and each group that is kept."""
    weights = np.eye(len(draws.weights))
    return {"": draws.weights} | {group: weights[i] for i, group in enumerate(draws.scores.kept)}


def _read(draws: Draws, method: int) -> object:
    """Return all that a method's intervals depend on."""
    part, seeds = draws.parts[method], draws.scores.units.seeds[method]
    own = draws.means[method], draws.studentised[:, method], part.by_seed, part.patients, part.share, seeds
    return draws.scores.higher_is_better, draws.weights, draws.seed, draws.seeds_normal.shape, own


def _intervals(draws: Draws, methods: Sequence[int]) -> list[np.ndarray]:
    """Return each method's intervals, its means' and then its quantities': float [intervals, 4]."""
    found = []
    for first in range(0, len(methods), draws.at_once):
        some = methods[first : first + draws.at_once]
        by_name = [_inverted(draws, some, name) for name in _names(draws)]
        means = [[mean_interval(draws, m, weights) for weights in _means(draws).values()] for m in some]
        for own, *others in zip(means, *by_name, strict=True):
            found.append(np.array([astuple(one) for one in (*own, *others)]))
    return found


def freedom(slopes: np.ndarray, part: Parts) -> float:
    """Return degrees of freedom for one method's variance of a sum over strata; `slopes`: float [K].

    Satterthwaite's formula with the seeds' share counted 2.5 times: as it stands, it takes a seeds'
    variance that came out small for a sure one, and intervals from 3 seeds cover 92.2% at worst; so they
    cover 94.3% to 95.9% whatever the share (docs/equity.md). Right at 95% and not in the tail: where tests
    are many, `harness.equity.reference` stands in its place. Studentised draws have the patients' own in
    them.
    """
    n = len(part.by_seed)
    by_patient = slopes**2 * part.patients
    seeds = CAUTION * float(np.var(part.by_seed @ slopes, ddof=1)) / n if n > 1 else 0.0
    squares = seeds**2 / max(n - 1, 1)
    return (float(by_patient.sum()) + seeds) ** 2 / squares if squares > 0 else math.inf


def _rows(draws: Draws, method: int, means: Mapping[str, Interval]) -> Iterator[dict[str, object]]:
    scores = draws.scores
    note, overall = _note(draws, method), means[""]
    yield _row(draws, method, "overall", "", overall, note)
    for group in scores.order:
        own = means.get(group)
        yield _row(draws, method, "group", group, own, note if own is not None else TOO_FEW)
    for name in quantities(scores.higher_is_better):
        if draws.n_groups < 2:
            yield _row(draws, method, name, "", None, TOO_FEW)
        else:
            found = attribute_level(draws, method, name)
            yield _row(draws, method, name, "", _below(found, overall) if name in SCALED else found, note)


def _below(found: Interval, overall: Interval) -> Interval:
    ends = at_most(found.low, found.high, found.corrected, (overall.low, overall.high))
    return Interval(found.estimate, *(float(end) for end in ends))


def mean_interval(draws: Draws, method: int, weights: np.ndarray) -> Interval:
    """Return a method's mean over the strata, weighted, with its interval; `weights`: float [K]."""
    deviations = draws.around(method) @ weights
    part = draws.parts[method]
    wide = tails(freedom(weights, part), draws.resamples, draws.random(2))
    return linear(float(draws.means[method] @ weights), deviations * wide)


def attribute_level(draws: Draws, method: int, name: str) -> Interval:
    """Return a method's interval of a quantity of all groups, found once."""
    if (method, name) not in draws.found:
        (draws.found[method, name],) = _inverted(draws, [method], name)
    return draws.found[method, name]


def _inverted(draws: Draws, methods: Sequence[int], name: str) -> list[Interval]:
    quantity = quantities(draws.scores.higher_is_better)[name]
    around, deviations, overall = [], [], []
    for method in methods:
        slopes = slopes_of(quantity, draws.weights, draws.means[method])
        wide = tails(freedom(slopes, draws.parts[method]), draws.resamples, draws.random(2))
        own = draws.around(method) * wide[:, None]
        deviations.append(own @ draws.weights)
        # Group by group in memory, as all that follows goes through them.
        around.append(np.ascontiguousarray(own[:, :-1].T))
        overall.append(draws.means[method] @ draws.weights)
    ends = invert(
        quantity,
        np.array(overall),
        draws.means[methods, :-1] - np.array(overall)[:, None],
        np.stack(deviations),
        np.stack([one - mean for one, mean in zip(around, deviations, strict=True)]),
        bounded=name in BOUNDED,
    )
    found = []
    for at, (method, low, high, corrected) in enumerate(zip(methods, *ends, strict=True)):
        means = draws.means[method, :-1]
        if name not in ("worst_group", "best_group"):
            estimate = float(quantity(overall[at], means))
            found.append(Interval(estimate, float(low), float(high), float(corrected)))
            continue
        lowest = (name == "worst_group") == draws.scores.higher_is_better
        found.append(extreme(means, around[at], lowest=lowest, corrected=float(corrected)))
    return found


def _note(draws: Draws, method: int) -> str:
    parts = []
    if draws.scores.left_out:
        parts.append(f"without {', '.join(draws.scores.left_out)} (too few patients)")
    if len(draws.scores.units.seeds[method]) < 2:
        parts.append("one seed: the interval does not cover another training")
    return "; ".join(parts)


def _row(
    draws: Draws, method: int, quantity: str, group: str, interval: Interval | None, note: str
) -> dict[str, object]:
    samples, patients = draws.scores.counts[group]
    numbers = interval or Interval(math.nan, math.nan, math.nan, math.nan)
    if draws.scores.higher_is_better and quantity not in BOUNDED:
        inside = (min(max(value, 0.0), 1.0) for value in (numbers.low, numbers.high, numbers.corrected))
        numbers = Interval(numbers.estimate, *inside)
    if numbers.estimate > numbers.high or numbers.estimate < numbers.low:
        note = "; ".join(filter(None, [note, BIASED]))
    return {
        "method": draws.scores.methods[method],
        "quantity": quantity,
        "group": group,
        "patients": patients,
        "samples": samples,
        "estimate": numbers.estimate,
        "low": numbers.low,
        "high": numbers.high,
        "corrected": numbers.corrected,
        "note": note,
    }
