"""What a method may be called: a name that is nobody else's, to the machine and to a reader's eye."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from harness.errors import HarnessError
from harness.store.values import BLANK

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}"
NAMESPACE = r"[a-z0-9][a-z0-9-]{0,38}"
"""Of who submits a method: it stands before the method's name on a board, with a full stop between."""

GUEST = "guest"
"""The namespace of whoever names none."""

RESERVED = ("harness", "official", "shipped")

MOST_TITLE = 120

_LIKE_L = str.maketrans(dict.fromkeys("iI1|", "l") | {"0": "o"})


def skeleton(text: str) -> str:
    """Return what a text looks like, after Unicode's TR 39: two of one skeleton are taken for each other.

    Signs, accents and case are left out; a letter of another script becomes the Latin one that it resembles.
    """
    # Here and not above: its tables take a tenth of a second, and most names are never compared.
    from confusable_homoglyphs.confusables import confusables_data

    seen = []
    for char in unicodedata.normalize("NFKD", text):
        if not char.isascii():
            alike = [one["c"] for one in confusables_data.get(char, ())]
            char = next((one for one in alike if one.isascii() and one.isalnum()), char)
        seen.append(char)
    flat = "".join(
        one for one in "".join(seen).translate(_LIKE_L).casefold() if one.isalnum() and one not in BLANK
    )
    return flat.translate(_LIKE_L).replace("rn", "m").replace("vv", "w")


def like(name: str, known: Iterable[str]) -> str:
    """Return which of the known names a name would be taken for, "" where none."""
    own = skeleton(name)
    return next((other for other in known if skeleton(other) == own), "")


def check_name(name: str) -> None:
    """Raise HarnessError for a name that is empty, endless or of other characters than a file's should be."""
    if not re.fullmatch(NAME, name):
        raise HarnessError(
            f"{name[:60]!r} is no name for a method: up to 60 letters a to z, digits, '-', '_' and '.', of "
            "which the first is a letter or a digit; rename the file."
        )


def check_title(title: str, known: Mapping[str, str]) -> None:
    """Raise HarnessError for a title that says nothing, is endless, or reads like that of a known method.

    known: a method's name to its title.
    """
    if not skeleton(title):
        raise HarnessError("its title is empty to the eye; give the card one.")
    if len(title) > MOST_TITLE:
        raise HarnessError(f"its title has {len(title)} characters; a title has at most {MOST_TITLE}.")
    for name, other in known.items():
        if like(title, (name, other)):
            raise HarnessError(f"its title {title!r} reads like '{name}', {other!r}; give it one of its own.")


def shown(namespace: str, method: str) -> str:
    """Return what a submitted method is called on a board."""
    return f"{namespace}.{method}"
