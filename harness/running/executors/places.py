"""How many tasks a machine runs at a time, and what each sees of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    import torch

_CONTEXT = 600 * 2**20
"""Bytes of a GPU that a process takes before its first tensor."""


def slots(
    device: torch.device, jobs: int | None, threads: int, cards: Sequence[int] = (), each: int = 1
) -> list[dict[str, str]]:
    """Return one slot for each task that may run at a time.

    On GPUs one a GPU, or `jobs` spread over them; on a device that is named, one; on the CPU as many as
    there are cores for `threads` each. cards: numbers of the GPUs to use, where not all; each: GPUs that a
    task has, or processes of `threads` each. Raises HarnessError where there are fewer GPUs.
    """
    found = gpus(device, cards)
    if found:
        if len(found) < each:
            raise HarnessError(f"--cards {each}: there are {len(found)} GPUs here; ask for at most as many.")
        sets = [",".join(found[i : i + each]) for i in range(0, len(found) - each + 1, each)]
        return [{"CUDA_VISIBLE_DEVICES": sets[i % len(sets)]} for i in range(jobs or len(sets))]
    # A task under `cuda:1` finds that GPU by its number, so no slot may hide the others from it.
    at_once = max(1, _cores() // (threads * each)) if device.type == "cpu" else 1
    return [{} for _ in range(jobs or at_once)]


def per_gpu(asked: str, peak: int) -> int:
    """Return how many trials share a GPU, by a number or "auto". Raises HarnessError for other words."""
    if asked == "auto":
        import torch

        return fitting(torch.cuda.mem_get_info()[0], peak, _cores())
    if not asked.isdigit() or int(asked) < 1:
        raise HarnessError(f"--set per_gpu={asked}: give a number of trials from 1 on, or auto.")
    return int(asked)


def fitting(free: int, peak: int, cores: int) -> int:
    """Return how many trials a GPU holds with so many bytes free: one, where nothing tells what one takes."""
    return max(1, min(cores, int(0.9 * free // (peak + _CONTEXT)))) if peak else 1


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus(device: torch.device, cards: Sequence[int] = ()) -> list[str]:
    """Return what `CUDA_VISIBLE_DEVICES` calls each GPU; none for a device that is named, or is none."""
    if device.type != "cuda" or device.index is not None:
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    return [found[number] for number in cards] if cards else found
