"""Where in a structure errors lie, and whether that differs by group: a test over clusters of places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from harness.equity.options import whole

PLACES = ("cluster", "pixels", "mass", "p", "worst", "best", "difference", "low", "high", "row", "column")
"""Columns of `places`: pixels, mass: of the map, and the sum of F over it; p: over all clusters (of the
largest mass that dealing groups makes); worst, best: the groups with the most and the least error there;
difference: between them, mean over the cluster, with a 95% interval; row, column: its middle, from -1 to 1,
0 is the centre."""

DRAWS = 1_000
_EDGE = 3.0
"""F from which on places are put together: the clusters' size depends on it, whether p is right does not."""


@dataclass(frozen=True)
class Places:
    """The clusters as a table of `PLACES`, and what they were found in.

    errors: group to its patients' mean error at each place, float [H, W]; clusters: int [H, W], the number of
    the cluster that a place is in, 0 in none.
    """

    table: pd.DataFrame
    errors: dict[str, np.ndarray]
    clusters: np.ndarray


def places(
    maps: np.ndarray,
    groups: np.ndarray,
    patients: np.ndarray,
    *,
    least: int = 10,
    draws: int = DRAWS,
    seed: int = 0,
) -> Places:
    """Return the clusters of places where groups' errors differ, the likeliest to be real first.

    maps: float [N, H, W], each sample's share of error at each place of the structure, aligned; groups:
    names [N], None unknown; patients [N]. Each place has the F of a one-way layout of patients' means; those
    of at least 3 that touch are a cluster, and a cluster's p is the share of deals of the groups to the
    patients whose largest mass is as large (Bullmore et al., IEEE Trans. Med. Imaging 1999; Nichols and
    Holmes 2002). So it holds over the whole map, and says that groups differ somewhere in the cluster, not
    at each of its places. The interval is of the cluster as it was found, which chance made look larger than
    it is. Without rows for fewer than two groups of `least` patients.
    """
    least, draws, seed = whole("least", least, 1), whole("draws", draws, 1), whole("seed", seed, 0, 2**63 - 1)
    means, group, names = _by_patient(maps, groups, patients, least)
    if len(names) < 2:
        return Places(pd.DataFrame(columns=list(PLACES)), {}, np.zeros(maps.shape[1:], int))
    rng = np.random.default_rng([seed, 0])
    found = _f(means, group)
    labels, count = scipy.ndimage.label(found >= _EDGE)
    errors = {name: means[group == g].mean(axis=0) for g, name in enumerate(names)}
    if count == 0:
        return Places(pd.DataFrame(columns=list(PLACES)), errors, labels)
    null = np.array([_largest(_f(means, rng.permutation(group))) for _ in range(draws)])
    rows = []
    for cluster in range(1, count + 1):
        inside = labels == cluster
        mass = float(found[inside].sum())
        p = float((1 + (null >= mass).sum()) / (1 + draws))
        rows.append(
            (cluster, int(inside.sum()), mass, p, *_ends(means, group, names, inside), *_middle(inside))
        )
    table = pd.DataFrame(rows, columns=list(PLACES))
    table = table.sort_values(["p", "mass"], ascending=[True, False], ignore_index=True)
    return Places(table, errors, labels)


def _by_patient(
    maps: np.ndarray, groups: np.ndarray, patients: np.ndarray, least: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return patients' mean maps [P, H, W], their groups as numbers, and the groups' names."""
    frame = pd.DataFrame({"group": pd.Series(groups, dtype=object), "patient": patients.astype(str)})
    counts = frame.dropna().groupby("group")["patient"].nunique()
    names = [str(name) for name in counts.index[counts >= least]]
    kept = frame["group"].isin(names).to_numpy()
    keys = frame[kept].groupby(["patient", "group"], sort=True).ngroup().to_numpy()
    if not len(keys):
        return maps[:0], np.empty(0, int), []
    size = np.bincount(keys).astype(float)
    flat = maps[kept].reshape(kept.sum(), -1)
    means = np.zeros((len(size), flat.shape[1]))
    np.add.at(means, keys, flat)
    first = frame[kept].assign(key=keys).drop_duplicates("key").sort_values("key")["group"]
    group = np.array([names.index(str(name)) for name in first])
    return (means / size[:, None]).reshape(len(size), *maps.shape[1:]), group, names


def _f(means: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the F of a one-way layout at each place, 0 where nothing varies: float [H, W]."""
    flat = means.reshape(len(means), -1)
    which = np.eye(group.max() + 1)[group]
    count = which.sum(axis=0)
    by_group = (which.T @ flat) / count[:, None]
    between = (count[:, None] * (by_group - flat.mean(axis=0)) ** 2).sum(axis=0) / (len(count) - 1)
    within = ((flat - by_group[group]) ** 2).sum(axis=0) / max(len(flat) - len(count), 1)
    found = np.divide(between, within, out=np.zeros_like(between), where=within > 1e-12)
    return np.asarray(found.reshape(means.shape[1:]))


def _largest(f: np.ndarray) -> float:
    labels, count = scipy.ndimage.label(f >= _EDGE)
    return float(scipy.ndimage.sum(f, labels, range(1, count + 1)).max()) if count else 0.0


def _ends(
    means: np.ndarray, group: np.ndarray, names: list[str], inside: np.ndarray
) -> tuple[str, str, float, float, float]:
    """Return the groups with the most and the least error there, and their difference with its interval."""
    own = means[:, inside].mean(axis=1)
    parts = [own[group == g] for g in range(len(names))]
    by_group = [float(part.mean()) for part in parts]
    worst, best = int(np.argmax(by_group)), int(np.argmin(by_group))
    error = np.sqrt(sum(parts[g].var(ddof=1) / len(parts[g]) for g in (worst, best)))
    apart = by_group[worst] - by_group[best]
    return names[worst], names[best], apart, apart - 1.96 * error, apart + 1.96 * error


def _middle(inside: np.ndarray) -> tuple[float, float]:
    at = np.argwhere(inside).mean(axis=0)
    row, column = (2 * (at + 0.5) / inside.shape - 1).tolist()
    return row, column
