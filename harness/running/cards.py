"""One trial on several cards: a process a card, which end together however one of them ends."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from harness.errors import HarnessError, TrialError
from harness.running import group
from harness.running.executors import places
from harness.running.executors import process as process_of
from harness.running.executors.process import CARD_LOST, CardDied, WorkerDied
from harness.running.group import Parted
from harness.store import leases
from harness.training.room import lacking
from harness.training.together import ALONE, Cards

NOTICE_SECONDS = 120.0
"""How long after a card's process has ended the first one may take to notice by itself."""

Follow = Callable[[Cards], None]
"""Trains on a card that is not the first. It travels to another process."""


def check(count: int, device: torch.device) -> None:
    """Raise HarnessError, one sentence, where trials cannot have so many cards of a kind each."""
    if count == 1:
        return
    if find_spec("accelerate") is None:
        raise HarnessError(
            f"--cards {count}: accelerate is not installed; pip install 'equity-leaderboard[cards]'."
        )
    if device.index is not None:
        raise HarnessError(
            f"--cards {count}: --device {device} is one card; name {count} (cuda:0,1 ...) or say cuda."
        )
    if device.type not in ("cpu", "cuda"):
        raise HarnessError(f"--cards {count}: only GPUs of CUDA can share a trial, and processes on the CPU.")


@contextmanager
def joined(count: int, device: torch.device, label: str, follow: Follow) -> Iterator[Cards]:
    """Share what is trained inside with `follow` in the processes of further cards; this is the first.

    Raises CardDied where one of those processes ended without a word, and what it raised where it did: all
    have ended then. HarnessError where this process does not see so many cards.
    """
    if count == 1:
        yield ALONE
        return
    seats = _seats(count, device)
    with leases.leased("cards") as folder:
        others = _Others(label)
        for index, seat in enumerate(seats[1:], start=1):
            others.start(index, seat, (_take, (folder, index, count, device, follow), {}))
        # Twice: a line may break while they meet, and who leaves waits for nobody.
        with others.ended(), group.met(folder, 0, count, device) as own, others.ended():
            yield own


def _take(folder: Path, index: int, count: int, device: torch.device, follow: Follow) -> None:
    """Be a card of a trial, in a process that ends with the first card's."""
    # A batch system tells all processes of a job; the first card keeps the last epoch, and needs this one.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with group.met(folder, index, count, device) as own:
        follow(own)


def _seats(count: int, device: torch.device) -> list[dict[str, str]]:
    """Return, for each card, the environment variables of its process."""
    if device.type == "cpu":
        return [{}] * count
    found = places.gpus(device)
    if len(found) < count:
        raise HarnessError(f"--cards {count}: this trial was given {len(found)}; ask for {count} a trial.")
    return [{"CUDA_VISIBLE_DEVICES": one} for one in found[:count]]


class _Others:
    """The processes of all cards but the first: watched, so that nobody waits for one that has ended."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["harness.running.trial"])
        process_of.start_server()
        self._processes: list[Any] = []
        self._threads: list[threading.Thread] = []
        self._lost: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self._over = threading.Event()

    def start(self, index: int, seat: dict[str, str], task: tuple[Any, ...]) -> None:
        """Start a card's process."""
        process, receiver = process_of.start(self._context, seat, task)
        self._processes.append(process)
        thread = threading.Thread(target=self._watch, args=(index, process, receiver), daemon=True)
        self._threads.append(thread)
        thread.start()

    @contextmanager
    def ended(self) -> Iterator[None]:
        """Raise what ended another card where the first has lost it; all have ended after the block."""
        try:
            yield
        except Parted as error:
            raise self._why(error) from None
        finally:
            self._over.set()
            for process in self._processes:
                process.kill()
            for thread in self._threads:
                thread.join()

    def _why(self, parted: Parted) -> BaseException:
        try:
            return self._lost.get(timeout=NOTICE_SECONDS)
        except queue.Empty:
            return HarnessError(f"{self._label}: its cards lost one another ({parted}); run again.")

    def _watch(self, index: int, process: Any, receiver: Any) -> None:
        found: BaseException | None = None
        try:
            process_of.result(process, receiver, None)
        except WorkerDied as error:
            found = CardDied(index, error.exitcode, error.out_of_memory)
        except HarnessError as error:
            found = error
        except BaseException as error:  # noqa: BLE001 - it is the trial's end, whatever it is
            found = self._failure(index, error)
        # Of a line that broke its other end is to blame.
        if found is None or isinstance(found, Parted) or self._over.is_set():
            return
        self._lost.put(found)
        if not self._over.wait(NOTICE_SECONDS):
            # The first card waits on its GPU for one that will never answer, and no exception reaches it.
            print(f"{found}", flush=True)  # noqa: T201 - this process's output is the trial's log
            os._exit(CARD_LOST + index)

    def _failure(self, index: int, error: BaseException) -> BaseException:
        if isinstance(error, Parted):
            return error
        whose = lacking(error)
        said = f"{self._label}: on card {index}, {type(error).__name__}: {error}"
        if whose:
            return HarnessError(
                f"{said.rstrip('.')}; the {whose}'s memory is full, run again with fewer --jobs."
            )
        return TrialError(said)
