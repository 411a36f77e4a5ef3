"""Just train twice: what the model finds hard after its first epochs is drawn more often from then on."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss


class JTT(Method):
    """Train as ERM for `first` epochs, then draw the samples of the error set `upweight` times as often.

    Algorithm 1 of Liu et al. trains an identification model for T epochs, calls the training samples that it
    classifies wrongly the error set, and trains a second model from scratch with these repeated lambda_up
    times. It reads no group.

    Ours, because the steps are the protocol's and a segmentation is never just wrong: the error set is the
    `share` of the training samples with the largest recipe loss over the last of the first epochs, as each
    was when it was trained on; and the same model trains on, so that those epochs are no training of their
    own. What was not drawn in that epoch is not in the set. Repeating a sample lambda_up times and drawing it
    with that weight are the same in the mean.

    In the authors' code (anniesch/jtt) the predictions are those of the training epoch too, each of the
    weights of its step (`train.py`), where Algorithm 1 has those of the trained model; and `--up_weight`
    copies are added to the sample itself (`run_expt.py`), so that an error is seen once more than there and
    than here. Their README has 4 to 100 copies, and errors of epochs 1 to 60, counted from 0; 5 copies and
    the first epoch are ours.

    Parameters
    ----------
    upweight : lambda_up, how often a sample of the error set is drawn for once of another.
    share : of the training samples, how many are the error set.
    first : T, epochs before the error set is made.
    """

    card = Card(
        title="Just train twice",
        authors="Evan Zheran Liu, Behzad Haghgoo, Annie S. Chen, Aditi Raghunathan, Pang Wei Koh, Shiori "
        "Sagawa, Percy Liang, Chelsea Finn",
        paper="Just Train Twice: Improving Group Robustness without Training Group Information, ICML 2021",
        url="https://arxiv.org/abs/2107.09044",
        licence="MIT",
    )
    reads_attribute = False
    search: ClassVar = {"upweight": Range(1.5, 20.0, log=True), "share": Range(0.05, 0.4)}

    def __init__(self, task: Task, upweight: float = 5.0, share: float = 0.2, first: int = 1) -> None:
        super().__init__(task)
        self.upweight = upweight
        self.share = share
        self.first = first

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return cross-entropy and soft Dice over the whole batch."""
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)

    def sampling_weights(self, epoch: int, losses: Tensor) -> Tensor | None:
        """Return `upweight` for the error set and 1 for the others, once."""
        if epoch != self.first - 1:
            return None
        return error_weights(losses, self.share, self.upweight)


def error_weights(losses: Tensor, share: float, upweight: float) -> Tensor:
    """Return `upweight` for the `share` of the samples with the largest losses, else 1: float32 [n].

    losses: float [n], NaN where a sample has none.
    """
    weights = torch.ones_like(losses)
    hardest = losses.nan_to_num(-torch.inf).argsort(descending=True, stable=True)[
        : round(share * len(losses))
    ]
    weights[hardest[~losses[hardest].isnan()]] = upweight
    return weights
