"""What one training is given: its schedule, and everything that its loop needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.backbones.backbone import Backbone
from harness.plugin.asks import PLAIN, Asks
from harness.plugin.method import Sampler
from harness.training.checkpoint import Checkpoint
from harness.training.feed import Feed
from harness.training.passes import Decode, Through
from harness.training.side import LossSide
from harness.training.together import ALONE, Cards

if TYPE_CHECKING:
    from harness.protocol import Recipe

CurveRow = tuple[int, str, str, str, float]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Schedule:
    """The part of a recipe that differs between a first training and a fine-tuning."""

    epochs: int
    planned_epochs: int
    learning_rate: float
    warmup_steps: int
    batch_size: int
    keeps_last: bool = False

    @classmethod
    def of(cls, recipe: Recipe, finetunes: bool) -> Schedule:
        """Return the schedule of a method that does, or does not, start from another's weights."""
        part = recipe.finetune if finetunes else recipe
        return cls(
            epochs=part.epochs,
            planned_epochs=part.planned_epochs or part.epochs,
            learning_rate=part.learning_rate,
            warmup_steps=part.warmup_steps,
            batch_size=part.batch_size or recipe.batch_size,
            keeps_last=recipe.last_batch == "keep",
        )

    def steps_per_epoch(self, samples: int) -> int:
        """Return the number of batches, at least one: the last, smaller one counts where it is kept."""
        full, rest = divmod(samples, self.batch_size)
        return max(1, full + (self.keeps_last and rest > 0))


@dataclass
class Job:
    """Everything that one training needs.

    side: the method, wherever it runs; sampler: draws the batches; groups: int64 [n], the codes of the
    method's attribute, -1 throughout where it reads none; most: samples whose graph is held at a time, 0
    for the whole batch, None for as many as the device turns out to hold;
    codes: groups and codes of every attribute, for the curve; checkpoint: what to resume from;
    validate: gives the validation score of the weights as they are, where there is a validation split;
    asks: what it does beside asking for losses; teacher: whose logits a method that is taught is given;
    cards: those that share the training; decode: the backbone's, of maps that the feed has, by other means.
    """

    side: LossSide
    sampler: Sampler
    backbone: Backbone
    feed: Feed
    recipe: Recipe
    schedule: Schedule
    groups: np.ndarray
    codes: dict[str, tuple[tuple[str, ...], np.ndarray]]
    seed: int
    name: str
    checkpoint: Checkpoint
    progress: Progress
    validate: Callable[[Backbone], float] | None = None
    most: int | None = 0
    asks: Asks = PLAIN
    teacher: Backbone | None = None
    cards: Cards = ALONE
    decode: Decode | None = None

    @property
    def batch(self) -> int:
        """Samples of a whole batch."""
        return min(self.schedule.batch_size, len(self.feed))

    @property
    def share(self) -> int:
        """Samples of it that go through one card at most."""
        return -(-self.batch // self.cards.count)

    def through(self, backbone: Backbone) -> Through:
        """Return how this training's batches go through a network."""
        return Through(
            backbone,
            self.feed,
            bfloat16=self.recipe.precision == "bfloat16",
            most=self.most or 0,
            corners=self.recipe.label_resize == "corner",
            cards=self.cards,
            decode=self.decode if backbone is self.backbone else None,
        )
