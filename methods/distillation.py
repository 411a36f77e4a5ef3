"""Knowledge distillation: the trained ERM model's softened predictions are a second target."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss


class Distillation(Method):
    """Learn from the masks and from the ERM model of the same seed (Hinton et al., 2015).

    The loss is `(1 - weight) * L + weight * T^2 * KL(p_T || q_T)`: L the recipe's loss against the masks, p_T
    and q_T the teacher's and the own class probabilities of each pixel at temperature T, the divergence
    averaged over pixels. Section 2 of the paper multiplies by T^2 so that the two gradients keep their
    proportion whatever T is; it writes cross-entropy with the soft targets, which has the divergence's
    gradient.

    The student begins with the protocol's first weights and has the whole recipe, so it is a born-again
    network (Furlanello et al., ICML 2018) rather than a smaller one. It reads no group: a row beside those
    that do, which shows what a second training under a trained model's eyes is worth. Pixels that are not
    annotated count for the divergence, which needs no mask.

    Parameters
    ----------
    weight : of the teacher against the masks.
    temperature : T, by which both models' logits are divided.
    """

    card = Card(
        title="Knowledge distillation",
        authors="Geoffrey Hinton, Oriol Vinyals, Jeff Dean",
        paper="Distilling the Knowledge in a Neural Network, NIPS Deep Learning Workshop 2014",
        url="https://arxiv.org/abs/1503.02531",
        licence="MIT",
    )
    reads_attribute = False
    starts_from = "erm"
    takes = "logits"
    search: ClassVar = {"weight": Range(0.1, 0.9), "temperature": Range(1.0, 8.0, log=True)}

    def __init__(self, task: Task, weight: float = 0.5, temperature: float = 2.0) -> None:
        super().__init__(task)
        self.weight = weight
        self.temperature = temperature

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the recipe's loss and the divergence from the teacher, weighted."""
        own = segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
        if output.teacher is None:
            raise RuntimeError("there is no teacher: the harness gives one for takes = 'logits'")
        taught = divergence(output.teacher, output.logits, self.temperature)
        return (1 - self.weight) * own + self.weight * taught


def divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return `T^2 * KL(p_T || q_T)`, mean over pixels: scalar.

    teacher, student: logits, float [B, C, h, w].
    """
    target = (teacher / temperature).log_softmax(1)
    found = (student / temperature).log_softmax(1)
    return (target.exp() * (target - found)).sum(1).mean() * temperature**2
