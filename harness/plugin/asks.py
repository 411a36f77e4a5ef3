"""What a method may ask of the training beside losses: declared by it, carried out and counted outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.plugin.declared import About


@dataclass(frozen=True)
class Asks:
    """What a training does for a method.

    weighs: asks it after each epoch how to draw the samples; mixes: asks it before each step which samples to
    mix; taught: gives it the logits of the model that `starts_from` names; radius: of sharpness-aware steps,
    None for plain ones; averages_from: the share of the steps after which weights are averaged, None for the
    weights as they end.
    """

    weighs: bool = False
    mixes: bool = False
    taught: bool = False
    radius: float | None = None
    averages_from: float | None = None

    @property
    def passes(self) -> int:
        """How often a batch goes through a network: once more for a sharper step, and for a teacher."""
        return 1 + (self.radius is not None) + self.taught


MOST_RADIUS = 1e6
"""No network's weights are as long: a bound only, so that every number that is let in is one."""

PLAIN = Asks()
"""What a method asks for that has a loss and nothing else."""


def of(about: About, values: Mapping[str, Any], where: str) -> Asks:
    """Return what a method asks for under its hyper-parameters.

    Raises HarnessError, which begins with `where`, for a radius that is not in [0, 10^6) and a share that is
    not in [0, 1).
    """
    radius = None if about.sharpness is None else _number(values, about.sharpness, where, MOST_RADIUS)
    share = None if about.averages_from is None else _number(values, about.averages_from, where, 1.0)
    return Asks(about.weighs_samples, about.mixes, about.is_taught, radius, share)


def _number(values: Mapping[str, Any], name: str, where: str, below: float) -> float:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
        shown = str(value)[:60] if isinstance(value, float | str) else type(value).__name__
        raise HarnessError(f"{where}: {name} = {shown}; it is a number, at least 0 and below {below:,.0f}.")
    return float(value)
