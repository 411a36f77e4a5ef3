"""LISA: a sample is mixed with one of another group, so that what tells groups apart stops being a cue."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss


class LISA(Method):
    """Mixup between groups (Yao et al., ICML 2022), the intra-label half of it.

    LISA mixes either two samples of one label and two domains, or two of one domain and two labels. In a
    segmentation every image has all labels, so what is left is the first: a partner is drawn evenly from the
    batch's samples of other known groups, and the images are mixed with lambda ~ Beta(alpha, alpha), alpha 2
    as in the authors' code (huaxiuyao/LISA). The loss is `lambda * L(masks) + (1 - lambda) * L(partner's
    masks)`, which is theirs on mixed labels, cross-entropy being linear in them; the soft Dice is not, and
    this is how we mix it. Samples of unknown group, and batches of one group, are left as they are.

    Where we differ: lambda is one a batch, so that a Dice over the batch can be weighed by it; their mixup
    draws one a pair, and only their CutMix one a batch. A batch is mixed with probability `chance`; they mix
    every batch, one label's samples with probability 0.5 (`--mix_ratio`) and one domain's else
    (`subpopulation_shifts/train.py`), which is the half that we leave out: its batches are plain here. Theirs
    pair equally many samples of each group; ours are as many as the protocol draws. CutMix, which they use
    for some of their sets, is left out.

    Where the protocol's encoder is frozen, its maps are mixed instead of the images, because they are
    computed once: manifold mixup (Verma et al., ICML 2019) at the encoder's end.

    Parameters
    ----------
    alpha : of the Beta distribution of the share.
    chance : that a batch is mixed.
    """

    card = Card(
        title="LISA (group mixup)",
        authors="Huaxiu Yao, Yu Wang, Sai Li, Linjun Zhang, Weixin Liang, James Zou, Chelsea Finn",
        paper="Improving Out-of-Distribution Robustness via Selective Augmentation, ICML 2022",
        url="https://arxiv.org/abs/2201.00299",
        licence="MIT",
    )
    search: ClassVar = {"alpha": Range(0.2, 4.0, log=True), "chance": Range(0.2, 1.0)}

    def __init__(self, task: Task, alpha: float = 2.0, chance: float = 0.5) -> None:
        super().__init__(task)
        self.alpha = alpha
        self.chance = chance

    def mix(self, groups: Tensor, samples: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return partners of other groups, and one share for all."""
        if torch.rand(()).item() >= self.chance:
            return None
        # numpy's generator: torch's Beta draws other numbers on other devices.
        share = np.random.beta(self.alpha, self.alpha)  # noqa: NPY002 - the harness seeds this one
        partners = partners_of(groups)
        shares = torch.full((len(partners),), float(share))
        shares[partners == torch.arange(len(partners))] = 1.0
        return partners, shares

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the recipe's loss, of a mixed batch against both masks by their shares."""
        own = segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
        if batch.other_masks is None or batch.shares is None:
            return own
        other = segmentation_loss(output.logits, batch.other_masks, self.task.dice_weight)
        # Who has no partner is its own, so that the least share is that of all who have one.
        share = batch.shares.min()
        return share * own + (1 - share) * other


def partners_of(groups: Tensor) -> Tensor:
    """Return a row of another known group for each sample, its own where there is none: int64 [B].

    groups: int64 [B], -1 is unknown.
    """
    rows = torch.arange(len(groups))
    known = groups >= 0
    allowed = known[:, None] & known[None] & (groups[:, None] != groups[None])
    drawn = torch.multinomial(allowed.float() + (~allowed.any(1, keepdim=True)).float(), 1)[:, 0]
    return torch.where(allowed.any(1), drawn, rows)
