"""A method's container beside a training: opened, spoken to over one socket, and ended with it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import TrialError
from harness.sandbox.container import Ended
from harness.sandbox.line import Line
from harness.store import leases

_DYING = 2.0
"""Seconds that the engine may take to say why a process ended whose line broke."""

Run = Callable[[Path, threading.Event], Ended]
"""Runs a process that connects to a socket until it ends, or the event says that it shall."""


class Box:
    """A process that answers over a line, and what its end was like."""

    def __init__(self, run: Run, path: Path) -> None:
        self._run, self._path = run, path
        self._stop = threading.Event()
        self._ended: Ended | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def accept(self, door: socket.socket, where: str, seconds: float) -> Line:
        """Return the line that the process opens. Raises TrialError where it ends or waits instead."""
        until = time.monotonic() + seconds
        door.settimeout(0.1)
        while self._thread.is_alive() and time.monotonic() < until:
            try:
                connection, _ = door.accept()
            except TimeoutError:
                continue
            return Line(connection)
        late = self._thread.is_alive()
        why = self.why()
        raise TrialError(
            f"{where}: {why or (f'it did not begin within {seconds:g} s' if late else 'it ended at once')}."
        )

    def why(self) -> str:
        """Return why the process ended by itself, "" where it did not: then it is ended here."""
        self._thread.join(_DYING)
        alive = self._thread.is_alive()
        ended = self.close()
        # A slow engine may still be ending one that went over a limit, which broke its line.
        return ended.limit if alive else ended.reason

    def close(self) -> Ended:
        """End the process; return what is known of its end. Raises what the engine raised."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._ended is not None
        return self._ended

    def _watch(self) -> None:
        try:
            self._ended = self._run(self._path, self._stop)
        except Exception as error:  # noqa: BLE001 - raised where somebody can answer for it
            self._error = error


@contextmanager
def opened(run: Run) -> Iterator[tuple[Box, socket.socket]]:
    """Yield a process that was told of a socket, and that socket; the process is ended in any case."""
    # A folder that only this user can enter: the container is shown the socket alone.
    with leases.leased("line") as folder:
        path = folder / "line"
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(path))
            path.chmod(0o666)
            door.listen(1)
            box = Box(run, path)
            try:
                yield box, door
            finally:
                box.close()
