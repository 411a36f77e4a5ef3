"""ERM under a sampler that draws every group equally often: the control for resampling."""

from __future__ import annotations

from torch import Tensor

from harness import Batch, Card, Method, Output, segmentation_loss


class BalancedERM(Method):
    """ERM whose batches hold every group equally often, the rarest ones repeated.

    Shows how much of a method's gain plain resampling has (Idrissi et al., CLeaR 2022): their RWG. Their code
    (facebookresearch/BalancingGroups, `datasets.py`) draws each sample with the inverse of its group's size,
    with replacement, so that groups come equally often in the mean; here they do in every epoch, to a sample,
    and a sample is repeated only after all of its group. Their groups are label and attribute together, ours
    the attribute's; samples of unknown group keep their share.
    """

    card = Card(
        title="ERM, group-balanced sampler",
        authors="Badr Youbi Idrissi, Martin Arjovsky, Mohammad Pezeshki, David Lopez-Paz",
        paper="Simple data balancing achieves competitive worst-group-accuracy, CLeaR 2022",
        url="https://arxiv.org/abs/2110.14503",
        licence="MIT",
    )
    sampler = "group-balanced"

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return cross-entropy and soft Dice over the whole batch."""
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
