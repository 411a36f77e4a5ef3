"""One line in the terminal that says what is going on until there is something to show."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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


def _say(text: str) -> None:
    # A line that wraps could not be taken away again.
    sys.stderr.write("\r\x1b[2K" + text[: shutil.get_terminal_size().columns - 1])
    sys.stderr.flush()


def _nothing(text: str) -> None:
    """Say nothing: nobody is watching."""
