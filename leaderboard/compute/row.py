"""What a board says of one method: the result that tables, exports, figures and pages all show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from harness.protocol import BASELINE
from harness.store import Cost, HowTrained, Obtained, Record
from leaderboard.read.boards import Status


class Number(NamedTuple):
    """An estimate with its 95% interval; `note` says why it is missing or how to read it."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    note: str = ""
    corrected: float = math.nan
    """The estimate freed of what noise adds to gaps and takes from ES."""

    @staticmethod
    def of(line: Mapping[Any, Any], key: str = "estimate") -> Number:
        """Return the number in a row of one of `harness.equity`'s tables, under a key."""
        value, low, high = (float(line[name]) for name in (key, "low", "high"))
        return Number(value, low, high, str(line["note"]), float(line.get("corrected", math.nan)))

    @property
    def there(self) -> bool:
        """Whether there is a number at all."""
        return not math.isnan(self.value)


NONE = Number()


@dataclass(frozen=True)
class Noise:
    """What chance alone makes of a gap in groups of these sizes."""

    floor: float = math.nan
    floor_95: float = math.nan
    p: float = math.nan
    detectable: float = math.nan
    p_adjusted: float = math.nan
    """That the gap is chance's or the seeds', adjusted over the section's methods."""


@dataclass(frozen=True)
class Difference:
    """A method's ES-Dice minus its yardstick's, and what became of the gap.

    baseline: the row of the yardstick, ERM with as many epochs; than: what a sentence calls it.
    """

    baseline: str = BASELINE
    than: str = "ERM"
    number: Number = NONE
    p: float = math.nan
    better: bool | None = None
    verdict: str = ""
    told: str = ""
    """ES-Dice is "better", "worse", "equivalent" (within `margin`) or "cannot tell"; "" where not tested."""
    margin: float = math.nan
    lost: int | None = None
    """How many groups' Dice is lower beyond chance, where ES-Dice is higher though every group's is lower."""

    @property
    def tested(self) -> bool:
        """Whether there is an interval and a p-value: not on too few seeds, and `number.note` says so."""
        return not math.isnan(self.number.low)


@dataclass(frozen=True)
class Family:
    """What of a method's line stands where all tables of the board are read as one family.

    views: how many they are; p_versus, p_gap, p_above: of ES-Dice and of the gap against the baseline, and of
    the gap against chance.
    """

    views: int
    rank_low: int
    rank_high: int
    letters: str
    p_versus: float = math.nan
    p_gap: float = math.nan
    p_above: float = math.nan


@dataclass(frozen=True)
class Row:
    """A method's line in a section. `rank` is None for a method that has no finished trial."""

    method: str
    title: str
    status: Status
    done: int
    planned: int
    ranks: bool = True
    """Whether it takes part in the ranking: predictions only, of too few trainings, do not."""
    obtained: Obtained | None = None
    """How its finished trials were obtained, the weakest of them."""
    trained: HowTrained = ""
    """Whose loop trained them, "" where one of them does not tell."""
    seeds: tuple[int, ...] = ()
    errors: tuple[Record, ...] = ()
    rank: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    p_best: float = math.nan
    letters: str = ""
    best: bool = False
    """Whether the word "best" may be written: probability of being first at least 0.95, better than every
    other method in the paired tests, of which there is at least one, and not on anybody's word alone; of a
    method that trains longer than ERM, its twin among these."""
    metrics: dict[str, dict[str, Number]] = field(default_factory=dict)
    groups: dict[str, dict[str, Number]] = field(default_factory=dict)
    noise: dict[str, Noise] = field(default_factory=dict)
    versus: Difference | None = None
    family: Family | None = None
    """None where it has no rank."""
    missed: int = 0
    scored: int = 0
    cost: Cost | None = None

    def number(self, metric: str, quantity: str) -> Number:
        """Return one number, empty where there is none."""
        return self.metrics.get(metric, {}).get(quantity, NONE)

    def group(self, metric: str, group: str) -> Number:
        """Return a group's score, empty where there is none."""
        return self.groups.get(metric, {}).get(group, NONE)
