"""The order of the methods, as far as the data can tell it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from string import ascii_letters

import numpy as np
import pandas as pd

from harness.equity.contrasts import Contrasts
from harness.equity.options import made, text
from harness.equity.pairs import between
from harness.equity.quantities import BOUNDED, Quantity, quantities
from harness.equity.reference import ALPHA, MARGIN, checked, least_common
from harness.equity.resampling import Draws
from harness.errors import HarnessError, did_you_mean

RANKING = ("method", "quantity", "estimate", "rank", "rank_low", "rank_high", "p_best", "letters", "note")
"""Columns of `rank`: rank 1 is best; rank_low, rank_high: the ranks that cannot be excluded; p_best: share of
resamples in which the method is first; letters: methods that share one cannot be told apart."""

PAIRS = (
    *("one", "other", "quantity", "difference", "low", "high", "p"),
    *("low_adjusted", "high_adjusted", "p_adjusted", "better", "verdict"),
)
"""Columns of `pairwise`: difference is one minus other; low, high, p: 95% interval and p-value of this pair
read by itself; low_adjusted, high_adjusted, p_adjusted: the same adjusted over all pairs of the table;
better: the method that is better where p_adjusted is at most 0.05, else ""; verdict: `one` is "better" or
"worse", the two are "equivalent" (the adjusted 90% interval lies within the margin), or "cannot tell"."""


def pairwise(draws: Draws, by: str = "es_sum", least_seeds: int = 1, margin: float = MARGIN) -> pd.DataFrame:
    """Return the tests of every pair of methods with at least `least_seeds` in common; columns are `PAIRS`.

    Test and interval are one and adjusted over all pairs (`harness.equity.reference`). Two methods are
    equivalent by two one-sided tests at 5% (Schuirmann, J. Pharmacokinet. Biopharm. 1987), adjusted alike.
    Raises HarnessError for an unknown quantity, a margin below 0 and what is no number of seeds.
    """
    made("draws", draws, Draws, "what `resample` returns")
    quantity, margin, least_seeds = _quantity(draws, by), checked(margin), least_common(least_seeds)
    if draws.n_groups < 2 and by != "overall":
        return pd.DataFrame(columns=list(PAIRS))
    found = between(draws, by, quantity)
    return of_pairs(found, draws.scores.methods, by, _higher(draws, by), least_seeds, margin)


def of_pairs(
    found: Contrasts, methods: Sequence[str], by: str, higher: bool, least_seeds: int, margin: float
) -> pd.DataFrame:
    """Return the contrasts of all pairs with enough seeds in common as `PAIRS`."""
    one, other = np.triu_indices(len(methods), 1)
    enough = found.common[one, other] >= max(least_seeds, 1)
    one, other = one[enough], other[enough]
    if not len(one):
        return pd.DataFrame(columns=list(PAIRS))
    alone, all_pairs = found.alone, found.together(len(one))
    columns = {"difference": found.difference[one, other]}
    for tests, ending in ((alone, ""), (all_pairs, "_adjusted")):
        ends = tests.interval()
        for name, values in (("low", ends[0]), ("high", ends[1]), ("p", tests.p)):
            columns[name + ending] = values[one, other]
    same = all_pairs.within(margin)[one, other]
    names = np.array(methods, dtype=object)
    frame = pd.DataFrame({"one": names[one], "other": names[other], "quantity": by} | columns)
    sure = frame["p_adjusted"] <= ALPHA
    first = (frame["low_adjusted"] > 0) == higher
    frame["better"] = np.where(sure, np.where(first, frame["one"], frame["other"]), "")
    unsure = np.where(same, "equivalent", "cannot tell")
    frame["verdict"] = np.where(sure, np.where(first, "better", "worse"), unsure)
    return frame[list(PAIRS)]


def rank(draws: Draws, by: str = "es_sum", tested: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the methods in order of a quantity, best first; columns are `RANKING`.

    `tested` is `pairwise` of the same draws and quantity, computed where it is not given. A method's best
    possible rank is 1 plus the number of methods that beat it, its worst the number of methods less
    those that it beats (Mogstad et al., Rev. Econ. Stud. 2024): resampling the ranks themselves gives
    ranges that are too short where methods tie. Raises HarnessError for an unknown quantity.
    """
    made("draws", draws, Draws, "what `resample` returns")
    if tested is not None:
        made("tested", tested, pd.DataFrame, "what `pairwise` returns of the same draws")
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
            "p_best": float(first[i]),
            "letters": letters[i],
            "note": "",
        }
        for place, i in enumerate(order, start=1)
    ]
    return pd.DataFrame(rows, columns=list(RANKING))


def _quantity(draws: Draws, by: str) -> Quantity:
    known: dict[str, Quantity] = {"overall": lambda overall, groups: overall}
    known |= quantities(draws.scores.higher_is_better)
    if text("by", by, "a quantity") not in known:
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
    """Return the share of resamples in which each method is best, float [M]; those that tie share theirs."""
    values = draws.values(quantity)
    best = values.max(axis=1, keepdims=True) if higher else values.min(axis=1, keepdims=True)
    won = np.abs(values - best) <= 1e-12
    return np.asarray((won / won.sum(axis=1, keepdims=True)).mean(axis=0))


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
