"""Samples of a batch that are mixed with others of it, as a method asked and where that is possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import TrialError
from harness.training.upload import upload


@dataclass(frozen=True)
class Mix:
    """Who is mixed with whom. partners: int64 [B], rows of the batch; shares: float32 [B], each one's own."""

    partners: np.ndarray
    shares: np.ndarray

    def of(self, own: Tensor, others: Tensor, rows: np.ndarray | None = None) -> Tensor:
        """Return `share * own + (1 - share) * others`: float [k, ...]; rows: which of the batch these are."""
        shares = upload(self.shares if rows is None else self.shares[rows], own.device)
        shares = shares.view(-1, *[1] * (own.ndim - 1))
        return shares * own + (1 - shares) * others


def checked(found: Any, size: int, who: str) -> Mix | None:
    """Return what a method's `mix` gave for a batch of so many samples, None where it gave None.

    Raises TrialError, which begins with `who`, for anything but rows of the batch and shares in [0, 1].
    """
    if found is None:
        return None
    try:
        partners, shares = (torch.as_tensor(one).detach().cpu().numpy() for one in found)
        fits = partners.shape == shares.shape == (size,) and partners.dtype.kind in "iu"
        fits = fits and shares.dtype.kind in "fiu"
    except (TypeError, ValueError, RuntimeError):
        fits = False
    if not fits:
        raise TrialError(
            f"{who}: mix gives a pair of tensors for {size} samples, int64 [{size}] partners and float "
            f"[{size}] shares, or None."
        )
    if ((partners < 0) | (partners >= size)).any():
        raise TrialError(f"{who}: mix gave a partner that is no row of a batch of {size}; count from 0.")
    # A comparison, because no number is one that is not a number.
    if not ((shares >= 0) & (shares <= 1)).all():
        raise TrialError(f"{who}: mix gave a share that is not in [0, 1].")
    return Mix(partners.astype(np.int64), shares.astype(np.float32))
