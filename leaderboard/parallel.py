"""The parts of a large site on all cores, where the system can fork: what they share is then not copied."""

from __future__ import annotations

import gc
import math
import mmap
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import pyarrow
import threadpoolctl

WORTH = 2_000
"""From this many trials on, forking costs less than it saves."""

Result = TypeVar("Result")

_work: Callable[[int], object] | None = None
_within = False
"""Whether this is one of those processes: it has a core, and starts no further ones."""


def mapped(work: Callable[[int], Result], count: int, trials: int) -> list[Result]:
    """Return `work(0) .. work(count - 1)`, in processes of their own on a board of many trials.

    Raises what `work` raises.
    """
    global _work
    processes = min(count, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else 1
    # What draws the figures has threads that a fork leaves behind: after a first drawing here, one in a
    # new process would wait for them for ever.
    if _within or trials < WORTH or processes < 2 or "vl_convert" in sys.modules:
        return [work(i) for i in range(count)]
    _work = work
    try:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(processes, context, initializer=_alone) as pool:
            return list(pool.map(_call, range(count)))  # type: ignore[arg-type]
    finally:
        _work = None


def within() -> bool:
    """Tell whether this is one of several processes, which has one thread."""
    return _within


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector out: it goes through all the live numbers of a site again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def shared(shape: tuple[int, ...]) -> np.ndarray:
    """Return float64 zeros in memory that processes forked later share with this one."""
    count = math.prod(shape)
    return np.frombuffer(mmap.mmap(-1, max(8 * count, 1)), count=count).reshape(shape)


def alike(trials: Sequence[int]) -> bool:
    """Tell whether parts of so many trials keep all cores busy, a process each, until nearly the end."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return len(trials) > 1 and max(trials) * cores <= 2 * sum(trials)


def _alone() -> None:
    global _within
    _within = True
    # What was there before is never garbage here.
    gc.freeze()
    # As many processes as there are cores, each with as many threads again, take twice the time.
    threadpoolctl.threadpool_limits(1)
    pyarrow.set_cpu_count(1)


def _call(i: int) -> object:
    assert _work is not None
    try:
        return _work(i)
    finally:
        # A part's cycles go with it, while the collector is out; what was frozen is not gone through.
        gc.collect()
