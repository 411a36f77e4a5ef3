"""The errors a user meets: one sentence that says what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """A mistake in the input (a file, a field, an option), told in one sentence.

    The command line prints it without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class TrialError(HarnessError):
    """A trial that could not go on (a NaN loss, a misbehaving plugin); the other trials do."""

    exit_code = 1


def plain(text: str, keep: str = "") -> str:
    """Return a stranger's text without what would move a terminal's cursor, but for those of `keep`."""
    return "".join(char if char.isprintable() or char in keep else "?" for char in text)


def refused(error: OSError) -> str:
    """Return what the file system said, and of which file: `runs/records: Permission denied`."""
    said = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {said}" if error.filename else said


def shown(given: object, most: int = 60) -> str:
    """Return how a value is written in a sentence: on one line, cut where it is longer than `most`."""
    try:
        said = " ".join(repr(given).split())
    except ValueError:  # an integer of more than 4300 digits
        said = "a number too long to write"
    return said if len(said) <= most else f"{said[: most - 3]}..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the closest known name, else the list of known names."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f" Did you mean '{close[0]}'?"
    return f" Known: {', '.join(known)}." if known else ""
