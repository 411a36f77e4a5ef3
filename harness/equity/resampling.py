"""One set of resamples of patients and seeds, shared by all methods and quantities.

A method's score is its mean over seeds. Two things make it uncertain: which patients are in the test set
and which seeds were trained. The patients of each group are drawn with replacement, each with all of its
samples. The seeds are few (3 to 5), so drawing them with replacement would understate their variance by
(S - 1) / S: their deviations are weighted with normal random numbers instead, which gives the unbiased
variance, and `tails` widens the draws for the few degrees of freedom it was estimated from. The noise of
single (seed, sample) pairs is in the spread of patients and in that of seeds; it is counted once, with
the seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from harness.equity.contrasts import Layout, layouts
from harness.equity.intervals import Interval
from harness.equity.keep import Keep, anew
from harness.equity.options import MOST, is_whole, made
from harness.equity.quantities import Quantity
from harness.equity.scores import Scores
from harness.errors import HarnessError, shown

RESAMPLES = 10_000
LEAST_RESAMPLES = 40
"""With fewer, the 2.5% in either tail would be one draw."""
_CHUNK_CELLS = 4_000_000
_CELLS_AT_ONCE = 10_000
_MOST_STRETCH = 4.0


@dataclass(frozen=True)
class Draws:
    """Deviations of the groups' means from their estimates, over the resamples.

    Stratum k is the group `scores.kept[k]`, and the last one all other samples (unknown, too few).
    means: float [M, K]; weights: float [K], share of the samples; patients: int [K];
    plain: float [R, M, K], deviations by patients; studentised: the same over their own standard error
    times the estimate's; seeds_normal: float [R, S], the seeds' random weights.
    """

    scores: Scores
    resamples: int
    seed: int
    means: np.ndarray
    weights: np.ndarray
    patients: np.ndarray
    plain: np.ndarray
    studentised: np.ndarray
    seeds_normal: np.ndarray
    found: dict[tuple[int, str], Interval] = field(default_factory=dict, repr=False, compare=False)
    """Intervals by method and quantity, each found once."""
    keep: Keep = field(default=anew, repr=False, compare=False)
    """What gives the numbers that a method's own draws make, where they were made before."""
    lately: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    """`around` of the methods that were asked for last, as many as are looked at together."""

    @cached_property
    def layouts(self) -> tuple[tuple[Layout, np.ndarray], ...]:
        """What differences between methods are made of, for each set of seeds in common."""
        return layouts(self.scores)

    @property
    def n_groups(self) -> int:
        """Number of groups with enough patients."""
        return len(self.scores.kept)

    @cached_property
    def parts(self) -> tuple[Parts, ...]:
        """Return each method's sources of variance."""
        units = self.scores.units
        return tuple(take_apart(sums, units.stratum, units.samples, len(self.weights)) for sums in units.sums)

    def random(self, purpose: int) -> np.random.Generator:
        """Return a generator that depends on the seed and the purpose alone."""
        return np.random.default_rng([self.seed, purpose])

    def by_seeds(self, method: int, seeds: np.ndarray | None = None) -> np.ndarray:
        """Return the deviations by seeds, float [R, K], of the mean over a method's seeds (or some)."""
        own = self.scores.units.seeds[method]
        rows = np.isin(own, own if seeds is None else seeds)
        return spread_of_seeds(self.parts[method].by_seed[rows], self.seeds_normal[:, own[rows]])

    def around(self, method: int) -> np.ndarray:
        """Return a method's deviations by patients and seeds, float [R, K], for intervals."""
        if method not in self.lately:
            if len(self.lately) >= self.at_once:
                del self.lately[next(iter(self.lately))]
            by_patients = self.studentised[:, method] * self.parts[method].share
            self.lately[method] = np.asarray(by_patients + self.by_seeds(method))
        return self.lately[method]

    @property
    def at_once(self) -> int:
        """How many methods are looked at together: what is made of them stays in a processor's cache."""
        return max(_CELLS_AT_ONCE // self.resamples, 1)

    def values(self, quantity: Quantity) -> np.ndarray:
        """Return a quantity of every method in each resample: float [R, M]."""
        each = range(len(self.means))
        shifts = [self.plain[:, m] * self.parts[m].share + self.by_seeds(m) for m in each]
        means = np.stack([self.means[m] + shifts[m] for m in each], axis=1)
        return quantity(means @ self.weights, np.asfortranarray(means)[..., :-1])


@dataclass(frozen=True)
class Parts:
    """Where the variance of the strata's means comes from.

    by_seed: float [S, K], means under each seed; patients: float [K], variance by patients (with one seed the
    noise of single samples is in it); share: float [K], square root of that over the variance of
    the patients' own means, which still holds the noise of single (seed, sample) pairs.
    """

    by_seed: np.ndarray
    patients: np.ndarray
    share: np.ndarray


def resample(scores: Scores, *, resamples: int = RESAMPLES, seed: int = 0, keep: Keep = anew) -> Draws:
    """Draw patients within group and seeds, once for all methods, so that differences are paired.

    The same input and seed give the same draws. 2,000 patients, 20 methods, 5 seeds and 10,000
    resamples take about a second on one core. `keep`: where the numbers of a method's own draws may lie
    from before (`harness.equity.keep`). Raises HarnessError for fewer than `LEAST_RESAMPLES`,
    more than a million, and what is no such number.
    """
    made("scores", scores, Scores, "what `Scores` or `from_frame` makes")
    if not is_whole(seed, 0):
        raise HarnessError(f"resample was given seed={shown(seed)}; give a whole number, 0 or more.")
    if not is_whole(resamples, LEAST_RESAMPLES, MOST):
        raise HarnessError(
            f"resample was given resamples={shown(resamples)}; give {LEAST_RESAMPLES} or more for an "
            f"interval, and {MOST:,} at the most."
        )
    seed, resamples = int(seed), int(resamples)
    units = scores.units
    n_strata = len(scores.kept) + 1
    average = np.stack([sums.mean(axis=0) for sums in units.sums], axis=1)
    samples = np.bincount(units.stratum, units.samples, n_strata)
    totals = np.stack([np.bincount(units.stratum, column, n_strata) for column in average.T])
    means = totals / np.maximum(samples, 1)
    residuals = average - (means[:, units.stratum] * units.samples).T
    rng = np.random.default_rng([seed, 0])
    plain = np.zeros((resamples, means.shape[0], n_strata))
    studentised = np.zeros_like(plain)
    for k in range(n_strata):
        mine = units.stratum == k
        if mine.sum() > 1:
            plain[..., k], studentised[..., k] = _bootstrap(
                residuals[mine], units.samples[mine], resamples, rng
            )
    for k in np.flatnonzero(np.bincount(units.stratum, minlength=n_strata) == 1).tolist():
        # A stratum of one patient shows no spread: he is taken to differ as the others do.
        others = (residuals / units.samples[:, None])[units.stratum != k]
        if len(others):
            drawn = others[np.random.default_rng([seed, 2, k]).integers(0, len(others), resamples)]
            plain[..., k] = studentised[..., k] = drawn
    most_seeds = max(int(seeds.max()) for seeds in units.seeds) + 1
    return Draws(
        scores,
        resamples,
        seed,
        means,
        samples / samples.sum(),
        np.bincount(units.stratum, minlength=n_strata),
        plain,
        studentised,
        np.random.default_rng([seed, 1]).standard_normal((most_seeds, resamples)).T,
        keep=keep,
    )


def spread_of_seeds(by_seed: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return [R, K] deviations with the covariance of the mean over seeds: by_seed [S, K], normal [R, S]."""
    n = len(by_seed)
    if n < 2:
        return np.zeros((len(normal), by_seed.shape[1]))
    return np.asarray(normal @ (by_seed - by_seed.mean(axis=0)) / np.sqrt(n * (n - 1)))


def take_apart(sums: np.ndarray, stratum: np.ndarray, samples: np.ndarray, n_strata: int) -> Parts:
    """Split the variance of strata means of `sums`, float [S, U], into patients, seeds and single pairs.

    The two-way layout of crossed random effects (Owen, Ann. Appl. Stat. 2007), within each stratum.
    """
    size = np.maximum(np.bincount(stratum, samples, n_strata), 1)
    by_seed = np.stack([np.bincount(stratum, row, n_strata) for row in sums]) / size
    residuals = sums - by_seed[:, stratum] * samples
    average = residuals.mean(axis=0)
    n = np.bincount(stratum, minlength=n_strata)
    unbiased = np.where(n > 1, n / np.maximum(n - 1, 1), 0) / size**2
    total = unbiased * np.bincount(stratum, average**2, n_strata)
    if len(sums) < 2:
        return Parts(by_seed, total, np.ones(n_strata))
    single = ((residuals - average) ** 2).sum(axis=0) / (len(sums) * (len(sums) - 1))
    own = np.maximum(total - unbiased * np.bincount(stratum, single, n_strata), 0)
    return Parts(by_seed, own, np.sqrt(np.divide(own, total, out=np.ones(n_strata), where=total > 0)))


def tails(freedom: float, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return [R] factors that turn normal draws into Student's t of `freedom` degrees of freedom."""
    if not np.isfinite(freedom) or freedom > 1_000:
        return np.ones(draws)
    return np.sqrt(freedom / (2 * rng.standard_gamma(freedom / 2, draws)))


def _bootstrap(
    residuals: np.ndarray, samples: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the stratum mean's deviations, float [R, M], plain (unbiased variance) and studentised."""
    n = len(samples)
    one_each = bool((samples == samples[0]).all())
    columns = np.concatenate([residuals, residuals**2, samples[:, None]], axis=1).astype(np.float32)
    blocks = []
    for start in range(0, resamples, step := max(1, _CHUNK_CELLS // n)):
        rows = min(step, resamples - start)
        blocks.append(_counts(n, rows, rng) @ columns)
    first, second, size = np.split(np.concatenate(blocks).astype(float), [residuals.shape[1], -1], axis=1)
    size = np.full_like(size, samples.sum()) if one_each else size
    deviations = first / size
    error = np.sqrt(np.maximum(second - first**2 / n, 0)) / size
    estimate = np.sqrt((residuals**2).sum(axis=0)) / samples.sum()
    stretch = np.divide(estimate, error, out=np.full_like(error, _MOST_STRETCH), where=error > 0)
    correction = np.sqrt(n / (n - 1))
    return deviations * correction, deviations * np.minimum(stretch, _MOST_STRETCH) * correction


def _counts(n: int, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each of n units is drawn in n draws with replacement: float32 [rows, n]."""
    drawn = rng.integers(0, n, (rows, n), dtype=np.int32)
    drawn += (np.arange(rows, dtype=np.int32) * n)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float32)
