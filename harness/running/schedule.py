"""Run every trial of a plan once, each after the one that it starts from."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, Executor, wait
from dataclasses import replace
from typing import Any

import torch

from harness.cohorts.source import Progress, silent
from harness.errors import HarnessError
from harness.running.board import protocol_digest
from harness.running.executors.process import WorkerDied
from harness.running.plan import Trial
from harness.running.prepare import Prepared
from harness.running.queue import SHOW_SECONDS, Queue, RunOne
from harness.running.queue import Outcome as Outcome
from harness.running.queue import Watcher as Watcher
from harness.running.scoring import is_stale, scoring_identity
from harness.running.trial import embed_shard, rescore_here, run_logged
from harness.store import Store, claims
from harness.training import embed


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
        store, paths = prepared.store, prepared.paths
        Queue(store, paths, executor, watcher, device, outcome, run_one, slots).run(todo)
        store.sweep()
    return outcome


def embed_cohort(
    prepared: Prepared, executor: Executor, slots: int, device: torch.device, progress: Progress = silent
) -> None:
    """Compute the embeddings of a frozen backbone that are not cached yet, a shard a slot.

    Waits where another process is computing them; `progress` is told how many batches are done.
    """
    protocol, cohort, cache = prepared.protocol, prepared.cohort, prepared.paths.cache
    if protocol.backbone.adapt != "frozen":
        return
    with embed.locked(protocol, cohort, cache, device):
        if embed.are_cached(protocol, cohort, cache, device):
            return
        count = embed.counter(protocol, cohort, cache, device)
        shards = {
            executor.submit(embed_shard, protocol, prepared.paths, shard, slots, device)
            for shard in range(slots)
        }
        try:
            while shards:
                ended, shards = wait(shards, SHOW_SECONDS, FIRST_EXCEPTION)
                for shard in ended:
                    shard.result()
                if (counted := count())[1]:
                    progress("Computing the frozen backbone's embeddings, batches", *counted)
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
            _tidy(store, trial.id)
            outcome.already += 1
            outcome.add(trial, "done")
        elif status == "failed" and not retry_failed:
            outcome.add(trial, "failed")
        else:
            todo.append(trial)
    return outcome, [*outcome.again, *todo]


def _tidy(store: Store, trial: str) -> None:
    """Remove what a trial that is done left behind, unless it is trained once more elsewhere."""
    if store.claim(trial).parent.is_dir() and claims.holder(store.claim(trial)) is None:
        store.clear_work(trial)


def weights_gone(prepared: Prepared, retry_failed: bool) -> set[str]:
    """Return the trials that are done and whose weights, now gone, a trial that is to run starts from."""
    store, trials, found = prepared.store, prepared.plan.trials, set()
    for trial in trials.values():
        before = trial.starts_from
        if before is None or (store.has(trial.id) and (not retry_failed or store.is_done(trial.id))):
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
