"""Names of cases: what a file, a truth and a row of a table call one and the same."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real

from harness.errors import HarnessError
from harness.spelling import clean, normal_id

_ROUNDED = re.compile(r"[+-]?\d+([.,]\d+)?E\+\d+", re.IGNORECASE)
_EXACT_WHOLE = 2**53
"""Beyond it not every whole number is a float: ids that went through one are not what they were."""
_NAMED = 4
"""Names that an error or a note lists at most."""


@dataclass(frozen=True)
class Matched:
    """Which of the wanted names is which of the known ones.

    pairs: wanted to known; loosely: those that are written otherwise; missing: wanted without known;
    unused: known without wanted.
    """

    pairs: dict[str, str]
    loosely: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def as_id(value: object, where: str) -> str:
    """Return an identifier as text: a number without its ".0", a text in NFC and without blanks at its ends.

    Raises HarnessError for a number with a fraction, and for one too large to have kept its last digits.
    """
    if value is None:
        return ""
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
        if math.isnan(number):
            return ""
        if isinstance(value, float) or hasattr(value, "is_integer"):
            if not number.is_integer():
                raise HarnessError(f"{where}: the id {value} is no whole number; give ids as text.")
            if not _is_whole(value) and abs(number) >= _EXACT_WHOLE:
                raise HarnessError(
                    f"{where}: the id {number:.0f} went through a floating point number, which keeps 15 "
                    "digits; read that column as text."
                )
        return str(int(number) if isinstance(value, float) else value)
    return clean(unicodedata.normalize("NFC", str(value)))


def _is_whole(value: object) -> bool:
    return not isinstance(value, float) and type(value).__name__.startswith(("int", "uint"))


def check_distinct(names: Sequence[str], where: str, what: str = "id") -> None:
    """Raise HarnessError for a name that is there twice, or is empty."""
    for name, count in Counter(names).items():
        if not name:
            raise HarnessError(f"{where}: {count} of its {what}s are empty; every case needs one.")
        if count > 1:
            raise HarnessError(f"{where}: the {what} '{name}' is there {count} times; give each case once.")


def match(wanted: Sequence[str], known: Sequence[str], where: str) -> Matched:
    """Return which known name each wanted one is: to the letter, else by what two spellings share.

    Spellings differ by case, leading zeros, ".0", blanks and separators (`spelling.normal_id`). `where` is of
    the known names. Raises HarnessError where a name could be either of two, or two names are one.
    """
    there = set(known)
    pairs = {name: name for name in wanted if name in there}
    loose: dict[str, list[str]] = defaultdict(list)
    for name in known:
        loose[_key(name)].append(name)
    loosely = []
    for name in wanted:
        found = loose.get(_key(name), []) if name not in pairs else []
        if len(found) > 1:
            raise HarnessError(
                f"{where}: '{name}' could be {listed(found)}, which differ by case, zeros or separators "
                "alone; write the id as it stands there."
            )
        if found:
            _check_rounded(found[0], name, where)
            loosely.append((name, found[0]))
    pairs |= dict(loosely)
    _check_one_to_one(pairs, where)
    used = set(pairs.values())
    missing = tuple(name for name in wanted if name not in pairs)
    unused = tuple(name for name in known if name not in used)
    for name in (*missing, *unused):
        _check_rounded(name, "", where)
    return Matched(pairs, tuple(loosely), missing, unused)


def listed(names: Iterable[str], most: int = _NAMED) -> str:
    """Return names in quotes, the first few of them, with how many more there are."""
    names = list(names)
    said = [f"'{name}'" for name in names[:most]]
    more = len(names) - len(said)
    if more > 0:
        return f"{', '.join(said)} and {more} more"
    return " or ".join(said) if len(said) == 2 else ", ".join(said)


def _key(name: str) -> str:
    return normal_id(name)


def _check_rounded(one: str, other: str, where: str) -> None:
    """Raise HarnessError for an id as a spreadsheet shortens it: its digits are gone."""
    for name in (one, other):
        if _ROUNDED.fullmatch(name):
            raise HarnessError(
                f"{where}: the id '{name}' was shortened by a spreadsheet; format that column as text and "
                "save the table again."
            )


def _check_one_to_one(pairs: dict[str, str], where: str) -> None:
    by_known: dict[str, list[str]] = defaultdict(list)
    for name, found in pairs.items():
        by_known[found].append(name)
    for found, names in by_known.items():
        if len(names) > 1:
            raise HarnessError(
                f"{where}: {listed(names)} are both '{found}' there, but for case, zeros or separators; "
                "give one of them."
            )
