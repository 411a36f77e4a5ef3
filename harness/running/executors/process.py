"""A task in a process of its own: what it returned or raised, or how it died."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

TAKEN_OVER = 75
"""How a process ends that was silent for so long that another has taken its trial over."""

CARD_LOST = 100
"""And one that waits for another of its trial's cards, whose process has ended: this and its number."""

_FOR_A_JOB = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
]
_CHILD_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""

_ROUNDS = 10
"""How often those are ended whose parents were ended before: so deep go the processes of a task at most."""

_EXIT_SECONDS = 5.0
"""How long a process may take to end that has said how its task did."""

_OUTSIDE = ("SIGHUP", "SIGINT", "SIGKILL", "SIGTERM")


class WorkerDied(RuntimeError):
    """A task's process ended without a result: killed, out of memory, or a crash in native code."""

    def __init__(self, exitcode: int, out_of_memory: bool = False) -> None:
        self.exitcode = exitcode
        self.out_of_memory = out_of_memory
        """Whether the kernel has ended some process for want of memory meanwhile."""
        self.taken_over = exitcode == TAKEN_OVER
        self.from_outside = False
        """Whether somebody else may have ended it: an engine, a person, a machine short of memory."""
        if exitcode < 0:
            name = signal.Signals(-exitcode).name
            self.from_outside = name in _OUTSIDE
            hint = "; the usual reason is that the machine ran out of memory" if exitcode == -9 else ""
            super().__init__(f"its process was ended by {name}{hint}")
        elif exitcode > CARD_LOST:
            super().__init__(f"the process of its card {exitcode - CARD_LOST} ended; its log says how")
        else:
            super().__init__(f"its process exited with status {exitcode}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Come from another machine by its status."""
        return type(self), (self.exitcode, self.out_of_memory)


class CardDied(WorkerDied):
    """One of a trial's cards whose process ended without a word, and the others with it."""

    def __init__(self, card: int, exitcode: int, out_of_memory: bool = False) -> None:
        super().__init__(exitcode, out_of_memory)
        self.card = card

    def __reduce__(self) -> tuple[Any, ...]:
        """Come from another process by its card and status."""
        return CardDied, (self.card, self.exitcode, self.out_of_memory)

    def __str__(self) -> str:
        """Return what a record says of it."""
        return f"card {self.card}: {super().__str__()}"


class JobLost(WorkerDied):
    """A job of another machine that ended without a result."""

    def __init__(self, said: str) -> None:
        RuntimeError.__init__(self, said)
        self.exitcode, self.taken_over, self.from_outside = -signal.SIGKILL, False, True
        self.out_of_memory = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel by what was said."""
        return JobLost, (str(self),)


class TookTooLong(WorkerDied):
    """A task that was ended because it took longer than it may."""

    def __init__(self, seconds: float) -> None:
        super().__init__(-int(signal.SIGKILL))
        self.seconds, self.from_outside = seconds, False

    def __reduce__(self) -> tuple[Any, ...]:
        """Come from another machine by the limit alone."""
        return TookTooLong, (self.seconds,)

    def __str__(self) -> str:
        """Return what a record says of it."""
        return f"it took longer than {self.seconds / 60:.3g} minutes (--minutes) and was ended"


def start_server() -> None:
    """Start the server that processes are forked from, deaf to what a batch system tells a whole job.

    It would die of a SIGTERM or a warning that is for its children's trials, and these would be lost with it.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    own = {number: signal.signal(number, signal.SIG_IGN) for number in _FOR_A_JOB}
    try:
        forkserver.ensure_running()
    finally:
        for number, handler in own.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def start(context: Any, slot: dict[str, str], task: tuple[Any, ...]) -> tuple[Any, Connection]:
    """Start a process for `(function, arguments, keywords)`; return it and where its answer comes."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, slot, *task))
    process.start()
    sender.close()
    return process, receiver


def result(process: Any, receiver: Connection, seconds: float | None) -> Any:
    """Return what a process's task returned, or raise what it raised; WorkerDied where it said nothing.

    What it started and left running is ended with it.
    """
    try:
        outcome, value = _answer(process, receiver, seconds)
    finally:
        # A thread that a plugin has left behind may never end, and what its task returned is here.
        process.join(_EXIT_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        _end_group(process.pid)
        receiver.close()
    if outcome == "raised":
        raise value
    return value


def _answer(process: Any, receiver: Connection, seconds: float | None) -> tuple[str, Any]:
    killed = _killed()
    # Its end is waited for as well: what it forked holds the pipe open, and would for ever.
    if not connection.wait([receiver, process.sentinel], seconds):
        process.kill()
        raise TookTooLong(seconds or 0.0)
    with contextlib.suppress(EOFError, OSError):
        if receiver.poll():
            answer: tuple[str, Any] = receiver.recv()
            return answer
    process.join()
    exitcode = process.exitcode or 0
    raise WorkerDied(exitcode, out_of_memory=exitcode == -signal.SIGKILL and _killed() > killed)


def _killed() -> int:
    """Return how many processes the kernel has ended for want of memory since it started, 0 where untold."""
    try:
        counts = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0


def _end_group(group: int) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


def _child(sender: Connection, slot: dict[str, str], fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what happens to its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(os, "setsid"):
        os.setsid()  # what it forks can be ended with it
    _adopt_orphans()
    os.environ.update(slot)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        outcome = ("returned", fn(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 - handed to the parent whole
        outcome = ("raised", error)
    _end_children()
    sender.send(outcome)
    sender.close()


def _adopt_orphans() -> None:
    """Let what a task starts stay this process's, a daemon in a session of its own too, where one can."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_CHILD_SUBREAPER, 1)


def _end_children() -> None:
    """End what this process's task has left running: a daemon's parent is gone, and this one in its place."""
    for _ in range(_ROUNDS):
        if not (children := _children()):
            return
        for child in children:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(child, 0)


def _children() -> list[int]:
    """Return the processes whose parent this one is, none where the system does not tell."""
    found = []
    for told in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            number, _, rest = told.read_text().rpartition(")")
            if int(rest.split()[1]) == os.getpid():
                found.append(int(number.split()[0]))
    return found


def _die_with_parent() -> None:
    """Wait for the parent and go with it: nobody would take the result, and the trial would stay claimed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _end_group(os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)
