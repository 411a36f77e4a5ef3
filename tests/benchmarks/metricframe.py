"""Beside fairlearn's MetricFrame on null cohorts: the same means and differences, and whose intervals cover.

    python tests/benchmarks/metricframe.py [COHORTS] [BOOTSTRAPS] [SCORES A PATIENT]

Three groups of 40, 60 and 100 patients with the same distribution of scores (1 - Beta, skewed as Dice is), so
that the true gap is 0; one score a patient, then three that share what the patient is like. MetricFrame
takes some 10 ms a bootstrap in pandas, so its samples are drawn here as it draws them and reduced by numpy;
in the first cohorts its own intervals are computed too, and equal.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from fairlearn.metrics import MetricFrame

from harness import equity

SIZES = {"a": 40, "b": 60, "c": 100}
CHECKED = 2
"""Cohorts in which MetricFrame's own intervals are computed too."""
TRUTH = 1 - 2 / 14  # the mean of 1 - Beta(2, 12)


def cohort(rng: np.random.Generator, each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, groups and patients; of a patient's scores half of the variance is the patient's."""
    groups = np.repeat(list(SIZES), list(SIZES.values()))
    n = len(groups)
    own = rng.beta(2, 12, n)
    # Each score is the patient's own value or a fresh one: the distribution stays, the correlation is a half.
    fresh = rng.beta(2, 12, (n, each))
    keep = rng.random((n, each)) < (0.71 if each > 1 else 1.0)
    scores = 1 - np.where(keep, own[:, None], fresh)
    return scores.ravel(), groups.repeat(each), np.arange(n).repeat(each)


def mean(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """What MetricFrame averages: it hands two arrays to a metric."""
    return float(np.mean(y_pred))


Ends = tuple[np.ndarray, np.ndarray]
"""The lower and the upper ends of intervals."""


def theirs(scores: np.ndarray, groups: np.ndarray, boots: int, seed: int) -> tuple[Ends, Ends]:
    """MetricFrame's intervals of the groups' means, in the order of SIZES, and of their difference."""
    which = np.searchsorted(list(SIZES), groups)
    means = np.empty((boots, len(SIZES)))
    seeds = np.random.default_rng(seed).integers(0, np.iinfo(np.uint32).max, size=boots, dtype=np.uint32)
    for i, own in enumerate(seeds):
        # As pandas' DataFrame.sample(frac=1, replace=True) draws.
        at = np.random.RandomState(own).choice(len(scores), size=len(scores), replace=True)
        means[i] = np.bincount(which[at], scores[at], 3) / np.bincount(which[at], minlength=3)
    apart = means.max(axis=1) - means.min(axis=1)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    ends = np.quantile(apart, [0.025, 0.975])
    return (low, high), (ends[0], ends[1])


def check(scores: np.ndarray, groups: np.ndarray, boots: int, seed: int) -> None:
    """Raise AssertionError where MetricFrame itself has other intervals than `theirs`."""
    frame = MetricFrame(
        metrics=mean, y_true=scores, y_pred=scores, sensitive_features=groups, n_boot=boots,
        ci_quantiles=[0.025, 0.975], random_state=seed,
    )  # fmt: skip
    means, gap = theirs(scores, groups, boots, seed)
    assert np.allclose([end.loc[list(SIZES)] for end in frame.by_group_ci], means, atol=1e-12)
    assert np.allclose(frame.difference_ci(method="between_groups"), gap, atol=1e-12)


def one(rng: np.random.Generator, each: int, boots: int, seed: int) -> dict[str, list[bool]]:
    """Whether each interval holds the truth, ours and fairlearn's."""
    scores, groups, patients = cohort(rng, each)
    frame = MetricFrame(metrics=mean, y_true=scores, y_pred=scores, sensitive_features=groups)
    if seed < CHECKED:
        check(scores, groups, boots, seed)
    summary = equity.summarise(
        equity.resample(equity.Scores({"m": scores}, groups, patients), resamples=2000)
    )
    ours = summary[summary["quantity"] == "group"].set_index("group")
    assert np.allclose(ours["estimate"], frame.by_group.loc[ours.index], atol=1e-12)
    gap = summary[summary["quantity"] == "gap"].iloc[0]
    assert np.isclose(gap["estimate"], frame.difference(method="between_groups"), atol=1e-12)
    (lows, highs), (low, high) = theirs(scores, groups, boots, seed)
    return {
        "means, ours": [bool(ours.loc[g, "low"] <= TRUTH <= ours.loc[g, "high"]) for g in SIZES],
        "means, fairlearn": [bool(held) for held in (lows <= TRUTH) & (highs >= TRUTH)],
        "gap of 0, ours": [bool(gap["low"] <= 0)],
        "gap of 0, fairlearn": [bool(low <= 0 <= high)],
    }


def main() -> None:
    """Print the coverage of both, means equal to 1e-12 in every cohort."""
    warnings.filterwarnings("ignore")
    cohorts, boots = (
        int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 200), (2, 200))
    )
    for each in [int(sys.argv[3])] if len(sys.argv) > 3 else (1, 3):
        rng, held = np.random.default_rng(each), {}
        for seed in range(cohorts):
            for name, found in one(rng, each, boots, seed).items():
                held.setdefault(name, []).extend(found)
        shown = ", ".join(f"{name} {100 * np.mean(found):.1f}%" for name, found in held.items())
        print(f"{cohorts} cohorts, {each} scores a patient, {boots} bootstraps: {shown}", flush=True)


if __name__ == "__main__":
    main()
