"""Memory that does not hold a training: which errors say so, and what is held less of instead."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch

from harness.errors import HarnessError, TrialError
from harness.training.passes import sliceable

if TYPE_CHECKING:
    from harness.training.job import Job
    from harness.training.together import Cards

_GIB = 2**30

# What torch says in a plain RuntimeError: of its allocator on the host, of CUDA's libraries.
_HOST = ("DefaultCPUAllocator",)
_GPU = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def lacking(error: BaseException) -> Literal["", "GPU", "host"]:
    """Return whose memory an error says is full, "" for any other error."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "GPU"
    if isinstance(error, MemoryError):
        return "host"
    # By its exact type: a stranger's own error may raise where it is printed.
    if type(error) in (RuntimeError, getattr(torch, "AcceleratorError", RuntimeError)):
        text = str(error)
        if any(one in text for one in _GPU):
            return "GPU"
        return "host" if any(one in text for one in _HOST) else ""
    return ""


class Full(Exception):
    """Memory did not hold a step. whose: "GPU" or "host"; in_loss: it was the method that asked for more."""

    def __init__(self, whose: str, in_loss: bool) -> None:
        super().__init__(whose, in_loss)
        self.whose, self.in_loss = whose, in_loss


@contextmanager
def watched(cards: Cards, in_loss: bool = False) -> Iterator[None]:
    """Turn what says that memory is full into Full, on all cards; in a loss only the GPU's.

    That one is shared with the graph.
    """
    with cards.agreed():
        try:
            yield
        except Exception as error:
            whose = lacking(error)
            if not whose or (in_loss and whose == "host"):
                raise
            raise Full(whose, in_loss) from None


def is_tried(device: torch.device) -> bool:
    """Tell whether a slice is found by trying: a CPU's memory is seldom refused, its processes are ended."""
    return device.type != "cpu"


def free(device: torch.device) -> None:
    """Give back what a step that was given up has left, and measure the peak anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def less(full: Full, job: Job) -> int:
    """Return how many samples at a time to try next: the feed leaves the GPU first, then slices halve.

    Raises HarnessError where there is no less, TrialError where the method alone asks for too much.
    """
    most = job.most or 0
    if job.cards.anywhere(job.feed.release()):
        return most
    if job.side.own_layers or not sliceable(job.backbone):
        why = (
            "this method has layers of its own, which may mix the samples of a batch"
            if job.side.own_layers
            else "this backbone trains batch normalisation, whose statistics are the whole batch's"
        )
        raise HarnessError(
            f"{job.name}: {_holds_no(full, job.feed.device)} a batch of {job.batch}, and {why}, so it is not "
            "cut into slices; a larger card or a smaller recipe.batch_size in a protocol of your own helps."
        )
    if (now := most or job.share) > 1:
        return -(-now // 2)
    if full.in_loss:
        raise TrialError(
            f"{job.name}: its loss over a batch of {job.batch} asks for more than the {full.whose}'s memory, "
            "of which the network holds one sample's share; let it hold less."
        )
    raise HarnessError(
        f"{job.name}: {_holds_no(full, job.feed.device)} one sample of a batch at a time; precision = "
        "'bfloat16', a smaller cohort.size or a larger card helps, as does ending what else is on this one."
    )


def refuse(full: Full, job: Job) -> HarnessError:
    """Return what to say where the slice was given, or held until now."""
    held = job.most or job.share
    return HarnessError(
        f"{job.name}: {_holds_no(full, job.feed.device)} {held} samples of a batch at a time; run again with "
        "--slice auto, which goes on from the last checkpoint and finds what it holds (fewer --jobs on one "
        "card leave each more)."
    )


def _holds_no(full: Full, device: torch.device) -> str:
    size = ""
    if full.whose == "GPU" and device.type == "cuda":
        size = f" ({torch.cuda.get_device_properties(device).total_memory / _GIB:.0f} GiB)"
    return f"the {full.whose}'s memory{size} does not hold"
