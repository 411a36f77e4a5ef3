"""Fuse a backbone's small kernels for a GPU, where the machine has a compiler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from harness.backbones.backbone import Backbone


def compile_parts(backbone: Backbone, device: torch.device) -> str:
    """Compile what a training step spends its time in; return why not, "" where it was or nothing is to be.

    On a GPU alone: half of a step of SAM ViT-B goes into casts, copies and elementwise kernels there, and a
    CPU gains nothing in the minutes that its compiler takes. What is compiled differs from what is not in the
    last bits, and is the same in two runs.
    """
    parts = backbone.compilable() if device.type == "cuda" else []
    why = _why_not(device) if parts else ""
    if parts and not why:
        fuse(parts)
    return why


def fuse(parts: list[torch.nn.Module], backend: str = "inductor") -> None:
    """Have each part compiled when it is first called; what the compiler fails on runs as it is written."""
    # A graph that the compiler fails on is no reason to lose a training.
    torch._dynamo.config.suppress_errors = True
    # Two kinds of block, with and without a graph, in slices of some lengths: more than torch allows for one.
    torch._dynamo.config.recompile_limit = 64
    for part in parts:
        part.compile(dynamic=False, backend=backend)


@contextmanager
def as_written() -> Iterator[None]:
    """Run what was compiled uncompiled: predictions are few, and of other shapes, each a compilation."""
    with torch.compiler.set_stance("force_eager"):
        yield


def seconds() -> float:
    """Return the seconds that this process has spent compiling."""
    spent: dict[str, float] = torch._dynamo.utils.calculate_time_spent()
    return spent.get("entire_frame_compile", 0.0) + spent.get("entire_backward_compile", 0.0)


def _why_not(device: torch.device) -> str:
    try:
        torch.compile(_probe)(torch.ones(8, device=device))
    except Exception as error:  # noqa: BLE001 - no Triton, no C compiler, no place to write: a type for each
        return str(error).strip().splitlines()[0][:200]
    return ""


def _probe(x: Tensor) -> Tensor:
    return x.sin() + 1
