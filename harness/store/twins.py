"""ERM with as many epochs as another method takes: its twin, what it is called, and whose it is.

A schedule is how often a method passes over the data, a number a training: (1,) is the recipe's epochs once,
(2,) twice as many; (1, 1) is a training that starts from another's weights and has the recipe's further
epochs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from harness.protocol import BASELINE

Schedule = tuple[int, ...]

PLAIN: Schedule = (1,)
"""ERM's own."""


MOST_PASSES = 999


class Declares(Protocol):
    """What of a method says how long it trains: an `About`, or a `MethodInfo` of a record."""

    @property
    def starts_from(self) -> str | None:
        """The method that is trained before it, or None."""

    @property
    def takes(self) -> str:
        """What it takes of that one: "weights" to begin with, "logits" on each batch, or "both"."""

    @property
    def passes(self) -> int:
        """How often a batch goes through a network in one of its steps."""


def schedule_of(name: str, methods: Mapping[str, Declares]) -> Schedule | None:
    """Return a method's schedule; None where what it starts from is not among `methods`, or leads back."""
    found: Schedule = ()
    seen: set[str] = set()
    while name in methods and name not in seen:
        seen.add(name)
        one = methods[name]
        # What a submission says of itself may be less than there can be: a teacher takes a pass too.
        least = 1 + (one.starts_from is not None and one.takes != "weights")
        found = (min(max(one.passes, least), MOST_PASSES), *found)
        # Of one that is only taught by another's logits, the other's training is no part.
        if one.starts_from is None or one.takes == "logits":
            return found
        name = one.starts_from
    return None


def name_of(schedule: Schedule) -> str:
    """Return what ERM with a schedule is called on a board: erm, erm+1, erm*2; no method's file can be."""
    first, *further = schedule
    return BASELINE + (f"*{first}" if first != 1 else "") + "".join(f"+{passes}" for passes in further)


def schedule_in(name: str) -> Schedule | None:
    """Return the schedule that `name_of` has put into a name, None for the name of a method."""
    match = re.fullmatch(rf"{re.escape(BASELINE)}(?:\*(\d{{1,3}}))?((?:\+\d{{1,3}}){{0,9}})", name)
    if match is None or name == BASELINE:
        return None
    return (int(match[1] or 1), *(int(passes) for passes in match[2].split("+")[1:]))


def described(schedule: Schedule, recipe: Mapping[str, Any]) -> str:
    """Return what a twin has that ERM has not: `same extra epoch`, `2 times the epochs`.

    recipe: a protocol's, as `model_dump` gives it.
    """
    first, *further = schedule
    more = sum(further) * int(recipe.get("finetune", {}).get("epochs", 1))
    said = [f"{first} times the epochs"] if first != 1 else []
    if further:
        extra = "same extra epoch" if more == 1 else f"same {more} extra epochs"
        said.append(extra + (f" in {len(further)} parts" if len(further) > 1 else ""))
    return " and the ".join(said)


def title_of(name: str, recipe: Mapping[str, Any]) -> str:
    """Return a twin's title, `ERM, same extra epoch`; "" for the name of a method."""
    schedule = schedule_in(name)
    return "" if schedule is None else f"ERM, {described(schedule, recipe)}"


def spoken(name: str, recipe: Mapping[str, Any]) -> str:
    """Return what a sentence calls a method's yardstick: `ERM with the same extra epoch`."""
    schedule = schedule_in(name)
    if schedule is None:
        return "ERM"
    article = "the " if schedule[0] == 1 else ""
    return f"ERM with {article}{described(schedule, recipe)}"
