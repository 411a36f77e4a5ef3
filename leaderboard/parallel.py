"""The parts of a site on all cores, where the system can fork: what they share is then not copied."""

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

WORTH = 8
"""From this many trials on, forking costs less than it saves."""

Result = TypeVar("Result")

_work: Callable[[int], object] | None = None
_most = 1
"""How many processes `working` allows."""
_within = False
"""Whether this is one of those processes: it has a core, and starts no further ones."""


def mapped(work: Callable[[int], Result], count: int, trials: int, worth: int = WORTH) -> list[Result]:
    """Return `work(0) .. work(count - 1)`, within `working` by several processes from `worth` trials on.

    What takes longest is best put first. Raises what `work` raises.
    """
    global _work
    processes = min(count, _most)
    if processes < 2 or not forks(trials, worth):
        return [work(i) for i in range(count)]
    _work = work
    try:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(processes, context, initializer=_alone) as pool:
            return list(pool.map(_call, range(count)))  # type: ignore[arg-type]
    finally:
        _work = None


def forks(trials: int, worth: int = WORTH) -> bool:
    """Tell whether several parts of so many trials are made by several processes, here and now."""
    # What draws the figures has threads that a fork leaves behind: after a first drawing here, one in a
    # new process would wait for them for ever.
    return not _within and trials >= worth and _most > 1 and "vl_convert" not in sys.modules


@contextmanager
def working(processes: int | None) -> Iterator[None]:
    """Have `mapped` take at most so many processes until the block ends, None for one a core.

    Each has one thread, this one too: a sum is then the same however many there are, and as many threads
    again as there are cores take twice the time. It is said once and before they are there: BLAS lets its
    threads go when a process is forked, and told anything after that starts new ones, which spin for a while.
    """
    global _most
    before, there = _most, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    _most = there if processes is None else min(there, processes)
    try:
        with threadpoolctl.threadpool_limits(1):
            yield
    finally:
        _most = before


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
    return len(trials) > 1 and max(trials) * _most <= 1.1 * sum(trials)


def _alone() -> None:
    global _within
    _within = True
    # What was there before is never garbage here.
    gc.freeze()
    pyarrow.set_cpu_count(1)


def _call(i: int) -> object:
    assert _work is not None
    try:
        return _work(i)
    finally:
        # A part's cycles go with it, while the collector is out; what was frozen is not gone through.
        gc.collect()
