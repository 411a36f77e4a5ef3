"""The method's side of a training: from a batch's logits and features to a loss and its gradients there."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.errors import TrialError
from harness.plugin.losses import sample_losses
from harness.plugin.method import Batch, Method, Output, Task
from harness.training import optimiser
from harness.training.streams import Stream

if TYPE_CHECKING:
    from harness.protocol import Recipe


@dataclass(frozen=True)
class Assignment:
    """All that a method is told before its first batch, and the rule by which its own weights are trained.

    learning_rate: the schedule's, for weights that have none of their own; device: the kind that trains.
    """

    name: str
    hyper_parameters: Mapping[str, Any]
    task: Task
    recipe: Recipe
    learning_rate: float
    seed: int
    device: torch.device


@dataclass(frozen=True)
class Answer:
    """What a method makes of a batch: a scalar, and its gradients; None where it does not depend on one.

    loss: scalar; logits: float32 [B, C, h, w]; features: float32 [B, D].
    """

    loss: Tensor
    logits: Tensor | None
    features: Tensor | None


class LossSide(Protocol):
    """A method, wherever it runs. Every call raises TrialError where the method is at fault."""

    what: str
    """What a message calls its loss."""

    def begin(self, epoch: int) -> None:
        """Before the first batch of an epoch."""

    def answer(self, batch: Batch, logits: Tensor, features: Tensor, factor: float) -> Answer:
        """Return the loss of a batch and its gradients, and train the method's own weights by one step.

        logits: float32 [B, C, h, w], features: float32 [B, D]: contiguous, without a graph; factor: of
        every learning rate at this step.
        """

    def end(self, epoch: int) -> None:
        """After the last batch of an epoch."""

    def state(self) -> Tensor:
        """Return what `resume` takes: uint8 [n], which nobody but the method's side reads."""

    def resume(self, state: Tensor) -> None:
        """Go on from a state. Raises where it is of another method."""


MakeSide = Callable[[Assignment], LossSide]


class Here:
    """A method in this process."""

    def __init__(self, method: Method, told: Assignment) -> None:
        self.method = method
        self.what = f"{type(method).__name__}.loss"
        self._told = told
        self._stream = Stream(told.device)
        own = [group for group in method.parameter_groups() if len(group["params"])]
        self._optimizer = optimiser.build(told.recipe, own, told.learning_rate) if own else None

    def begin(self, epoch: int) -> None:
        """Seed what the method draws in an epoch."""
        with self._stream.seeded("epoch", self._told.name, self._told.seed, epoch):
            self.method.train()

    def answer(self, batch: Batch, logits: Tensor, features: Tensor, factor: float) -> Answer:
        """Return the method's loss and its gradients; see `LossSide`."""
        logits, features = logits.detach().requires_grad_(), features.detach().requires_grad_()
        with self._stream.running():
            losses = sample_losses(logits, batch.masks, self._told.task.dice_weight)
            loss = self._checked(self.method.loss(batch, Output(logits, features, losses)))
            self._step(loss, factor)
        return Answer(loss.detach(), logits.grad, features.grad)

    def end(self, epoch: int) -> None:
        """Tell the method that an epoch is over."""
        with self._stream.running():
            self.method.on_epoch_end(epoch)

    def state(self) -> Tensor:
        """Return the method's weights, buffers and moments, packed."""
        packed = io.BytesIO()
        moments = None if self._optimizer is None else self._optimizer.state_dict()
        torch.save({"method": self.method.state_dict(), "optimizer": moments}, packed)
        return torch.from_numpy(np.frombuffer(packed.getvalue(), np.uint8).copy())

    def resume(self, state: Tensor) -> None:
        """Put back what `state` returned. Raises whatever torch raises over what is not."""
        packed = io.BytesIO(state.cpu().numpy().tobytes())
        content = torch.load(packed, map_location=self._told.device, weights_only=True)
        self.method.load_state_dict(content["method"])
        if self._optimizer is not None:
            optimiser.load(self._optimizer, content["optimizer"])

    def _step(self, loss: Tensor, factor: float) -> None:
        if self._optimizer is None:
            loss.backward()
            return
        optimiser.scale_rates(self._optimizer, factor)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()

    def _checked(self, loss: Any) -> Tensor:
        if not isinstance(loss, Tensor) or loss.shape != ():
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TrialError(
                f"{self._told.name}: {self.what} returned {got}; a method returns one scalar "
                "tensor. Did you forget .mean()?"
            )
        if not loss.requires_grad:
            raise TrialError(
                f"{self._told.name}: {self.what} returned a tensor without a gradient; "
                "compute it from output.logits, without .detach() or .item()."
            )
        return loss


def build(method: type[Method], told: Assignment) -> Here:
    """Return a method's side in this process; its first weights follow from its name and the seed."""
    stream = Stream(told.device)
    with stream.seeded("method", told.name, told.seed):
        built = method(told.task, **told.hyper_parameters).to(told.device)
    return Here(built, told)
