"""The order of the methods, as far as the data can tell it."""

from __future__ import annotations

from itertools import combinations
from string import ascii_letters

import numpy as np
import pandas as pd

from harness.equity.comparison import ALPHA
from harness.equity.pairs import difference, pairs
from harness.equity.quantities import BOUNDED, Quantity, quantities
from harness.equity.resampling import Draws
from harness.equity.summary import singles
from harness.errors import HarnessError, did_you_mean
from harness.multiplicity import holm

RANKING = ("method", "quantity", "estimate", "rank", "rank_low", "rank_high", "p_best", "letters", "note")
"""Columns of `rank`: rank 1 is best; rank_low, rank_high: the ranks that cannot be excluded; p_best: share of
resamples in which the method is first; letters: methods that share one cannot be told apart."""


PAIRS = ("one", "other", "quantity", "difference", "low", "high", "p", "p_holm", "better")
"""Columns of `pairwise`: difference is one minus other with its 95% interval, not adjusted; p_holm: adjusted
over all pairs of the table; better: the method that is better where p_holm is at most 0.05, else ""."""


def pairwise(draws: Draws, by: str = "es_sum", least_seeds: int = 1) -> pd.DataFrame:
    """Return the tests of every pair of methods with at least `least_seeds` in common; columns are `PAIRS`.

    Each is tested as in `compare`, with Holm's adjustment over all pairs. A p-value cannot be below
    1 / (resamples + 1), so take at least 20 resamples a pair. Raises HarnessError for an unknown quantity.
    """
    scores = draws.scores
    quantity, seeds = _quantity(draws, by), scores.units.seeds
    least, methods = max(least_seeds, 1), range(len(seeds))
    which = [(i, j) for i, j in combinations(methods, 2) if np.isin(seeds[i], seeds[j]).sum() >= least]
    if not which or (draws.n_groups < 2 and by != "overall"):
        return pd.DataFrame(columns=list(PAIRS))
    found = [
        difference(draws, pair, quantity, singles(draws, i, j, by))
        for (i, j), pair in zip(which, pairs(draws, which), strict=True)
    ]
    adjusted = holm(np.array([each.p for each in found]))
    rows = []
    for (i, j), each, p in zip(which, found, adjusted, strict=True):
        first = (each.estimate > 0) == _higher(draws, by)
        better = scores.methods[i if first else j] if p <= ALPHA else ""
        names = (scores.methods[i], scores.methods[j], by)
        rows.append((*names, each.estimate, each.low, each.high, each.p, p, better))
    return pd.DataFrame(rows, columns=list(PAIRS))


def rank(draws: Draws, by: str = "es_sum", tested: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the methods in order of a quantity, best first; columns are `RANKING`.

    `tested` is `pairwise` of the same draws and quantity, computed where it is not given. A method's best
    possible rank is 1 plus the number of methods that beat it, its worst the number of methods less
    those that it beats (Mogstad et al., Rev. Econ. Stud. 2024): resampling the ranks themselves gives
    ranges that are too short where methods tie. Raises HarnessError for an unknown quantity.
    """
    scores = draws.scores
    quantity, higher = _quantity(draws, by), _higher(draws, by)
    tested = pairwise(draws, by) if tested is None else tested
    if draws.n_groups < 2 and by != "overall":
        rows = [
            dict.fromkeys(RANKING) | {"method": m, "quantity": by, "note": "too few"} for m in scores.methods
        ]
        return pd.DataFrame(rows, columns=list(RANKING))
    estimates = quantity(draws.means @ draws.weights, draws.means[:, :-1])
    beats = _beats(draws, tested)
    order = np.argsort(-estimates if higher else estimates, kind="stable")
    letters = grouped_by_letter(beats | beats.T, order)
    first = _first(draws, quantity, higher)
    rows = [
        {
            "method": scores.methods[i],
            "quantity": by,
            "estimate": float(estimates[i]),
            "rank": place,
            "rank_low": 1 + int(beats[:, i].sum()),
            "rank_high": len(order) - int(beats[i].sum()),
            "p_best": float((first == i).mean()),
            "letters": letters[i],
            "note": "",
        }
        for place, i in enumerate(order, start=1)
    ]
    return pd.DataFrame(rows, columns=list(RANKING))


def _quantity(draws: Draws, by: str) -> Quantity:
    known: dict[str, Quantity] = {"overall": lambda overall, groups: overall}
    known |= quantities(draws.scores.higher_is_better)
    if by not in known:
        raise HarnessError(f"Methods cannot be ranked by '{by}'.{did_you_mean(by, known)}")
    return known[by]


def _higher(draws: Draws, by: str) -> bool:
    return draws.scores.higher_is_better and by not in BOUNDED


def _beats(draws: Draws, tested: pd.DataFrame) -> np.ndarray:
    """Return bool [M, M]: row method is better than column method, beyond chance."""
    place = {method: i for i, method in enumerate(draws.scores.methods)}
    beats = np.zeros((len(place), len(place)), bool)
    for one, other, better in zip(tested["one"], tested["other"], tested["better"], strict=True):
        if better:
            beats[place[better], place[other if better == one else one]] = True
    return beats


def _first(draws: Draws, quantity: Quantity, higher: bool) -> np.ndarray:
    """Return the position of the best method in each resample: int [R]."""
    means = np.stack(
        [draws.means[m] + draws.plain[:, m] + draws.by_seeds(m) for m in range(len(draws.means))], axis=1
    )
    values = quantity(means @ draws.weights, means[..., :-1])
    return np.asarray(values.argmax(axis=1) if higher else values.argmin(axis=1))


def grouped_by_letter(apart: np.ndarray, order: np.ndarray) -> list[str]:
    """Return each method's letters: one for every largest set of methods of which no two differ.

    Piepho's insert and absorb (J. Comput. Graph. Stat. 2004); `apart`: bool [M, M], symmetric.
    """
    sets = [frozenset(range(len(apart)))]
    for i, j in combinations(range(len(apart)), 2):
        if apart[i, j]:
            split = [part for s in sets for part in ((s - {i}, s - {j}) if {i, j} <= s else (s,))]
            sets = [
                s
                for n, s in enumerate(split)
                if not any(s < t or (s == t and m < n) for m, t in enumerate(split))
            ]
    place = {int(method): rank for rank, method in enumerate(order)}
    sets.sort(key=lambda s: sorted(place[method] for method in s))
    return ["".join(_letter(n) for n, s in enumerate(sets) if method in s) for method in range(len(apart))]


def _letter(n: int) -> str:
    return ascii_letters[n] if n < len(ascii_letters) else chr(ord("α") + n - len(ascii_letters))
