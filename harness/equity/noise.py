"""The noise floor: the gaps that chance alone makes in groups of these sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from harness.equity.contrasts import Layout, layout
from harness.equity.options import made
from harness.equity.quantities import Quantity, es_penalty, gap, sum_gap
from harness.equity.reference import ALPHA, Family, p_value, set_aside, threshold
from harness.equity.resampling import Draws
from harness.equity.scores import MIN_PATIENTS, Scores
from harness.equity.summary import TOO_FEW
from harness.multiplicity import holm

NOISE = (
    *("method", "quantity", "group", "patients"),
    *("observed", "floor", "floor_95", "p", "low_adjusted", "p_adjusted", "above", "detectable", "note"),
)
"""Columns of `noise_floor`: floor and floor_95 are the median and the 95th percentile under random
relabelling; p: share of relabellings with at least the observed value; on the rows of the gap of all groups,
low_adjusted: what the gap is at the least, p_adjusted: the larger of p by Holm's method and of the p-value
of that bound, both over all methods of the table, above: whether it is at most 0.05 ("above chance");
detectable: smallest true gap of one group from all others that this test set shows above floor_95 with
probability 0.8, for each group and (group "") for whichever group is hardest to see."""

POWER = 0.8
_CHUNK_CELLS = 4_000_000


def noise_floor(draws: Draws) -> pd.DataFrame:
    """Return the noise floor of each method's gap, sum_gap and es_penalty; columns are `NOISE`.

    Group labels are dealt anew to the patients of known group, in groups of the same sizes, as many times as
    there are resamples, the same deals for all methods. The models stay as trained: the p-value says whether
    they treat these groups differently, not whether another seed would.
    """
    made("draws", draws, Draws, "what `resample` returns")
    each, rows = range(len(draws.scores.methods)), list[dict[str, object]]()
    if draws.n_groups < 2:
        return pd.DataFrame([_too_few(draws, method) for method in each], columns=list(NOISE))
    dealt, quantities = relabelled(draws), _named(draws.scores)
    # Group by group in memory, as the quantities go through it.
    inputs = [(list(quantities), draws.weights, draws.means[m], dealt[:, m].copy(order="F")) for m in each]

    def numbers(methods: Sequence[int]) -> list[np.ndarray]:
        return [_numbers(quantities, *inputs[method][1:]) for method in methods]

    for method, own in enumerate(draws.keep(f"{__name__}.noise_floor", inputs, numbers)):
        rows += list(_rows(draws, method, list(quantities), own))
    whole = [row for row in rows if row["quantity"] == "gap" and row["group"] == ""]
    found = above_chance(draws.scores, np.array([row["p"] for row in whole], float))
    for name in found:
        for row, value in zip(whole, found[name].tolist(), strict=True):
            row[str(name)] = value
    return pd.DataFrame(rows, columns=list(NOISE))


def above_chance(scores: Scores, p: np.ndarray) -> pd.DataFrame:
    """Return low_adjusted, p_adjusted and above of each method's gap, given its p-value by relabelling.

    A gap is above chance where relabelling says so, Holm-adjusted over the methods, and where two groups'
    scores differ beyond what patients and seeds make: the largest over all pairs of groups and all methods,
    with the threshold of `harness.equity.reference`. Relabelling alone knows these trainings only.
    """
    apart, limit, chance = between_groups(scores)
    low, by_groups = np.maximum((np.abs(apart) - limit).max(axis=1), 0), chance.min(axis=1)
    adjusted = np.maximum(holm(p), by_groups)
    return pd.DataFrame({"low_adjusted": low, "p_adjusted": adjusted, "above": adjusted <= ALPHA})


def between_groups(scores: Scores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each method's differences between two groups, what they must pass, and their p-values.

    float [M, P] each, of all pairs of groups, the first minus the second; all of them are read as one.
    """
    one, other = np.triu_indices(len(scores.kept), 1)
    methods = len(scores.methods)
    apart, limit, chance = np.zeros((3, methods, len(one)))
    by_seed, aside = _largest_by_group(scores)
    for some in _by_own_seeds(scores):
        own = np.maximum(np.einsum("kmm->mk", some.products)[:, :-1], 0)
        patients = own[:, one] + own[:, other]
        squares = own**2 / np.maximum(some.units[:-1] - 1, 1)
        squares = squares[:, one] + squares[:, other]
        freedom = np.divide(patients**2, squares, out=np.full_like(patients, np.inf), where=squares > 0)
        # Of few patients the variance is often small by luck, and would leave the other group's freedom.
        least = np.minimum(some.units[one], some.units[other])
        freedom = np.where(least < MIN_PATIENTS, np.minimum(freedom, np.maximum(least - 1, 1)), freedom)
        seeds = some.by_seed.shape[1]
        family = Family(methods * len(one), methods * len(scores.kept), seeds, aside)
        by_seeds = np.broadcast_to(by_seed[some.methods, None] / seeds, patients.shape)
        apart[some.methods] = some.means[:, one] - some.means[:, other]
        limit[some.methods] = threshold(ALPHA, family, patients, freedom, by_seeds)
        size = np.abs(apart[some.methods])
        chance[some.methods] = p_value(size, family, patients, freedom, by_seeds)
    return apart, limit, chance


def _by_own_seeds(scores: Scores) -> list[Layout]:
    """Return a layout of the methods of each set of seeds."""
    seeds = [tuple(own) for own in scores.units.seeds]
    return [
        layout(scores, np.array([i for i, mine in enumerate(seeds) if mine == own]), list(own))
        for own in dict.fromkeys(seeds)
    ]


def _largest_by_group(scores: Scores) -> tuple[np.ndarray, int]:
    """Return the largest variance between seeds of two groups' difference, for each method: float [M].

    And how many methods were set aside. As `reference.largest` and `contrasts.share_largest` do for
    differences of methods: of all methods that have as many seeds or more.
    """
    own, seeds = np.zeros(len(scores.methods)), np.ones(len(scores.methods), int)
    for some in _by_own_seeds(scores):
        groups = some.by_seed[..., :-1]
        seeds[some.methods] = groups.shape[1]
        if groups.shape[1] > 1:
            centred = groups - groups.mean(axis=2, keepdims=True)
            count = groups.shape[2]
            own[some.methods] = centred.var(axis=1, ddof=1).max(axis=1) * (count / (count - 1)) ** 2
    aside = np.zeros(len(own), bool)
    aside[seeds > 1] = set_aside(own[seeds > 1])
    most = np.array([own[~aside & (seeds >= n)].max(initial=0.0) if n > 1 else 0.0 for n in seeds])
    return np.where(aside, np.maximum(own, most), most), int(aside.sum())


def relabelled(draws: Draws) -> np.ndarray:
    """Return the groups' means under random relabelling: float [R, M, G]."""
    units = draws.scores.units
    known = units.stratum < draws.n_groups
    labels, samples = units.stratum[known].astype(np.uint8), units.samples[known]
    average = np.stack([sums.mean(axis=0)[known] for sums in units.sums], axis=1)
    middle = average.sum(axis=0) / samples.sum()
    columns = np.column_stack([average - middle * samples[:, None], samples]).astype(np.float32)
    rng = draws.random(3)
    blocks = []
    for start in range(0, draws.resamples, step := max(1, _CHUNK_CELLS // len(labels))):
        rows = min(step, draws.resamples - start)
        dealt = rng.permuted(np.broadcast_to(labels, (rows, len(labels))), axis=1)
        sums = np.stack([(dealt == g).astype(np.float32) @ columns for g in range(draws.n_groups)], axis=-1)
        blocks.append(sums[:, :-1] / sums[:, -1:])
    return np.asarray(np.concatenate(blocks).astype(float) + middle[:, None])


def share_above(null: np.ndarray, observed: float) -> float:
    """Return the share of the null draws, the observed one among them, at least as large as observed."""
    return float((1 + (null >= observed - 1e-12).sum()) / (1 + len(null)))


def detectable(dealt: np.ndarray) -> np.ndarray:
    """Return each group's shift that puts the gap above its floor_95 with probability `POWER`: float [G].

    dealt: float [R, G], groups' means under relabelling, in which there is no true gap.
    """
    mine = np.ascontiguousarray(dealt.T)
    limit = np.quantile(mine.max(axis=0) - mine.min(axis=0), 0.95)
    others = [np.delete(mine, group, axis=0) for group in range(len(mine))]
    highest, lowest = (np.stack([extreme(own, axis=0) for own in others]) for extreme in (np.max, np.min))
    low, high = (
        np.zeros(len(mine)),
        np.array([2 * limit + 8 * dealt[:, group].std() for group in range(len(mine))]),
    )
    for _ in range(20):
        middle = (low + high) / 2
        moved = mine - middle[:, None]
        beyond = np.maximum(highest, moved) - np.minimum(lowest, moved) > limit
        enough = np.count_nonzero(beyond, axis=1) / mine.shape[1] >= POWER
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


def _named(scores: Scores) -> dict[str, Quantity]:
    """Return the quantities that have a noise floor, the gap first."""
    return {"gap": gap} | ({"sum_gap": sum_gap, "es_penalty": es_penalty} if scores.higher_is_better else {})


def _numbers(
    quantities: Mapping[str, Quantity], weights: np.ndarray, means: np.ndarray, dealt: np.ndarray
) -> np.ndarray:
    """Return observed, floor, floor_95 and p of each quantity, and then each group's detectable gap."""
    overall, found = means @ weights, list[float]()
    for quantity in quantities.values():
        floor = quantity(np.full(len(dealt), overall), dealt)
        observed = float(quantity(overall, means[:-1]))
        middle, most = float(np.median(floor)), float(np.quantile(floor, 0.95))
        found += [observed, middle, most, share_above(floor, observed)]
    return np.concatenate([found, detectable(dealt)])


def _rows(draws: Draws, method: int, named: Sequence[str], found: np.ndarray) -> Iterator[dict[str, object]]:
    scores, numbers = draws.scores, found.tolist()
    by_group = dict(zip(scores.kept, numbers[4 * len(named) :], strict=True))
    for i, name in enumerate(named):
        observed = dict(zip(("observed", "floor", "floor_95", "p"), numbers[4 * i : 4 * i + 4], strict=True))
        most = max(by_group.values()) if name == "gap" else math.nan
        yield _row(draws, method, name) | observed | {"detectable": most}
    for group in scores.order:
        few = {} if group in by_group else {"note": TOO_FEW}
        yield _row(draws, method, "gap", group) | {"detectable": by_group.get(group, math.nan)} | few


def _too_few(draws: Draws, method: int) -> dict[str, object]:
    return _row(draws, method, "gap") | {"note": TOO_FEW}


def _row(draws: Draws, method: int, quantity: str, group: str = "") -> dict[str, object]:
    scores = draws.scores
    left_out = f"without {', '.join(scores.left_out)} (too few patients)" if scores.left_out else ""
    return {
        "method": scores.methods[method],
        "quantity": quantity,
        "group": group,
        "patients": scores.counts[group][1],
        "observed": math.nan,
        "floor": math.nan,
        "floor_95": math.nan,
        "p": math.nan,
        "low_adjusted": math.nan,
        "p_adjusted": math.nan,
        "above": None,
        "detectable": math.nan,
        "note": "" if group else left_out,
    }
