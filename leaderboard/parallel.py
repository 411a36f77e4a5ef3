"""The parts of a large site on all cores, where the system can fork: what they share is then not copied."""

from __future__ import annotations

import math
import mmap
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import numpy as np

WORTH = 2_000
"""From this many trials on, forking costs less than it saves."""

Result = TypeVar("Result")

_work: Callable[[int], object] | None = None


def mapped(work: Callable[[int], Result], count: int, trials: int) -> list[Result]:
    """Return `work(0) .. work(count - 1)`, in processes of their own on a board of many trials.

    Raises what `work` raises.
    """
    global _work
    processes = min(count, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else 1
    if trials < WORTH or processes < 2:
        return [work(i) for i in range(count)]
    _work = work
    try:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
            return list(pool.map(_call, range(count)))  # type: ignore[arg-type]
    finally:
        _work = None


def shared(shape: tuple[int, ...]) -> np.ndarray:
    """Return float64 zeros in memory that processes forked later share with this one."""
    count = math.prod(shape)
    return np.frombuffer(mmap.mmap(-1, max(8 * count, 1)), count=count).reshape(shape)


def _call(i: int) -> object:
    assert _work is not None
    return _work(i)
