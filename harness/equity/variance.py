"""How much of the spread of scores is the patient, the group, the method, the seed: shares with intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.equity.options import made, whole
from harness.equity.scores import Scores

VARIANCE = ("part", "variance", "share", "low", "high", "p", "note")
"""Columns of `variance`: variance: of the part, by its mean squares; share: of all parts together, with the
95% interval by patients; p: of the group alone, by dealing groups anew."""

PARTS = ("group", "patient", "method", "seed", "method by group", "method by patient", "rest")
DRAWS = 1_000


def variance(scores: Scores, *, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """Return a row a part of the scores' variance; columns are `VARIANCE`, parts those of `PARTS`.

    The method of moments for a balanced layout (Searle, Casella and McCulloch, Variance Components 1992):
    each method and seed scores every patient of known group (his mean over samples), seeds are nested in
    methods and patients in groups; a variance below 0 is 0. With one training what a patient is and how it
    was seen by chance are one ("patient"). The interval draws patients anew within their group; seeds and
    methods are few and stay. Without rows for fewer than two groups with enough patients.
    """
    made("scores", scores, Scores, "what `Scores` or `from_frame` makes")
    draws, seed = whole("draws", draws, 1), whole("seed", seed, 0, 2**63 - 1)
    values, group = _layout(scores)
    if values is None:
        return pd.DataFrame(columns=list(VARIANCE))
    found = _parts(values, group)
    rng = np.random.default_rng([seed, 0])
    shares = np.stack([_shares(_parts(*_drawn(values, group, rng))) for _ in range(draws)])
    low, high = np.quantile(np.nan_to_num(shares), [0.025, 0.975], axis=0)
    p = _p_value(values, group, draws, np.random.default_rng([seed, 1]))
    rows = []
    for i, (part, share) in enumerate(zip(PARTS, _shares(found), strict=True)):
        if not np.isnan(found[i]):
            own = p if part == "group" else np.nan
            rows.append((part, found[i], share, low[i], high[i], own, _note(part, values)))
    return pd.DataFrame(rows, columns=list(VARIANCE))


def _layout(scores: Scores) -> tuple[np.ndarray | None, np.ndarray]:
    """Return patients' scores by method and seed, float [M, S, P], and the patients' groups, int [P]."""
    units = scores.units
    known = units.stratum < len(scores.kept)
    common = set.intersection(*(set(own.tolist()) for own in units.seeds))
    if len(scores.kept) < 2 or not common:
        return None, np.empty(0, int)
    rows = [
        sums[np.isin(own, sorted(common))][:, known] / units.samples[known]
        for sums, own in zip(units.sums, units.seeds, strict=True)
    ]
    return np.stack(rows), units.stratum[known]


def _drawn(values: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    parts = [np.flatnonzero(group == g) for g in range(group.max() + 1)]
    at = np.concatenate([rng.choice(own, len(own)) for own in parts])
    return values[:, :, at], group[at]


def _parts(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the variance of each of `PARTS`, NaN for one that the layout cannot tell."""
    methods, seeds, patients = values.shape
    groups = int(group.max()) + 1
    count = np.bincount(group).astype(float)
    size = (patients - (count**2).sum() / patients) / (groups - 1)
    by_patient, by_training = values.mean(axis=(0, 1)), values.mean(axis=2)
    by_method_patient = values.mean(axis=1)
    rest = _rest(values, by_method_patient, by_training)
    own = _between(by_patient, group, count)
    pair = _between_pairs(by_method_patient, by_training.mean(axis=1), by_patient, group, count)
    found = np.full(len(PARTS), np.nan)
    # What a method does to a patient, and chance, are in the spread of patients' means over all trainings.
    over = pair[1] / methods if methods > 1 else rest / seeds
    found[1] = max(own[1] - over, 0) if methods * seeds > 1 else own[1]
    found[0] = (own[0] - own[1]) / size
    if seeds > 1:
        found[3] = max(by_training.var(axis=1, ddof=1).mean() - rest / patients, 0)
        found[6] = rest
    elif methods > 1:
        found[6] = pair[1]
    if methods > 1:
        found[4] = max((pair[0] - pair[1]) / size, 0)
        found[0] -= found[4] / methods
        apart = by_training.mean(axis=1).var(ddof=1)
        unequal = found[4] * ((count / patients) ** 2).sum()
        found[2] = max(apart - np.nan_to_num(found[3]) / seeds - pair[1] / patients - unequal, 0)
        if seeds > 1:
            found[5] = max(pair[1] - rest / seeds, 0)
    found[0] = max(found[0], 0)
    return found


def _rest(values: np.ndarray, by_pair: np.ndarray, by_training: np.ndarray) -> float:
    """Return the mean square of single scores about their method's patient and its training."""
    methods, seeds, patients = values.shape
    if seeds < 2:
        return 0.0
    mean = by_training.mean(axis=1)[:, None, None]
    left = values - by_pair[:, None] - by_training[:, :, None] + mean
    return float((left**2).sum() / (methods * (seeds - 1) * (patients - 1)))


def _between(values: np.ndarray, group: np.ndarray, count: np.ndarray) -> tuple[float, float]:
    """Return the mean squares between groups and between patients within them, of patients' means [P]."""
    means = np.bincount(group, values) / count
    within = ((values - means[group]) ** 2).sum() / (len(values) - len(count))
    return float((count * (means - values.mean()) ** 2).sum() / (len(count) - 1)), float(within)


def _between_pairs(
    pairs: np.ndarray, by_method: np.ndarray, by_patient: np.ndarray, group: np.ndarray, count: np.ndarray
) -> tuple[float, float]:
    """Return the mean squares of methods by groups and of methods by patients, seeds averaged.

    pairs: float [M, P]. 0 for one method.
    """
    methods, patients = pairs.shape
    if methods < 2:
        return 0.0, 0.0
    left = pairs - by_method[:, None] - by_patient + by_patient.mean()
    means = np.stack([np.bincount(group, row) / count for row in left])
    between = (count * means**2).sum() / ((methods - 1) * (len(count) - 1))
    within = ((left - means[:, group]) ** 2).sum() / ((methods - 1) * (patients - len(count)))
    return float(between), float(within)


def _shares(found: np.ndarray) -> np.ndarray:
    total = np.nansum(found)
    return np.asarray(found / total if total > 0 else np.where(np.isnan(found), np.nan, 0.0))


def _p_value(values: np.ndarray, group: np.ndarray, draws: int, rng: np.random.Generator) -> float:
    count = np.bincount(group).astype(float)
    by_patient = values.mean(axis=(0, 1))
    seen = _between(by_patient, group, count)[0]
    dealt = rng.permuted(np.tile(by_patient, (draws, 1)), axis=1)
    means = dealt @ np.eye(len(count))[group] / count
    null = (count * (means - by_patient.mean()) ** 2).sum(axis=1) / (len(count) - 1)
    return float((1 + (null >= seen - 1e-12).sum()) / (1 + draws))


def _note(part: str, values: np.ndarray) -> str:
    methods, seeds, _ = values.shape
    if part == "patient" and methods * seeds == 1:
        return "with the chance of a single training in it"
    if part == "rest" and seeds < 2:
        return "methods by patients, with the chance of single trainings in it"
    if part in ("method", "seed") and (methods if part == "method" else seeds) < 5:
        return "of few, so hardly known"
    return ""
