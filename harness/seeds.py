"""Random numbers that follow from what a trial is, never from when or where it runs."""

from __future__ import annotations

import hashlib
import random

import numpy as np


def derive(*axes: str | int) -> int:
    """Return a seed in [0, 2^63) from a trial's axes: `derive("order", seed, epoch)`.

    SHA-256 over the axes, so that neither order of execution nor worker can change it.
    """
    text = "\x1f".join(f"{type(axis).__name__}:{axis}" for axis in axes)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*axes: str | int) -> np.random.Generator:
    """Return a numpy generator seeded by `derive`."""
    return np.random.default_rng(derive(*axes))


def seed_everything(*axes: str | int) -> None:
    """Seed the global generators of torch, numpy and `random`, for plugins that draw from them."""
    import torch

    seed = derive(*axes)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - a plugin may use the legacy generator
    torch.manual_seed(seed)
