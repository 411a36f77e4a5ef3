"""The order in which training samples are drawn; the harness's, never the method's."""

from __future__ import annotations

import numpy as np

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
