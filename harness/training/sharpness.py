"""Sharpness-aware steps: the gradient is taken where the loss is higher, and moves the weights from here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_NONE = 1e-12


@contextmanager
def climbed(network: nn.Module, radius: float) -> Iterator[None]:
    """Let the weights be `radius` up their present gradient inside, and to the bit what they were after.

    `w + radius * g / ||g||`, over all weights that have a gradient (equation 2 of Foret et al.,
    Sharpness-Aware Minimization for Efficiently Improving Generalization, ICLR 2021, with p = 2). Statistics
    of batch normalisation stay those of the weights as they are.
    """
    with torch.no_grad():
        moved = [one for one in network.parameters() if one.grad is not None]
        kept: list[tuple[Tensor, Tensor]] = [(one, one.detach().clone()) for one in moved]
        kept += [(noted, noted.clone()) for noted in network.buffers()]
        gradients = [one.grad for one in moved if one.grad is not None]
        if moved:
            length = torch.stack([gradient.norm() for gradient in gradients]).norm().clamp(min=_NONE)
            for one, gradient in zip(moved, gradients, strict=True):
                one.add_(gradient * (radius / length))
    try:
        yield
    finally:
        with torch.no_grad():
            for changed, before in kept:
                changed.copy_(before)
