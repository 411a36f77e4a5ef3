"""One line in the terminal that says what is going on until there is something to show."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SHOW_SECONDS = 0.1
_SHORT = 5.0


@contextmanager
def waiting(first: str) -> Iterator[Callable[[str], None]]:
    """Show a line at once and take it away in the end; what is given says something else in its place.

    Without colours, threads or imports: it is to be there before anything else is. Goes to standard error,
    and nowhere if that is no terminal.
    """
    say = _say if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else _nothing
    say(first)
    try:
        yield say
    finally:
        say("")


def counted(say: Callable[[str], None]) -> Callable[[str, int, int], None]:
    """Return what says through `say` what is done, how many of how many, and how long the rest will take."""
    last, began, first, shown = "", 0.0, 0, 0.0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last, began, first, shown
        now = time.monotonic()
        if what != last:
            last, began, first, shown = what, now, done, 0.0
        # A terminal that is told of each of a million takes longer than they do.
        if now - shown < _SHOW_SECONDS and done < total:
            return
        shown = now
        say(f"{what}: {done} of {total}{_to_go(now - began, done - first, total - done)} ...")

    return tell


def _to_go(seconds: float, done: int, left: int) -> str:
    """Return ", 3 min to go" at the pace so far; "" where that is not known yet, or next to nothing."""
    rest = seconds / done * left if done else 0.0
    if rest < _SHORT:
        return ""
    return f", {rest:.0f} s to go" if rest < 100 else f", {rest / 60:.0f} min to go"


def _say(text: str) -> None:
    # A line that wraps could not be taken away again.
    sys.stderr.write("\r\x1b[2K" + text[: shutil.get_terminal_size().columns - 1])
    sys.stderr.flush()


def _nothing(text: str) -> None:
    """Say nothing: nobody is watching."""
