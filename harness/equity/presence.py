"""Empty truths: when the mean over all of them says little, and what is ranked instead."""

from __future__ import annotations

import numpy as np

MOST_EMPTY = 0.1
"""Above this share of empty truths the score over all of them is not what ranks, unless the protocol says so:
where nothing is there, a method that finds nothing scores 1, and the mean measures how often that is."""


def ranks_present(rank: str, true_sizes: np.ndarray) -> bool:
    """Tell whether a structure is ranked where it is present alone.

    rank: "all", "present", or "auto", which is the latter where more than MOST_EMPTY of the truths are empty;
    true_sizes: [N], 0 for an empty truth. Never where no truth has the structure.
    """
    there = np.asarray(true_sizes) > 0
    if not there.any():
        return False
    return rank == "present" or (rank == "auto" and bool((~there).mean() > MOST_EMPTY))
