"""Ctrl-C: the first stops what is going on and says what is true of it; a second ends at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

_MOMENT = 0.05


class Interrupted(Exception):
    """An interruption that has been dealt with; its text says what is kept and what is not.

    No KeyboardInterrupt, which click would turn into one of its own. `status` is the exit status that
    shells expect of a process that a signal ended.
    """

    def __init__(self, said: str, status: int = 128 + signal.SIGINT) -> None:
        super().__init__(said)
        self.status = status


class Stop(KeyboardInterrupt):
    """The first Ctrl-C, or another request to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.status = 128 + number


def listen() -> None:
    """Take Ctrl-C, SIGTERM and a closed terminal as a request to stop; what is ignored stays so."""
    for number in _SIGNALS:
        # In the background of a shell Ctrl-C is ignored, and under nohup a closed terminal.
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _first)
    sys.unraisablehook = _once_more


def ending() -> None:
    """From now on a request to stop ends the process at once: all is done or said."""
    for number in _SIGNALS:
        if signal.getsignal(number) is _first:
            signal.signal(number, _second)


def status_of(error: BaseException) -> int:
    """Return the exit status that an interruption ends with."""
    return int(getattr(error, "status", 128 + signal.SIGINT))


def _once_more(told: sys.UnraisableHookArgs) -> None:
    """Ask again to stop where Python dropped it: it does with what is raised while an object goes away."""
    if not isinstance(told.exc_value, Stop):
        sys.__unraisablehook__(told)
        return
    for number in _SIGNALS:
        if signal.getsignal(number) is _second:
            signal.signal(number, _first)
    # A moment later: from within this hook it would be dropped again.
    threading.Timer(_MOMENT, os.kill, (os.getpid(), told.exc_value.status - 128)).start()


def _first(number: int, frame: FrameType | None) -> None:
    ending()
    raise Stop(number)


def _second(number: int, frame: FrameType | None) -> None:
    # No cleaning up and no traceback; the worker processes notice that their parent is gone.
    os.write(2, b"\n")
    os._exit(128 + number)
