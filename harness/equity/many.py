"""The tables of this package for boards of very many methods: normal errors instead of resampled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

from harness.equity.comparison import COMPARISON, RANKED, against, place_of, sides
from harness.equity.contrasts import Contrasts, slopes_of, unknown
from harness.equity.intervals import at_most, extreme_levels, invert
from harness.equity.noise import NOISE, above_chance, relabelled, share_above
from harness.equity.pairs import between
from harness.equity.quantities import BOUNDED, SCALED, Quantity, gap, quantities
from harness.equity.ranking import RANKING
from harness.equity.reference import ALPHA, MARGIN, checked, least_common
from harness.equity.resampling import Draws
from harness.equity.scores import Scores
from harness.equity.summary import CAUTION, SUMMARY, TOO_FEW

MANY = 20
"""Boards of more methods than this take these tables: pairwise tests by permutation grow with the square of
the methods, and need 20 resamples a pair to reach p = 0.05 after Holm's adjustment."""

DRAWN = 100
"""Boards of more methods have pairwise tests that are linear in the groups' means, which see less of a
difference."""

RESAMPLES = 500
STEPS = np.linspace(-4.5, 4.5, 10)
"""Where a quantity is inverted, in standard errors: fewer than `harness.equity.intervals` takes."""
AT_ONCE = 16
"""Methods whose draws are inverted together: they stay in a core's cache."""
APPROXIMATE = "normal approximation"


@dataclass(frozen=True)
class Linear:
    """A quantity of every method and what each patient and each seed contributes to its error.

    estimates: float [M]; by_patient: float [M, U]; by_seed: float [M, S], 0 for a seed that a method
    does not have. The variance is the sum of squares of both; freedom: float [M].
    """

    estimates: np.ndarray
    by_patient: np.ndarray
    by_seed: np.ndarray
    freedom: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Standard errors, float [M]."""
        return np.asarray(np.sqrt((self.by_patient**2).sum(axis=1) + (self.by_seed**2).sum(axis=1)))

    @property
    def half(self) -> np.ndarray:
        """Half the width of the 95% interval, float [M]."""
        return np.asarray(stdtrit(self.freedom, 0.975) * self.error)


@dataclass(frozen=True)
class Errors:
    """What a unit of deviation in each stratum's mean comes from.

    by_patient: float [M, U], each unit's share of the deviation of its stratum's mean; by_seed: float
    [M, S, K], each seed's; there: bool [M, S], which a method has. `draws` holds the means and no resamples.
    """

    draws: Draws
    by_patient: np.ndarray
    by_seed: np.ndarray
    there: np.ndarray

    @property
    def seeds(self) -> np.ndarray:
        """How many seeds each method has, int [M]."""
        return np.asarray(self.there.sum(axis=1))

    @cached_property
    def around(self) -> np.ndarray:
        """Deviations of every method's strata means, float32 [K, M, R], normal.

        Laid out stratum by stratum: quantities are taken over the few strata, for very many draws.
        """
        rng, scores = self.draws.random(7), self.draws.scores
        member = np.eye(len(self.draws.weights))[scores.units.stratum]
        spread = np.sqrt(member.T @ (self.by_patient**2).T).astype(np.float32)
        patients = rng.standard_normal((len(spread), 1, RESAMPLES), np.float32) * spread[..., None]
        seeds = rng.standard_normal((self.there.shape[1], RESAMPLES), np.float32)
        return np.asarray(patients + np.moveaxis(self.by_seed, -1, 0).astype(np.float32) @ seeds)

    def linear(self, quantity: Quantity) -> Linear:
        """Return the quantity of every method, linear in the strata's means about the estimate."""
        means, weights = self.draws.means, self.draws.weights
        slopes = slopes_of(quantity, weights, means)
        by_patient = slopes[:, self.draws.scores.units.stratum] * self.by_patient
        by_seed = np.einsum("mk,msk->ms", slopes, self.by_seed)
        freedom = freedom_of(by_patient, by_seed, self.seeds)
        return Linear(quantity(means @ weights, means[:, :-1]), by_patient, by_seed, freedom)


def errors(scores: Scores) -> Errors:
    """Take the variance of every method's strata means apart, for all methods at once.

    Patients, seeds and single (seed, sample) pairs are told apart as `harness.equity.resampling` does.
    """
    units = scores.units
    samples, stratum = units.samples, units.stratum
    sums, there = _stacked(scores)
    counts = there.sum(axis=1)
    member = np.eye(len(scores.kept) + 1)[stratum]
    n, held = member.sum(axis=0), samples @ member
    size = np.maximum(held, 1)
    average = sums.sum(axis=1) / counts[:, None]
    means, by_seed = average @ member / size, sums @ member / size
    residuals = average - means[:, stratum] * samples
    single = (sums - by_seed[..., stratum] * samples - residuals[:, None]) * there[..., None]
    of_single = (single**2).sum(axis=1) / np.maximum(counts * (counts - 1), 1)[:, None]
    total, noise = residuals**2 @ member, of_single @ member
    share = np.sqrt(np.divide(np.maximum(total - noise, 0), total, out=np.ones_like(total), where=total > 0))
    scale = share * np.sqrt(n / np.maximum(n - 1, 1)) / size
    by_patient = residuals * scale[:, stratum]
    for k in np.flatnonzero(n == 1):
        # A stratum of one patient shows no spread: he is taken to differ as the others do.
        others = residuals[:, stratum != k] / samples[stratum != k]
        if others.size:
            by_patient[:, stratum == k] = others.std(axis=1, keepdims=True)
    centred = (by_seed - means[:, None]) * there[..., None]
    none = np.zeros((0, *means.shape))
    draws = Draws(
        scores,
        RESAMPLES,
        0,
        means,
        held / held.sum(),
        n.astype(int),
        none,
        none,
        np.zeros((0, there.shape[1])),
    )
    return Errors(
        draws,
        by_patient,
        centred / np.sqrt(np.maximum(counts * (counts - 1), 1))[:, None, None],
        there,
    )


def _stacked(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Return the units' sums, float [M, S, U], 0 for a seed that is not there, and which are: bool [M, S]."""
    units = scores.units
    n_seeds = max(int(seeds.max()) for seeds in units.seeds) + 1
    sums = np.zeros((len(units.sums), n_seeds, len(units.stratum)))
    there = np.zeros(sums.shape[:2], bool)
    for method, (rows, seeds) in enumerate(zip(units.sums, units.seeds, strict=True)):
        sums[method, seeds], there[method, seeds] = rows, True
    return sums, there


def summarise(source: Errors) -> pd.DataFrame:
    """Return the columns of `harness.equity.summarise`; the note says that intervals are approximate."""
    scores = source.draws.scores
    parts = [_summary(source, "overall", "", _overall)]
    for group in scores.order:
        if group in scores.kept:
            parts.append(_summary(source, "group", group, _group(scores.kept.index(group))))
        else:
            parts.append(_too_few(source, "group", group))
    for name, quantity in quantities(scores.higher_is_better).items():
        few = source.draws.n_groups < 2
        parts.append(_too_few(source, name) if few else _summary(source, name, "", quantity))
    # A frame is made once: one a quantity takes longer than all that is computed.
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]).tolist() for name in SUMMARY})


def noise_floor(source: Errors) -> pd.DataFrame:
    """Return the columns of `harness.equity.noise_floor` for the gap; `detectable` stays unknown."""
    draws = source.draws
    columns = dict.fromkeys(NOISE, np.nan) | _labels(source, "gap", "")
    frame = pd.DataFrame(columns | {"above": None, "note": "too few"})
    if draws.n_groups > 1:
        null = gap(np.array(0.0), relabelled(draws))
        observed = gap(np.array(0.0), draws.means[:, :-1])
        frame["observed"], frame["note"] = observed, ""
        frame["floor"], frame["floor_95"] = np.quantile(null, [0.5, 0.95], axis=0)
        frame["p"] = [share_above(column, float(seen)) for column, seen in zip(null.T, observed, strict=True)]
        found = above_chance(draws.scores, frame["p"].to_numpy(float))
        frame[list(found.columns)] = found
    return frame[list(NOISE)]


def pairwise(source: Errors, by: str = "es_sum", least_seeds: int = 1) -> np.ndarray:
    """Return the p-values of all pairs of methods, adjusted over all of them: float [M, M], symmetric.

    NaN where a pair has fewer than `least_seeds` seeds and everywhere if there are fewer than two groups.
    """
    least_seeds = least_common(least_seeds)
    if source.draws.n_groups < 2:
        return np.full((len(source.seeds),) * 2, np.nan)
    quantity = quantities(True)[by]
    drawn = len(source.seeds) <= DRAWN
    return adjusted(between(source.draws, by, quantity, drawn=drawn), least_seeds)


def rank(source: Errors, by: str = "es_sum", tested: np.ndarray | None = None) -> pd.DataFrame:
    """Return the columns of `harness.equity.rank`; the letter "a" marks all not told apart from the first."""
    methods = source.draws.scores.methods
    if source.draws.n_groups < 2:
        rows = [dict.fromkeys(RANKING) | {"method": m, "quantity": by, "note": "too few"} for m in methods]
        return pd.DataFrame(rows, columns=list(RANKING))
    linear = source.linear(quantities(True)[by])
    order = np.argsort(-linear.estimates, kind="stable")
    beats = beaten(linear.estimates, pairwise(source, by) if tested is None else tested)
    frame = pd.DataFrame({"method": methods, "quantity": by, "estimate": linear.estimates})
    frame["rank_low"] = 1 + beats.sum(axis=0)
    frame["rank_high"] = len(methods) - beats.sum(axis=1)
    frame["p_best"] = _first(source, linear)
    frame["letters"] = np.where(beats[order[0]], "", "a")
    frame["note"] = APPROXIMATE
    return frame.iloc[order].assign(rank=np.arange(1, len(methods) + 1))[list(RANKING)]


def compare(source: Errors, baseline: str, least_seeds: int = 1, margin: float = MARGIN) -> pd.DataFrame:
    """Return the columns of `harness.equity.compare` for es_sum and gap, without verdicts on the gap."""
    scores, parts = source.draws.scores, []
    base, least_seeds, margin = place_of(baseline, scores.methods), least_common(least_seeds), checked(margin)
    few = source.draws.n_groups < 2
    for name in ("es_sum", "gap"):
        quantity = quantities(True)[name]
        one = unknown(len(scores.methods)) if few else between(source.draws, name, quantity, base)
        frame = against(one, scores.methods, base, least_seeds, margin if name == RANKED else None)
        frame = frame.assign(quantity=name, group="", note=APPROXIMATE)
        why = TOO_FEW if few else f"fewer than {least_seeds} seeds: nothing is told apart"
        frame.loc[frame["p"].isna(), "note"] = why
        parts.append(frame)
    frame = pd.concat(parts, ignore_index=True)
    frame["better"] = sides(frame, higher_is_better=True)
    return frame[list(COMPARISON)]


def freedom_of(by_patient: np.ndarray, by_seed: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Return the degrees of freedom of every method's error: contributions float [M, P], [M, S] -> [M]."""
    squares = (by_patient**2).sum(axis=1), (by_seed**2).sum(axis=1)
    return _freedom(*squares, by_patient.shape[1], seeds)


def _freedom(
    patients: np.ndarray, seeds: np.ndarray, n_patients: int, n_seeds: np.ndarray | int
) -> np.ndarray:
    """Return Satterthwaite's degrees of freedom of two variances' sum, cautious as in `harness.equity`."""
    seeds = CAUTION * seeds
    squares = patients**2 / max(n_patients - 1, 1) + seeds**2 / np.maximum(np.asarray(n_seeds) - 1, 1)
    ratio = np.divide((patients + seeds) ** 2, squares, out=np.full_like(squares, np.inf), where=squares > 0)
    return np.asarray(ratio)


def adjusted(found: Contrasts, least_seeds: int = 1) -> np.ndarray:
    """Return p-values adjusted over all pairs of methods: float [M, M], symmetric.

    A pair with fewer than `least_seeds` seeds in common is not tested: NaN.
    """
    enough = (found.common >= max(least_seeds, 1)) & ~np.eye(len(found.common), dtype=bool)
    return np.where(enough, found.together(int(enough.sum()) // 2).p, np.nan)


def beaten(values: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return bool [M, M]: row method is higher than column method, with an adjusted p of at most 0.05."""
    return np.asarray((p <= ALPHA) & (values[:, None] > values))


def _first(source: Errors, linear: Linear) -> np.ndarray:
    rng = source.draws.random(6)
    shape = (2 * RESAMPLES, linear.by_patient.shape[1] + linear.by_seed.shape[1])
    parts = np.concatenate([linear.by_patient, linear.by_seed], axis=1)
    drawn = linear.estimates + rng.standard_normal(shape) @ parts.T
    won = drawn >= drawn.max(axis=1, keepdims=True) - 1e-12
    return np.asarray((won / won.sum(axis=1, keepdims=True)).mean(axis=0))


def _labels(source: Errors, quantity: str, group: str) -> dict[str, Sequence[Any]]:
    """Return what a table says of whom, a row a method."""
    samples, patients = source.draws.scores.counts[group]
    methods = source.draws.scores.methods
    same = {"quantity": quantity, "group": group, "patients": patients, "samples": samples}
    return {"method": methods} | {name: [value] * len(methods) for name, value in same.items()}


def _overall(overall: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return overall


def _group(k: int) -> Quantity:
    def score(overall: np.ndarray, groups: np.ndarray) -> np.ndarray:
        return np.asarray(groups[..., k])

    return score


def _summary(source: Errors, name: str, group: str, quantity: Quantity) -> dict[str, Sequence[Any]]:
    linear = source.linear(quantity)
    corrected = np.full(len(source.seeds), np.nan)
    low, high = linear.estimates - linear.half, linear.estimates + linear.half
    if name in ("worst_group", "best_group"):
        low, high = _extreme(source, (name == "worst_group") == source.draws.scores.higher_is_better)
        corrected = np.clip(_unbiased(source, linear, quantity), low, high)
    elif name not in ("overall", "group"):
        low, high, corrected = _inverted(source, linear, quantity, name in BOUNDED)
    if name in SCALED:
        overall = source.linear(_overall)
        ends = overall.estimates - overall.half, overall.estimates + overall.half
        low, high, corrected = at_most(low, high, corrected, ends)
    if name not in BOUNDED and source.draws.scores.higher_is_better:
        low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    numbers = {"estimate": linear.estimates, "low": low, "high": high, "corrected": corrected}
    return _labels(source, name, group) | numbers | {"note": [APPROXIMATE] * len(linear.estimates)}


def _inverted(
    source: Errors, linear: Linear, quantity: Quantity, bounded: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Invert normal draws as `harness.equity.intervals` does resamples, some methods at a time."""
    weights = source.draws.weights.astype(np.float32)
    wide = (stdtrit(linear.freedom, 0.975) / ndtri(0.975)).astype(np.float32)
    found = []
    for first in range(0, len(linear.estimates), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        means, around = source.draws.means[some], source.around[:, some] * wide[some, None]
        overall, deviations = means @ source.draws.weights, np.tensordot(weights, around, 1)
        by_pattern = np.moveaxis(around[:-1] - deviations, 0, 1)
        pattern = means[:, :-1] - overall[:, None]
        found.append(invert(quantity, overall, pattern, deviations, by_pattern, bounded, STEPS))
    low, high, corrected = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return low, high, corrected


def _extreme(source: Errors, lowest: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the lowest (or highest) group's interval, as `harness.equity.intervals` does."""
    groups = [source.linear(_group(k)) for k in range(source.draws.n_groups)]
    sign = 1 if lowest else -1
    near, far = extreme_levels(len(groups))
    below, above = (
        sign * np.min([sign * g.estimates + side * stdtrit(g.freedom, 1 - q) * g.error for g in groups], 0)
        for side, q in ((-1, far), (1, near))
    )
    return np.minimum(below, above), np.maximum(below, above)


def _unbiased(source: Errors, linear: Linear, quantity: Quantity) -> np.ndarray:
    """Return the estimates less the bias that noise gives their median: float [M]."""
    drawn = source.draws.means.T[..., None].astype(np.float32) + source.around
    overall = np.tensordot(source.draws.weights.astype(np.float32), drawn, 1)
    middle = np.median(quantity(overall, np.moveaxis(drawn[:-1], 0, -1)), axis=1)
    return np.asarray(2 * linear.estimates - middle)


def _too_few(source: Errors, name: str, group: str = "") -> dict[str, Sequence[Any]]:
    methods = len(source.seeds)
    missing = dict.fromkeys(("estimate", "low", "high", "corrected"), [np.nan] * methods)
    return _labels(source, name, group) | missing | {"note": ["too few"] * methods}
