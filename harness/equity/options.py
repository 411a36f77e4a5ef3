"""What may be given to this package's functions: anything else is refused in one sentence that names it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from harness.errors import HarnessError, shown

MOST = 1_000_000
"""Of resamples, tables or methods: a larger number is a slip, and would end in want of memory."""


def is_whole(given: object, least: int, most: float = math.inf) -> bool:
    """Tell whether something is a whole number in a range, numpy's among them; True and 3.0 are none."""
    return isinstance(given, Integral) and not isinstance(given, bool) and least <= int(given) <= most


def whole(name: str, given: Any, least: int, most: int = MOST) -> int:
    """Return a whole number. Raises HarnessError for anything else."""
    if is_whole(given, least, most):
        return int(given)
    raise HarnessError(f"{name} is {shown(given)}; give a whole number from {least} to {most:,}.")


def number(name: str, given: object, what: str, least: float = 0.0, above: bool = False) -> float:
    """Return a finite number of `least` or more (`above`: of more). Raises HarnessError for anything else.

    what: what is right, as the sentence ends.
    """
    # An integer may be too large for a float, and True is one to Python.
    if isinstance(given, Real) and not isinstance(given, bool):
        try:
            found = float(given)
        except OverflowError:
            found = math.inf
        if math.isfinite(found) and (found > least if above else found >= least):
            return found
    raise HarnessError(f"{name} is {shown(given)}; give {what}.")


def numbers(name: str, given: object, what: str) -> tuple[float, ...] | None:
    """Return finite numbers above 0, None for none at all. Raises HarnessError for anything else."""
    found = [number(name, one, what, above=True) for one in several(name, given, what)]
    return tuple(found) or None


def flag(name: str, given: object) -> bool:
    """Return True or False. Raises HarnessError for anything else: the text "no" would count as True."""
    if isinstance(given, bool | np.bool_):
        return bool(given)
    raise HarnessError(f"{name} is {shown(given)}; give True or False.")


def text(name: str, given: object, what: str) -> str:
    """Return a text. Raises HarnessError for anything else."""
    if isinstance(given, str):
        return str(given)
    raise HarnessError(f"{name} is {shown(given)}; give {what} as text.")


def texts(name: str, given: object, what: str) -> tuple[str, ...]:
    """Return several texts. Raises HarnessError for anything else, a single text among them."""
    found = several(name, given, what)
    for one in found:
        if not isinstance(one, str):
            raise HarnessError(f"{name} holds {shown(one)}; give {what} as texts.")
    return tuple(map(str, found))


def several(name: str, given: object, what: str) -> tuple[Any, ...]:
    """Return what a sequence holds. Raises HarnessError for anything else, a text or a mapping among them."""
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping):
        try:
            return tuple(given)
        except TypeError:  # an array without an axis
            pass
    raise HarnessError(f"{name} is {shown(given)}; give a list of {what}.")


def made(name: str, given: object, kind: type, how: str) -> None:
    """Raise HarnessError where something is not of the kind that `how` makes."""
    if not isinstance(given, kind):
        raise HarnessError(f"{name} is {shown(given)}; give {how}.")
