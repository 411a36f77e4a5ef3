"""Measure the references that a test of all pairs could take for its seeds' variance, by size and power.

    python tests/benchmarks/references.py [--table]

Prints the comparison in docs/equity.md: methods' means over a few seeds and very many patients, normal, in
thousands of boards at once. `--table` prints `harness.equity.reference._COUNTED` instead.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from calibration import markdown
from scipy import special, stats

from harness.equity.reference import _METHODS, _SEEDS, counted, largest

PATIENTS = 0.0035
"""Deviation of a method's mean by patients, alone: of 0.01 in a difference, as on the first board."""

LAWS = {
    "no seeds": (1e-6,),
    "seeds 0.005": (0.005,),
    "seeds 0.02": (0.02,),
    "seeds 0.01, one 0.03": (0.01, 0.03),
    "seeds 0.01, two 0.1": (0.01, 0.1, 0.1),
}
BETTER, BOARDS = 0.03, 1000


def main() -> None:
    """Print the comparison or the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--table", action="store_true")
    if parser.parse_args().table:
        for seeds in _SEEDS:
            print(seeds, [tuple(round(c, 2) for c in paid(methods, seeds)) for methods in _METHODS])
        return
    rows = {}
    for methods in (3, 6, 20):
        for seeds in (3, 5):
            for law, deviations in LAWS.items():
                of = np.full(methods, deviations[0])
                of[methods - len(deviations) + 1 :] = deviations[1:]
                size = {name: 100 * told.any(axis=1).mean() for name, told in told_by(of, seeds, 0.0).items()}
                power = {name: 100 * told[:, 0].mean() for name, told in told_by(of, seeds, BETTER).items()}
                rows[f"{methods} methods, {seeds} seeds, {law}"] = {
                    name: f"{size[name]:.1f} / {power[name]:.0f}" for name in size
                }
    print(markdown(pd.DataFrame(rows).T))


def told_by(deviations: np.ndarray, seeds: int, better: float) -> dict[str, np.ndarray]:
    """Return which pairs each reference tells apart, bool [boards, pairs]; the first method is better."""
    rng = np.random.default_rng(len(deviations) * 100 + seeds)
    m = len(deviations)
    one, other = np.triu_indices(m, 1)
    drawn = rng.standard_normal((BOARDS, seeds, m)) * deviations
    means = drawn.mean(axis=1) + rng.standard_normal((BOARDS, m)) * PATIENTS
    means[:, 0] += better
    size, patients = np.abs(means[:, one] - means[:, other]), 2 * PATIENTS**2
    each = drawn.var(axis=1, ddof=1) / seeds
    pairs = (drawn[..., one] - drawn[..., other]).var(axis=1, ddof=1) / seeds
    pooled, moderated, freedom = 2 * each.mean(axis=1, keepdims=True), *_moderated(each, seeds - 1)
    both = moderated[:, one] + moderated[:, other]
    return {
        "before (Holm)": _holm(size, patients, pairs, seeds - 1, caution=2.5),
        "pooled (Holm)": _holm(size, patients, pooled, m * (seeds - 1)),
        "moderated (Holm)": _holm(size, patients, both, 2 * freedom),
        "own t": _passed(size, patients, pairs, seeds, len(one), 1.0 * len(one)),
        "largest": _largest(size, patients, drawn, pairs, one, other),
    }


def paid(methods: int, seeds: int, boards: int = 4000) -> tuple[float, float]:
    """Return for how many tests t must pay at 0.05 and at 0.1, at the worst of the variances tried."""
    rng, worst = np.random.default_rng(methods * 100 + seeds), [np.inf, np.inf]
    for many in {1, 2, 3, 5, methods // 2, methods}:
        for rest in (0.0, 0.5):
            of = np.where(np.arange(methods) < many, 1.0, rest)
            top = np.ptp(rng.standard_normal((boards, methods)) * of, axis=1)
            apart = rng.standard_normal((boards, seeds - 1, methods)) * of
            apart -= apart.mean(axis=2, keepdims=True)
            scale = methods / (methods - 1)
            most = np.sqrt((apart**2).sum(axis=1).max(axis=1) / (seeds - 1)) * scale
            tails = 2 * stats.t.sf(np.quantile(top / most, [0.95, 0.9]), seeds - 1)
            worst = list(np.minimum(worst, tails))
    return max(0.05 / worst[0], 1.0), max(0.1 / worst[1], 1.0)


def _largest(
    size: np.ndarray,
    patients: float,
    drawn: np.ndarray,
    pairs: np.ndarray,
    one: np.ndarray,
    other: np.ndarray,
) -> np.ndarray:
    _, seeds, methods = drawn.shape
    told = []
    for board, own, values in zip(size, pairs, drawn, strict=True):
        most, aside = largest(values.T)
        variance = np.where(aside[one] | aside[other], np.maximum(own, most), most)
        share = 1 / (1 + 2 * aside.sum())
        told.append(_passed(board, patients, variance, seeds, len(one), counted(seeds, methods, 0.05), share))
    return np.array(told)


def _passed(
    size: np.ndarray,
    patients: float,
    variance: np.ndarray,
    seeds: int,
    tests: int,
    paid: float,
    share: float = 1.0,
) -> np.ndarray:
    a, b = stats.norm.isf(0.025 * share / tests), stats.t.isf(0.025 * share / paid, seeds - 1)
    return np.asarray(size > np.sqrt(a**2 * patients + b**2 * variance))


def _holm(
    size: np.ndarray, patients: float, variance: np.ndarray, freedom: float | np.ndarray, caution: float = 1.0
) -> np.ndarray:
    """Return what Holm's method tells apart by Student's t, with Satterthwaite's degrees of freedom."""
    degrees = (patients + caution * variance) ** 2 / np.maximum((caution * variance) ** 2 / freedom, 1e-30)
    p = 2 * special.stdtr(np.minimum(degrees, 1e6), -size / np.sqrt(patients + variance))
    order = np.argsort(p, axis=1)
    steps = np.take_along_axis(p, order, 1) * (p.shape[1] - np.arange(p.shape[1]))
    told = np.zeros(p.shape, bool)
    np.put_along_axis(told, order, np.maximum.accumulate(steps, axis=1) <= 0.05, 1)
    return told


def _moderated(each: np.ndarray, freedom: int) -> tuple[np.ndarray, np.ndarray]:
    """Return limma's variances and degrees of freedom (Smyth, Stat. Appl. Genet. Mol. Biol. 2004)."""
    logs, grid = np.log(np.maximum(each, 1e-30)), np.logspace(-2, 4, 400)
    excess = np.maximum(logs.var(axis=1, ddof=1) - special.polygamma(1, freedom / 2), 1e-4)
    prior = 2 * np.interp(-excess, -special.polygamma(1, grid), grid)
    centre = logs.mean(axis=1) - special.digamma(freedom / 2) + np.log(freedom / 2)
    centre = np.exp(centre + special.digamma(prior / 2) - np.log(prior / 2))
    total = (prior + freedom)[:, None]
    return (prior[:, None] * centre[:, None] + freedom * each) / total, np.minimum(
        total, each.shape[1] * freedom
    )


if __name__ == "__main__":
    main()
