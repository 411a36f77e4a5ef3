"""The rule by which weights are trained: the recipe's, for the backbone's and for a method's own alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from harness.protocol import Recipe


def build(recipe: Recipe, groups: list[dict[str, Any]], rate: float) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over torch parameter groups; a group may have an `lr` of its own."""
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            groups, lr=rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    else:
        # One pass over each weight instead of a dozen: a tenth of a small decoder's step on a CPU.
        optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=recipe.weight_decay, fused=True)
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def scale_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set the rate of every group to so many times the one that it began with."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def load(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Put back what `state_dict` returned. Raises ValueError if it is of other weights."""
    optimizer.load_state_dict(state)
    for parameter, moments in optimizer.state.items():
        if any(one.ndim and one.shape != parameter.shape for one in moments.values() if torch.is_tensor(one)):
            raise ValueError("its optimiser is of other weights")
