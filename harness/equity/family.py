"""One family over all tables of a board: what is told apart where the reader looks at every one of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.equity.many import MANY, beaten
from harness.equity.ranking import grouped_by_letter

FAMILY = (
    *("method", "quantity", "views"),
    *("rank_low_views", "rank_high_views", "letters_views", "p_views", "p_above_views"),
)
"""Columns of `over_views`, a row a method for es_sum and one for gap: rank_low_views, rank_high_views,
letters_views: as in `rank`, where all pairs of all tables are one family; p_views: `compare`'s p_adjusted in
this quantity, and p_above_views `noise_floor`'s of the gap, each over all tables."""


def over_views(
    ranking: pd.DataFrame, p: np.ndarray, noise: pd.DataFrame, comparison: pd.DataFrame, views: int
) -> pd.DataFrame:
    """Return what of a table's claims stands where `views` tables are read as one; columns are `FAMILY`.

    ranking: `rank`'s; p: float [M, M], all pairs' p-values adjusted within the table, in the ranking's order,
    NaN for a pair that is not tested. Bonferroni over the tables: they share patients and seeds, and nothing
    is said of how much.
    """
    values = ranking["estimate"].to_numpy(float)
    beats = beaten(values, p * views)
    told = pd.DataFrame({"method": ranking["method"], "views": views, "quantity": "es_sum"})
    told["rank_low_views"] = 1 + beats.sum(axis=0)
    told["rank_high_views"] = len(values) - beats.sum(axis=1)
    told["letters_views"] = (
        np.where(beats[0], "", "a")
        if len(values) > MANY
        else grouped_by_letter(beats | beats.T, np.arange(len(values)))
    )
    frame = pd.concat([told, told[["method", "views"]].assign(quantity="gap")], ignore_index=True)
    of_gap = {key: p for key, p in _adjusted(noise).items() if key[1] == "gap"}
    for name, known in (("p_views", _adjusted(comparison)), ("p_above_views", of_gap)):
        keys = zip(frame["method"], frame["quantity"], strict=True)
        found = np.array([known.get(key, np.nan) for key in keys], float)
        frame[name] = np.minimum(found * views, 1)
    return frame[list(FAMILY)]


def _adjusted(source: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return the p-value of each method and quantity of all groups."""
    columns = (source[name].tolist() for name in ("method", "quantity", "group", "p_adjusted"))
    rows = zip(*columns, strict=True)
    return {(method, quantity): p for method, quantity, group, p in rows if group == ""}


def of_pairs(tested: pd.DataFrame, methods: list[str]) -> np.ndarray:
    """Return the adjusted p-values of `pairwise` as float [M, M], NaN where a pair was not tested."""
    place = {method: i for i, method in enumerate(methods)}
    p = np.full((len(place), len(place)), np.nan)
    one, other = (tested[side].map(place).to_numpy(int) for side in ("one", "other"))
    p[one, other] = p[other, one] = tested["p_adjusted"].to_numpy(float)
    return p
