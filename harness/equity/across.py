"""The order of the methods over several views of the same patients: attributes, structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from types import MappingProxyType

import numpy as np
import pandas as pd

from harness.equity import many
from harness.equity.contrasts import Contrasts, fill, share_largest, shared, unknown
from harness.equity.options import made, several, text
from harness.equity.pieces import pieces_of
from harness.equity.quantities import BOUNDED, Quantity, quantities
from harness.equity.ranking import grouped_by_letter
from harness.equity.reference import least_common
from harness.equity.scores import Scores
from harness.equity.stacked import Mean, stack
from harness.equity.twins import Twins, known, without_loans
from harness.equity.unequal import apart
from harness.errors import HarnessError, did_you_mean

ACROSS = (
    *("method", "quantity", "views", "estimate"),
    *("mean_rank", "rank", "rank_low", "rank_high", "letters", "note"),
)
"""Columns of `across`: estimate: mean of the quantity over the views; mean_rank: mean over the views
of the rank in each, ties shared; rank, rank_low, rank_high, letters: as in `rank`."""


def across(
    views: Sequence[Scores],
    by: str = "es_sum",
    least_seeds: int = 1,
    baseline: str = "erm",
    twins: Twins = MappingProxyType({}),
) -> pd.DataFrame:
    """Return the methods in order of a quantity's mean over views, best first; columns are `ACROSS`.

    This is what a critical-difference diagram shows (Demšar, J. Mach. Learn. Res. 2006), with another
    test: Friedman's and Nemenyi's take the views for independent, and views of one test set share
    every patient and seed. Here each patient's and each seed's contribution is averaged over the views
    before it is squared, so the more the views agree, the less is gained by their number. Pairs are
    tested on the mean's difference, adjusted over all of them as in `harness.equity.many`, with the twins of
    methods that train longer than the `baseline` taken into account (`harness.equity.twins`).
    Raises HarnessError for views of other methods or patients, and for an unknown quantity.
    """
    views = several("views", views, "Scores")
    for view in views:
        made("A view", view, Scores, "what `Scores` or `from_frame` makes")
    least_seeds, baseline = least_common(least_seeds), text("baseline", baseline, "a method's name")
    _check(views)
    fractions = views[0].higher_is_better
    defined = quantities(fractions)
    if text("by", by, "a quantity") not in defined:
        raise HarnessError(f"Methods cannot be ranked by '{by}'.{did_you_mean(by, defined)}")
    levels = np.array([_levels(view, defined[by]) for view in views])
    estimates, higher = levels.mean(axis=0), fractions and by not in BOUNDED
    values = estimates if higher else -estimates
    methods = views[0].methods
    p = many.adjusted(contrasts_of_mean(views, by), least_seeds)
    beats = many.beaten(values, without_loans(p, values, methods, baseline, known(twins, methods)))
    order = np.argsort(-values, kind="stable")
    letters = grouped_by_letter(beats | beats.T, order)
    ranks = pd.DataFrame(levels).rank(axis=1, ascending=not higher).mean()
    frame = pd.DataFrame(
        {
            "method": methods,
            "quantity": by,
            "views": len(views),
            "estimate": estimates,
            "mean_rank": ranks,
            "rank_low": 1 + beats.sum(axis=0),
            "rank_high": len(letters) - beats.sum(axis=1),
            "letters": letters,
            "note": many.APPROXIMATE,
        }
    )
    return frame.iloc[order].assign(rank=np.arange(1, len(order) + 1))[list(ACROSS)].reset_index(drop=True)


def _check(views: Sequence[Scores]) -> None:
    if not views:
        raise HarnessError("There is nothing to average: give at least one view.")
    for view in views:
        if view.methods != views[0].methods or not np.array_equal(view.patients, views[0].patients):
            raise HarnessError("The views are of other methods or patients; give the same, in one order.")
        if view.higher_is_better != views[0].higher_is_better:
            raise HarnessError("The views mix fractions and distances; average one kind.")
        if len(view.kept) < 2:
            raise HarnessError("A view has fewer than two groups with enough patients; leave it out.")


def _levels(view: Scores, quantity: Quantity) -> np.ndarray:
    units, n = view.units, len(view.kept) + 1
    samples = np.bincount(units.stratum, units.samples, n)
    totals = np.stack([np.bincount(units.stratum, sums.mean(axis=0), n) for sums in units.sums])
    means = totals / np.maximum(samples, 1)
    return quantity(means @ (samples / samples.sum()), means[:, :-1])


def contrasts_of_mean(views: Sequence[Scores], by: str) -> Contrasts:
    """Return all pairs' differences in a quantity's mean over views, on the seeds that both have in all."""
    fractions = views[0].higher_is_better
    quantity = quantities(fractions)[by]
    seeds = [
        reduce(np.intersect1d, (view.units.seeds[method] for view in views))
        for method in range(len(views[0].methods))
    ]
    found, parts = unknown(len(seeds)), []
    unequal = np.zeros((len(seeds),) * 2)
    for common, methods, exact in shared(seeds):
        some, at = stack(views, methods, list(common)), np.ix_(methods, methods)
        parts.append((some, exact))
        fill(found, some.contrasts(quantity), methods, exact)
        unequal[at] = np.where(exact, apart(some.moved(quantity)), unequal[at])
    share_largest(found)
    return replace(found, bend=Mean(tuple(parts), pieces_of(by, fractions), unequal))
