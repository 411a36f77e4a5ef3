"""The oracle: ERM that is told the cause of the gap by the protocol, as no honest method is."""

from __future__ import annotations

import torch
from torch import Tensor

from harness import Batch, Card, Method, Output, Task


class Oracle(Method):
    """ERM on batches that hold every group equally often, each group weighed as it is told.

    It shows what there is to be gained where the cause of a gap is known: it runs under no protocol that
    does not tell it, in `[methods.oracle]`, and is no method to compare others with.

    Parameters
    ----------
    weights : groups and the weights of their samples' losses, `"unlike 2, hasty 0"`; the others have 1.
    """

    card = Card(title="Oracle, told the cause", licence="MIT")
    sampler = "group-balanced"

    weights: Tensor

    def __init__(self, task: Task, weights: str = "") -> None:
        super().__init__(task)
        told = dict(part.split() for part in weights.split(",") if part.strip())
        # One more for samples of unknown group, whose code is -1.
        each = [*(float(told.get(group, 1)) for group in task.groups), 1.0]
        self.register_buffer("weights", torch.tensor(each), persistent=False)

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the weighted mean of the samples' own losses; 0 where none of them has a weight."""
        weights = self.weights[batch.groups]
        return (weights * output.losses).sum() / weights.sum().clamp(min=1e-6)
