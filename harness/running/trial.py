"""One trial, top to bottom: gather its inputs, train, predict, score, commit."""

from __future__ import annotations

import errno
import functools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from harness import cohorts, identity
from harness.backbones import weights
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError, TrialError, refused
from harness.plugin import asks, declared, discovery
from harness.protocol import Protocol
from harness.running import cards, log, provenance, scoring
from harness.running.basis import Basis
from harness.running.executors.process import TAKEN_OVER, WorkerDied
from harness.running.paths import Paths as Paths
from harness.running.plan import Trial
from harness.store import Cost, HowTrained, Record, Store, files, formats, names
from harness.training import embed, origins, room, side
from harness.training.checkpoint import ReadOnly
from harness.training.device import device_name, prepare_torch
from harness.training.job import CurveRow, Progress
from harness.training.side import Assignment, LossSide, MakeSide
from harness.training.together import ALONE, Cards
from harness.training.train import Inputs, Setting, Trained, train_and_predict
from harness.training.train import follow as follow_training
from harness.training.validate import validator


@dataclass(frozen=True)
class Fitted:
    """What comes of a trial's training: class indices uint8 [n, S, S], the curve, cost and weights.

    state: trained weights; sandbox: id of the image, "" outside; trained: whose loop it was; most: samples of
    a batch whose graph was held at a time, 0 for all, None where nobody tells.
    """

    labels: np.ndarray
    curve: list[CurveRow]
    cost: Cost
    state: dict[str, torch.Tensor]
    sandbox: str = ""
    trained: HowTrained = ""
    most: int | None = None


SEEN_SECONDS = 10.0
"""How long a file that another machine wrote may go unseen here."""

Train = Callable[[Trial, Inputs, Paths, torch.device, Path, Cards], Fitted]
"""Trains and predicts somewhere else than here: in a sandbox."""


def run(trial: Trial, paths: Paths, device: torch.device, train: Train | None = None) -> str:
    """Run a trial and commit its record; return "done" or "failed".

    `train` trains and predicts: here where it is None, or in a sandbox. Whatever the method raises
    becomes a failed record with its traceback. Raises HarnessError where the trial is not to blame:
    the cohort, the weights or the disk.
    """
    store = Store(paths.runs)
    work = store.work(trial.id)
    try:
        inputs = gather(trial, paths, device)
        basis = _check_unchanged(trial, inputs.cohort, paths.cache)
        others = functools.partial(follow, trial, paths, device, work)
        with cards.joined(trial.cards, device, trial.label, others) as group:
            if train is None:
                fitted = train_here(trial, inputs, device, work, progress_file(work), group)
            else:
                fitted = train(trial, inputs, paths, device, work, group)
        if trial.again:
            _keep_weights(store, trial, fitted)
            return "done"
        started, told = time.monotonic(), functools.partial(progress_file(work), "scoring")
        scores = scoring.score(trial.protocol, inputs.cohort, fitted.labels, told)
        cost = fitted.cost.model_copy(update={"score_seconds": round(time.monotonic() - started, 3)})
        if store.is_done(trial.id):
            return "done"  # by another that took over and ended while this one was silent
        _write_weights(store, trial, fitted)
        _commit_done(store, trial, basis, fitted, scores, cost)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | WorkerDied):
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HarnessError(
                f"{error.filename or paths.runs}: the disk is full; {trial.label} stopped and will resume "
                "from its last checkpoint once there is room."
            ) from None
        if isinstance(error, HarnessError) and not isinstance(error, TrialError):
            raise
        if store.is_done(trial.id) and not trial.again:
            return "done"  # by another that had taken it over, and has tidied this one's folder away
        if refusal := _of_the_store(error, trial, paths.runs, work):
            raise HarnessError(refusal) from None
        if (whose := room.lacking(error)) and not discovery.raised_in(error, trial.plugin.file):
            raise HarnessError(
                f"{trial.label}: the {whose}'s memory is full, which is no fault of the method; run again "
                "with fewer --jobs, or when what else takes memory has ended: it goes on from its last "
                "checkpoint."
            ) from None
        message = discovery.describe_error(error, trial.plugin.file)
        if trial.again:
            raise HarnessError(f"{trial.label}, again for its weights: {message}") from None
        commit_failed(store, trial, message, discovery.trace_of(error))
        return "failed"
    return "done"


def _of_the_store(error: BaseException, trial: Trial, runs: Path, work: Path) -> str:
    """Say what the store did that ended a trial, which is no fault of its method; "" where it did nothing."""
    if not os.path.isdir(work):
        return (
            f"{work}: it is gone, so the store was moved or removed while {trial.label} ran; put it back and "
            "run again."
        )
    if not isinstance(error, OSError) or discovery.raised_in(error, trial.plugin.file):
        return ""
    # A method that leaves files open has the process run out of them, wherever the next is opened.
    if error.errno == errno.EMFILE or not str(error.filename or "").startswith(f"{runs}{os.sep}"):
        return ""
    return f"{refused(error)}; {trial.label} stopped; mend it and run again: it goes on from its checkpoint."


def run_logged(trial: Trial, paths: Paths, device: torch.device, train: Train | None = None) -> str:
    """Run a trial in a process of its own, whose output goes to the trial's log.

    Returns "elsewhere" if another process has the trial claimed: it is running it; "done" if another
    has finished it since it was planned; "too early" if what it starts from is not done.
    """
    paths = paths.absolute()  # a method may go to another folder, and its record must not
    store = Store(paths.runs)
    about = {"label": trial.label, "protocol": trial.protocol.name, "job": os.environ.get("SLURM_JOB_ID", "")}
    with store.claimed(trial.id, about, lost=lambda: os._exit(TAKEN_OVER)) as own:
        if own:
            _await_record(store, trial.id)
        if store.is_done(trial.id) and not (trial.again and not store.weights(trial.id).is_file()):
            if own:
                store.clear_work(trial.id)
            return "done"
        if not own:
            return "elsewhere"
        if trial.starts_from is not None and not store.is_done(trial.starts_from):
            return "too early"
        with log.written(store.work(trial.id) / names.LOG):
            return run(trial, paths, device, train)


def _await_record(store: Store, trial: str) -> None:
    """Wait for a record that another machine has just written and this one does not see yet."""
    if files.is_taken(store.path(trial)):
        files.seen(store.path(trial) / names.RECORD, SEEN_SECONDS)


def rescore_here(protocol: Protocol, paths: Paths, trial: str, wanted: dict[str, Any]) -> None:
    """Score a record's kept predictions again, in a process of its own."""
    cohort = cohorts.load(protocol, paths.data, paths.cache)
    scoring.rescore(Store(paths.runs), trial, protocol, cohort, wanted)


def embed_shard(protocol: Protocol, paths: Paths, shard: int, shards: int, device: torch.device) -> None:
    """Compute one shard of a frozen backbone's embeddings, in a process of its own."""
    prepare_torch(protocol.recipe.threads)
    cohort = cohorts.load(protocol, paths.data, paths.cache)
    embed.embed_shard(protocol, cohort, paths.cache, shard, shards, device)


def gather(trial: Trial, paths: Paths, device: torch.device) -> Inputs:
    """Return what a trial reads. Raises HarnessError for a cohort or weights that are not there."""
    protocol = trial.protocol
    cohort = cohorts.load(protocol, paths.data, paths.cache)
    name = weights.required(protocol.backbone)
    origin = None if trial.starts_from is None else Store(paths.runs).weights(trial.starts_from)
    if origin is not None and not files.seen(origin, SEEN_SECONDS):
        raise HarnessError(
            f"{origin}: the weights that {trial.label} starts from are gone; run again, which trains trial "
            f"{trial.starts_from} for them."
        )
    return Inputs(
        cohort,
        embed.open_embeddings(protocol, cohort, paths.cache, device)
        if protocol.backbone.adapt == "frozen"
        else [],
        None if name is None else weights.find(name, paths.cache),
        origin,
    )


def _check_unchanged(trial: Trial, cohort: Cohort, cache: Path) -> Basis:
    """Return what the trial stands on; HarnessError where cohort or method is not what its id says."""
    basis = Basis.of(trial.protocol, cohort, cache, "", "")
    planned = trial.identity["data"]
    if any(planned[name] != digest for name, digest in basis.data.items() if name in planned):
        raise HarnessError(f"The cohort '{cohort.title}' has changed since this run was planned; run again.")
    _check_source(trial)
    return basis


def _check_source(trial: Trial) -> None:
    try:
        same = identity.method_digest(trial.plugin.file) == trial.identity["method"]["source"]
    except (OSError, SyntaxError):
        same = False
    if not same:
        raise HarnessError(
            f"{trial.plugin.file}: it or a file that it imports has changed since this run was planned; "
            "run again."
        )


def setting(trial: Trial) -> Setting:
    """Return what a trial's training is told."""
    protocol = trial.protocol
    return Setting(
        backbone=protocol.backbone,
        recipe=protocol.recipe,
        n_classes=protocol.n_classes,
        size=protocol.cohort.size,
        name=trial.plugin.name,
        hyper_parameters=trial.hyper_parameters,
        attribute=trial.attribute,
        seed=trial.seed,
        finetunes=trial.finetunes,
        at_test=trial.about.reads_attribute_at_test,
        sampler=trial.sampler or trial.about.sampler,
        shuffled=trial.shuffled,
        most=trial.most,
        asks=asks.of(trial.about, trial.hyper_parameters, trial.plugin.name),
    )


def _keep_weights(store: Store, trial: Trial, fitted: Fitted) -> None:
    """Keep the weights of a trial that is done, and nothing else. Raises HarnessError."""
    _, labels = store.predictions(trial.id)
    if not np.array_equal(labels, fitted.labels):
        raise HarnessError(
            f"{store.path(trial.id)}: {trial.label}, trained again for its weights, predicts otherwise than "
            "its record: this machine is not the one that made it; delete the record and run again."
        )
    _write_weights(store, trial, fitted)
    store.clear_work(trial.id)


def _write_weights(store: Store, trial: Trial, fitted: Fitted) -> None:
    if fitted.state:
        files.make(store.weights(trial.id).parent)
        files.write(store.weights(trial.id), origins.pack(fitted.state))


def train_here(
    trial: Trial,
    inputs: Inputs,
    device: torch.device,
    work: Path,
    progress: Progress,
    group: Cards = ALONE,
) -> Fitted:
    """Train the method and predict the test samples; resumes from a checkpoint in `work`."""
    method = discovery.load(trial.plugin)
    # Once more, because what was loaded may be an edit.
    _check_source(trial)
    trained = train_with(trial, functools.partial(side.build, method), inputs, device, work, progress, group)
    whose: HowTrained = "by itself" if trial.about.trains_own_model else "by the harness"
    cost = cost_of(trained, device)
    return Fitted(trained.labels, trained.curve, cost, trained.state, trained=whose, most=trained.most)


def train_with(
    trial: Trial,
    make: MakeSide,
    inputs: Inputs,
    device: torch.device,
    work: Path,
    progress: Progress,
    group: Cards = ALONE,
) -> Trained:
    """Train in this process with a method that is here or elsewhere; resumes from a checkpoint in `work`.

    group: the cards that share the training, of which this is the first.
    """
    told = setting(trial)
    structures = [trial.protocol.classes(name) for name in trial.protocol.structures]
    validate = validator(told, inputs.cohort, inputs.maps, structures, device)
    return train_and_predict(told, make, inputs, device, work / names.CHECKPOINT, progress, validate, group)


def follow(trial: Trial, paths: Paths, device: torch.device, work: Path, group: Cards) -> None:
    """Train a trial on one of its cards that is not the first, and keep nothing."""
    kept = ReadOnly(work / names.CHECKPOINT)
    follow_training(setting(trial), _nobody, gather(trial, paths, device), device, kept, group)


def _nobody(told: Assignment) -> LossSide:
    raise AssertionError("the first card has the method")


def cost_of(trained: Trained, device: torch.device) -> Cost:
    """Return what a training in this process took."""
    return Cost(
        fit_seconds=round(trained.fit_seconds, 3),
        predict_seconds=round(trained.predict_seconds, 3),
        compile_seconds=round(trained.compile_seconds, 3),
        peak_memory_bytes=trained.memory,
        device=device_name(device),
        trained_parameters=trained.parameters,
        passes=trained.passes,
        cards=trained.cards,
    )


def _commit_done(
    store: Store, trial: Trial, basis: Basis, fitted: Fitted, scores: pd.DataFrame, cost: Cost
) -> None:
    cohort = basis.cohort
    samples = cohort.subjects["sample"].to_numpy()[cohort.rows("test")].astype(str)
    with files.writing(store.path(trial.id)) as folder:
        files.put(folder / names.SCORES, formats.scores_bytes(scores))
        predictions = formats.arrays_bytes(samples=samples, labels=fitted.labels)
        files.put(folder / names.PREDICTIONS, predictions)
        files.put(folder / names.CURVE, formats.curve_bytes(fitted.curve))
        _copy_log(store, trial, folder, "")
        groups = cohort.groups[trial.attribute] if trial.attribute else ()
        record = _record(trial, "done", groups).model_copy(
            update={
                "cost": cost,
                "trained": fitted.trained,
                "environment": provenance.environment(trial, fitted.most),
                "files": provenance.digests(folder),
                "scoring": scoring.scoring_identity(basis),
            }
        )
        if fitted.sandbox:
            record.provenance["sandbox"] = fitted.sandbox
        files.write_json(folder / names.RECORD, record)
    # The record stands: what cannot be tidied away (NFS keeps an open log) must not make it a failed one.
    store.clear_work(trial.id)


def commit_failed(store: Store, trial: Trial, error: str, trace: str) -> None:
    """Commit the record of a trial that failed; its checkpoint stays for `--retry-failed`."""
    with files.writing(store.path(trial.id)) as folder:
        _copy_log(store, trial, folder, trace)
        record = _record(trial, "failed", ()).model_copy(
            update={"error": error[: declared.MOST_ERROR], "files": provenance.digests(folder)}
        )
        files.write_json(folder / names.RECORD, record)


def _record(trial: Trial, status: Any, groups: tuple[str, ...]) -> Record:
    return Record(
        id=trial.id,
        status=status,
        protocol=trial.protocol.name,
        method=provenance.method_info(trial),
        attribute=trial.attribute,
        groups=groups,
        seed=trial.seed,
        control=trial.control,
        started_from=trial.starts_from,
        identity=trial.identity,
        environment=provenance.environment(trial),
        provenance=provenance.git_state(identity.HARNESS),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _copy_log(store: Store, trial: Trial, folder: Path, trace: str) -> None:
    text = log.read(store.work(trial.id) / names.LOG)
    # What a stranger raises may hold half a character.
    files.put(folder / names.LOG, (text + trace).encode(errors="replace"))


def progress_file(work: Path) -> Progress:
    """Return a callback that leaves the trial's progress in a file, a few times a second."""
    last = 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.3 or done == total:
            said = json.dumps({"stage": stage, "done": done, "total": total})
            files.note(work / names.PROGRESS, said.encode())
            last = time.monotonic()

    return progress
