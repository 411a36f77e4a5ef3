"""What a method may require: packages by name and version, as text that no shell and no installer obeys."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement

from harness.errors import HarnessError

MOST = 20
"""Packages that one method may require."""

_LONGEST = 200

INSTALL = "pip install --only-binary :all:"
"""How what is missing is installed: from wheels, of which nothing is executed then."""


def named(text: str) -> Requirement:
    """Return a requirement (PEP 508) that is a name and versions of it, and nothing else.

    Raises HarnessError for an address, a path, an option of pip, extras, a marker, and for `===`, whose
    version is any text.
    """
    try:
        found = Requirement(text) if isinstance(text, str) and len(text) <= _LONGEST else None
    except InvalidRequirement:
        found = None
    plain = found is not None and not (found.url or found.marker or found.extras)
    if found is None or not plain or any(one.operator == "===" for one in found.specifier):
        shown = text[:60] if isinstance(text, str) else text
        raise HarnessError(
            f"{shown!r} is no requirement that a method may have: it is a name and versions, like "
            "'scikit-image>=0.22', without address, path, option, extra or marker."
        )
    return found


def all_named(texts: Iterable[str]) -> list[str]:
    """Return requirements as `named` reads them, each as one text. Raises HarnessError, too for very many."""
    found = [str(named(text)) for text in texts]
    if len(found) > MOST:
        raise HarnessError(f"a method requires {len(found)} packages; at most {MOST} can be.")
    return found


def quoted(texts: Iterable[str]) -> str:
    """Return requirements as a shell takes them: every one a single word, whatever is in it."""
    return " ".join(shlex.quote(text) for text in texts)
