"""The cards that share a training: which rows of a batch each takes, and what they tell one another."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

import numpy as np
from torch import Tensor, nn

if TYPE_CHECKING:
    from harness.training.side import MakeSide


class Cards(Protocol):
    """One card's end of a training. All of a training's cards call the same in the same order."""

    count: int
    """How many there are."""

    def rows(self, size: int) -> np.ndarray:
        """Return the rows of a batch of a size that go through this card: int64 [k], k from 1 on."""

    def gathered(self, size: int, *own: Tensor) -> tuple[Tensor, ...]:
        """Return a batch's rows of all cards, in their order; own: [k, ...], those of `rows`, no graph."""

    def part(self, whole: Tensor | None) -> Tensor | None:
        """Return this card's rows of a batch's gradient, None where it has none. whole: [B, ...]."""

    def add(self, network: nn.Module) -> None:
        """Make the gradient of each of a network's weights the sum of the cards'."""

    def sharing(self, make: MakeSide) -> MakeSide:
        """Return how this card comes by the method's side, which is asked once for all cards."""

    def agreed(self) -> AbstractContextManager[None]:
        """Let `room.Full`, raised inside on any card, be raised on all."""

    def anywhere(self, flag: bool) -> bool:
        """Tell whether a flag is true of any card."""

    def leave(self) -> None:
        """Be done: nothing is asked of the others from now on."""


class Alone:
    """A training on one card."""

    count = 1

    def rows(self, size: int) -> np.ndarray:
        """Return all rows."""
        return np.arange(size)

    def gathered(self, size: int, *own: Tensor) -> tuple[Tensor, ...]:
        """Return what it has."""
        return own

    def part(self, whole: Tensor | None) -> Tensor | None:
        """Return all of it."""
        return whole

    def add(self, network: nn.Module) -> None:
        """Leave the gradients as they are."""

    def sharing(self, make: MakeSide) -> MakeSide:
        """Return the method's side itself."""
        return make

    def agreed(self) -> AbstractContextManager[None]:
        """Ask nobody."""
        return contextlib.nullcontext()

    def anywhere(self, flag: bool) -> bool:
        """Return the flag."""
        return flag

    def leave(self) -> None:
        """Have nobody to leave."""


ALONE = Alone()
