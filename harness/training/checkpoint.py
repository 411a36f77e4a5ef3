"""The last finished epoch of a training: on disk once much would be lost without it, in memory until then."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch

from harness.store import files, names

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
        self._held: Any = None
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
        """Return what was written last and can be read, None where nothing is; the log says what cannot."""
        return next(self.contents(device), None)

    def contents(self, device: torch.device) -> Iterator[dict[str, Any]]:
        """Yield what was written last, and then what was before it, but for what cannot be read."""
        for file in (self.file, before(self.file)):
            if not file.is_file():
                continue
            packed = io.BytesIO(file.read_bytes())
            try:
                content: dict[str, Any] = torch.load(packed, map_location=device, weights_only=True)
            except Exception as error:  # noqa: BLE001 - torch raises a dozen types over damaged bytes
                self.refuse(error, file)
                continue
            yield content

    def refuse(self, error: Exception, file: Path | None = None) -> None:
        """Say in the trial's log that a file resumes nothing."""
        file = file or self.file
        why = next(iter(str(error).splitlines()), type(error).__name__)
        older = file == self.file and before(file).is_file()
        then = "the one before it is taken" if older else "the training starts again"
        _say(f"{file}: cannot be read ({why[:200]}); {then}.")

    def resumed(self, epoch: int, epochs: int) -> None:
        """Say in the trial's log where the training goes on."""
        _say(f"The training goes on after epoch {epoch} of {epochs}, from its checkpoint.")

    def tell(self, epoch: int, epochs: int, curve: Sequence[tuple[int, str, str, str, float]]) -> None:
        """Leave beside the file how far the training is and its curve, for who watches."""
        losses = [[row[0], row[4]] for row in curve if row[1:4] == ("loss", "", "")]
        said = {"epoch": epoch, "epochs": epochs, "losses": losses}
        files.note(self.file.with_name(names.EPOCHS), json.dumps(said).encode())

    def keep(self, content: Callable[[], dict[str, Any]], seconds: float) -> None:
        """Take a finished epoch in; write it once more than `seconds` of training are in no file.

        An epoch that ends soon after another is left out: copying it would cost more than doing it again.
        """
        now = time.monotonic()
        unsaved = now - self._written
        if now - self._kept < max(min(KEEP_SECONDS, seconds), self._took / KEEP_SHARE) and unsaved <= seconds:
            return
        # Not packed yet, which takes ten times as long: most epochs are followed by another.
        self._held = _copied(content())
        self._kept = time.monotonic()
        self._took = self._kept - now
        if unsaved > seconds:
            self.write()

    def write(self) -> None:
        """Write the epoch that was kept last, whole or not at all, unless the file holds it."""
        if self._held is None:
            return
        # Through memory, because torch turns a full disk into a RuntimeError of its own.
        packed = io.BytesIO()
        torch.save(self._held, packed)
        if self.file.is_file():
            # For the day on which what is written now cannot be read.
            files.move(self.file, before(self.file))
        files.write(self.file, packed.getbuffer())
        self._held, self._written = None, time.monotonic()

    def _end(self, number: int, frame: FrameType | None) -> None:
        """Write what was kept and die of the signal: no exception, which a method might catch."""
        try:
            self.write()
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


class ReadOnly(Checkpoint):
    """The file as whoever else trains with its writer resumes from it: read alone, and in silence."""

    def refuse(self, error: Exception, file: Path | None = None) -> None:
        """Leave it to the writer to say so."""

    def resumed(self, epoch: int, epochs: int) -> None:
        """Leave it to the writer to say so."""

    def tell(self, epoch: int, epochs: int, curve: Sequence[tuple[int, str, str, str, float]]) -> None:
        """Leave it to the writer."""

    def keep(self, content: Callable[[], dict[str, Any]], seconds: float) -> None:
        """Leave it to the writer."""


def _copied(value: Any) -> Any:
    """Return what a training goes on to change as it is now, its tensors in the host's memory."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value


def before(file: Path) -> Path:
    """Return where the checkpoint is kept that was written before this one."""
    return file.with_stem(f"{file.stem}-before")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this process's output is the trial's log


def epochs_in(file: Path) -> int:
    """Return how many epochs a checkpoint's file holds, 0 where there is none that can be read."""
    try:
        # Mapped: of a file of many megabytes a few bytes are read.
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        return int(content["state"]["epoch"])
    except Exception:  # noqa: BLE001 - a damaged file resumes nothing, whatever torch raises over it
        return 0
