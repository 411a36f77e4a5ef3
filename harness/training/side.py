"""The method's side of a training: from a batch's logits and features to a loss and its gradients there."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import TrialError
from harness.plugin.losses import mixed_losses
from harness.plugin.method import Batch, Method, Output, Task
from harness.training import late, mixing, optimiser, sampling, underway
from harness.training.mixing import Mix
from harness.training.streams import Stream

if TYPE_CHECKING:
    from harness.backbones.backbone import Backbone
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

    own_layers: bool
    """Whether the network has layers of the method's."""

    def adapt(self, backbone: Backbone) -> Backbone:
        """Return the network that is trained, once, before everything below."""

    def calibrate(self, seen: Iterator[tuple[Batch, Output]]) -> None:
        """After the last epoch, given the training samples as the trained network sees them."""

    def begin(self, epoch: int) -> None:
        """Before the first batch of an epoch."""

    def mix(self, groups: Tensor, samples: Tensor) -> Mix | None:
        """Return who is mixed with whom in the coming batch; int64 [B] both. Asked of who has the hook."""

    def answer(
        self,
        batch: Batch,
        logits: Tensor,
        features: Tensor,
        factor: float,
        teacher: Tensor | None = None,
        probe: bool = False,
    ) -> Answer:
        """Return the loss of a batch and its gradients, and train the method's own weights by one step.

        logits: float32 [B, C, h, w], features: float32 [B, D]: contiguous, without a graph; factor: of
        every learning rate at this step; teacher: float32 [B, C, h, w]. After a probe the method is as it was
        before: it is asked for the same step again.
        """

    def end(self, epoch: int) -> None:
        """After the last batch of an epoch."""

    def weights(self, epoch: int, losses: Tensor) -> np.ndarray | None:
        """Return each sample's weight, float64 [n]; losses: float32 [n]. Asked of who has the hook."""

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
        self.own_layers = type(method).adapt is not Method.adapt
        self._told = told
        self._stream = Stream(told.device)
        own = [group for group in method.parameter_groups() if len(group["params"])]
        self._optimizer = optimiser.build(told.recipe, own, told.learning_rate) if own else None

    def adapt(self, backbone: Backbone) -> Backbone:
        """Return the backbone with the method's own layers; raises TrialError where it is no network."""
        fixed = {id(weight) for weight in backbone.parameters() if not weight.requires_grad}
        with self._stream.seeded("adapt", self._told.name, self._told.seed):
            made: Any = self.method.adapt(backbone, underway.groups)
        if problem := self._unfit(made, fixed):
            raise TrialError(f"{self._told.name}: {type(self.method).__name__}.adapt {problem}")
        network: Backbone = backbone if made is backbone else made.to(self._told.device)
        return network

    def calibrate(self, seen: Iterator[tuple[Batch, Output]]) -> None:
        """Let the method set what it sets after training."""
        with self._stream.seeded("calibrate", self._told.name, self._told.seed):
            self.method.calibrate(seen)

    def begin(self, epoch: int) -> None:
        """Seed what the method draws in an epoch."""
        with self._stream.seeded("epoch", self._told.name, self._told.seed, epoch):
            self.method.train()

    def mix(self, groups: Tensor, samples: Tensor) -> Mix | None:
        """Return what the method mixes in a batch; see `LossSide`."""
        with self._stream.running():
            return mixing.checked(self.method.mix(groups, samples), len(samples), self._told.name)

    def answer(
        self,
        batch: Batch,
        logits: Tensor,
        features: Tensor,
        factor: float,
        teacher: Tensor | None = None,
        probe: bool = False,
    ) -> Answer:
        """Return the method's loss and its gradients; see `LossSide`."""
        logits, features = logits.detach().requires_grad_(), features.detach().requires_grad_()
        with self._unchanged() if probe else contextlib.nullcontext(), self._stream.running():
            share = self._told.task.dice_weight
            of_each = partial(mixed_losses, logits, batch.masks, batch.other_masks, batch.shares, share)
            output = late.output({"losses": of_each}, logits=logits, features=features, teacher=teacher)
            loss = self._checked(self.method.loss(batch, output))
            if probe or self._optimizer is None:
                loss.backward()
            else:
                self._step(self._optimizer, loss, factor)
        return Answer(loss.detach(), logits.grad, features.grad)

    def end(self, epoch: int) -> None:
        """Tell the method that an epoch is over."""
        with self._stream.running():
            self.method.on_epoch_end(epoch)

    def weights(self, epoch: int, losses: Tensor) -> np.ndarray | None:
        """Return how the method wants the samples drawn; see `LossSide`."""
        with self._stream.running():
            found = self.method.sampling_weights(epoch, losses)
        return sampling.checked(found, len(losses), self._told.name)

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

    def _unfit(self, made: Any, fixed: set[int]) -> str:
        """Return what is wrong with an adapted network, "" where nothing is."""
        parts = [callable(getattr(made, name, None)) for name in ("encode", "decode")]
        if not isinstance(made, nn.Module) or not all(parts):
            return (
                f"returned {type(made).__name__}; return the backbone, or a torch module with its `encode` "
                "and `decode`."
            )
        weights = list(made.parameters())
        if any(weight.requires_grad and id(weight) in fixed for weight in weights):
            return "lets weights be trained that the protocol's backbone.adapt holds fixed; leave them so."
        groups = [] if self._optimizer is None else self._optimizer.param_groups
        own = {id(weight) for group in groups for weight in group["params"]}
        if any(id(weight) in own for weight in weights):
            return (
                "puts weights into the network that __init__ registered on the method, so that both would "
                "train them; make them in adapt."
            )
        return ""

    @contextlib.contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Leave the stream and the method's buffers as they were; its weights have a gradient more."""
        drawn = self._stream.state
        buffers = [
            (module, name, one.clone())
            for module in self.method.modules()
            for name, one in module.named_buffers(recurse=False)
        ]
        yield
        self._stream.state = drawn
        for module, name, one in buffers:
            setattr(module, name, one)

    def _step(self, optimizer: torch.optim.Optimizer, loss: Tensor, factor: float) -> None:
        optimiser.scale_rates(optimizer, factor)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

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
