"""The order of the methods over several views of the same patients: attributes, structures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.equity import many
from harness.equity.many import Linear
from harness.equity.quantities import BOUNDED, Quantity, quantities
from harness.equity.ranking import grouped_by_letter
from harness.equity.scores import Scores
from harness.errors import HarnessError, did_you_mean

ACROSS = (
    *("method", "quantity", "views", "estimate"),
    *("mean_rank", "rank", "rank_low", "rank_high", "letters", "note"),
)
"""Columns of `across`: estimate: mean of the quantity over the views; mean_rank: mean over the views
of the rank in each, ties shared; rank, rank_low, rank_high, letters: as in `rank`."""


def across(views: Sequence[Scores], by: str = "es_sum", least_seeds: int = 1) -> pd.DataFrame:
    """Return the methods in order of a quantity's mean over views, best first; columns are `ACROSS`.

    This is what a critical-difference diagram shows (Demšar, J. Mach. Learn. Res. 2006), with another
    test: Friedman's and Nemenyi's take the views for independent, and views of one test set share
    every patient and seed. Here each patient's and each seed's contribution is averaged over the views
    before it is squared, so the more the views agree, the less is gained by their number. Pairs are
    tested on the mean's difference with Holm's adjustment, by Student's t as in `harness.equity.many`.
    Raises HarnessError for views of other methods or patients, and for an unknown quantity.
    """
    known = quantities(True)
    if by not in known:
        raise HarnessError(f"Methods cannot be ranked by '{by}'.{did_you_mean(by, known)}")
    _check(views)
    parts = [_of_patients(view, known[by]) for view in views]
    mean, sources = _mean([linear for linear, _ in parts]), [errors for _, errors in parts]
    higher, common = by not in BOUNDED, np.min([source.common for source in sources], axis=0)
    values = mean.estimates if higher else -mean.estimates
    beats = many.beaten(values, many.adjusted(mean, common, least_seeds))
    order = np.argsort(-values, kind="stable")
    letters = grouped_by_letter(beats | beats.T, order)
    each = pd.DataFrame([linear.estimates for linear, _ in parts])
    ranks = each.rank(axis=1, ascending=not higher).mean()
    frame = pd.DataFrame(
        {
            "method": views[0].methods,
            "quantity": by,
            "views": len(views),
            "estimate": mean.estimates,
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
        if len(view.kept) < 2:
            raise HarnessError("A view has fewer than two groups with enough patients; leave it out.")


def _of_patients(view: Scores, quantity: Quantity) -> tuple[Linear, many.Errors]:
    """Return a view's quantity with a patient's contributions in all its groups summed."""
    source = many.errors(view)
    linear = source.linear(quantity)
    patient = view.units.patient
    by_patient = np.zeros((len(linear.by_patient), patient.max() + 1))
    np.add.at(by_patient.T, patient, linear.by_patient.T)
    return Linear(linear.estimates, by_patient, linear.by_seed, linear.freedom), source


def _mean(parts: Sequence[Linear]) -> Linear:
    seeds = max(part.by_seed.shape[1] for part in parts)
    by_seed = [np.pad(part.by_seed, ((0, 0), (0, seeds - part.by_seed.shape[1]))) for part in parts]
    return Linear(
        np.mean([part.estimates for part in parts], axis=0),
        np.mean([part.by_patient for part in parts], axis=0),
        np.mean(by_seed, axis=0),
        parts[0].freedom,
    )
