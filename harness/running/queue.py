"""The trials of a run: waiting for the one that they start from, under way here or elsewhere, ended."""

from __future__ import annotations

import json
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any
from typing import Protocol as Interface

import torch

from harness.errors import HarnessError, refused
from harness.running.executors.local import WorkerDied
from harness.running.paths import Paths
from harness.running.plan import Trial
from harness.running.trial import commit_failed
from harness.store import Store, claims, files, names

RunOne = Callable[[Trial, Paths, torch.device], str]

LOOK_SECONDS = 1.0
"""How often a trial that runs elsewhere is looked at."""

SHOW_SECONDS = 0.25

TRIES = 4
"""How often a trial is begun whose process is ended from outside before that counts as its own fault."""


class Watcher(Interface):
    """What a run tells whoever is watching."""

    def begin(self, todo: Sequence[Trial], already: int, slots: int) -> None:
        """Before the first trial."""

    def running(self, progress: Sequence[tuple[Trial, dict[str, Any]]]) -> None:
        """A few times a second: the trials under way, each with its stage, done and total."""

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """After each trial; status is a key of `Outcome.by_status`."""


@dataclass
class Outcome:
    """How each trial of the plan ended.

    "done"; "failed", with a record that says why; "blocked" by an origin that is not done; "stopped" by
    something that is not the method's fault, told in `errors`.
    """

    by_status: dict[str, list[Trial]] = field(default_factory=dict)
    already: int = 0
    rescored: list[str] = field(default_factory=list)
    """Ids of the records whose kept predictions were scored again, because the metrics or masks changed."""
    errors: list[str] = field(default_factory=list)
    again: list[Trial] = field(default_factory=list)
    """Trials that are done and run again, because others start from their weights and these are gone."""
    elsewhere: int = 0
    """How many of those that are done or failed another process ran meanwhile."""

    def add(self, trial: Trial, status: str) -> None:
        """Note how a trial ended."""
        self.by_status.setdefault(status, []).append(trial)

    def count(self, status: str) -> int:
        """Return how many trials ended so."""
        return len(self.by_status.get(status, []))


@dataclass
class Queue:
    """Brings trials to an executor, each after the one that it starts from, and waits for all of them.

    One that another process runs is left to it and waited for; where that process dies it is run here.
    """

    store: Store
    paths: Paths
    executor: Executor
    watcher: Watcher
    device: torch.device
    outcome: Outcome
    run_one: RunOne
    slots: int

    def __post_init__(self) -> None:
        self.window = getattr(self.executor, "window", 2 * self.slots)
        self.ready: deque[Trial] = deque()
        self.waiting: dict[str, list[Trial]] = {}
        self.under_way: dict[str, Trial] = {}
        self.elsewhere: dict[str, Trial] = {}
        self.futures: dict[Future[str], Trial] = {}
        self.came_back: queue.SimpleQueue[Future[str]] = queue.SimpleQueue()
        self.started: dict[str, float] = {}
        self.tries: dict[str, int] = {}
        self.planned: dict[str, int | None] = {}
        self.ended = {t.id: s for s, trials in self.outcome.by_status.items() for t in trials}
        self.after: dict[str, Future[str]] = {}
        self.looked = self.shown = 0.0
        self.root = self._root()

    def run(self, todo: Iterable[Trial]) -> None:
        """Run the trials; every one of them is in `outcome` then."""
        for trial in todo:
            self.planned[trial.id] = self._stamp(trial)
            self._put(trial)
        self._submit_ready()
        while self.futures or self.elsewhere:
            self._take_back()
            self._look_elsewhere()
            self._submit_ready()
            self._show()

    def _put(self, trial: Trial) -> None:
        """Put a trial where it belongs: to those that can start, or to those that wait for another."""
        origin = "done" if trial.starts_from is None else self.ended.get(trial.starts_from)
        if origin is None:
            self.waiting.setdefault(str(trial.starts_from), []).append(trial)
        elif origin == "done":
            self.ready.append(trial)
        else:
            self._end(trial, "blocked")

    def _submit_ready(self) -> None:
        """Submit as many as the executor is to have; what runs elsewhere takes none of its places."""
        before = len(self.futures)
        while self.ready and len(self.futures) < self.window:
            trial = self.ready.popleft()
            if self.root not in (None, self._root()):
                # Under its old name a trial would begin another store, which no run was planned in.
                self.outcome.errors.append(
                    f"{self.store.root}: it is not the store that this run began in, which was moved or "
                    f"removed; put it back and run again ({trial.label})."
                )
                self._end(trial, "stopped")
                continue
            ended = self._ended_elsewhere(trial)
            if ended is not None:
                self.outcome.elsewhere += 1
                self._end(trial, ended)
            elif claims.holder(self.store.claim(trial.id)) is not None:
                self.elsewhere[trial.id] = trial
            else:
                self._submit(trial)
        if len(self.futures) > before and hasattr(self.executor, "flush"):
            self.executor.flush()

    def _root(self) -> tuple[int, int] | None:
        """Return what folder the store is, whatever its name."""
        try:
            found = self.store.root.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _submit(self, trial: Trial) -> None:
        # What an earlier process left says nothing of this one.
        files.remove(self.store.progress(trial.id))
        task = (self.run_one, trial, self.paths, self.device)
        before = self.after.pop(trial.id, None)
        executor: Any = self.executor
        future = executor.submit(*task) if before is None else executor.submit_after(before, *task)
        self.futures[future] = trial
        future.add_done_callback(self.came_back.put)
        if hasattr(self.executor, "submit_after"):
            # The engine knows how to wait for this one.
            for following in self.waiting.pop(trial.id, []):
                self.after[following.id] = future
                self.ready.append(following)

    def _take_back(self) -> None:
        """Wait a moment for tasks that end, and note how their trials did."""
        wait = SHOW_SECONDS
        while self.futures or wait:
            try:
                future = self.came_back.get(timeout=wait) if wait else self.came_back.get_nowait()
            except queue.Empty:
                return
            wait = 0.0
            trial = self.futures.pop(future)
            status = self._status(trial, future)
            if status == "elsewhere":
                self.elsewhere[trial.id] = trial
            elif status == "again":
                self.ready.appendleft(trial)
            elif status == "too early":
                self._put(trial)
            else:
                self._end(trial, status)

    def _look_elsewhere(self) -> None:
        """Take in what other processes have ended; run what the dead among them have left."""
        if time.monotonic() - self.looked < LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        for trial in list(self.elsewhere.values()):
            claim = self.store.claim(trial.id)
            if claims.holder(claim) is None and claims.give_back(claim):
                del self.elsewhere[trial.id]
                self.ready.append(trial)

    def _ended_elsewhere(self, trial: Trial) -> str | None:
        """Return how a trial ended that another process ran since this run was planned, None for others."""
        if trial.again:
            return "done" if self.store.weights(trial.id).is_file() else None
        if self._stamp(trial) in (None, self.planned[trial.id]):
            return None
        status = self.store.status(trial.id)
        return status if status in ("done", "failed") else None

    def _stamp(self, trial: Trial) -> int | None:
        try:
            return (self.store.path(trial.id) / names.RECORD).stat().st_mtime_ns
        except OSError:
            return None

    def _status(self, trial: Trial, future: Future[str]) -> str:
        try:
            try:
                return future.result()
            except WorkerDied as error:
                return self._of_dead(trial, error)
        except HarnessError as error:
            self.outcome.errors.append(str(error))
        except OSError as error:
            self.outcome.errors.append(f"{refused(error)} ({trial.label}); mend it and run again.")
        except Exception as error:  # noqa: BLE001 - whatever ends one trial, the others go on
            self.outcome.errors.append(f"{trial.label}: {type(error).__name__}: {error}")
        return "stopped"

    def _of_dead(self, trial: Trial, error: WorkerDied) -> str:
        """Return what becomes of a trial whose process ended without a word."""
        if error.taken_over:
            return "elsewhere"
        self.tries[trial.id] = self.tries.get(trial.id, 0) + 1
        if error.from_outside and self.tries[trial.id] < TRIES:
            return "again"
        if error.out_of_memory:
            raise HarnessError(
                f"{trial.label}: the kernel ended its process because this machine's memory was full, which "
                "is no fault of the method; run again with fewer --jobs: it goes on from its last checkpoint."
            )
        if trial.again:
            raise HarnessError(f"{trial.label}, again for its weights: {error}; run again.")
        with self.store.claimed(trial.id) as own:
            if not own:
                return "elsewhere"
            if self.store.is_done(trial.id):  # it died just after
                return "done"
            tried = f" ({self.tries[trial.id]} times)" if self.tries[trial.id] > 1 else ""
            commit_failed(self.store, trial, f"{trial.label}: {error}{tried}.", "")
        return "failed"

    def _end(self, trial: Trial, status: str) -> None:
        self.ended[trial.id] = status
        self.outcome.add(trial, status)
        began = self.started.get(trial.id, time.monotonic())
        self.watcher.finished(trial, status, time.monotonic() - began)
        for following in self.waiting.pop(trial.id, []):
            self._put(following)

    def _show(self) -> None:
        if time.monotonic() - self.shown >= SHOW_SECONDS:
            self.shown = time.monotonic()
            self.watcher.running(self._progress())

    def _progress(self) -> list[tuple[Trial, dict[str, Any]]]:
        under_way = []
        for future, trial in self.futures.items():
            if future.running():
                self.started.setdefault(trial.id, time.monotonic())
                under_way.append((trial, read_progress(self.store, trial.id)))
        return under_way + [(trial, ELSEWHERE) for trial in self.elsewhere.values()]


ELSEWHERE = {"stage": "elsewhere", "done": 0, "total": 1}


def read_progress(store: Store, trial: str) -> dict[str, Any]:
    """Return how far a trial says that it is: its stage, what is done of it and of how much."""
    try:
        read = json.loads(store.progress(trial).read_bytes())
        return {"stage": str(read["stage"]), "done": int(read["done"]), "total": int(read["total"])}
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return {"stage": "starting", "done": 0, "total": 1}
