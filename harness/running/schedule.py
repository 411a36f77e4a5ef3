"""Run every trial of a plan once, each after the one that it starts from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field, replace
from typing import Any
from typing import Protocol as Interface

import torch

from harness.errors import HarnessError, refused
from harness.running.board import protocol_digest
from harness.running.executors.local import WorkerDied
from harness.running.plan import Trial
from harness.running.prepare import Prepared
from harness.running.scoring import is_stale, scoring_identity
from harness.running.trial import Paths, commit_failed, embed_shard, rescore_here, run_logged
from harness.store import Store, files
from harness.training import embed

RunOne = Callable[[Trial, Paths, torch.device], str]


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

    "done"; "failed", with a record that says why; "blocked" by an origin that is not done;
    "stopped" by something that is not the method's fault, told in `errors`; "elsewhere", where
    another process is running it.
    """

    by_status: dict[str, list[Trial]] = field(default_factory=dict)
    already: int = 0
    rescored: list[str] = field(default_factory=list)
    """Ids of the records whose kept predictions were scored again, because the metrics or masks changed."""
    errors: list[str] = field(default_factory=list)
    again: list[Trial] = field(default_factory=list)
    """Trials that are done and run again, because others start from their weights and these are gone."""

    def add(self, trial: Trial, status: str) -> None:
        """Note how a trial ended."""
        self.by_status.setdefault(status, []).append(trial)

    def count(self, status: str) -> int:
        """Return how many trials ended so."""
        return len(self.by_status.get(status, []))


def execute(
    prepared: Prepared,
    executor: Executor,
    watcher: Watcher,
    slots: int,
    device: torch.device,
    retry_failed: bool = False,
    run_one: RunOne = run_logged,
) -> Outcome:
    """Run the trials that have no record yet; return how every trial of the plan ended.

    `run_one` runs one in a process of its own: here, or in a sandbox.
    """
    prepared.store.sweep()
    outcome, todo = _sort_out(prepared, retry_failed)
    _rescore(prepared, executor, outcome)
    watcher.begin(todo, outcome.already, slots)
    if todo:
        _Queue(prepared, executor, watcher, device, outcome, todo, run_one).run()
    return outcome


def embed_cohort(prepared: Prepared, executor: Executor, slots: int, device: torch.device) -> None:
    """Compute the embeddings of a frozen backbone that are not cached yet, a shard a slot.

    Waits where another process is computing them.
    """
    protocol, cohort, cache = prepared.protocol, prepared.cohort, prepared.paths.cache
    if protocol.backbone.adapt != "frozen":
        return
    with embed.locked(protocol, cohort, cache, device):
        if embed.are_cached(protocol, cohort, cache, device):
            return
        embed.prepare(protocol, cohort, cache, device)
        shards = [
            executor.submit(embed_shard, protocol, prepared.paths, shard, slots, device)
            for shard in range(slots)
        ]
        try:
            for shard in shards:
                shard.result()
        except WorkerDied as error:
            raise HarnessError(f"The embeddings of the frozen backbone: {error}; run again.") from None
        embed.finish(protocol, cohort, cache, device)


def _sort_out(prepared: Prepared, retry_failed: bool) -> tuple[Outcome, list[Trial]]:
    """Part the plan's trials into those that have a record and those that are to run."""
    store, outcome, todo = prepared.store, Outcome(), []
    again = weights_gone(prepared, retry_failed)
    for trial in prepared.plan.trials.values():
        if trial.id in again:
            outcome.again.append(replace(trial, again=True))
            continue
        status = store.status(trial.id)
        if status == "done":
            store.clear_work(trial.id)
            outcome.already += 1
            outcome.add(trial, "done")
        elif status == "failed" and not retry_failed:
            outcome.add(trial, "failed")
        else:
            todo.append(trial)
    return outcome, [*outcome.again, *todo]


def weights_gone(prepared: Prepared, retry_failed: bool) -> set[str]:
    """Return the trials that are done and whose weights, now gone, a trial that is to run starts from."""
    store, trials, found = prepared.store, prepared.plan.trials, set()
    for trial in trials.values():
        before = trial.starts_from
        if store.has(trial.id) and (store.is_done(trial.id) or not retry_failed):
            continue
        while before is not None and store.is_done(before) and not store.weights(before).is_file():
            found.add(before)
            before = trials[before].starts_from
    return found


def _rescore(prepared: Prepared, executor: Executor, outcome: Outcome) -> None:
    """Score the board's kept predictions again where they were scored otherwise; nothing is trained."""
    if prepared.basis is None:
        return
    on_board = _on_board(prepared)
    bases = {fold: prepared.basis.of_fold(*fold) for fold in dict.fromkeys(on_board.values())}
    wanted = {fold: scoring_identity(basis) for fold, basis in bases.items()}
    futures = {
        executor.submit(rescore_here, bases[fold].protocol, prepared.paths, trial, wanted[fold]): trial
        for trial, fold in on_board.items()
        if _is_stale(prepared.store, trial, wanted[fold])
    }
    for future, trial in futures.items():
        try:
            future.result()
            outcome.rescored.append(trial)
        except (HarnessError, WorkerDied) as error:
            outcome.errors.append(str(error))


def _on_board(prepared: Prepared) -> dict[str, tuple[int, int]]:
    """Return the trials of the plan and those that the board has beside them: submitted ones, other seeds.

    With the seed and the fold that part what each trains on from what it tests, where there are folds.
    """
    store, digest = prepared.store, protocol_digest(prepared.protocol, prepared.cohort)
    key = store.board_key(prepared.protocol.name, digest)
    folded = prepared.protocol.split.folds > 1
    wanted = {one.id: one.protocol.split.fold or (0, 0) for one in prepared.plan.trials.values()}
    board = store.spared(store.protocol, key) if key in store.protocols() else None
    if board is not None:
        wanted |= {row.trial: (row.seed, row.fold) if folded else (0, 0) for row in board.plan}
    return wanted


def _is_stale(store: Store, trial: str, scoring: dict[str, Any]) -> bool:
    record = store.spared(store.record, trial) if store.has(trial) else None
    return record is not None and is_stale(record, scoring)


class _Queue:
    """The trials of a run: waiting for their origin, submitted, ended."""

    def __init__(
        self,
        prepared: Prepared,
        executor: Executor,
        watcher: Watcher,
        device: torch.device,
        outcome: Outcome,
        todo: Iterable[Trial],
        run_one: RunOne,
    ) -> None:
        self.prepared = prepared
        self.executor = executor
        self.watcher = watcher
        self.device = device
        self.outcome = outcome
        self.waiting = list(todo)
        self.run_one = run_one
        self.started: dict[str, float] = {}
        self.futures: dict[Future[str], Trial] = {}
        self.ended = {t.id: s for s, trials in outcome.by_status.items() for t in trials}

    def run(self) -> None:
        self._submit_ready()
        while self.futures:
            done, _ = wait(self.futures, timeout=0.25, return_when=FIRST_COMPLETED)
            for future in done:
                trial = self.futures.pop(future)
                self._end(trial, self._status(trial, future))
            self._submit_ready()
            self.watcher.running(self._progress())

    def _submit_ready(self) -> None:
        for trial in list(self.waiting):
            origin = "done" if trial.starts_from is None else self.ended.get(trial.starts_from)
            if origin is None:
                continue
            self.waiting.remove(trial)
            if origin == "done":
                # What an earlier process left says nothing of this one.
                files.remove(self.prepared.store.progress(trial.id))
                future = self.executor.submit(self.run_one, trial, self.prepared.paths, self.device)
                self.futures[future] = trial
            else:
                self._end(trial, "blocked")

    def _status(self, trial: Trial, future: Future[str]) -> str:
        try:
            try:
                return future.result()
            except WorkerDied as error:
                if trial.again:
                    raise HarnessError(f"{trial.label}, again for its weights: {error}; run again.") from None
                commit_failed(self.prepared.store, trial, f"{trial.label}: {error}.", "")
                return "failed"
        except HarnessError as error:
            self.outcome.errors.append(str(error))
        except OSError as error:
            self.outcome.errors.append(f"{refused(error)} ({trial.label}); mend it and run again.")
        except Exception as error:  # noqa: BLE001 - whatever ends one trial, the others go on
            self.outcome.errors.append(f"{trial.label}: {type(error).__name__}: {error}")
        return "stopped"

    def _end(self, trial: Trial, status: str) -> None:
        self.ended[trial.id] = status
        self.outcome.add(trial, status)
        began = self.started.get(trial.id, time.monotonic())
        self.watcher.finished(trial, status, time.monotonic() - began)

    def _progress(self) -> list[tuple[Trial, dict[str, Any]]]:
        under_way = []
        for future, trial in self.futures.items():
            if future.running():
                self.started.setdefault(trial.id, time.monotonic())
                under_way.append((trial, _read_progress(self.prepared.store, trial)))
        return under_way


def _read_progress(store: Store, trial: Trial) -> dict[str, Any]:
    try:
        read = json.loads(store.progress(trial.id).read_bytes())
        return {"stage": str(read["stage"]), "done": int(read["done"]), "total": int(read["total"])}
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return {"stage": "starting", "done": 0, "total": 1}
