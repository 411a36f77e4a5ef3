"""The order in which training samples are drawn; the harness's, never the method's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from harness.errors import TrialError
from harness.plugin.method import Sampler


def order(sampler: Sampler, groups: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return the samples of one epoch: int64 [draws], positions in the training table.

    "uniform" passes over a shuffled table and leaves the rest of the last batch out.
    "group-balanced" draws every known group equally often, each from its own shuffled pass,
    the rare ones several times; samples of unknown group keep their natural share.
    groups: int64 [N], -1 is unknown.
    """
    if sampler == "uniform":
        return _passes(np.arange(len(groups)), draws, rng)
    unknown = np.flatnonzero(groups < 0)
    known = [np.flatnonzero(groups == code) for code in np.unique(groups[groups >= 0])]
    if not known:
        return _passes(np.arange(len(groups)), draws, rng)
    from_unknown = round(draws * len(unknown) / len(groups))
    turns = rng.permutation(len(known))
    shares = np.bincount(turns[np.arange(draws - from_unknown) % len(known)], minlength=len(known))
    pools = [_passes(pool, share, rng) for pool, share in zip(known, shares, strict=True)]
    drawn = np.concatenate([*pools, _passes(unknown, from_unknown, rng)])
    return rng.permutation(drawn)


def weighted(weights: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return the samples of one epoch under weights: int64 [draws], positions in the training table.

    Of each sample as many draws as its share of the weights comes to, rounded up or down by chance so that
    this is their mean (systematic sampling over the shuffled table), in an order that is shuffled again:
    equal weights are a pass over the table, as "uniform" is. weights: float64 [N], 0 or above, one above 0 at
    least.
    """
    turns = rng.permutation(len(weights))
    # Over the largest first: the sum of numbers near the end of their range is not finite.
    up_to = np.cumsum(weights[turns] / weights.max())
    places = (rng.random() + np.arange(draws)) * (up_to[-1] / draws)
    drawn = turns[np.searchsorted(up_to, places, side="right").clip(max=np.searchsorted(up_to, up_to[-1]))]
    return rng.permutation(drawn).astype(np.int64)


def checked(found: Any, samples: int, who: str) -> np.ndarray | None:
    """Return what a method's `sampling_weights` gave, float64 [samples], None where it gave None.

    Raises TrialError, which begins with `who`, for anything but a finite weight of at least 0 for each
    sample, one of them above 0.
    """
    if found is None:
        return None
    try:
        weights = torch.as_tensor(found).detach().cpu().to(torch.float64).numpy()
        fits = weights.shape == (samples,)
    except (TypeError, ValueError, RuntimeError):
        fits = False
    if not fits:
        raise TrialError(f"{who}: sampling_weights gives a tensor, float [{samples}], or None.")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise TrialError(f"{who}: sampling_weights gave a weight that is not finite and at least 0.")
    if not weights.any():
        raise TrialError(
            f"{who}: sampling_weights gave 0 for every sample; give None to leave them as they are."
        )
    return weights


def by_sample(picks: np.ndarray, losses: np.ndarray, samples: int) -> np.ndarray:
    """Return the mean of each sample's losses, NaN where it has none: float32 [samples].

    picks: int64 [k], positions in the training table; losses: float [k], of these.
    """
    sums = np.bincount(picks, losses, samples)
    counts = np.bincount(picks, minlength=samples)
    means = np.full(samples, np.nan, np.float32)
    means[counts > 0] = sums[counts > 0] / counts[counts > 0]
    return means


def shuffled(groups: np.ndarray, patients: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deal the groups anew to the patients, each with all of its samples: int64 [N].

    groups: int64 [N], -1 is unknown and dealt too; patients: [N]. A patient counts with the group of its
    first sample.
    """
    _, first, patient = np.unique(patients, return_index=True, return_inverse=True)
    return np.asarray(rng.permutation(groups[first])[patient])


def _passes(pool: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return `draws` members of a pool, every one of them before any a second time."""
    if draws == 0:
        return np.empty(0, np.int64)
    rounds = [rng.permutation(pool) for _ in range(-(-draws // len(pool)))]
    return np.concatenate(rounds)[:draws].astype(np.int64)
