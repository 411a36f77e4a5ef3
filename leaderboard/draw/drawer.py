"""Figures drawn in one process of their own: what draws them takes half a second to start, in each process.

Whoever asks goes on with something else until the drawing is needed. Where nothing answers he draws himself.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection, Listener
from queue import SimpleQueue
from threading import Thread
from typing import Any

from leaderboard import parallel

Spec = dict[str, Any]

_MOST_WAITING = 64
"""Processes that may ask before the first is answered."""
_LOOK_SECONDS = 0.5

_address: str | None = None
"""Where the process is asked, while there is one."""
_allowed = False
_end: Callable[[], None] | None = None
_line: _Line | None = None
"""This process's own connection; one that is forked makes another."""


@contextmanager
def drawing() -> Iterator[None]:
    """Let `start` start a process until the block ends, and end it then."""
    global _allowed, _address, _end, _line
    _allowed = True
    try:
        yield
    finally:
        if _end is not None:
            _end()
        _allowed, _address, _end, _line = False, None, None, None


def start(trials: int) -> None:
    """Start the process that draws, where a board of so many trials is made by several and it is not there.

    It is best started where a core is idle, before the others ask.
    """
    global _address, _end
    if not _allowed or _address is not None or not parallel.forks(trials):
        return
    listener = Listener(None, "AF_UNIX", backlog=_MOST_WAITING)
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(listener,), daemon=True)
    process.start()

    def end() -> None:
        process.kill()
        process.join()
        listener.close()

    _address, _end = str(listener.address), end


def ask(spec: Spec) -> Callable[[], str]:
    """Have a figure drawn; return what waits for its SVG, and raises what drawing raises."""
    line = _own_line()
    number = None if line is None else line.ask(spec)

    def wait() -> str:
        svg = None if line is None or number is None else line.answer(number)
        return drawn(spec) if svg is None else svg

    return wait


def drawn(spec: Spec) -> str:
    """Draw a figure in this process. Raises ValueError for what is no figure."""
    import vl_convert

    return vl_convert.vegalite_to_svg(spec, vl_version="5.20")


class _Line:
    """A connection to the process that draws: it answers in the order in which it is asked."""

    def __init__(self, address: str) -> None:
        self.process = os.getpid()
        self.connection: Connection | None = None
        with contextlib.suppress(OSError):
            self.connection = Client(address)
        self.asked = self.answered = 0
        self.answers: dict[int, str | None] = {}

    def ask(self, spec: Spec) -> int | None:
        """Send a figure; return its number, None where nobody takes it."""
        if self.connection is None:
            return None
        try:
            self.connection.send(spec)
        except OSError:
            self.connection = None
            return None
        self.asked += 1
        return self.asked

    def answer(self, number: int) -> str | None:
        """Return the SVG of a number, once; None where it could not be drawn or nobody is there any more."""
        while number not in self.answers and self.connection is not None:
            try:
                svg = self.connection.recv()
            except (OSError, EOFError):
                self.connection = None
            else:
                self.answered += 1
                self.answers[self.answered] = svg
        return self.answers.pop(number, None)


def _own_line() -> _Line | None:
    global _line
    if _address is None:
        return None
    if _line is None or _line.process != os.getpid():
        _line = _Line(_address)
    return _line


def _serve(listener: Listener) -> None:
    """Answer all who ask until the process that started this one ends."""
    parent = os.getppid()
    # Ctrl-C goes to all processes: the one that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    Thread(target=_accept, args=(listener,), daemon=True).start()
    with contextlib.suppress(ValueError):
        drawn({"data": {"values": []}, "mark": "point"})
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)


def _accept(listener: Listener) -> None:
    while True:
        connection, asked = listener.accept(), SimpleQueue[Spec]()
        # Read at once, or the one who asks would wait for whoever does not read his answers yet.
        for work in (_read, _answer):
            Thread(target=work, args=(connection, asked), daemon=True).start()


def _read(connection: Connection, asked: SimpleQueue[Spec]) -> None:
    with contextlib.suppress(OSError, EOFError):
        while True:
            asked.put(connection.recv())


def _answer(connection: Connection, asked: SimpleQueue[Spec]) -> None:
    with contextlib.suppress(OSError):
        while True:
            svg = None
            # Whoever asked draws it himself then, and says what is wrong.
            with contextlib.suppress(Exception):
                svg = drawn(asked.get())
            connection.send(svg)
