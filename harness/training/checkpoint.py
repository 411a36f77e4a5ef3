"""The last finished epoch of a training: on disk once much would be lost without it, in memory until then."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch

from harness.store import files

KEEP_SECONDS = 1.0
"""So much training at least lies between two epochs that are kept in memory."""

KEEP_SHARE = 0.05
"""The most of the training time that keeping them may take."""


class Checkpoint:
    """The file that a training resumes from.

    As a context manager, in a process that SIGTERM is about to end, it writes the last epoch that it was
    given first: what a step that had begun would have made of it is no epoch's end and is never written.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._packed: memoryview | None = None
        self._written = self._kept = time.monotonic()
        self._took = 0.0
        self._handler: Any = None

    def __enter__(self) -> Checkpoint:
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, self._end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return what was written last, None where nothing was or it cannot be read, which the log says."""
        if not self.file.is_file():
            return None
        packed = io.BytesIO(self.file.read_bytes())
        try:
            content: dict[str, Any] = torch.load(packed, map_location=device, weights_only=True)
        except Exception as error:  # noqa: BLE001 - torch raises a dozen types over damaged bytes
            self.refuse(error)
            return None
        return content

    def refuse(self, error: Exception) -> None:
        """Say in the trial's log that the file resumes nothing."""
        why = next(iter(str(error).splitlines()), type(error).__name__)
        said = f"{self.file}: cannot be read ({why[:200]}); the training starts again."
        print(said, flush=True)  # noqa: T201 - this process's output is the trial's log

    def keep(self, content: Callable[[], dict[str, Any]], seconds: float) -> None:
        """Take a finished epoch in; write it once more than `seconds` of training are in no file.

        An epoch that ends soon after another is left out: packing it would cost more than doing it again.
        """
        now = time.monotonic()
        unsaved = now - self._written
        if now - self._kept < max(min(KEEP_SECONDS, seconds), self._took / KEEP_SHARE) and unsaved <= seconds:
            return
        # Through memory, because torch turns a full disk into a RuntimeError of its own.
        packed = io.BytesIO()
        torch.save(content(), packed)
        self._packed = packed.getbuffer()
        self._kept = time.monotonic()
        self._took = self._kept - now
        if unsaved > seconds:
            self.write()

    def write(self) -> None:
        """Write the epoch that was kept last, whole or not at all, unless the file holds it."""
        if self._packed is None:
            return
        files.write(self.file, self._packed)
        self._packed, self._written = None, time.monotonic()

    def _end(self, number: int, frame: FrameType | None) -> None:
        """Write what was kept and die of the signal: no exception, which a method might catch."""
        try:
            self.write()
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def epochs_in(file: Path) -> int:
    """Return how many epochs a checkpoint's file holds, 0 where there is none that can be read."""
    try:
        # Mapped: of a file of many megabytes a few bytes are read.
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        return int(content["state"]["epoch"])
    except Exception:  # noqa: BLE001 - a damaged file resumes nothing, whatever torch raises over it
        return 0
