"""The CPU cores or GPUs of one machine as an executor: one fresh process a task, one task a slot."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from harness.errors import HarnessError
from harness.running.executors import Asked, places
from harness.running.executors import process as process_of
from harness.running.executors.places import slots as slots
from harness.running.executors.process import WorkerDied as WorkerDied

# glibc reads these when a process starts: tasks keep the memory that they free, or every training
# step pays for fresh pages (measured on two cores: a tenth to a third of the encoder's time).
_KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(8 * 2**30), "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20)}


class LocalExecutor(Executor):
    """Runs each task in a process of its own, so that no plugin's state or crash reaches another.

    `slots` holds, for each task that may run at a time, the environment variables of its process:
    `{"CUDA_VISIBLE_DEVICES": "1"}` for a slot on the second GPU, `{}` for one on the CPU. Tasks
    start in the order in which they were submitted. Processes are forked from a server that has
    already imported `preload`, which saves the seconds that importing torch takes. A task that takes longer
    than `seconds` is ended.
    """

    def __init__(
        self, slots: Sequence[dict[str, str]], preload: Sequence[str] = (), seconds: float | None = None
    ) -> None:
        self._context = start_server(preload)
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._running: set[Any] = set()
        self.slots, self.window = len(slots), 2 * len(slots)
        self._closed = False
        self._seconds = seconds
        self._threads = [threading.Thread(target=self._serve, args=(slot,), daemon=True) for slot in slots]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue `fn(*args, **kwargs)`; the future raises WorkerDied if its process leaves no result."""
        if self._closed:
            raise RuntimeError("cannot submit to an executor that was shut down")
        future: Future[Any] = Future()
        self._tasks.put((future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop taking tasks. With `cancel_futures`, running processes are killed too."""
        self._closed = True
        if cancel_futures:
            self._cancel_waiting()
            for process in list(self._running):
                process.kill()
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the tasks; where an error ends the block, end them: nobody takes their results."""
        self.shutdown(wait=kind is None, cancel_futures=kind is not None)

    def stop(self, seconds: float) -> None:
        """Ask what runs to end, so that it may keep what it has; kill what takes longer than `seconds`."""
        self._closed = True
        self._cancel_waiting()
        asked: set[Any] = set()
        deadline = time.monotonic() + seconds
        while (running := set(self._running)) and time.monotonic() < deadline:
            for process in running - asked:
                process.terminate()
            asked |= running
            time.sleep(0.02)
        self.shutdown(wait=False, cancel_futures=True)

    def _cancel_waiting(self) -> None:
        while not self._tasks.empty():
            task = self._tasks.get()
            if task is not None:
                task[0].cancel()

    def _serve(self, slot: dict[str, str]) -> None:
        while (task := self._tasks.get()) is not None:
            future, *what = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._run(slot, tuple(what)))
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked for the result
                future.set_exception(error)

    def _run(self, slot: dict[str, str], task: tuple[Any, ...]) -> Any:
        process, receiver = process_of.start(self._context, slot, task)
        self._running.add(process)
        try:
            return process_of.result(process, receiver, self._seconds)
        finally:
            self._running.discard(process)


def start_server(preload: Sequence[str]) -> Any:
    """Start the server that workers are forked from, which imports `preload`; return its context.

    Where it runs already it stays as it is.
    """
    for name, value in _KEEP_MEMORY.items():
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    process_of.start_server()
    return context


@dataclass(frozen=True)
class Options:
    """What a machine is asked for.

    per_gpu: trials that share a GPU, or "auto": as many as its memory holds, by what one took before.
    """

    per_gpu: str = "1"


def make(asked: Asked, options: Options) -> LocalExecutor:
    """Return the executor of this machine. Raises HarnessError for a number of trials a GPU that is none."""
    jobs, cards = asked.jobs, asked.cards
    if options.per_gpu not in ("", "1") and asked.each > 1:
        raise HarnessError(
            f"--cards {asked.each}: its cards are a trial's own; leave --set per_gpu={options.per_gpu} out."
        )
    if options.per_gpu not in ("", "1") and (gpus := places.gpus(asked.device, cards)) and jobs is None:
        jobs = len(gpus) * places.per_gpu(options.per_gpu, asked.peak)
    found = places.slots(asked.device, jobs, asked.threads, cards, asked.each)
    return LocalExecutor(found, asked.preload, asked.seconds)
