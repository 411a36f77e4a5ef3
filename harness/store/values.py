"""What a number and a text of a record may be: finite and in range, valid Unicode of bounded length."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

MOST_LEVELS = 16
MOST_LEAVES = 50_000
MOST_TEXT = 4_000_000
"""Characters of the longest text, a method's source."""

_LARGEST = 2**63 - 1

# What the scripts of Persian and of many Indian languages are written with, though it is not seen.
_JOINERS = "\u200c\u200d"

BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters and marks, by their kind, of which nothing is seen."""


def _unicode(text: str) -> str:
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None
    if "\0" in text:
        raise ValueError("holds a null character")
    return text


def _date(text: str) -> str:
    if text:
        datetime.fromisoformat(text)
    return text


def check(value: dict[str, Any]) -> dict[str, Any]:
    """Return a table that a record can hold. Raises ValueError for any other; see `Tree`."""
    if _count(value, MOST_LEVELS) - 1 > MOST_LEAVES:
        raise ValueError(f"holds more than {MOST_LEAVES} values")
    return value


def _count(value: Any, levels: int) -> int:
    """Count what JSON can hold, itself too. Raises ValueError for what it cannot, and an endless number."""
    count, layer = 0, [value]
    while layer:
        if levels < 0:
            raise ValueError(f"is nested deeper than {MOST_LEVELS} levels")
        levels, count, below = levels - 1, count + len(layer), list[Any]()
        for one in layer:
            if isinstance(one, dict):
                _check_leaves(one)
                below.extend(one.values())
            elif isinstance(one, list | tuple):
                below.extend(one)
            else:
                _check_leaves((one,))
        layer = below
    return count


def _check_leaves(values: Iterable[Any]) -> None:
    for value in values:
        # Nearly every leaf is such a text, of very many in a store.
        if type(value) is str and value.isascii() and len(value) <= MOST_TEXT and "\0" not in value:
            continue
        _check_leaf(value)


def _check_leaf(value: Any) -> None:
    if isinstance(value, str):
        if len(value) > MOST_TEXT:
            raise ValueError(f"holds a text of more than {MOST_TEXT} characters")
        _unicode(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that is not finite")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST:
        raise ValueError("holds a number beyond 64 bits")


def unseen(text: str, keep: str = "") -> str:
    """Return the first character of a text that could move a cursor or turn its line, "" where none is.

    `keep` are characters that are welcome all the same, like line ends.
    """
    for char in text:
        kind = unicodedata.category(char)
        odd = kind[0] == "C" or kind in ("Zl", "Zp") or char in BLANK
        if odd and char not in keep + _JOINERS:
            return char
    return ""


Name = Annotated[str, StringConstraints(max_length=300), AfterValidator(_unicode)]
Words = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_unicode)]
Text = Annotated[str, StringConstraints(max_length=MOST_TEXT), AfterValidator(_unicode)]
Date = Annotated[str, StringConstraints(max_length=40), AfterValidator(_date)]
"""ISO 8601, or "" where it is not known."""

Seed = Annotated[int, Field(ge=0, le=_LARGEST, strict=True)]
Count = Annotated[int, Field(ge=0, le=2**60, strict=True)]
Position = Annotated[int, Field(ge=-100_000, le=100_000, strict=True)]
Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False, strict=True)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Flag = Annotated[bool, Field(strict=True)]

Tree = Annotated[dict[str, Any], AfterValidator(check)]
"""Anything that JSON can hold: numbers finite and of 64 bits, texts valid, neither too deep nor too wide."""
