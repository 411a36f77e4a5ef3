"""What a fairness method is: a torch module that turns one training step into a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor, nn

if TYPE_CHECKING:
    from harness.backbones.backbone import Backbone

Sampler = Literal["uniform", "group-balanced"]

Given = Literal["weights", "logits", "both"]
"""What a method takes of the one that it starts from."""


@dataclass(frozen=True)
class Card:
    """Who made a method and where it is described; shown on its page as plain text."""

    title: str
    authors: str = ""
    paper: str = ""
    url: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Range:
    """Where `harness tune` looks for a number: from low to high, evenly or (log) evenly by ratio.

    Raises ValueError for an empty range, and for one by ratio that is not above 0.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"{self}: low is below high, and above 0 where log is True")

    def at(self, share: float) -> float:
        """Return the number that lies a share in [0, 1] of the way up."""
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)


@dataclass(frozen=True)
class Task:
    """What a method may know of the trial it is in, and nothing of the test data.

    `group_counts` counts training samples per group, in the order of `groups`; `steps` is the
    number of optimiser steps of the whole trial; `dice_weight` is the recipe's share of soft
    Dice in the segmentation loss (the rest is cross-entropy); `n_samples` counts training samples.
    """

    n_classes: int
    n_features: int
    attribute: str | None
    groups: tuple[str, ...]
    group_counts: tuple[int, ...]
    steps: int
    dice_weight: float
    n_samples: int = 0

    @property
    def n_groups(self) -> int:
        """Number of known groups of the attribute."""
        return len(self.groups)


@dataclass(frozen=True)
class _Rows:
    def select(self, rows: Tensor) -> Any:
        """Return the same object for some samples: `rows` is a bool [B] or int64 [K] tensor."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: one[rows] for name, one in values.items() if one is not None})


@dataclass(frozen=True)
class Batch(_Rows):
    """One training batch, after augmentation.

    images: float32 [B, 3, H, W] in [0, 1]; masks: int64 [B, h, w], class indices at the
    resolution of the logits, 0 is background and 255 not annotated (the harness's losses leave it out, and a
    loss of your own has to, under protocols that declare `ignore`); groups: int64 [B], -1 is unknown (and
    all -1 for a method that does not read the attribute); samples: int64 [B], row of the training table.

    Of a batch that was mixed (see `Method.mix`) the images are the mixture, and masks, groups and samples
    each one's own; other_masks: int64 [B, h, w], of its partner; shares: float32 [B], its own share.
    """

    images: Tensor
    masks: Tensor
    groups: Tensor
    samples: Tensor
    other_masks: Tensor | None = None
    shares: Tensor | None = None

    def by_group(self, unknown: bool = False) -> dict[int, Tensor]:
        """Return the rows of each group that is in the batch, int64 [K], by its code, in ascending order.

        unknown: with those of unknown group, under -1. While a method is trained no GPU is waited for, as it
        is by `unique()` and by an index of bools, whose sizes it has to tell: who is in a batch is known
        before the batch is there.
        """
        codes = self.groups.cpu()
        found = codes.unique().tolist()
        rows = {code: (codes == code).nonzero()[:, 0].to(self.groups.device) for code in found}
        return {code: one for code, one in rows.items() if unknown or code >= 0}


@dataclass(frozen=True)
class Output(_Rows):
    """What the backbone made of a batch.

    logits: float32 [B, C, h, w]; features: float32 [B, D], pooled from the last features that
    training changes; losses: float32 [B], the recipe's segmentation loss of each sample alone, of a mixed
    one against both masks by their shares; teacher: float32 [B, C, h, w] without a gradient, the logits of
    the model that `starts_from` names, where `takes` asks for them.
    """

    logits: Tensor
    features: Tensor
    losses: Tensor
    teacher: Tensor | None = None


class Method(nn.Module, ABC):
    """A fairness method: the only thing that varies on the board.

    Subclass it in one file under `methods/`, give it a `card` and a `loss`. Hyper-parameters
    are the keyword arguments of `__init__` and have defaults. Weights, buffers and adversaries
    registered on the module are trained, moved, checkpointed and resumed by the harness.

    Class attributes
    ----------------
    card : who made it.
    reads_attribute : False lets one training serve every attribute; `batch.groups` is then -1.
    starts_from : name of the method whose trained weights this one fine-tunes, or None.
    takes : what it takes of that one: "weights" to begin with, "logits" on each batch, or "both".
    sampler : how the harness draws training batches, "uniform" or "group-balanced".
    sharpness : name of the hyper-parameter that is the radius of sharpness-aware steps, None for plain ones.
    averages_from : name of the hyper-parameter that is the share of the steps from which on the harness
        averages the weights of every step, None for the weights as they end.
    trains_own_model : True for what cannot be said as a loss; see docs/trust.md for what that costs.
    reads_attribute_at_test : True where predictions depend on each patient's group: True or False, written
        out in the class. Such a row stands in a track of its own; it needs `trains_own_model`.
    requires : packages that it needs beside the harness's own, as a literal: ("scikit-image>=0.22",).
    controls : further twins for `harness run --controls`: name to hyper-parameters.
    search : hyper-parameter to the `Range` that `harness tune` searches; the others keep their default.
    """

    card: ClassVar[Card]
    reads_attribute: ClassVar[bool] = True
    starts_from: ClassVar[str | None] = None
    takes: ClassVar[Given] = "weights"
    sampler: ClassVar[Sampler] = "uniform"
    sharpness: ClassVar[str | None] = None
    averages_from: ClassVar[str | None] = None
    trains_own_model: ClassVar[bool] = False
    reads_attribute_at_test: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()
    controls: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    search: ClassVar[Mapping[str, Range]] = {}

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    @abstractmethod
    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the scalar to minimise for this batch."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return torch parameter groups of the method's own weights.

        A group may set `lr`; the recipe's schedule scales it as it scales the backbone's.
        """
        return [{"params": list(self.parameters())}]

    def on_epoch_end(self, epoch: int) -> None:
        """Called after each epoch (counted from 0), before the checkpoint is written."""

    def adapt(self, backbone: Backbone, groups: Callable[[], Tensor]) -> nn.Module:
        """Return the network that is trained in the backbone's place: only where `trains_own_model`.

        Put layers of your own into the backbone, or around it; the recipe's optimiser trains their weights
        with the backbone's. What comes back has `encode` and `decode` as the backbone has them (logits
        [B, C, h, w] and features [B, D] come out). `backbone.heads` names the modules whose outputs the
        logits are made of; `maps[backbone.deepest]` is the encoder's last map, of `backbone.width` channels.
        While samples are on their way, `groups()` gives their codes: int64 [B], -1 is unknown; all are -1
        when predicting, unless `reads_attribute_at_test`.
        """
        return backbone

    def calibrate(self, seen: Iterator[tuple[Batch, Output]]) -> None:
        """Called once after the last epoch: only where `trains_own_model`.

        `seen` gives the training samples in their order, not augmented, with what the trained network
        makes of them, without a graph; a split for validation is not among them.
        """

    def sampling_weights(self, epoch: int, losses: Tensor) -> Tensor | None:
        """Return a weight, 0 or above, for each training sample, by which it is drawn from now on.

        Called after `on_epoch_end` where a method has it; None leaves the drawing as it is. losses: float32
        [n_samples], in the order of `Batch.samples`: the mean of each sample's plain loss over its draws in
        the epoch just finished, NaN where it was not drawn.
        """
        return None

    def mix(self, groups: Tensor, samples: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return each sample's partner (int64 [B], row of the batch) and own share (float [B] in [0, 1]).

        Called before each step where a method has it; None leaves the batch as it is. The harness makes each
        image `share * own + (1 - share) * partner's`, or the maps of a frozen encoder in its place. groups:
        int64 [B], -1 is unknown; samples: int64 [B], row of the training table; both are on the CPU, where
        the answer is needed before the batch is put together.
        """
        return None
